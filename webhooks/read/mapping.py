"""Evaluate the JMESPath expressions of a mapping at a limited cost (https://jmespath.org)."""

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
MOST_STEPS = 300_000  # in one delivery: 300 for each of 1,000 items
CHARACTERS_PER_STEP = 100
ITEMS = "items"
FIELDS = ("email", "contact_id", "property", "value", "delta", "occurred_at", "id", "activity", "reason")
DEFAULT_ITEMS = "[body]"


class BadMapping(ValueError):
    """A mapping cannot be used. The message is a sentence."""


class TooCostly(Refusal):
    """The expressions of the mapping take too many steps for one delivery."""


@dataclass(slots=True)
class Budget:
    """The steps that all expressions together may use for one delivery."""

    left: int = MOST_STEPS
    spent: Counter[str] = field(default_factory=Counter)  #: steps by expression, named as in the mapping

    def refusal(self) -> TooCostly:
        """Return the refusal for an exhausted budget: the most expensive expression, and what to write instead."""
        name = self.spent.most_common(1)[0][0]
        instead = (
            "find the list without sorting, comparing or copying the others"
            if name == ITEMS
            else f"make `{ITEMS}` find everything that an item needs, so that `{name}` uses only `item`"
        )
        return TooCostly(
            f"the mapping takes more than {MOST_STEPS:,} steps for this delivery, most of them for `{name}`: {instead},"
            " or send fewer items at once"
        )


@dataclass(frozen=True, slots=True)
class Expression:
    """A validated, parsed expression. *fully_read* are the ids of nodes with values that are read completely."""

    tree: Mapping[str, Any]
    fully_read: frozenset[int]

    def search(self, document: object, *, name: str, budget: Budget) -> object:
        """Return the result of the expression, or None for no result. Its steps are charged to the budget under *name*.

        Raises BadMapping if the expression cannot be applied to the document, TooCostly if the budget is exhausted.
        """
        before = budget.left
        try:
            return _BudgetedInterpreter(self.fully_read, budget).visit(self.tree, document)
        except _BudgetSpent:
            budget.spent[name] += before - budget.left
            before = budget.left
            raise budget.refusal() from None
        # Functions of JMESPath raise many kinds of errors when they get a value of a wrong type.
        except (JMESPathError, TypeError, ValueError, ArithmeticError, RecursionError, LookupError) as exc:
            raise BadMapping("it does not match what was sent") from exc
        finally:
            budget.spent[name] += before - budget.left


class _BudgetSpent(Exception):
    """The budget is exhausted."""


@lru_cache(maxsize=512)
def compile_expression(text: str) -> Expression:
    """Return the compiled expression; raises BadMapping if it is invalid or could cost too much."""
    if len(text) > LONGEST:
        raise BadMapping(f"it is longer than {LONGEST:,} characters")
    try:
        tree = jmespath.compile(text).parsed
    except (JMESPathError, RecursionError, ValueError) as exc:
        message = str(exc).splitlines()[0] if str(exc) else ""
        raise BadMapping(f"it is not a JMESPath expression: {message[:200]}") from exc
    depth, width, fully_read = _measure_tree(tree)
    if depth > DEEPEST:
        raise BadMapping(f"it is nested more than {DEEPEST} deep")
    if width > WIDEST:
        raise BadMapping(f"it could copy what was sent more than {WIDEST} times")
    return Expression(tree, fully_read)


def check_mapping(mapping: object) -> dict[str, str]:
    """Return a validated mapping; raises BadMapping."""
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
    """Return a document with each Decimal as a float, if the float is exact. JMESPath calculates with floats."""
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
    """Return a result with a float converted back to a Decimal."""
    return Decimal(repr(value)) if isinstance(value, float) else value


def require_items(items: object) -> list[object]:
    """Return the result of `items`; raises BadMapping if it is missing, not a list, or too long."""
    if items is None:  # a single XML element is not a list, and its sender expects an answer
        raise BadMapping("it finds nothing in what was sent; where that may be one or many, write [body.lead][]")
    if not isinstance(items, list):
        raise BadMapping("it must find a list: write [body] for one item")
    if len(items) > MAX_ITEMS:
        raise BadMapping(f"it finds {len(items):,} items; a delivery holds at most {MAX_ITEMS:,}")
    return items


class _BudgetedInterpreter(TreeInterpreter):
    """Evaluate an expression, and charge each step to a budget."""

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
            budget.left -= 1 + len(result)  # the step may have built a new list
        elif isinstance(result, str):
            budget.left -= 1 + len(result) // CHARACTERS_PER_STEP
        else:
            budget.left -= 1
        if budget.left < 0:
            raise _BudgetSpent
        return result


def _count_parts(value: object, *, most: int) -> int:
    """Return the number of parts in a value, or stop counting soon after *most*."""
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
    """Return the depth of a tree, how often it could copy its input at most, and the ids of the nodes with values that
    are written or compared completely."""
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
    """Return a result as text for people, shortened."""
    return json.dumps(value, ensure_ascii=False, default=str)[:200]
