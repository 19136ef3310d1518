"""Understand what Slack says of people and conversations, remember it briefly, and take nothing for granted."""

from typing import Any

import pytest
from slack_sdk.errors import SlackApiError

from bot.access import Person, Place, Verdict
from bot.people import KEPT, MOST, People
from tests.bot.fakes import told_slack

TEAM, ORG = "T0OURS", "E0OURS"


def user(**more: Any) -> dict[str, Any]:
    """Write a member as users.info does."""
    return {"id": "U1", "team_id": TEAM, "profile": {"team": TEAM}} | more


@pytest.mark.parametrize(
    ("told", "enterprise", "guest", "outsider", "active"),
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
        ({"id": "U1", "profile": {"team": TEAM}}, None, False, False, True),  # older answers have it there alone
        ({"id": "U1", "profile": {"team": "T0OTHER"}}, None, False, True, True),
        ({"id": "U1"}, None, False, True, True),  # who does not say where they belong does not belong here
        # In an organisation of several workspaces a colleague may be at home in another one.
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
    told: dict[str, Any], enterprise: str | None, guest: bool, outsider: bool, active: bool
) -> None:
    """Guests, outsiders and those who are no active members are told apart."""
    async with told_slack() as (slack, client):
        slack.tells["users.info"] = {"ok": True, "user": told}
        person = await People(client, team=TEAM, enterprise=enterprise).person("U1", now=0)

    assert person == Person(id="U1", is_guest=guest, is_outsider=outsider, is_active=active)


@pytest.mark.parametrize(
    ("told", "shared"),
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
        ({"is_shared": True, "is_org_shared": True, "connected_team_ids": ["T0SISTER"]}, False),  # one organisation
        ({"is_org_shared": True, "is_ext_shared": True}, True),
        ({"is_ext_shared": False, "pending_shared": [], "pending_connected_team_ids": []}, False),
    ],
)
async def test_a_place(told: dict[str, Any], shared: bool) -> None:
    """A conversation that others of another organisation read, or are about to, is shared."""
    async with told_slack() as (slack, client):
        slack.tells["conversations.info"] = {"ok": True, "channel": {"id": "C1"} | told}
        place = await People(client, team=TEAM, enterprise=None).place("C1", now=0)

    assert place == Place(id="C1", is_shared=shared)


@pytest.mark.parametrize(
    "told",
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
async def test_what_slack_does_not_say(told: object) -> None:
    """A refusal, an answer without what was asked for, and an answer that is none: nothing is known."""
    async with told_slack() as (slack, client):
        slack.tells = {"users.info": told, "conversations.info": told}
        people = People(client, team=TEAM, enterprise=None)
        found = (await people.person("U1", now=0), await people.place("C1", now=0))

    assert found == (None, None)


async def test_what_is_known_is_remembered_for_half_a_minute() -> None:
    """It is looked at again when that is over, and when the clock was put back."""
    async with told_slack() as (slack, client):
        slack.tells["users.info"] = {"ok": True, "user": user()}
        people = People(client, team=TEAM, enterprise=None)
        asked = []
        for now in (10, 10 + KEPT - 1, 10 + KEPT, 10):
            await people.person("U1", now=now)
            asked.append(len(slack.asked))

    assert asked == [1, 1, 2, 3]
    assert KEPT == 30_000_000


async def test_a_place_that_changed_is_looked_at_again() -> None:
    """What is forgotten is asked for the next time; forgetting what was never known is no matter."""
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
        Place(id="C1", is_shared=False),
        Place(id="C1", is_shared=False),
        Place(id="C1", is_shared=True),
    )


async def test_what_was_not_found_is_not_remembered() -> None:
    """A failure is no answer: the next request asks again."""
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
    """A workspace of many people does not fill the memory: past the limit all is forgotten at once."""
    async with told_slack() as (slack, client):
        slack.tells["users.info"] = {"ok": True, "user": user()}
        people = People(client, team=TEAM, enterprise=None)
        for number in range(MOST + 1):
            await people.person(f"U{number}", now=0)
        asked = len(slack.asked)
        await people.person("U0", now=1)
        await people.person(f"U{MOST}", now=1)

    assert asked == MOST + 1
    assert len(slack.asked) == MOST + 2


