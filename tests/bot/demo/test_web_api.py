"""Call every method of the sandbox with Slack's own client, unmodified."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.demo import Channel, Sandbox, SlackUser
from bot.demo.methods import METHODS
from tests.bot.demo.product import Product, button, modal, section


@dataclass(frozen=True)
class Stage:
    """The objects that some calls require."""

    ts: str
    view: str
    triggers: list[str]
    file: str


Call = Callable[[AsyncWebClient, Stage], Awaitable[AsyncSlackResponse]]
HOME = {"type": "home", "blocks": [section()]}

CALLS: dict[str, Call] = {
    "api.test": lambda client, stage: client.api_test(foo="bar"),
    "apps.connections.open": lambda client, stage: client.apps_connections_open(app_token="xapp-app"),
    "auth.test": lambda client, stage: client.auth_test(),
    "bots.info": lambda client, stage: client.bots_info(bot="B0BOT"),
    "chat.delete": lambda client, stage: client.chat_delete(channel="C0SALES", ts=stage.ts),
    "chat.getPermalink": lambda client, stage: client.chat_getPermalink(channel="C0SALES", message_ts=stage.ts),
    "chat.postEphemeral": lambda client, stage: client.chat_postEphemeral(
        channel="C0SALES", user="U0REP", text="For you"
    ),
    "chat.postMessage": lambda client, stage: client.chat_postMessage(channel="#sales", text="Hi", blocks=[section()]),
    "chat.update": lambda client, stage: client.chat_update(channel="C0SALES", ts=stage.ts, text="Changed"),
    "conversations.history": lambda client, stage: client.conversations_history(channel="C0SALES", limit=1),
    "conversations.info": lambda client, stage: client.conversations_info(channel="C0SALES", include_num_members=True),
    "conversations.join": lambda client, stage: client.conversations_join(channel="C0GENERAL"),
    "conversations.list": lambda client, stage: client.conversations_list(types="public_channel,private_channel,im"),
    "conversations.members": lambda client, stage: client.conversations_members(channel="C0SALES"),
    "conversations.open": lambda client, stage: client.conversations_open(users=["U0REP"]),
    "conversations.replies": lambda client, stage: client.conversations_replies(channel="C0SALES", ts=stage.ts),
    "files.completeUploadExternal": lambda client, stage: client.files_completeUploadExternal(
        files=[{"id": stage.file, "title": "A"}]
    ),
    "files.delete": lambda client, stage: client.files_delete(file=stage.file),
    "files.getUploadURLExternal": lambda client, stage: client.files_getUploadURLExternal(
        filename="chart.png", length=3
    ),
    "reactions.add": lambda client, stage: client.reactions_add(channel="C0SALES", timestamp=stage.ts, name="tada"),
    "team.info": lambda client, stage: client.team_info(),
    "users.conversations": lambda client, stage: client.users_conversations(user="U0GUEST"),
    "users.info": lambda client, stage: client.users_info(user="U0GUEST"),
    "users.list": lambda client, stage: client.users_list(),
    "users.lookupByEmail": lambda client, stage: client.users_lookupByEmail(email="Jane@Acme.example"),
    "views.open": lambda client, stage: client.views_open(trigger_id=stage.triggers[0], view=modal()),
    "views.publish": lambda client, stage: client.views_publish(user_id="U0REP", view=HOME),
    "views.push": lambda client, stage: client.views_push(trigger_id=stage.triggers[1], view=modal()),
    "views.update": lambda client, stage: client.views_update(view_id=stage.view, view=modal(section("Changed"))),
}


async def trigger(sandbox: Sandbox, product: Product, user: str = "U0REP") -> str:
    await sandbox.command("/score", "help", user=user, channel="C0SALES")
    return str(product.last.fields["trigger_id"])


async def post_message(client: AsyncWebClient, *blocks: dict[str, Any], channel: str = "C0SALES") -> str:
    answer = await client.chat_postMessage(channel=channel, text="Hello", blocks=list(blocks) or None)
    return str(answer["ts"])


@pytest.fixture
async def stage(sandbox: Sandbox, product: Product, client: AsyncWebClient) -> Stage:
    view = await client.views_open(trigger_id=await trigger(sandbox, product), view=modal())
    upload = await client.files_getUploadURLExternal(filename="chart.png", length=3)
    async with aiohttp.ClientSession() as session, session.post(str(upload["upload_url"]), data=b"PNG") as answer:
        assert answer.status == 200
    triggers = [await trigger(sandbox, product), await trigger(sandbox, product)]
    return Stage(await post_message(client), str(view["view"]["id"]), triggers, str(upload["file_id"]))


def test_every_method_offered_is_called_here() -> None:
    """The table above includes every method of the sandbox."""
    assert set(CALLS) == set(METHODS)


@pytest.mark.parametrize("method", CALLS)
async def test_the_sdk_is_answered(sandbox: Sandbox, client: AsyncWebClient, stage: Stage, method: str) -> None:
    """Each method answers the SDK's call, and the call is recorded without its token."""
    answer = await CALLS[method](client, stage)

    assert answer["ok"] is True
    assert (sandbox.calls[-1].method, sandbox.calls[-1].answer["ok"]) == (method, True)
    assert "token" not in sandbox.calls[-1].arguments


