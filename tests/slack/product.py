"""A fake product: a server that checks the sandbox's signatures and answers as a test configures it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from slack_sdk.signature import Clock as SignatureClock
from slack_sdk.signature import SignatureVerifier

SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"

Answer = Callable[["Received"], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request: its content (a command's form, an interaction's payload or an event) and whether it was signed."""

    path: str
    fields: dict[str, Any]
    headers: dict[str, str]
    body: bytes
    signed: bool


class Product:
    """Answers 200 with an empty body, until `answer` is set."""

    def __init__(self, now: Callable[[], float]) -> None:
        clock = SignatureClock()
        clock.now = now  # type: ignore[method-assign]  # the SDK's own way to give its verifier a clock
        self._verifier = SignatureVerifier(SIGNING_SECRET, clock)
        self.received: list[Received] = []
        self.answer: Answer = nothing
        self._runner: web.AppRunner | None = None

    @property
    def last(self) -> Received:
        return self.received[-1]

    async def start(self) -> str:
        application = web.Application()
        application.add_routes([web.post("/{path:.*}", self._receive)])
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        body, headers = await request.read(), dict(request.headers)
        signed = self._verifier.is_valid_request(body, headers)
        fields: dict[str, Any] = dict(parse_qsl(body.decode(), keep_blank_values=True))
        if request.content_type == "application/json":
            fields = json.loads(body)
        elif "payload" in fields:
            fields = json.loads(fields["payload"])
        received = Received(path=request.path, fields=fields, headers=headers, body=body, signed=signed)
        self.received.append(received)
        return await self.answer(received)


async def nothing(received: Received) -> web.Response:
    return web.Response()


def answering(content: Any = None, *, status: int = 200) -> Answer:
    """Return an answer that is always the same: JSON, or text if *content* is a string."""

    async def answer(received: Received) -> web.Response:
        if isinstance(content, str):
            return web.Response(text=content, status=status)
        return web.json_response(content, status=status)

    return answer


async def never(received: Received) -> web.Response:
    """An answer that always comes too late."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets that event")


def section(text: str = "Hello", **more: Any) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}} | more


def button(action_id: str = "undo", **more: Any) -> dict[str, Any]:
    return {"type": "button", "action_id": action_id, "text": {"type": "plain_text", "text": "Undo"}} | more


def modal(*blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    words = {"title": {"type": "plain_text", "text": "Set a score"}, "submit": {"type": "plain_text", "text": "Set"}}
    return {"type": "modal", "callback_id": "set_score", "blocks": list(blocks) or [section()]} | words | more


def field(block_id: str, element: dict[str, Any], **more: Any) -> dict[str, Any]:
    label = {"type": "plain_text", "text": block_id}
    return {"type": "input", "block_id": block_id, "label": label, "element": {"action_id": "value"} | element} | more


def option(value: str) -> dict[str, Any]:
    return {"text": {"type": "plain_text", "text": value.title()}, "value": value}
