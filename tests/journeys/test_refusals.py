"""People who may not see scores are refused on every surface and in every place, without data about contacts."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pytest

from bot.demo.world import Channel
from bot.mcp.tools import TOOLS
from storage.domain.people import Setters
from storage.scoring.definitions import drafts, score_types
from storage.sources.config import sources
from storage.sources.subscriptions import subscriptions
from storage.workspaces import choose_setters
from tests.counts import COUNTS
from tests.journeys.acme import REP, SALES, TEAM, Acme, other
from tests.journeys.agents import Agent
from tests.journeys.surfaces import COMMANDS, COUNT, DECISIONS, FORMS, surfaces
from tests.slack.faults import Fault
from tests.slack.foreign import ReceivedCall, Sent

GUEST = "Scores are for members of this workspace; guests cannot see or change them."
INACTIVE = "Scores are for active members of this workspace."
OUTSIDER = "Scores are for members of this workspace; people from other organizations cannot see or change them."
SHARED = (
    "This conversation is shared with another organization, so nothing is shown here."
    " Ask me in our direct messages instead: open Contact Score under Apps."
)
UNSEEN = (
    "I cannot see who is in this conversation, so nothing is shown here."
    " Invite me with `/invite @Contact Score`, or ask me in our direct messages."
)
MIXED = (
    "This channel has guests or people from other organizations, or I cannot check whether it has,"
    " so nothing is posted there. Choose a channel with members only."
)
UNKNOWN = "I could not find out from Slack who you are, so nothing is shown. Try again in a minute."
ADMINS = "That is for admins. Ask <@U0ADMIN>."
ALL_REFUSALS = (GUEST, INACTIVE, OUTSIDER, SHARED, UNSEEN, MIXED, UNKNOWN)

OF_ADMINS = (
    "settings",
    "rules",
    "sources",
    "subscriptions",
    "audit",
    "roles",
    "a preview",
    "delete ida",
    "merge ida into grace@example.com",
    "merge ida into hopper@example.com",
    "split ada crm:17",
)
DIRECT = "D0REPJANE"  # direct messages between two people, without the app
WORDS = re.compile(
    r"\b(ada|lovelace|analytical|engines|grace|hopper|kelly|navy|monaco|studio|pete|mitchell|gun|ida|rhodes|zoe|xenia)\b"
    r"|example\.com|4711|great demo",
    re.IGNORECASE,
)
#: Refusals contain no digits at all, and therefore no scores.
NUMBER = re.compile(r"\d")


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A reason for a refusal: the difference from a member in a channel, and the sentence."""

    sentence: str
    becomes: Callable[[Acme], None]
    channel: str = SALES
    sent: Callable[[Sent], Sent] = lambda sent: sent
    commands: bool = True  # a slash command does not include the person's home team


def person(**changes: bool | str) -> Callable[[Acme], None]:
    """Return a change of the rep's fields in Slack."""

    def becomes(acme: Acme) -> None:
        for name, value in changes.items():
            setattr(acme.sandbox.world.people[REP], name, value)

    return becomes


def channel(**changes: bool | list[str]) -> Callable[[Acme], None]:
    """Return a change of the channel's fields in Slack."""

    def becomes(acme: Acme) -> None:
        for name, value in changes.items():
            setattr(acme.sandbox.world.channels[SALES], name, value)

    return becomes


def failing(method: str) -> Callable[[Acme], None]:
    """Return a change that makes every call of *method* fail."""
    return lambda acme: acme.sandbox.faults.add(Fault(method=method, kind="server_error", times=1_000))


def from_elsewhere(sent: Sent) -> Sent:
    """Return a request with another home team of the person, as in a shared channel."""
    payload = sent.payload
    team = {"team": {"id": "T0OTHER", "domain": "elsewhere"}} if payload["type"] == "view_submission" else {}
    return other(sent, user=payload["user"] | {"team_id": "T0OTHER"}, **team)


def jane_leaves(acme: Acme) -> None:
    """Make the other person in the direct messages a member of another organization."""
    jane = acme.sandbox.world.people["U0JANE"]
    jane.is_stranger, jane.team_id = True, "T0OTHER"


