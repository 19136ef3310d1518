"""Upload the picture of a reply to Slack, unshared, and send the reply with it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.blocks.elements import context, section
from bot.slack.errors import error_code
from bot.slack.handling import Block, Picture, Reply
from bot.slack.text import escape
from storage.domain.people import Workspace
from storage.posted_messages import FILE, record_posted

log = structlog.get_logger(__name__)

PATIENCE = 10.0  # seconds until the upload is abandoned
#: Seconds between attempts. Slack rejects messages that show an upload which it has not processed yet.
PAUSES = (0.4, 0.8, 1.6)
NOT_ALLOWED = (
    "No chart: I may not upload pictures here yet. An admin can change that at api.slack.com/apps:"
    " *OAuth & Permissions*, add the bot scope `files:write`, then *Reinstall to Workspace*."
)
NOT_TAKEN = "No chart: Slack did not take the picture{}. The text above says what it would show; try again in a minute."
NEVER_TAKEN = "No chart: this Slack takes no pictures from apps. The text above says what it would show."


class BlocksRefused(Exception):
    """Slack rejected the blocks of a message."""


async def send_with_image(
    reply: Reply,
    picture: Picture,
    *,
    workspace: Workspace,
    client: AsyncWebClient,
    send: Callable[[Reply], Awaitable[None]],
) -> None:
    """Send a reply with its picture; if that fails, send it with a description of the picture and a hint.

    *send* must raise BlocksRefused if Slack rejects the blocks.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            # Without a channel the file is not shared with anyone; its name contains nothing about the contact.
            answer = await client.files_upload_v2(file=picture.png, filename="chart.png", title="Chart")
        file = str(answer["file"]["id"])
        await record_posted(workspace, channel=FILE, ts=file, contacts=reply.contacts)
        image = {"type": "image", "slack_file": {"id": file}, "alt_text": picture.words}
    except Exception as exc:  # whatever went wrong, the description is sent instead
        code = error_code(exc)
        log.warning("picture not uploaded", because=type(exc).__name__, error=code)
        await send(_insert_blocks(reply, section(escape(picture.words)), context(_explain_refusal(code))))
        return
    for pause in PAUSES:
        try:
            await send(_insert_blocks(reply, image))
            return
        except BlocksRefused:
            await asyncio.sleep(pause)
    log.warning("picture not shown")
    await send(_insert_blocks(reply, section(escape(picture.words)), context(NOT_TAKEN.format(""))))


def _explain_refusal(code: str | None) -> str:
    """Return why there is no chart, and what to do, for Slack's error code; None if there was no answer."""
    match code:
        case None:
            return NOT_TAKEN.format("")
        case "missing_scope":
            return NOT_ALLOWED
        case "unknown_method":
            return NEVER_TAKEN
        case _:
            return NOT_TAKEN.format(f" (`{code}`)")


def _insert_blocks(reply: Reply, *blocks: Block) -> Reply:
    """Return the reply with blocks below its title."""
    return replace(reply, blocks=[*reply.blocks[:1], *blocks, *reply.blocks[1:]], picture=None)
