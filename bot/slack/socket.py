"""Receive Slack's requests through Socket Mode, if Slack cannot reach the service over HTTP."""

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

from bot.slack.payloads import RecentRequests

log = structlog.get_logger(__name__)

LOOK_EVERY = 30.0


class Socket:
    """A Socket Mode connection that reconnects when it is found dead."""

    def __init__(self, bolt: AsyncApp, *, app_token: str, clock: Callable[[], int]) -> None:
        self._handler = _Handler(bolt, app_token, clock=clock)
        self._watch: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect and start to monitor the connection; if that fails, the connection is closed."""
        try:
            # Open a connection URL once here, because the SDK retries a rejected token forever.
            await self._handler.client.web_client.apps_connections_open(app_token=self._handler.app_token)
            await self._handler.client.connect()  # type: ignore[no-untyped-call]  # untyped in slack_sdk
        except BaseException:
            await self.close()
            raise
        self._watch = asyncio.create_task(self._keep_open())

    async def close(self) -> None:
        """Disconnect and stop monitoring."""
        if self._watch is not None:
            self._watch.cancel()
        await self._handler.client.close()  # type: ignore[no-untyped-call]  # untyped in slack_sdk

    async def _keep_open(self) -> None:
        # The SDK's own monitor sometimes stops silently after an idle reconnect.
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                if not await self._handler.client.is_connected():
                    log.warning("socket found dead", because="Slack no longer answers on it")
                    await self._handler.client.connect_to_new_endpoint(force=True)
            except Exception as exc:  # retried after the next sleep
                log.warning("socket not reopened", because=type(exc).__name__)


class _Handler(AsyncSocketModeHandler):
    """Handles requests from the connection; a request that Slack marks as a retry is not handled again."""

    def __init__(self, bolt: AsyncApp, app_token: str, *, clock: Callable[[], int]) -> None:
        super().__init__(bolt, app_token)
        self._clock = clock
        self._recent_requests = RecentRequests()

    async def handle(self, client: SocketModeClient, req: SocketModeRequest) -> None:  # type: ignore[override]  # as it does
        now, body = self._clock(), json.dumps(req.payload, sort_keys=True).encode()
        if req.retry_attempt and self._recent_requests.has(body, now=now):
            await send_async_response(client, req, BoltResponse(status=200), now / 1_000_000)
            return
        self._recent_requests.add(body, now=now)
        answer = await run_async_bolt_app(self.app, req)
        if answer.status != 200 or answer.body:  # rejected, or Slack needs the body: a retry must be handled
            self._recent_requests.discard(body)
        await send_async_response(client, req, answer, now / 1_000_000)
