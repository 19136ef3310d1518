"""Take the form that deletes a contact."""

from bot.blocks.delete_modal import TICK, describe_holdings
from bot.blocks.refusals import plain_reply
from bot.slack.handling import Reply, Request
from bot.slack.text import escape
from storage.domain.errors import UnknownContact
from storage.ledger.contacts import contacts, find_by_key
from storage.ledger.erase import count_holdings


async def submit_deletion(asked: Request) -> Reply:
    """Delete the contact of the form, where it was ticked."""
    if asked.fields.get(TICK) != TICK:
        return Reply(errors={TICK: "Tick this to delete the contact, or press Cancel."})
    id = int(asked.metadata["contact"])
    found, known = await contacts(asked.workspace, ids=[id]), await count_holdings(asked.workspace, contact=id)
    if not found:
        return await _not_there(asked, id)
    try:
        await asked.delete(id)
    except UnknownContact:  # deleted between the two
        return await _not_there(asked, id)
    return plain_reply(f"*{escape(found[0].shown)}* is gone, with {describe_holdings(known)}.")


async def _not_there(asked: Request, id: int) -> Reply:
    """Say what became of a contact since its form was opened: it is deleted, or one with another."""
    who, now = escape(str(asked.metadata.get("shown", "That contact"))), await find_by_key(asked.workspace, key=str(id))
    if now is None:
        return plain_reply(f"*{who}* is not there any more: deleted already. Nothing else was changed.")
    (one,) = await contacts(asked.workspace, ids=[now])
    return plain_reply(
        f"*{who}* is one with *{escape(one.shown)}* by now, so nothing was deleted."
        f" To delete what is known of both: `/score delete id:{one.id}`"
    )
