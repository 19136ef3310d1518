"""Delete all that is known of a contact, once somebody ticked that they mean it."""

from bot.blocks.delete_modal import delete_modal
from bot.blocks.refusals import plain_reply
from bot.slack.handling import Reply, Request
from bot.slack.line import strip_quotes
from bot.slack.lookup import find_one
from storage.ledger.erase import count_holdings


async def delete_contact(asked: Request) -> Reply:
    """Answer `delete CONTACT` with the form that says what will be gone."""
    words = strip_quotes(asked.text)
    if not words:
        return plain_reply("Say whom: `/score delete ada@example.com`")
    found = await find_one(asked, words, line="delete {}")
    if isinstance(found, Reply):
        return found
    return Reply(modal=delete_modal(found, await count_holdings(asked.workspace, contact=found.id)))
