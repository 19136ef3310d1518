"""Serve the demo page and its requests, on this machine only."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient
from standardwebhooks import Webhook

from bot.demo import Sandbox
from bot.demo.clock import Clock
from bot.demo.page_face import CONTENT_TYPES, PAGE
from tests.slack.product import SIGNING_SECRET, Product, answering, button, field, modal, nothing, option, section

FILES = sorted(path.name for path in PAGE.iterdir() if path.suffix in CONTENT_TYPES)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox(
        app_url="http://127.0.0.1:9",
        signing_secret=SIGNING_SECRET,
        crm_secret="whsec_c2FuZGJveC1zZWNyZXQtc2FuZGJveA==",
    )
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest.fixture
async def browser(sandbox: Sandbox) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(sandbox.url, headers={"X-Sandbox": "1"}) as session:
        yield session


async def act(browser: aiohttp.ClientSession, name: str, **body: Any) -> Any:
    async with browser.post(f"/act/{name}", json=body) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def state(browser: aiohttp.ClientSession, user: str = "U0REP") -> Any:
    async with browser.get("/state", params={"user": user}) as answer:
        return await answer.json()


async def test_the_state_of_a_new_workspace(browser: aiohttp.ClientSession) -> None:
    """One response contains everything that the page draws."""
    page_state = await state(browser)

    assert (page_state["team"], page_state["me"]["real_name"], page_state["me"]["kind"]) == (
        {"id": "T0DEMO", "name": "Acme"},
        "Robin Rep",
        "rep",
    )
    assert [(p["id"], p["kind"]) for p in page_state["people"]] == [
        ("U0REP", "rep"),
        ("U0ADMIN", "admin"),
        ("U0JANE", "member"),
        ("U0GUEST", "guest"),
        ("U0OUT", "outsider"),
    ]
    assert [(channel["id"], channel["kind"], channel["unread"]) for channel in page_state["channels"]] == [
        ("C0GENERAL", "channel", 0),
        ("C0SALES", "channel", 0),
        ("C0SUCCESS", "channel", 0),
        ("C0SHARED", "shared", 0),
        ("D0REP", "im", 0),
    ]
    assert (len(page_state["examples"]), len(page_state["pushes"]), page_state["views"]) == (8, 3, [])
    assert all(line.startswith("/score ") for line in page_state["examples"])
    assert all(json.loads(push["body"]) for push in page_state["pushes"])
    assert page_state["commands"][0]["command"] == "/score"
    assert page_state["messages"]["C0SALES"][0].keys() == {
        *("ts", "channel", "user", "text", "blocks", "ephemeral", "id", "edited", "thread_ts"),
    }


async def test_everybody_sees_their_own(browser: aiohttp.ClientSession) -> None:
    """The outsider sees only the shared channel; an unknown user sees nothing."""
    page_state = await state(browser, "U0OUT")
    async with browser.get("/state?user=U0NOBODY") as answer:
        assert answer.status == 404

    assert [channel["id"] for channel in page_state["channels"]] == ["C0SHARED", "D0OUT"]


async def test_typing_a_command(browser: aiohttp.ClientSession, product: Product) -> None:
    """The answer is an ephemeral message, and is unread until the person reads it."""
    result = await act(browser, "say", user="U0REP", channel="C0SALES", text="/score ada@example.com")
    async with aiohttp.ClientSession() as app:
        await app.post(product.last.fields["response_url"], json={"text": "62", "blocks": [section("62")]})
    page_state = await state(browser)
    message = page_state["messages"]["C0SALES"][-1]
    unread = next(channel["unread"] for channel in page_state["channels"] if channel["id"] == "C0SALES")
    await act(browser, "read", user="U0REP", channel="C0SALES")
    after = await state(browser)

    assert result == {"status": 200, "note": ""}
    assert (message["text"], message["ephemeral"], message["user"]) == (
        "62",
        True,
        {"id": "U0BOT", "name": "Contact Score", "bot": True},
    )
    assert (unread, next(channel["unread"] for channel in after["channels"] if channel["id"] == "C0SALES")) == (1, 0)


async def test_a_command_nobody_answers(browser: aiohttp.ClientSession) -> None:
    """If no product answers, the page shows what Slack would say."""
    result = await act(browser, "say", user="U0REP", channel="C0SALES", text="/score help")

    assert result == {"status": 0, "note": "/score failed with the error dispatch_failed"}


async def test_clicking_in_a_message(browser: aiohttp.ClientSession, product: Product, client: AsyncWebClient) -> None:
    """The page's format of a choice is accepted, with the other fields."""
    select = {"type": "static_select", "action_id": "type", "options": [option("fit")]}
    person = {"type": "users_select", "action_id": "owner"}
    blocks = [{"type": "actions", "block_id": "b", "elements": [select, person, button()]}]
    ts = str((await client.chat_postMessage(channel="C0SALES", text="Hi", blocks=blocks))["ts"])
    chosen = {"selected_option": option("fit")}
    values = {"b": {"type": chosen, "owner": {"selected_user": "U0JANE"}}}
    place = {"user": "U0REP", "handle": ts, "block_id": "b"}
    await act(browser, "click", **place, action_id="type", choice=chosen, values=values)
    first = product.last.fields
    await act(browser, "click", **place, action_id="undo", choice={})

    assert first["actions"][0]["selected_option"] == option("fit")
    assert first["state"]["values"]["b"]["owner"]["selected_user"] == "U0JANE"
    assert product.last.fields["actions"][0]["action_id"] == "undo"


