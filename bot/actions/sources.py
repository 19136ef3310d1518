"""Handle the buttons of sources."""

from collections import Counter
from dataclasses import replace

from bot.blocks.elements import actions, button, section, sections
from bot.blocks.refusals import refusal_sentence
from bot.blocks.sources import MOST_ITEMS, quarantine_reply, rotate_modal, source_modal, source_reply
from bot.blocks.trying import dry_run_reply, no_delivery_reply
from bot.slack.handling import Reply, Request
from bot.slack.text import escape_sentence
from bot.source_list import sources_page
from storage.domain.errors import Refusal
from storage.domain.submissions import Status
from storage.sources.config import find_source, set_source
from storage.sources.deliveries import count_quarantined, latest_raw, list_refusals, quarantine, set_aside_deliveries
from storage.sources.readback_queue import readback_status

AT_ONCE = 50  #: deliveries that one click replays


async def turn_sources(request: Request) -> Reply:
    """Show the page of sources that starts at the index in the button's value."""
    return replace(await sources_page(request, first=_parse_number(request.text)), replaces=True)


async def open_source_form(request: Request) -> Reply:
    """Open the form for a new source."""
    return Reply(modal=source_modal(request.senders.steps))


async def show_source(request: Request) -> Reply:
    """Show a source's settings and the steps to set up the sender."""
    source = (await find_source(request.workspace.team, slug=request.text)).at(request.now)
    refused = next(
        (refusal for refusal in await list_refusals(request.workspace) if refusal.source == source.slug), None
    )
    return source_reply(source, request.senders, refused, await readback_status(request.workspace, source=source.slug))


async def try_source(request: Request) -> Reply:
    """Show how a source's last stored delivery would be read now; nothing is recorded."""
    source = await find_source(request.workspace.team, slug=request.text)
    latest = await latest_raw(request.workspace, source=source.slug)
    if latest is None:
        return no_delivery_reply(source.slug)
    delivery, raw = latest
    items, warnings = request.senders.attempt(source, raw, delivery.key)
    return dry_run_reply(delivery, items, warnings, {score_type.key: score_type for score_type in request.types})


async def pause_source(request: Request) -> Reply:
    """Pause a source: its deliveries are answered 503 until it is resumed."""
    return await _set_paused(request, paused=True)


async def resume_source(request: Request) -> Reply:
    """Resume a source: its deliveries are accepted again."""
    return await _set_paused(request, paused=False)


async def _set_paused(request: Request, *, paused: bool) -> Reply:
    slug, _, first = request.text.partition(" ")
    source = await find_source(request.workspace.team, slug=slug)
    await set_source(request.workspace, slug=slug, settings=replace(source.settings, paused=paused), now=request.now)
    return replace(await sources_page(request, first=_parse_number(first)), replaces=True)


async def open_rotate_form(request: Request) -> Reply:
    """Open the form that rotates a source's secret."""
    return Reply(modal=rotate_modal(await find_source(request.workspace.team, slug=request.text)))


async def show_quarantine(request: Request) -> Reply:
    """Show a source's quarantined items and the reasons."""
    items = await quarantine(request.workspace, source=request.text, most=MOST_ITEMS)
    return quarantine_reply(request.text, items, (await count_quarantined(request.workspace)).get(request.text, 0))


async def replay_source(request: Request) -> Reply:
    """Replay a source's deliveries that have quarantined items, oldest first, at most 50 per click."""
    slug, _, after = request.text.partition(" ")
    ids = await set_aside_deliveries(request.workspace, source=slug, after=_parse_number(after), most=AT_ONCE)
    counts, failures = Counter[Status](), list[str]()
    for id in ids:
        try:
            recorded = await request.senders.replay(request.workspace, id, request.now)
        except Refusal as refusal:
            failures.append(refusal_sentence(refusal))
            continue
        counts.update(outcome.status for outcome in recorded.outcomes)
        failures += [outcome.reason or "" for outcome in recorded.outcomes if outcome.status is Status.QUARANTINED]
    return _reply_to_replay(slug, ids, counts, failures)


def _reply_to_replay(slug: str, ids: list[int], counts: Counter[Status], failures: list[str]) -> Reply:
    summary = ", ".join(f"{counts[status]:,} {status}" for status in Status if counts[status]) or "nothing to apply"
    amount = "1 delivery" if len(ids) == 1 else f"{len(ids):,} deliveries"
    text = f"Replayed {amount} of *{slug}*: {summary}." if ids else f"Nothing more from *{slug}* is in quarantine."
    reasons = [
        f"Still in quarantine ({count:,}): {escape_sentence(reason)}"
        for reason, count in Counter(failures).most_common(5)
    ]
    more = [button("Replay the next", action="source_replay", value=f"{slug} {ids[-1]}")] if len(ids) == AT_ONCE else []
    blocks = [section(text), *sections(reasons), *([actions(more)] if more else [])]
    return Reply(text=text, blocks=blocks, replaces=True)


def _parse_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0
