"""Serve the product's calls: the Web API, file uploads, and posts to a response_url."""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web

from bot.demo.answers import answer_response_url
from bot.demo.errors import SlackError
from bot.demo.methods import answer
from bot.demo.world import Json, ReceivedCall

if TYPE_CHECKING:
    from bot.demo.server import Sandbox

IMAGES = re.compile(r"image/(png|jpeg|gif|webp)")


class Answer(NamedTuple):
    """The recorded content of an answer, and the HTTP response."""

    content: Json
    response: web.Response


class WebApi:
    """The routes of the server that the product calls."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self._sandbox = sandbox

    def routes(self) -> list[web.RouteDef]:
        return [
            web.route("*", "/api/{method}", self.call),
            web.post("/response/{name}", self.response_url),
            web.post("/upload/{file}", self.upload),
            web.get("/files/{file}", self.file),
            web.get("/archives/{channel}/{message}", self.permalink),
            web.get("/socket/{ticket}", self._sandbox.sockets.serve),
        ]

    async def call(self, request: web.Request) -> web.StreamResponse:
        method, arguments = request.match_info["method"], await _read_arguments(request)
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        token = str(arguments.pop("token", "") or "")
        if scheme.lower() == "bearer":
            token = bearer.strip()

        def work() -> Answer:
            world = self._sandbox.world
            content = answer(world, method, arguments, token=token, tokens=self._sandbox.tokens)
            scopes = {"x-oauth-scopes": ",".join(sorted(world.scopes))}
            return Answer(content, web.json_response(content, headers=scopes))

        return await self._serve(request, method, arguments, work)

    async def response_url(self, request: web.Request) -> web.StreamResponse:
        world = self._sandbox.world
        try:
            content = json.loads(await request.text())
        except ValueError:
            content = None

        def work() -> Answer:
            url = world.use_response_url(request.match_info["name"])
            if url is None:
                return _build_plain_answer(404, "expired_url")
            if not isinstance(content, dict):
                return _build_plain_answer(400, "invalid_payload")
            try:
                answer_response_url(world, url, content)
            except SlackError as error:
                if error.code == "invalid_blocks":  # as reported in github.com/slackapi/java-slack-sdk/issues/1349
                    return Answer(error.answer, web.json_response(error.answer, status=404))
                return _build_plain_answer(400, error.code)
            return _build_plain_answer(200, "ok")

        return await self._serve(request, "response_url", content if isinstance(content, dict) else {}, work)

    async def upload(self, request: web.Request) -> web.StreamResponse:
        file = self._sandbox.world.files.get(request.match_info["file"])
        content = await _read_upload(request)

        def work() -> Answer:
            if file is None or file.complete:
                return _build_plain_answer(404, "file_not_found")
            if len(content) != file.length:
                return _build_plain_answer(400, "length does not match")
            file.content = content
            return _build_plain_answer(200, f"OK - {file.length}")

        return await self._serve(request, "upload", {"file": request.match_info["file"]}, work)

    async def file(self, request: web.Request) -> web.Response:
        file = self._sandbox.world.files.get(request.match_info["file"])
        if file is None or file.content is None:
            raise web.HTTPNotFound
        kind = file.mimetype if IMAGES.fullmatch(file.mimetype) else "application/octet-stream"
        return web.Response(body=file.content, content_type=kind, headers={"X-Content-Type-Options": "nosniff"})

    async def permalink(self, request: web.Request) -> web.Response:
        raise web.HTTPFound(f"/?channel={request.match_info['channel']}")

    async def _serve(
        self, request: web.Request, method: str, arguments: Json, work: Callable[[], Answer]
    ) -> web.StreamResponse:
        """Run *work*, apply a fault if there is one for *method*, and record the call."""
        fault = self._sandbox.faults.take(method)
        match fault.kind if fault else "":
            case "rate_limited" if fault:
                refused = {"ok": False, "error": "ratelimited"}
                wait = {"Retry-After": str(fault.retry_after)}
                done = Answer(refused, web.json_response(refused, status=429, headers=wait))
            case "server_error":
                done = _build_plain_answer(500, "Internal Server Error")
            case "no_answer":
                done = Answer({}, web.Response())
            case "failed_after_accepting":
                failed = work().content | {"ok": False, "error": "fatal_error"}
                done = Answer(failed, web.json_response({"ok": False, "error": "fatal_error"}))
            case _:
                done = work()
        at = self._sandbox.clock.now()
        self._sandbox.calls.append(ReceivedCall(method=method, arguments=arguments, answer=done.content, at=at))
        await self._sandbox.changes.happened()
        if fault and fault.kind == "late":
            await self._sandbox.faults.hold()
        if fault and fault.kind in ("no_answer", "dropped_after_accepting") and request.transport:
            request.transport.abort()
        return done.response


async def _read_arguments(request: web.Request) -> Json:
    arguments: Json = dict(request.query)
    if request.content_type == "application/json":
        try:
            body = json.loads(await request.text() or "{}")
        except ValueError:
            return arguments
        return arguments | (body if isinstance(body, dict) else {})
    return arguments | dict(await request.post())


async def _read_upload(request: web.Request) -> bytes:
    """Return the uploaded bytes, from the raw body or from the file in a multipart form."""
    if request.content_type != "multipart/form-data":
        return await request.read()
    for value in (await request.post()).values():
        if isinstance(value, web.FileField):
            return value.file.read()
    return b""


def _build_plain_answer(status: int, text: str) -> Answer:
    return Answer({"status": status, "body": text}, web.Response(status=status, text=text))