async def test_a_modal_from_the_page(browser: aiohttp.ClientSession, product: Product, client: AsyncWebClient) -> None:
    """Opening, suggesting, choosing, failing, submitting and closing work with the page's requests."""
    await act(browser, "say", user="U0REP", channel="C0SALES", text="/score set")
    contact = field("contact", {"type": "external_select"})
    view = modal(contact, section("Type", block_id="t", accessory=button()), close={"type": "plain_text", "text": "No"})
    await client.views_open(trigger_id=product.last.fields["trigger_id"], view=view)
    drawn_view = (await state(browser))["views"][0]
    product.answer = answering({"options": [option("ada")]})
    place = {"user": "U0REP", "handle": drawn_view["id"], "block_id": "contact", "action_id": "value"}
    offered = await act(browser, "options", **place, value="ad")
    product.answer = nothing
    await act(browser, "click", user="U0REP", handle=drawn_view["id"], block_id="t", action_id="undo")
    missing = await act(browser, "submit", user="U0REP", view=drawn_view["id"], values={})
    product.answer = answering({"response_action": "errors", "errors": {"contact": "Who?"}})
    values = {"contact": {"value": {"selected_option": option("ada")}}}
    wrong = await act(browser, "submit", user="U0REP", view=drawn_view["id"], values=values)
    closed = await act(browser, "close", user="U0REP", view=drawn_view["id"])

    assert (drawn_view["title"], drawn_view["submit"], drawn_view["close"], drawn_view["callback_id"]) == (
        "Set a score",
        "Set",
        "No",
        "set_score",
    )
    assert offered == {"options": [option("ada")]}
    assert missing["errors"] == {"contact": "Please complete this required field."}
    assert wrong == {"status": 200, "note": "", "errors": {"contact": "Who?"}}
    assert (closed["status"], (await state(browser))["views"]) == (200, [])


async def test_the_home_tab_of_the_page(
    browser: aiohttp.ClientSession, product: Product, client: AsyncWebClient
) -> None:
    """The Home tab exists before it is published; opening it notifies the app."""
    empty = (await state(browser))["home"]
    await act(browser, "home", user="U0REP")
    await client.views_publish(user_id="U0REP", view={"type": "home", "blocks": [section("Yours")]})
    home = (await state(browser))["home"]

    assert empty["blocks"][0]["text"]["text"] == "Nothing has been published here yet."
    assert product.last.fields["event"]["type"] == "app_home_opened"
    assert (home["type"], home["blocks"][0]["text"]["text"]) == ("home", "Yours")


async def test_a_sample_push_is_signed(browser: aiohttp.ClientSession, product: Product, sandbox: Sandbox) -> None:
    """The sample push of the CRM is signed with Standard Webhooks, and the page shows request and response."""
    product.answer = answering({"applied": 1})
    pushes = (await state(browser))["pushes"]
    first = await act(browser, "push", body=pushes[0]["body"])
    verified = Webhook(sandbox.crm_secret).verify(product.last.body, product.last.headers)

    assert verified == json.loads(pushes[0]["body"])
    assert product.last.path == "/webhooks/T0DEMO/sample-crm"
    assert (first["answer"]["status"], json.loads(first["answer"]["body"])) == (200, {"applied": 1})
    assert (first["request"]["method"], first["request"]["body"]) == ("POST", pushes[0]["body"])
    assert first["request"]["headers"]["webhook-id"].startswith("msg_")
    assert isinstance(first["ms"], int)


async def test_the_clock_from_the_page(browser: aiohttp.ClientSession, sandbox: Sandbox) -> None:
    """The page can move the clock forward, never back."""
    before = sandbox.clock.now()
    await act(browser, "clock", seconds=3600)
    async with browser.post("/act/clock", json={"seconds": -1}) as answer:
        assert (answer.status, (await answer.json())["error"]) == (400, "The sandbox's clock only goes forward.")

    assert sandbox.clock.now() - before == pytest.approx(3600, abs=5)


