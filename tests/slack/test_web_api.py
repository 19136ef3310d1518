"""Call every method of the sandbox with Slack's own client, unmodified."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.demo.methods import METHODS
from bot.demo.world import Channel
from tests.slack.foreign import ForeignSlack
from tests.slack.product import Product, button, modal, section


@dataclass(frozen=True)
class Stage:
    """The objects that some calls require."""

    ts: str
    view: str
    trigger: str
    file: str


Call = Callable[[AsyncWebClient, Stage], Awaitable[AsyncSlackResponse]]
HOME = {"type": "home", "blocks": [section()]}

CALLS: dict[str, Call] = {
    "auth.test": lambda client, stage: client.auth_test(),
    "chat.delete": lambda client, stage: client.chat_delete(channel="C0SALES", ts=stage.ts),
    "chat.getPermalink": lambda client, stage: client.chat_getPermalink(channel="C0SALES", message_ts=stage.ts),
    "chat.postEphemeral": lambda client, stage: client.chat_postEphemeral(
        channel="C0SALES", user="U0REP", text="For you"
    ),
    "chat.postMessage": lambda client, stage: client.chat_postMessage(channel="C0SALES", text="Hi", blocks=[section()]),
    "chat.update": lambda client, stage: client.chat_update(channel="C0SALES", ts=stage.ts, text="Changed"),
    "conversations.history": lambda client, stage: client.conversations_history(channel="C0SALES", limit=1),
    "conversations.info": lambda client, stage: client.conversations_info(channel="C0SALES"),
    "conversations.members": lambda client, stage: client.conversations_members(channel="C0SALES"),
    "conversations.open": lambda client, stage: client.conversations_open(users="U0REP"),
    "conversations.replies": lambda client, stage: client.conversations_replies(channel="C0SALES", ts=stage.ts),
    "files.completeUploadExternal": lambda client, stage: client.files_completeUploadExternal(
        files=[{"id": stage.file, "title": "A"}]
    ),
    "files.delete": lambda client, stage: client.files_delete(file=stage.file),
    "files.getUploadURLExternal": lambda client, stage: client.files_getUploadURLExternal(
        filename="chart.png", length=3
    ),
    "usergroups.list": lambda client, stage: client.usergroups_list(),
    "usergroups.users.list": lambda client, stage: client.usergroups_users_list(usergroup="S0SALES"),
    "users.info": lambda client, stage: client.users_info(user="U0GUEST"),
    "users.list": lambda client, stage: client.users_list(),
    "users.lookupByEmail": lambda client, stage: client.users_lookupByEmail(email="Jane@Acme.example"),
    "views.open": lambda client, stage: client.views_open(trigger_id=stage.trigger, view=modal()),
    "views.publish": lambda client, stage: client.views_publish(user_id="U0REP", view=HOME),
    "views.update": lambda client, stage: client.views_update(view_id=stage.view, view=modal(section("Changed"))),
}


async def trigger(sandbox: ForeignSlack, product: Product, user: str = "U0REP") -> str:
    await sandbox.command("/score", "help", user=user, channel="C0SALES")
    return str(product.last.fields["trigger_id"])


async def post_message(client: AsyncWebClient, *blocks: dict[str, Any], channel: str = "C0SALES") -> str:
    answer = await client.chat_postMessage(channel=channel, text="Hello", blocks=list(blocks) or None)
    return str(answer["ts"])


@pytest.fixture
async def stage(sandbox: ForeignSlack, product: Product, client: AsyncWebClient) -> Stage:
    view = await client.views_open(trigger_id=await trigger(sandbox, product), view=modal())
    upload = await client.files_getUploadURLExternal(filename="chart.png", length=3)
    async with aiohttp.ClientSession() as session, session.post(str(upload["upload_url"]), data=b"PNG") as answer:
        assert answer.status == 200
    file, ts = str(upload["file_id"]), await post_message(client)
    return Stage(ts, str(view["view"]["id"]), await trigger(sandbox, product), file)


def test_every_method_offered_is_called_here() -> None:
    """The table above includes every method of the sandbox."""
    assert set(CALLS) == set(METHODS)


@pytest.mark.parametrize("method", CALLS)
async def test_the_sdk_is_answered(sandbox: ForeignSlack, client: AsyncWebClient, stage: Stage, method: str) -> None:
    """Each method answers the SDK's call, and the call is recorded without its token."""
    answer = await CALLS[method](client, stage)

    assert answer["ok"] is True
    assert (sandbox.calls[-1].method, sandbox.calls[-1].answer["ok"]) == (method, True)
    assert "token" not in sandbox.calls[-1].arguments


