"""Take back what one request recorded, and say what that did."""

from bot.blocks.receipt import receipt_reply, taken_back_reply
from bot.slack.handling import Reply, Request
from storage.ledger.contacts import contacts


async def undo_batch(asked: Request, batch: str, *, replaces: bool = False) -> Reply:
    """Leave a batch out of every fold; raises NothingToUndo."""
    recorded = await asked.undo(batch)
    if not recorded.undone:
        return Reply()  # the same request, sent again
    whom = await contacts(asked.workspace, ids=recorded.undone[:2])
    if recorded.moved and len(whom) == 1:
        return receipt_reply(whom[0], recorded.moved, batch=asked.batch, note="undone", replaces=replaces)
    return taken_back_reply(
        whom, contacts=len(recorded.undone), moved=recorded.moved, batch=asked.batch, replaces=replaces
    )
