"""Connect to Slack over HTTP and over a socket, also if Slack is away at first, and serve webhooks meanwhile."""

import asyncio

import pytest
from aiohttp import ClientSession

from bot.settings import BadSettings
from storage.sources.config import add_source
from storage.workspaces import add_workspace
from tests.conftest import on_both
from tests.journeys.acme import APP_TOKEN, BOT_TOKEN, CRM_SECRET, SIGNING, TEAM, Acme, form, new_service
from tests.slack.faults import Fault
from tests.slack.foreign import ForeignSlack

BUTTONS = "\n[Undo] [History]"
both_ways = pytest.mark.parametrize("socket_mode", [False, True], ids=["http", "socket"])


def new_sandbox(*, bot_token: str = BOT_TOKEN, app_token: str = APP_TOKEN) -> ForeignSlack:
    """Create a Slack that accepts these tokens."""
    return ForeignSlack(
        app_url="", signing_secret=SIGNING, bot_token=bot_token, app_token=app_token, crm_secret=CRM_SECRET
    )


@on_both
@both_ways
async def test_a_whole_day(acme: Acme) -> None:
    """Commands, clicks, menus, forms and refusals work the same over HTTP and over a socket."""
    card = await acme.ask("ada")
    receipt = await acme.ask("set ada 85 because great demo")
    undone = await acme.press(receipt, "Undo")
    view = await acme.press_for_form(card, "Set")
    await acme.sandbox.submit(view.id, {"score_satisfaction": {"value": "4.7"}})
    errors = acme.sandbox.open_views()[0].errors
    await acme.sandbox.close_view(view.id)
    bare = await acme.ask_for_form()
    offered = await acme.sandbox.options(bare.id, "contact", "top gun")
    new_receipt = await acme.hand_in(bare, contact=offered[0], score_fit="9")
    shared = await acme.ask("ada", channel="C0SHARED")

    assert acme.seen(undone) == "Ada Lovelace · Score 85 → *62* (warm) · undone" + BUTTONS
    assert form(view)["Score"] == ("62", "0 to 100, in steps of 1")
    assert list(errors) == ["score_satisfaction"]
    assert acme.seen(new_receipt) == "Pete Mitchell · Fit — → *9* (good)" + BUTTONS
    assert acme.seen(shared).startswith("This conversation is shared")


@both_ways
async def test_the_event_of_a_shared_channel(acme: Acme) -> None:
    """Events arrive over HTTP and over a socket."""
    await acme.ask("ada")
    acme.sandbox.world.channels["C0SALES"].is_ext_shared = True
    response = await acme.sandbox.event({"type": "channel_shared", "channel": "C0SALES"})

    assert response.status == 200
    assert acme.seen(await acme.ask("ada")).startswith("This conversation is shared")


@pytest.mark.parametrize("socket_mode", [True], ids=["socket"])
async def test_a_socket_needs_no_address(acme: Acme) -> None:
    """In Socket Mode the HTTP endpoint accepts nothing."""
    async with ClientSession() as session, session.post(f"{acme.sandbox.app_url}/slack/events") as answer:
        assert answer.status == 404


