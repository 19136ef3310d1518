"""Show a contact with all scores."""

from bot.blocks.contact_card import card_reply
from bot.blocks.refusals import plain_reply, refusal_reply
from bot.slack.handling import Reply, Request
from bot.slack.line import strip_quotes
from bot.slack.lookup import find_one
from storage.alerts.followups import list_waiting
from storage.domain.errors import UnknownContact
from storage.reading.current_scores import card


async def view_score(asked: Request) -> Reply:
    """Answer `view CONTACT`."""
    words = strip_quotes(asked.text)
    if not words:
        return plain_reply("Say whom: `/score view ada@example.com`")
    found = await find_one(asked, words, line="view {}")
    if isinstance(found, Reply):
        return found
    known = await card(asked.workspace, contact=found.id, now=asked.now)
    if known is None:
        return refusal_reply(UnknownContact())
    return card_reply(known, asked.types, await list_waiting(asked.workspace, contact=found.id, most=1))
