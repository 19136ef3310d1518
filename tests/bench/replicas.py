"""Measure how many deliveries one, two and four services accept on one PostgreSQL. The floor is one of them."""

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from functools import partial

from tests.bench.fill import email
from tests.bench.harness import Options, Row, Sent, Side, Stage, alternate, make_request, middle, product_side, send
from tests.webhooks.sender import item

REPLICAS = (1, 2, 4)
POSTGRES = "postgres"


async def measure(stage: Stage, options: Options) -> AsyncIterator[Row]:
    """Yield the rate and the cost of single deliveries for each number of services."""
    if POSTGRES not in options.databases:  # one process at a time uses a SQLite file
        return
    async with AsyncExitStack() as stack:
        sides = {
            count: await stack.enter_async_context(
                product_side(stage, POSTGRES, contacts=options.contacts, replicas=count)
            )
            for count in REPLICAS
        }
        numbers = itertools.count()
        measures = {str(count): partial(_send, side, options, numbers) for count, side in sides.items()}
        results = await alternate(options.rounds, measures)
    for unit, value in (("/s", lambda sent: sent.rate), ("µs CPU", lambda sent: sent.cost)):
        one = middle(results["1"], value)
        for count in REPLICAS[1:]:
            product = middle(results[str(count)], value)
            yield Row(what=f"{count} services (floor: one)", database=POSTGRES, unit=unit, floor=one, product=product)


async def _send(side: Side, options: Options, numbers: Iterator[int]) -> Sent:
    requests = [
        make_request(
            side.url,
            item("score.add", email(number % options.contacts + 1), score="points", value=1),
            delivery=f"single-{number}",
        )
        for number in itertools.islice(numbers, options.events)
    ]
    return await send(side, requests)
