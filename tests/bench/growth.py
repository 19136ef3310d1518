"""Measure how the cost of a delivery grows: with contacts, with the facts of a contact, and with alert rules."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial

from storage.alerts.enroll import add_alert_rule
from storage.domain.people import Workspace
from tests.bench.fill import email
from tests.bench.harness import (
    CONNECTIONS,
    Options,
    Row,
    Sent,
    Side,
    Stage,
    alternate,
    floor_side,
    make_request,
    middle,
    now,
    product_side,
    send,
)
from tests.webhooks.sender import item

RULES = 200
TIMES = 20  # deliveries in a round to the contact with many facts
LATE = 100  # facts that happened after a late one
SECOND = 1_000_000
ITEMS = 1_000  # in a batch
LONG = "long@history.example"  # the address of the contact with many facts


async def measure(stage: Stage, options: Options) -> AsyncIterator[Row]:
    """Yield the CPU time of each kind of delivery."""
    few, many = max(10, options.contacts // 10), options.contacts
    rules, facts = min(RULES, options.events // 10), options.events * 5
    for dialect in options.databases:
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            floors = [await enter(floor_side(stage, dialect, contacts=contacts)) for contacts in (few, many)]
            products = [await enter(product_side(stage, dialect, contacts=contacts)) for contacts in (few, many)]
            prepare = partial(add_rules, count=rules)
            ruled = await enter(product_side(stage, dialect, contacts=few, prepare=prepare))
            long = LongContact(products[0], facts, rounds=options.rounds)
            await long.write_facts()
            measures = {
                "floor, few": _singles(floors[0], few, options),
                "few": _singles(products[0], few, options),
                "floor, many": _singles(floors[1], many, options),
                "many": _singles(products[1], many, options),
                "other rules": _singles(ruled, few, options),
                "rules": _singles(ruled, few, options, score="fit"),
                "floor, alone": _singles(floors[0], few, options, count=TIMES, connections=1),
                "alone": _singles(products[0], few, options, count=TIMES, connections=1),
                "long": long.send_next,
                "late": long.send_late,
                "oldest": long.send_oldest,
            }
            results = await alternate(options.rounds, measures)
        for what, measured, floor in (
            (f"a delivery at {few:,} contacts", "few", "floor, few"),
            (f"a delivery at {many:,} contacts", "many", "floor, many"),
            (f"beside {rules} alert rules of another type", "other rules", "floor, few"),
            (f"beside {rules} alert rules of its type", "rules", "floor, few"),
            ("a delivery, one connection", "alone", "floor, alone"),
            (f"to a contact with {facts:,} facts, one connection", "long", "floor, alone"),
            (f"to it, late by at most {LATE} facts", "late", "floor, alone"),
            (f"to it, late by {facts:,} facts", "oldest", "floor, alone"),
        ):
            cost, least = (middle(results[name], lambda sent: sent.cost / 1_000) for name in (measured, floor))
            yield Row(what=what, database=dialect, unit="ms CPU", floor=least, product=cost)


async def add_rules(workspace: Workspace, *, count: int) -> None:
    """Add alert rules for the score type `fit`, each with a condition."""
    for number in range(count):
        words = f"when fit crosses {number % 100 + 1} if owner:rep{number % 50}@acme.example tag:vip{number}"
        await add_alert_rule(workspace, words=words, made_by="U0REP", owners={}, now=now())


def _singles(
    side: Side,
    contacts: int,
    options: Options,
    *,
    score: str = "points",
    count: int | None = None,
    connections: int = CONNECTIONS,
) -> Callable[[], Awaitable[Sent]]:
    """Return what sends single deliveries for one contact after the other, each with another value."""
    numbers = itertools.count()

    def requests() -> Iterator[bytes]:
        for number in itertools.islice(numbers, options.events if count is None else count):
            body = item(email=email(number % contacts + 1), score=score, value=number * 37 % 101)
            yield make_request(side.url, body, delivery=f"{score}-{connections}-{number}")

    return lambda: send(side, list(requests()), connections=connections)


class LongContact:
    """A contact with many facts, each a second after the one before it."""

    def __init__(self, side: Side, facts: int, *, rounds: int) -> None:
        self._side = side
        self._facts = facts
        self._numbers = itertools.count(1)
        self._begin = now() - (facts + 86_400) * SECOND
        # What the rounds add after these, too, is at most LATE facts.
        self._later = max(1, LATE - TIMES * (rounds + 1))

    async def write_facts(self) -> None:
        """Send the facts in batches."""
        instants = [self._begin + number * SECOND for number in range(self._facts)]
        for start in range(0, self._facts, ITEMS):
            await self._send([instants[start : start + ITEMS]])

    async def send_next(self) -> Sent:
        """Send facts that happened after all others."""
        return await self._send_singles(self._begin + self._facts * SECOND, 1)

    async def send_late(self) -> Sent:
        """Send facts that happened before the last ones."""
        return await self._send_singles(self._begin + (self._facts - self._later) * SECOND, 1)

    async def send_oldest(self) -> Sent:
        """Send facts that happened before all others."""
        return await self._send_singles(self._begin, -1)

    async def _send_singles(self, at: int, direction: int) -> Sent:
        return await self._send([[at + direction * next(self._numbers)] for _ in range(TIMES)])

    async def _send(self, deliveries: Sequence[Sequence[int]]) -> Sent:
        requests = []
        for instants in deliveries:
            items = [item("score.add", LONG, score="points", value=1, occurred_at=_format(at)) for at in instants]
            requests.append(make_request(self._side.url, {"items": items}, delivery=f"long-{next(self._numbers)}"))
        return await send(self._side, requests, connections=1)


def _format(at: int) -> str:
    return datetime.fromtimestamp(at // SECOND, UTC).replace(microsecond=at % SECOND).isoformat()
