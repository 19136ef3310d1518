"""Take the form that deletes a contact."""

from bot.asking import Asked, Reply
from bot.blocks.delete_modal import TICK, told
from bot.replies import plain_reply
from bot.text import escape
from storage.contacts import contacts
from storage.deleting import holdings
from storage.domain.errors import UnknownContact


async def submit_deletion(asked: Asked) -> Reply:
    """Delete the contact of the form, where it was ticked; raises UnknownContact where it is gone already."""
    if asked.fields.get(TICK) != TICK:
        return Reply(errors={TICK: "Tick this to delete the contact, or press Cancel."})
    id = int(asked.metadata["contact"])
    found, known = await contacts(asked.workspace, ids=[id]), await holdings(asked.workspace, contact=id)
    if not found:
        raise UnknownContact
    await asked.delete(id)
    return plain_reply(f"*{escape(found[0].shown)}* is gone, with {told(known)}.")