CONDITIONS = {
    "guest in several channels": Condition(sentence=GUEST, becomes=person(is_restricted=True)),
    "guest in one channel": Condition(sentence=GUEST, becomes=person(is_ultra_restricted=True)),
    "outsider": Condition(sentence=OUTSIDER, becomes=person(is_stranger=True, team_id="T0OTHER")),
    "outsider, told by the request alone": Condition(
        sentence=OUTSIDER, becomes=lambda _: None, sent=from_elsewhere, commands=False
    ),
    "deactivated": Condition(sentence=INACTIVE, becomes=person(deleted=True)),
    "bot": Condition(sentence=INACTIVE, becomes=person(is_bot=True)),
    "person not looked up": Condition(sentence=UNKNOWN, becomes=failing("users.info")),
    "channel not looked up": Condition(sentence=UNSEEN, becomes=failing("conversations.info")),
    "shared channel": Condition(sentence=SHARED, becomes=channel(is_ext_shared=True, connected_team_ids=["T0OTHER"])),
    "channel about to be shared": Condition(
        sentence=SHARED, becomes=channel(is_pending_ext_shared=True, connected_team_ids=["T0OTHER"])
    ),
    "direct messages with an outsider": Condition(sentence=SHARED, becomes=jane_leaves, channel=DIRECT),
}


@pytest.mark.parametrize("name", CONDITIONS)
async def test_refused(acme: Acme, name: str) -> None:
    """Every surface gives one ephemeral refusal (a menu: nothing); nothing is recorded, looked up or shown."""
    condition = CONDITIONS[name]
    members = [REP, "U0JANE"]
    acme.sandbox.world.add_channel(Channel(id=DIRECT, name="jane", members=members, im_with="U0JANE"))
    requests = await surfaces(acme, user=REP, channel=condition.channel)
    condition.becomes(acme)
    acme.sandbox.clock.advance(31)  # expire the cached lookup
    before, calls = await acme.ledger(), len(acme.sandbox.calls)
    cells: dict[str, str] = {}
    for surface, sent in requests.items():
        if condition.commands or sent.kind != "slash_commands":
            cells[surface] = await outcome(acme, condition.sent(sent), condition.sentence)
    acme.sandbox.faults.clear()
    await acme.restart()  # after the stop nothing is running
    calls_made = [call for call in acme.sandbox.calls[calls:] if call.method != "auth.test"]

    COUNTS["cells of the refusal matrix"] += len(cells)
    assert {surface: cell for surface, cell in cells.items() if cell != "refused"} == {}
    assert len(cells) == COUNT - (0 if condition.commands else len(COMMANDS))
    # the menu is answered in its own response
    assert sum(call.method == "response_url" for call in calls_made) == len(cells) - 1
    assert {call.method for call in calls_made} <= {"users.info", "conversations.info", "response_url"}
    assert [call for call in calls_made if WORDS.search(json.dumps(call.arguments, ensure_ascii=False))] == []
    assert [call for call in calls_made if call.method == "response_url" and NUMBER.search(words_of(call))] == []
    assert await acme.ledger() == before


async def test_agents_are_refused(acme: Acme) -> None:
    """Every tool refuses a person who may not see scores, without data about contacts; nothing is recorded."""
    arguments: dict[str, dict[str, object]] = {
        "find_contacts": {"filter": "score>=40"}, "get_contact": {"contact": "ada"},
        "explain_score": {"contact": "ada"}, "score_history": {"contact": "ada"}, "list_followups": {},
        "set_score": {"contact": "ada", "value": 85}, "add_to_score": {"contact": "ada", "amount": 5}, "undo": {},
        "claim_followup": {"id": 1}, "finish_followup": {"id": 1},
    }  # fmt: skip  # grouped by what they do
    assert arguments.keys() == TOOLS.keys()
    await acme.ask("set ada 70")  # so that there is something to undo
    before, member = await acme.ledger(), acme.sandbox.world.people[REP]
    cells: dict[tuple[str, str], str] = {}
    for name, condition in CONDITIONS.items():
        if condition.sentence in (SHARED, UNSEEN):  # an agent is in no channel
            continue
        acme.sandbox.world.people[REP] = replace(member)
        condition.becomes(acme)
        acme.sandbox.clock.advance(31)  # expire the cached lookup
        agent = Agent(acme=acme, team=TEAM if condition.commands else "T0OTHER")
        for tool, values in arguments.items():
            answer = await agent.call(tool, **values)
            is_refused = (answer.text, answer.document, answer.is_mistake) == (condition.sentence, None, True)
            cells[name, tool] = "refused" if is_refused else answer.text
        acme.sandbox.faults.clear()
    acme.sandbox.world.people[REP] = member
    acme.sandbox.clock.advance(31)
    unknown = await Agent(acme=acme, user="").call("get_contact", contact="ada")

    COUNTS["cells of the refusal matrix for agents"] += len(cells)
    assert {cell: text for cell, text in cells.items() if text != "refused"} == {}
    assert len(cells) == 7 * len(TOOLS)
    assert (unknown.text, unknown.is_mistake) == ("Slack did not say who asks, so nothing is shown.", True)
    assert await acme.ledger() == before
    assert not (await Agent(acme=acme).call("get_contact", contact="ada")).is_mistake


