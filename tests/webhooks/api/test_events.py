"""Programs that poll get the same events as subscriptions, each once, in order."""

import base64

from tests.conftest import on_both
from tests.storage.teams import Team, set_to
from tests.webhooks.api.program import Program, program
from tests.webhooks.receiving import Receiving, check_problem
from tests.webhooks.sender import DAY, item

ADA, BOB = "ada@example.com", "bob@example.com"


@on_both
async def test_events_are_read_once_and_in_order(service: Receiving, api: Program) -> None:
    """Each page continues where the last one ended, also after the end; an event shows what a subscription gets."""
    for value in (10, 50, 90):
        assert (await api.call("PUT", f"/contacts/{ADA}/scores/score", {"value": value})).status == 200
    first = await api.get("/events", limit=4)
    second = await api.get("/events", cursor=first["next_cursor"])
    assert (await api.get("/events", cursor=second["next_cursor"]))["items"] == []
    await api.call("PUT", f"/contacts/{BOB}/scores/score", {"value": 1})
    third = await api.get("/events", cursor=second["next_cursor"])

    pages = [[(event["type"], event["data"]["value"]) for event in page["items"]] for page in (first, second, third)]
    assert pages == [
        [("score.changed", 10), ("score.band_entered", 10), ("score.changed", 50), ("score.band_left", 50)],
        [("score.band_entered", 50), ("score.changed", 90), ("score.band_left", 90), ("score.band_entered", 90)],
        [("score.changed", 1), ("score.band_entered", 1)],
    ]
    events = [*first["items"], *second["items"], *third["items"]]
    assert len({event["id"] for event in events}) == 10
    assert events[0].keys() == {"id", "type", "timestamp", "data"}
    assert events[0]["data"]["contact"]["email"] == ADA
    assert events[0]["data"]["actor"] == "token script"


async def test_a_deleted_contact_is_in_no_event(service: Receiving, api: Program) -> None:
    """After a deletion its events say only its id."""
    await api.call("PUT", f"/contacts/{ADA}/scores/score", {"value": 10, "reason": "Asked for a demo"})
    await api.call("DELETE", f"/contacts/{ADA}")
    events = (await api.get("/events"))["items"]

    assert [event["type"] for event in events] == ["score.changed", "score.band_entered", "contact.deleted"]
    assert {tuple(event["data"]["contact"]) for event in events} == {("id",)}
    assert [event["data"].keys() for event in events] == [{"contact"}] * 3


async def test_nothing_is_written_where_nobody_reads(service: Receiving) -> None:
    """Without a subscription, and without a token that may read, no event is written; a new token begins."""
    await service.sender.push(item("score.set", email=ADA, score="score", value=10))
    writer = await program(service, "write")
    await writer.call("PUT", f"/contacts/{ADA}/scores/score", {"value": 20})
    reader = await program(service, "read")
    assert (await reader.get("/events"))["items"] == []
    await writer.call("PUT", f"/contacts/{ADA}/scores/score", {"value": 30})

    assert [event["data"]["value"] for event in (await reader.get("/events"))["items"]] == [30]


@on_both
async def test_events_stop_a_week_after_the_last_reader(service: Receiving, api: Program) -> None:
    """A program that polls keeps events coming; a week without it ends them, and its old cursor is refused."""
    cursor = (await api.get("/events"))["next_cursor"]
    for value in (10, 20):
        service.clock.now += 6 * DAY
        await service.sender.push(item("score.set", email=ADA, score="score", value=value))
        page = await api.get("/events", cursor=cursor)
        assert [event["data"]["value"] for event in page["items"] if event["type"] == "score.changed"] == [value]
        cursor = page["next_cursor"]
    service.clock.now += 9 * DAY
    await service.sender.push(item("score.set", email=ADA, score="score", value=30))

    check_problem(await api.call("GET", f"/events?cursor={cursor}"), 400, "Bad Request", detail=True)
    assert 30 not in [event["data"]["value"] for event in (await api.get("/events"))["items"]]


async def test_events_of_an_import_are_shown_where_asked_for(service: Receiving, api: Program) -> None:
    """The feed leaves out what an import changed, unless it is asked for, and then says so."""
    team, now = Team(service.workspace), service.clock()
    await team.deliver(set_to("k", ADA, 10), source="import", batch="import/1", received=now)
    for path in ("/events", "/events?imports=false", "/events?cursor="):
        assert (await api.get(path))["items"] == []
    check_problem(await api.call("GET", "/events?imports=1"), 400, "Bad Request", detail=True)
    events = (await api.get("/events", imports="true"))["items"]

    assert [(event["type"], event["data"]["cause"]) for event in events] == [
        ("score.changed", "import"),
        ("score.band_entered", "import"),
    ]


async def test_a_cursor_that_is_none_is_refused(api: Program) -> None:
    """A text that is no cursor is refused with a sentence."""
    for document in (
        "x",
        "{}",
        "[1]",
        '["a", 1]',
        "[-1, 5]",
        "[1, -5]",
        "[1, 99999999999999999999]",
        "[[[",
        "[true, 1]",
    ):
        cursor = base64.urlsafe_b64encode(document.encode()).decode().rstrip("=")
        check_problem(await api.call("GET", f"/events?cursor={cursor}"), 400, "Bad Request", detail=True)
    for cursor in ("x", "%00", "%C3%A9"):
        check_problem(await api.call("GET", f"/events?cursor={cursor}"), 400, "Bad Request", detail=True)
