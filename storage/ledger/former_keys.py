"""Recognize items that an earlier version recorded under a key that is written otherwise now."""

from collections.abc import Sequence
from dataclasses import replace

from storage.db import database
from storage.domain.contacts import Reference, clean_fields
from storage.domain.errors import BadItem
from storage.domain.facts import Change, Deleted, Fact, Item, ItemRequest, is_time_of
from storage.domain.people import Workspace
from storage.ledger import contacts, facts
from storage.ledger.facts import FactKey, Stored


async def use_former_keys(workspace: Workspace, *, source: str, items: Sequence[ItemRequest]) -> list[ItemRequest]:
    """Return the items, with the former key where the ledger has the content of an item under it.

    Such an item is then recorded as the repeat that it is. Nothing is written under former keys any more, so they are
    looked up without a lock.
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
    owners = await contacts.load_known(reader, identities)
    roots = await contacts.roots(reader, {row for row, _, _ in stored.values() if row is not None})

    def use_former_key(item: ItemRequest) -> ItemRequest:
        if not isinstance(item, Item):
            return item
        named = {owners.get((workspace.id, *identity)) for identity in _list_identities(item)}
        for key in item.former_keys:
            known = stored.get(_make_key(workspace, source, item, key))
            if known is not None and _has_same_content(item, known):
                row, _, fact = known
                if isinstance(fact, Deleted) or named == {roots.get(row or 0)}:
                    return replace(item, key=key)
        return item

    return [use_former_key(item) for item in items]


def _make_key(workspace: Workspace, source: str, item: Item, key: str) -> FactKey:
    return (workspace.id, source, key, item.score or "")


def _list_identities(item: Item) -> list[tuple[str, str]]:
    """Return the identities that an item names its contact by; none where its address is no address."""
    try:
        return item.contact.identities() if isinstance(item.contact, Reference) else []
    except BadItem:
        return []


def _has_same_content(item: Item, stored: Stored) -> bool:
    """Return whether an item says what is stored; of a deleted fact only the time is left to compare."""
    _, received, fact = stored
    is_same_time = is_time_of(fact, item.occurred_at, received=received, resolution=item.resolution)
    return is_same_time and (isinstance(fact, Deleted) or _describe(fact) == _describe_item(item))


def _describe(fact: Fact) -> tuple[object, ...]:
    change = (fact.op, fact.amount) if isinstance(fact, Change) else (None, 0)
    return (*change, fact.reason, clean_fields(fact.fields))


def _describe_item(item: Item) -> tuple[object, ...]:
    return (item.op, item.amount, item.reason, clean_fields(item.fields))
