"""Alert rules: list, add, simulate, pause, resume and remove them."""

from contextlib import suppress
from dataclasses import replace

from bot.blocks.alerts import (
    MORE,
    alert_modal,
    alerts_reply,
    first_choices,
    format_alert_words,
    rule_added_reply,
    rule_exists_reply,
    rule_line,
    simulation_reply,
)
from bot.blocks.elements import short_name
from bot.blocks.refusals import plain_reply, refusal_sentence
from bot.features.alerts.digest import change_digest
from bot.slack.access import Need, Verdict
from bot.slack.examples import describe_types
from bot.slack.handling import Reply, Request
from bot.slack.text import MENTION
from storage.alerts.broken import find_breakages
from storage.alerts.digests import digests
from storage.alerts.enroll import add_alert_rule
from storage.alerts.followups import count_by_rule
from storage.alerts.memory import count_suppressed
from storage.alerts.rules import AlertRule, RuleThere, UnknownRule, alert_rules, pause_rule, remove_rule, resume_rule
from storage.alerts.simulate import try_alert
from storage.domain.alerts.syntax import read_alert
from storage.domain.alerts.values import write_example
from storage.domain.errors import Refusal
from storage.domain.filters import BadFilter
from storage.ledger.contacts import contacts

NO_COLLEAGUE = (
    "The person to escalate to is not an active member of this workspace, and scores are for members"
    " only. Name a colleague: `sla 4h escalate to @jane`"
)
_USAGE = (
    "Type `/score alerts` for the list, {add}, `/score alerts try when {type} rises {change} in 7d`,"
    " `/score alerts digest 9:00`, or `pause`, `resume` or `remove` with the number of a rule."
)
MOST_TRIED = 20


async def manage_alerts(request: Request) -> Reply:
    """Handle `alerts [add …|try …|pause N|resume N|remove N|digest …]`."""
    verb, _, rest = request.text.partition(" ")
    match verb.casefold():
        case "" | "list" if not rest.strip():
            return await render_alerts_page(request)
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
            return await change_digest(request, rest.strip())
        case "pause" | "resume" | "remove" as action:
            return await _change_rule(request, action, rest.strip().lstrip("#"))
        case _:
            return plain_reply(_USAGE.format(add=write_example(request.types[0]), **describe_types(request.types)))


async def render_alerts_page(request: Request) -> Reply:
    """Return the list of alert rules with the results of their follow-ups, and the digests."""
    rules = await alert_rules(request.workspace)
    return alerts_reply(
        rules,
        request.types,
        request.choices,
        await count_by_rule(request.workspace),
        await count_suppressed(request.workspace),
        await digests(request.workspace),
        await find_breakages(request.workspace, rules=rules, types=request.types),
    )


async def open_alert_form(request: Request) -> Reply:
    """Open the form for an alert rule."""
    return Reply(modal=alert_modal(request.types))


async def show_more(request: Request) -> Reply:
    """Show the form with the rarely used fields. Slack keeps the entered values."""
    return Reply(modal=alert_modal(request.types, more=True))


async def submit_alert(request: Request) -> Reply:
    """Add the entered rule, or return the refusals by form field."""
    entered = {name: value for name, value in request.fields.items() if value is not None}
    fields = {name: value for name, value in (first_choices(request.types) | entered).items() if value != "-"}
    if fields.get("place") == "digest" and fields.get("channel"):
        return Reply(
            errors={"channel": "The digest is sent elsewhere: leave the channel blank, or do not choose the digest."}
        )
    words = format_alert_words(fields)
    try:
        refusals = await find_outside_destinations(request, words)
        return Reply(errors=_strip_backticks(refusals)) if refusals else await add_rule(request, words)
    except BadFilter as refusal:
        return Reply(errors=_strip_backticks({"condition": refusal_sentence(refusal)}))
    except Refusal as refusal:
        return Reply(errors=_strip_backticks({_find_culprit(request, fields): refusal_sentence(refusal)}))


