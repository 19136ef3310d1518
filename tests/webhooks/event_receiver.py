"""A program on this machine that receives events, checks their signatures, and answers as a test says."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedEvent:
    """A request as it arrived."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The id of the event."""
        return self.headers["webhook-id"]

    @property
    def document(self) -> Any:
        """The body, parsed as JSON."""
        return json.loads(self.body)

    @property
    def type(self) -> str:
        """The type of the event."""
        return str(self.document["type"])

    @property
    def data(self) -> Any:
        """What the event says."""
        return self.document["data"]

    def check_signature(self, secret: str) -> None:
        """Verify the request with the official library, which also checks the time; raises its error."""
        Webhook(secret).verify(self.body, dict(self.headers))


@dataclass(kw_only=True)
class EventReceiver:
    """Answers each request with the next of *answers*: (status, headers); the last one is repeated."""

    url: str = ""
    answers: list[tuple[int, Mapping[str, str]]] = field(default_factory=lambda: [(200, {})])
    received: list[ReceivedEvent] = field(default_factory=list)
    refused: str = ""  #: events with this text in them are refused
    never: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)
    has_received: asyncio.Event = field(default_factory=asyncio.Event)

    def answer_with(self, *statuses: int, headers: Mapping[str, str] | None = None) -> None:
        """Answer the next requests with these statuses, and later ones with the last of them."""
        self.answers = [(status, headers or {}) for status in statuses]

    def take(self) -> list[ReceivedEvent]:
        """Return the requests since the last call."""
        taken, self.received = self.received, []
        return taken

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one request."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(ReceivedEvent(headers=headers, body=await request.read()))
        self.has_received.set()
        if self.never:
            await self.over.wait()
        if self.refused and self.refused in self.received[-1].body.decode():
            return web.Response(status=400)
        status, extra = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=status, headers=extra, text="thanks" * 1000)


@asynccontextmanager
async def receiving_events(*, port: int = 0) -> AsyncIterator[EventReceiver]:
    """Start a receiver on a free port."""
    receiver = EventReceiver()
    application = web.Application()
    application.add_routes([web.post("/{path:.*}", receiver.receive)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        receiver.over.set()
        await runner.cleanup()


def types_of(events: Sequence[ReceivedEvent]) -> list[str]:
    """Return the types of events."""
    return [event.type for event in events]
