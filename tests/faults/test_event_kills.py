"""Kill services while they send events: each event arrives at least once, and in order for each contact.

On PostgreSQL two processes share the database, and are killed in turns. CHANGES=10000 records more than the default.
"""

import asyncio
import os
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network

from aiohttp import ClientError, ClientSession

from storage.bootstrap import open_storage
from storage.domain.backoff import LEASE
from storage.job_handlers import make_handlers
from storage.job_runner import JobRunner
from storage.sources.subscriptions import add_subscription
from storage.workspaces import find_workspace
from tests.bot.cli.program import environment
from tests.conftest import KEY
from tests.counts import report_counts
from tests.faults.lives import Lives, living
from tests.storage import raw
from tests.webhooks.event_receiver import EventReceiver, receiving_events
from tests.webhooks.receiving import SLUG, TEAM, furnish_for_a_process
from tests.webhooks.sender import Sender, item, session
from webhooks.outgoing import EventSender
from webhooks.signing_secrets import new_signing_secret

CHANGES = int(os.environ.get("CHANGES", "144"))
KILLS = max(3, CHANGES // 400)
AT_ONCE = 6
LOCAL = "127.0.0.0/8"
PEOPLE = [f"p{number}@example.com" for number in range(12)]


def now() -> int:
    """Return the current time, in µs UTC: the process uses the system clock."""
    return time.time_ns() // 1000


@dataclass(kw_only=True)
class Processes:
    """The services that share a database, some of which are dead at times."""

    client: ClientSession
    lives: list[Lives]
    dice: random.Random
    senders: dict[int, Sender] = field(default_factory=dict)  #: of the living ones, by position
    alive: asyncio.Event = field(default_factory=asyncio.Event)
    kills: int = 0

    async def begin(self, position: int) -> None:
        """Start a service."""
        url = await self.lives[position].begin()
        self.senders[position] = Sender(self.client, f"{url}/webhooks/{TEAM}/{SLUG}", clock=now)
        self.alive.set()

    async def kill(self, position: int) -> None:
        """Kill a service."""
        del self.senders[position]
        if not self.senders:
            self.alive.clear()
        self.lives[position].kill()
        assert await self.lives[position].ended() == -9, "it ended before it was killed"
        self.kills += 1

    async def push(self, document: object, *, delivery: str) -> None:
        """Push a document to any living service, again until one has recorded it."""
        while True:
            await self.alive.wait()
            try:
                answer = await self.dice.choice(list(self.senders.values())).push(document, delivery=delivery)
            except (ClientError, OSError):  # it was killed
                continue
            assert answer.counts in ((1, 0, 0, 0), (0, 1, 0, 0))
            return


@dataclass(kw_only=True)
class Record:
    """The values that were recorded for each contact, in order."""

    dice: random.Random
    values: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    count: int = 0

    async def push(self, processes: Processes, people: list[str], *, until: int) -> None:
        """Record changes of some contacts, one after the other, so that the order of each contact's is known."""
        while self.count < until:
            self.count += 1
            email, value = self.dice.choice(people), self.count
            await processes.push(item("score.set", email=email, score="points", value=value), delivery=f"d{value}")
            self.values[email].append(value)

    async def push_all(self, processes: Processes, *, until: int) -> None:
        """Record changes by several senders at once."""
        pushes = (self.push(processes, PEOPLE[first::AT_ONCE], until=until) for first in range(AT_ONCE))
        await asyncio.gather(*pushes)


@asynccontextmanager
async def running(database_url: str) -> AsyncIterator[Processes]:
    """Run two services on PostgreSQL, or one on SQLite."""
    env = environment(database_url, CONTACT_SCORE_ALLOW_NETWORKS=LOCAL)
    number = 1 if raw.is_sqlite(database_url) else 2
    async with AsyncExitStack() as stack:
        lives = [await stack.enter_async_context(living("serve", "--no-slack", env=env)) for _ in range(number)]
        client = await stack.enter_async_context(session())
        processes = Processes(client=client, lives=lives, dice=random.Random(6))
        await asyncio.gather(*(processes.begin(position) for position in range(number)))
        yield processes


async def record_and_kill(processes: Processes, record: Record, receiver: EventReceiver) -> None:
    """Record all changes, and kill one of the services now and then while they do that; in the end kill all.

    The first kill waits for an event: until the lease of a killed service ends, nothing may be sent."""
    in_turn = CHANGES // KILLS
    await record.push_all(processes, until=1)
    await receiver.has_received.wait()
    for number in range(1, KILLS):
        await record.push_all(processes, until=(number - 1) * in_turn + in_turn // 2)
        pushing = asyncio.create_task(record.push_all(processes, until=number * in_turn))
        victim = number % len(processes.lives)
        await processes.kill(victim)
        await processes.begin(victim)
        await pushing
    await record.push_all(processes, until=CHANGES)
    for position in range(len(processes.lives)):
        await processes.kill(position)


async def subscribe(database_url: str, url: str) -> None:
    """Add a subscription to changed scores."""
    storage = await open_storage(database_url, secret_keys=[KEY])
    try:
        workspace, secret = await find_workspace(TEAM), new_signing_secret()
        await add_subscription(workspace, url=url, events=["score.changed"], secret=secret, by="U0ADMIN", now=now())
    finally:
        await storage.close()


async def send_the_rest(database_url: str) -> None:
    """Send what the killed processes left, as a process does after their leases ended."""
    storage = await open_storage(database_url, secret_keys=[KEY])
    sender = EventSender(clock=lambda: now() + 2 * LEASE, allowed_networks=[ip_network(LOCAL)])
    runner = JobRunner({**make_handlers(lambda: now() + 2 * LEASE), **sender.handlers}, clock=lambda: now() + 2 * LEASE)
    try:
        while await runner.work():
            continue
    finally:
        await sender.close()
        await storage.close()


async def test_no_event_is_lost_or_out_of_order(database_url: str) -> None:
    """Every recorded value of every contact arrives; without repeats, each contact's values are in order."""
    await furnish_for_a_process(database_url)
    record = Record(dice=random.Random(5))
    async with receiving_events() as receiver:
        await subscribe(database_url, receiver.url)
        async with running(database_url) as processes:
            await record_and_kill(processes, record, receiver)
        before = len(receiver.received)
        await send_the_rest(database_url)
    arrived: dict[str, list[int]] = defaultdict(list)
    seen: set[str] = set()
    for event in receiver.received:
        if event.id not in seen:
            seen.add(event.id)
            arrived[event.data["contact"]["email"]].append(event.data["value"])

    counts = {
        "changes": record.count,
        "processes": len(processes.lives),
        "kills": processes.kills,
        "sent before the last kill": before,
        "lost": record.count - len(seen),
        "repeated": len(receiver.received) - len(seen),
    }
    report_counts("events", counts)
    assert arrived == record.values
    assert record.count == CHANGES
    assert processes.kills >= KILLS
    assert before > 0
