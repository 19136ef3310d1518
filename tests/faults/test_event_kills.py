"""Kill the service while it sends events: each event arrives at least once, and in order for each contact."""

import asyncio
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from ipaddress import ip_network

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
from tests.webhooks.event_receiver import receiving_events
from tests.webhooks.receiving import SLUG, TEAM, furnish_for_a_process
from tests.webhooks.sender import Sender, item, session
from webhooks.outgoing import EventSender
from webhooks.signing_secrets import new_signing_secret

KILLS = 3
CHANGES = 96  # recorded before each kill
AT_ONCE = 6
LOCAL = "127.0.0.0/8"
PEOPLE = [f"p{number}@example.com" for number in range(12)]


def now() -> int:
    """Return the current time, in µs UTC: the process uses the system clock."""
    return time.time_ns() // 1000


@dataclass(kw_only=True)
class Record:
    """The values that were recorded for each contact, in order."""

    dice: random.Random
    values: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    count: int = 0

    async def push(self, sender: Sender, people: list[str]) -> None:
        """Record changes of some contacts, one after the other, so that the order of each contact's is known."""
        for _ in range(CHANGES // AT_ONCE):
            self.count += 1
            email, value = self.dice.choice(people), self.count
            change = item("score.set", email=email, score="points", value=value)
            assert (await sender.push(change, delivery=f"d{value}")).counts == (1, 0, 0, 0)
            self.values[email].append(value)


async def subscribe(database_url: str, url: str) -> None:
    """Add a subscription to changed scores."""
    storage = await open_storage(database_url, secret_keys=[KEY])
    try:
        workspace, secret = await find_workspace(TEAM), new_signing_secret()
        await add_subscription(workspace, url=url, events=["score.changed"], secret=secret, by="U0ADMIN", now=now())
    finally:
        await storage.close()


async def one_life(lives: Lives, record: Record) -> None:
    """Record changes by several senders, and kill the service while it sends their events."""
    url = await lives.begin()
    async with session() as open_session:
        sender = Sender(open_session, f"{url}/webhooks/{TEAM}/{SLUG}", clock=now)
        await asyncio.gather(*(record.push(sender, PEOPLE[first::AT_ONCE]) for first in range(AT_ONCE)))
    lives.kill()
    assert await lives.ended() == -9, "it ended before it was killed"


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
        env = environment(database_url, CONTACT_SCORE_ALLOW_NETWORKS=LOCAL)
        async with living("serve", "--no-slack", env=env) as lives:
            for _ in range(KILLS):
                await one_life(lives, record)
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
        "kills": KILLS,
        "sent before the last kill": before,
        "lost": record.count - len(seen),
        "repeated": len(receiver.received) - len(seen),
    }
    report_counts("events", counts)
    assert arrived == record.values
    assert record.count == KILLS * CHANGES
    assert before > 0
