"""`/score undo`: revert the person's last command, or an import."""

import re

from bot.blocks.refusals import plain_reply
from bot.slack.handling import Reply, Request
from bot.undo import undo_batch
from storage.ledger.facts import last_command

_IMPORT = re.compile(r"import/[0-9a-f]{16}")


async def undo(request: Request) -> Reply:
    """Handle `undo`, which reverts the person's whole last command, and `undo import/…`, which reverts an import."""
    if _IMPORT.fullmatch(request.text):
        return await undo_batch(request, request.text)
    if request.text:
        return plain_reply("`/score undo` takes back your last command, and nothing else; type it without more words.")
    batch = await last_command(request.workspace, actor=request.person.id)
    if batch is None:
        return plain_reply("You have no change to undo.")
    return await undo_batch(request, batch)