@pytest.mark.parametrize(
    ("members", "all_members"),
    [
        (["U1", "U2"], True),
        (["U1", "U2", "UGUEST"], False),
        (["U1", "UOUT"], False),
        (["U1", "UNOBODY"], False),  # whom Slack does not list
        (["U1", "UBOT"], True),  # the app itself, which not every stand-in lists
        ([], False),
    ],
)
async def test_who_reads_along(members: list[str], all_members: bool) -> None:
    """A channel is for all to read only where everybody in it is a member."""
    async with told_slack() as (slack, client):
        slack.tells["conversations.members"] = {"ok": True, "members": members}
        everybody = [
            user(id="U1"), user(id="U2"), user(id="UGUEST", is_restricted=True), user(id="UOUT", is_stranger=True),
        ]  # fmt: skip  # one line of people
        slack.tells["users.list"] = {"ok": True, "members": everybody}
        told = await People(client, team=TEAM, enterprise=None, bot_user="UBOT").are_all_members("C1", now=0)

    assert told is all_members


async def test_who_reads_along_where_slack_does_not_say() -> None:
    """Where the members are not known, nobody is taken for one."""
    async with told_slack() as (slack, client):
        slack.tells["conversations.members"] = {"ok": False, "error": "channel_not_found"}
        told = await People(client, team=TEAM, enterprise=None).are_all_members("C1", now=0)

    assert told is False


async def verdict(channel: dict[str, Any], members: object, users: object = None) -> Verdict:
    """Ask whether follow-ups may go to a channel of which Slack says this."""
    async with told_slack() as (slack, client):
        slack.tells["conversations.info"] = {"ok": True, "channel": {"id": "C1", **channel}}
        slack.tells["conversations.members"] = members
        slack.tells["users.list"] = users or {"ok": True, "members": [{"id": "U1", "team_id": TEAM}]}
        return await People(client, team=TEAM, enterprise=None).may_post("C1", now=0)


@pytest.mark.parametrize(
    "members", [{"ok": True}, {"ok": False, "error": "unknown_method"}], ids=["nothing", "unknown"]
)
async def test_who_cannot_say_who_is_in_a_channel_is_believed_that_it_is_ours(members: dict[str, Any]) -> None:
    """A stand-in for Slack need not have every method; that a channel is not shared it must say all the same."""
    assert await verdict({"is_ext_shared": False}, members) is Verdict.ALLOWED
    assert await verdict({"is_ext_shared": True}, members) is Verdict.FOREIGN
    assert await verdict({"is_ext_shared": False, "is_private": True, "is_member": False}, members) is Verdict.ABSENT
    async with told_slack() as (slack, client):
        slack.tells["conversations.members"] = members
        assert await People(client, team=TEAM, enterprise=None).are_all_members("C1", now=0)


async def test_a_guest_in_a_channel_is_known() -> None:
    """Whom Slack names as a guest, or as from elsewhere, keeps follow-ups out; a colleague does not."""
    guest = {"id": "U9", "team_id": TEAM, "is_restricted": True}
    for there, said in ((["U1"], Verdict.ALLOWED), (["U1", "U9"], Verdict.MIXED)):
        users = {"ok": True, "members": [{"id": "U1", "team_id": TEAM}, guest]}
        assert await verdict({"is_ext_shared": False}, {"ok": True, "members": there}, users) is said


@pytest.mark.parametrize("error", ["ratelimited", "internal_error"])
async def test_what_slack_does_not_say_just_now_is_not_taken_for_a_no(error: str) -> None:
    """Where a message goes is decided by what Slack says, not by its having a bad moment: whoever asks waits."""
    told = {"ok": False, "error": error}
    async with told_slack() as (slack, client):
        slack.tells = {
            "conversations.info": told,
            "users.info": told,
            "users.lookupByEmail": {"ok": True, "user": {"id": "U1"}},
        }
        people = People(client, team=TEAM, enterprise=None)
        for asking in (
            people.may_post("C1", now=0),
            people.colleague("U1", now=0),
            people.by_address("a@acme.example", now=0),
            people.an_admin(["U1"], now=0),
        ):
            with pytest.raises(SlackApiError):
                await asking


async def test_what_slack_says_is_no_more_is_a_no() -> None:
    """A channel that is gone takes nothing, and whoever is gone, or is a guest, is no colleague."""
    async with told_slack() as (slack, client):
        slack.tells = {
            "conversations.info": {"ok": False, "error": "channel_not_found"},
            "users.info": {"ok": False, "error": "user_not_found"},
            "users.list": {"ok": True, "members": []},
        }
        people = People(client, team=TEAM, enterprise=None)
        assert await people.may_post("C1", now=0) is Verdict.UNFOUND
        assert await people.an_admin(["U1"], now=0) is None
        for more, active in (({"is_restricted": True}, False), ({"deleted": True}, False), ({}, True)):
            slack.tells["users.info"] = {"ok": True, "user": user(**more)}
            assert (await People(client, team=TEAM, enterprise=None).colleague("U1", now=0) is not None) is active
