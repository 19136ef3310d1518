"""Scores are written to a property of their contact's CRM: the newest value, in few requests, and never in a loop."""

import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any

import pytest

from storage.audit import audit_entries
from storage.bootstrap import Storage
from storage.domain.backoff import SECOND
from storage.domain.contacts import Reference
from storage.domain.errors import Refusal
from storage.domain.facts import DAY, Deletion, Item, Merge, Op
from storage.domain.people import Workspace
from storage.domain.sources import Source, SourceSettings
from storage.domain.submissions import Submission
from storage.job_handlers import make_handlers
from storage.job_runner import JobRunner
from storage.ledger.committer import record
from storage.reading.current_scores import cards_of
from storage.scoring.definitions import add_score_type
from storage.scoring.drafts import apply, create_draft
from storage.scoring.removal import TypeInUse, remove_score_type
from storage.sources.config import add_source, remove_source, set_source
from storage.sources.writeback_queue import NOTIFY_PAUSED, REFRESH, WRITE_BACK, WriteBackStatus, load_write_back_status
from storage.workspaces import add_workspace
from tests.conftest import on_both
from tests.counts import report_counts
from tests.storage import raw
from tests.storage.reading.test_query_plans import Recorder
from tests.storage.teams import ContactLike, Team, change, field_item, set_to
from tests.webhooks.echoing_crm import EchoingCrm, open_echoing_crm, serving_app
from tests.webhooks.events import hubspot, pipedrive_one, pipedrive_two
from tests.webhooks.sender import Clock, session
from webhooks.authentication.signatures import SignedRequest
from webhooks.connections import RUNNER_OPTIONS
from webhooks.metrics import Metrics
from webhooks.providers import PROVIDERS
from webhooks.read.parse_delivery import read_items
from webhooks.receiver import Receiver
from webhooks.source_settings import SourceOptions, configure
from webhooks.writeback import Writer

TEAM, ADMIN, SECRET = "T0123", "U0ADMIN", "client-secret"
BATCH = "/crm/v3/objects/contacts/batch/update"
ADA, BOB = ("hub", "1"), ("hub", "2")


@dataclass(kw_only=True)
class World:
    """A workspace with a CRM that scores are written to, and a job runner with a clock that the test moves."""

    url: str
    team: Team
    clock: Clock
    crm: EchoingCrm
    runner: JobRunner
    count: int = 0

    @property
    def workspace(self) -> Workspace:
        """The workspace."""
        return self.team.workspace

    async def add_source(self, slug: str = "hub", *, provider: str = "hubspot", **more: Any) -> Source:
        """Add a source with the type `score` written back to the property `contact_score`."""
        settings = SourceSettings(
            api_url=self.crm.url, write_back=more.pop("write_back", {"score": "contact_score"}), **more
        )
        source = await add_source(
            self.workspace, slug=slug, provider=provider, secrets=[SECRET], settings=settings,
            api_token=self.crm.token, by=ADMIN, now=self.clock(),
        )  # fmt: skip  # what, then who and when
        await self.work(after=0)  # the daily comparison, which would find later changes too
        return source

    async def set(self, *values: tuple[ContactLike, int]) -> None:
        """Set scores of contacts, in one delivery of another source, one second later."""
        self.clock.now += SECOND
        self.count += 1
        items = [
            set_to(f"k{self.count}/{number}", contact, value, at=self.clock())
            for number, (contact, value) in enumerate(values)
        ]
        await self.team.deliver(*items, source="api", batch=f"api/{self.count}", received=self.clock())

    async def work(self, *, after: int = 3 * SECOND) -> int:
        """Run all jobs that are due after some time, and return their number."""
        self.clock.now += after
        rounds = 0
        while await self.runner.work():
            rounds += 1
            self.clock.now += SECOND // 2
            assert rounds < 500
        return rounds

    async def status(self, slug: str = "hub") -> WriteBackStatus:
        """Return the state of the write-backs of a source."""
        return await load_write_back_status(self.workspace, source=slug)

    async def queued(self, kind: str = WRITE_BACK) -> int:
        """Return the number of jobs of a kind."""
        return len([job for job in await raw.rows(self.url, "SELECT kind FROM jobs") if job["kind"] == kind])

    def written(self) -> list[dict[str, Any]]:
        """Return the inputs of HubSpot's batches since the last call."""
        return [entry for call in self.crm.take() for entry in call.body["inputs"]]