async def test_viewers_change_nothing_through_agents(acme: Acme) -> None:
    """Where only admins set scores, the tools of a member read, and refuse to change a score."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    await choose_setters(acme.workspace, setters=Setters.ADMINS, by="U0ADMIN", now=now)
    before = await acme.ledger()
    agent = Agent(acme=acme)
    for tool, arguments in (("set_score", {"value": 1}), ("add_to_score", {"amount": 1}), ("undo", {})):
        contact = {} if tool == "undo" else {"contact": "ada"}
        answer = await agent.call(tool, **contact, **arguments)
        assert (answer.is_mistake, answer.text.partition(";")[0]) == (True, "Only admins set scores here")
    assert not (await agent.call("get_contact", contact="ada")).is_mistake
    assert not (await Agent(acme=acme, user="U0ADMIN").call("set_score", contact="kelly", value=1)).is_mistake
    assert len(await acme.ledger()) == len(before) + 1


async def outcome(acme: Acme, sent: Sent, sentence: str) -> str:
    """Send a request, and return `refused` or what happened instead."""
    before = len(acme.sandbox.calls)
    response = await acme.sandbox.again(sent)
    if sent.payload.get("type") == "block_suggestion":
        is_refused = (response.status, response.json()) == (200, {"options": []})
        return "refused" if is_refused else f"{response.status} {response.body}"
    try:
        posted = await acme.sandbox.wait_for(
            lambda: [call for call in acme.sandbox.calls[before:] if call.method in ("response_url", "views.open")]
        )
    except TimeoutError:
        return f"{response.status} and no answer"
    block = {"type": "section", "text": {"type": "mrkdwn", "text": sentence, "verbatim": True}}
    expected = {"response_type": "ephemeral", "replace_original": False, "text": sentence, "blocks": [block]}
    if (response.status, response.body) == (200, "") and posted[0].arguments == expected:
        return "refused"
    return f"{response.status} {response.body} {posted[0].method} {posted[0].arguments.get('text')}"


def words_of(call: ReceivedCall) -> str:
    """Return all text of an answer."""
    return json.dumps([call.arguments["text"], call.arguments["blocks"]], ensure_ascii=False)


PLACES = {
    "a channel": Channel(id="C0PLAIN", name="plain", members=[REP, "U0BOT"]),
    "a private channel with the app": Channel(id="C0PRIVATE", name="secret", members=[REP, "U0BOT"], is_private=True),
    "direct messages with the app": Channel(id="D0REP", name="Contact Score", members=[REP, "U0BOT"], im_with=REP),
}


# The places differ in what Slack says about them; on PostgreSQL one is enough.
@pytest.mark.parametrize(
    ("database_url", "name"),
    [("postgres", "a channel"), *(("sqlite", name) for name in PLACES)],
    indirect=["database_url"],
)
async def test_served(acme: Acme, name: str) -> None:
    """A member is served on every surface, in every place of the workspace's own."""
    place = acme.sandbox.world.add_channel(PLACES[name])
    requests = await surfaces(acme, user=REP, channel=place.id)
    results: dict[str, str] = {}
    for surface, sent in requests.items():
        if sent.payload.get("type") == "block_suggestion":
            response = await acme.sandbox.again(sent)
            results[surface] = "served" if response.json()["options"] else "nothing offered"
            continue
        _, answer = await acme.answered(partial(acme.sandbox.again, sent))
        is_refused = answer.method == "response_url" and answer.arguments["text"] in ALL_REFUSALS
        results[surface] = answer.arguments["text"] if is_refused else "served"

    COUNTS["surfaces served to a member"] += len(results)
    assert results == dict.fromkeys(requests, "served")
    assert len(results) == COUNT


async def test_a_member_is_no_admin(acme: Acme) -> None:
    """A member is refused the actions of admins on each surface, and nothing is changed."""
    await acme.ask("audit", user="U0JANE")  # so that the list of admins is from before REP became one
    requests = await surfaces(acme, user=REP, channel=SALES)
    acme.sandbox.world.people[REP].is_admin = False
    acme.sandbox.clock.advance(31)
    before, drafts_before = await score_types(acme.workspace), await drafts(acme.workspace)
    sources_before, subscriptions_before = await sources(acme.workspace), await subscriptions(acme.workspace)
    results: dict[str, str] = {}
    for surface, sent in requests.items():
        if surface.split(" of ")[-1].removeprefix("/score ") in OF_ADMINS:
            _, answer = await acme.answered(partial(acme.sandbox.again, sent))
            results[surface] = answer.arguments["text"]

    COUNTS["surfaces of admins refused to a member"] += len(results)
    assert results == dict.fromkeys(results, ADMINS)
    assert len(results) == 8 + 16 + len(FORMS) + len(DECISIONS) + 1
    assert (await score_types(acme.workspace), await drafts(acme.workspace)) == (before, drafts_before)
    assert await sources(acme.workspace) == sources_before
    assert await subscriptions(acme.workspace) == subscriptions_before


