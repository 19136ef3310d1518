"""Add alert rules from their text, for the command and the form, and list them."""

from bot.blocks.alert_list import alerts_reply, rule_added_reply, rule_exists_reply
from bot.slack.access import Verdict
from bot.slack.handling import Reply, Request
from bot.slack.text import MENTION
from storage.alerts.digests import digests
from storage.alerts.enroll import add_alert_rule
from storage.alerts.followups import count_by_rule
from storage.alerts.memory import count_cooled_down
from storage.alerts.rules import RuleThere, alert_rules
from storage.domain.alerts.syntax import read_alert

NOBODY_OF_OURS = (
    "The person to escalate to is not an active member of this workspace, and scores are for members"
    " only. Name a colleague: `sla 4h escalate to @jane`"
)


async def alerts_page(request: Request) -> Reply:
    """Return the list of alert rules with the results of their follow-ups, and the digests."""
    return alerts_reply(
        await alert_rules(request.workspace),
        request.types,
        request.choices,
        await count_by_rule(request.workspace),
        await count_cooled_down(request.workspace),
        await digests(request.workspace),
    )


async def add_rule(request: Request, words: str) -> Reply:
    """Add a rule, or return the existing one if it is the same. Raises a Refusal if the text cannot be parsed."""
    owners = await resolve_owners(request, words)
    try:
        rule = await add_alert_rule(
            request.workspace, words=words, made_by=request.person.id, owners=owners, now=request.now
        )
    except RuleThere as exc:
        return rule_exists_reply(exc.rule, request.types, request.choices)
    return rule_added_reply(rule, request.types, request.choices)


async def find_outside_destinations(request: Request, words: str) -> dict[str, str]:
    """Return why destinations of a rule are refused, by field: `channel`, `escalate`.

    A destination is refused if somebody who may not see scores would read the follow-ups. Raises a Refusal if the text
    cannot be parsed.
    """
    parsed, refusals = read_alert(words, request.types), dict[str, str]()
    if parsed.channel is not None and (verdict := await request.may_post(parsed.channel)) is not Verdict.ALLOWED:
        refusals["channel"] = verdict.value
    if parsed.escalate_to is not None and not await request.is_colleague(parsed.escalate_to):
        refusals["escalate"] = NOBODY_OF_OURS
    return refusals


async def resolve_owners(request: Request, words: str) -> dict[str, str | None]:
    """Return the e-mail addresses of the colleagues mentioned in a rule by Slack user id, and the author's as `me`."""
    addresses = {mention[1]: await request.address_of(mention[1]) for mention in MENTION.finditer(words)}
    return {"me": request.person.email, **addresses}
