"""Say when to be asked to follow up."""

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


async def manage_alerts(asked: Request) -> Reply:
    """Answer `alerts [add …|try …|pause N|resume N|remove N|digest …]`."""
    verb, _, rest = asked.text.partition(" ")
    match verb.casefold():
        case "" | "list":
            return await alerts_page(asked)
        case "add" if not rest.strip():
            asked.needs(Need.SET)
            return Reply(modal=alert_modal(asked.types))
        case "add":
            asked.needs(Need.SET)
            if refused := await find_outside_destinations(asked, rest.strip()):
                return plain_reply(f"No rule was made. {' '.join(refused.values())}")
            return await add_rule(asked, rest.strip())
        case "try":
            return await _try(asked, rest.strip())
        case "digest":
            return await _digest(asked, rest.strip())
        case "pause" | "resume" | "remove" as what:
            return await _change(asked, what, rest.strip().lstrip("#"))
        case _:
            return plain_reply(USAGE)


async def _try(asked: Request, words: str) -> Reply:
    words = words.removeprefix("add ")
    tried = await try_alert(asked.workspace, words=words, owners=await resolve_owners(asked, words), now=asked.now)
    known = await contacts(asked.workspace, ids=[id for id, _ in tried.asked[:MOST_TRIED]])
    return simulation_reply(tried, words, {one.id: one for one in known})


async def _digest(asked: Request, words: str) -> Reply:
    """Let a digest go to a channel, or to who asks, or no more."""
    found = _IN_CHANNEL.search(words)
    place, rest = (found["id"].upper(), words[: found.start()].strip()) if found else (asked.person.id, words)
    if found:
        asked.needs(Need.SET)
    where = f"to <#{place}>" if found else "to you"
    if rest.casefold() == "off":
        await stop_digest(asked.workspace, place=place)
        return plain_reply(f"No digest comes {where} any more.")
    at, _, zone = rest.partition(" ")
    if not at:
        return plain_reply(DIGEST_USAGE)
    if found and (verdict := await asked.may_post(place)) is not Verdict.ALLOWED:
        return plain_reply(f"Nothing was changed. {verdict.value}")
    one = await set_digest(
        asked.workspace, place=place, zone=zone.strip() or asked.person.zone or "UTC", minute=parse_time(at),
        made_by=asked.person.id, now=asked.now,
    )  # fmt: skip  # where and when
    when = f"at {write_time(one.minute)} ({one.zone})"
    return plain_reply(f"A digest comes {where} Monday to Friday {when}, where there is anything to say.")


async def _change(asked: Request, what: str, number: str) -> Reply:
    found = next((one for one in await alert_rules(asked.workspace) if str(one.id) == number), None)
    if found is None:
        which = short_name(number) if number else "without a number"
        return plain_reply(f"There is no alert rule {which}. `/score alerts` lists them.")
    if found.made_by != asked.person.id:
        asked.needs(Need.ADMINISTER)
    try:
        return plain_reply(await _do(asked, what, found))
    except UnknownRule:
        return plain_reply(f"Rule {number} was removed already.")


async def _do(asked: Request, what: str, rule: AlertRule) -> str:
    does = rule_line(replace(rule, paused_at=None), asked.types, asked.choices)
    match what:
        case "pause":
            await pause_rule(asked.workspace, rule=rule.id, now=asked.now)
            return f"Rule {rule.id} is paused: {does}\nIt asks for nothing until `/score alerts resume {rule.id}`"
        case "resume":
            await resume_rule(asked.workspace, rule=rule.id)
            return f"Rule {rule.id} is on: {does}\nIt asks again, for those who cross from now on."
        case _:
            await remove_rule(asked.workspace, rule=rule.id, now=asked.now)
            return f"Rule {rule.id} is removed: {does}\nWhat it asked for stays: `/score followups`"
