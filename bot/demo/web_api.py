"""Serve the product's calls: the Web API, file uploads, and posts to a response_url."""

import json
import re
from typing import TYPE_CHECKING

from aiohttp import web

from bot.demo.answers import answer_response_url
from bot.demo.blocks import Json
from bot.demo.errors import SlackError
from bot.demo.methods import METHODS
from bot.demo.methods.arguments import Arguments

if TYPE_CHECKING:
    from bot.demo.server import Sandbox

STRUCTURES = ("blocks", "files", "metadata", "view")
IMAGES = re.compile(r"image/(png|jpeg|gif|webp)")


class WebApi:
    """The routes of the server that the product calls."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self._sandbox, self._world = sandbox, sandbox.world

    def routes(self) -> list[web.RouteDef]:
        return [
            web.route("*", "/api/{method}", self.call),
            web.post("/response/{name}", self.response_url),
            web.post("/upload/{file}", self.upload),
            web.get("/files/{file}", self.file),
            web.get("/archives/{channel}/{message}", self.permalink),
        ]

    async def call(self, request: web.Request) -> web.Response:
        name, arguments = request.match_info["method"], await read_arguments(request)
        try:
            if name not in METHODS:
                raise SlackError("unknown_method", req_method=name)
            content = {"ok": True} | METHODS[name](Arguments(self._world, arguments))
        except SlackError as error:
            content = error.answer
        await self._sandbox.changes.happened()
        return web.json_response(content)

    async def response_url(self, request: web.Request) -> web.Response:
        url = self._world.use_response_url(request.match_info["name"])
        if url is None:
            return web.Response(status=404, text="expired_url")
        try:
            answer_response_url(self._world, url, await read_arguments(request))
        except SlackError as error:
            # as reported in github.com/slackapi/java-slack-sdk/issues/1349
            return web.json_response(error.answer, status=404)
        await self._sandbox.changes.happened()
        return web.Response(text="ok")

    async def upload(self, request: web.Request) -> web.Response:
        file = self._world.files.get(request.match_info["file"])
        if file is None:
            raise web.HTTPNotFound(text="file_not_found")
        file.content = await request.read()
        return web.Response(text=f"OK - {len(file.content)}")

    async def file(self, request: web.Request) -> web.Response:
        file = self._world.files.get(request.match_info["file"])
        if file is None or file.content is None:
            raise web.HTTPNotFound
        kind = file.mimetype if IMAGES.fullmatch(file.mimetype) else "application/octet-stream"
        return web.Response(body=file.content, content_type=kind, headers={"X-Content-Type-Options": "nosniff"})

    async def permalink(self, request: web.Request) -> web.Response:
        raise web.HTTPFound(f"/?channel={request.match_info['channel']}")


async def read_arguments(request: web.Request) -> Json:
    """Return the arguments of a call, which come in the query, a form or JSON; structures may come as JSON texts."""
    body = await (request.json() if request.content_type == "application/json" else request.post())
    arguments: Json = {**request.query, **body}
    texts = {name: text for name in STRUCTURES if isinstance(text := arguments.get(name), str)}
    return arguments | {name: json.loads(text) for name, text in texts.items()}