async def test_pictures_are_shown(browser: aiohttp.ClientSession, client: AsyncWebClient, sandbox: Sandbox) -> None:
    """An uploaded picture reaches the page with a URL of this machine."""
    name = (await client.files_upload_v2(content=b"\x89PNG", filename="fit.png", title="Fit"))["file"]["id"]
    picture = {"type": "image", "slack_file": {"id": name}, "alt_text": "Fit"}
    await client.chat_postMessage(channel="C0SALES", text="Fit", blocks=[picture])
    message = (await state(browser))["messages"]["C0SALES"][-1]

    assert message["blocks"][0]["image_url"] == f"{sandbox.url}/files/{name}"


async def test_changes_are_streamed(browser: aiohttp.ClientSession, client: AsyncWebClient) -> None:
    """The stream begins with the current state and sends every change."""
    async with browser.get("/changes?user=U0REP") as stream:
        kind = stream.content_type
        first = await stream.content.readuntil(b"\n\n")
        await client.auth_test()
        second = await stream.content.readuntil(b"\n\n")

    assert kind == "text/event-stream"
    assert first == b"event: changed\ndata: 0\n\n"
    assert second == b"event: changed\ndata: 1\n\n"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1:80", ""])
async def test_another_name_is_refused(sandbox: Sandbox, host: str) -> None:
    """A request for another host name, as after DNS rebinding, is refused: page, state and API."""
    async with aiohttp.ClientSession(headers={"Host": host, "X-Sandbox": "1"}) as session:
        answers = [
            await session.get(f"{sandbox.url}/state"),
            await session.post(f"{sandbox.url}/act/clock", json={"seconds": 1}),
            await session.post(f"{sandbox.url}/api/auth.test", headers={"Authorization": "Bearer xoxb-bot"}),
        ]

    assert [answer.status for answer in answers] == [403] * 3


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1234", "[::1]:1234", "[::1]"])
async def test_own_names_are_served(sandbox: Sandbox, host: str) -> None:
    """All host names of this machine are served."""
    async with aiohttp.ClientSession(headers={"Host": host}) as session, session.get(f"{sandbox.url}/state") as answer:
        assert answer.status == 200


async def test_other_pages_cannot_act(sandbox: Sandbox, product: Product) -> None:
    """Requests without the page's own header do nothing."""
    body = {"user": "U0REP", "channel": "C0SALES", "text": "/score"}
    async with aiohttp.ClientSession(sandbox.url) as session, session.post("/act/say", json=body) as answer:
        assert answer.status == 403

    assert product.received == []


@pytest.mark.parametrize("body", [b"not JSON", b"[]", b"{}", b'{"user":"U0NOBODY","channel":"C0SALES","text":"x"}'])
async def test_a_bad_act(browser: aiohttp.ClientSession, body: bytes) -> None:
    """An invalid request is refused with a reason."""
    async with browser.post("/act/say", data=body) as answer:
        assert answer.status == 400
        assert "error" in await answer.json()


async def test_static_files(browser: aiohttp.ClientSession) -> None:
    """Only files in the page's directory are served, with their content type and without caching."""
    for name in ("../server.py", "%2e%2e%2fserver.py", "nothing.css", ".hidden"):
        async with browser.get(f"/page/{name}") as answer:
            assert answer.status == 404, name
    for name in FILES:
        async with browser.get(f"/page/{name}") as answer:
            assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    async with browser.get("/") as index:
        assert (index.status, index.content_type) == (200, "text/html")


async def test_only_loopback() -> None:
    """An address that other machines can reach is refused before the server listens."""
    sandbox = Sandbox(app_url="http://127.0.0.1:9", signing_secret="s")
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.com"):  # noqa: S104 - refused
        with pytest.raises(ValueError, match=r"loopback|does not appear"):
            await sandbox.start(host)


async def test_it_starts_again() -> None:
    """After a stop the server starts again, on IPv4 and IPv6 loopback."""
    sandbox = Sandbox(app_url="http://127.0.0.1:9", signing_secret="s", team_name="Initech")
    for host in ("localhost", "127.0.0.1"):
        url = await sandbox.start(host)
        answer = await AsyncWebClient(token="xoxb-1", base_url=f"{url}/api/").auth_test()
        await sandbox.stop()

        assert answer["team"] == "Initech"
    with pytest.raises(RuntimeError, match="has not been started"):
        await sandbox.event({"type": "app_home_opened"})


async def test_stopping_lets_go(sandbox: Sandbox, browser: aiohttp.ClientSession) -> None:
    """An open stream ends at shutdown instead of delaying it."""
    async with browser.get("/changes") as stream:
        await stream.content.readuntil(b"\n\n")
        async with asyncio.timeout(30):
            await sandbox.stop()
            rest = await stream.content.read()

    assert rest == b""


def test_time_stamps_are_never_the_same() -> None:
    """Message timestamps always increase, however quickly messages are posted."""
    clock = Clock()
    stamps = [clock.stamp() for _ in range(1000)]

    assert stamps == sorted(set(stamps))
