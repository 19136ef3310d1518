"""Kill the service while it works, repeatedly: everything answered 2xx is recorded once.

So is its follow-up: every delivery has one new contact with a top score.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientConnectorError, ClientError

from storage.alerts.enroll import choose_channel
from storage.alerts.followup_rules import ASK
from storage.alerts.followups import load_follow_ups
from storage.bootstrap import open_storage
from storage.jobs import list_due_in_lane
from storage.reading.current_scores import cards_of
from storage.reading.history import history
from storage.reading.search import find
from storage.workspaces import find_workspace
from tests.bot.cli.program import Serving, environment, serving
from tests.conftest import KEY
from tests.counts import THOROUGH, report_counts
from tests.faults.lives import Lives, living
from tests.webhooks.receiving import SLUG, TEAM, furnish_for_a_process
from tests.webhooks.sender import Sender, item, session

KILLS = 8 * THOROUGH  # for each database
FEWEST, MOST = 40, 60  # deliveries acknowledged before a kill
SENDERS = 6
PEOPLE = [f"p{number}@example.com" for number in range(5)]
MOST_ITEMS = 4


def now() -> int:
    """Return the current time, in µs UTC: the process uses the system clock."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One delivery: adds with unique reasons, and a new contact with a top score."""

    id: str
    items: list[dict[str, Any]]

    @property
    def adds(self) -> list[dict[str, Any]]:
        """The items that add to scores."""
        return self.items[:-1]

    @property
    def top_scorer(self) -> str:
        """The contact that needs a follow-up."""
        return str(self.items[-1]["contact"]["email"])


@dataclass(slots=True)
class Record:
    """The deliveries sent and acknowledged, and counts of repeats and kills."""

    dice: random.Random
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    acknowledged: list[Delivery] = field(default_factory=list)
    unanswered: list[Delivery] = field(default_factory=list)  # to be repeated
    repeated: int = 0
    found_kept: int = 0  # repeated deliveries that were recorded before, although they were not answered
    kills: int = 0
    kills_in_midst: int = 0  # kills while a request was sent but not answered
    cut_off: int = 0  # number of such requests

    def next(self) -> Delivery:
        """Return the next delivery to send: an unanswered one, or else a new one."""
        if self.unanswered:
            self.repeated += 1
            return self.unanswered.pop()
        id = f"d{next(self.numbers)}"
        people = [self.dice.choice(PEOPLE) for _ in range(self.dice.randint(1, MOST_ITEMS))]
        amounts = [self.dice.randint(-50_000, 100_000) / 1000 for _ in people]
        items = [
            item("score.add", email=email, score="points", value=amount, reason=f"{id}/{number}")
            for number, (email, amount) in enumerate(zip(people, amounts, strict=True))
        ]
        return Delivery(id=id, items=[*items, item("score.set", email=f"{id}@example.com", score="score", value=90)])


async def push_until_killed(sender: Sender, record: Record, *, most: int, enough: asyncio.Event) -> None:
    """Push deliveries until the service is gone; set *enough* once *most* are acknowledged."""
    while True:
        delivery = record.next()
        try:
            answer = await sender.push({"items": delivery.items}, delivery=delivery.id)
        except (ClientError, OSError) as exc:
            record.unanswered.append(delivery)
            # that error means that the request was not sent
            record.cut_off += not isinstance(exc, ClientConnectorError)
            return
        applied, duplicate, _, quarantined = answer.counts
        assert quarantined == 0, answer
        assert 0 in (applied, duplicate), "a delivery was kept in parts"
        record.found_kept += duplicate > 0
        record.acknowledged.append(delivery)
        if len(record.acknowledged) >= most:
            enough.set()


async def one_life(lives: Lives, record: Record) -> None:
    """Push from several senders, and kill the service at a random moment."""
    cut_off, url = record.cut_off, await lives.begin()
    async with session() as open_session:
        sender = Sender(open_session, f"{url}/webhooks/{TEAM}/{SLUG}", clock=now)
        enough, most = asyncio.Event(), len(record.acknowledged) + record.dice.randint(FEWEST, MOST)
        senders = [
            asyncio.create_task(push_until_killed(sender, record, most=most, enough=enough)) for _ in range(SENDERS)
        ]
        waiter = asyncio.create_task(enough.wait())
        await asyncio.wait([waiter, *senders], return_when=asyncio.FIRST_COMPLETED)
        assert enough.is_set(), [task.exception() for task in senders if task.done()]
        asyncio.get_running_loop().call_later(record.dice.uniform(0, 0.02), lives.kill)
        await asyncio.gather(*senders)
        assert await lives.ended() == -9, "it ended before it was killed"
    record.kills += 1
    record.kills_in_midst += record.cut_off > cut_off


