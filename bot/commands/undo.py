"""Take back a person's last change, or an import."""

import re

from bot.blocks.refusals import plain_reply
from bot.slack.handling import Reply, Request
from bot.undo import undo_batch
from storage.ledger.facts import last_command

_IMPORT = re.compile(r"import/[0-9a-f]{16}")


async def undo(asked: Request) -> Reply:
    """Answer `undo`: the asker's last command is taken back whole; or `undo import/…`, as the import told."""
    if _IMPORT.fullmatch(asked.text):
        return await undo_batch(asked, asked.text)
    if asked.text:
        return plain_reply("`/score undo` takes back your last command, and nothing else; type it without more words.")
    batch = await last_command(asked.workspace, actor=asked.person.id)
    if batch is None:
        return plain_reply("There is no change of yours to take back.")
    return await undo_batch(asked, batch)
