"""Add an alert rule from its words, however they were entered, and list the rules."""

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
    "Whom it is escalated to is no active member of this workspace, as far as Slack says, and scores are for members"
    " alone. Name a colleague: `sla 4h escalate to @jane`"
)


async def alerts_page(request: Request) -> Reply:
    """Answer with every rule and what came of it."""
    return alerts_reply(
        await alert_rules(request.workspace),
        request.types,
        request.choices,
        await count_by_rule(request.workspace),
        await count_cooled_down(request.workspace),
        await digests(request.workspace),
    )


async def add_rule(request: Request, words: str) -> Reply:
    """Make a rule, unless it is there already; raises what cannot be read."""
    owners = await resolve_owners(request, words)
    try:
        rule = await add_alert_rule(
            request.workspace, words=words, made_by=request.person.id, owners=owners, now=request.now
        )
    except RuleThere as exc:
        return rule_exists_reply(exc.rule, request.types, request.choices)
    return rule_added_reply(rule, request.types, request.choices)


async def find_outside_destinations(request: Request, words: str) -> dict[str, str]:
    """Say what of a rule would tell somebody who is none of ours: `channel`, `escalate` → why, and what to say instead.

    Raises what cannot be read.
    """
    parsed, refusals = read_alert(words, request.types), dict[str, str]()
    if parsed.channel is not None and (verdict := await request.may_post(parsed.channel)) is not Verdict.ALLOWED:
        refusals["channel"] = verdict.value
    if parsed.escalate_to is not None and not await request.is_colleague(parsed.escalate_to):
        refusals["escalate"] = NOBODY_OF_OURS
    return refusals


async def resolve_owners(request: Request, words: str) -> dict[str, str | None]:
    """Give the addresses of the colleagues that the words of a rule name, `me` among them."""
    addresses = {mention[1]: await request.address_of(mention[1]) for mention in MENTION.finditer(words)}
    return {"me": request.person.email, **addresses}
