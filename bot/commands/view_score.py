"""`/score view`: show a contact with all scores."""

from dataclasses import replace

from bot.blocks.contact_card import card_reply
from bot.blocks.refusals import plain_reply, refusal_reply
from bot.slack.handling import Reply, Request
from bot.slack.line import read_contact
from bot.slack.lookup import find_one
from storage.alerts.followups import list_waiting
from storage.domain.errors import UnknownContact
from storage.reading.current_scores import card


async def view_score(request: Request) -> Reply:
    """Handle `view CONTACT`, also without the verb."""
    words = read_contact(request.text)
    if not words:
        return plain_reply("Name the contact: `/score view ada@example.com`")
    contact = await find_one(request, words, line="view {}")
    if isinstance(contact, Reply):
        return contact
    contact_card = await card(request.workspace, contact=contact.id, now=request.now)
    if contact_card is None:
        return refusal_reply(UnknownContact())
    contact_card = replace(contact_card, contact=contact)  # its buttons are about the row that was named
    return card_reply(contact_card, request.types, await list_waiting(request.workspace, contact=contact.id, most=1))
