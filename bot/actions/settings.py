"""Handle the buttons of score types and their drafts."""

from dataclasses import replace

from bot.blocks.preview import heading
from bot.blocks.refusals import plain_reply
from bot.blocks.settings import type_modal
from bot.definition_changes import PATIENCE, apply_change, draft_of, revert_change, settings_page, show_preview
from bot.slack.handling import Outlived, Reply, Request
from bot.slack.text import escape
from storage.scoring.definitions import load_version
from storage.scoring.drafts import cancel


async def turn_settings(request: Request) -> Reply:
    """Show the page of score types that starts at the index in the button's value."""
    first = int(request.text) if request.text.isascii() and request.text.isdecimal() else 0
    return replace(await settings_page(request, first=first), replaces=True)


async def open_type_form(request: Request) -> Reply:
    """Open the form for the score type in the button's value, or for a new one."""
    return Reply(
        modal=type_modal(next((score_type for score_type in request.types if score_type.key == request.text), None))
    )


async def preview_draft(request: Request) -> Reply:
    """Show the preview of a draft again."""
    key, _, number = request.text.partition(" ")
    return await show_preview(request, await draft_of(request, key, number))


async def apply_quietly(request: Request) -> Reply:
    """Apply a draft without creating follow-ups."""
    return await _apply_draft(request, asks=False)


async def apply_and_ask(request: Request) -> Reply:
    """Apply a draft and create follow-ups for the contacts that come into a range watched by an alert rule."""
    return await _apply_draft(request, asks=True)


async def _apply_draft(request: Request, *, asks: bool) -> Reply:
    key, _, number = request.text.partition(" ")
    return await apply_change(request, await draft_of(request, key, number), asks=asks)


async def cancel_draft(request: Request) -> Reply:
    """Cancel a draft."""
    key, _, number = request.text.partition(" ")
    pending = await draft_of(request, key, number)
    await cancel(request.workspace, draft=pending, clock=request.clock, patience=PATIENCE)
    text = f"Canceled: nothing was changed. The change was: {heading(request.type(key), pending)}."
    return replace(plain_reply(text), replaces=True)


async def revert_definition(request: Request) -> Reply:
    """Restore the definition before the applied draft, without creating follow-ups."""
    key, before, applied = _split_value(request.text)
    live = request.type(key)
    if str(live.number) != applied:
        return plain_reply(
            f"{escape(live.label)} was changed again since, so this cannot be taken back. See `/score settings`"
        )
    if int(before) >= live.number:
        raise Outlived
    earlier = await load_version(request.workspace, score=key, number=int(before))
    return await revert_change(request, earlier)


def _split_value(text: str) -> list[str]:
    """Split a button's value into score type, previous version and applied version; raises Outlived."""
    words = text.split(" ")
    if len(words) != 3 or not words[1].isdecimal():
        raise Outlived
    return words