def _find_culprit(request: Request, fields: dict[str, str]) -> str:
    """Return the form field that causes a refusal: a rare one if the rule is valid without it, else "value"."""
    for name in MORE:
        without = {name, "escalate"} if name == "sla" else {name}  # a rule with an escalation must have a time to claim
        rest = {field: value for field, value in fields.items() if field not in without}
        with suppress(Refusal):
            read_alert(format_alert_words(rest), request.types)
            if fields.get(name):
                return name
    return "value"


def _strip_backticks(errors: dict[str, str]) -> dict[str, str]:
    """Return the messages without backticks, because Slack shows them literally under fields."""
    return {name: message.replace("`", "") for name, message in errors.items()}


async def add_rule(request: Request, words: str) -> Reply:
    """Add a rule, or return a reply with the rule if it exists. Raises a Refusal if *words* cannot be parsed."""
    owners = await resolve_owners(request, words)
    try:
        rule = await add_alert_rule(
            request.workspace, words=words, made_by=request.person.id, owners=owners, now=request.now
        )
    except RuleThere as exc:
        return rule_exists_reply(exc.rule, request.types, request.choices)
    breakages = await find_breakages(request.workspace, rules=[rule], types=request.types)
    return rule_added_reply(rule, request.types, request.choices, breakages.get(rule.id))


async def find_outside_destinations(request: Request, words: str) -> dict[str, str]:
    """Return the refusals of the destinations of a rule, by form field: `channel`, `escalate`.

    A destination is refused if a person who may not see scores would read the follow-ups there. Raises a Refusal if
    *words* cannot be parsed.
    """
    parsed, refusals = read_alert(words, request.types), dict[str, str]()
    if parsed.channel is not None and (verdict := await request.may_post(parsed.channel)) is not Verdict.ALLOWED:
        refusals["channel"] = verdict.value
    if parsed.escalate_to is not None and not await request.is_colleague(parsed.escalate_to):
        refusals["escalate"] = NO_COLLEAGUE
    return refusals


async def resolve_owners(request: Request, words: str) -> dict[str, str | None]:
    """Return the addresses of the colleagues mentioned in a rule, by Slack user id, and the author's as `me`."""
    addresses = {mention[1]: await request.address_of(mention[1]) for mention in MENTION.finditer(words)}
    return {"me": request.person.email, **addresses}


async def _try_rule(request: Request, words: str) -> Reply:
    words = words.removeprefix("add ")
    simulation = await try_alert(
        request.workspace, words=words, owners=await resolve_owners(request, words), now=request.now
    )
    existing = await contacts(request.workspace, ids=[id for id, _ in simulation.firings[:MOST_TRIED]])
    return simulation_reply(simulation, words, {contact.id: contact for contact in existing})


async def _change_rule(request: Request, action: str, number: str) -> Reply:
    rule = next((rule for rule in await alert_rules(request.workspace) if str(rule.id) == number), None)
    if rule is None:
        if not number:
            return plain_reply(
                f"Type the number of the rule too: `/score alerts {action} 3`. `/score alerts` lists them."
            )
        return plain_reply(f"There is no alert rule {short_name(number)}. `/score alerts` lists them.")
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
            await pause_rule(request.workspace, rule=rule.id, by=request.person.id, now=request.now)
            return f"Rule {rule.id} is paused: {description}\nIt alerts nobody until `/score alerts resume {rule.id}`"
        case "resume":
            await resume_rule(request.workspace, rule=rule.id, by=request.person.id, now=request.now)
            return f"Rule {rule.id} is on: {description}\nIt alerts again, for changes from now on."
        case _:
            await remove_rule(request.workspace, rule=rule.id, by=request.person.id, now=request.now)
            return f"Rule {rule.id} is removed: {description}\nIts follow-ups stay: `/score followups`"
