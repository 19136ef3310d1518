"""`/score delete`: open the form that confirms the deletion of a contact."""

from bot.blocks.delete_modal import delete_modal
from bot.blocks.refusals import plain_reply
from bot.slack.handling import Reply, Request
from bot.slack.line import read_contact
from bot.slack.lookup import find_one
from storage.ledger.erase import count_holdings


async def delete_contact(request: Request) -> Reply:
    """Handle `delete CONTACT`: return the form that lists what will be deleted."""
    words = read_contact(request.text)
    if not words:
        return plain_reply("Name the contact: `/score delete ada@example.com`")
    contact = await find_one(request, words, line="delete {}")
    if isinstance(contact, Reply):
        return contact
    return Reply(modal=delete_modal(contact, await count_holdings(request.workspace, contact=contact.id)))
