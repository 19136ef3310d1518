"""Order changes of one score that have the same time, because the sender's times are too coarse.

Within one delivery the position decides, between deliveries the key. If every change includes the value before and
after it, the values decide: within one delivery as a chain, between deliveries by a key with a *sortable* text."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from storage.domain.facts import Item, ItemRequest, Op
from storage.domain.numbers import LARGEST


def sortable(before: int, after: int) -> str:
    """Return a text that sorts changes by value: first rises, by ascending value, then falls, by descending value."""
    return f"r{LARGEST + after:014d}" if after >= before else f"s{LARGEST - after:014d}"


def order_simultaneous(items: Sequence[ItemRequest]) -> list[ItemRequest]:
    """Return the items of one delivery, with a different *place* (in µs) for changes that the sender dates alike."""
    groups: dict[object, dict[str, Item]] = {}  # (contact, score, time) → key → the first item with it
    for item in items:
        if isinstance(item, Item) and _has_coarse_time(item):
            groups.setdefault(_get_group(item), {}).setdefault(item.key, item)
    if not groups:
        return list(items)
    places = {
        (group, key): place
        for group, changes in groups.items()
        for key, place in _place(list(changes.values())).items()
    }
    return [_move(item, places) if isinstance(item, Item) else item for item in items]


def _has_coarse_time(item: Item) -> bool:
    return item.score is not None and item.occurred_at is not None and item.resolution > 1


def _get_group(item: Item) -> object:
    return (item.contact, item.score, item.occurred_at)


def _move(item: Item, places: Mapping[tuple[object, str], int]) -> Item:
    place = places.get((_get_group(item), item.key), 0)
    return replace(item, place=min(place, item.resolution - 1)) if place else item


def _place(changes: Sequence[Item]) -> dict[str, int]:
    """Return the place of each change by its key. The result is empty if the keys sort the changes already."""
    values = [(change.was, change.amount) for change in changes if change.was is not None and change.op is Op.SET]
    order: Sequence[int] = range(len(changes))
    if len(values) == len(changes):
        by_key = sorted(order, key=lambda position: sortable(*values[position]))
        order = _find_chain(values) or by_key
        if order == by_key:
            return {}
    return {changes[position].key: place for place, position in enumerate(order)}


def _find_chain(values: Sequence[tuple[int, int]]) -> list[int] | None:
    """Return an order in which each change starts at the value that the previous change ended at, or None."""
    forward = list(range(len(values)))
    for order in (forward, forward[::-1]):
        if _is_chain(values, order):
            return order
    begins = [before for before, _ in values]
    ends = [after for _, after in values]
    start = next((value for value in begins if begins.count(value) > ends.count(value)), begins[0])
    # Hierholzer's algorithm: a walk along every change, each once.
    waiting: dict[int, list[int]] = {}
    for position in reversed(forward):
        waiting.setdefault(begins[position], []).append(position)
    walk: list[int] = []
    stack = [(start, -1)]
    while stack:
        value, position = stack[-1]
        if waiting.get(value):
            following = waiting[value].pop()
            stack.append((ends[following], following))
        else:
            stack.pop()
            walk.append(position)
    order = walk[-2::-1]  # without the start
    return order if len(order) == len(values) and _is_chain(values, order) else None


def _is_chain(values: Sequence[tuple[int, int]], order: Sequence[int]) -> bool:
    return all(values[left][1] == values[right][0] for left, right in pairwise(order))
