"""Receive Slack's requests over a socket that we open, where Slack cannot reach us."""

import asyncio
import json
from collections.abc import Callable

import structlog
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.adapter.socket_mode.async_internals import run_async_bolt_app, send_async_response
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.response import BoltResponse
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

from bot.slack.payloads import Taken

log = structlog.get_logger(__name__)

LOOK_EVERY = 30.0


class Socket:
    """A connection of Socket Mode that is opened anew when it is found dead."""

    def __init__(self, bolt: AsyncApp, *, app_token: str, clock: Callable[[], int]) -> None:
        self._handler = _Handler(bolt, app_token, clock=clock)
        self._watch: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect, and keep watching the connection; where that fails nothing is left of it."""
        try:
            # Asked once by ourselves, because the SDK tries a refused token for ever.
            await self._handler.client.web_client.apps_connections_open(app_token=self._handler.app_token)
            await self._handler.client.connect()  # type: ignore[no-untyped-call]  # untyped in slack_sdk
        except BaseException:
            await self.close()
            raise
        self._watch = asyncio.create_task(self._keep_open())

    async def close(self) -> None:
        """Disconnect."""
        if self._watch is not None:
            self._watch.cancel()
        await self._handler.client.close()  # type: ignore[no-untyped-call]  # untyped in slack_sdk

    async def _keep_open(self) -> None:
        # The SDK's own monitor has been seen to give up without a word after an idle reconnect.
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                if not await self._handler.client.is_connected():
                    log.warning("socket found dead", because="Slack no longer answers on it")
                    await self._handler.client.connect_to_new_endpoint(force=True)
            except Exception as exc:  # tried again the next time round
                log.warning("socket not opened anew", because=type(exc).__name__)


class _Handler(AsyncSocketModeHandler):
    """Take what comes over the connection; what Slack itself calls a repeat of it is not done again."""

    def __init__(self, bolt: AsyncApp, app_token: str, *, clock: Callable[[], int]) -> None:
        super().__init__(bolt, app_token)
        self._clock = clock
        self._recent_requests = Taken()

    async def handle(self, client: SocketModeClient, req: SocketModeRequest) -> None:  # type: ignore[override]  # as it does
        now, body = self._clock(), json.dumps(req.payload, sort_keys=True).encode()
        if req.retry_attempt and self._recent_requests.has(body, now=now):
            await send_async_response(client, req, BoltResponse(status=200), now / 1_000_000)
            return
        self._recent_requests.put(body, now=now)
        answer = await run_async_bolt_app(self.app, req)
        if answer.status != 200 or answer.body:  # not taken, or Slack waits for what it says: a repeat is answered too
            self._recent_requests.drop(body)
        await send_async_response(client, req, answer, now / 1_000_000)