async def test_who_the_app_is(client: AsyncWebClient, sandbox: Sandbox) -> None:
    """auth.test returns the app's user, bot and team, and the header lists the scopes."""
    answer = await client.auth_test()

    assert answer.data == {
        "ok": True,
        "url": f"{sandbox.url}/",
        "team": "Acme",
        "user": "contact_score",
        "team_id": "T0DEMO",
        "user_id": "U0BOT",
        "bot_id": "B0BOT",
        "is_enterprise_install": False,
    }
    assert "chat:write" in answer.headers["x-oauth-scopes"].split(",")


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


async def test_a_shared_channel_says_so(client: AsyncWebClient, sandbox: Sandbox) -> None:
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
    second = await client.conversations_open(users="U0JANE", return_im=True)
    answer = await client.chat_postMessage(channel="U0JANE", text="Hello Jane")

    assert first["channel"]["id"] == second["channel"]["id"] == answer["channel"] == "D0JANE"
    assert second["channel"]["user"] == "U0JANE"


async def test_lists_come_in_pages(client: AsyncWebClient) -> None:
    """The SDK's iteration over cursors returns each person once."""
    names = [person["id"] async for page in await client.users_list(limit=2) for person in page["members"]]

    assert names == ["U0REP", "U0ADMIN", "U0JANE", "U0GUEST", "U0OUT", "U0BOT"]


async def test_history_is_newest_first_and_shows_metadata_when_asked(client: AsyncWebClient) -> None:
    """A message can be found by its metadata; an ephemeral message cannot."""
    metadata = {"event_type": "followup", "event_payload": {"id": 7}}
    old = await post_message(client)
    await client.chat_postMessage(channel="C0SALES", text="Claim it", metadata=metadata)
    await client.chat_postEphemeral(channel="C0SALES", user="U0REP", text="Nobody else")

    plain = await client.conversations_history(channel="C0SALES", oldest=old)
    full = await client.conversations_history(channel="C0SALES", oldest=old, inclusive=True, include_all_metadata=True)

    assert [(m["text"], m.get("metadata")) for m in plain["messages"]] == [("Claim it", None)]
    assert [(m["text"], m.get("metadata")) for m in full["messages"]] == [("Claim it", metadata), ("Hello", None)]


async def test_a_message_lives_and_goes(client: AsyncWebClient, sandbox: Sandbox) -> None:
    """A message that is posted, edited, reacted to and deleted looks the same for everybody."""
    ts = await post_message(client, section("Hello", accessory=button()))
    await client.chat_update(channel="C0SALES", ts=ts, text="Claimed by <@U0REP>")
    await client.reactions_add(channel="C0SALES", timestamp=ts, name="eyes")
    message = sandbox.messages("C0SALES", "U0JANE")[-1]
    await client.chat_delete(channel="C0SALES", ts=ts)

    assert (message.id, message.text, message.blocks, message.edited) == (ts, "Claimed by <@U0REP>", (), True)
    assert message.reactions == (("eyes", "U0BOT"),)
    assert ts not in [message.ts for message in sandbox.messages("C0SALES", "U0JANE")]


