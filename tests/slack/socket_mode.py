"""The server side of Socket Mode: send requests to the connected client, and treat its acknowledgment as answer."""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable

from aiohttp import WSMsgType, web

from bot.demo.blocks import Json
from bot.demo.sending import Response

CLOSING_SECONDS = 0.5


class Sockets:
    """The open connections; requests go to the newest one. *greeted* counts all connections ever opened."""

    def __init__(self, *, app_id: str, changed: Callable[[], Awaitable[None]]) -> None:
        self._app_id, self._changed = app_id, changed
        self._tickets: set[str] = set()
        self._connections: list[web.WebSocketResponse] = []
        self._pending: dict[str, asyncio.Future[Json]] = {}
        self.greeted = 0

    @property
    def connected(self) -> bool:
        return bool(self._connections)

    def new_ticket(self) -> str:
        """Return the last part of a WebSocket URL, valid for one connection."""
        ticket = secrets.token_hex(8)
        self._tickets.add(ticket)
        return ticket

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection: send hello, then receive acknowledgments until it closes."""
        ticket = request.match_info["ticket"]
        if ticket not in self._tickets:
            raise web.HTTPNotFound(text="invalid_auth")
        self._tickets.discard(ticket)
        socket = web.WebSocketResponse(timeout=CLOSING_SECONDS)
        await socket.prepare(request)
        self._connections.append(socket)
        count = len(self._connections)
        await socket.send_json(
            {"type": "hello", "num_connections": count, "connection_info": {"app_id": self._app_id}, "debug_info": {}}
        )
        self.greeted += 1
        await self._changed()
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._acknowledge(message.data)
        finally:
            self._connections.remove(socket)
            await self._changed()
        return socket

    async def send(self, kind: str, payload: Json, *, patience: float, retry: Json | None = None) -> Response:
        """Send an envelope and return the acknowledgment; status 0 if there is none within *patience* seconds."""
        envelope_id = secrets.token_hex(16)
        has_answer = kind == "slash_commands" or payload.get("type") in ("view_submission", "block_suggestion")
        envelope = {
            "envelope_id": envelope_id,
            "type": kind,
            "payload": payload,
            "accepts_response_payload": has_answer,
        }
        future = self._pending[envelope_id] = asyncio.get_running_loop().create_future()
        try:
            await self._connections[-1].send_json(envelope | (retry or {}))
            async with asyncio.timeout(patience):
                acknowledgement = await future
        except TimeoutError:
            return Response(status=0, note="operation_timeout")
        except ConnectionError:
            return Response(status=0, note="dispatch_failed")
        finally:
            del self._pending[envelope_id]
        answer = acknowledgement.get("payload") if has_answer else None
        return Response(status=200, body=answer if isinstance(answer, str) else json.dumps(answer) if answer else "")

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Ask every client to reconnect, as Slack does every few hours."""
        for socket in tuple(self._connections):
            await socket.send_json({"type": "disconnect", "reason": reason, "debug_info": {}})

    async def drop(self) -> None:
        """Close every connection without a warning."""
        for socket in tuple(self._connections):
            await socket.close()

    def _acknowledge(self, data: str) -> None:
        try:
            message = json.loads(data)
        except ValueError:
            return
        future = self._pending.get(message.get("envelope_id", ""))
        if future and not future.done():
            future.set_result(message)
