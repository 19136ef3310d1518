"""Order the changes of one score that their sender dates alike, because its times are not fine enough.

Inside one delivery the place decides, between deliveries the key. Of changes with a value before and after, the values
decide: inside one delivery as a chain, between deliveries by a key that sorts as *sortable* does."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from storage.domain.facts import Item, ItemRequest, Op
from storage.domain.numbers import LARGEST


def sortable(before: int, after: int) -> str:
    """Return what sorts changes by their values: rises first, by the new value, then falls, by theirs from above."""
    return f"r{LARGEST + after:014d}" if after >= before else f"s{LARGEST - after:014d}"


def order_simultaneous(items: Sequence[ItemRequest]) -> list[ItemRequest]:
    """Return the items of one delivery with the µs that set those apart that the sender dates alike."""
    groups: dict[object, dict[str, Item]] = {}  # (contact, score, time) → key → the first item with it
    for item in items:
        if isinstance(item, Item) and _has_coarse_time(item):
            groups.setdefault(_get_group(item), {}).setdefault(item.key, item)
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
    """Return the place of each change by its key; 0 for all if their keys sort them already."""
    values = [(change.was, change.amount) for change in changes if change.was is not None and change.op is Op.SET]
    order: Sequence[int] = range(len(changes))
    if len(values) == len(changes):
        by_key = sorted(order, key=lambda position: sortable(*values[position]))
        order = _find_chain(values) or by_key
        if order == by_key:
            return {}
    return {changes[position].key: place for place, position in enumerate(order)}


def _find_chain(values: Sequence[tuple[int, int]]) -> list[int] | None:
    """Return an order in which each change begins with the value that the one before ended with, if there is one."""
    forward = list(range(len(values)))
    for order in (forward, forward[::-1]):
        if _is_chain(values, order):
            return order
    begins = [before for before, _ in values]
    ends = [after for _, after in values]
    start = next((value for value in begins if begins.count(value) > ends.count(value)), begins[0])
    # Hierholzer's walk: along every change once.
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
