"""A CRM's API on this machine that answers as a test says, or does not answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One answer: a document or bytes, no answer at all, or a dropped connection."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    held: asyncio.Event | None = None  #: the answer waits for this event
    never: bool = False
    cut: bool = False


class Crm:
    """Answers each path with its answers in *tells*, one after the other; the last one is repeated."""

    def __init__(self) -> None:
        self.url = ""
        self.tells: dict[str, list[Told]] = {}
        self.asked: list[str] = []  #: requested paths with their queries
        self.tokens: set[str] = set()
        self.over = asyncio.Event()
        self.holding = asyncio.Event()  #: set once a request waits for a held answer

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.asked.append(request.raw_path)
        self.tokens.add(request.headers.get("Authorization", ""))
        answers = self.tells.get(request.path, [Told(status=404)])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer.held is not None:
            self.holding.set()
            await answer.held.wait()
        if answer.never:
            await self.over.wait()
        if answer.cut:
            assert request.transport is not None
            request.transport.abort()
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        return web.Response(body=body, status=answer.status, headers=answer.headers, content_type="application/json")


@asynccontextmanager
async def open_crm() -> AsyncIterator[Crm]:
    """Start a CRM on a free port."""
    crm = Crm()
    application = web.Application()
    application.add_routes([web.get("/{path:.*}", crm.answer)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    crm.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield crm
    finally:
        crm.over.set()
        await runner.cleanup()


def hubspot_contact(id: str, **properties: str | None) -> dict[str, Any]:
    """Return a contact as HubSpot's API does: https://developers.hubspot.com/docs/api/crm/contacts"""
    times = {"createdAt": "2025-11-01T10:00:00.000Z", "updatedAt": "2025-12-30T12:00:00.123Z"}
    return {"id": id, "properties": properties, **times, "archived": False}


def attio_record(id: str, **values: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a record as Attio's API does; each value has the time since which it is valid."""
    ids = {"workspace_id": "w1", "object_id": "o1", "record_id": id}
    record = {"id": ids, "created_at": "2025-11-01T10:00:00.000000000Z", "web_url": "https://app.attio.com/x"}
    return {"data": record | {"values": values}}


def attio_value(kind: str, *, since: str = "2025-12-30T12:00:00.045000000Z", **fields: Any) -> dict[str, Any]:
    """Return one value of an attribute, as Attio's API does."""
    return {"active_from": since, "active_until": None, "attribute_type": kind, **fields}
