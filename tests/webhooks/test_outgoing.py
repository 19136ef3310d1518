"""Events are sent to subscriptions: signed, in order for each contact, again until they are accepted."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import pytest

from storage.bootstrap import Storage
from storage.domain.backoff import SECOND
from storage.domain.submissions import Recorded
from storage.job_handlers import make_handlers
from storage.job_runner import JobRunner
from storage.sources.subscriptions import Subscription, add_subscription
from storage.workspaces import add_workspace
from tests.storage.teams import Team, set_to
from tests.webhooks.event_receiver import EventReceiver, receiving_events, types_of
from tests.webhooks.sender import Clock
from webhooks.outgoing import EventSender, new_signing_secret

TEAM, ADMIN = "T0123", "U0ADMIN"
ADA, BOB = "ada@example.com", "bob@example.com"


@dataclass(kw_only=True)
class World:
    """A workspace, a receiver of events, and a job runner with a clock that the test moves."""

    team: Team
    clock: Clock
    receiver: EventReceiver
    runner: JobRunner
    count: int = 0

    async def subscribe(self, *events: str, url: str | None = None, **more: Any) -> Subscription:
        """Add a subscription of the receiver to events; none: to all."""
        return await add_subscription(
            self.team.workspace, url=url or self.receiver.url, events=events,
            secret=new_signing_secret(), by=ADMIN, now=self.clock(), **more,
        )  # fmt: skip  # what, then who and when

    async def set(self, contact: str, value: int, *, source: str = "crm", **more: Any) -> Recorded:
        """Set the score of a contact, one second later."""
        self.clock.now += SECOND
        self.count += 1
        item = set_to(f"k{self.count}", contact, value, at=self.clock(), **more)
        return await self.team.deliver(item, source=source, batch=f"{source}/{self.count}", received=self.clock())

    async def work(self, *, after: int = 0) -> None:
        """Run all jobs that are due after some time."""
        self.clock.now += after
        rounds = 0
        while await self.runner.work():
            rounds += 1
            assert rounds < 1000


@pytest.fixture
async def receiver() -> AsyncIterator[EventReceiver]:
    """Start a receiver of events."""
    async with receiving_events() as receiver_:
        yield receiver_


@pytest.fixture
async def world(storage: Storage, receiver: EventReceiver) -> AsyncIterator[World]:
    """Create a workspace whose events may be sent to this machine."""
    clock = Clock(time.time_ns() // 1000)  # the official library compares with the time of the system
    workspace = await add_workspace(TEAM, name="Acme", by=ADMIN, now=clock())
    sender = EventSender(clock=clock, allowed_networks=[ip_network("127.0.0.0/8")], patience=2.0)
    runner = JobRunner({**make_handlers(clock), **sender.handlers}, clock=clock)
    yield World(team=Team(workspace), clock=clock, receiver=receiver, runner=runner)
    await sender.close()


async def test_a_changed_score_is_sent_and_signed(world: World) -> None:
    """The official library verifies the request, and the body says what changed about which contact."""
    subscription = await world.subscribe("score.changed")
    await world.set(ADA, 62, fields={"name": "Ada Lovelace"})
    await world.set(ADA, 85)
    await world.work()

    first, second = world.receiver.take()
    for event in (first, second):
        event.check_signature(*subscription.secrets)
        assert event.headers["content-type"] == "application/json"
    assert first.id != second.id
    assert second.document.keys() == {"type", "timestamp", "data"}
    contact = second.data.pop("contact")
    assert (contact["email"], contact["name"], contact["scores"]["score"]["value"]) == (ADA, "Ada Lovelace", 85)
    assert second.type == "score.changed"
    assert (first.data["value"], first.data["previous"], first.data["band"]) == (62, None, "warm")
    data = second.document["data"]
    del data["contact"]
    assert data == {
        "score": "score", "value": 85, "previous": 62, "band": "hot", "previous_band": "warm",
        "source": "crm", "actor": None,
    }  # fmt: skip  # the change, then its origin


async def test_an_event_is_sent_again_until_it_is_accepted(world: World) -> None:
    """After a failure the event is sent again after 5 seconds and then later, with the same id and in order."""
    subscription = await world.subscribe("score.changed")
    world.receiver.answer_with(500, 503, 200)
    await world.set(ADA, 10)
    await world.set(ADA, 20)
    await world.work()
    assert len(world.receiver.received) == 1
    await world.work(after=4 * SECOND)
    assert len(world.receiver.received) == 1
    await world.work(after=2 * SECOND)
    assert len(world.receiver.received) == 2
    await world.work(after=25 * SECOND)

    events = world.receiver.take()
    assert [event.data["value"] for event in events] == [10, 10, 10, 20]
    assert len({event.id for event in events}) == 2
    stamps = [int(event.headers["webhook-timestamp"]) for event in events]
    assert stamps == sorted(stamps)
    assert stamps[0] < stamps[1] < stamps[2]
    events[2].check_signature(*subscription.secrets)
    assert types_of(events) == ["score.changed"] * 4
