"""Contacts identified by an id alone are completed from their CRM, once, whatever the CRM answers in between."""

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from storage import jobs
from storage.bootstrap import Storage
from storage.domain.backoff import LEASE
from storage.domain.contacts import Contact
from storage.domain.people import Workspace
from storage.domain.sources import SourceSettings
from storage.domain.submissions import Delivered, Raw, Status, Submission
from storage.job_runner import JobRunner
from storage.ledger.committer import record
from storage.reading.current_scores import card
from storage.reading.history import history
from storage.reading.search import find
from storage.scoring.definitions import add_score_type
from storage.sources.config import add_source, find_source, remove_source, set_source
from storage.sources.deliveries import deliveries, delivery, list_unnamed_deliveries
from storage.sources.readback_queue import READ, ReadbackStatus, load_readback_status
from storage.workspaces import add_workspace
from tests.conftest import on_both
from tests.counts import report_counts
from tests.storage import raw
from tests.webhooks.crm import Crm, Told, attio_record, attio_value, hubspot_contact, open_crm
from tests.webhooks.receiving import serving
from tests.webhooks.sender import DAY, SECOND, START, Clock, session
from webhooks.authentication.signatures import SignedRequest
from webhooks.providers import PROVIDERS
from webhooks.read.parse_delivery import read_items, replay
from webhooks.readback import ContactReader

TRIES_IN_A_DAY = 25  # with an hour between two of them
TEAM, TOKEN = "T0123", "pat-eu1-made-up-for-tests"
PATIENCE = 2.0  # the cost of each unanswered request; long enough for answers on a busy machine
CONTACTS = "/crm/v3/objects/contacts"


@pytest.fixture
async def crm() -> AsyncIterator[Crm]:
    """Start the API of a CRM."""
    async with open_crm() as crm_:
        yield crm_


@dataclass(kw_only=True)
class World:
    """A workspace with sources that send contact ids, a job runner that reads the contacts, and a clock."""

    storage: Storage
    workspace: Workspace
    clock: Clock
    crm: Crm
    runner: JobRunner

    async def send(self, slug: str, document: object, *, key: str = "d1") -> list[str]:
        """Record a delivery as the receiver does, and return the status of each item."""
        source = await find_source(TEAM, slug=slug)
        request = SignedRequest(headers={"content-type": "application/json"}, body=json.dumps(document).encode())
        items = read_items(PROVIDERS[source.provider], request, source=source, key=key)
        recorded = await record(
            self.workspace,
            Submission(
                source=slug, batch=f"{slug}/{key}", received_at=self.clock(), items=items,
                delivered=Delivered(source=source.id, key=key, reads=source.reads),
            ),
            now=self.clock(),
        )  # fmt: skip  # source, items and time
        return [str(outcome.status) for outcome in recorded.outcomes]

    async def work(self, *, after: int = 3 * SECOND) -> int:
        """Run all jobs due after some time, in turns, and return the number of turns."""
        self.clock.now += after
        rounds = 0
        while await self.runner.work():
            rounds += 1
            self.clock.now += SECOND
            assert rounds < 100
        return rounds

    async def contact(self, text: str) -> Contact:
        """Return the one contact that matches a text."""
        (contact,) = await find(self.workspace, text=text)
        return contact

    async def value(self, text: str, score: str = "score") -> int | None:
        """Return a score of a contact, in thousandths."""
        contact_card = await card(self.workspace, contact=(await self.contact(text)).id, now=self.clock())
        assert contact_card is not None
        return next((standing.value for standing in contact_card.standings if standing.score_type.key == score), None)

    async def standing(self, slug: str = "hub") -> ReadbackStatus:
        """Return the read-back status of a source."""
        return await load_readback_status(self.workspace, source=slug)


