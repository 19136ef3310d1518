"""Find things in a body by JMESPath, at a bounded cost (https://jmespath.org)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

from webhooks.limits import MAX_ITEMS

LONGEST = 1024
DEEPEST = 32
WIDEST = 64
MOST_STEPS = 200_000
ITEMS = "items"
FIELDS = ("email", "contact_id", "property", "value", "delta", "occurred_at", "id", "activity", "reason")
DEFAULT_ITEMS = "[body]"


class BadMapping(ValueError):
    """A mapping cannot be used; the message is a sentence."""


class TooCostly(Exception):
    """The expression takes more steps than a delivery is worth."""


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression, checked and compiled."""

    tree: Mapping[str, Any]

    def search(self, document: object) -> object:
        """Give what the expression finds, none for nothing; raises BadMapping where it cannot be applied."""
        try:
            return _Bounded().visit(self.tree, document)
        except TooCostly as exc:
            raise BadMapping(f"it takes more than {MOST_STEPS:,} steps") from exc
        # What a function of the language does with the wrong kind of thing, and there are many kinds.
        except (JMESPathError, TypeError, ValueError, ArithmeticError, RecursionError, LookupError) as exc:
            raise BadMapping("it does not fit what was sent") from exc


@lru_cache(maxsize=512)
def compiled(text: str) -> Expression:
    """Compile an expression; raises BadMapping for what is none, or could cost too much."""
    if len(text) > LONGEST:
        raise BadMapping(f"it is longer than {LONGEST:,} characters")
    try:
        tree = jmespath.compile(text).parsed
    except (JMESPathError, RecursionError, ValueError) as exc:
        told = str(exc).splitlines()[0] if str(exc) else ""
        raise BadMapping(f"it is no JMESPath expression: {told[:200]}") from exc
    depth, width = _measure(tree)
    if depth > DEEPEST:
        raise BadMapping(f"it is nested more than {DEEPEST} deep")
    if width > WIDEST:
        raise BadMapping(f"it could copy what was sent more than {WIDEST} times")
    return Expression(tree)


def check_mapping(mapping: object) -> dict[str, str]:
    """Give a mapping that can be used; raises BadMapping."""
    if not isinstance(mapping, dict):
        raise BadMapping('A mapping is a JSON object, for example {"email": "item.email", "value": "item.score"}.')
    for name, text in mapping.items():
        if name not in (ITEMS, *FIELDS):
            raise BadMapping(f"A mapping has no `{name[:40]}`; it has {ITEMS}, {', '.join(FIELDS)}.")
        if not isinstance(text, str):
            raise BadMapping(f"The mapping's `{name}` must be text, a JMESPath expression.")
        try:
            compiled(text)
        except BadMapping as exc:
            raise BadMapping(f"The mapping's `{name}` cannot be used: {exc}.") from exc
    return dict(mapping)


def plain(document: object) -> object:
    """Give a document with the numbers that the language computes with, where that changes none of them."""
    match document:
        case dict():
            return {name: plain(value) for name, value in document.items()}
        case list():
            return [plain(value) for value in document]
        case Decimal() if Decimal(repr(float(document))) == document:
            return float(document)
        case _:
            return document


def exact(value: object) -> object:
    """Give what was found with its numbers as they were written."""
    return Decimal(repr(value)) if isinstance(value, float) else value


def found_items(found: object) -> list[object]:
    """Give what `items` found as a list; raises BadMapping for nothing at all, for other things, and for too many."""
    if found is None:  # one element of an XML body is no list, and whoever sends it expects to be heard
        raise BadMapping("it finds nothing in what was sent; where that may be one or many, write [body.lead][]")
    if not isinstance(found, list):
        raise BadMapping("it must find a list: write [body] for one item")
    if len(found) > MAX_ITEMS:
        raise BadMapping(f"it finds {len(found):,} items; a delivery holds at most {MAX_ITEMS:,}")
    return found


class _Bounded(TreeInterpreter):
    """Evaluate, and count."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        found = super().visit(node, *args, **kwargs)
        # A list costs its length, since a step may have made it anew.
        self._steps += 1 + (len(found) if isinstance(found, list) else 0)
        if self._steps > MOST_STEPS:
            raise TooCostly
        return found


def _measure(node: Mapping[str, Any]) -> tuple[int, int]:
    """Give how deep a tree is, and how often at most it could copy what it is applied to."""
    depth, width = 0, 1
    waiting = [(node, 1)]
    while waiting:
        one, at = waiting.pop()
        depth = max(depth, at)
        children = [child for child in one.get("children", ()) if isinstance(child, dict)]
        if one["type"].startswith("multi_select"):
            width *= max(1, len(children))
        waiting += [(child, at + 1) for child in children]
    return depth, width


def shown(value: object) -> str:
    """Write what was found, for people."""
    return json.dumps(value, ensure_ascii=False, default=str)[:200]
