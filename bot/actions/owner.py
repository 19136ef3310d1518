"""Make whoever clicks the owner of a contact that has none."""

from bot.blocks.refusals import plain_reply, refusal_reply
from bot.slack.handling import Reply, Request
from bot.slack.text import escape
from storage.domain.errors import UnknownContact
from storage.domain.facts import Item
from storage.ledger.contacts import contacts


async def become_owner(asked: Request) -> Reply:
    """Record who owns it from now on, unless somebody else does by now."""
    id = int(asked.text) if asked.text.isascii() and asked.text.isdecimal() else 0
    found = await contacts(asked.workspace, ids=[id])
    if not found:
        return refusal_reply(UnknownContact())
    if asked.person.email is None:
        return plain_reply(
            "Slack does not tell me your address, by which I know owners. An admin can add `users:read.email`."
        )
    (one,) = found
    if one.owner:
        return plain_reply(f"{escape(one.shown)} has an owner by now: {escape(one.owner)}.")
    await asked.own(Item(key=asked.key, contact=id, fields={"owner": asked.person.email}))
    return plain_reply(f"You own {escape(one.shown)} from now on: {escape(asked.person.email)}.")
