"""The Slack that tests use: the demo's, with Slack's limits, Socket Mode, faults, and a record of what was sent."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from bot.demo.acts import REP, SALES
from bot.demo.blocks import Json
from bot.demo.errors import SlackError
from bot.demo.sending import Response, post
from bot.demo.server import Sandbox
from bot.demo.web_api import read_arguments
from bot.demo.world import Message
from tests.slack.faults import Fault, Faults
from tests.slack.permissions import check_permission
from tests.slack.socket_mode import Sockets
from tests.slack.strict_world import AlarmClock, StrictWorld

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request sent to the product and its response; *kind* is slash_commands, interactive or events_api."""

    kind: str
    payload: Json
    response: Response


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedCall:
    """A received request: a Web API call, an upload, or a post to a response_url."""

    method: str
    arguments: Json
    answer: Json
    at: float


class ForeignSlack(Sandbox):
    """A Slack with one workspace.

    *sent* are the requests to the product, *calls* the product's requests, *faults* the failures still to come.
    """

    world: StrictWorld
    clock: AlarmClock

    def __init__(
        self,
        *,
        signing_secret: str,
        bot_token: str,
        app_token: str = "",
        app_url: str = "",
        crm_secret: str = "",
        team_name: str = "Acme",
    ) -> None:
        world = StrictWorld(team_id="T0DEMO", team_name=team_name)
        super().__init__(app_url=app_url, signing_secret=signing_secret, crm_secret=crm_secret, world=world)
        self.tokens = {"bot": bot_token, "app": app_token}
        self.sent: list[Sent] = []
        self.calls: list[ReceivedCall] = []
        self.faults = Faults()
        self.sockets = Sockets(app_id=self.world.app_id, changed=self.changes.happened)

    async def stop(self) -> None:
        """Release held answers, close connections and stop to listen."""
        self.faults.release()
        await self.sockets.drop()
        await super().stop()

    def middlewares(self) -> list[Middleware]:
        return [*super().middlewares(), self._oversee]

    def routes(self) -> list[web.RouteDef]:
        return [*super().routes(), web.get("/socket/{ticket}", self.sockets.serve)]

    def messages(self, channel: str = SALES, user: str = REP) -> list[Message]:
        """Return the messages in *channel* that *user* sees, newest last."""
        return self.world.seen_by(user, channel)

    async def wait_for(self, predicate: Callable[[], T], timeout: float = 90.0) -> T:  # noqa: ASYNC109 - one for all
        """Return the first truthy result of *predicate*, called now and after each change; raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while True:
                count = self.changes.count
                if answer := predicate():
                    return answer
                await self.changes.after(count)

    async def deliver(
        self,
        kind: str,
        payload: Json,
        *,
        headers: Mapping[str, str] | None = None,
        retry: tuple[int, str] | None = None,
    ) -> Response:
        """Send a request over the open socket, or else over HTTP."""
        if self.sockets.connected:
            fields = {"retry_attempt": retry[0], "retry_reason": retry[1]} if retry else None
            response = await self.sockets.send(kind, payload, patience=self.patience, retry=fields)
        else:
            marks = {"X-Slack-Retry-Num": str(retry[0]), "X-Slack-Retry-Reason": retry[1]} if retry else {}
            response = await super().deliver(kind, payload, headers=marks)
        self.sent.append(Sent(kind=kind, payload=payload, response=response))
        await self.changes.happened()
        return response

    async def again(self, sent: Sent | None = None, *, retry: int = 1, reason: str = "http_timeout") -> Response:
        """Send a request again, by default the last one, as Slack retries a request without an answer in time."""
        request = sent or self.sent[-1]
        return await self.deliver(request.kind, request.payload, retry=(retry, reason))

    async def raw(self, path: str = "/slack/events", *, body: bytes, headers: dict[str, str]) -> Response:
        """Send a request without a signature, as anyone on the network can."""
        url = self.app_url.rstrip("/") + path
        return await post(self.http, url, body=body, headers=headers, patience=self.patience)

    @web.middleware
    async def _oversee(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Apply a fault if there is one for this call, and record the call."""
        method = _method_of(request)
        if method is None:
            return await handler(request)
        arguments = {} if method == "upload" else await read_arguments(request)
        form_token = arguments.pop("token", "")
        token = request.headers.get("Authorization", "").partition(" ")[2] or form_token
        fault = self.faults.take(method)
        response = await self._carry_out(request, handler, method, arguments, token=token, fault=fault)
        is_json = response.content_type == "application/json"
        answer = json.loads(response.text or "{}") if is_json else {"status": response.status, "body": response.text}
        at = self.clock.now()
        self.calls.append(ReceivedCall(method=method, arguments=arguments, answer=answer, at=at))
        await self.changes.happened()
        if fault and fault.kind == "late":
            await self.faults.hold()
        if fault and fault.kind in ("no_answer", "dropped_after_accepting") and request.transport:
            request.transport.abort()
        if fault and fault.kind == "failed_after_accepting":
            return web.json_response({"ok": False, "error": "fatal_error"})
        return response

    async def _carry_out(
        self, request: web.Request, handler: Handler, method: str, arguments: Json, *, token: str, fault: Fault | None
    ) -> web.Response:
        if fault and fault.kind == "rate_limited":
            wait = {"Retry-After": str(fault.retry_after)}
            return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=wait)
        if fault and fault.kind == "server_error":
            return web.Response(status=500, text="Internal Server Error")
        if fault and fault.kind == "unknown_method":
            return web.json_response({"ok": False, "error": "unknown_method"})
        if fault and fault.kind == "no_answer":
            return web.Response()
        if "." in method:
            try:
                check_permission(
                    self.world, method, arguments, token=token, tokens=self.tokens, granted=self.world.scopes
                )
            except SlackError as error:
                return web.json_response(error.answer)
        if method == "apps.connections.open":
            socket = f"{self.url.replace('http:', 'ws:', 1)}/socket/{self.sockets.new_ticket()}"
            return web.json_response({"ok": True, "url": socket})
        response = await handler(request)
        assert isinstance(response, web.Response)
        return response


def _method_of(request: web.Request) -> str | None:
    """Return the method of a call of the product, "response_url", "upload", or None for other requests."""
    match request.path.split("/")[1:]:
        case ["api", method]:
            return method
        case ["response", _]:
            return "response_url"
        case ["upload", _]:
            return "upload"
    return None
