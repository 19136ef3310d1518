"""One function posts and edits messages, and checks the readers before each call."""

import ast
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError

import bot
from bot.slack.access import Verdict
from bot.slack.directory import People
from bot.slack.handling import Reply
from bot.slack.poster import HIDDEN, NotShown, Poster, Unheard
from storage.domain.people import Workspace
from tests.bot.fakes import ToldSlack, told_slack

BOT = Path(inspect.getfile(bot)).parent
TEAM = "T0OURS"
NAMES = Reply(text="Ada 85", blocks=[{"type": "section", "text": {"type": "mrkdwn", "text": "*Ada* 85"}}])
#: Web API method that posts or edits → functions that may call it
WRITERS = {
    "chat_postMessage": {("slack/poster.py", "Poster.send")},
    "chat_update": {("slack/poster.py", "Poster.send"), ("slack/poster.py", "Poster.hide_deleted")},
    # seen by one person alone, who was checked before; contains nothing about a contact
    "chat_postEphemeral": {("slack/responder.py", "Answers._show_alone")},
    "chat_meMessage": set(),
    "chat_scheduleMessage": set(),
    "chat_startStream": set(),
    "chat_unfurl": set(),
    "conversations_setTopic": set(),
    "conversations_setPurpose": set(),
    "reminders_add": set(),
    "canvases_create": set(),
    # not a call: the counting client passes the name on to Slack
    "api_call": {("slack/client.py", "CountedClient.api_call")},
}


def callers() -> dict[str, set[tuple[str, str]]]:
    """Return the functions of the bot that name each of those methods, without the demo's Slack."""
    callers_by_name: dict[str, set[tuple[str, str]]] = {name: set() for name in WRITERS}

    def look(node: ast.AST, file: str, inside: str) -> None:
        name = node.attr if isinstance(node, ast.Attribute) else node.value if isinstance(node, ast.Constant) else None
        if isinstance(name, str) and name.replace(".", "_") in callers_by_name:
            callers_by_name[name.replace(".", "_")].add((file, inside))
        for child in ast.iter_child_nodes(node):
            is_named = isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            look(child, file, f"{inside}.{child.name}".lstrip(".") if is_named else inside)  # type: ignore[attr-defined]

    for path in BOT.rglob("*.py"):
        name = path.relative_to(BOT)
        if "demo" not in name.parts:
            look(ast.parse(path.read_text()), str(name), "")
    return callers_by_name


def test_one_function_posts_and_edits() -> None:
    """No other function of the bot names a method that writes to Slack, as an attribute or as a string."""
    assert callers() == WRITERS


@asynccontextmanager
async def slack_with(**user: Any) -> AsyncIterator[tuple[ToldSlack, Poster]]:
    """Start a Slack with one person, a channel with that person, and their direct messages."""
    async with told_slack() as (slack, client):
        person = {"id": "U1", "team_id": TEAM} | user
        slack.tells = {
            "users.info": {"ok": True, "user": person},
            "users.list": {"ok": True, "members": [person]},
            "conversations.info": {"ok": True, "channel": {"id": "C1", "is_member": True, "user": "U1"}},
            "conversations.members": {"ok": True, "members": ["U1", "UBOT"]},
            "conversations.open": {"ok": True, "channel": {"id": "D1"}},
            "chat.postMessage": {"ok": True, "ts": "1.0"},
            "chat.update": {"ok": True, "ts": "1.0"},
        }
        people = People(client, team=TEAM, enterprise=None, bot_user="UBOT")
        workspace = Workspace(id=1, team=TEAM, name="Ours")
        yield slack, Poster(client, workspace=workspace, people=people, clock=lambda: 0)


@pytest.mark.parametrize("place", ["C1", "D1"])
@pytest.mark.parametrize("ts", [None, "1.0"], ids=["a post", "an edit"])
async def test_what_may_be_shown_is(place: str, ts: str | None) -> None:
    """Permitted messages are posted and edited, in a channel and in direct messages."""
    async with slack_with() as (slack, poster):
        assert await poster.send(place, NAMES, ts=ts) == "1.0"

    (message,) = slack.written
    assert (message["channel"], message["text"]) == (place, "Ada 85")


@pytest.mark.parametrize("place", ["C1", "D1"])
@pytest.mark.parametrize(
    "user",
    [{"is_restricted": True}, {"team_id": "T0OTHER"}, {"is_stranger": True}],
    ids=["guest", "elsewhere", "other"],
)
async def test_what_may_not_be_shown_is_not(place: str, user: dict[str, Any]) -> None:
    """A message that may not be shown is not posted; an edit replaces the old one by a sentence without buttons."""
    async with slack_with(**user) as (slack, poster):
        with pytest.raises(NotShown):
            await poster.send(place, NAMES)
        assert slack.written == []
        with pytest.raises(NotShown):
            await poster.send(place, NAMES, ts="1.0")

    (message,) = slack.written
    assert (message["channel"], message["ts"], message["text"]) == (place, "1.0", HIDDEN)
    assert [(block["type"], block["text"]["text"]) for block in message["blocks"]] == [("section", HIDDEN)]