async def test_an_ephemeral_message_is_seen_by_one(client: AsyncWebClient, sandbox: Sandbox) -> None:
    """Only its recipient sees an ephemeral message."""
    await client.chat_postEphemeral(channel="C0SALES", user="U0REP", text="Psst")

    assert (sandbox.messages("C0SALES", "U0REP")[-1].text, sandbox.messages("C0SALES", "U0REP")[-1].ephemeral) == (
        "Psst",
        True,
    )
    assert "Psst" not in [message.text for message in sandbox.messages("C0SALES", "U0JANE")]


async def test_a_message_is_written_out_in_full(client: AsyncWebClient) -> None:
    """The history shows edits, reactions and files; replies appear only in their thread."""
    first = await post_message(client)
    reply = str((await client.chat_postMessage(channel="C0SALES", text="A reply", thread_ts=first))["ts"])
    await client.chat_update(channel="C0SALES", ts=reply, text="An edited reply")
    await client.reactions_add(channel="C0SALES", timestamp=reply, name="tada")
    file = await client.files_upload_v2(channel="C0SALES", content="a,b", filename="a.csv", initial_comment="See")
    history = await client.conversations_history(channel="C0SALES", oldest=first)
    (shared,) = history["messages"]
    began, thread_reply = (await client.conversations_replies(channel="C0SALES", ts=first))["messages"]

    assert (began["ts"], began["text"]) == (first, "Hello")
    assert (shared["text"], shared["files"]) == ("See", [{"id": file["file"]["id"], "name": "a.csv"}])
    assert (thread_reply["text"], thread_reply["thread_ts"], thread_reply["edited"]["user"]) == (
        "An edited reply",
        first,
        "U0BOT",
    )
    assert thread_reply["reactions"] == [{"name": "tada", "users": ["U0BOT"], "count": 1}]


async def test_uploads_are_held_to_what_was_announced(client: AsyncWebClient, sandbox: Sandbox) -> None:
    """A file is uploaded once, raw or in a form, with the announced length; only images are shown."""
    upload = await client.files_getUploadURLExternal(filename="a.html", length=3)
    url, name = str(upload["upload_url"]), str(upload["file_id"])
    form = aiohttp.FormData()
    form.add_field("file", b"<b>", filename="a.html")
    async with aiohttp.ClientSession() as session:
        early = await session.get(f"{sandbox.url}/files/{name}")
        short = await session.post(url, data=b"<b")
        whole = await session.post(url, data=form)
        await client.files_completeUploadExternal(files=[{"id": name, "title": "A"}])
        again = await session.post(url, data=b"<i>")
        file = await session.get(f"{sandbox.url}/files/{name}")

        assert [response.status for response in (early, short, whole, again, file)] == [404, 400, 200, 404, 200]
        assert (await file.read(), file.content_type) == (b"<b>", "application/octet-stream")


async def test_a_picture_is_shown_once_it_was_looked_at(client: AsyncWebClient, sandbox: Sandbox) -> None:
    """A block shows an uploaded image, but not at once, and no other file."""

    async def refusal(name: str) -> object:
        picture = {"type": "image", "slack_file": {"id": name}, "alt_text": "A chart"}
        blocks: list[dict[str, Any]] = [{"type": "divider"}, picture]
        try:
            await client.chat_postMessage(channel="C0SALES", text="A chart", blocks=blocks)
        except SlackApiError as error:
            return error.response["error"], error.response["errors"]
        return None

    sandbox.world.looking_seconds = 60
    picture = (await client.files_upload_v2(content=b"PNG", filename="a.png"))["file"]["id"]
    text = (await client.files_upload_v2(content=b"a,b", filename="a.csv"))["file"]["id"]
    begun = str((await client.files_getUploadURLExternal(filename="b.png", length=3))["file_id"])
    early = await refusal(picture)
    sandbox.clock.advance(61)
    late = [await refusal(name) for name in (picture, text, begun, "F0NOWHERE")]

    expected = ("invalid_blocks", ["invalid slack file [json-pointer:/blocks/1/slack_file]"])
    assert (early, late) == (expected, [None, expected, expected, expected])
    assert [message.files for message in sandbox.messages("C0SALES", "U0REP")[-1:]] == [()]  # shared with no channel