@pytest.fixture
async def crm() -> AsyncIterator[EchoingCrm]:
    """Start the CRM."""
    async with open_echoing_crm() as crm_:
        yield crm_


@pytest.fixture
async def world(database_url: str, storage: Storage, crm: EchoingCrm) -> AsyncIterator[World]:
    """Create a workspace, and a job runner that may write to this machine."""
    clock = Clock()
    workspace = await add_workspace(TEAM, name="Acme", by=ADMIN, now=clock())
    writer = Writer(clock=clock, allowed_networks=[ip_network("127.0.0.0/8")], patience=2.0)
    runner = JobRunner({**make_handlers(clock), **writer.handlers}, clock=clock, recurring=[REFRESH])
    yield World(url=database_url, team=Team(workspace), clock=clock, crm=crm, runner=runner)
    await writer.close()


@on_both
async def test_several_changes_are_one_request_with_the_newest_values(world: World) -> None:
    """A batch of HubSpot has each contact once, with the value of the moment; equal values are not sent again."""
    world.crm.add("1", "2")
    await world.add_source()
    await world.set((ADA, 10), (BOB, 20))
    await world.set((ADA, 30))
    await world.work()

    (call,) = world.crm.take()
    assert (call.method, call.path) == ("POST", BATCH)
    assert call.headers["authorization"] == f"Bearer {world.crm.token}"
    assert sorted(call.body["inputs"], key=str) == [
        {"id": "1", "properties": {"contact_score": "30"}},
        {"id": "2", "properties": {"contact_score": "20"}},
    ]
    await world.set((ADA, 70))
    await world.set((ADA, 30))
    await world.work()
    assert world.crm.take() == []
    assert await world.queued() == 0


@on_both
async def test_a_change_during_a_request_is_written_afterwards(world: World) -> None:
    """The request has the value of before, and the change that came meanwhile has a job of its own."""
    world.crm.add("1")
    await world.add_source()
    await world.set((ADA, 10))
    world.crm.during = lambda: world.set((ADA, 20))
    await world.work()
    await world.work()

    assert [entry["properties"]["contact_score"] for entry in world.written()] == ["10", "20"]


@on_both
async def test_a_batch_has_a_hundred_contacts(world: World) -> None:
    """250 contacts are written in three requests, half a second apart or more."""
    ids = [str(number) for number in range(250)]
    world.crm.add(*ids)
    await world.add_source()
    await world.set(*((("hub", id), 40) for id in ids))
    assert (await world.status()).waiting == 250
    await world.work()

    assert [len(call.body["inputs"]) for call in world.crm.take()] == [100, 100, 50]
    assert (await world.status()).waiting == 0


@on_both
async def test_a_cleared_score_clears_the_property(world: World) -> None:
    """HubSpot gets a blank; a contact that never had a value in the property gets nothing."""
    world.crm.add("1", "2")
    await world.add_source()
    await world.set((ADA, 10))
    await world.work()
    await world.team.deliver(change("c1", ADA, Op.CLEAR, at=world.clock() + 1), batch="b1", received=world.clock() + 1)
    await world.team.deliver(change("c2", BOB, Op.CLEAR, at=world.clock() + 1), batch="b2", received=world.clock() + 1)
    await world.work()

    assert world.written()[1:] == [{"id": "1", "properties": {"contact_score": ""}}]