async def last_life(serve: Serving, record: Record) -> None:
    """Repeat the unanswered deliveries and some answered ones, which changes nothing."""
    async with session() as open_session:
        sender = Sender(open_session, f"{serve.url}/webhooks/{TEAM}/{SLUG}", clock=now)
        while record.unanswered:
            delivery = record.next()
            answer = await sender.push({"items": delivery.items}, delivery=delivery.id)
            record.found_kept += answer.counts[1] > 0
            record.acknowledged.append(delivery)
        for delivery in record.dice.sample(record.acknowledged, 50):
            answer = await sender.push({"items": delivery.items}, delivery=delivery.id)
            assert answer.counts == (0, len(delivery.items), 0, 0)
    assert (await serve.stop()).code == 0


async def check_ledger(database_url: str, record: Record) -> int:
    """Fail unless every acknowledged item is in the ledger exactly once and every sum is exact; return their number."""
    items = [item for delivery in record.acknowledged for item in delivery.adds]
    sums: Counter[str] = Counter()
    for pushed in items:
        sums[pushed["contact"]["email"]] += round(pushed["value"] * 1000)
    storage = await open_storage(database_url, secret_keys=[KEY])
    try:
        workspace = await find_workspace(TEAM)
        reasons: Counter[str | None] = Counter()
        for email in PEOPLE:
            (contact,) = await find(workspace, text=email)
            _, lines = await history(workspace, contact=contact.id, score="points", most=100_000)
            reasons.update(line.reason for line in lines)
            (card,) = await cards_of(workspace, ids=[contact.id], now=now())
            (standing,) = card.standings
            assert standing.value == sums[email], email
    finally:
        await storage.close()
    expected = Counter(item["reason"] for item in items)
    assert set(expected.values()) == {1}
    missing, twice = expected - reasons, reasons - expected
    assert not missing, f"acknowledged and lost: {list(missing)[:5]}"
    assert not twice, f"kept more than once, or never sent: {list(twice)[:5]}"
    return len(items)


async def let_follow_up(database_url: str) -> None:
    """Choose a channel for follow-ups, which turns on the default rule."""
    storage = await open_storage(database_url, secret_keys=[KEY])
    try:
        await choose_channel(await find_workspace(TEAM), channel="C0SALES", by="U0ADMIN", now=now())
    finally:
        await storage.close()


async def check_follow_ups(database_url: str, record: Record) -> int:
    """Fail unless each top scorer has exactly one follow-up that waits to be posted; return their number."""
    storage = await open_storage(database_url, secret_keys=[KEY])
    try:
        workspace = await find_workspace(TEAM)
        follow_ups = await load_follow_ups(workspace, ids=range(1, 100_000))
        due = Counter[int]()
        for lane in {follow_up.lane for follow_up in follow_ups}:
            due.update((await list_due_in_lane(workspace, lane=lane, kind=ASK, now=now())).values())
        top_scorers = Counter[int]()
        for delivery in record.acknowledged:
            (contact,) = await find(workspace, text=delivery.top_scorer)
            top_scorers[contact.id] += 1
    finally:
        await storage.close()
    assert set(top_scorers.values()) == {1}
    of_contacts = Counter(follow_up.contact for follow_up in follow_ups)
    lost, twice = top_scorers - of_contacts, of_contacts - top_scorers
    assert not lost, f"follow-ups lost: {len(lost)}"
    assert not twice, f"asked for more than once: {len(twice)}"
    assert due == Counter(follow_up.id for follow_up in follow_ups), "written, but nobody will post it"
    return len(follow_ups)


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost_or_doubled(database_url: str) -> None:
    """After repeated SIGKILLs under load and repeats of unanswered deliveries, every fact is in the ledger once."""
    seed = random.randrange(10**6)
    record = Record(random.Random(seed))
    await furnish_for_a_process(database_url)
    await let_follow_up(database_url)
    env = environment(database_url)
    async with living("serve", "--no-slack", env=env) as lives:
        for _ in range(KILLS):
            await one_life(lives, record)
    async with serving(env=env) as serve:
        await last_life(serve, record)
    facts = await check_ledger(database_url, record)
    follow_ups = await check_follow_ups(database_url, record)

    report_counts(
        f"killed on {database_url.partition(':')[0]}, seed {seed}",
        {
            "kills": record.kills,
            "with a request unanswered": record.kills_in_midst,
            "requests unanswered": record.cut_off,
            "deliveries acknowledged": len(record.acknowledged),
            "facts in them": facts,
            "follow-ups asked for": follow_ups,
            "deliveries repeated": record.repeated,
            "kept before that": record.found_kept,
        },
    )
    assert record.kills == KILLS
    assert record.kills_in_midst >= KILLS * 2 // 3
    assert len(record.acknowledged) >= 30 * KILLS
    assert record.repeated >= KILLS
