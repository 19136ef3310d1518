"""The past of a score: its changes, with a chart, and what it consists of."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bot.blocks.chart import Chart, Mark, describe_chart, png
from bot.blocks.history import MOST, history_reply, why_reply
from bot.slack.access import Need
from bot.slack.examples import ask_for_contact
from bot.slack.feature import Feature, Verb
from bot.slack.handling import SLACK, OutdatedButton, Picture, Reply, Request
from bot.slack.line import EVER, read_clear, read_days
from bot.slack.lookup import find_scored, load_card
from bot.slack.text import parse_number
from storage.audit import AuditAction, audit_entries
from storage.domain.contacts import Contact
from storage.domain.facts import DAY
from storage.domain.score_types import ScoreType
from storage.reading.history import Cause, HistoryEntry, history, load_timeline, why

MOST_CHANGES = 20_000


async def show_history(request: Request) -> Reply:
    """Handle `history CONTACT [TYPE] [90d]`."""
    if not request.text:
        return await ask_for_contact(request, "history {contact}")
    line, days = read_days(request.text)
    words, scores = read_clear(line, request.types)
    period = "" if days is None else " all" if days == EVER else f" {days}d"
    contact = await find_scored(request, words, line=f"history {{}} {scores[0]}{period}")
    if isinstance(contact, Reply):
        return contact
    since = max(0, request.now - days * DAY) if days else 0
    score_type, entries = await history(request.workspace, contact=contact.id, score=scores[0], most=MOST, since=since)
    chart_since = None if days == EVER else since
    picture = await chart_of(request, contact, score=score_type.key, since=chart_since) if days is not None else None
    return await _reply(request, contact, score_type, entries, picture=picture)


async def open_history(request: Request) -> Reply:
    """Show the history of the contact, and optionally of the score type, in the button's value."""
    key, _, score = request.text.partition(" ")
    contact = (await load_card(request, key)).contact
    score_type, entries = await history(request.workspace, contact=contact.id, score=score or None, most=MOST)
    return await _reply(request, contact, score_type, entries)


async def show_chart(request: Request) -> Reply:
    """Show the history with a chart, in place of the current message; the value has contact, score type and days."""
    key, _, rest = request.text.partition(" ")
    score, _, period = rest.partition(" ")
    contact = (await load_card(request, key)).contact
    days = parse_number(period)
    if not 0 < days < 10_000:  # the range that `history` accepts
        raise OutdatedButton
    since = request.now - days * DAY
    score_type, entries = await history(request.workspace, contact=contact.id, score=score, most=MOST, since=since)
    picture = await chart_of(request, contact, score=score, since=since)
    return replace(await _reply(request, contact, score_type, entries, picture=picture), replaces=True)


async def _reply(
    request: Request,
    contact: Contact,
    score_type: ScoreType,
    entries: Sequence[HistoryEntry],
    *,
    picture: Picture | None = None,
) -> Reply:
    """Return the history with the changes of the score type since the oldest of its entries."""
    since = entries[-1].occurred_at if entries else request.now
    changed = await audit_entries(request.workspace, since=since, what=AuditAction.TYPE_CHANGED)
    redefined = [change for change in changed if change.subject == score_type.key]
    return history_reply(contact, score_type, entries, redefined=redefined, picture=picture)


async def explain_score(request: Request) -> Reply:
    """Handle `why CONTACT [TYPE]`."""
    if not request.text:
        return await ask_for_contact(request, "why {contact}")
    words, scores = read_clear(request.text, request.types)
    contact = await find_scored(request, words, line=f"why {{}} {scores[0]}")
    if isinstance(contact, Reply):
        return contact
    score_type, explanation = await why(
        request.workspace, contact=contact.id, score=scores[0], most=MOST, now=request.now
    )
    return why_reply(contact, score_type, explanation)


async def explain_by_button(request: Request) -> Reply:
    """Explain a score of the contact in the button's value: the score type in the value, or the contact's first."""
    key, _, score = request.text.partition(" ")
    contact_card = await load_card(request, key)
    types = [standing.score_type for standing in contact_card.standings]
    chosen = score or (types[0].key if types else request.types[0].key)
    contact = contact_card.contact
    score_type, explanation = await why(request.workspace, contact=contact.id, score=chosen, most=MOST, now=request.now)
    return why_reply(contact, score_type, explanation, others=[other for other in types if other.key != chosen])


async def chart_of(request: Request, contact: Contact, *, score: str, since: int | None) -> Picture | None:
    """Return the chart of a score since an instant, or None if the score was missing all the time.

    *since* is in µs; None: since the first change.
    """
    timeline = await load_timeline(
        request.workspace,
        contact=contact.id,
        score=score,
        most=MOST_CHANGES,
        since=since,
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


FEATURE = Feature(
    verbs={
        "history": Verb(
            show_history,
            "history CONTACT [TYPE] [90d]",
            "every change of a score; with a period such as 90d, 2y or all also a chart",
            ("history {contact}", "history {contact} {type} 90d", "history {contact} all"),
        ),
        "why": Verb(
            explain_score,
            "why CONTACT [TYPE]",
            "what a score is made of, in lines that add up to it",
            ("why {contact} {type}",),
        ),
    },
    buttons={
        "history": (Need.SEE, open_history),
        "why": (Need.SEE, explain_by_button),
        "chart": (Need.SEE, show_chart),
    },
)
