"""Act on the buttons under score types and their drafts."""

from dataclasses import replace

from bot.blocks.preview import applied_reply, heading
from bot.blocks.refusals import plain_reply
from bot.blocks.settings import type_modal
from bot.definition_changes import draft_of, settings_page, show_preview
from bot.slack.handling import Outlived, Reply, Request
from bot.slack.text import escape
from storage.scoring.definitions import load_version
from storage.scoring.drafts import NoDraft, apply, cancel, draft


async def turn_settings(asked: Request) -> Reply:
    """Show the score types from the place on that the button names."""
    first = int(asked.text) if asked.text.isascii() and asked.text.isdecimal() else 0
    return replace(await settings_page(asked, first=first), replaces=True)


async def open_type_form(asked: Request) -> Reply:
    """Open the form of the score type that the button names, or of a new one."""
    return Reply(modal=type_modal(next((one for one in asked.types if one.key == asked.text), None)))


async def preview_draft(asked: Request) -> Reply:
    """Show once more what a draft would change."""
    key, _, number = asked.text.partition(" ")
    return await show_preview(asked, await draft_of(asked, key, number))


async def apply_quietly(asked: Request) -> Reply:
    """Let a draft be live, asking nobody to follow up."""
    return await _apply(asked, asks=False)


async def apply_and_ask(asked: Request) -> Reply:
    """Let a draft be live, and ask to follow up on those who come into what a rule watches."""
    return await _apply(asked, asks=True)


async def _apply(asked: Request, *, asks: bool) -> Reply:
    key, _, number = asked.text.partition(" ")
    waiting, before = await draft_of(asked, key, number), asked.type(key)
    count = await apply(asked.workspace, draft=waiting, asks=asks, now=asked.now)
    return applied_reply(before, waiting, asked=count if asks else None)


async def cancel_draft(asked: Request) -> Reply:
    """Drop a draft."""
    key, _, number = asked.text.partition(" ")
    waiting = await draft_of(asked, key, number)
    await cancel(asked.workspace, draft=waiting)
    said = f"Cancelled, so nothing was changed. It was: {heading(asked.type(key), waiting)}."
    return replace(plain_reply(said), replaces=True)


async def revert_definition(asked: Request) -> Reply:
    """Let the version that was live before be live again, asking nobody to follow up."""
    key, before, applied = _three(asked.text)
    now = asked.type(key)
    if str(now.number) != applied:
        return plain_reply(
            f"{escape(now.label)} was changed again since, so this cannot be taken back. See `/score settings`"
        )
    if int(before) >= now.number:
        raise Outlived
    wanted = await load_version(asked.workspace, score=key, number=int(before))
    made = await draft(asked.workspace, wanted=wanted, now=asked.now)
    if made is None:
        raise NoDraft
    await apply(asked.workspace, draft=made, asks=False, now=asked.now)
    said = f"*Taken back.* {heading(now, made, is_done=True)}. Nobody was asked to follow up."
    return replace(plain_reply(said), replaces=True)


def _three(text: str) -> list[str]:
    """Cut what a button says of an applied draft: the type, the version before, the one applied; raises Outlived."""
    words = text.split(" ")
    if len(words) != 3 or not words[1].isdecimal():
        raise Outlived
    return words
