"""The printed app manifest has exactly the command, scopes and events that the code needs."""

import ast
import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.web.async_client import AsyncWebClient

import bot
from bot.slack.dispatch import Dispatcher
from bot.slack.door import make_bolt
from bot.slack.manifest import COMMAND, EVENTS, MESSAGE_EVENTS, OPTIONAL_SCOPES, SCOPES, SHORTCUT, manifest
from tests.bot.cli.program import environment, run

BOT = Path(inspect.getfile(bot)).parent
ADDRESS = "https://scores.example.com/slack/events"

# From https://docs.slack.dev/reference/methods: the scopes that a bot token needs for each method.
SCOPES_OF_METHODS: dict[str, set[str]] = {
    "apps_connections_open": set(),  # called with the app-level token
    "auth_test": set(),
    "chat_delete": {"chat:write"},
    "chat_getPermalink": set(),
    "chat_postEphemeral": {"chat:write"},
    "chat_postMessage": {"chat:write"},
    "chat_update": {"chat:write"},
    "conversations_history": {"channels:history", "groups:history", "im:history"},  # optional
    "conversations_info": {"channels:read", "groups:read", "im:read", "mpim:read"},  # for any kind of conversation
    "conversations_members": {"channels:read", "groups:read", "im:read", "mpim:read"},
    "conversations_open": {"im:write"},  # for direct messages
    "conversations_replies": {"channels:history", "groups:history", "im:history"},  # for direct messages
    "download_file": {"files:read"},  # a function of ours, which gets the file from the address in the event
    "files_delete": {"files:write"},
    # called by the SDK: files.getUploadURLExternal and files.completeUploadExternal
    "files_upload_v2": {"files:write"},
    "usergroups_list": {"usergroups:read"},
    "usergroups_users_list": {"usergroups:read"},
    "users_info": {"users:read"},
    "users_list": {"users:read"},
    "users_lookupByEmail": {"users:read.email"},
    "views_open": set(),
    "views_publish": set(),
    "views_update": set(),
}
# From https://docs.slack.dev/reference/events: Slack sends an event to apps with any one of these scopes.
SCOPES_OF_EVENTS = {
    "app_home_opened": set(),
    "app_mention": {"app_mentions:read"},
    "channel_shared": {"channels:read", "groups:read"},
    "channel_unshared": {"channels:read", "groups:read"},
    "member_joined_channel": {"channels:read", "groups:read"},
    "member_left_channel": {"channels:read", "groups:read"},
    "message.im": {"im:history"},
    "subteam_members_changed": {"usergroups:read"},
    "subteam_updated": {"usergroups:read"},
    "team_join": {"users:read"},
    "user_change": {"users:read"},
}
METHODS = {name for name in vars(AsyncWebClient) if "_" in name.strip("_") and not name.startswith("_")}


def modules() -> dict[Path, ast.Module]:
    """Parse the source of the bot, without the demo, which has a Slack of its own."""
    files = [path for path in BOT.rglob("*.py") if "demo" not in path.relative_to(BOT).parts]
    return {path: ast.parse(path.read_text()) for path in files}


def methods_used() -> set[str]:
    """Return the Web API methods that the source mentions."""
    nodes = [node for module in modules().values() for node in ast.walk(module)]
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)} & METHODS


def test_scopes_are_those_of_the_methods_used() -> None:
    """Every scope is needed by a method, the command or a field that the source reads, and every need has its scope."""
    used = methods_used()
    assert {"auth_test", "users_info", "views_open"} <= used  # the search finds methods that are certainly used
    assert used == set(SCOPES_OF_METHODS) - {"download_file"}

    needed = {"commands"}.union(*SCOPES_OF_METHODS.values(), *SCOPES_OF_EVENTS.values())
    words = {node.value for module in modules().values() for node in ast.walk(module) if isinstance(node, ast.Constant)}
    if "email" in words and "profile" in words:
        needed.add("users:read.email")  # without it profiles have no email address
    assert needed == {*SCOPES, *OPTIONAL_SCOPES}
    assert len(SCOPES) + len(OPTIONAL_SCOPES) == len({*SCOPES, *OPTIONAL_SCOPES})