@pytest.fixture
async def world(storage: Storage, crm: Crm) -> World:
    """Create a HubSpot source and an Attio source, both with an API token."""
    clock = Clock()
    workspace = await add_workspace(TEAM, name="Acme", by="U0ADMIN", now=clock())
    for slug, provider in (("hub", "hubspot"), ("att", "attio")):
        settings = SourceSettings(api_url=crm.url, map={"hubspotscore": "score", "lead_score": "score"})
        await add_source(
            workspace,
            slug=slug,
            provider=provider,
            secrets=["s"],
            settings=settings,
            api_token=TOKEN,
            by="U0ADMIN",
            now=clock(),
        )
    runner = JobRunner(ContactReader(clock=clock, patience=PATIENCE).handlers, clock=clock)
    return World(storage=storage, workspace=workspace, clock=clock, crm=crm, runner=runner)


def changed(*ids: str, value: str = "55", at: int = START) -> list[dict[str, Any]]:
    """Return score changes as HubSpot sends them."""
    common = {"subscriptionType": "contact.propertyChange", "propertyName": "hubspotscore", "propertyValue": value}
    numbers = {"eventId": 1, "subscriptionId": 2, "portalId": 3, "occurredAt": at // 1000}
    return [common | numbers | {"objectId": int(id)} for id in ids]


def updated(*ids: str, kind: str = "record.updated") -> dict[str, Any]:
    """Return a notification of changed records as Attio sends it."""
    return {
        "webhook_id": "h",
        "events": [{"event_type": kind, "id": {"object_id": "o1", "record_id": id}} for id in ids],
    }


@on_both
async def test_a_signed_delivery_ends_in_a_contact_with_address_and_name(database_url: str, crm: Crm) -> None:
    """A signed HubSpot request creates a contact by its id, and HubSpot's API completes it."""
    clock = Clock()
    crm.tells[f"{CONTACTS}/1246965"] = [
        Told(
            body=hubspot_contact("1246965", email="Ada@example.com", firstname="Ada", lastname="Lovelace", company=None)
        )
    ]
    async with serving(database_url, clock=clock) as url, session() as client:
        workspace = await add_workspace(TEAM, name="Acme", by="U0ADMIN", now=clock())
        settings = SourceSettings(api_url=crm.url, map={"hubspotscore": "score"})
        await add_source(
            workspace,
            slug="hub",
            provider="hubspot",
            secrets=["client-secret"],
            settings=settings,
            api_token=TOKEN,
            by="U0ADMIN",
            now=clock(),
        )
        address, body = f"{url}/webhooks/{TEAM}/hub", json.dumps(changed("1246965")).encode()
        at = str(clock() // 1000)
        digest = hmac.digest(b"client-secret", f"POST{address}".encode() + body + at.encode(), "sha256")
        signature = {"X-HubSpot-Signature-v3": base64.b64encode(digest).decode(), "X-HubSpot-Request-Timestamp": at}
        sent = {"Content-Type": "application/json", **signature}
        async with client.post(address, data=body, headers=sent) as answer:
            assert (answer.status, (await answer.json())["applied"]) == (200, 1)
        (contact,) = await find(workspace, text="hub:1246965")
        assert (contact.email, contact.name) == (None, None)
        clock.now += 3 * SECOND
        while contact.email is None:  # the service looks for due jobs twice a second
            await client.get(f"{url}/healthz")
            (contact,) = await find(workspace, text="hub:1246965")

        assert (contact.email, contact.name, contact.ids) == ("Ada@example.com", "Ada Lovelace", {"hub": "1246965"})
        assert [contact.id for contact in await find(workspace, text="ada@example.com")] == [contact.id]
        assert crm.asked == [f"{CONTACTS}/1246965?properties=email,firstname,lastname,company"]
        assert crm.tokens == {f"Bearer {TOKEN}"}


@on_both
async def test_a_contact_is_read_once_and_not_when_it_is_known(world: World) -> None:
    """Simultaneous events cause one request; a contact with an address causes none."""
    world.crm.tells[f"{CONTACTS}/7"] = [Told(body=hubspot_contact("7", email="ada@example.com", firstname="Ada"))]
    for number in range(3):
        await world.send("hub", changed("7", at=START - number * SECOND), key=f"d{number}")
    assert (await world.standing()).waiting == 1

    assert await world.work() == 1
    assert len(world.crm.asked) == 1
    await world.send("hub", changed("7", at=START + SECOND, value="60"), key="later")
    assert await world.work() == 0
    assert (await world.contact("ada@example.com")).name == "Ada"
    assert await world.standing() == ReadbackStatus(waiting=0, problem=None, problem_at=None)
    assert await deliveries(world.workspace, source=None, most=10) != []
    keys = {delivery.key for delivery in await deliveries(world.workspace, source=None, most=10)}
    assert keys == {"d0", "d1", "d2", "later"}  # a read-back is not a delivery


@on_both
async def test_without_a_token_nothing_is_asked_and_with_one_all_are_read(world: World) -> None:
    """Without a token nothing is requested; a token added later completes all waiting contacts."""
    source = await find_source(TEAM, slug="hub")
    await set_source(
        world.workspace, slug="hub", settings=source.settings, api_token="", by="U0ADMIN", now=world.clock()
    )
    assert not (await find_source(TEAM, slug="hub")).reads
    assert await world.send("hub", changed("1", "2", "3")) == ["applied"] * 3
    assert await world.work() == 0
    assert await world.value("hub:2") == 55_000
    for id in "123":
        world.crm.tells[f"{CONTACTS}/{id}"] = [Told(body=hubspot_contact(id, email=f"p{id}@example.com"))]

    again = await set_source(
        world.workspace, slug="hub", settings=source.settings, api_token="new", by="U0ADMIN", now=world.clock()
    )
    assert again.reads
    assert await world.work() == 3
    assert world.crm.tokens == {"Bearer new"}
    assert {(await world.contact(f"hub:{id}")).email for id in "123"} == {f"p{id}@example.com" for id in "123"}


@on_both
async def test_what_fails_for_a_while_is_read_later(world: World) -> None:
    """After rate limits, errors, timeouts, dropped connections and refused ones the contact is read in the end."""
    good = Told(body=hubspot_contact("7", email="ada@example.com"))
    troubles = [
        Told(status=429, headers={"Retry-After": "20"}), Told(status=429), Told(status=500), Told(status=503),
        Told(never=True), Told(cut=True),
    ]  # fmt: skip  # in order
    world.crm.tells[f"{CONTACTS}/7"] = [*troubles, good]
    await world.send("hub", changed("7"))
    waits = []
    while (await world.contact("hub:7")).email is None:
        before = len(world.crm.asked)
        began = world.clock()
        while len(world.crm.asked) == before:
            await world.work(after=2 * SECOND)
        waits.append((world.clock() - began) // SECOND)
        assert len(waits) < 20

    print(f"seconds between tries: {waits}")
    assert len(world.crm.asked) == len(troubles) + 1
    assert waits[1] >= 18  # as Retry-After says, minus the seconds that the work itself took
    assert waits[3:] == sorted(waits[3:])  # longer each time
    assert await world.standing() == ReadbackStatus(waiting=0, problem=None, problem_at=None)


ENDS = {
    "401": (Told(status=401), "was answered 401: the API token is not taken, or may not read contacts"),
    "403": (Told(status=403), "was answered 403: the API token is not taken, or may not read contacts"),
    "404": (Told(status=404), "was answered 404: there is no such contact, or the API token may not see it"),
    "redirect": (Told(status=302, headers={"Location": "/elsewhere"}), "was answered 302"),
    "no JSON": (
        Told(body=b"<html>"),
        "was answered with something that cannot be read: The body cannot be read as JSON",
    ),
    "too much": (Told(body=b" " * 1_048_577), "was answered more than 1,048,576 bytes"),
    "500 for a day": (
        Told(status=500, headers={"Retry-After": "3600"}),
        f"was answered 500, {TRIES_IN_A_DAY} times",
    ),
}
TRIES = {"500 for a day": TRIES_IN_A_DAY}


@on_both
async def test_what_cannot_be_read_says_why_and_holds_up_nobody(world: World) -> None:
    """Another contact is read at once; the source states what is wrong with the failed one."""
    for number, (end, (crm_answer, complaint)) in enumerate(ENDS.items()):
        bad, good = f"{number}7", f"{number}8"
        world.crm.tells[f"{CONTACTS}/{int(bad)}"] = [crm_answer]
        world.crm.tells[f"{CONTACTS}/{int(good)}"] = [Told(body=hubspot_contact(good, email=f"p{good}@example.com"))]
        world.crm.asked.clear()
        await world.send("hub", changed(bad, good), key=end)
        await world.work()

        assert (await world.contact(f"hub:{int(good)}")).email == f"p{good}@example.com"
        for _ in range(TRIES_IN_A_DAY if end in TRIES else 1):
            await world.work(after=3601 * SECOND)
        standing, words = await world.standing(), f"hub:{int(bad)} {complaint}"
        assert (standing.waiting, (standing.problem or "")[: len(words)]) == (0, words)
        assert TOKEN not in (standing.problem or "")
        assert (await world.contact(f"hub:{int(bad)}")).email is None
        assert len(world.crm.asked) == TRIES.get(end, 1) + 1
        assert all(path.startswith(f"{CONTACTS}/") for path in world.crm.asked)  # redirects are not followed


@on_both
async def test_a_contact_that_is_read_in_the_end_is_no_problem_any_more(world: World) -> None:
    """A failure is shown until its own contact is read; another contact does not clear it."""
    for id in ("7", "71"):
        world.crm.tells[f"{CONTACTS}/{id}"] = [Told(body=hubspot_contact(id, email=f"p{id}@example.com"))]
    world.crm.tells[f"{CONTACTS}/71"].insert(0, Told(status=404))
    for number, id in enumerate(("71", "7")):
        await world.send("hub", changed(id, at=START + number * SECOND), key=f"d{number}")
        await world.work()
        assert ((await world.standing()).problem or "").startswith("hub:71 was answered 404")

    await world.send("hub", changed("71", at=START + 9 * SECOND, value="60"), key="again")
    await world.work()
    assert (await world.contact("hub:71")).email == "p71@example.com"
    assert await world.standing() == ReadbackStatus(waiting=0, problem=None, problem_at=None)


@on_both
async def test_being_asked_to_wait_holds_for_all_of_the_source(world: World) -> None:
    """A rate limit delays all requests of its source, and no other source."""
    world.crm.tells[f"{CONTACTS}/7"] = [
        Told(status=429, headers={"Retry-After": "30"}), Told(body=hubspot_contact("7", email="ada@example.com")),
    ]  # fmt: skip  # in order
    world.crm.tells[f"{CONTACTS}/8"] = [Told(body=hubspot_contact("8", email="bob@example.com"))]
    world.crm.tells["/v2/objects/people/records/r1"] = [Told(body=attio_record("r1"))]
    await world.send("hub", changed("7", "8"))
    await world.send("att", updated("r1"))
    assert await world.work() == 2

    assert sorted(world.crm.asked) == [
        f"{CONTACTS}/7?properties=email,firstname,lastname,company", "/v2/objects/people/records/r1",
    ]  # fmt: skip  # a path a line
    assert await world.work(after=20 * SECOND) == 0
    assert await world.work(after=12 * SECOND) == 2
    assert (await world.contact("bob@example.com")).ids == {"hub": "8"}


@on_both
async def test_contacts_of_a_source_are_read_at_a_pace(world: World) -> None:
    """Contacts of a source are read one after the other at a limited rate, also by several readers."""
    ids = [str(number) for number in range(1, 6)]
    for id in ids:
        world.crm.tells[f"{CONTACTS}/{id}"] = [Told(body=hubspot_contact(id, email=f"p{id}@example.com"))]
    await world.send("hub", changed(*ids))
    world.clock.now += 3 * SECOND
    other = JobRunner(ContactReader(clock=world.clock).handlers, clock=world.clock)
    counts = []
    for _ in range(20):
        counts.append(await world.runner.work() + await other.work())
        world.clock.now += SECOND // 10

    assert sum(counts) == 5
    assert max(counts) == 1
    assert len(world.crm.asked) == 5
    assert [counts[place] for place in range(0, 10, 2)] == [1] * 5


@on_both
async def test_a_reader_that_died_leaves_its_job_to_another(world: World) -> None:
    """The job of a dead reader is run by another one after its lease, and not before."""
    world.crm.tells[f"{CONTACTS}/7"] = [Told(body=hubspot_contact("7", email="ada@example.com"))]
    await world.send("hub", changed("7"))
    world.clock.now += 3 * SECOND
    assert await jobs.claim(world.workspace, kinds=[READ], now=world.clock()) is not None

    assert await world.work(after=LEASE - SECOND) == 0
    assert await world.work(after=2 * SECOND) == 1
    assert (await world.contact("hub:7")).email == "ada@example.com"


@on_both
async def test_an_address_that_is_known_makes_two_contacts_one(world: World) -> None:
    """A contact known by address and a contact known by id are merged if the CRM says that they are one."""
    await world.send("hub", changed("7"))
    zapier = await add_source(
        world.workspace, slug="zap", provider="zapier", secrets=["t"], by="U0ADMIN", now=world.clock()
    )
    assert not zapier.reads
    await world.send(
        "zap", {"email": "ada@example.com", "name": "Ada", "score": 40, "id": "z", "at": START // SECOND - 9}
    )
    world.crm.tells[f"{CONTACTS}/7"] = [Told(body=hubspot_contact("7", email="ada@example.com"))]
    await world.work()

    contact = await world.contact("hub:7")
    assert (contact.id, contact.name, contact.email) == (
        (await world.contact("ada@example.com")).id,
        "Ada",
        "ada@example.com",
    )
    assert await world.value("hub:7") == 55_000


FORGET = {"subscriptionType": "contact.privacyDeletion", "portalId": 3, "objectId": 7, "occurredAt": START // 1000 + 1}


@on_both
async def test_requests_that_an_earlier_version_kept_are_read_again_after_a_deletion(
    world: World, database_url: str
) -> None:
    """Stored requests of an earlier version with the deleted contact, and unreadable ones, are deleted; others stay."""
    bodies = {"hers": changed("7"), "both": changed("7", "8"), "his": changed("8"), "broken": changed("8")}
    for key, document in bodies.items():
        source = await find_source(TEAM, slug="hub")
        body = json.dumps(document).encode()
        raw_request = Raw(method="POST", query="", headers={"content-type": "application/json"}, body=body)
        items = read_items(
            PROVIDERS["hubspot"], SignedRequest(headers=raw_request.headers, body=body), source=source, key=key
        )
        delivered = Delivered(source=source.id, key=key, raw=raw_request)
        submission = Submission(
            source="hub", batch=f"hub/{key}", received_at=world.clock(), items=items, delivered=delivered
        )
        await record(world.workspace, submission, now=world.clock())
    for table in ("raw_deliveries", "quarantine"):
        await raw.rows(database_url, f"UPDATE {table} SET names = NULL")
    half = "SELECT id FROM deliveries WHERE delivery_key = 'broken'"
    await raw.rows(database_url, f"UPDATE raw_deliveries SET body = 'ew==' WHERE delivery_id IN ({half})")  # a brace
    world.clock.now += SECOND
    await world.send("hub", [FORGET], key="forget")

    await world.work()

    kept_bodies = await raw.rows(
        database_url, "SELECT d.delivery_key FROM raw_deliveries r JOIN deliveries d ON d.id = r.delivery_id"
    )
    assert [row["delivery_key"] for row in kept_bodies] == ["his"]
    assert await list_unnamed_deliveries(world.workspace, limit=10) == []


@on_both
async def test_who_was_deleted_is_not_read(world: World) -> None:
    """A deleted contact is not requested."""
    await world.send("hub", changed("7"))
    world.clock.now += SECOND
    await world.send("hub", [FORGET], key="forget")
    await world.work()

    assert world.crm.asked == []
    assert await find(world.workspace, text="hub:7") == []


@on_both
async def test_who_is_deleted_while_the_answer_is_under_way_is_not_made_anew(world: World, database_url: str) -> None:
    """Nothing of a late answer is stored in any table, although it is newer than the deletion."""
    released = asyncio.Event()
    late = hubspot_contact("7", email="ada@example.com") | {"updatedAt": "2026-01-31T09:00:05.000Z"}
    world.crm.tells[f"{CONTACTS}/7"] = [Told(body=late, held=released)]
    await world.send("hub", changed("7"))
    world.clock.now += 20 * SECOND
    working = asyncio.create_task(world.runner.work())
    await world.crm.holding.wait()
    await world.send("hub", [FORGET], key="forget")
    released.set()

    assert await working
    assert await find(world.workspace, text="hub:7") == []
    assert await find(world.workspace, text="ada@example.com") == []
    for table in ("contacts", "identities", "facts", "deliveries", "quarantine", "raw_deliveries"):
        assert "ada@" not in str(await raw.rows(database_url, f"SELECT * FROM {table}"))
    assert [delivery.key for delivery in await deliveries(world.workspace, source=None, most=9)] == ["forget", "d1"]


@on_both
async def test_a_source_that_is_removed_reads_nothing(world: World) -> None:
    """The waiting read-backs of a removed source are deleted."""
    await world.send("hub", changed("7"))
    await remove_source(world.workspace, slug="hub", by="U0ADMIN", now=world.clock())

    assert await world.work() == 0
    assert world.crm.asked == []


# --- Attio, which sends only ids


def person(id: str, **more: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a record of a person."""
    email = attio_value("email-address", email_address=f"{id}@example.com", original_email_address=f"{id}@EXAMPLE.com")
    name = attio_value("personal-name", first_name="Ida", last_name="Rhodes", full_name="Ida Rhodes")
    return attio_record(id, email_addresses=[email], name=[name], **more)


@on_both
async def test_attio_is_read_whenever_a_record_changed(world: World) -> None:
    """A value counts once, from Attio's time of it; an empty attribute clears the field, and nothing else."""
    path = "/v2/objects/people/records/r1"
    first = attio_value("number", value=64, since="2025-12-30T10:00:00.000000000Z")
    second = attio_value("number", value=71, since="2025-12-31T10:00:00.000000000Z")
    other = attio_value("currency", currency_value="5")
    world.crm.tells[path] = [
        Told(body=person("r1", lead_score=[])), Told(body=person("r1", lead_score=[first], arr=[other])),
        Told(body=person("r1", lead_score=[first], job=[])), Told(body=person("r1", lead_score=[second, first])),
        Told(body=person("r1", lead_score=[])),
    ]  # fmt: skip  # in order
    values = []
    for number in range(5):
        assert await world.send("att", updated("r1"), key=f"d{number}") == ["applied"]
        assert await world.work() == 1
        values.append(await world.value("att:r1"))

    assert values == [None, 64_000, 64_000, 71_000, None]
    assert await world.send("att", updated("r1"), key="d4") == ["duplicate"]
    assert await world.work() == 1  # nothing in the request says whether it is a repeat
    ida = await world.contact("r1@example.com")
    assert (ida.name, ida.ids) == ("Ida Rhodes", {"att": "r1"})
    _, entries = await history(world.workspace, contact=ida.id, score="score", most=10)
    assert [(entry.op.value, entry.amount) for entry in entries] == [("clear", 0), ("set", 71_000), ("set", 64_000)]
    assert entries[-1].occurred_at == 1_767_088_800_000_000  # 2025-12-30T10:00:00Z


@on_both
async def test_attio_merges_and_leaves_other_objects_alone(world: World) -> None:
    """Merges are applied, and records of other objects ignored, by the object id in the source's settings."""
    merged = updated("new", kind="record.merged")
    merged["events"][0]["duplicate_record_id"] = "old"
    await world.send("att", updated("old"), key="d1")
    assert await world.send("att", merged, key="d2") == ["applied"]
    assert (await world.contact("att:old")).id == (await world.contact("att:new")).id
    source = await find_source(TEAM, slug="att")
    settings = replace(source.settings, options={"object": "7298c9b4-63ac"})
    await set_source(world.workspace, slug="att", settings=settings, by="U0ADMIN", now=world.clock())

    assert await world.send("att", updated("r9"), key="d3") == ["ignored"]
    body = updated("r9")
    body["events"][0]["id"]["object_id"] = "7298c9b4-63ac"
    assert await world.send("att", body, key="d4") == ["applied"]
    await world.work()
    assert world.crm.asked[-1] == "/v2/objects/7298c9b4-63ac/records/r9"


@on_both
async def test_what_was_read_and_cannot_be_used_waits_in_quarantine(world: World) -> None:
    """The invalid value is quarantined with its reason, valid ones are applied; after a correction a replay works."""
    wrong = attio_value("number", value=900)
    heat = attio_value("number", value=9)
    world.crm.tells["/v2/objects/people/records/r1"] = [Told(body=person("r1", lead_score=[wrong], heat=[heat]))]
    source = await find_source(TEAM, slug="att")
    settings = replace(source.settings, map={**source.settings.map, "heat": "heat"})
    await set_source(world.workspace, slug="att", settings=settings, by="U0ADMIN", now=world.clock())
    await world.send("att", updated("r1"))
    await world.work()

    (stored_delivery, _) = await deliveries(world.workspace, source="att", most=5)
    assert (stored_delivery.key.partition(":")[0], stored_delivery.applied, stored_delivery.quarantined) == (
        "read",
        1,
        2,
    )
    _, quarantined = await delivery(world.workspace, id=stored_delivery.id)
    assert [item.reason.split(";")[0] for item in quarantined] == [
        "Score runs from 0 to 100", "there is no score type `heat`",
    ]  # fmt: skip  # one reason a line
    await add_score_type(
        world.workspace, key="heat", label="Heat", minimum=0, maximum=10_000, step=1000, bands=[], start=None,
        is_default=False, by="U0ADMIN", now=world.clock(),
    )  # fmt: skip  # one definition
    again = await replay(world.workspace, id=stored_delivery.id, by="U0ADMIN", now=world.clock() + DAY)
    assert [again.count(status) for status in Status] == [1, 1, 0, 1]
    assert await world.value("att:r1", "heat") == 9000


@on_both
async def test_the_token_is_kept_sealed(world: World, database_url: str) -> None:
    """The token is encrypted in the database, and no description of a source contains it."""
    rows = await raw.rows(database_url, "SELECT * FROM sources")
    assert len(rows) == 2
    assert all(row["api_token"] for row in rows)
    assert TOKEN not in str(rows)
    assert TOKEN not in repr(await find_source(TEAM, slug="hub"))


@on_both
async def test_whatever_a_crm_answers_ends(world: World) -> None:
    """A hundred different answers are each read or reported, and none causes endless requests."""
    shapes: list[Any] = [None, [], {}, 5, "x", {"id": 7}, {"properties": 5}, {"properties": {"email": 5}}]
    emails: list[Any] = ["", "no address", "a@b.example", "x" * 300, None, ["a"], {}]
    shapes += [{"properties": {"email": email}} for email in emails]
    records: list[Any] = [None, [], {"values": None}, {"values": {"lead_score": 5}}]
    shapes += [{"data": record} for record in records]
    values: list[Any] = [None, {}, {"value": True}, {"value": "1e9"}, 5]
    shapes += [{"data": {"values": {"lead_score": [value]}}} for value in values]
    ids = [str(number) for number in range(1, len(shapes) + 1)]
    for id, shape in zip(ids, shapes, strict=True):
        world.crm.tells[f"{CONTACTS}/{id}"] = [Told(body=shape)]
        world.crm.tells[f"/v2/objects/people/records/{id}"] = [Told(body=shape)]
    await world.send("hub", changed(*ids))
    await world.send("att", updated(*ids))
    total = await world.work()
    while more := await world.work():
        total += more

    number_aside = sum(delivery.quarantined for delivery in await deliveries(world.workspace, source=None, most=500))
    report_counts("answers of a CRM", {"read": total, "set aside": number_aside})
    assert total == len(world.crm.asked) == 2 * len(shapes)
    assert 20 <= number_aside < total