@pytest.mark.parametrize(
    ("user", "facts"),
    [
        ("U0REP", {"is_restricted": False, "team_id": "T0DEMO", "tz": "Europe/Berlin", "is_admin": False}),
        ("U0ADMIN", {"is_restricted": False, "is_admin": True, "is_owner": True}),
        ("U0GUEST", {"is_restricted": True, "is_ultra_restricted": False}),
        ("U0OUT", {"is_stranger": True, "team_id": "T0OTHER"}),
    ],
)
async def test_what_is_known_of_people(client: AsyncWebClient, user: str, facts: dict[str, object]) -> None:
    """Guests and people of another organization can be told from members."""
    answer = await client.users_info(user=user)

    assert {key: answer["user"][key] for key in facts} == facts


async def test_a_shared_channel_says_so(client: AsyncWebClient, sandbox: ForeignSlack) -> None:
    """conversations.info tells shared channels from own channels, also after a channel becomes shared."""
    shared = await client.conversations_info(channel="C0SHARED")
    own = await client.conversations_info(channel="C0SALES")
    sandbox.world.channels["C0SALES"].is_pending_ext_shared = True
    pending = await client.conversations_info(channel="C0SALES")

    assert (shared["channel"]["is_ext_shared"], shared["channel"]["connected_team_ids"]) == (True, ["T0OTHER"])
    assert (own["channel"]["is_ext_shared"], own["channel"]["is_pending_ext_shared"]) == (False, False)
    assert pending["channel"]["is_pending_ext_shared"] is True


async def test_direct_messages_are_opened_once(client: AsyncWebClient) -> None:
    """conversations.open returns the same channel every time, and a message to the person is posted there."""
    first = await client.conversations_open(users="U0JANE")
    second = await client.conversations_open(users="U0JANE")
    direct = await client.conversations_info(channel="D0JANE")

    assert first["channel"]["id"] == second["channel"]["id"] == direct["channel"]["id"] == "D0JANE"
    assert direct["channel"]["user"] == "U0JANE"


async def test_history_is_newest_first_and_shows_metadata_when_asked(client: AsyncWebClient) -> None:
    """A message can be found by its metadata; an ephemeral message cannot."""
    metadata = {"event_type": "followup", "event_payload": {"id": 7}}
    old = await post_message(client)
    first = await client.chat_postMessage(channel="C0SALES", text="Claim it", metadata=metadata)
    await client.chat_postMessage(channel="C0SALES", text="And this")
    await client.chat_postMessage(channel="C0SALES", text="Gladly", thread_ts=str(first["ts"]))
    await client.chat_postEphemeral(channel="C0SALES", user="U0REP", text="Nobody else")

    plain = await client.conversations_history(channel="C0SALES", oldest=old)
    full = await client.conversations_history(channel="C0SALES", oldest=old, include_all_metadata=True)
    thread = await client.conversations_replies(channel="C0SALES", ts=str(first["ts"]))

    assert [(m["text"], m.get("metadata")) for m in plain["messages"]] == [("And this", None), ("Claim it", None)]
    assert [(m["text"], m.get("metadata")) for m in full["messages"]] == [("And this", None), ("Claim it", metadata)]
    assert [m["text"] for m in thread["messages"]] == ["Claim it", "Gladly"]


async def test_a_message_lives_and_goes(client: AsyncWebClient, sandbox: ForeignSlack) -> None:
    """A message that is posted, edited and deleted looks the same for everybody."""
    ts = await post_message(client, section("Hello", accessory=button()))
    await client.chat_update(channel="C0SALES", ts=ts, text="Claimed by <@U0REP>")
    message = sandbox.messages("C0SALES", "U0JANE")[-1]
    await client.chat_delete(channel="C0SALES", ts=ts)

    assert (message.id, message.text, message.blocks, message.edited) == (ts, "Claimed by <@U0REP>", (), True)
    assert ts not in [message.ts for message in sandbox.messages("C0SALES", "U0JANE")]


async def test_an_ephemeral_message_is_seen_by_one(client: AsyncWebClient, sandbox: ForeignSlack) -> None:
    """Only its recipient sees an ephemeral message."""
    await client.chat_postEphemeral(channel="C0SALES", user="U0REP", text="Psst")

    assert (sandbox.messages("C0SALES", "U0REP")[-1].text, sandbox.messages("C0SALES", "U0REP")[-1].ephemeral) == (
        "Psst",
        True,
    )
    assert "Psst" not in [message.text for message in sandbox.messages("C0SALES", "U0JANE")]


