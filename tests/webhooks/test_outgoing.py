"""Events are sent to subscriptions: signed, in order for each contact, again until they are accepted."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_network
from typing import Any

import pytest
from cryptography.fernet import Fernet
from yarl import URL

from storage.alerts.enroll import choose_channel
from storage.alerts.followup_moves import apply_move
from storage.alerts.followups import list_waiting
from storage.bootstrap import Storage
from storage.db import database
from storage.domain.backoff import SECOND, pause_event
from storage.domain.contacts import Reference
from storage.domain.errors import BadName, UnknownSegment, UnknownSubscription
from storage.domain.events import EventType
from storage.domain.facts import DAY, Deletion, Merge, Op
from storage.domain.followups import FollowUpMove
from storage.domain.submissions import Recorded
from storage.events.deliveries import DELIVER, TELL, DeliveryState, list_deliveries, redeliver
from storage.events.event_jobs import SWEEP_EVENTS
from storage.events.publish import delete_old_events, publish_events
from storage.job_handlers import make_handlers
from storage.job_runner import JobRunner
from storage.reading.segments import save_segment
from storage.sources.subscriptions import (
    Subscription,
    add_subscription,
    find_with_secrets,
    remove_subscription,
    rotate_subscription,
    subscriptions,
)
from storage.vault import Vault
from storage.workspaces import add_workspace
from tests.conftest import on_both
from tests.storage.teams import Team, change, set_to
from tests.webhooks.event_receiver import EventReceiver, receiving_events, types_of
from tests.webhooks.sender import Clock
from webhooks.outgoing import EventSender, read_retry_after
from webhooks.signing_secrets import check_signing_secret, new_signing_secret

TEAM, ADMIN = "T0123", "U0ADMIN"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
    """Create a workspace with events that may be sent to this machine."""
    clock = Clock(time.time_ns() // 1000)  # the official library compares with the time of the system
    workspace = await add_workspace(TEAM, name="Acme", by=ADMIN, now=clock())
    sender = EventSender(clock=clock, allowed_networks=[ip_network("127.0.0.0/8")], patience=2.0)
    runner = JobRunner({**make_handlers(clock), **sender.handlers}, clock=clock, recurring=[SWEEP_EVENTS])
    yield World(team=Team(workspace), clock=clock, receiver=receiver, runner=runner)
    await sender.close()


@on_both
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


@on_both
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


@on_both
async def test_bands_are_entered_and_left(world: World) -> None:
    """A change of the band has an event for each band; a change within the band has none; a cleared score leaves."""
    await world.subscribe("score.band_entered", "score.band_left")
    for value in (10, 20, 90):
        await world.set(ADA, value)
    await world.team.deliver(change("x", ADA, Op.CLEAR, at=world.clock() + 1), batch="x", received=world.clock() + 1)
    await world.work(after=SECOND)

    events = [(event.type, event.data["band"], event.data["value"]) for event in world.receiver.take()]
    assert events == [
        ("score.band_entered", "cold", 10), ("score.band_left", "cold", 90), ("score.band_entered", "hot", 90),
        ("score.band_left", "hot", None),
    ]  # fmt: skip  # in order


@on_both
async def test_a_merge_and_a_deletion_are_sent_with_ids_only(world: World) -> None:
    """`contact.merged` names both ids, `contact.deleted` one, and neither has a name, an address or a score."""
    await world.subscribe("contact.merged", "contact.deleted", "score.changed")
    await world.set(ADA, 10)
    await world.set(BOB, 20)
    await world.work()
    ada, bob = [event.data["contact"]["id"] for event in world.receiver.take()]
    merge = Merge(key="m", contact=Reference(email=BOB), into=Reference(email=ADA))
    await world.team.deliver(merge, batch="m", received=world.clock() + 1)
    await world.work(after=SECOND)
    merged, changed = world.receiver.take()
    assert (merged.type, merged.data) == ("contact.merged", {"contact": {"id": ada}, "merged": {"id": bob}})
    assert (changed.type, changed.data["value"], changed.data["contact"]["id"]) == ("score.changed", 20, ada)

    deletion = Deletion(key="d", contact=Reference(email=ADA))
    await world.team.deliver(deletion, batch="d", received=world.clock() + 1)
    await world.work(after=SECOND)
    (deleted,) = world.receiver.take()
    assert (deleted.type, deleted.data) == ("contact.deleted", {"contact": {"id": ada}})


@on_both
async def test_a_deletion_empties_the_events_that_wait(world: World) -> None:
    """Events of a deleted contact that were not delivered yet say its id only; nothing of it is stored any more."""
    await world.subscribe()
    world.receiver.answer_with(500, 200)
    await world.set(ADA, 87, fields={"name": "Ada Lovelace"}, reason="Asked for a demo")
    await world.work()
    world.receiver.take()
    deletion = Deletion(key="d", contact=Reference(email=ADA))
    await world.team.deliver(deletion, batch="d", received=world.clock() + 1)
    await world.work(after=10 * SECOND)

    events = world.receiver.take()
    assert types_of(events) == ["score.changed", "score.band_entered", "contact.deleted"]
    assert [event.data.keys() for event in events] == [{"contact"}] * 3
    assert {tuple(event.data["contact"]) for event in events} == {("id",)}


@on_both
async def test_a_follow_up_is_sent_with_what_becomes_of_it(world: World) -> None:
    """Each move of a follow-up has its event, with its state and who moved it; a move that has no event is not sent."""
    await choose_channel(world.team.workspace, channel="C0SALES", by=ADMIN, now=world.clock())
    await world.subscribe(*(type for type in EventType if type.startswith("followup.")))
    await world.set(ADA, 90)
    (follow_up,) = await list_waiting(world.team.workspace, most=9)
    moves = [(FollowUpMove.SNOOZE, world.clock() + 9), (FollowUpMove.CLAIM, None), (FollowUpMove.DONE, None)]
    for move, until in moves:
        now = world.clock() + 1
        await apply_move(world.team.workspace, id=follow_up.id, move=move, by="U0REP", until=until, now=now)
    await world.set(BOB, 90)
    await world.set(BOB, 10)
    await world.work(after=SECOND)

    events = [
        (event.type, event.data["followup"]["state"], event.data["followup"]["user"]) for event in world.receiver.take()
    ]
    assert sorted(events[:1]) == [("followup.opened", "open", None)]
    assert sorted(events) == sorted([
        ("followup.opened", "open", None), ("followup.snoozed", "snoozed", "U0REP"),
        ("followup.claimed", "claimed", "U0REP"), ("followup.done", "done", "U0REP"),
        ("followup.opened", "open", None), ("followup.closed", "closed", None),
    ])  # fmt: skip  # two contacts, which may be sent at the same time


@on_both
async def test_segments_are_entered_and_left(world: World) -> None:
    """Only contacts that change are announced, not those that are in the segment when the subscription is added."""
    await save_segment(world.team.workspace, name="hot", text="score>=80", by=ADMIN, now=world.clock())
    await save_segment(world.team.workspace, name="vip", text="tag:vip", by=ADMIN, now=world.clock())
    await world.set(ADA, 90)
    await world.subscribe(segments=["hot", "vip"])
    await world.set(BOB, 95, fields={"tags": ["vip"]})
    await world.set(BOB, 99)
    await world.set(ADA, 91)
    await world.work()
    await world.set(ADA, 20)
    await world.set(BOB, 98, fields={"tags": []})
    await world.work()

    events = [(event.type, event.data["segment"], event.data["contact"]["email"]) for event in world.receiver.take()]
    assert sorted(events) == [
        ("segment.entered", "hot", BOB), ("segment.entered", "vip", BOB), ("segment.left", "hot", ADA),
        ("segment.left", "vip", BOB),
    ]  # fmt: skip  # who entered and left what


@on_both
async def test_a_segment_that_time_changes_is_swept(world: World) -> None:
    """A contact that leaves a segment by time alone is announced within fifteen minutes."""
    await save_segment(world.team.workspace, name="fresh", text="updated<1d", by=ADMIN, now=world.clock())
    await world.subscribe(segments=["fresh"])
    await world.set(ADA, 90)
    await world.work()
    assert [event.data["segment"] for event in world.receiver.take()] == ["fresh"]
    await world.work(after=DAY - 60 * SECOND)
    assert world.receiver.take() == []
    await world.work(after=16 * 60 * SECOND)

    assert [(event.type, event.data["segment"]) for event in world.receiver.take()] == [("segment.left", "fresh")]


@on_both
async def test_an_import_is_sent_to_subscriptions_that_ask_for_it(world: World) -> None:
    """Events of an import say so, and go only to a subscription that asks for them."""
    async with receiving_events() as other:
        await world.subscribe("score.changed")
        await world.subscribe("score.changed", url=other.url, imports=True)
        await world.set(ADA, 10, source="import")
        await world.set(BOB, 20)
        await world.work()

        assert [event.data["value"] for event in world.receiver.take()] == [20]
        events = sorted(other.take(), key=lambda event: int(event.data["value"]))
        assert [(event.data["value"], event.data.get("cause")) for event in events] == [(10, "import"), (20, None)]


@on_both
async def test_a_receiver_that_asks_for_a_pause_gets_it(world: World) -> None:
    """`Retry-After` is honored for the whole subscription, in seconds and as a date, and at most for a day."""
    await world.subscribe("score.changed")
    world.receiver.answer_with(429, headers={"Retry-After": "90"})
    await world.set(ADA, 10)
    await world.set(BOB, 20)
    await world.work()
    assert len(world.receiver.take()) == 1
    world.receiver.answer_with(200)
    await world.work(after=80 * SECOND)
    assert world.receiver.take() == []
    await world.work(after=11 * SECOND)
    assert sorted(event.data["value"] for event in world.receiver.take()) == [10, 20]

    now = 1_770_000_000 * SECOND
    read = {
        text: read_retry_after(text, now=now)
        for text in (
            "0",
            "7",
            "999999",
            format_datetime(EPOCH + timedelta(seconds=1_770_000_120), usegmt=True),
            format_datetime(EPOCH, usegmt=True),
            "",
            "soon",
            "-5",
            "1e9",
            "٣",
        )
    }
    assert list(read.values()) == [SECOND, 7 * SECOND, DAY, 120 * SECOND, SECOND, None, None, None, None, None]


def test_the_waits_grow_from_five_seconds_to_a_day() -> None:
    """Each wait is longer than the one before until it is a day, with a fifth of jitter at most."""
    least = [pause_event(attempts, jitter=0.0) for attempts in range(1, 12)]
    most = [pause_event(attempts, jitter=1.0) for attempts in range(1, 12)]

    assert [wait // SECOND for wait in least[:5]] == [5, 20, 80, 320, 1280]
    assert (least[-1], most[-1]) == (DAY * 5 // 6, DAY)
    assert least == sorted(least)
    assert [long / short for short, long in zip(least, most, strict=True)] == [1.2] * 11
    assert pause_event(10**6, jitter=0.5) <= DAY


@on_both
async def test_a_redirect_is_not_followed(world: World) -> None:
    """A redirect is a failure: its target gets nothing."""
    async with receiving_events() as target:
        subscription = await world.subscribe("score.changed")
        world.receiver.answer_with(307, headers={"Location": target.url})
        await world.set(ADA, 10)
        await world.work()

        assert target.received == []
        (delivery,) = await list_deliveries(world.team.workspace, subscription=subscription.id, limit=9)
        assert (delivery.state, delivery.status, delivery.problem) == (
            "waiting", 307, "it answered 307 Temporary Redirect",
        )  # fmt: skip  # the outcome


@on_both
async def test_a_receiver_that_is_gone_gets_no_more_until_it_is_asked_to(world: World) -> None:
    """410 turns the subscription off. `redeliver` turns it on, and sends what happened meanwhile too, in order."""
    subscription = await world.subscribe("score.changed")
    world.receiver.answer_with(410)
    await world.set(ADA, 10)
    await world.work()
    await world.set(ADA, 20)
    await world.work(after=DAY)
    assert len(world.receiver.take()) == 1
    (stored,) = await subscriptions(world.team.workspace)
    assert (stored.disabled_at is not None, stored.problem) == (True, "it answered 410 Gone")
    told = await database.read("SELECT subject FROM jobs WHERE kind = $1", TELL)
    assert told == [{"subject": subscription.id}]

    world.receiver.answer_with(200)
    count = await redeliver(world.team.workspace, subscription=subscription.id, by=ADMIN, now=world.clock())
    await world.set(ADA, 30)
    await world.work()
    assert count == 2
    assert [event.data["value"] for event in world.receiver.take()] == [10, 20, 30]


@on_both
async def test_five_days_of_failure_turn_a_subscription_off(world: World) -> None:
    """Every event is tried for five days; then the subscription is turned off, and an admin is told once."""
    await world.subscribe("score.changed")
    world.receiver.answer_with(500)
    await world.set(ADA, 10)
    hours = 0
    while (await subscriptions(world.team.workspace))[0].disabled_at is None:
        await world.work(after=3600 * SECOND)
        hours += 1
        assert hours < 200

    assert 119 <= hours <= 145
    assert len(world.receiver.take()) in range(8, 16)
    assert len(await database.read("SELECT id FROM jobs WHERE kind = $1", TELL)) == 1


@on_both
async def test_an_event_that_a_receiver_never_accepts_does_not_block_the_others(world: World) -> None:
    """After three days an event is given up if others are accepted; it can be sent again by hand, with the same id."""
    subscription = await world.subscribe("score.changed")
    world.receiver.refused = ADA
    await world.set(ADA, 10)
    await world.work()
    first = world.receiver.take()[0]
    for day in range(4):
        await world.set(BOB, 20 + day)
        await world.work(after=DAY)
    (failed,) = await list_deliveries(
        world.team.workspace, subscription=subscription.id, state=DeliveryState.FAILED, limit=9
    )
    assert failed.event.uid == first.id
    world.receiver.take()

    world.receiver.refused = ""
    count = await redeliver(
        world.team.workspace, subscription=subscription.id, deliveries=[failed.id], by=ADMIN, now=world.clock()
    )
    assert count == 1
    await world.work()
    (again,) = world.receiver.take()
    assert (again.id, again.data["value"]) == (first.id, 10)


@on_both
async def test_both_secrets_sign_while_they_are_rotated(world: World) -> None:
    """After a rotation each request has a signature of both secrets for a day, then of the new one alone."""
    subscription = await world.subscribe("score.changed")
    (old,) = subscription.secrets
    new = new_signing_secret()
    await rotate_subscription(world.team.workspace, id=subscription.id, secret=new, by=ADMIN, now=world.clock())
    await world.set(ADA, 10)
    await world.work()
    (event,) = world.receiver.take()
    for secret in (old, new):
        event.check_signature(secret)
    world.clock.now += DAY
    await world.set(ADA, 20)
    await world.work()

    (event,) = world.receiver.take()
    assert len(event.headers["webhook-signature"].split()) == 1


@on_both
async def test_an_address_inside_the_network_is_refused_when_it_is_connected_to(storage: Storage) -> None:
    """Neither an address, nor a name that resolves to one, is called without permission."""
    clock = Clock()
    workspace = await add_workspace(TEAM, name="Acme", by=ADMIN, now=clock())
    sender = EventSender(clock=clock, patience=2.0)
    runner = JobRunner({**make_handlers(clock), **sender.handlers}, clock=clock)
    async with receiving_events() as receiver:
        world = World(team=Team(workspace), clock=clock, receiver=receiver, runner=runner)
        port = URL(receiver.url).port
        for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"):
            for scheme in ("http", "https"):
                await world.subscribe("score.changed", url=f"{scheme}://{host}:{port}/hook")
        await world.set(ADA, 10)
        await world.work()
        await sender.close()

        problems = {each.url: each.problem for each in await subscriptions(workspace)}
        assert receiver.received == []
    assert len(problems) == 8
    assert [url for url, problem in problems.items() if "CONTACT_SCORE_ALLOW_NETWORKS" not in str(problem)] == []


@on_both
async def test_a_receiver_that_does_not_answer_is_given_up_for_now(world: World) -> None:
    """Without an answer in time, or a connection, the event waits, and the subscription says why."""
    await world.subscribe("score.changed")
    await world.subscribe("score.changed", url="http://127.0.0.1:9/hook")
    world.receiver.never = True
    await world.set(ADA, 10)
    await world.work()

    silent, closed = [each.problem for each in await subscriptions(world.team.workspace)]
    assert silent == "it did not answer within 2 seconds"
    assert closed == "it did not answer: ClientConnectorError"


@on_both
async def test_a_removed_subscription_gets_nothing(world: World) -> None:
    """Events that wait are not sent any more, and later ones are not written."""
    subscription = await world.subscribe("score.changed")
    await world.set(ADA, 10)
    await remove_subscription(world.team.workspace, id=subscription.id, by=ADMIN, now=world.clock())
    world.clock.now += 8 * DAY
    await world.set(ADA, 20)
    await world.work()

    assert world.receiver.received == []
    assert len(await database.read("SELECT id FROM events")) == 2  # the first change, and the band it entered


@on_both
async def test_what_cannot_be_a_subscription_is_refused(world: World) -> None:
    """An address that cannot be called, an unknown event, and a segment that does not exist are refused, with why."""
    for url in (
        "",
        "example.com",
        "ftp://example.com/",
        "http://",
        "https://user:pass@example.com/",
        "http://a b/",
        "https://exämple.com/",
        "https://example.com:0/",
        "https://[::1/",
        "https://" + "a" * 2000,
    ):
        with pytest.raises(BadName):
            await world.subscribe(url=url or " ")
    for event in ("score.exploded", "segment.entered"):
        with pytest.raises(BadName):
            await world.subscribe(event)
    with pytest.raises(UnknownSegment):
        await world.subscribe(segments=["gone"])
    with pytest.raises(UnknownSubscription):
        await find_with_secrets(world.team.workspace, id=99, now=world.clock())
    with pytest.raises(BadName):
        check_signing_secret("whsec_short")


@on_both
async def test_without_the_key_events_wait(world: World) -> None:
    """A process with another key keeps the events and shows the subscription; with the key they are sent."""
    await world.subscribe("score.changed")
    database_, vault = database.current_database(), database.current_database().vault
    await world.set(ADA, 10)
    database_.vault = Vault([Fernet.generate_key().decode()])
    await world.work()
    assert [each.url for each in await subscriptions(world.team.workspace)] == [world.receiver.url]
    assert world.receiver.received == []
    database_.vault = vault
    await world.work(after=700 * SECOND)

    assert [event.data["value"] for event in world.receiver.take()] == [10]


@on_both
async def test_a_merged_contact_leaves_no_segment(world: World) -> None:
    """The contact merged into is in the segment as before, so neither the merge nor a later sweep says anything."""
    await save_segment(world.team.workspace, name="hot", text="score>=80", by=ADMIN, now=world.clock())
    await world.set(ADA, 90)
    await world.set(BOB, 95)
    await world.subscribe(segments=["hot"])
    merge = Merge(key="m", contact=Reference(email=BOB), into=Reference(email=ADA))
    await world.team.deliver(merge, batch="m", received=world.clock() + 1)
    await world.work(after=20 * 60 * SECOND)

    assert world.receiver.received == []


@on_both
async def test_events_are_deleted_after_a_week_unless_they_wait(world: World) -> None:
    """A delivered event is deleted after seven days with its delivery; one that still waits is kept and sent."""
    subscription = await world.subscribe("score.changed")
    await world.set(ADA, 10)
    await world.work()
    world.receiver.answer_with(503, headers={"Retry-After": "86400"})
    await world.set(BOB, 20)
    await world.work()
    world.clock.now += 8 * DAY
    await delete_old_events(world.team.workspace, now=world.clock())

    (waiting,) = await list_deliveries(world.team.workspace, subscription=subscription.id, limit=9)
    assert waiting.state == "waiting"
    assert len(await database.read("SELECT id FROM events")) == 1
    world.receiver.answer_with(200)
    world.receiver.take()
    await world.work()
    assert [event.data["value"] for event in world.receiver.take()] == [20]
    await delete_old_events(world.team.workspace, now=world.clock())
    assert await database.read("SELECT id FROM events") == []


@on_both
async def test_events_that_no_job_sends_are_found(world: World) -> None:
    """If the job of an event was lost, the sweep makes another one."""
    await world.subscribe("score.changed")
    await world.set(ADA, 10)
    await publish_events(world.team.workspace, now=world.clock())
    assert await database.change("DELETE FROM jobs WHERE kind = $1 RETURNING id", DELIVER) != []
    await world.work(after=16 * 60 * SECOND)

    assert [event.data["value"] for event in world.receiver.take()] == [10]


@on_both
async def test_a_person_is_named_and_two_workspaces_are_apart(world: World) -> None:
    """An event names the person who changed a score, and goes to the subscriptions of its workspace only."""
    other = Team(await add_workspace("T0456", name="Other", by=ADMIN, now=world.clock()))
    await world.subscribe("score.changed")
    await other.ask(set_to("k", ADA, 33), batch="b", received=world.clock())
    await world.team.ask(set_to("k", ADA, 44), batch="b", received=world.clock())
    await world.work()

    assert [(event.data["value"], event.data["source"], event.data["actor"]) for event in world.receiver.take()] == [
        (44, "slack", "U0REP")
    ]


@on_both
async def test_a_follow_up_that_is_taken_back_is_closed(world: World) -> None:
    """An undo of the change closes the follow-up, with its event; the score falls back with an event too."""
    await choose_channel(world.team.workspace, channel="C0SALES", by=ADMIN, now=world.clock())
    await world.subscribe("followup.closed", "score.changed")
    await world.team.ask(set_to("k", ADA, 90), batch="b", received=world.clock())
    await world.team.undo("b", batch="u", received=world.clock() + SECOND)
    await world.work(after=2 * SECOND)

    events = [(event.type, event.data.get("value")) for event in world.receiver.take()]
    assert sorted(events, key=str) == [("followup.closed", None), ("score.changed", 90), ("score.changed", None)]
