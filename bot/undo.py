"""Undo a recorded batch and render the result."""

from bot.blocks.scores import receipt_reply
from bot.blocks.undo import deferred_undo_reply, taken_back_reply
from bot.slack.handling import Reply, Request
from storage.ledger.contacts import contacts


async def undo_batch(request: Request, batch: str, *, replaces: bool = False) -> Reply:
    """Undo a batch, recalculate the affected scores and return the receipt; raises NothingToUndo."""
    recorded = await request.undo(batch)
    if recorded.pending:
        return deferred_undo_reply(recorded.pending, batch=request.batch, replaces=replaces)
    if not recorded.undone:
        return Reply()  # a retry of the same request
    affected = await contacts(request.workspace, ids=recorded.undone[:2])
    if recorded.moved and len(affected) == 1:
        return receipt_reply(affected[0], recorded.moved, batch=request.batch, note="undone", replaces=replaces)
    return taken_back_reply(
        affected, contacts=len(recorded.undone), moved=recorded.moved, batch=request.batch, replaces=replaces
    )
