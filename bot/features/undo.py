"""Undo the last command of a person, the change of a receipt, or an import."""

import re

from bot.blocks.refusals import plain_reply
from bot.blocks.scores import receipt_reply
from bot.blocks.undo import GONE, deferred_undo_reply, taken_back_reply
from bot.slack.access import Need
from bot.slack.feature import Command, Feature
from bot.slack.handling import Reply, Request
from storage.ledger.contacts import contacts
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


async def undo_batch(request: Request, batch: str, *, replaces: bool = False) -> Reply:
    """Undo a batch, recalculate the affected scores and return the receipt; raises NothingToUndo."""
    recorded = await request.undo(batch)
    if recorded.pending:
        return deferred_undo_reply(recorded.pending, batch=request.batch, replaces=replaces)
    if not recorded.undone:
        return Reply()  # a retry of the same request
    affected = await contacts(request.workspace, ids=recorded.undone[:2])
    if recorded.moved and len(affected) == 1:
        note = f"undone{GONE if affected[0].is_gone else ''}"
        return receipt_reply(affected[0], recorded.moved, batch=request.batch, note=note, replaces=replaces)
    return taken_back_reply(
        affected, contacts=len(recorded.undone), moved=recorded.moved, batch=request.batch, replaces=replaces
    )


async def undo_change(request: Request) -> Reply:
    """Undo the batch in the button's value."""
    return await undo_batch(request, request.text, replaces=True)


FEATURE = Feature(
    verbs={"undo": Command(undo, "undo", "undo your last change", ("undo",), Need.SET)},
    buttons={"undo": (Need.SET, undo_change)},
)
