"""Draw the days of one score for whoever asks, in their time zone."""

import asyncio
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bot.chart import Chart, Mark, describe_chart, png
from bot.slack.handling import SLACK, Picture, Request
from storage.domain.contacts import Contact
from storage.domain.facts import DAY
from storage.reading.history import Cause, load_timeline

MOST_CHANGES = 20_000


async def chart_of(asked: Request, contact: Contact, *, score: str, days: int) -> Picture | None:
    """Give the picture of one score over so many days until now; none where it was missing all the time."""
    found = await load_timeline(
        asked.workspace, contact=contact.id, score=score, most=MOST_CHANGES, since=asked.now - days * DAY, now=asked.now
    )
    if all(value is None for _, value in found.points):
        return None
    chart = Chart(
        whose=contact.shown,
        score_type=found.score_type,
        since=found.since,
        until=found.until,
        zone=zone_of(asked.person.zone),
        points=found.points,
        marks=[
            Mark(at=one.move.at, before=one.move.before, after=one.move.after, cause=await _cause(asked, one))
            for one in found.causes
        ],
    )
    return Picture(png=await asyncio.to_thread(png, chart), words=describe_chart(chart))


async def _cause(asked: Request, cause: Cause) -> str:
    """Say who or what a change is from, and why; a picture mentions nobody, so a colleague is named."""
    if cause.actor and cause.source == SLACK:
        who = f"by {await asked.name_of(cause.actor) or 'a colleague'}"
    else:
        who = f"by {cause.actor}" if cause.actor else f"from {cause.source}"
    return f"{who}, “{' '.join(cause.reason.split())}”" if cause.reason else who


def zone_of(name: str | None) -> ZoneInfo:
    """Give a time zone by its name; UTC where there is none of that name."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")
