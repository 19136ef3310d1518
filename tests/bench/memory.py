"""Measure the memory that adding an alert rule takes in the service, and how long deliveries wait meanwhile.

The floor are deliveries before any rule is added."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.bench.fill import email
from tests.bench.harness import Options, Row, Side, Stage, durations_row, make_request, read_memory, send, slack_side
from tests.bench.slash import type_line
from tests.slack.foreign import ForeignSlack
from tests.storage import raw
from tests.webhooks.sender import item

RULES = ("score crosses 50", "heat about to fall out of warm in 3d", "fit untouched for 30d")
CALM = 2.0  # seconds
LONGEST = 600.0


async def measure(stage: Stage, options: Options) -> AsyncIterator[Row]:
    """Yield the peak of the memory above what the service had before, and the waiting times, for each rule."""
    for dialect in options.databases:
        async with slack_side(stage, dialect, contacts=options.contacts) as (side, slack):
            numbers = itertools.count()
            await type_line(slack, "help")
            calm = await _deliver_during(side, options, numbers, asyncio.sleep(min(CALM, options.events / 100)))
            for number, rule in enumerate(RULES, 1):
                before = read_memory(side.processes[0])
                _forget_peak(side.processes[0])
                waits = await _deliver_during(side, options, numbers, _add_rule(side, slack, rule, number=number))
                added = read_memory(side.processes[0], peak=True) - before
                yield Row(what=f"memory, adding `{rule}`", database=dialect, unit="MB", floor=None, product=added)
                yield durations_row(f"a delivery, adding `{rule}`", dialect, floor=calm, product=waits)


def _forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html


async def _add_rule(side: Side, slack: ForeignSlack, rule: str, *, number: int) -> None:
    """Add a rule as a person does, and wait until it watches all contacts. It must be the *number*-th one."""
    await type_line(slack, f"alerts add when {rule}")
    added = await raw.rows(side.database_url, "SELECT id FROM alert_rules WHERE made_by IS NOT NULL")
    assert len(added) == number, (rule, slack.messages()[-1])
    async with asyncio.timeout(LONGEST):
        while True:
            if not await raw.rows(side.database_url, "SELECT id FROM jobs WHERE kind = 'enroll'"):
                return
            await asyncio.sleep(0.1)


async def _deliver_during(
    side: Side, options: Options, numbers: Iterator[int], act: Coroutine[Any, Any, None]
) -> list[float]:
    """Send one delivery after the other until *act* is done. Return the seconds until each answer."""
    task, seconds = asyncio.create_task(act), list[float]()
    while not task.done():
        number = next(numbers)
        change = item("score.add", email(number % options.contacts + 1), score="points", value=1)
        began = time.perf_counter()
        await send(side, [make_request(side.url, change, delivery=f"during-{number}")], connections=1)
        seconds.append(time.perf_counter() - began)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(task), 0.01)
    await task
    return seconds
