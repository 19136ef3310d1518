"""Receive Slack's requests over a socket that we open, where Slack cannot reach us."""

import asyncio

import structlog
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp

log = structlog.get_logger(__name__)

LOOK_EVERY = 30.0


class Socket:
    """A connection of Socket Mode that is opened anew when it is found dead."""

    def __init__(self, bolt: AsyncApp, *, app_token: str) -> None:
        self._handler = AsyncSocketModeHandler(bolt, app_token)
        self._watch: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect, and keep watching the connection."""
        # Asked once by ourselves, because the SDK tries a refused token for ever.
        await self._handler.client.web_client.apps_connections_open(app_token=self._handler.app_token)
        await self._handler.client.connect()  # type: ignore[no-untyped-call]  # untyped in slack_sdk
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