async def test_a_permalink_leads_to_the_page(client: AsyncWebClient, sandbox: Sandbox) -> None:
    """A permalink opens the sandbox's page, where real Slack would open the channel."""
    link = await client.chat_getPermalink(channel="C0SALES", message_ts=await post_message(client))
    async with aiohttp.ClientSession() as session:
        answer = await session.get(str(link["permalink"]), allow_redirects=False)

        assert (answer.status, answer.headers["Location"]) == (302, "/?channel=C0SALES")


async def test_nonsense_is_no_argument(sandbox: Sandbox) -> None:
    """A body that is not JSON counts as no arguments."""
    headers = {"Authorization": "Bearer xoxb-bot", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as session:
        answer = await session.post(f"{sandbox.url}/api/users.info", data=b"{")

        assert (await answer.json())["error"] == "invalid_arguments"


async def test_a_file_is_uploaded_in_three_steps(client: AsyncWebClient, sandbox: Sandbox) -> None:
    """The SDK's files_upload_v2 posts a message with the file, and its bytes can be downloaded."""
    answer = await client.files_upload_v2(
        channel="C0SALES", content=b"\x89PNG", filename="history.png", title="History"
    )
    message = sandbox.messages("C0SALES", "U0REP")[-1]
    async with aiohttp.ClientSession() as session, session.get(answer["file"]["url_private"]) as file:
        content, kind = await file.read(), file.content_type

    assert message.files == (answer["file"]["id"],)
    assert (content, kind) == (b"\x89PNG", "image/png")


REFUSED: list[tuple[str, Call, str]] = [
    ("an unknown user", lambda client, stage: client.users_info(user="U0NOBODY"), "user_not_found"),
    ("no user", lambda client, stage: client.users_info(user=""), "invalid_arguments"),
    ("an unknown address", lambda client, stage: client.users_lookupByEmail(email="x@acme.example"), "users_not_found"),
    (
        "a foreign address",
        lambda client, stage: client.users_lookupByEmail(email="olga@elsewhere.example"),
        "users_not_found",
    ),
    ("a bad cursor", lambda client, stage: client.users_list(cursor="nonsense!"), "invalid_cursor"),
    ("a bad limit", lambda client, stage: client.users_list(limit=-1), "invalid_arguments"),
    ("an unknown team", lambda client, stage: client.team_info(team="T0OTHER"), "team_not_found"),
    ("an unknown bot", lambda client, stage: client.bots_info(bot="B0OTHER"), "bot_not_found"),
    ("an error asked for", lambda client, stage: client.api_test(error="my_error"), "my_error"),
    ("an unknown channel", lambda client, stage: client.conversations_info(channel="C0NOWHERE"), "channel_not_found"),
    (
        "no such thread",
        lambda client, stage: client.conversations_replies(channel="C0SALES", ts="1.2"),
        "thread_not_found",
    ),
    (
        "a time that is none",
        lambda client, stage: client.conversations_history(channel="C0SALES", oldest="x"),
        "invalid_ts_oldest",
    ),
    ("a bad page", lambda client, stage: client.users_list(cursor="YmVmb3JlOjI="), "invalid_cursor"),
    (
        "an unseen private channel",
        lambda client, stage: client.conversations_info(channel="C0SECRET"),
        "channel_not_found",
    ),
    ("a strange type", lambda client, stage: client.conversations_list(types="club"), "invalid_types"),
    (
        "a channel the app is not in",
        lambda client, stage: client.chat_postMessage(channel="general", text="Hi"),
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
    ("two people", lambda client, stage: client.conversations_open(users="U0REP,U0JANE"), "too_many_users"),
    ("a bot", lambda client, stage: client.conversations_open(users="U0BOT"), "cannot_dm_bot"),
    ("a stranger", lambda client, stage: client.conversations_open(users="U0NOBODY"), "user_not_found"),
    (
        "joining what cannot be",
        lambda client, stage: client.conversations_join(channel="D0REP"),
        "method_not_supported_for_channel_type",
    ),
    ("joining what is over", lambda client, stage: client.conversations_join(channel="C0OLD"), "is_archived"),
    ("no such file", lambda client, stage: client.files_completeUploadExternal(files=[{"id": "F9"}]), "file_not_found"),
    ("no file", lambda client, stage: client.files_completeUploadExternal(files=[]), "invalid_arguments"),
    ("no length", lambda client, stage: client.files_getUploadURLExternal(filename="x", length=0), "invalid_arguments"),
    (
        "no emoji",
        lambda client, stage: client.reactions_add(channel="C0SALES", timestamp=stage.ts, name="?"),
        "invalid_name",
    ),
    ("no such view", lambda client, stage: client.views_update(view_id="V9", view=modal()), "not_found"),
    ("no such name", lambda client, stage: client.views_update(external_id="mine", view=modal()), "not_found"),
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
        lambda client, stage: client.views_open(trigger_id=stage.triggers[0], view=HOME),
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
    (
        "broken JSON",
        lambda client, stage: client.api_call("chat.postMessage", data={"channel": "C0SALES", "blocks": "["}),
        "invalid_blocks_format",
    ),
]


@pytest.mark.parametrize(("call", "code"), [pytest.param(call, code, id=name) for name, call, code in REFUSED])
async def test_a_refusal_has_slacks_code(
    sandbox: Sandbox, client: AsyncWebClient, stage: Stage, call: Call, code: str
) -> None:
    """Refused calls return Slack's own error codes."""
    sandbox.world.add_channel(Channel(id="C0SECRET", name="secret", is_private=True))
    sandbox.world.add_channel(Channel(id="C0OLD", name="old", is_archived=True, members=["U0BOT"]))
    sandbox.world.im("U0REP")

    with pytest.raises(SlackApiError) as error:
        await call(client, stage)

    assert (error.value.response.status_code, error.value.response["error"]) == (200, code)


async def test_a_persons_message_is_not_the_apps(sandbox: Sandbox, client: AsyncWebClient) -> None:
    """The app can change and delete only its own messages, and can react once."""
    other_ts = sandbox.messages("C0SALES", "U0REP")[-1].ts
    await client.reactions_add(channel="C0SALES", timestamp=other_ts, name="eyes")
    codes = []
    for call in (
        client.chat_update(channel="C0SALES", ts=other_ts, text="Mine now"),
        client.chat_delete(channel="C0SALES", ts=other_ts),
        client.reactions_add(channel="C0SALES", timestamp=other_ts, name="eyes"),
    ):
        with pytest.raises(SlackApiError) as error:
            await call
        codes.append(error.value.response["error"])

    assert codes == ["cant_update_message", "cant_delete_message", "already_reacted"]


@pytest.mark.parametrize(
    ("scope", "call"),
    [
        ("chat:write", lambda client: client.chat_postMessage(channel="C0SALES", text="Hi")),
        ("channels:read", lambda client: client.conversations_info(channel="C0SALES")),
        ("channels:history", lambda client: client.conversations_history(channel="C0SALES")),
        ("im:read", lambda client: client.conversations_list(types="im")),
    ],
)
async def test_a_scope_that_was_not_granted(
    sandbox: Sandbox, client: AsyncWebClient, scope: str, call: Callable[[AsyncWebClient], Awaitable[object]]
) -> None:
    """Without its scope a method returns the name of the missing scope."""
    sandbox.world.scopes.discard(scope)

    with pytest.raises(SlackApiError) as error:
        await call(client)

    assert (error.value.response["error"], error.value.response["needed"]) == ("missing_scope", scope)


async def test_addresses_need_a_scope(sandbox: Sandbox, client: AsyncWebClient) -> None:
    """users.info omits the email address without users:read.email."""
    sandbox.world.scopes.discard("users:read.email")

    answer = await client.users_info(user="U0REP")

    assert "email" not in answer["user"]["profile"]


async def test_arguments_come_in_every_way(sandbox: Sandbox) -> None:
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


async def test_a_world_can_be_changed(sandbox: Sandbox, client: AsyncWebClient) -> None:
    """A test can add people and change existing ones."""
    sandbox.world.add_person(SlackUser(id="U0NEW", name="nora", real_name="Nora New", is_ultra_restricted=True))
    sandbox.world.people["U0JANE"].deleted = True
    new = await client.users_info(user="U0NEW")
    gone = await client.users_info(user="U0JANE")

    assert (new["user"]["is_restricted"], new["user"]["is_ultra_restricted"]) == (True, True)
    assert gone["user"]["deleted"] is True
