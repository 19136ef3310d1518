"""Take another definition of a score type to a preview; every screen that changes one ends here."""

from contextlib import suppress
from dataclasses import replace

from bot.blocks.elements import context
from bot.blocks.preview import preview_reply
from bot.blocks.refusals import plain_reply
from bot.blocks.settings import settings_reply, written_bands
from bot.slack.handling import Reply, Request
from bot.slack.text import escape
from storage.domain.score_types import ScoreType
from storage.ledger.contacts import contacts
from storage.scoring.definitions import drafts
from storage.scoring.drafts import NoDraft, build, cancel, draft, preview


async def settings_page(asked: Request, *, first: int = 0) -> Reply:
    """Answer with some of the score types, from place *first* on."""
    return settings_reply(asked.types, await drafts(asked.workspace), first=first)


async def propose_change(asked: Request, wanted: ScoreType) -> Reply:
    """Change at once what moves no score, else show what would change; an older draft of the type gives way.

    Raises BadDefinition.
    """
    live = asked.type(wanted.key)
    older = [one for one in await drafts(asked.workspace) if one.key == wanted.key]
    same = next((one for one in older if _content(one) == _content(wanted)), None)  # the same form, handed in again
    made = same or await draft(asked.workspace, wanted=wanted, now=asked.now)
    for one in older:
        if one != same:
            with suppress(NoDraft):  # somebody else was faster
                await cancel(asked.workspace, draft=one)
    if made is None:
        return _renamed(live, wanted)
    shown = await show_preview(asked, made)
    if wanted.is_default and not live.is_default:  # which moves no score, so it does not wait
        said = f"Numbers without a score type mean {escape(live.label)} already."
        shown = replace(shown, blocks=[*shown.blocks, context(said)])
    return shown


def _content(one: ScoreType) -> ScoreType:
    return replace(one, definition=0, number=0, is_default=False)


async def show_preview(asked: Request, waiting: ScoreType) -> Reply:
    """Build a draft, which may take a while, and answer with what it would change; raises NoDraft."""
    await build(asked.workspace, draft=waiting, progress=lambda _: None, now=asked.now)
    told = await preview(asked.workspace, draft=waiting, now=asked.now)
    known = await contacts(asked.workspace, ids=[id for id, _, _ in told.first])
    return preview_reply(asked.type(waiting.key), told, {one.id: one for one in known})


async def draft_of(asked: Request, key: str, number: str) -> ScoreType:
    """Give the draft that a button names; raises NoDraft, also where another version was applied after it was made."""
    found = [one for one in await drafts(asked.workspace) if (one.key, str(one.number)) == (key, number)]
    if not found:
        raise NoDraft
    if found[0].number < asked.type(key).number:
        await cancel(asked.workspace, draft=found[0])
        raise NoDraft("that draft is of a version that is live no longer, so it was dropped; change it anew")
    return found[0]


def _renamed(live: ScoreType, wanted: ScoreType) -> Reply:
    """Say what was changed that moves no score."""
    told = []
    if wanted.label != live.label:
        told.append(f"{escape(live.label)} is called {escape(wanted.label)} now")
    if wanted.bands != live.bands:
        bands = ", ".join(written_bands(wanted.bands).split("\n")) if wanted.bands else "none"
        told.append(f"the bands of {escape(wanted.label)} are {bands}")
    if wanted.is_default and not live.is_default:
        told.append(f"numbers without a score type mean {escape(wanted.label)}")
    if not told:
        return plain_reply(f"{escape(live.label)} is so already; nothing was changed.")
    said = "; ".join(told)
    return plain_reply(f"{said[:1].upper()}{said[1:]}. No score moved, and nobody was asked to follow up.")
