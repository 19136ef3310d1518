"""Flood one source of a running service with batches, and measure how long other requests wait.

python -m tests.bench.flood [--batches 60] [--seconds 30] [--once] [DATABASE_URL]

Without a URL on a temporary SQLite file. With --once each sender sends one batch until it is accepted, otherwise one
batch after the other for some seconds. A refused batch is sent again after its Retry-After, as senders do.
"""

import argparse
import asyncio
import itertools
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import ClientSession, ClientTimeout, TCPConnector

from bot.demo.world import Message
from storage.bootstrap import open_storage
from storage.sources.config import add_source
from storage.workspaces import find_workspace
from tests.bench.harness import (
    PRODUCT,
    Options,
    Row,
    Stage,
    durations_row,
    now,
    read_memory,
    serving_slack,
    verify,
)
from tests.conftest import KEY
from tests.slack.foreign import ForeignSlack
from tests.webhooks.receiving import SLUG, TEAM, furnish_for_a_process
from tests.webhooks.sender import SECRET, START, Sender, encoded, item

ITEMS = 1_000  # per batch
CALM = 5.0  # seconds that are measured before a flood
UNANSWERED = 30.0  # seconds until a sender gives up
LONGEST = 180.0


@dataclass(slots=True)
class Measured:
    """The measured durations in seconds and the counts of a flood."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    batches: Counter[int] = field(default_factory=Counter)  # by HTTP status
    unanswered: int = 0
    memory: int = 0  # the maximum in MB

    async def time(self, name: str, act: Awaitable[object]) -> None:
        """Measure how long *act* takes, even if it times out."""
        began = time.monotonic()
        with suppress(TimeoutError):
            await act
        self.seconds.setdefault(name, []).append(time.monotonic() - began)

    def lines(self) -> list[str]:
        """Return the report of the measurements."""
        statuses = ", ".join(f"{count} × {status}" for status, count in sorted(self.batches.items()))
        lines = [f"batches answered: {statuses}; after {UNANSWERED:.0f} s or never: {self.unanswered}"]
        for name, seconds in sorted(self.seconds.items()):
            ordered = sorted(seconds)
            middle = ordered[len(ordered) // 2]
            lines.append(f"{name}: {len(ordered)}, median {middle:.2f} s, slowest {ordered[-1]:.2f} s")
        return [*lines, f"memory: {self.memory} MB at most"]


@dataclass(slots=True, kw_only=True)
class House:
    """A running service with its Slack, the source that floods it, and another source."""

    sandbox: ForeignSlack
    flooding: Sender
    form: Sender
    process: int


@asynccontextmanager
async def house(url: str) -> AsyncIterator[House]:
    """Run the service in a process of its own, and stop it at the end."""
    await furnish_for_a_process(url)
    storage = await open_storage(url, secret_keys=[KEY])
    workspace = await find_workspace(TEAM)
    await add_source(workspace, slug="form", provider="generic", secrets=[SECRET], by="U0ADMIN", now=START)
    await storage.close()
    timeout = ClientTimeout(total=LONGEST)
    async with (
        serving_slack(url) as (served, sandbox),
        ClientSession(timeout=timeout, connector=TCPConnector(limit=0)) as session,
    ):
        senders = [Sender(session, f"{served.url}/webhooks/{TEAM}/{slug}", clock=now) for slug in (SLUG, "form")]
        yield House(sandbox=sandbox, flooding=senders[0], form=senders[1], process=served.process.pid)


async def flood(house: House, *, senders: int, seconds: float | None) -> Measured:
    """Flood a source from several senders at once, while another source and a person use the service.

    Without senders these two use the service alone, for the given seconds.
    """
    measured, numbers = Measured(), itertools.count()
    end = time.monotonic() + (seconds or 0)

    async def send_batch() -> None:
        number = next(numbers)
        items = [item(email=f"p{number}-{place}@example.com", id=f"{number}/{place}") for place in range(ITEMS)]
        body = encoded({"items": items})
        while True:
            began = time.monotonic()
            try:
                answer = await house.flooding.push(body, delivery=f"batch-{number}")
            except TimeoutError:
                measured.unanswered += 1
                return
            measured.batches[answer.status] += 1
            measured.unanswered += time.monotonic() - began > UNANSWERED
            if answer.status == 200 or (seconds and time.monotonic() > end):
                return
            await asyncio.sleep(float(answer.headers.get("Retry-After", 5)))

    async def keep_sending() -> None:
        await send_batch()
        while time.monotonic() < end:
            await send_batch()

    flooding = [asyncio.create_task(keep_sending()) for _ in range(senders)]
    if not flooding:
        flooding = [asyncio.create_task(asyncio.sleep(seconds or 0))]
    others = [
        asyncio.create_task(_repeat(measured, "another source's push", lambda n: _push(house, n))),
        asyncio.create_task(
            _repeat(measured, "/score set", lambda n: _ask(house, measured, f"set ada@example.com {n % 90}"))
        ),
        asyncio.create_task(_repeat(measured, "/score top", lambda n: _ask(house, measured, "top", user="U0ADMIN"))),
        asyncio.create_task(_watch_memory(house.process, measured)),
    ]
    await asyncio.wait(flooding)
    for task in others:
        task.cancel()
    await asyncio.wait(others)
    for task in [*flooding, *others]:
        if not task.cancelled():
            task.result()
    return measured


async def measure(stage: Stage, options: Options) -> AsyncIterator[Row]:
    """Yield how long other requests take during a flood, and the memory. The floor are the same requests before it."""
    senders = max(2, options.events // 100)
    for dialect in options.databases:
        async with stage.database(dialect, PRODUCT) as url:
            async with house(url) as running:
                calm = await flood(running, senders=0, seconds=CALM)
                flooded = await flood(running, senders=senders, seconds=None)
            await verify(url, team=TEAM)
        for name, durations in flooded.seconds.items():
            what = f"{name}, {senders} batches at once (floor: none)"
            yield durations_row(what, dialect, floor=calm.seconds.get(name, ()), product=durations)
        what = f"memory, {senders} batches at once (floor: none)"
        yield Row(what=what, database=dialect, unit="MB", floor=calm.memory, product=flooded.memory)


async def _repeat(measured: Measured, name: str, act: Callable[[int], Awaitable[object]]) -> None:
    for number in itertools.count():
        await measured.time(name, act(number))
        await asyncio.sleep(0.5)


async def _push(house: House, number: int) -> None:
    answer = await house.form.push(item("score.add", value=1, id=f"form-{now()}-{number}"))
    assert answer.status == 200, answer


async def _ask(house: House, measured: Measured, line: str, *, user: str = "U0REP") -> None:
    """Type a command, and wait for its answer in Slack."""
    before = len(_answers(house.sandbox, user))
    await measured.time("Slack's acknowledgement", house.sandbox.say(f"/score {line}", user=user, channel="C0SALES"))
    await house.sandbox.wait_for(lambda: len(_answers(house.sandbox, user)) > before, LONGEST)


def _answers(sandbox: ForeignSlack, user: str) -> Sequence[Message]:
    return sandbox.messages("C0SALES", user)


async def _watch_memory(process: int, measured: Measured) -> None:
    while True:
        memory = await asyncio.to_thread(read_memory, process)
        measured.memory = max(measured.memory, round(memory))
        await asyncio.sleep(0.1)


async def main() -> None:
    """Run a flood, and print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database_url", nargs="?")
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--once", action="store_true")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        async with house(words.database_url or f"sqlite://{folder}/flood.db") as running:
            measured = await flood(running, senders=words.batches, seconds=None if words.once else words.seconds)
    print("\n".join([f"{words.batches} senders of batches of {ITEMS:,}:", *measured.lines()]))


if __name__ == "__main__":
    asyncio.run(main())
