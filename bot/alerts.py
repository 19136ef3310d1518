"""Add an alert rule from its words, however they were entered, and list the rules."""

from bot.access import Verdict
from bot.asking import Asked, Reply
from bot.blocks.alert_list import added_reply, alerts_reply
from bot.replies import plain_reply
from bot.text import MENTION
from storage.alert_memory import rested
from storage.alert_rules import alert_rules
from storage.digests import digests
from storage.domain.alert_words import read_alert
from storage.followups import counts
from storage.watching import add_alert_rule


async def alerts_page(asked: Asked) -> Reply:
    """Answer with every rule and what came of it."""
    return alerts_reply(
        await alert_rules(asked.workspace),
        asked.types,
        asked.choices,
        await counts(asked.workspace),
        await rested(asked.workspace),
        await digests(asked.workspace),
    )


async def add_rule(asked: Asked, words: str) -> Reply:
    """Make a rule, unless it would send to a channel that is not ours alone."""
    channel = read_alert(words, asked.types).channel
    if channel is not None:
        verdict = await asked.may_post(channel)
        if verdict is not Verdict.ALLOWED:
            return plain_reply(f"No rule was made. {verdict.value}")
    owners = await owners_in(asked, words)
    rule = await add_alert_rule(asked.workspace, words=words, made_by=asked.person.id, owners=owners, now=asked.now)
    return added_reply(rule, asked.types, asked.choices)


async def owners_in(asked: Asked, words: str) -> dict[str, str | None]:
    """Give the addresses of the colleagues that the words of a rule name, `me` among them."""
    mentioned = {found[0]: await asked.address_of(found[1]) for found in MENTION.finditer(words)}
    return {"me": asked.person.email, **mentioned}
