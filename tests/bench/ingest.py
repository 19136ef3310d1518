"""Measure single deliveries: 32 connections, each of which sends a delivery as soon as its last one is answered."""

import itertools
from collections.abc import AsyncIterator

from tests.bench.fill import email
from tests.bench.harness import (
    CONNECTIONS,
    FLOOR,
    PRODUCT,
    Options,
    Row,
    Sent,
    Side,
    Stage,
    alternate,
    both_sides,
    durations_row,
    make_request,
    middle,
    send,
)
from tests.webhooks.sender import item


async def measure(stage: Stage, options: Options) -> AsyncIterator[Row]:
    """Yield the cost and the rate of single deliveries, and how long they wait for their answers."""
    for dialect in options.databases:
        async with both_sides(stage, dialect, contacts=options.contacts) as (floor, product):
            results = await measure_pair(floor, product, options)
        for what, unit, value in (
            (f"a delivery, {CONNECTIONS} connections", "µs CPU", lambda sent: sent.cost),
            (f"deliveries, {CONNECTIONS} connections", "/s", lambda sent: sent.rate),
        ):
            floors, products = (middle(results[side], value) for side in (FLOOR, PRODUCT))
            yield Row(what=what, database=dialect, unit=unit, floor=floors, product=products)
        answers = {side: [seconds for sent in results[side] for seconds in sent.answers] for side in (FLOOR, PRODUCT)}
        yield durations_row("until the answer", dialect, floor=answers[FLOOR], product=answers[PRODUCT])


async def measure_pair(floor: Side, product: Side, options: Options) -> dict[str, list[Sent]]:
    """Send each side the same number of deliveries in each round, for contacts that it has."""
    numbers = itertools.count()

    def deliveries(side: Side) -> list[bytes]:
        return [
            make_request(
                side.url,
                item("score.add", email(number % options.contacts + 1), score="points", value=1),
                delivery=f"single-{number}",
            )
            for number in itertools.islice(numbers, options.events)
        ]

    return await alternate(
        options.rounds,
        {FLOOR: lambda: send(floor, deliveries(floor)), PRODUCT: lambda: send(product, deliveries(product))},
    )
