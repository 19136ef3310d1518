"""Programs add, change and remove subscriptions to events, replace their secrets, and have events sent again."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from storage.audit import audit_entries
from storage.reading.segments import save_segment
from storage.sources.subscriptions import find_with_secrets, watched_segments
from storage.workspaces import add_workspace
from tests.conftest import on_both
from tests.webhooks.api.program import Program, program
from tests.webhooks.event_receiver import EventReceiver, ReceivedEvent, receiving_events
from tests.webhooks.receiving import Receiving, check_problem, receiving
from tests.webhooks.sender import DAY, SECOND, item

HOOK = "https://example.com/hook"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A client of the API, and a receiver of events on this machine."""

    service: Receiving
    api: Program
    receiver: EventReceiver

    async def add(self, **more: object) -> dict[str, Any]:
        """Add a subscription to the receiver, and return the answer."""
        answer = await self.api.call("POST", "/subscriptions", {"url": self.receiver.url, **more})
        assert answer.status == 201, answer
        document: dict[str, Any] = answer.document
        return document

    async def push(self, value: int) -> None:
        """Set the score of a contact."""
        assert (await self.service.sender.push(item(value=value))).counts == (1, 0, 0, 0)

    async def arrived(self, count: int) -> list[ReceivedEvent]:
        """Wait until this many events arrived, and return them."""
        async with asyncio.timeout(20):
            while len(self.receiver.received) < count:
                await self.service.get("/healthz")
        return self.receiver.take()

    async def until(self, state: str) -> None:
        """Wait until the subscription is in a state."""
        async with asyncio.timeout(20):
            while (await self.api.get("/subscriptions/1"))["state"] != state:
                continue


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """Run a service that may send events to this machine."""
    async with receiving(database_url, networks="127.0.0.0/8") as service, receiving_events() as receiver:
        service.clock.now = time.time_ns() // 1000  # the official library compares with the time of the system
        yield World(service=service, api=await program(service), receiver=receiver)


async def test_a_program_adds_a_subscription_and_verifies_its_events(world: World) -> None:
    """The secret is in the answer to the request that adds it, and nowhere later; the list has the rest."""
    added = await world.add(events=["score.changed"])
    secret = added.pop("secret")
    assert added == {
        "id": 1, "url": world.receiver.url, "events": ["score.changed"], "segments": [], "imports": False,
        "state": "works", "problem": None, "created_at": added["created_at"],
    }  # fmt: skip  # one document
    assert await world.api.get("/subscriptions") == {"items": [added], "next_cursor": None}
    assert await world.api.get("/subscriptions/1") == added
    await world.push(60)

    (event,) = await world.arrived(1)
    event.check_signature(secret)
    assert (event.type, event.data["value"]) == ("score.changed", 60)
    (entry,) = [entry for entry in await audit_entries(world.service.workspace) if entry.what == "subscription.added"]
    assert entry.who == "token script"


async def test_both_secrets_sign_for_a_day_after_a_rotation(world: World) -> None:
    """A receiver that knows only the old secret still verifies, and so does one that knows the new one."""
    first = (await world.add(events=["score.changed", "score.band_entered"]))["secret"]
    rotated = await world.api.call("POST", "/subscriptions/1/rotate")
    second = rotated.document["secret"]
    assert (rotated.status, first != second) == (200, True)
    await world.push(60)
    for event in await world.arrived(2):
        event.check_signature(first)
        event.check_signature(second)
    world.service.clock.now += DAY + SECOND
    subscription = await find_with_secrets(world.service.workspace, id=1, now=world.service.clock())
    assert subscription.secrets == (second,)


@on_both
async def test_what_failed_is_sent_again(world: World) -> None:
    """Deliveries are listed in pages; 410 turns a subscription off, and sending again turns it on."""
    await world.add(events=["score.changed"])
    await world.push(60)
    sent = await world.arrived(1)
    world.receiver.answer_with(410)
    await world.push(70)
    sent += await world.arrived(1)
    await world.until("off")
    page = await world.api.get("/subscriptions/1/deliveries", limit=1)
    (failed,) = page["items"]
    assert (failed["state"], failed["status"], failed["attempts"]) == ("waiting", 410, 1)
    (delivered,) = (await world.api.get("/subscriptions/1/deliveries", cursor=page["next_cursor"]))["items"]
    assert (delivered["state"], delivered["status"], delivered["problem"]) == ("delivered", 200, None)
    assert [event.id for event in sent] == [delivered["event"], failed["event"]]

    world.receiver.answer_with(200)
    assert (await world.api.call("POST", "/subscriptions/1/redeliver", {})).document == {"redelivered": 1}
    await world.until("works")
    assert [event.id for event in await world.arrived(1)] == [failed["event"]]
    world.service.clock.now += SECOND
    chosen = {"deliveries": [delivered["id"]]}
    assert (await world.api.call("POST", "/subscriptions/1/redeliver", chosen)).document == {"redelivered": 1}
    assert [event.id for event in await world.arrived(1)] == [delivered["event"]]


