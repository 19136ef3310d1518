"""Build the chart of a score for the person who asks, in that person's time zone."""

import asyncio
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bot.blocks.chart import Chart, Mark, describe_chart, png
from bot.slack.handling import SLACK, Picture, Request
from storage.domain.contacts import Contact
from storage.domain.facts import DAY
from storage.reading.history import Cause, load_timeline

MOST_CHANGES = 20_000


async def chart_of(request: Request, contact: Contact, *, score: str, days: int) -> Picture | None:
    """Return the chart of a score over the last *days* days, or None if the score was missing all the time."""
    timeline = await load_timeline(
        request.workspace,
        contact=contact.id,
        score=score,
        most=MOST_CHANGES,
        since=request.now - days * DAY,
        now=request.now,
    )
    if all(value is None for _, value in timeline.points):
        return None
    chart = Chart(
        contact_name=contact.shown,
        score_type=timeline.score_type,
        since=timeline.since,
        until=timeline.until,
        zone=zone_of(request.person.zone),
        points=timeline.points,
        marks=[
            Mark(
                at=cause.move.at,
                before=cause.move.before,
                after=cause.move.after,
                cause=await _describe_cause(request, cause),
            )
            for cause in timeline.causes
        ],
    )
    return Picture(png=await asyncio.to_thread(png, chart), words=describe_chart(chart))


async def _describe_cause(request: Request, cause: Cause) -> str:
    """Return the origin and reason of a change; colleagues appear by name, because a picture cannot mention them."""
    if cause.actor and cause.source == SLACK:
        author = f"by {await request.name_of(cause.actor) or 'a colleague'}"
    else:
        author = f"by {cause.actor}" if cause.actor else f"from {cause.source}"
    return f"{author}, “{' '.join(cause.reason.split())}”" if cause.reason else author


def zone_of(name: str | None) -> ZoneInfo:
    """Return the time zone with this name, or UTC if there is none."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")
