"""`/score clear`: remove scores of a contact."""

from bot.blocks.elements import score_called
from bot.blocks.refusals import plain_reply
from bot.blocks.scores import receipt_reply
from bot.slack.handling import Reply, Request
from bot.slack.line import read_clear
from bot.slack.lookup import find_scored
from bot.slack.text import escape
from storage.reading.current_scores import card


async def clear_score(request: Request) -> Reply:
    """Handle `clear CONTACT [TYPE…]`."""
    words, scores = read_clear(request.text, request.types)
    contact = await find_scored(request, words, line=f"clear {{}} {' '.join(scores)}")
    if isinstance(contact, Reply):
        return contact
    contact_card = await card(request.workspace, contact=contact.id, now=request.now)
    existing = [
        score
        for score in scores
        if contact_card and score in {current.score_type.key for current in contact_card.standings}
    ]
    if not existing:
        label = score_called(*(request.type(score).label for score in scores))
        return plain_reply(f"{escape(contact.shown)} has no {label}, so there is nothing to clear.")
    recorded = await request.clear(contact, existing)
    if not recorded.moved:
        return Reply()  # a retry of the same request
    return receipt_reply(contact, recorded.moved, batch=request.batch)
