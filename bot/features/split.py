"""Split an id of a source from a contact, after a preview with a button that confirms."""

import re

from bot.blocks.merge import SPLIT, changed_meanwhile_reply, split_preview_reply, split_receipt_reply
from bot.slack.access import Need
from bot.slack.examples import ask_for_contact
from bot.slack.feature import Feature, Verb
from bot.slack.handling import Reply, Request
from bot.slack.line import read_contact
from bot.slack.lookup import find_one
from storage.domain.contacts import Reference
from storage.domain.errors import UnknownContact
from storage.ledger.batches import is_recorded
from storage.ledger.contacts import contacts
from storage.ledger.split import preview_split, split_contact

_ROW = re.compile(r"[0-9]{1,18}", re.ASCII)


async def show_split(request: Request) -> Reply:
    """Handle `split CONTACT SOURCE:ID`: preview the split, with a button that confirms."""
    words, _, last = request.text.rpartition(" ")
    id = _parse_id(last)
    if id is None or not words:
        return await ask_for_contact(
            request,
            "split {contact} {id}",
            what="Name the contact and the id that belongs to somebody else",
            usage="split CONTACT SOURCE:ID",
        )
    contact = await find_one(request, read_contact(words), line=f"split {{}} {last}")
    if isinstance(contact, Reply):
        return contact
    result = await preview_split(request.workspace, contact=contact.id, id=id, now=request.now)
    return split_preview_reply(contact, id, result)


async def confirm_split(request: Request) -> Reply:
    """Split the id of a preview from its contact, and return the receipt in its place."""
    row, _, typed = request.text.partition(" ")
    id = _parse_id(typed)
    if id is None or not _ROW.fullmatch(row):
        raise UnknownContact
    if await is_recorded(request.workspace, batch=request.batch):
        return Reply()  # a retry of the same click
    if not await contacts(request.workspace, ids=[int(row)]):
        return changed_meanwhile_reply(f"split id:{row} {typed}")
    result = await split_contact(
        request.workspace,
        contact=int(row),
        id=id,
        actor=request.person.id,
        batch=request.batch,
        now=request.now,
    )
    return split_receipt_reply(result, batch=request.batch)


def _parse_id(text: str) -> Reference | None:
    """Return the id written as `source:id`, or None if the text is something else."""
    source, colon, key = text.partition(":")
    return Reference(source=source.casefold(), id=key) if source and colon and key else None


FEATURE = Feature(
    verbs={
        "split": Verb(
            show_split,
            "split CONTACT SOURCE:ID",
            "make an id of a source a contact of its own; Undo joins the two again",
            ("split {contact} {id}",),
            Need.ADMINISTER,
        ),
    },
    buttons={SPLIT: (Need.ADMINISTER, confirm_split)},
)