async def test_a_picture_is_shown_once_it_was_looked_at(client: AsyncWebClient, sandbox: ForeignSlack) -> None:
    """A block shows an uploaded image, but not at once, and no other file."""

    async def refusal(name: str) -> object:
        picture = {"type": "image", "slack_file": {"id": name}, "alt_text": "A chart"}
        blocks: list[dict[str, Any]] = [{"type": "divider"}, picture]
        try:
            await client.chat_postMessage(channel="C0SALES", text="A chart", blocks=blocks)
        except SlackApiError as error:
            return error.response["error"], error.response["errors"]
        return None

    sandbox.world.picture_delay = 60
    picture = (await client.files_upload_v2(content=b"PNG", filename="a.png"))["file"]["id"]
    text = (await client.files_upload_v2(content=b"a,b", filename="a.csv"))["file"]["id"]
    begun = str((await client.files_getUploadURLExternal(filename="b.png", length=3))["file_id"])
    early = await refusal(picture)
    sandbox.clock.advance(61)
    late = [await refusal(name) for name in (picture, text, begun, "F0NOWHERE")]

    expected = ("invalid_blocks", ["invalid slack file [json-pointer:/blocks/1/slack_file]"])
    assert (early, late) == (expected, [None, expected, expected, expected])


async def test_a_permalink_leads_to_the_page(client: AsyncWebClient, sandbox: ForeignSlack) -> None:
    """A permalink opens the sandbox's page, where real Slack would open the channel."""
    link = await client.chat_getPermalink(channel="C0SALES", message_ts=await post_message(client))
    async with aiohttp.ClientSession() as session:
        answer = await session.get(str(link["permalink"]), allow_redirects=False)

        assert (answer.status, answer.headers["Location"]) == (302, "/?channel=C0SALES")


async def test_a_file_is_uploaded_in_three_steps(client: AsyncWebClient, sandbox: ForeignSlack) -> None:
    """The bytes that the SDK's files_upload_v2 uploads can be downloaded; only images are served as such."""
    picture = await client.files_upload_v2(content=b"\x89PNG", filename="history.png", title="History")
    page = await client.files_upload_v2(content=b"<b>", filename="a.html", title="A")
    begun = await client.files_getUploadURLExternal(filename="b.png", length=3)
    served = []
    async with aiohttp.ClientSession() as session:
        for name in (picture["file"]["id"], page["file"]["id"], begun["file_id"]):
            async with session.get(f"{sandbox.url}/files/{name}") as file:
                served.append((file.status, file.content_type, await file.read()))

    assert served[:2] == [(200, "image/png", b"\x89PNG"), (200, "application/octet-stream", b"<b>")]
    assert served[2][0] == 404


REFUSED: list[tuple[str, Call, str]] = [
    ("an unknown user", lambda client, stage: client.users_info(user="U0NOBODY"), "user_not_found"),
    ("no user", lambda client, stage: client.users_info(user=""), "invalid_arguments"),
    ("an unknown address", lambda client, stage: client.users_lookupByEmail(email="x@acme.example"), "users_not_found"),
    (
        "a foreign address",
        lambda client, stage: client.users_lookupByEmail(email="olga@elsewhere.example"),
        "users_not_found",
    ),
    ("an unknown channel", lambda client, stage: client.conversations_info(channel="C0NOWHERE"), "channel_not_found"),
    (
        "no such thread",
        lambda client, stage: client.conversations_replies(channel="C0SALES", ts="1.2"),
        "thread_not_found",
    ),
    (
        "an unseen private channel",
        lambda client, stage: client.conversations_info(channel="C0SECRET"),
        "channel_not_found",
    ),
    (
        "a channel the app is not in",
        lambda client, stage: client.chat_postMessage(channel="C0GENERAL", text="Hi"),
        "not_in_channel",
    ),
    ("an archived channel", lambda client, stage: client.chat_postMessage(channel="C0OLD", text="Hi"), "is_archived"),
    (
        "nothing to say",
        lambda client, stage: client.api_call("chat.postMessage", json={"channel": "C0SALES"}),
        "no_text",
    ),
    (
        "a message that is not there",
        lambda client, stage: client.chat_update(channel="C0SALES", ts="1.2", text="x"),
        "message_not_found",
    ),
    (
        "what was said is over",
        lambda client, stage: client.chat_update(channel="C0OLD", ts=stage.ts, text="x"),
        "is_inactive",
    ),
    (
        "nobody there",
        lambda client, stage: client.chat_postEphemeral(channel="C0SALES", user="U0OUT", text="x"),
        "user_not_in_channel",
    ),
    ("a bot", lambda client, stage: client.conversations_open(users="U0BOT"), "cannot_dm_bot"),
    ("a stranger", lambda client, stage: client.conversations_open(users="U0NOBODY"), "user_not_found"),
    ("no such file", lambda client, stage: client.files_completeUploadExternal(files=[{"id": "F9"}]), "file_not_found"),
    ("no file", lambda client, stage: client.files_completeUploadExternal(files=[]), "invalid_arguments"),
    ("no such view", lambda client, stage: client.views_update(view_id="V9", view=modal()), "not_found"),
    (
        "an old view",
        lambda client, stage: client.views_update(view_id=stage.view, hash="1.2", view=modal()),
        "hash_conflict",
    ),
    (
        "no such trigger",
        lambda client, stage: client.views_open(trigger_id="1.2.3", view=modal()),
        "invalid_trigger_id",
    ),
    (
        "a home as a modal",
        lambda client, stage: client.views_open(trigger_id=stage.trigger, view=HOME),
        "invalid_arguments",
    ),
    ("a home for nobody", lambda client, stage: client.views_publish(user_id="U9", view=HOME), "user_not_found"),
    ("an unknown method", lambda client, stage: client.api_call("scores.list"), "unknown_method"),
    (
        "the bot's token",
        lambda client, stage: client.apps_connections_open(app_token="xoxb-bot"),
        "not_allowed_token_type",
    ),
    ("another token", lambda client, stage: client.auth_test(token="xoxb-other"), "invalid_auth"),
    ("no token", lambda client, stage: AsyncWebClient(base_url=client.base_url).auth_test(), "not_authed"),
]