@on_both
async def test_pipedrive_gets_one_request_for_each_person(world: World) -> None:
    """Numbers are JSON numbers in `custom_fields`, null clears; an unknown person holds up nobody."""
    world.crm.add("1", "3")
    await world.add_source("pipe", provider="pipedrive")
    ada, eve = ("pipe", "1"), ("pipe", "3")
    await world.set((ada, 10), (("pipe", "2"), 20), (eve, 30))
    await world.work()

    calls = world.crm.take()
    assert [(call.method, call.path, call.body) for call in calls] == [
        ("PATCH", f"/api/v2/persons/{id}", {"custom_fields": {"contact_score": value}})
        for id, value in (("1", 10), ("2", 20), ("3", 30))
    ]
    assert calls[0].headers["x-api-token"] == world.crm.token
    assert "authorization" not in calls[0].headers
    await world.team.deliver(change("c1", eve, Op.CLEAR, at=world.clock() + 1), batch="b1", received=world.clock() + 1)
    await world.work()
    assert [call.body for call in world.crm.take()] == [{"custom_fields": {"contact_score": None}}]


@on_both
async def test_a_request_is_repeated_later_with_the_newest_value(world: World) -> None:
    """429 waits as long as the CRM asks, 500 longer each time; the queue keeps one job for each contact."""
    world.crm.add("1", "2")
    await world.add_source()
    world.crm.answers = [(429, {"retry-after": "60"}), (500, {}), (500, {})]
    await world.set((ADA, 10), (BOB, 5))
    await world.work()
    for value in (20, 30, 40):
        await world.set((ADA, value))
    assert len(world.crm.take()) == 1
    await world.work(after=50 * SECOND)
    assert world.crm.take() == []
    await world.work(after=10 * SECOND)
    assert len(world.crm.take()) == 1
    assert await world.queued() == 2
    await world.work(after=2 * SECOND)
    assert world.crm.take() == []  # the second failure waits for four seconds
    await world.work(after=10 * SECOND)
    await world.work(after=20 * SECOND)

    assert len(world.crm.take()) == 2
    assert {id: values["contact_score"] for id, values in world.crm.contacts.items()} == {"1": "40", "2": "5"}
    assert await world.queued() == 0


@on_both
async def test_a_rejected_token_stops_the_writing_until_the_source_is_changed(world: World) -> None:
    """An admin is told once, changes queue nothing meanwhile; then what differs is written, and nothing else."""
    world.crm.add("1", "2", "3")
    source = await world.add_source()
    await world.set((ADA, 10), (BOB, 20))
    await world.work()
    world.crm.take()
    good, world.crm.token = world.crm.token, "another token"
    await world.set((ADA, 11))
    await world.set((BOB, 20), (("hub", "3"), 30))
    await world.work()

    assert len(world.crm.take()) == 1
    assert await world.queued(NOTIFY_PAUSED) == 1
    status = await world.status()
    assert (status.problem, status.waiting) == ("it answered 401: The token is expired.", 0)
    assert status.paused_at is not None
    await world.set((ADA, 12))
    await world.work(after=DAY)
    assert (world.crm.take(), await world.queued(), await world.queued(NOTIFY_PAUSED)) == ([], 0, 1)
    (entry,) = [entry for entry in await audit_entries(world.workspace) if entry.what == "source.writing_paused"]
    assert (entry.who, entry.subject, entry.after) == ("system", "hub", {"because": status.problem})

    world.crm.token = good
    await set_source(world.workspace, slug="hub", settings=source.settings, by=ADMIN, now=world.clock())
    await world.work()
    assert sorted(entry["id"] for entry in world.written()) == ["1", "3"]
    assert await world.status() == WriteBackStatus(waiting=0, problem=None, problem_at=None, paused_at=None)