def test_events_can_be_sent_to_us() -> None:
    """Each event in the manifest has a known scope, and the manifest has one of its scopes."""
    assert {*EVENTS, *MESSAGE_EVENTS} == set(SCOPES_OF_EVENTS)
    for event in SCOPES_OF_EVENTS:
        assert not SCOPES_OF_EVENTS[event] or SCOPES_OF_EVENTS[event] & {*SCOPES, *OPTIONAL_SCOPES}


class Recorder:
    """Records the kind of each request, in place of the dispatcher."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.called = asyncio.Event()

    def __getattr__(self, kind: str) -> Callable[..., Awaitable[None]]:
        """Return a handler for commands, actions, views and options."""

        async def handle(body: Mapping[str, Any], ack: Callable[..., Awaitable[Any]]) -> None:
            await ack()
            self._take(kind)

        return handle

    async def handle_channel_change(self, event: Mapping[str, Any]) -> None:
        """Record an event."""
        self._take(event["type"])

    handle_join = handle_home = handle_person_change = handle_group_change = handle_message = handle_channel_change
    handle_file = handle_join

    def _take(self, kind: str) -> None:
        self.taken.append(kind)
        self.called.set()


REQUESTS: list[tuple[dict[str, Any], bool]] = [
    ({"command": COMMAND, "text": ""}, True),
    ({"command": "/other", "text": ""}, False),
    *(
        ({"type": "event_callback", "event": {"type": event.partition(".")[0], "channel": "C1"}}, True)
        for event in (*EVENTS, *MESSAGE_EVENTS)
    ),
    ({"type": "event_callback", "event": {"type": "message", "subtype": "file_share", "channel": "D1"}}, True),
    ({"type": "event_callback", "event": {"type": "channel_archive", "channel": "C1"}}, False),
    ({"type": "block_actions", "actions": [{"type": "button", "action_id": "undo", "block_id": "b"}]}, True),
    ({"type": "block_suggestion", "action_id": "contact", "block_id": "b", "value": "a"}, True),
    ({"type": "view_submission", "view": {"type": "modal", "callback_id": "set_score", "id": "V1"}}, True),
    ({"type": "message_action", "callback_id": SHORTCUT}, True),
    ({"type": "message_action", "callback_id": "any"}, False),
    ({"type": "shortcut", "callback_id": "any"}, False),  # none is in the manifest
]


@pytest.mark.parametrize(("body", "is_taken"), REQUESTS, ids=lambda value: json.dumps(value)[:60])
async def test_what_the_manifest_names_is_what_the_app_takes(body: dict[str, Any], is_taken: bool) -> None:
    """The app handles the command, the events and the interactions in the manifest, and no others."""
    recorder = Recorder()
    authorization = AuthorizeResult(enterprise_id=None, team_id="T1", bot_id="B1", bot_user_id="U0", bot_token="xoxb-1")
    app: AsyncApp = make_bolt(cast(Dispatcher, recorder), client=AsyncWebClient(token="xoxb-1"), known=authorization)
    everywhere = {"team": {"id": "T1"}, "team_id": "T1", "user": {"id": "U1"}, "user_id": "U1", "api_app_id": "A1"}
    request = AsyncBoltRequest(body=json.dumps(everywhere | body), headers={"content-type": ["application/json"]})
    answer = await app.async_dispatch(request)

    assert answer.status == (200 if is_taken else 404)
    if is_taken:
        async with asyncio.timeout(30):  # Bolt acknowledges an event before it is handled
            await recorder.called.wait()
    assert len(recorder.taken) == is_taken


def test_the_manifest_for_an_address() -> None:
    """For HTTP all request URLs are the service's, and commands carry mentions as ids."""
    document = manifest("https://scores.example.com/", socket_mode=False)

    (command,) = document["features"]["slash_commands"]
    assert (command["command"], command["url"], command["should_escape"]) == ("/score", ADDRESS, True)
    scopes = document["oauth_config"]["scopes"]  # Slack lists the optional ones twice
    assert scopes == {"bot": [*SCOPES, *OPTIONAL_SCOPES], "bot_optional": list(OPTIONAL_SCOPES)}
    events = [*EVENTS, *MESSAGE_EVENTS]
    assert document["settings"]["event_subscriptions"] == {"request_url": ADDRESS, "bot_events": events}
    assert document["settings"]["interactivity"] == {
        "is_enabled": True,
        "request_url": ADDRESS,
        "message_menu_options_url": ADDRESS,  # without it Slack cannot fill the app's menus
    }
    assert document["settings"]["socket_mode_enabled"] is False
    # Slack's limits
    assert len(document["display_information"]["name"]) <= 35
    assert len(document["display_information"]["description"]) <= 140


