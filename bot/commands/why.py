"""Say what a score is made of."""

from bot.blocks.refusals import plain_reply
from bot.blocks.why import MOST, why_reply
from bot.slack.handling import Reply, Request
from bot.slack.line import read_clear
from bot.slack.lookup import find_scored
from storage.reading.history import why


async def explain_score(asked: Request) -> Reply:
    """Answer `why CONTACT [TYPE]`."""
    if not asked.text:
        return plain_reply("Say whose: `/score why ada@example.com fit`")
    words, scores = read_clear(asked.text, asked.types)
    found = await find_scored(asked, words, line=f"why {{}} {scores[0]}")
    if isinstance(found, Reply):
        return found
    score_type, explanation = await why(asked.workspace, contact=found.id, score=scores[0], most=MOST, now=asked.now)
    return why_reply(found, score_type, explanation)