@on_both
async def test_a_contact_that_is_refused_holds_up_no_other(world: World) -> None:
    """A batch with a contact that HubSpot does not take is halved; HubSpot itself leaves out unknown contacts.

    The problem is shown until scores are written again.
    """
    ids = [str(number) for number in range(1, 41)]
    world.crm.add(*ids[:-1])
    world.crm.unwritable = {"7"}
    await world.add_source()
    await world.set(*((("hub", id), 50) for id in ids))
    await world.work()

    assert {id for id, values in world.crm.contacts.items() if not values} == {"7"}
    assert len(world.crm.take()) < 15
    status = await world.status()
    assert (status.paused_at, status.waiting, status.problem is None) == (None, 0, False)
    await world.work(after=DAY)
    assert {entry["id"] for entry in world.written()} == {"7", "40"}  # tried again once a day
    world.crm.unwritable = set()
    world.crm.add("40")
    await world.work(after=DAY)
    assert (await world.status()).problem is None


@on_both
async def test_a_property_that_does_not_exist_stops_the_writing(world: World) -> None:
    """Every contact is refused, so writing stops after a few requests, and the problem says why."""
    ids = [str(number) for number in range(100)]
    world.crm.add(*ids)
    await world.add_source(write_back={"score": "lead_scor"})
    await world.set(*((("hub", id), 50) for id in ids))
    await world.work()

    assert len(world.crm.take()) < 12
    status = await world.status()
    assert status.problem == 'it answered 400: Property "lead_scor" does not exist'
    assert (status.paused_at is not None, await world.queued(NOTIFY_PAUSED)) == (True, 1)


@on_both
async def test_deleted_contacts_are_not_written_and_merged_ones_share_their_score(world: World) -> None:
    """The score of a merged contact is written to the ids of both; what waits for a deleted contact is not written."""
    world.crm.add("1", "2", "3")
    await world.add_source()
    await world.set((ADA, 10), (BOB, 20), (("hub", "3"), 30))
    await world.work()
    world.crm.take()
    ada, bob = Reference(source="hub", id="1"), Reference(source="hub", id="2")
    at = world.clock()
    await world.team.deliver(Merge(key="m", contact=bob, into=ada, occurred_at=at, raw=""), batch="m", received=at)
    await world.set((ADA, 40))
    await world.work()
    assert {id: values["contact_score"] for id, values in world.crm.contacts.items()} == {
        "1": "40",
        "2": "40",
        "3": "30",
    }

    await world.set((("hub", "3"), 31))
    gone = Deletion(key="d", contact=Reference(source="hub", id="3"), raw="")
    await world.team.deliver(gone, batch="d", received=world.clock())
    world.crm.take()
    await world.work()
    await world.work(after=DAY)
    assert world.crm.take() == []
    assert (
        await raw.rows(
            world.url, "SELECT identity_id FROM write_backs WHERE identity_id NOT IN (SELECT id FROM identities)"
        )
        == []
    )
    assert len(await raw.rows(world.url, "SELECT id FROM write_backs")) == 2


@on_both
async def test_a_merge_alone_is_written(world: World) -> None:
    """The id of a contact without a score gets that of the contact merged into; an undo takes that back."""
    world.crm.add("1", "2")
    await world.add_source()
    await world.set((ADA, 10))
    await world.team.deliver(field_item("b", BOB, name="Bob"), batch="b", received=world.clock())
    await world.work()
    assert world.written() == [{"id": "1", "properties": {"contact_score": "10"}}]
    ada, bob = Reference(source="hub", id="1"), Reference(source="hub", id="2")
    at = world.clock()
    await world.team.ask(Merge(key="m", contact=bob, into=ada, occurred_at=at, raw=""), batch="m", received=at)
    await world.work()
    assert world.written() == [{"id": "2", "properties": {"contact_score": "10"}}]

    await world.team.undo("m", batch="u", received=world.clock())
    await world.work()
    assert world.written() == [{"id": "2", "properties": {"contact_score": ""}}]


