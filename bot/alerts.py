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


async def alerts_page(asked: Request) -> Reply:
    """Answer with every rule and what came of it."""
    return alerts_reply(
        await alert_rules(asked.workspace),
        asked.types,
        asked.choices,
        await count_by_rule(asked.workspace),
        await count_cooled_down(asked.workspace),
        await digests(asked.workspace),
    )


async def add_rule(asked: Request, words: str) -> Reply:
    """Make a rule, unless it is there already; raises what cannot be read."""
    owners = await resolve_owners(asked, words)
    try:
        rule = await add_alert_rule(asked.workspace, words=words, made_by=asked.person.id, owners=owners, now=asked.now)
    except RuleThere as there:
        return rule_exists_reply(there.rule, asked.types, asked.choices)
    return rule_added_reply(rule, asked.types, asked.choices)


async def find_outside_destinations(asked: Request, words: str) -> dict[str, str]:
    """Say what of a rule would tell somebody who is none of ours: `channel`, `escalate` → why, and what to say instead.

    Raises what cannot be read.
    """
    read, refused = read_alert(words, asked.types), dict[str, str]()
    if read.channel is not None and (verdict := await asked.may_post(read.channel)) is not Verdict.ALLOWED:
        refused["channel"] = verdict.value
    if read.escalate_to is not None and not await asked.is_colleague(read.escalate_to):
        refused["escalate"] = NOBODY_OF_OURS
    return refused


async def resolve_owners(asked: Request, words: str) -> dict[str, str | None]:
    """Give the addresses of the colleagues that the words of a rule name, `me` among them."""
    mentioned = {found[1]: await asked.address_of(found[1]) for found in MENTION.finditer(words)}
    return {"me": asked.person.email, **mentioned}
