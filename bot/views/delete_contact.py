"""Handle the form that deletes a contact."""

from bot.blocks.delete_modal import TICK, describe_holdings
from bot.blocks.refusals import plain_reply
from bot.slack.handling import Reply, Request
from bot.slack.text import escape
from storage.domain.errors import UnknownContact
from storage.ledger.contacts import contacts, find_by_key
from storage.ledger.erase import count_holdings


async def submit_deletion(request: Request) -> Reply:
    """Delete the contact in the form's metadata if the checkbox is ticked."""
    if request.fields.get(TICK) != TICK:
        return Reply(errors={TICK: "Tick this to delete the contact, or press Cancel."})
    id = int(request.metadata["contact"])
    existing, holdings = (
        await contacts(request.workspace, ids=[id]),
        await count_holdings(request.workspace, contact=id),
    )
    if not existing:
        return await _report_missing(request, id)
    try:
        await request.delete(existing[0])
    except UnknownContact:  # deleted between the read and the deletion
        return await _report_missing(request, id)
    return plain_reply(f"*{escape(existing[0].shown)}* is deleted, with {describe_holdings(holdings)}.")


async def _report_missing(request: Request, id: int) -> Reply:
    """Return what happened to the contact since the form was opened: it was deleted, or merged into another one."""
    name = escape(str(request.metadata.get("shown", "That contact")))
    contact = await find_by_key(request.workspace, key=str(id))
    if contact is None:
        return plain_reply(f"*{name}* was deleted already. Nothing was changed.")
    return plain_reply(
        f"*{name}* was merged into *{escape(contact.shown)}*, so nothing was deleted."
        f" To delete the merged contact: `/score delete id:{contact.id}`"
    )
