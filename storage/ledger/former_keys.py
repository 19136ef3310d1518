"""Look up related facts of items: the same content under a former key, and other content with the same time."""

from collections.abc import Sequence
from dataclasses import replace

from storage.db import database
from storage.domain.contacts import Reference, clean_fields
from storage.domain.errors import BadItem
from storage.domain.facts import Change, Deleted, Fact, Item, ItemRequest, is_time_of
from storage.domain.people import Workspace
from storage.ledger import contacts, facts
from storage.ledger.facts import FactKey, StoredFact
from storage.ledger.identities import load_contacts_of_identities
from storage.ledger.links import load_splits

SAME_TIME = "another value with the same time was received before; their keys decide which one counts"


async def use_former_keys(workspace: Workspace, *, source: str, items: Sequence[ItemRequest]) -> list[ItemRequest]:
    """Return the items, with the former key if the ledger has the content of an item under that key.

    Such an item is then recorded as the repeat it is. Former keys are never written any more, so no lock is needed.
    """
    keys = {
        _make_key(workspace, source, item, key) for item in items if isinstance(item, Item) for key in item.former_keys
    }
    reader = database.current_database().reader
    stored = await facts.load_stored(reader, keys) if keys else {}
    if not stored:
        return list(items)
    identities = {
        (workspace.id, *identity) for item in items if isinstance(item, Item) for identity in _list_identities(item)
    }
    owners = await load_contacts_of_identities(reader, identities)
    roots = await contacts.load_roots(reader, {row for row, _, _ in stored.values() if row is not None})
    splits = await load_splits(reader, {*owners.values(), *roots.values()})

    def use_former_key(item: ItemRequest) -> ItemRequest:
        if not isinstance(item, Item):
            return item
        named = {owners.get((workspace.id, *identity)) for identity in _list_identities(item)}
        for key in item.former_keys:
            known = stored.get(_make_key(workspace, source, item, key))
            if known is not None and _has_same_content(item, known):
                row, _, fact = known
                contact = roots.get(row or 0)
                # After a split, the fact may count for the contact of the id or for the one that the id left.
                if isinstance(fact, Deleted) or all(
                    owner is not None and (owner == contact or {owner, contact} in splits) for owner in named
                ):
                    return replace(item, key=key)
        return item

    return [use_former_key(item) for item in items]


def _make_key(workspace: Workspace, source: str, item: Item, key: str) -> FactKey:
    return (workspace.id, source, key, item.score or "")


def _list_identities(item: Item) -> list[tuple[str, str]]:
    """Return the identities of an item's contact; an empty list if its address is invalid."""
    try:
        return item.contact.identities() if isinstance(item.contact, Reference) else []
    except BadItem:
        return []


def _has_same_content(item: Item, stored: StoredFact) -> bool:
    """Return whether an item has the content of a stored fact. Of a deleted fact only the time can be compared."""
    _, received, fact = stored
    is_same_time = is_time_of(fact, item.occurred_at, received=received, resolution=item.resolution)
    return is_same_time and (isinstance(fact, Deleted) or _describe(fact) == _describe_item(item))


def _describe(fact: Fact) -> tuple[object, ...]:
    change = (fact.op, fact.amount) if isinstance(fact, Change) else (None, 0)
    return (*change, fact.reason, clean_fields(fact.fields))


def _describe_item(item: Item) -> tuple[object, ...]:
    return (item.op, item.amount, item.reason, clean_fields(item.fields))


async def find_simultaneous(workspace: Workspace, *, source: str, items: Sequence[ItemRequest]) -> list[ItemRequest]:
    """Return the items, with a note if another delivery set the same score of the contact at the same time.

    In that case the keys decide which value counts, because the sender's times are too coarse to order the changes.
    """
    ranges = [
        {
            "place": place, "namespace": namespace, "value": value, "subject": item.score, "key": item.key,
            "start": item.occurred_at, "stop": item.occurred_at + item.resolution,
        }
        for place, item in enumerate(items)
        if isinstance(item, Item) and item.score and item.was is None and item.resolution > 1 and item.occurred_at
        for namespace, value in _list_identities(item)
    ]  # fmt: skip  # one line for the identity, one for the fact
    if not ranges:
        return list(items)
    rows = await database.current_database().reader.rows(
        "SELECT given.place FROM given(place bigint, namespace text, value text, subject text, key text, start bigint,"
        " stop bigint) JOIN identities i ON i.workspace_id = $2 AND i.namespace = given.namespace"
        " AND i.value = given.value JOIN facts f ON f.contact_id = i.contact_id AND f.subject = given.subject"
        " WHERE f.source = $3 AND f.kind = 'change' AND f.dedupe_key <> given.key"
        " AND f.occurred_at >= given.start AND f.occurred_at < given.stop",
        ranges,
        workspace.id,
        source,
    )
    places = {row["place"] for row in rows}
    return [
        replace(item, note=f"{item.note}; {SAME_TIME}" if item.note else SAME_TIME)
        if place in places and isinstance(item, Item)
        else item
        for place, item in enumerate(items)
    ]