@pytest.mark.slow
@pytest.mark.parametrize("socket_mode", [True], ids=["socket"])
@pytest.mark.parametrize("warned", [True, False])
async def test_a_socket_that_is_made_anew(acme: Acme, warned: bool) -> None:
    """After Slack requests a new connection or drops the old one, requests are served again."""
    await acme.ask("set ada 70")
    await (acme.sandbox.sockets.disconnect() if warned else acme.sandbox.sockets.drop())
    await acme.sandbox.wait_for(lambda: acme.sandbox.sockets.greeted == 2 and acme.sandbox.sockets.connected, 60)

    assert acme.seen(await acme.ask("set ada +5")) == "Ada Lovelace · Score 70 → *75* (warm)" + BUTTONS


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["server_error", "rate_limited", "no_answer"])
async def test_slack_is_away_at_the_start(database_url: str, kind: str) -> None:
    """While Slack is away, webhooks are served and Slack's requests get 503; later the service connects."""
    sandbox = new_sandbox()
    await sandbox.start()
    service = new_service(sandbox, database_url)
    times = {"server_error": 1, "rate_limited": 3, "no_answer": 2}[kind]  # including the retries of the library
    sandbox.faults.add(Fault(method="auth.test", kind=kind, times=times, retry_after=0))  # type: ignore[arg-type]  # a word of the table
    try:
        sandbox.app_url = await service.start()
        workspace = await add_workspace(TEAM, name="Acme", by="U0ADMIN", now=0)
        await add_source(workspace, slug="crm", provider="generic", secrets=[CRM_SECRET], by="U0ADMIN", now=0)
        sandbox.crm_url = f"{sandbox.app_url}/webhooks/{TEAM}/crm"
        early = await sandbox.say("/score help")
        pushed = await sandbox.push(
            '{"type":"score.set","contact":{"email":"ada@example.com"},"score":"score","value":62}'
        )
        await service.connected()
        acme = Acme(
            sandbox=sandbox, service=service, database_url=database_url, socket_mode=False, workspace=workspace,
            filled_at=sandbox.clock.now(),
        )  # fmt: skip  # what runs, then what it has
        text = acme.seen(await acme.ask("set ada@example.com +5"))
    finally:
        await service.stop()
        await sandbox.stop()

    assert (early.status, early.headers.get("Retry-After")) == (503, "5")
    assert pushed["answer"]["status"] == 200
    assert text == "ada@example.com · Score 62 → *67* (warm)" + BUTTONS


@pytest.mark.slow
async def test_slack_is_not_there_at_all_at_the_start(database_url: str) -> None:
    """If nothing listens at Slack's URL, the service connects by itself once something does."""
    sandbox = new_sandbox()
    port = int((await sandbox.start()).rpartition(":")[2])
    service = new_service(sandbox, database_url)
    await sandbox.stop()
    try:
        app_url = await service.start()
        async with ClientSession() as session, session.get(f"{app_url}/readyz") as answer:
            ready = answer.status
        await sandbox.start(port=port)
        await service.connected()
    finally:
        await service.stop()
        await sandbox.stop()

    assert ready == 200
    assert [call.method for call in sandbox.calls].count("auth.test") == 1


@pytest.mark.parametrize(
    ("socket_mode", "tokens"),
    [(False, {"bot_token": "xoxb-other"}), (True, {"bot_token": "xoxb-other"}), (True, {"app_token": "xapp-other"})],
    ids=["http", "socket", "app token"],
)
async def test_a_token_that_slack_refuses(database_url: str, socket_mode: bool, tokens: dict[str, str]) -> None:
    """A rejected token is reported and not retried."""
    sandbox = new_sandbox(**tokens)
    await sandbox.start()
    service = new_service(sandbox, database_url, socket_mode=socket_mode)
    try:
        await service.start()
        with pytest.raises(BadSettings) as error:
            async with asyncio.timeout(30):
                await service.connected()
    finally:
        await service.stop()
        await sandbox.stop()

    assert str(error.value) == "Slack refuses SLACK_BOT_TOKEN or SLACK_APP_TOKEN: invalid_auth"


async def test_a_port_that_is_taken(database_url: str) -> None:
    """The error names the port in use and the settings for it."""
    sandbox = new_sandbox()
    port = int((await sandbox.start()).rpartition(":")[2])
    service = new_service(sandbox, database_url, port=port)
    try:
        with pytest.raises(BadSettings) as error:
            await service.start()
    finally:
        await service.stop()
        await sandbox.stop()

    assert str(error.value) == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use. Set CONTACT_SCORE_HOST and CONTACT_SCORE_PORT"
    )


async def test_a_stop_before_slack_answered(database_url: str) -> None:
    """A service that is still connecting stops at once and leaves nothing open."""
    sandbox = new_sandbox()
    await sandbox.start()
    sandbox.faults.add(Fault(method="auth.test", kind="late"))
    service = new_service(sandbox, database_url)
    await service.start()
    await sandbox.wait_for(lambda: sandbox.faults.held)
    async with asyncio.timeout(30):
        await service.stop()
    sandbox.faults.release()
    await sandbox.stop()

    assert [call.method for call in sandbox.calls] == ["auth.test"]


async def test_the_workspace_is_the_one_that_the_token_is_of(acme: Acme) -> None:
    """A workspace that was not added is created with Slack's id and name."""
    assert (acme.workspace.team, acme.workspace.name) == (TEAM, "Acme")
