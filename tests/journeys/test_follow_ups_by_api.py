"""Programs list follow-ups by the API, and move them for a person in Slack."""

from typing import Any

from storage.alerts.followups import list_steps
from tests.conftest import on_both
from tests.journeys.acme import Acme
from tests.journeys.agents import Agent, call_api, program
from tests.journeys.test_following_up import chosen, hot, until_it_says, until_posted


async def states(agent: Agent, query: str = "") -> list[str]:
    """Return the states of the listed follow-ups."""
    status, document = await call_api(agent, "GET", f"/followups{query}")
    assert status == 200
    return [follow_up["state"] for follow_up in document["items"]]


@on_both
async def test_a_program_moves_follow_ups_for_a_person(acme: Acme) -> None:
    """A follow-up is claimed, released, snoozed and done for an active member; the message in Slack says so."""
    await chosen(acme)
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1)
    agent = await program(acme)
    _, listed = await call_api(agent, "GET", "/followups?owner=REP@acme.example&state=open")
    (follow_up,) = listed["items"]
    assert (follow_up["contact"]["email"], follow_up["score"], follow_up["after"]) == ("ada@example.com", "score", 85)
    assert (listed["next_cursor"], await states(agent, "?owner=jane@acme.example")) == (None, [])

    async def move(name: str, **body: object) -> tuple[int, Any]:
        return await call_api(agent, "POST", f"/followups/{follow_up['id']}/{name}", body)

    status, claimed = await move("claim", user="U0JANE")
    assert (status, claimed["state"], claimed["holder"]) == (200, "claimed", "U0JANE")
    await until_it_says(acme, message, "Claimed by <@U0JANE>")
    status, problem = await move("claim", user="U0REP")
    assert (status, problem["detail"]) == (409, "The follow-up is claimed already by U0JANE.")
    assert (await move("release", user="U0REP"))[0] == 409
    status, released = await move("release", user="U0JANE")
    assert (status, released["state"], released["holder"]) == (200, "open", None)
    status, snoozed = await move("snooze", user="U0JANE", **{"for": "2h"})
    assert (status, snoozed["state"], snoozed["until"] > snoozed["changed_at"]) == (200, "snoozed", True)
    status, done = await move("done", user="U0JANE", outcome="bad fit")
    assert (status, done["state"], done["outcome"]) == (200, "done", "bad fit")
    assert (await states(agent), await states(agent, "?state=done")) == ([], ["done"])
    steps = await list_steps(acme.workspace, id=follow_up["id"])
    assert [step.by for step in steps] == [None, *["U0JANE"] * 5]


async def test_who_cannot_be_acted_for(acme: Acme) -> None:
    """A guest, an outsider, somebody who left and an unknown person are 422; mistakes change nothing."""
    await chosen(acme)
    await acme.pushed(hot(), hot("hopper@example.com"))
    await until_posted(acme, 2)
    agent, reader = await program(acme), await program(acme, "read")
    first = (await call_api(agent, "GET", "/followups?limit=1"))[1]
    second = (await call_api(agent, "GET", f"/followups?limit=1&cursor={first['next_cursor']}"))[1]
    emails = [page["items"][0]["contact"]["email"] for page in (first, second)]
    assert (emails, second["next_cursor"]) == (["hopper@example.com", "ada@example.com"], None)

    id = first["items"][0]["id"]
    acme.sandbox.world.people["U0JANE"].deleted = True
    for user in ("U0GUEST", "U0OUT", "U0JANE", "U0NOBODY", "rep", ""):
        status, problem = await call_api(agent, "POST", f"/followups/{id}/claim", {"user": user})
        assert (status, problem["detail"]) == (422, f"`user`: `{user}` is not an active member of this workspace.")
    for path, document, expected in (
        (f"/followups/{id}/claim", {}, 400),
        (f"/followups/{id}/claim", {"user": 5}, 400),
        (f"/followups/{id}/claim", {"user": "U0REP", "outcome": "meeting"}, 400),
        (f"/followups/{id}/done", {"user": "U0REP", "outcome": "married"}, 400),
        (f"/followups/{id}/snooze", {"user": "U0REP", "for": "soon"}, 422),
        (f"/followups/{id}/snooze", {"user": "U0REP", "for": "9999w"}, 422),
        ("/followups/99/claim", {"user": "U0REP"}, 404),
        ("/followups/x/claim", {"user": "U0REP"}, 404),
    ):
        status, problem = await call_api(agent, "POST", path, document)
        assert (status, problem["status"]) == (expected, expected), path
    assert (await call_api(reader, "POST", f"/followups/{id}/claim", {"user": "U0REP"}))[0] == 403
    for query in ("?state=asleep", "?cursor=x", "?limit=0"):
        assert (await call_api(agent, "GET", f"/followups{query}"))[0] == 400
    assert await states(agent) == ["open", "open"]
