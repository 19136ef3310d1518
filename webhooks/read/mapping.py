"""Find things in a body by JMESPath, at a bounded cost (https://jmespath.org)."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

from storage.domain.errors import Refusal
from webhooks.limits import MAX_ITEMS

LONGEST = 1024
DEEPEST = 32
WIDEST = 64
MOST_STEPS = 300_000  # of one delivery: three hundred for each of a thousand items
CHARACTERS_PER_STEP = 100
ITEMS = "items"
FIELDS = ("email", "contact_id", "property", "value", "delta", "occurred_at", "id", "activity", "reason")
DEFAULT_ITEMS = "[body]"


class BadMapping(ValueError):
    """A mapping cannot be used; the message is a sentence."""


class TooCostly(Refusal):
    """The expressions of a mapping take more steps than a delivery is worth."""


@dataclass(slots=True)
class Budget:
    """The steps that all expressions may take together for all items of one delivery."""

    left: int = MOST_STEPS
    spent: Counter[str] = field(default_factory=Counter)  #: by expression, as the mapping names it

    def refusal(self) -> TooCostly:
        """Say which expression was too expensive, and what to write instead."""
        name = self.spent.most_common(1)[0][0]
        instead = (
            "let it find a list without sorting, comparing or copying the others"
            if name == ITEMS
            else f"let `{ITEMS}` find all that an item needs, and `{name}` look at `item` alone"
        )
        return TooCostly(
            f"the mapping takes more than {MOST_STEPS:,} steps for this delivery, most of them for `{name}`: {instead},"
            " or have fewer items sent at once"
        )


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression, checked and compiled; *fully_read*: the nodes whose value is gone through to its last part."""

    tree: Mapping[str, Any]
    fully_read: frozenset[int]

    def search(self, document: object, *, name: str, budget: Budget) -> object:
        """Return what the expression finds, none for nothing, and take its steps from the budget under its *name*.

        Raise BadMapping if it cannot be applied, TooCostly once the budget of the delivery is spent.
        """
        before = budget.left
        try:
            return _BudgetedInterpreter(self.fully_read, budget).visit(self.tree, document)
        except _BudgetSpent:
            budget.spent[name] += before - budget.left
            before = budget.left
            raise budget.refusal() from None
        # What a function of the language does with the wrong kind of thing, and there are many kinds.
        except (JMESPathError, TypeError, ValueError, ArithmeticError, RecursionError, LookupError) as exc:
            raise BadMapping("it does not fit what was sent") from exc
        finally:
            budget.spent[name] += before - budget.left


class _BudgetSpent(Exception):
    """No steps are left."""


@lru_cache(maxsize=512)
def compile_expression(text: str) -> Expression:
    """Compile an expression; raises BadMapping for what is none, or could cost too much."""
    if len(text) > LONGEST:
        raise BadMapping(f"it is longer than {LONGEST:,} characters")
    try:
        tree = jmespath.compile(text).parsed
    except (JMESPathError, RecursionError, ValueError) as exc:
        message = str(exc).splitlines()[0] if str(exc) else ""
        raise BadMapping(f"it is no JMESPath expression: {message[:200]}") from exc
    depth, width, fully_read = _measure_tree(tree)
    if depth > DEEPEST:
        raise BadMapping(f"it is nested more than {DEEPEST} deep")
    if width > WIDEST:
        raise BadMapping(f"it could copy what was sent more than {WIDEST} times")
    return Expression(tree, fully_read)


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
            compile_expression(text)
        except BadMapping as exc:
            raise BadMapping(f"The mapping's `{name}` cannot be used: {exc}.") from exc
    return dict(mapping)


def to_plain_numbers(document: object) -> object:
    """Give a document with the numbers that the language computes with, where that changes none of them."""
    match document:
        case dict():
            return {name: to_plain_numbers(value) for name, value in document.items()}
        case list():
            return [to_plain_numbers(value) for value in document]
        case Decimal() if Decimal(repr(float(document))) == document:
            return float(document)
        case _:
            return document


def to_exact_numbers(value: object) -> object:
    """Give what was found with its numbers as they were written."""
    return Decimal(repr(value)) if isinstance(value, float) else value


def require_items(items: object) -> list[object]:
    """Give what `items` found as a list; raises BadMapping for nothing at all, for other things, and for too many."""
    if items is None:  # one element of an XML body is no list, and whoever sends it expects to be heard
        raise BadMapping("it finds nothing in what was sent; where that may be one or many, write [body.lead][]")
    if not isinstance(items, list):
        raise BadMapping("it must find a list: write [body] for one item")
    if len(items) > MAX_ITEMS:
        raise BadMapping(f"it finds {len(items):,} items; a delivery holds at most {MAX_ITEMS:,}")
    return items


class _BudgetedInterpreter(TreeInterpreter):
    """Evaluate an expression, and count its steps."""

    def __init__(self, fully_read: frozenset[int], budget: Budget) -> None:
        super().__init__()
        self._fully_read = fully_read
        self._budget = budget

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        result = super().visit(node, *args, **kwargs)
        budget = self._budget
        if id(node) in self._fully_read:
            budget.left -= _count_parts(result, most=budget.left)
        elif isinstance(result, list):
            budget.left -= 1 + len(result)  # a step may have made it anew
        elif isinstance(result, str):
            budget.left -= 1 + len(result) // CHARACTERS_PER_STEP
        else:
            budget.left -= 1
        if budget.left < 0:
            raise _BudgetSpent
        return result


def _count_parts(value: object, *, most: int) -> int:
    """Count everything in a value, or stop soon after *most*."""
    count, waiting = 0, [value]
    while waiting and count <= most:
        part = waiting.pop()
        count += 1
        if isinstance(part, str):
            count += len(part) // CHARACTERS_PER_STEP
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            waiting += part.values()
    return count


def _measure_tree(node: Mapping[str, Any]) -> tuple[int, int, frozenset[int]]:
    """Return how deep a tree is, how often at most it could copy what it is applied to, and its nodes (by `id`) whose
    value is written or compared to its last part."""
    depth, width, fully_read = 0, 1, set[int]()
    waiting = [(node, 1)]
    while waiting:
        current, level = waiting.pop()
        depth = max(depth, level)
        children = [child for child in current.get("children", ()) if isinstance(child, dict)]
        if current["type"].startswith("multi_select"):
            width *= max(1, len(children))
        if current["type"] == "comparator" or current.get("value") in ("to_string", "contains"):
            fully_read |= {id(child) for child in children}
        waiting += [(child, level + 1) for child in children]
    return depth, width, frozenset(fully_read)


def format_result(value: object) -> str:
    """Write what was found, for people."""
    return json.dumps(value, ensure_ascii=False, default=str)[:200]
