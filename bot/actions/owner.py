"""Handle the button that makes the person who clicks the owner of a contact."""

from bot.blocks.refusals import plain_reply, refusal_reply
from bot.slack.handling import Reply, Request
from bot.slack.text import escape
from storage.domain.errors import UnknownContact
from storage.ledger.contacts import find_by_key


async def become_owner(request: Request) -> Reply:
    """Record the person who clicks as owner, unless the contact has an owner in the meantime."""
    contact = await find_by_key(request.workspace, key=request.text)
    if contact is None:
        return refusal_reply(UnknownContact())
    if request.person.email is None:
        return plain_reply(
            "Slack does not tell me your address, which an owner needs. An admin can add the scope `users:read.email`."
        )
    if contact.owner:
        return plain_reply(f"{escape(contact.shown)} already has an owner: {escape(contact.owner)}.")
    await request.set_owner(contact, request.person.email)
    return plain_reply(f"You own {escape(contact.shown)} now: {escape(request.person.email)}.")