@on_both
async def test_an_id_that_a_known_contact_gets_is_written(world: World) -> None:
    """A contact with a score is recognized by its address in a delivery of the CRM: its id gets the score."""
    world.crm.add("1")
    await world.add_source()
    await world.set(("ada@example.com", 60))
    await world.work()
    assert world.crm.take() == []
    named = Item(key="n", contact=Reference(email="ada@example.com", source="hub", id="1"), fields={"name": "Ada"})
    await world.team.deliver(named, source="hub", batch="n", received=world.clock())
    await world.work()

    assert world.written() == [{"id": "1", "properties": {"contact_score": "60"}}]


@on_both
async def test_what_time_or_a_definition_changes_is_written(world: World) -> None:
    """A fading score is written once a day while it changes; a new definition is written when it is applied."""
    world.crm.add("1", "2")
    fading = await add_score_type(
        world.workspace, key="heat", label="Heat", minimum=0, maximum=100_000, step=1000, bands=[], start=None,
        half_life=2 * DAY, is_default=False, by=ADMIN, now=world.clock(),
    )  # fmt: skip  # the numbers of one definition
    await world.add_source(write_back={"heat": "contact_score"})
    await world.team.deliver(set_to("h", ADA, 80, score="heat", at=world.clock()), batch="h", received=world.clock())
    await world.work()
    await world.work(after=2 * DAY)
    await world.work(after=60)
    assert [entry["properties"]["contact_score"] for entry in world.written()] == ["80", "40"]

    wanted = replace(fading, half_life=None)
    prepared = await create_draft(world.workspace, proposed=wanted, by=ADMIN, now=world.clock())
    assert prepared is not None
    await apply(world.workspace, draft=prepared, with_alerts=False, by=ADMIN, clock=world.clock)
    await world.work()
    assert [entry["properties"]["contact_score"] for entry in world.written()] == ["80"]


@on_both
async def test_contacts_are_written_when_writing_begins_and_not_when_it_ends(world: World) -> None:
    """A source that begins to write gets the scores of all its contacts; without a property nothing is queued."""
    world.crm.add("1", "2")
    source = await world.add_source(write_back={})
    await world.set((ADA, 10), (BOB, 20))
    assert (await world.work(), await world.queued()) == (0, 0)
    writing = replace(source.settings, write_back={"score": "contact_score"})
    await set_source(world.workspace, slug="hub", settings=writing, by=ADMIN, now=world.clock())
    await world.work()
    assert len(world.written()) == 2

    await world.set((ADA, 11))
    await set_source(world.workspace, slug="hub", settings=source.settings, by=ADMIN, now=world.clock())
    await world.set((ADA, 12))
    assert await world.queued() == 0
    await set_source(world.workspace, slug="hub", settings=writing, by=ADMIN, now=world.clock())
    await world.set((ADA, 13))
    await remove_source(world.workspace, slug="hub", by=ADMIN, now=world.clock())
    await world.set((ADA, 14))
    assert (await world.queued(), await raw.rows(world.url, "SELECT id FROM write_backs")) == (0, [])
    await world.work()
    assert world.crm.take() == []


async def test_a_change_costs_two_statements_more_only_where_scores_are_written(world: World) -> None:
    """Without a source that writes, a commit runs the statements it always did; with one, it also queues a job."""
    statements = []
    source = await world.add_source(write_back={})
    for number in range(3):
        await world.set((ADA, 10 + number))
        with Recorder() as recorder:
            await world.set((ADA, 20 + number))
        statements.append([record.getMessage() for record in recorder.records])
        settings = replace(source.settings, write_back={"score": "contact_score"} if number == 0 else {})
        await set_source(world.workspace, slug="hub", settings=settings, by=ADMIN, now=world.clock())

    without, writing, after = statements
    assert [len(writing) - len(without), len(after) - len(without)] == [2, 0]
    added = [text for text in writing if "INSERT INTO jobs" in text or "INSERT INTO lanes" in text]
    assert len(added) == 2


