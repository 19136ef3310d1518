"""Delete a contact, after a form that lists what will be deleted."""

from bot.blocks.delete import DELETE_FORM, TICK, delete_modal, describe_holdings
from bot.blocks.refusals import plain_reply
from bot.slack.access import Need
from bot.slack.examples import ask_for_contact
from bot.slack.feature import Feature, Verb
from bot.slack.handling import Reply, Request
from bot.slack.line import read_contact
from bot.slack.lookup import find_one
from bot.slack.text import escape
from storage.domain.errors import UnknownContact
from storage.ledger.contacts import contacts
from storage.ledger.erase import count_holdings
from storage.reading.search import find_by_key


async def delete_contact(request: Request) -> Reply:
    """Handle `delete CONTACT`: return the form that lists what will be deleted."""
    words = read_contact(request.text)
    if not words:
        return await ask_for_contact(request, "delete {contact}")
    contact = await find_one(request, words, line="delete {}")
    if isinstance(contact, Reply):
        # What was recorded about a contact that is gone is still stored, and must be deletable.
        gone = None if words.isdecimal() else await find_by_key(request.workspace, key=words, include_gone=True)
        if gone is None:
            return contact
        contact = gone
    return Reply(modal=delete_modal(contact, await count_holdings(request.workspace, contact=contact.id)))


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


FEATURE = Feature(
    verbs={
        "delete": Verb(
            delete_contact,
            "delete CONTACT",
            "delete a contact for good",
            ("delete {contact}",),
            Need.ADMINISTER,
        ),
    },
    forms={DELETE_FORM: (Need.ADMINISTER, submit_deletion)},
)
