"""A socket that could not be opened leaves nothing behind, and is retried."""

import asyncio

import pytest
from slack_bolt.app.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.clock import system_clock
from bot.slack.socket import Socket
from tests.slack.faults import Fault
from tests.slack.foreign import ForeignSlack

BOT_TOKEN, APP_TOKEN = "xoxb-sandbox", "xapp-sandbox"


async def test_what_was_begun_is_ended() -> None:
    """After a failed start no task runs and no session is open."""
    sandbox = ForeignSlack(app_url="", signing_secret="none", bot_token=BOT_TOKEN, app_token=APP_TOKEN)
    await sandbox.start()
    client = AsyncWebClient(token=BOT_TOKEN, base_url=f"{sandbox.url}/api/", retry_handlers=[])
    bolt = AsyncApp(name="test", client=client, request_verification_enabled=False)
    before = asyncio.all_tasks()
    sandbox.faults.add(Fault(method="apps.connections.open", kind="server_error"))
    with pytest.raises(SlackApiError):
        await Socket(bolt, app_token=APP_TOKEN, clock=system_clock).open()
    await sandbox.stop()

    assert asyncio.all_tasks() - before == set()