@on_both
async def test_a_score_type_that_is_written_cannot_be_removed(world: World) -> None:
    """The refusal names the source that it is written to."""
    await add_score_type(
        world.workspace, key="fit", label="Fit", minimum=0, maximum=100_000, step=1000, bands=[], start=None,
        is_default=False, by=ADMIN, now=world.clock(),
    )  # fmt: skip  # the numbers of one definition
    await world.add_source(write_back={"fit": "contact_score"})
    with pytest.raises(TypeInUse) as refused:
        await remove_score_type(world.workspace, key="fit", by=ADMIN, clock=world.clock)
    assert refused.value.uses == ("the source `hub`, which it is written to",)


@on_both
async def test_nothing_is_sent_to_an_address_that_is_not_allowed(world: World) -> None:
    """The token does not leave for the operator's network, unless the operator allows it; the scores wait."""
    world.crm.add("1")
    await world.add_source()
    writer = Writer(clock=world.clock)
    runner = JobRunner(writer.handlers, clock=world.clock)
    await world.set((ADA, 10))
    world.clock.now += 3 * SECOND
    assert await runner.work()
    await writer.close()

    assert world.crm.take() == []
    (job,) = await raw.rows(world.url, "SELECT problem FROM jobs WHERE kind = 'write_back'")
    assert job["problem"] == "it needs https, or a network in CONTACT_SCORE_ALLOW_NETWORKS"


ECHOES = [
    ("hubspot", hubspot("contact.propertyChange", propertyName="ours", propertyValue="5")),
    ("hubspot", hubspot("object.propertyChange", propertyName="ours", propertyValue="", objectTypeId="0-1")),
    ("hubspot", {"vid": 7, "portal-id": 3, "properties": {"ours": {"value": "91", "versions": []}}}),
    ("pipedrive", pipedrive_one("updated")),
    ("pipedrive", pipedrive_two("change")),
]


@pytest.mark.parametrize(
    ("provider", "body"), ECHOES, ids=[f"{provider} {number}" for number, (provider, _) in enumerate(ECHOES)]
)
def test_events_of_a_written_property_are_ignored(provider: str, body: Any) -> None:
    """The answer says why; a property that is written is not read, even if it is named like a score type."""
    settings = SourceSettings(write_back={"score": "ours", "fit": "lead_score"})
    workspace = Workspace(id=1, team=TEAM, name="Acme")
    source = Source(
        id=1, workspace=workspace, slug="crm", provider=provider, secrets=(), settings=settings,
        score_types=("score", "ours", "lead_score"),
    )  # fmt: skip  # what it is, then its settings
    request = SignedRequest(headers={"content-type": "application/json"}, body=json.dumps(body).encode())

    items = read_items(PROVIDERS[provider], request, source=source, key="d")
    assert {getattr(item, "reason", None) for item in items} == {"we write this property"}


REFUSED = [
    ("hubspot", {"write_back": ["score"]}, "write --write-back TYPE=PROPERTY"),
    ("hubspot", {"write_back": ["Score=ours"]}, "`Score` cannot be a score type's key"),
    ("hubspot", {"write_back": ["score=ours", "fit=ours"]}, "`fit` and `score` cannot both be written to `ours`"),
    (
        "hubspot",
        {"write_back": ["score=theirs"]},
        "`theirs` is read as `fit`, and a property is either read or written",
    ),
    ("hubspot", {"write_back": ["score=ours"], "api_token": ""}, "give it --api-token TOKEN"),
    ("zapier", {"write_back": ["score=ours"], "api_token": None}, "`zapier` takes no --write-back"),
]


