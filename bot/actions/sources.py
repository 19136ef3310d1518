"""Act on the buttons under sources."""

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

AT_ONCE = 50  #: deliveries that one press replays


async def turn_sources(asked: Request) -> Reply:
    """Show the sources from the place on that the button names."""
    return replace(await sources_page(asked, first=_number(asked.text)), replaces=True)


async def open_source_form(asked: Request) -> Reply:
    """Open the form of a new source."""
    return Reply(modal=source_modal(asked.senders.steps))


async def show_source(asked: Request) -> Reply:
    """Show what a source is set to, and what to do at its side."""
    source = (await find_source(asked.workspace.team, slug=asked.text)).at(asked.now)
    away = next((one for one in await list_refusals(asked.workspace) if one.source == source.slug), None)
    return source_reply(source, asked.senders, away, await readback_status(asked.workspace, source=source.slug))


async def try_source(asked: Request) -> Reply:
    """Show what would be taken of the last delivery of a source that is kept."""
    source = await find_source(asked.workspace.team, slug=asked.text)
    last = await latest_raw(asked.workspace, source=source.slug)
    if last is None:
        return no_delivery_reply(source.slug)
    known, raw = last
    items, warnings = asked.senders.attempt(source, raw, known.key)
    return dry_run_reply(known, items, warnings, {one.key: one for one in asked.types})


async def pause_source(asked: Request) -> Reply:
    """Take nothing of a source until it is resumed."""
    return await _set_paused(asked, paused=True)


async def resume_source(asked: Request) -> Reply:
    """Take what a source sends again."""
    return await _set_paused(asked, paused=False)


async def _set_paused(asked: Request, *, paused: bool) -> Reply:
    slug, _, first = asked.text.partition(" ")
    source = await find_source(asked.workspace.team, slug=slug)
    await set_source(asked.workspace, slug=slug, settings=replace(source.settings, paused=paused), now=asked.now)
    return replace(await sources_page(asked, first=_number(first)), replaces=True)


async def open_rotate_form(asked: Request) -> Reply:
    """Open the form that gives a source another secret."""
    return Reply(modal=rotate_modal(await find_source(asked.workspace.team, slug=asked.text)))


async def show_quarantine(asked: Request) -> Reply:
    """Show what of a source could not be used, and why."""
    items = await quarantine(asked.workspace, source=asked.text, most=MOST_ITEMS)
    return quarantine_reply(asked.text, items, (await count_quarantined(asked.workspace)).get(asked.text, 0))


async def replay_source(asked: Request) -> Reply:
    """Read the deliveries of a source again of which something waits in quarantine, oldest first."""
    slug, _, after = asked.text.partition(" ")
    ids = await set_aside_deliveries(asked.workspace, source=slug, after=_number(after), most=AT_ONCE)
    counts, still = Counter[Status](), list[str]()
    for id in ids:
        try:
            recorded = await asked.senders.replay(asked.workspace, id, asked.now)
        except Refusal as refusal:
            still.append(refusal_sentence(refusal))
            continue
        counts.update(one.status for one in recorded.outcomes)
        still += [one.reason or "" for one in recorded.outcomes if one.status is Status.QUARANTINED]
    return _replayed(slug, ids, counts, still)


def _replayed(slug: str, ids: list[int], counts: Counter[Status], still: list[str]) -> Reply:
    became = ", ".join(f"{counts[status]:,} {status}" for status in Status if counts[status]) or "nothing to apply"
    many = "1 delivery" if len(ids) == 1 else f"{len(ids):,} deliveries"
    said = f"Read {many} of *{slug}* again: {became}." if ids else f"Nothing more of *{slug}* waits in quarantine."
    reasons = [
        f"Still set aside ({count:,}): {escape_sentence(reason)}" for reason, count in Counter(still).most_common(5)
    ]
    more = [button("Replay the next", action="source_replay", value=f"{slug} {ids[-1]}")] if len(ids) == AT_ONCE else []
    blocks = [section(said), *sections(reasons), *([actions(more)] if more else [])]
    return Reply(text=said, blocks=blocks, replaces=True)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0
