"""Take back what one request recorded, and say what that did."""

from bot.asking import Asked, Reply
from bot.blocks.receipt import receipt_reply
from storage.contacts import contacts


async def undo_batch(asked: Asked, batch: str, *, replaces: bool = False) -> Reply:
    """Leave a batch out of every fold; raises NothingToUndo."""
    recorded = await asked.undo(batch)
    if not recorded.moved:
        return Reply()  # the same request, sent again
    whom = await contacts(asked.workspace, ids=[recorded.moved[0].contact])
    return receipt_reply(whom[0], recorded.moved, batch=asked.batch, note="undone", replaces=replaces)
