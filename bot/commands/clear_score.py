"""Make scores of a contact missing again."""

from bot.blocks.elements import score_called
from bot.blocks.receipt import receipt_reply
from bot.blocks.refusals import plain_reply
from bot.slack.handling import Reply, Request
from bot.slack.line import read_clear
from bot.slack.lookup import find_scored
from bot.slack.text import escape
from storage.reading.current_scores import card


async def clear_score(asked: Request) -> Reply:
    """Answer `clear CONTACT [TYPE…]`."""
    words, scores = read_clear(asked.text, asked.types)
    found = await find_scored(asked, words, line=f"clear {{}} {' '.join(scores)}")
    if isinstance(found, Reply):
        return found
    known = await card(asked.workspace, contact=found.id, now=asked.now)
    there = [one for one in scores if known and one in {standing.score_type.key for standing in known.standings}]
    if not there:
        called = score_called(*(asked.type(score).label for score in scores))
        return plain_reply(f"{escape(found.shown)} has no {called}, so there is nothing to clear.")
    recorded = await asked.clear(found.id, there)
    if not recorded.moved:
        return Reply()  # the same request, sent again
    return receipt_reply(found, recorded.moved, batch=asked.batch)