def test_the_matrix_is_whole() -> None:
    """The matrix has eleven reasons to refuse and seventy-seven surfaces."""
    cells = len(CONDITIONS) * COUNT - len(COMMANDS)

    assert (len(CONDITIONS), COUNT, cells) == (11, 77, 815)


async def test_a_private_channel_without_the_app(acme: Acme) -> None:
    """In a private channel without the app the answer says how to invite the app, and nothing else."""
    acme.sandbox.world.add_channel(Channel(id="C0SECRET", name="secret", members=[REP], is_private=True))
    message = await acme.ask("ada", channel="C0SECRET")

    assert (acme.seen(message), message.text) == (UNSEEN, UNSEEN)


async def test_an_outsider_in_the_shared_channel(acme: Acme) -> None:
    """A person of another organization is told so in every channel."""
    message = await acme.ask("ada", user="U0OUT", channel="C0SHARED")

    assert acme.seen(message) == OUTSIDER


async def test_a_member_in_the_shared_channel(acme: Acme) -> None:
    """A member in a shared channel gets no scores there, but gets the answer in direct messages."""
    text = acme.seen(await acme.ask("ada", channel="C0SHARED"))
    served = acme.seen(await acme.ask("ada", channel="D0REP"))

    assert text == SHARED
    assert served.startswith("*Ada Lovelace*")


async def test_a_channel_that_becomes_shared_is_noticed_at_once(acme: Acme) -> None:
    """After the event that a channel is shared, no cached lookup of the channel is used."""
    served = acme.seen(await acme.ask("ada"))
    acme.sandbox.world.channels[SALES].is_ext_shared = True
    remembered = acme.seen(await acme.ask("ada"))
    response = await acme.sandbox.event({"type": "channel_shared", "channel": SALES, "connected_team_id": "T0OTHER"})
    text = acme.seen(await acme.ask("ada"))
    acme.sandbox.world.channels[SALES].is_ext_shared = False
    await acme.sandbox.event({"type": "channel_unshared", "channel": SALES, "previously_connected_team_id": "T0OTHER"})

    assert response.status == 200
    assert served.startswith("*Ada Lovelace*")
    assert remembered == served
    assert text == SHARED
    assert acme.seen(await acme.ask("ada")) == served


@pytest.mark.parametrize("seconds", [30, 600])
async def test_a_channel_that_becomes_shared_is_noticed_without_an_event(acme: Acme, seconds: float) -> None:
    """Without an event a shared channel is detected after at most half a minute."""
    await acme.ask("ada")
    acme.sandbox.world.channels[SALES].is_ext_shared = True
    acme.sandbox.clock.advance(seconds)

    assert acme.seen(await acme.ask("ada")) == SHARED


async def test_a_member_who_becomes_a_guest_is_noticed(acme: Acme) -> None:
    """A member who became a guest is detected after at most half a minute."""
    await acme.ask("ada")
    acme.sandbox.world.people[REP].is_restricted = True
    acme.sandbox.clock.advance(30)

    assert acme.seen(await acme.ask("ada")) == GUEST


async def test_an_event_while_the_channel_is_being_looked_up(acme: Acme) -> None:
    """A lookup that started before the event is neither used nor cached."""
    acme.sandbox.faults.add(Fault(method="conversations.info", kind="late"))
    before = len(acme.answers)
    await acme.sandbox.say("/score ada")
    await acme.sandbox.wait_for(lambda: acme.sandbox.faults.held)
    acme.sandbox.world.channels[SALES].is_ext_shared = True
    await acme.sandbox.event({"type": "channel_shared", "channel": SALES, "connected_team_id": "T0OTHER"})
    acme.sandbox.faults.release()
    await acme.sandbox.wait_for(lambda: len(acme.answers) > before)
    text = acme.seen(acme.latest())

    assert text == SHARED
    assert acme.seen(await acme.ask("ada")) == SHARED


async def test_what_is_known_is_not_asked_again(acme: Acme) -> None:
    """Within half a minute nobody is looked up twice."""
    for _ in range(3):
        await acme.ask("ada")

    assert [call.method for call in acme.sandbox.calls] == [
        "users.info", "conversations.info", "users.lookupByEmail", "response_url", "response_url", "response_url",
    ]  # fmt: skip  # one line of three asks


async def test_what_was_not_found_out_is_asked_again(acme: Acme) -> None:
    """A failed lookup is not cached: the next request is served."""
    acme.sandbox.faults.add(Fault(method="users.info", kind="server_error"))
    text = acme.seen(await acme.ask("ada"))

    assert text == UNKNOWN
    assert acme.seen(await acme.ask("ada")).startswith("*Ada Lovelace*")
