"""Delete all that is known of a contact, once somebody ticked that they mean it."""

from bot.blocks.delete_modal import delete_modal
from bot.blocks.refusals import plain_reply
from bot.slack.handling import Reply, Request
from bot.slack.line import read_contact
from bot.slack.lookup import find_one
from storage.ledger.erase import count_holdings


async def delete_contact(request: Request) -> Reply:
    """Answer `delete CONTACT` with the form that says what will be gone."""
    words = read_contact(request.text)
    if not words:
        return plain_reply("Say whom: `/score delete ada@example.com`")
    contact = await find_one(request, words, line="delete {}")
    if isinstance(contact, Reply):
        return contact
    return Reply(modal=delete_modal(contact, await count_holdings(request.workspace, contact=contact.id)))
