"""Measure batches of a thousand items from four senders: plain changes, activities with rules, and alert rules.

The floor takes the plain changes only; the other batches are compared with the product's plain changes."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from storage.alerts.enroll import add_alert_rule
from storage.domain.people import Workspace
from storage.domain.score_types import Rule, RuleCap
from tests.bench.fill import email
from tests.bench.harness import (
    FLOOR,
    HALF_LIFE,
    Options,
    Row,
    Sent,
    Side,
    Stage,
    add_type,
    alternate,
    both_sides,
    make_request,
    middle,
    now,
    send,
)
from tests.webhooks.sender import item

ITEMS = 1_000  # in a batch
SENDERS = 4
RULES = 10
ALERTS = ("crosses 80", "crosses 60", "crosses below 40", "enters warm", "rises 15 in 7d")
SETS, RULED, ALERTED = "sets", "activities, 10 capped rules and a half-life", "sets, 5 alert rules"


async def prepare(workspace: Workspace) -> None:
    """Add a fading score type with a capped rule for each of ten activities, and five alert rules for `score`."""
    rules = [
        Rule(name=f"rule {number}", activity=f"act{number}", points=1_000, cap=RuleCap(points=5_000, period="day"))
        for number in range(RULES)
    ]
    await add_type(workspace, "warmth", half_life=HALF_LIFE, rules=rules)
    for words in ALERTS:
        await add_alert_rule(workspace, words=f"when score {words}", made_by="U0REP", owners={}, now=now())


async def measure(stage: Stage, options: Options) -> AsyncIterator[Row]:
    """Yield the rate and the cost of each kind of batch."""
    for dialect in options.databases:
        async with both_sides(stage, dialect, contacts=options.contacts, prepare=prepare) as (floor, product):
            results = await alternate(options.rounds, _measures(floor, product, options))
        for name, base in ((SETS, FLOOR), (RULED, SETS), (ALERTED, SETS)):
            what = f"{name}, {ITEMS:,} a batch" if base == FLOOR else f"{name} (floor: sets)"
            for unit, value in (("/s", lambda sent: sent.rate), ("µs CPU", lambda sent: sent.cost)):
                yield Row(
                    what=what, database=dialect, unit=unit,
                    floor=middle(results[base], value), product=middle(results[name], value),
                )  # fmt: skip  # both sides together


def _measures(floor: Side, product: Side, options: Options) -> dict[str, Callable[[], Awaitable[Sent]]]:
    numbers = itertools.count()
    size = min(ITEMS, options.contacts)

    def batches(side: Side, make: Callable[[int], dict[str, Any]]) -> Iterator[bytes]:
        for _ in range(max(SENDERS, options.events // 250)):
            part = list(itertools.islice(numbers, size))
            yield make_request(side.url, {"items": [make(number) for number in part]}, delivery=f"batch-{part[0]}")

    def address(number: int) -> str:
        return email(number % options.contacts + 1)

    def points(number: int) -> dict[str, Any]:
        return item(email=address(number), score="points", value=number % 1_000)

    def activity(number: int) -> dict[str, Any]:
        return item("activity", address(number), activity=f"act{number % RULES}")

    def score(number: int) -> dict[str, Any]:
        return item(email=address(number), value=number * 37 % 101)

    def measured(side: Side, make: Callable[[int], dict[str, Any]]) -> Callable[[], Awaitable[Sent]]:
        return lambda: send(side, list(batches(side, make)), connections=SENDERS)

    return {
        FLOOR: measured(floor, points),
        SETS: measured(product, points),
        RULED: measured(product, activity),
        ALERTED: measured(product, score),
    }