async def test_a_change_keeps_what_it_does_not_name(world: World) -> None:
    """Events, segments and the address change on their own; the record of changes has both states."""
    workspace = world.service.workspace
    await save_segment(workspace, name="hot", text="score>=80", by="U0ADMIN", now=world.service.clock())
    await world.add(events=["score.changed"])
    changed = await world.api.call("PATCH", "/subscriptions/1", {"segments": ["hot"], "imports": True})
    both = ["score.changed", "segment.entered", "segment.left"]
    assert changed.status == 200
    assert [changed.document[name] for name in ("events", "segments", "imports")] == [both, ["hot"], True]
    assert await watched_segments(workspace) == {"hot"}
    await world.push(85)
    assert [event.type for event in await world.arrived(2)] == ["score.changed", "segment.entered"]

    moved = await world.api.call("PATCH", "/subscriptions/1", {"url": HOOK, "segments": []})
    assert [moved.document[name] for name in ("url", "events", "segments")] == [HOOK, ["score.changed"], []]
    assert await watched_segments(workspace) == set()
    unchanged = await world.api.call("PATCH", "/subscriptions/1", {"url": HOOK})
    assert unchanged.document == moved.document
    entries = [entry for entry in await audit_entries(workspace) if entry.what == "subscription.changed"]
    assert [(entry.before or {})["url"] for entry in entries] == [world.receiver.url] * 2
    assert [(entry.after or {})["segments"] for entry in entries] == [[], ["hot"]]


async def test_a_removed_subscription_gets_nothing(world: World) -> None:
    """It is gone for the API too, and so is an id that is no number."""
    await world.add()
    assert (await world.api.call("DELETE", "/subscriptions/1")).status == 204
    await world.push(60)
    for method, path in (
        ("GET", "/1"), ("PATCH", "/1"), ("DELETE", "/1"), ("POST", "/1/rotate"), ("GET", "/1/deliveries"),
        ("POST", "/1/redeliver"), ("GET", "/x"), ("GET", f"/{2**70}"), ("GET", "/-1"), ("GET", "/²"),
    ):  # fmt: skip  # what names no subscription
        path = path.replace("²", "%C2%B2")
        answer = await world.api.call(method, f"/subscriptions{path}", {})
        check_problem(answer, 404, "Not Found", detail=True)
        assert answer.document["detail"] == "There is no such subscription: GET /api/v1/subscriptions lists them."
    assert world.receiver.take() == []


WRONG = [
    ({}, "`url` is missing"),
    ({"url": "ftp://example.com"}, "give the address that receives events"),
    ({"url": "https://me:secret@example.com/"}, "leave the password out"),
    ({"url": HOOK, "events": ["score.chnged"]}, "there is no event `score.chnged`"),
    ({"url": HOOK, "events": ["segment.left"]}, "need the names of segments"),
    ({"url": HOOK, "secret": "short"}, "whsec_"),
    ({"url": HOOK, "retries": 5}, "`retries`"),
    ({"url": HOOK, "imports": "yes"}, "`imports`"),
]


async def test_a_refusal_says_what_is_wrong(service: Receiving, api: Program) -> None:
    """What cannot be a subscription is answered 400 with the reason, and an unknown segment 404."""
    for document, expected in WRONG:
        answer = await api.call("POST", "/subscriptions", document)
        check_problem(answer, 400, "Bad Request", detail=True)
        assert expected.casefold() in answer.document["detail"].casefold(), answer
    answer = await api.call("POST", "/subscriptions", {"url": HOOK, "segments": ["cold"]})
    check_problem(answer, 404, "Not Found", detail=True)
    await api.call("POST", "/subscriptions", {"url": HOOK, "events": ["score.changed"]})
    await save_segment(service.workspace, name="hot", text="score>=80", by="U0ADMIN", now=service.clock())
    await api.call("PATCH", "/subscriptions/1", {"events": ["segment.left"], "segments": ["hot"]})
    answer = await api.call("PATCH", "/subscriptions/1", {"segments": []})
    check_problem(answer, 400, "Bad Request", detail=True)
    assert answer.document["detail"].startswith("Without segments it would get no events")
    check_problem(await api.call("GET", "/subscriptions/1/deliveries?cursor=x"), 400, "Bad Request", detail=True)


async def test_who_decides_where_events_go_may_read_contacts(service: Receiving, api: Program) -> None:
    """A token needs both scopes to add or move a subscription; other teams' subscriptions do not exist for it."""
    await api.call("POST", "/subscriptions", {"url": HOOK})
    writer, reader = await program(service, "write"), await program(service, "read")
    for method, path, document in (
        ("POST", "/subscriptions", {"url": HOOK}),
        ("PATCH", "/subscriptions/1", {"url": "https://example.com/other"}),
    ):
        for client, missing in ((writer, "read"), (reader, "write")):
            answer = await client.call(method, path, document)
            check_problem(answer, 403, "Forbidden", detail=True)
            assert answer.document["detail"] == f"This token lacks the scope `{missing}`."
    assert (await writer.call("GET", "/subscriptions")).status == 403
    for path in ("", "/rotate", "/redeliver"):
        method = "DELETE" if not path else "POST"
        assert (await reader.call(method, f"/subscriptions/1{path}", {})).status == 403

    other = await add_workspace("T0OTHER", name="Other", by="U0ADMIN", now=service.clock())
    stranger = await program(service, workspace=other)
    assert await stranger.get("/subscriptions") == {"items": [], "next_cursor": None}
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/redeliver")):
        assert (await stranger.call(method, f"/subscriptions/1{path}", {})).status == 404
    ((subscription, *others),) = ((await api.get("/subscriptions"))["items"],)
    assert (subscription["url"], others) == (HOOK, [])
