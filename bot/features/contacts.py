"""Contacts: add one, say who it is, and become its owner."""

from collections.abc import Mapping

from bot.blocks.contacts import added_reply, already_known_reply
from bot.blocks.refusals import plain_reply
from bot.slack.access import Need
from bot.slack.feature import Feature, Verb
from bot.slack.handling import Reply, Request
from bot.slack.line import ADDABLE, read_add
from bot.slack.lookup import find_all, resolve_owner
from bot.slack.text import escape
from storage.domain.contacts import Json
from storage.domain.errors import UnknownContact
from storage.domain.submissions import Status
from storage.ledger.batches import is_recorded
from storage.reading.search import find, find_by_key


async def add_contact(request: Request) -> Reply:
    """Handle `add EMAIL [name:… company:… owner:…]`."""
    address, entered = read_add(request.text)
    if "owner" in entered:
        owner = await resolve_owner(request, entered["owner"])
        if isinstance(owner, Reply):
            return owner
        entered["owner"] = owner
    if await is_recorded(request.workspace, batch=request.batch):
        return Reply()  # a retry of the same request, answered before
    before = next(iter(await find_all(request, address)), None)
    fields: Mapping[str, Json] = entered
    if before is not None:
        fields = {name: text for name, text in entered.items() if getattr(before, name) != text}
        if not fields:
            return already_known_reply(before)
    recorded = await request.save_contact(address, fields)
    if all(outcome.status is Status.DUPLICATE for outcome in recorded.outcomes):
        return Reply()  # a retry while the first attempt was still running
    (after,) = await find(request.workspace, text=address)
    names = [name for name in ADDABLE if name in fields]
    return added_reply(before, after, names, batch=request.batch)


async def become_owner(request: Request) -> Reply:
    """Record the person who clicks as owner, unless the contact has an owner in the meantime."""
    contact = await find_by_key(request.workspace, key=request.text, include_gone=True)
    if contact is None:
        raise UnknownContact
    if request.person.email is None:
        return plain_reply(
            "Slack does not tell me your address, which an owner needs. An admin can add the scope `users:read.email`."
        )
    if contact.owner:
        return plain_reply(f"{escape(contact.shown)} already has an owner: {escape(contact.owner)}.")
    await request.set_owner(contact, request.person.email)
    return plain_reply(f"You own {escape(contact.shown)} now: {escape(request.person.email)}.")


FEATURE = Feature(
    verbs={
        "add": Verb(
            add_contact,
            "add EMAIL [name:… company:… owner:…]",
            "add a contact, or change its name, company or owner",
            ("add sam@example.com", 'add sam@example.com name:"Sam Doe" company:Acme owner:me'),
            Need.SET,
        ),
    },
    buttons={"owner": (Need.SET, become_owner)},
)
