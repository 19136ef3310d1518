"""`/score alerts`: list, add, simulate, pause, resume and remove alert rules, and schedule digests."""

import re
from dataclasses import replace

from bot.alerts import add_rule, alerts_page, find_outside_destinations, resolve_owners
from bot.blocks.alert_list import rule_line, simulation_reply
from bot.blocks.alert_modal import alert_modal
from bot.blocks.elements import short_name
from bot.blocks.refusals import plain_reply
from bot.slack.access import Need, Verdict
from bot.slack.handling import Reply, Request
from storage.alerts.digests import set_digest, stop_digest
from storage.alerts.rules import AlertRule, UnknownRule, alert_rules, pause_rule, remove_rule, resume_rule
from storage.alerts.simulate import try_alert
from storage.domain.business_hours import parse_time, write_time
from storage.ledger.contacts import contacts

USAGE = (
    "Type `/score alerts` for the list, `/score alerts add when score crosses 80 if owner:me in #sales`,"
    " `/score alerts try when score rises 15 in 7d`, `/score alerts pause 3`, `resume 3`, `remove 3`,"
    " or `/score alerts digest 9:00`."
)
DIGEST_USAGE = (
    "Type `/score alerts digest 9:00`, `digest 9:00 Europe/Berlin in #sales`, `digest off` or `digest off in #sales`."
)
_IN_CHANNEL = re.compile(r"(?:^|\s)in\s+<#(?P<id>[CG][A-Z0-9]+)(?:\|[^<>]*)?>\s*$", re.IGNORECASE)
MOST_TRIED = 20


async def manage_alerts(request: Request) -> Reply:
    """Handle `alerts [add …|try …|pause N|resume N|remove N|digest …]`."""
    verb, _, rest = request.text.partition(" ")
    match verb.casefold():
        case "" | "list":
            return await alerts_page(request)
        case "add" if not rest.strip():
            request.needs(Need.SET)
            return Reply(modal=alert_modal(request.types))
        case "add":
            request.needs(Need.SET)
            if refusals := await find_outside_destinations(request, rest.strip()):
                return plain_reply(f"No rule was added. {' '.join(refusals.values())}")
            return await add_rule(request, rest.strip())
        case "try":
            return await _try_rule(request, rest.strip())
        case "digest":
            return await _change_digest(request, rest.strip())
        case "pause" | "resume" | "remove" as action:
            return await _change_rule(request, action, rest.strip().lstrip("#"))
        case _:
            return plain_reply(USAGE)


async def _try_rule(request: Request, words: str) -> Reply:
    words = words.removeprefix("add ")
    simulation = await try_alert(
        request.workspace, words=words, owners=await resolve_owners(request, words), now=request.now
    )
    existing = await contacts(request.workspace, ids=[id for id, _ in simulation.firings[:MOST_TRIED]])
    return simulation_reply(simulation, words, {contact.id: contact for contact in existing})


async def _change_digest(request: Request, words: str) -> Reply:
    """Schedule or stop the digest of a channel, or of the person who asks if there is no channel."""
    match = _IN_CHANNEL.search(words)
    place, rest = (match["id"].upper(), words[: match.start()].strip()) if match else (request.person.id, words)
    if match:
        request.needs(Need.SET)
    destination = f"to <#{place}>" if match else "to you"
    if rest.casefold() == "off":
        await stop_digest(request.workspace, place=place)
        return plain_reply(f"The digest {destination} is off.")
    at, _, zone = rest.partition(" ")
    if not at:
        return plain_reply(DIGEST_USAGE)
    if match and (verdict := await request.may_post(place)) is not Verdict.ALLOWED:
        return plain_reply(f"Nothing was changed. {verdict.value}")
    digest = await set_digest(
        request.workspace, place=place, zone=zone.strip() or request.person.zone or "UTC", minute=parse_time(at),
        made_by=request.person.id, now=request.now,
    )  # fmt: skip  # one logical group per line
    when = f"at {write_time(digest.minute)} ({digest.zone})"
    return plain_reply(f"A digest goes {destination} Monday to Friday {when}, if there is news.")


async def _change_rule(request: Request, action: str, number: str) -> Reply:
    rule = next((rule for rule in await alert_rules(request.workspace) if str(rule.id) == number), None)
    if rule is None:
        name = short_name(number) if number else "without a number"
        return plain_reply(f"There is no alert rule {name}. `/score alerts` lists them.")
    if rule.made_by != request.person.id:
        request.needs(Need.ADMINISTER)
    try:
        return plain_reply(await _apply_action(request, action, rule))
    except UnknownRule:
        return plain_reply(f"Rule {number} was removed already.")


async def _apply_action(request: Request, action: str, rule: AlertRule) -> str:
    description = rule_line(replace(rule, paused_at=None), request.types, request.choices)
    match action:
        case "pause":
            await pause_rule(request.workspace, rule=rule.id, now=request.now)
            return f"Rule {rule.id} is paused: {description}\nIt alerts nobody until `/score alerts resume {rule.id}`"
        case "resume":
            await resume_rule(request.workspace, rule=rule.id)
            return f"Rule {rule.id} is on: {description}\nIt alerts again, for changes from now on."
        case _:
            await remove_rule(request.workspace, rule=rule.id, now=request.now)
            return f"Rule {rule.id} is removed: {description}\nIts follow-ups stay: `/score followups`"