@pytest.mark.parametrize(("provider", "options", "expected"), REFUSED)
def test_a_refusal_says_what_to_write(provider: str, options: dict[str, Any], expected: str) -> None:
    """A property is read or written, and is written from one score type, with a token."""
    workspace = Workspace(id=1, team=TEAM, name="Acme")
    entered = SourceOptions(**{"map": ["theirs=fit"], "api_token": "t", **options})
    with pytest.raises(Refusal) as refused:
        configure(workspace, slug="crm", provider=provider, options=entered)
    assert expected in str(refused.value)


def test_a_blank_property_ends_the_writing() -> None:
    """Other score types are still written, and the token stays needed as long as any is."""
    workspace = Workspace(id=1, team=TEAM, name="Acme")
    settings = SourceSettings(write_back={"score": "ours", "fit": "other"})
    before = Source(
        id=1, workspace=workspace, slug="crm", provider="pipedrive", secrets=("s",), settings=settings, reads=True
    )
    changed = configure(
        workspace, slug="crm", provider="pipedrive", options=SourceOptions(write_back=["score="]), before=before
    )
    assert changed.settings.write_back == {"fit": "other"}


ROUNDS, CHANGES = 100, 100  # 10,000 changes
CONTACTS = 300


@pytest.mark.slow
async def test_ten_thousand_changes_converge_without_a_loop(world: World) -> None:
    """The CRM echoes what it is sent, late, in any order and some of it twice, and fails now and then.

    In the end both sides have the same values. The echoes cause no write, and the number of requests is bounded by the
    number of times that the queue was worked on.
    """
    dice, crm = random.Random(7), world.crm
    ids = [str(number) for number in range(1, CONTACTS + 1)]
    crm.add(*ids)
    crm.troubles = 0.1
    await world.add_source()
    receiver = Receiver(clock=world.clock, metrics=Metrics())
    outcomes: list[Any] = []
    async with (
        session() as client,
        serving_app({"POST /webhooks/{workspace}/{source}": receiver.receive}, **RUNNER_OPTIONS) as url,
    ):
        hook = f"{url}/webhooks/{TEAM}/hub"
        for number in range(ROUNDS):
            await _change(world, dice, ids, number)
            await world.work()
            outcomes += await crm.echo(client, hook, secret=SECRET, now=world.clock(), share=0.5)
        await world.work(after=3600 * SECOND)
        writes, calls = crm.writes, len(crm.calls)
        crm.troubles = 0.0
        while crm.echoes:
            outcomes += await crm.echo(client, hook, secret=SECRET, now=world.clock())
            await world.work(after=3600 * SECOND)

    assert (crm.writes, len(crm.calls)) == (writes, calls), "an echo was written again"
    assert {(item["status"], item["reason"]) for item in outcomes} == {("ignored", "we write this property")}
    values = {}
    for id in ids:
        (card,) = await cards_of(world.workspace, ids=[(await world.team.contact(f"hub:{id}")).id], now=world.clock())
        values[id] = str(card.standings[0].value // 1000)
    assert {id: properties["contact_score"] for id, properties in crm.contacts.items()} == values
    report_counts(
        "write-backs",
        {"changes": ROUNDS * CHANGES, "values written": writes, "requests": calls, "echoes": len(outcomes)},
    )
    assert len(outcomes) > 1000
    assert writes < ROUNDS * CHANGES
    assert calls <= 2 * ROUNDS


async def _change(world: World, dice: random.Random, ids: list[str], number: int) -> None:
    """Record changes of any contacts, each set or added to, in one submission."""
    world.clock.now += SECOND
    items = [
        change(
            f"{number}/{place}", ("hub", dice.choice(ids)), dice.choice([Op.SET, Op.ADD]), dice.randint(0, 100),
            at=world.clock(),
        )
        for place in range(CHANGES)
    ]  # fmt: skip  # what, then when
    submission = Submission(source="api", batch=f"api/{number}", received_at=world.clock(), items=items)
    recorded = await record(world.workspace, submission, now=world.clock())
    assert all(outcome.status == "applied" for outcome in recorded.outcomes)
