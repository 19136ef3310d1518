"""`/score history`: list the changes of a contact's score, with a chart if a period is given."""

from bot.blocks.history import MOST, history_reply
from bot.blocks.refusals import plain_reply
from bot.history_chart import chart_of
from bot.slack.handling import Reply, Request
from bot.slack.line import read_clear, read_days
from bot.slack.lookup import find_scored
from storage.domain.facts import DAY
from storage.reading.history import history


async def show_history(request: Request) -> Reply:
    """Handle `history CONTACT [TYPE] [90d]`."""
    if not request.text:
        return plain_reply("Name the contact: `/score history ada@example.com fit`")
    line, days = read_days(request.text)
    words, scores = read_clear(line, request.types)
    period = f" {days}d" if days else ""
    contact = await find_scored(request, words, line=f"history {{}} {scores[0]}{period}")
    if isinstance(contact, Reply):
        return contact
    since = request.now - days * DAY if days else 0
    score_type, entries = await history(request.workspace, contact=contact.id, score=scores[0], most=MOST, since=since)
    picture = await chart_of(request, contact, score=score_type.key, days=days) if days else None
    return history_reply(contact, score_type, entries, picture=picture)
