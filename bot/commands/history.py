"""Show the changes of one score of a contact, and over a period how it went."""

from bot.blocks.history import MOST, history_reply
from bot.blocks.refusals import plain_reply
from bot.history_chart import chart_of
from bot.slack.handling import Reply, Request
from bot.slack.line import read_clear, read_days
from bot.slack.lookup import find_scored
from storage.domain.facts import DAY
from storage.reading.history import history


async def show_history(asked: Request) -> Reply:
    """Answer `history CONTACT [TYPE] [90d]`."""
    if not asked.text:
        return plain_reply("Say whose: `/score history ada@example.com fit`")
    line, days = read_days(asked.text)
    words, scores = read_clear(line, asked.types)
    period = f" {days}d" if days else ""
    found = await find_scored(asked, words, line=f"history {{}} {scores[0]}{period}")
    if isinstance(found, Reply):
        return found
    since = asked.now - days * DAY if days else 0
    score_type, entries = await history(asked.workspace, contact=found.id, score=scores[0], most=MOST, since=since)
    picture = await chart_of(asked, found, score=score_type.key, days=days) if days else None
    return history_reply(found, score_type, entries, picture=picture)
