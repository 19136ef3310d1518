"""Describe in words what an item of a delivery says, for Slack and the terminal."""

from storage.domain.contacts import Reference
from storage.domain.facts import Deletion, Ignored, Item, ItemRequest, Merge, Op, Split, Unusable
from storage.domain.numbers import show


def describe_item(item: ItemRequest) -> str:
    """Return what an item would do: `ada@example.com (crm:7) → fit set to 8.5`."""
    match item:
        case Ignored():
            return f"Ignored: {item.reason}"
        case Unusable():
            return f"Quarantined: {item.reason}"
        case Merge():
            return f"{describe_reference(item.contact)} → merged into {describe_reference(item.into)}"
        case Split():
            return f"{describe_reference(item.contact)} → {describe_reference(item.id)} split off"
        case Deletion():
            return f"{describe_reference(item.contact)} → deleted"
        case Item():
            return f"{describe_reference(item.contact)} → {_describe_change(item)}"


def describe_reference(contact: Reference | int) -> str:
    """Return how an item names a contact: by address, by `source:id`, or by both."""
    if isinstance(contact, int):
        return f"id:{contact}"
    named = f"{contact.source}:{contact.id}" if contact.id is not None else ""
    return f"{contact.email} ({named})" if contact.email and named else contact.email or named


def _describe_change(item: Item) -> str:
    if item.activity is not None:
        return f"activity {item.activity}" + (f", {show(item.amount)} times" if item.amount != 1000 else "")
    match item.op:
        case Op.SET:
            return f"{item.score} set to {show(item.amount)}"
        case Op.ADD:
            return f"{item.score} {'+' if item.amount >= 0 else '-'}{show(abs(item.amount))}"
        case Op.CLEAR:
            return f"{item.score} cleared"
        case _:
            names = ", ".join(item.fields)
            return f"{names} saved" if names else "contact saved"
