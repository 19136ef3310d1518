"""Draft, preview and rename score types; every screen that changes a definition uses these functions."""

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


async def settings_page(request: Request, *, first: int = 0) -> Reply:
    """Return the page of score types that starts at index *first*, with the open drafts."""
    return settings_reply(request.types, await drafts(request.workspace), first=first)


async def propose_change(request: Request, proposed: ScoreType) -> Reply:
    """Apply a change that affects no score at once, or else build a draft and show its preview.

    Older drafts of the type are canceled. Raises BadDefinition.
    """
    live = request.type(proposed.key)
    older = [pending for pending in await drafts(request.workspace) if pending.key == proposed.key]
    same = next(
        (pending for pending in older if _drop_version(pending) == _drop_version(proposed)), None
    )  # a repeated submission of the same form
    new_draft = same or await draft(request.workspace, wanted=proposed, now=request.now)
    for pending in older:
        if pending != same:
            with suppress(NoDraft):  # somebody else canceled or applied the draft first
                await cancel(request.workspace, draft=pending)
    if new_draft is None:
        return _reply_to_rename(live, proposed)
    reply = await show_preview(request, new_draft)
    if proposed.is_default and not live.is_default:  # the default affects no score, so it changed at once
        note = f"Numbers without a score type mean {escape(live.label)} already."
        reply = replace(reply, blocks=[*reply.blocks, context(note)])
    return reply


def _drop_version(score_type: ScoreType) -> ScoreType:
    return replace(score_type, definition=0, number=0, is_default=False)


async def show_preview(request: Request, pending: ScoreType) -> Reply:
    """Build a draft, which may take a while, and return its preview; raises NoDraft."""
    await build(request.workspace, draft=pending, progress=lambda _: None, now=request.now)
    changes = await preview(request.workspace, draft=pending, now=request.now)
    existing = await contacts(request.workspace, ids=[id for id, _, _ in changes.first])
    return preview_reply(request.type(pending.key), changes, {contact.id: contact for contact in existing})


async def draft_of(request: Request, key: str, number: str) -> ScoreType:
    """Return the draft in a button's value; raises NoDraft if it is gone or a newer version is live."""
    matches = [
        pending for pending in await drafts(request.workspace) if (pending.key, str(pending.number)) == (key, number)
    ]
    if not matches:
        raise NoDraft
    if matches[0].number < request.type(key).number:
        await cancel(request.workspace, draft=matches[0])
        raise NoDraft("that draft is of a version that is live no longer, so it was dropped; change it anew")
    return matches[0]


def _reply_to_rename(live: ScoreType, proposed: ScoreType) -> Reply:
    """Return the reply about changes that affect no score."""
    changes = []
    if proposed.label != live.label:
        changes.append(f"{escape(live.label)} is called {escape(proposed.label)} now")
    if proposed.bands != live.bands:
        bands = ", ".join(written_bands(proposed.bands).split("\n")) if proposed.bands else "none"
        changes.append(f"the bands of {escape(proposed.label)} are {bands}")
    if proposed.is_default and not live.is_default:
        changes.append(f"numbers without a score type mean {escape(proposed.label)}")
    if not changes:
        return plain_reply(f"{escape(live.label)} is so already; nothing was changed.")
    sentence = "; ".join(changes)
    return plain_reply(f"{sentence[:1].upper()}{sentence[1:]}. No score moved, and nobody was asked to follow up.")
