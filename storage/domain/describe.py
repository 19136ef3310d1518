"""Describe in words the items of a delivery and the contributions to a score, for Slack and the terminal."""

from datetime import UTC, datetime

from storage.domain.contacts import Reference
from storage.domain.explain import MONTH, Contribution
from storage.domain.facts import Deletion, Ignored, Item, ItemRequest, Merge, Op, Split, Unusable
from storage.domain.numbers import show, show_signed
from storage.domain.score_types import ScoreType


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
            return f"{item.score} {show_signed(item.amount)}"
        case Op.CLEAR:
            return f"{item.score} cleared"
        case _:
            names = ", ".join(item.fields)
            return f"{names} saved" if names else "contact saved"


def describe_contribution(contribution: Contribution, score_type: ScoreType) -> str:
    """Return what was asked for and what it lost: `of +20, 8 over the cap`; empty if all of it counts.

    The losses are those to the cap, the range, rounding and fading, each only if there is one.
    """
    rounding = "up" if contribution.rounded < 0 else "down"
    losses = [
        f"{show(abs(amount))} {words}"
        for amount, words in (
            (contribution.cut_by_cap, "over the cap"),
            (contribution.cut_by_range, f"cut by the range {score_type.range_shown}"),
            (contribution.rounded, f"rounded {rounding}"),
            (contribution.faded, "faded"),
        )
        if amount
    ]
    if contribution.occurred_at is None:
        return f"where {score_type.label} starts"
    if contribution.op == MONTH:
        month = f"{datetime.fromtimestamp(contribution.occurred_at / 1_000_000, UTC):%B %Y}"
        return ", ".join([f"{contribution.count} changes in {month}: {show_signed(contribution.asked)}", *losses])
    if contribution.op == Op.SET:
        return ", ".join([f"set to {show(contribution.asked)}", *losses])
    return ", ".join([f"of {show_signed(contribution.asked)}", *losses]) if losses else ""


def name_causes(contribution: Contribution) -> list[str]:
    """Return the activity and the rule behind a contribution: `demo_booked`, `rule demo ended`."""
    activity = [contribution.activity] if contribution.activity else []
    rule = [f"rule {contribution.rule}{' ended' if contribution.ended else ''}"] if contribution.rule else []
    return [*activity, *rule]
