"""A CRM on this machine: its contacts are written, and it sends a webhook for each property that was written."""

import base64
import hmac
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BasicAuth, ClientSession, web

MOST = 100  # contacts in a request of HubSpot, and events in one of its webhooks


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass(kw_only=True)
class EchoingCrm:
    """Has the properties of contacts by id, as HubSpot and as Pipedrive. *answers* are those of the next requests."""

    dice: random.Random = field(default_factory=lambda: random.Random(3))
    url: str = ""
    token: str = "pat-eu1-made-up-for-tests"
    contacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    properties: set[str] = field(default_factory=lambda: {"contact_score"})
    unwritable: set[str] = field(default_factory=set)  #: contacts that cannot be written, for a reason of their own
    answers: list[tuple[int, Mapping[str, str]]] = field(default_factory=list)
    troubles: float = 0.0  #: the share of requests that are answered 429 or 500
    during: Callable[[], Awaitable[None]] | None = None  #: what happens while the next request is answered
    calls: list[Call] = field(default_factory=list)
    echoes: list[dict[str, Any]] = field(default_factory=list)  #: changes that no webhook was sent for yet
    writes: int = 0  #: properties that were written

    def add(self, *ids: str) -> None:
        """Add contacts without properties."""
        self.contacts |= {id: {} for id in ids}

    def take(self) -> list[Call]:
        """Return the requests since the last call."""
        taken, self.calls = self.calls, []
        return taken

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one request."""
        body = await request.json()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.calls.append(Call(method=request.method, path=request.path, headers=headers, body=body))
        if self.token not in (headers.get("authorization", "").removeprefix("Bearer "), headers.get("x-api-token")):
            return web.json_response({"message": "The token is expired."}, status=401)
        if self.during is not None:
            happening, self.during = self.during, None
            await happening()
        if self.answers:
            status, extra = self.answers.pop(0)
            return web.json_response({"message": "not now"}, status=status, headers=extra)
        if self.dice.random() < self.troubles:
            status, extra = self.dice.choice([(429, {"retry-after": "7"}), (500, {}), (503, {"retry-after": "2"})])
            return web.json_response({"message": "not now"}, status=status, headers=extra)
        if request.path == "/crm/v3/objects/contacts/batch/update":
            return self._update_batch(body["inputs"])
        return self._update_person(request.match_info["path"].removeprefix("api/v2/persons/"), body["custom_fields"])

    def _update_batch(self, inputs: list[dict[str, Any]]) -> web.Response:
        """Answer as HubSpot: a request with an unknown property fails; unknown contacts are listed as errors."""
        ids = [entry["id"] for entry in inputs]
        assert len(ids) == len(set(ids)) <= MOST
        unknown = {name for entry in inputs for name in entry["properties"]} - self.properties
        if unknown or self.unwritable & set(ids):
            reason = f'Property "{min(unknown)}" does not exist' if unknown else "Property values were not valid"
            return web.json_response({"category": "VALIDATION_ERROR", "message": reason}, status=400)
        missing = [id for id in ids if id not in self.contacts]
        for entry in inputs:
            if entry["id"] in self.contacts:
                self._write(entry["id"], entry["properties"])
        error = {"category": "OBJECT_NOT_FOUND", "message": "Could not get some objects", "context": {"ids": missing}}
        answer = {"status": "COMPLETE", "results": [{"id": id} for id in ids if id not in missing]}
        return web.json_response(answer | ({"errors": [error]} if missing else {}), status=207 if missing else 200)

    def _update_person(self, id: str, fields: dict[str, Any]) -> web.Response:
        """Answer as Pipedrive."""
        if id not in self.contacts:
            return web.json_response({"success": False, "error": "Person not found"}, status=404)
        if not self.properties >= fields.keys():
            return web.json_response({"success": False, "error": "Unknown field"}, status=400)
        self._write(id, fields)
        return web.json_response({"success": True, "data": {"id": int(id)}})

    def _write(self, id: str, values: dict[str, Any]) -> None:
        for name, value in values.items():
            self.writes += 1
            before = self.contacts[id].get(name)
            self.contacts[id][name] = value
            if before != value:  # a CRM sends no webhook for a property that stays the same
                self.echoes.append({"id": id, "name": name, "value": value, "before": before, "number": self.writes})

    async def echo(self, session: ClientSession, url: str, *, secret: str, now: int, share: float = 1.0) -> list[Any]:
        """Send webhooks for a share of the changes, in any order and some of them twice. Return all items' outcomes."""
        self.dice.shuffle(self.echoes)
        count = round(len(self.echoes) * share)
        sent, self.echoes = self.echoes[:count], self.echoes[count:]
        sent += self.dice.sample(sent, len(sent) // 5)
        outcomes = []
        for start in range(0, len(sent), MOST):
            body = json.dumps([_make_event(echo, now) for echo in sent[start : start + MOST]]).encode()
            timestamp = str(now // 1000)
            digest = hmac.digest(secret.encode(), f"POST{url}".encode() + body + timestamp.encode(), "sha256")
            headers = {
                "Content-Type": "application/json",
                "X-HubSpot-Signature-v3": base64.b64encode(digest).decode(),
                "X-HubSpot-Request-Timestamp": timestamp,
            }
            async with session.post(url, data=body, headers=headers) as answer:
                assert answer.status == 200
                outcomes += (await answer.json())["items"]
        return outcomes

    async def echo_as_pipedrive(self, session: ClientSession, url: str, *, password: str, now: int) -> list[Any]:
        """Send a webhook of version 2 for each change, and return all items' outcomes."""
        sent, self.echoes = self.echoes, []
        outcomes = []
        for echo in sent:
            meta = {"action": "change", "entity": "person", "entity_id": echo["id"], "id": f"e{echo['number']}"}
            name, values = echo["name"], {"value": echo["value"], "before": echo["before"]}
            wrapped = {
                label: None if value is None else {"type": "double", "value": value} for label, value in values.items()
            }
            body = {
                "meta": meta | {"timestamp": now // 1_000_000, "version": "2.0"},
                "data": {"id": int(echo["id"]), "custom_fields": {name: wrapped["value"]}},
                "previous": {"custom_fields": {name: wrapped["before"]}},
            }
            headers = {"Authorization": BasicAuth("pipe", password).encode()}
            async with session.post(url, json=body, headers=headers) as answer:
                assert answer.status == 200
                outcomes += (await answer.json())["items"]
        return outcomes


def _make_event(echo: Mapping[str, Any], now: int) -> dict[str, Any]:
    """Return the event of a changed property as HubSpot sends it; its number tells it from others of the same time."""
    return {
        "eventId": echo["number"], "subscriptionId": 2, "portalId": 3, "occurredAt": now // 1000 + echo["number"] % 50,
        "subscriptionType": "contact.propertyChange", "objectId": int(echo["id"]), "changeSource": "INTEGRATION",
        "propertyName": echo["name"], "propertyValue": echo["value"],
    }  # fmt: skip  # the event, then what changed


@asynccontextmanager
async def serving_app(handlers: Mapping[str, Callable[[web.Request], Any]], **options: Any) -> AsyncIterator[str]:
    """Serve handlers on a free port, by method and path, and yield the URL."""
    application = web.Application()
    for route, handler in handlers.items():
        method, _, path = route.partition(" ")
        application.router.add_route(method, path, handler)
    runner = web.AppRunner(application, shutdown_timeout=0.2, **{"access_log": None, **options})
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def open_echoing_crm() -> AsyncIterator[EchoingCrm]:
    """Start the CRM on a free port."""
    crm = EchoingCrm()
    async with serving_app({"* /{path:.*}": crm.receive}) as url:
        crm.url = url
        yield crm