@pytest.mark.parametrize(("call", "code"), [pytest.param(call, code, id=name) for name, call, code in REFUSED])
async def test_a_refusal_has_slacks_code(
    sandbox: ForeignSlack, client: AsyncWebClient, stage: Stage, call: Call, code: str
) -> None:
    """Refused calls return Slack's own error codes."""
    sandbox.world.add_channel(Channel(id="C0SECRET", name="secret", is_private=True))
    sandbox.world.add_channel(Channel(id="C0OLD", name="old", is_archived=True, members=["U0BOT"]))
    sandbox.world.im("U0REP")

    with pytest.raises(SlackApiError) as error:
        await call(client, stage)

    assert (error.value.response.status_code, error.value.response["error"]) == (200, code)


@pytest.mark.parametrize(
    ("scope", "call"),
    [
        ("chat:write", lambda client: client.chat_postMessage(channel="C0SALES", text="Hi")),
        ("channels:read", lambda client: client.conversations_info(channel="C0SALES")),
        ("channels:history", lambda client: client.conversations_history(channel="C0SALES")),
        ("im:read", lambda client: client.conversations_info(channel="D0REP")),
        ("groups:read", lambda client: client.conversations_info(channel="C0SECRET")),
    ],
)
async def test_a_scope_that_was_not_granted(
    sandbox: ForeignSlack, client: AsyncWebClient, scope: str, call: Callable[[AsyncWebClient], Awaitable[object]]
) -> None:
    """Without its scope a method returns the name of the missing scope."""
    sandbox.world.scopes.discard(scope)
    sandbox.world.im("U0REP")
    sandbox.world.add_channel(Channel(id="C0SECRET", name="secret", is_private=True, members=["U0BOT"]))

    with pytest.raises(SlackApiError) as error:
        await call(client)

    assert (error.value.response["error"], error.value.response["needed"]) == ("missing_scope", scope)


async def test_the_app_edits_and_deletes_its_own_messages_only(sandbox: ForeignSlack, client: AsyncWebClient) -> None:
    """The app cannot change or delete a message of a person."""
    other_ts = sandbox.messages("C0SALES", "U0REP")[-1].ts
    with pytest.raises(SlackApiError, match="cant_update_message"):
        await client.chat_update(channel="C0SALES", ts=other_ts, text="Mine now")
    with pytest.raises(SlackApiError, match="cant_delete_message"):
        await client.chat_delete(channel="C0SALES", ts=other_ts)


async def test_arguments_come_in_every_way(sandbox: ForeignSlack) -> None:
    """Arguments may come as query, form or JSON, and blocks as a JSON string."""
    url, token = f"{sandbox.url}/api/chat.postMessage", {"Authorization": "Bearer xoxb-bot"}
    blocks = '[{"type":"divider"}]'
    fields = {"channel": "C0SALES", "text": "Hi", "blocks": blocks}
    async with aiohttp.ClientSession() as session:
        answers = [
            await (await session.get(url, params=fields, headers=token)).json(),
            await (await session.post(url, data=fields | {"token": "xoxb-bot"})).json(),
            await (await session.post(url, json=fields, headers=token)).json(),
        ]

    assert [answer["message"]["blocks"][0]["type"] for answer in answers] == ["divider"] * 3
