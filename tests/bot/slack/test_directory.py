"""Parse and briefly cache what Slack returns about people and conversations; a missing answer grants nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError

from bot.slack.access import Conversation, Person, Verdict
from bot.slack.cache import MOST
from bot.slack.directory import CACHED_FOR, LISTED_EVERY, MOST_LOOKED_UP, People
from tests.bot.fakes import ToldSlack, told_slack

TEAM, ORG = "T0OURS", "E0OURS"


def user(**more: Any) -> dict[str, Any]:
    """Return a member in the format of users.info."""
    return {"id": "U1", "team_id": TEAM, "profile": {"team": TEAM}} | more


@pytest.mark.parametrize(
    ("profile", "enterprise", "guest", "outsider", "active"),
    [
        (user(), None, False, False, True),
        (user(is_restricted=True), None, True, False, True),
        (user(is_restricted=True, is_ultra_restricted=True), None, True, False, True),
        (user(is_ultra_restricted=True), None, True, False, True),
        (user(deleted=True), None, False, False, False),
        (user(is_bot=True), None, False, False, False),
        (user(is_workflow_bot=True), None, False, False, False),
        (user(is_stranger=True), None, False, True, True),
        (user(team_id="T0OTHER"), None, False, True, True),
        # older responses have the field only there
        ({"id": "U1", "profile": {"team": TEAM}}, None, False, False, True),
        ({"id": "U1", "profile": {"team": "T0OTHER"}}, None, False, True, True),
        ({"id": "U1"}, None, False, True, True),  # a user without a team is treated as an outsider
        # In an organization with several workspaces a colleague's home may be another workspace.
        (user(team_id="T0SISTER", enterprise_user={"enterprise_id": ORG, "teams": []}), ORG, False, False, True),
        (user(team_id="T0SISTER", enterprise_id=ORG), ORG, False, False, True),
        (user(team_id="T0SISTER", enterprise_id="E0X"), ORG, False, True, True),
        (user(team_id="T0SISTER", enterprise_user={"enterprise_id": "E0X", "teams": [TEAM]}), ORG, False, False, True),
        (user(team_id="T0SISTER", enterprise_user={"enterprise_id": "E0X", "teams": []}), ORG, False, True, True),
        (user(team_id="T0SISTER", enterprise_user={"enterprise_id": None}), None, False, True, True),
        (user(team_id="T0SISTER", is_stranger=True, enterprise_user={"enterprise_id": ORG}), ORG, False, True, True),
    ],
)
async def test_a_person(
    profile: dict[str, Any], enterprise: str | None, guest: bool, outsider: bool, active: bool
) -> None:
    """Guests, outsiders and inactive members are told apart."""
    async with told_slack() as (slack, client):
        slack.tells["users.info"] = {"ok": True, "user": profile}
        person = await People(client, team=TEAM, enterprise=enterprise).person("U1", now=0)

    assert person == Person(id="U1", is_guest=guest, is_outsider=outsider, is_active=active)


@pytest.mark.parametrize(
    ("conversation", "shared"),
    [
        ({}, False),
        ({"is_private": True}, False),
        ({"is_ext_shared": True}, True),
        ({"is_pending_ext_shared": True}, True),
        ({"pending_connected_team_ids": ["T0OTHER"]}, True),
        ({"pending_shared": ["T0OTHER"]}, True),
        ({"is_shared": True}, True),
        ({"connected_team_ids": ["T0OTHER"]}, True),
        ({"connected_team_ids": [TEAM]}, False),
        ({"is_shared": True, "is_org_shared": True, "connected_team_ids": ["T0SISTER"]}, False),  # one organization
        ({"is_org_shared": True, "is_ext_shared": True}, True),
        ({"is_ext_shared": False, "pending_shared": [], "pending_connected_team_ids": []}, False),
    ],
)
async def test_a_place(conversation: dict[str, Any], shared: bool) -> None:
    """A conversation is shared if another organization reads it, or is invited to."""
    async with told_slack() as (slack, client):
        slack.tells["conversations.info"] = {"ok": True, "channel": {"id": "C1"} | conversation}
        place = await People(client, team=TEAM, enterprise=None).place("C1", now=0)

    assert place == Conversation(id="C1", is_shared=shared)


@pytest.mark.parametrize(
    "answer",
    [
        {"ok": False, "error": "user_not_found"},
        {"ok": True},
        {"ok": True, "user": None, "channel": None},
        {"ok": True, "user": "U1", "channel": "C1"},
        "not JSON",
        "[]",
        "",
    ],
    ids=str,
)
async def test_what_slack_does_not_say(answer: object) -> None:
    """An error, an incomplete response and a malformed response all mean unknown."""
    async with told_slack() as (slack, client):
        slack.tells = {"users.info": answer, "conversations.info": answer}
        people = People(client, team=TEAM, enterprise=None)
        looked_up = (await people.person("U1", now=0), await people.place("C1", now=0))

    assert looked_up == (None, None)


async def test_what_is_known_is_remembered_for_half_a_minute() -> None:
    """A lookup is cached for half a minute, and is repeated afterwards or if the clock was set back."""
    async with told_slack() as (slack, client):
        slack.tells["users.info"] = {"ok": True, "user": user()}
        people = People(client, team=TEAM, enterprise=None)
        counts = []
        for now in (10, 10 + CACHED_FOR - 1, 10 + CACHED_FOR, 10):
            await people.person("U1", now=now)
            counts.append(len(slack.asked))

    assert counts == [1, 1, 2, 3]
    assert CACHED_FOR == 30_000_000


async def test_a_place_that_changed_is_looked_at_again() -> None:
    """A forgotten conversation is looked up again; forgetting an unknown one is harmless."""
    async with told_slack() as (slack, client):
        slack.tells["conversations.info"] = {"ok": True, "channel": {"id": "C1"}}
        people = People(client, team=TEAM, enterprise=None)
        before = await people.place("C1", now=0)
        slack.tells["conversations.info"] = {"ok": True, "channel": {"id": "C1", "is_ext_shared": True}}
        people.forget_place("C2")
        remembered = await people.place("C1", now=1)
        people.forget_place("C1")
        after = await people.place("C1", now=2)

    assert (before, remembered, after) == (
        Conversation(id="C1", is_shared=False),
        Conversation(id="C1", is_shared=False),
        Conversation(id="C1", is_shared=True),
    )


async def test_what_was_not_found_is_not_remembered() -> None:
    """A failed lookup is not cached: the next request looks it up again."""
    async with told_slack() as (slack, client):
        slack.tells["users.info"] = {"ok": False, "error": "ratelimited"}
        people = People(client, team=TEAM, enterprise=None)
        first = await people.person("U1", now=0)
        slack.tells["users.info"] = {"ok": True, "user": user()}
        second = await people.person("U1", now=0)

    assert first is None
    assert second == Person(id="U1", is_guest=False, is_outsider=False, is_active=True)


@pytest.mark.slow
async def test_no_more_is_remembered_than_fits() -> None:
    """The cache is bounded: beyond its limit all entries are dropped."""
    async with told_slack() as (slack, client):
        slack.tells["users.info"] = {"ok": True, "user": user()}
        people = People(client, team=TEAM, enterprise=None)
        for number in range(MOST + 1):
            await people.person(f"U{number}", now=0)
        request_count = len(slack.asked)
        await people.person("U0", now=1)
        await people.person(f"U{MOST}", now=1)

    assert request_count == MOST + 1
    assert len(slack.asked) == MOST + 2


EVERYBODY = [
    user(id="U1"),
    user(id="U2"),
    user(id="UOTHERBOT", is_bot=True),
    user(id="UGUEST", is_restricted=True),
    user(id="UOUT", is_stranger=True),
]


@asynccontextmanager
async def channel_of(*members: str, **more: Any) -> AsyncIterator[tuple[ToldSlack, People]]:
    """Start a Slack with a channel of these members; users.list returns all of them except the new ones."""
    async with told_slack() as (slack, client):
        slack.tells = {
            "conversations.info": {"ok": True, "channel": {"id": "C1", "is_ext_shared": False} | more},
            "conversations.members": {"ok": True, "members": list(members)},
            "users.list": {"ok": True, "members": EVERYBODY},
            "users.info": {"ok": False, "error": "user_not_found"},
        }
        yield slack, People(client, team=TEAM, enterprise=None, bot_user="UBOT")


@pytest.mark.parametrize(
    ("members", "verdict"),
    [
        (["U1", "U2"], Verdict.ALLOWED),
        (["U1", "UBOT"], Verdict.ALLOWED),  # the app itself, which not every workspace lists
        (["U1", "UOTHERBOT"], Verdict.ALLOWED),
        (["U1", "UGUEST"], Verdict.MIXED),
        (["U1", "UOUT"], Verdict.MIXED),
        (["U1", "UNOBODY"], Verdict.MIXED),  # unknown to Slack
        ([], Verdict.MIXED),
    ],
)
async def test_who_reads_a_channel(members: list[str], verdict: Verdict) -> None:
    """Scores are shown in a channel only if each member is a full member of the workspace."""
    async with channel_of(*members) as (_, people):
        assert await people.may_post("C1", now=0) is verdict


@pytest.mark.parametrize(
    ("channel", "verdict"),
    [
        ({"is_ext_shared": True}, Verdict.FOREIGN),
        ({"is_pending_ext_shared": True}, Verdict.FOREIGN),
        ({"is_archived": True}, Verdict.ARCHIVED),
        ({"is_private": True, "is_member": False}, Verdict.ABSENT),
        ({"is_private": True, "is_member": True}, Verdict.ALLOWED),
    ],
)
async def test_what_a_channel_is(channel: dict[str, Any], verdict: Verdict) -> None:
    """Nothing is posted to a shared or archived channel, or to a private channel without the app."""
    async with channel_of("U1", **channel) as (_, people):
        assert await people.may_post("C1", now=0) is verdict


@pytest.mark.parametrize(
    "answer",
    [{"ok": True}, {"ok": False, "error": "unknown_method"}, {"ok": False, "error": "missing_scope"}],
    ids=["nothing", "unknown method", "not allowed"],
)
async def test_what_slack_does_not_say_of_a_channel_is_a_no(answer: dict[str, Any]) -> None:
    """If the members or the kind of a channel are unknown, nothing is posted to the channel."""
    async with channel_of("U1") as (slack, people):
        slack.tells["conversations.members"] = answer
        assert await people.may_post("C1", now=0) is Verdict.MIXED
    async with channel_of("U1") as (slack, people):
        slack.tells["conversations.info"] = answer
        assert await people.may_post("C1", now=0) is Verdict.UNFOUND


@pytest.mark.parametrize(
    ("profile", "verdict"),
    [
        ({}, Verdict.ALLOWED),
        ({"is_restricted": True}, Verdict.MIXED),
        ({"team_id": "T0OTHER"}, Verdict.MIXED),
        (None, Verdict.MIXED),
    ],
)
@pytest.mark.parametrize("is_listed", [True, False])
async def test_who_is_not_listed_is_looked_up_alone(
    profile: dict[str, Any] | None, verdict: Verdict, is_listed: bool
) -> None:
    """People missing from users.list are looked up one by one; a person unknown to Slack keeps scores out."""
    async with channel_of("U7") as (slack, people):
        if profile is not None:
            slack.tells["users.info"] = {"ok": True, "user": user(id="U7", **profile)}
        if not is_listed:
            slack.tells["users.list"] = {"ok": False, "error": "unknown_method"}
        assert await people.may_post("C1", now=0) is verdict
        assert slack.asked.count("users.info") == 1


@pytest.mark.parametrize(("unlisted", "expected"), [(MOST_LOOKED_UP, MOST_LOOKED_UP), (MOST_LOOKED_UP + 1, 0)])
async def test_no_more_are_looked_up_alone_than_slack_allows(unlisted: int, expected: int) -> None:
    """Too many members to look up one by one leave the readers unknown; ten thousand listed members cost no lookups."""
    async with channel_of(*(f"UNEW{n}" for n in range(unlisted)), *(f"U{n}" for n in range(10_000))) as (slack, people):
        slack.tells["users.list"] = {"ok": True, "members": [user(id=f"U{n}") for n in range(10_000)]}
        slack.tells["users.info"] = {"ok": True, "user": user()}
        verdict = await people.may_post("C1", now=0)
    assert verdict is (Verdict.ALLOWED if expected else Verdict.MIXED)
    assert slack.asked.count("users.info") == expected


async def test_everybody_is_listed_every_five_minutes_at_most() -> None:
    """users.list is read at most every five minutes, once for simultaneous requests, and also supplies the admins."""
    async with channel_of("U1") as (slack, people):
        slack.tells["users.info"] = {"ok": True, "user": user()}
        counts = []
        for now in (0, CACHED_FOR - 1, CACHED_FOR, LISTED_EVERY - 1, LISTED_EVERY, 1):
            await asyncio.gather(
                people.may_post("C1", now=now), people.may_post("C2", now=now), people.an_admin(now=now)
            )
            counts.append((slack.asked.count("conversations.members"), slack.asked.count("users.list")))

    assert counts == [(2, 1), (2, 1), (4, 1), (6, 1), (6, 2), (8, 3)]
    assert LISTED_EVERY == 300_000_000


async def test_a_refused_listing_is_not_asked_for_again_at_once() -> None:
    """If users.list fails, people are looked up one by one for five minutes."""
    async with channel_of("U1") as (slack, people):
        slack.tells["users.list"] = {"ok": False, "error": "missing_scope"}
        slack.tells["users.info"] = {"ok": True, "user": user()}
        for now in (0, CACHED_FOR, LISTED_EVERY):
            assert await people.may_post("C1", now=now) is Verdict.ALLOWED

    assert (slack.asked.count("users.list"), slack.asked.count("users.info")) == (2, 3)


async def test_a_person_who_changed_is_looked_up_again() -> None:
    """A person is looked up again after a change of role or membership, but not after a new status or picture."""
    async with channel_of("U1", "U2") as (slack, people):
        assert await people.may_post("C1", now=0) is Verdict.ALLOWED
        people.person_changed(user(id="U2", profile={"team": TEAM, "status_text": "At lunch"}))
        assert await people.may_post("C1", now=1) is Verdict.ALLOWED
        assert "users.info" not in slack.asked
        guest = user(id="U2", is_restricted=True)
        slack.tells["users.info"] = {"ok": True, "user": guest}
        people.person_changed(guest)
        assert await people.may_post("C1", now=2) is Verdict.MIXED
        slack.tells["users.info"] = {"ok": True, "user": user(id="U2")}
        people.person_changed(user(id="U2"))
        assert await people.may_post("C1", now=3) is Verdict.ALLOWED

    assert slack.asked.count("users.list") == 1


async def test_a_person_who_changes_while_everybody_is_listed() -> None:
    """A person who changes while users.list is read is looked up, because the list may be older than the event."""
    async with channel_of("U1", "U2") as (slack, people):
        guest = user(id="U2", is_restricted=True)

        def change() -> object:
            people.person_changed(guest)
            return {"ok": True, "members": EVERYBODY}

        slack.tells |= {"users.list": change, "users.info": {"ok": True, "user": guest}}
        assert await people.may_post("C1", now=0) is Verdict.MIXED


async def test_a_guest_who_joins_is_known_at_once() -> None:
    """After an event that a guest joined, the members of the channel are read again."""
    async with channel_of("U1") as (slack, people):
        assert await people.may_post("C1", now=0) is Verdict.ALLOWED
        slack.tells["conversations.members"] = {"ok": True, "members": ["U1", "UGUEST"]}
        assert await people.may_post("C1", now=1) is Verdict.ALLOWED
        people.forget_place("C1")
        assert await people.may_post("C1", now=2) is Verdict.MIXED


@pytest.mark.parametrize(
    ("channel", "members", "reader"),
    [
        ({"user": "U1"}, ["U2"], "U1"),
        ({}, ["UBOT", "U2"], "U2"),
        ({}, ["UBOT", "U1", "U2"], None),
        ({}, ["UBOT"], None),
    ],
)
async def test_who_reads_direct_messages(channel: dict[str, Any], members: list[str], reader: str | None) -> None:
    """Slack returns the reader of direct messages; if it does not, the reader is the one member beside the app."""
    async with channel_of(*members, **channel) as (slack, people):
        assert await people.reader("D1", now=0) == reader
        assert ("conversations.members" in slack.asked) is ("user" not in channel)


@pytest.mark.parametrize("error", ["ratelimited", "internal_error"])
async def test_what_slack_does_not_say_just_now_is_not_taken_for_a_no(error: str) -> None:
    """A temporary error of Slack does not decide where a message goes: the caller retries."""
    error_answer = {"ok": False, "error": error}
    async with told_slack() as (slack, client):
        slack.tells = {
            "conversations.info": error_answer,
            "users.info": error_answer,
            "users.list": error_answer,
            "users.lookupByEmail": {"ok": True, "user": {"id": "U1"}},
        }
        people = People(client, team=TEAM, enterprise=None)
        for asking in (
            people.may_post("C1", now=0),
            people.colleague("U1", now=0),
            people.by_address("a@acme.example", now=0),
            people.an_admin(now=0),
        ):
            with pytest.raises(SlackApiError):
                await asking


async def test_what_slack_says_is_no_more_is_a_no() -> None:
    """A deleted channel accepts no messages, and a deleted person or a guest is not a colleague."""
    async with told_slack() as (slack, client):
        slack.tells = {
            "conversations.info": {"ok": False, "error": "channel_not_found"},
            "users.info": {"ok": False, "error": "user_not_found"},
            "users.list": {"ok": True, "members": []},
        }
        people = People(client, team=TEAM, enterprise=None)
        assert await people.may_post("C1", now=0) is Verdict.UNFOUND
        assert await people.an_admin(now=0) is None
        for more, active in (({"is_restricted": True}, False), ({"deleted": True}, False), ({}, True)):
            slack.tells["users.info"] = {"ok": True, "user": user(**more)}
            assert (await People(client, team=TEAM, enterprise=None).colleague("U1", now=0) is not None) is active
