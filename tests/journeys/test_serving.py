"""Run the real command as a process, and stop it."""

import signal

import pytest
from aiohttp import ClientSession

from storage.bootstrap import open_storage
from storage.reading.current_scores import top
from storage.scoring.definitions import score_types
from storage.workspaces import find_workspace
from tests.conftest import KEY
from tests.journeys.acme import APP_TOKEN, BOT_TOKEN, CRM_SECRET, SIGNING, TEAM
from tests.journeys.process import serving
from tests.slack.foreign import ForeignSlack

pytestmark = pytest.mark.slow

BY_HTTP = {"SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_SIGNING_SECRET": SIGNING}
BY_SOCKET = {"SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_APP_TOKEN": APP_TOKEN}
# Variables that would switch Bolt to OAuth, in which it ignores the given token.
OAUTH = {"SLACK_CLIENT_ID": "1.2", "SLACK_CLIENT_SECRET": "not-so-secret"}


async def started_sandbox() -> ForeignSlack:
    """Start a Slack that accepts the tests' tokens."""
    sandbox = ForeignSlack(
        app_url="", signing_secret=SIGNING, bot_token=BOT_TOKEN, app_token=APP_TOKEN, crm_secret=CRM_SECRET
    )
    await sandbox.start()
    return sandbox


@pytest.mark.parametrize("oauth", [{}, OAUTH], ids=["plain", "client id in the environment"])
@pytest.mark.parametrize("way", [BY_HTTP, BY_SOCKET], ids=["http", "socket"])
async def test_serve(database_url: str, way: dict[str, str], oauth: dict[str, str]) -> None:
    """The process finds its workspace, answers, exits with 0 on SIGTERM, and keeps the recorded change."""
    sandbox = await started_sandbox()
    try:
        async with serving(database_url, SLACK_API_URL=f"{sandbox.url}/api/", **way, **oauth) as served:
            listening = await served.line(lambda line: line.startswith("Listening on "))
            sandbox.app_url = listening.removeprefix("Listening on ")
            await served.line(lambda line: "connected to Slack" in line)
            async with ClientSession() as session, session.get(f"{sandbox.app_url}/readyz") as answer:
                ready = answer.status
            offer = await ask_sandbox(sandbox, "/score set ada@example.com 85 because great demo")
            added = await clicked(sandbox, offer)
            served.process.send_signal(signal.SIGTERM)
            code = await served.end()
    finally:
        await sandbox.stop()
    storage = await open_storage(database_url, secret_keys=[KEY])
    workspace = await find_workspace(TEAM)
    emails = [card.contact.email for card in (await top(workspace, score=None, count=9, now=0))[1]]
    types = [score_type.key for score_type in await score_types(workspace)]
    await storage.close()

    assert ready == 200
    assert added == 'ada@example.com · Score — → *85* (hot) · "great demo"'
    assert (code, emails, types) == (0, ["ada@example.com"], ["score"])
    assert [line for line in served.lines if "Traceback" in line or "ada@example.com" in line] == []


async def ask_sandbox(sandbox: ForeignSlack, line: str) -> str:
    """Type a line, and return the id of the answer."""
    before = len(sandbox.messages())
    response = await sandbox.say(line)
    assert (response.status, response.note) == (200, "")
    await sandbox.wait_for(lambda: len(sandbox.messages()) > before)
    return sandbox.messages()[-1].id


async def clicked(sandbox: ForeignSlack, handle: str) -> str:
    """Click the first button of a message, and return the message that replaces it."""
    message = sandbox.world.find(handle)
    assert message is not None
    response = await sandbox.click(handle, message.blocks[1]["elements"][0]["action_id"])
    assert (response.status, response.note) == (200, "")
    changed = await sandbox.wait_for(
        lambda: sandbox.world.find(handle) if sandbox.world.find(handle) != message else None
    )
    assert changed is not None
    return str(changed.blocks[0]["text"]["text"])


@pytest.mark.parametrize("way", [BY_HTTP, BY_SOCKET], ids=["http", "socket"])
async def test_a_wrong_token(database_url: str, way: dict[str, str]) -> None:
    """If Slack rejects a token, the process exits with 1 and one clear line."""
    sandbox = await started_sandbox()
    try:
        wrong = {**way, "SLACK_BOT_TOKEN": "xoxb-wrong"}
        async with serving(database_url, SLACK_API_URL=f"{sandbox.url}/api", **wrong) as served:
            code = await served.end()
    finally:
        await sandbox.stop()

    assert code == 1
    assert served.lines[-1] == "Slack refuses SLACK_BOT_TOKEN or SLACK_APP_TOKEN: invalid_auth"
    assert [line for line in served.lines if "Traceback" in line or "xoxb" in line] == []


async def test_sigterm_while_slack_is_away(database_url: str) -> None:
    """A process that has not reached Slack yet serves its health, and exits with 0 on SIGTERM."""
    sandbox = await started_sandbox()
    await sandbox.stop()
    async with serving(database_url, SLACK_API_URL=f"{sandbox.url}/api/", **BY_HTTP) as served:
        listening = await served.line(lambda line: line.startswith("Listening on "))
        async with ClientSession() as session:
            async with session.get(f"{listening.removeprefix('Listening on ')}/healthz") as answer:
                health = answer.status
            async with session.post(f"{listening.removeprefix('Listening on ')}/slack/events") as answer:
                unsigned = answer.status
        served.process.send_signal(signal.SIGTERM)
        code = await served.end()

    assert (health, unsigned, code) == (200, 401, 0)
    assert [line for line in served.lines if "Traceback" in line] == []