def test_the_manifest_for_socket_mode() -> None:
    """For Socket Mode the manifest has no URLs and is otherwise the same."""
    document = manifest("", socket_mode=True)

    assert "http" not in json.dumps(document)
    assert document["settings"]["socket_mode_enabled"] is True
    assert document["settings"]["interactivity"] == {"is_enabled": True}
    assert document["settings"]["event_subscriptions"] == {"bot_events": [*EVENTS, *MESSAGE_EVENTS]}
    other = manifest("https://scores.example.com", socket_mode=False)
    assert document["oauth_config"] == other["oauth_config"]
    assert document["features"]["slash_commands"][0]["command"] == COMMAND


def test_the_manifest_with_the_tools() -> None:
    """With the tools, Slackbot may connect to them, signed by Slack; nothing else of the manifest changes."""
    without, document = (
        manifest("https://scores.example.com/", socket_mode=False, with_mcp=on) for on in (False, True)
    )
    servers = document.pop("mcp_servers")
    scopes = document["oauth_config"]["scopes"]["bot"]

    assert servers == {"contact-score": {"url": "https://scores.example.com/mcp", "auth_type": "slack_identity_auth"}}
    scopes.remove("mcp:connect")
    assert document == without


def test_the_manifest_without_messages() -> None:
    """The app's messages can be written to only if the app gets what is written, and mentions of it."""
    document, without = (manifest("", socket_mode=True, with_messages=on) for on in (True, False))
    is_read_only = "messages_tab_read_only_enabled"
    homes = [each["features"]["app_home"].pop(is_read_only) for each in (document, without)]
    events = [each["settings"]["event_subscriptions"].pop("bot_events") for each in (document, without)]
    scopes = [each["oauth_config"].pop("scopes") for each in (document, without)]

    assert homes == [False, True]
    assert set(events[0]) - set(events[1]) == {"message.im", "app_mention"}
    assert {name: set(scopes[0][name]) - set(scopes[1][name]) for name in scopes[0]} == {
        "bot": {"app_mentions:read"}, "bot_optional": {"app_mentions:read"},
    }  # fmt: skip  # im:history also finds messages that were posted already
    assert document == without


@pytest.mark.slow
async def test_the_command_prints_it() -> None:
    """The command prints the document; a URL that Slack cannot reach is a usage error."""
    env = environment(None)
    url = "https://scores.example.com"
    by_option, with_tools, silent, set_up, socket, bare, plain = await asyncio.gather(
        run("manifest", "--public-url", url, env=env),
        run("manifest", "--public-url", url, "--with-mcp", env=env),
        run("manifest", "--public-url", url, "--no-messages", env=env),
        run("manifest", env={**env, "CONTACT_SCORE_PUBLIC_URL": url}),
        run("manifest", "--socket-mode", env=env),
        run("manifest", env=env),
        run("manifest", "--public-url", "http://scores.example.com", env=env),
    )

    assert by_option.document == set_up.document == manifest(url, socket_mode=False)
    assert with_tools.document == manifest(url, socket_mode=False, with_mcp=True)
    assert silent.document == manifest(url, socket_mode=False, with_messages=False)
    assert socket.document == manifest("", socket_mode=True)
    for result in (bare, plain):
        assert (result.code, result.out) == (2, "")
        assert "--public-url https://scores.example.com" in " ".join(result.err.replace("│", " ").split())