async def test_direct_messages_with_somebody_who_left() -> None:
    """A deactivated person may not see direct messages, but as a member of a channel does not prevent posts."""
    async with slack_with(deleted=True) as (slack, poster):
        with pytest.raises(NotShown) as error:
            await poster.send("D1", NAMES)
        assert error.value.verdict is Verdict.INACTIVE
        await poster.send("C1", NAMES)
    assert [message["channel"] for message in slack.written] == ["C1"]


async def test_direct_messages_ask_for_their_reader_alone() -> None:
    """The reader of just opened direct messages is known; for others Slack is asked."""
    async with slack_with() as (slack, poster):
        place = await poster.direct("U1")
        await poster.send(place, NAMES)
        assert slack.asked == ["conversations.open", "users.info", "chat.postMessage"]
    async with slack_with() as (slack, poster):
        await poster.send("D1", NAMES, ts="1.0")
        assert slack.asked == ["conversations.info", "users.info", "chat.update"]


@pytest.mark.parametrize("method", ["conversations.info", "users.info"])
async def test_direct_messages_of_nobody_known_are_a_no(method: str) -> None:
    """If Slack does not return the reader of direct messages, or does not know that person, nothing is shown."""
    async with slack_with() as (slack, poster):
        slack.tells |= {
            method: {"ok": False, "error": "unknown_method"},
            "conversations.members": {"ok": False, "error": "unknown_method"},
        }
        with pytest.raises(NotShown):
            await poster.send("D1", NAMES)
    assert slack.written == []


async def test_a_verdict_goes_to_anybody() -> None:
    """A verdict contains nothing about a contact, so no reader is checked."""
    async with slack_with(is_restricted=True) as (slack, poster):
        await poster.send("D1", Verdict.GUEST)
    assert slack.asked == ["chat.postMessage"]
    assert slack.written[0]["text"] == Verdict.GUEST.value


@pytest.mark.parametrize("error", ["message_not_found", "is_inactive", "channel_not_found", "edit_window_closed"])
async def test_a_message_that_can_be_edited_no_more(error: str) -> None:
    """A message that cannot be edited stays; if it may not be shown, NotShown is raised."""
    async with slack_with() as (slack, poster):
        slack.tells["chat.update"] = {"ok": False, "error": error}
        assert await poster.send("C1", NAMES, ts="1.0") == "1.0"
    async with slack_with(is_restricted=True) as (slack, poster):
        slack.tells["chat.update"] = {"ok": False, "error": error}
        with pytest.raises(NotShown):
            await poster.send("C1", NAMES, ts="1.0")


async def test_a_lookup_that_fails_is_no_message_in_doubt() -> None:
    """After a failed lookup the message is not in doubt, because nothing was sent; after an unclear answer it is."""
    async with slack_with() as (slack, poster):
        slack.tells["users.list"] = {"ok": False, "error": "internal_error"}
        with pytest.raises(SlackApiError):
            await poster.send("C1", NAMES)
    async with slack_with() as (slack, poster):
        slack.tells["chat.postMessage"] = {"ok": False, "error": "internal_error"}
        with pytest.raises(Unheard):
            await poster.send("C1", NAMES)


@pytest.mark.parametrize(
    ("edit", "deletion", "is_hidden"),
    [
        ("edit_window_closed", None, True),
        ("edit_window_closed", "message_not_found", True),
        ("message_not_found", "message_not_found", True),
        ("cant_update_message", "cant_delete_message", False),
        ("is_archived", "is_archived", False),
    ],
)
async def test_a_message_about_a_deleted_contact_that_cannot_be_edited(
    edit: str, deletion: str | None, is_hidden: bool
) -> None:
    """The message is deleted instead, and the result says whether any of it can still be read."""
    async with slack_with() as (slack, poster):
        slack.tells["chat.update"] = {"ok": False, "error": edit}
        slack.tells["chat.delete"] = {"ok": False, "error": deletion} if deletion else {"ok": True}

        assert await poster.hide_deleted("C1", "1.0") is is_hidden

    assert slack.asked == ["chat.update", "chat.delete"]


async def test_a_message_about_a_deleted_contact_is_edited_whoever_reads_it() -> None:
    """A message about a deleted contact is edited without a check of its readers; temporary errors are raised."""
    async with slack_with(is_restricted=True) as (slack, poster):
        assert await poster.hide_deleted("C1", "1.0")
        slack.tells["chat.update"] = {"ok": False, "error": "internal_error"}
        with pytest.raises(SlackApiError):
            await poster.hide_deleted("C1", "1.0")

    assert [message["text"] for message in slack.written] == ["Contact deleted"] * 2
    assert set(slack.asked) == {"chat.update"}
