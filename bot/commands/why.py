"""`/score why`: explain how a score is calculated."""

from bot.blocks.refusals import plain_reply
from bot.blocks.why import MOST, why_reply
from bot.slack.handling import Reply, Request
from bot.slack.line import read_clear
from bot.slack.lookup import find_scored
from storage.reading.history import why


async def explain_score(request: Request) -> Reply:
    """Handle `why CONTACT [TYPE]`."""
    if not request.text:
        return plain_reply("Name the contact: `/score why ada@example.com fit`")
    words, scores = read_clear(request.text, request.types)
    contact = await find_scored(request, words, line=f"why {{}} {scores[0]}")
    if isinstance(contact, Reply):
        return contact
    score_type, explanation = await why(
        request.workspace, contact=contact.id, score=scores[0], most=MOST, now=request.now
    )
    return why_reply(contact, score_type, explanation)
