"""Serve the sandbox's page, and the acts of a person in it."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from bot.demo.blocks import Json
from bot.demo.errors import SlackError
from bot.demo.sample import EXAMPLES, PUSHES, SHORTCUTS
from bot.demo.sending import Response
from bot.demo.world import Channel, Message, SlackUser, View

if TYPE_CHECKING:
    from bot.demo.server import Sandbox

PAGE = Path(__file__).parent / "page"
CONTENT_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
NOT_CACHED = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
# Slack shows the Home tab before the app has published it, because opening the tab notifies the app.
NO_HOME_YET = {
    "id": "",
    "type": "home",
    "blocks": [{"type": "section", "text": {"type": "plain_text", "text": "Nothing has been published here yet."}}],
    "errors": {},
}

Act = Callable[[Json], Awaitable[Any]]


class PageFace:
    """The routes of the server that the browser calls."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self._sandbox, self._world = sandbox, sandbox.world

    def routes(self) -> list[web.RouteDef]:
        acts = {
            "say": self.say,
            "click": self.click,
            "submit": self.submit,
            "close": self.close,
            "options": self.options,
            "push": self.push,
            "agent": self.ask_as_agent,
            "clock": self.put_clock_forward,
            "read": self.mark_as_read,
            "home": self.open_home,
            "shortcut": self.use_shortcut,
        }
        return [
            web.get("/", self.index),
            web.get("/page/{name}", self.static),
            web.get("/state", self.state),
            web.get("/changes", self.changes),
            *(web.post(f"/act/{name}", _make_handler(act)) for name, act in acts.items()),
        ]

    async def index(self, request: web.Request) -> web.Response:
        return _serve_file("index.html")

    async def static(self, request: web.Request) -> web.Response:
        return _serve_file(request.match_info["name"])

    async def state(self, request: web.Request) -> web.Response:
        me = self._world.people.get(request.query.get("user", "U0REP"))
        if me is None:
            raise web.HTTPNotFound(text="user_not_found")
        self._world.im(me.id)
        channels = [channel for channel in self._world.channels.values() if me.id in channel.members]
        views = self._sandbox.open_views(me.id)
        home = self._sandbox.home(me.id)
        people = [person for person in self._world.people.values() if not person.is_bot]
        content = {
            "team": {"id": self._world.team_id, "name": self._world.team_name},
            "me": _render_person(me),
            "people": [_render_person(person) for person in people],
            "groups": [{"id": group.id, "handle": group.handle} for group in self._world.groups.values()],
            "channels": [self._render_channel(channel, me) for channel in channels],
            "messages": {
                channel.id: [self._render_message(message) for message in self._world.seen_by(me.id, channel.id)]
                for channel in channels
            },
            "views": [self._render_view(view) for view in views],
            "home": self._render_view(home) if home else NO_HOME_YET,
            "examples": list(EXAMPLES),
            "pushes": list(PUSHES),
            "agent": {"url": self._sandbox.agent_url, "token": self._sandbox.agent_token},
            "now": self._sandbox.clock.iso(),
            "commands": self._world.commands,
            "shortcuts": list(SHORTCUTS),
        }
        return web.json_response(content, headers=NOT_CACHED)

    async def changes(self, request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await stream.prepare(request)
        count = self._sandbox.changes.count
        try:
            while not self._sandbox.stopping:
                await stream.write(b"event: changed\ndata: %d\n\n" % count)
                count = await self._sandbox.changes.after(count)
        except ConnectionError:
            pass  # the browser disconnected
        return stream

    async def say(self, arguments: Json) -> Json:
        return _render_response(
            await self._sandbox.say(arguments["text"], user=arguments["user"], channel=arguments["channel"])
        )

    async def use_shortcut(self, arguments: Json) -> Json:
        return _render_response(
            await self._sandbox.shortcut(arguments["callback_id"], user=arguments["user"], message=arguments["handle"])
        )

    async def click(self, arguments: Json) -> Json:
        return _render_response(
            await self._sandbox.click(
                arguments["handle"],
                arguments["action_id"],
                user=arguments["user"],
                block_id=arguments.get("block_id"),
                selected=arguments.get("choice"),
                values=arguments.get("values"),
            )
        )

    async def submit(self, arguments: Json) -> Json:
        response = await self._sandbox.submit(arguments["view"], arguments.get("values"), user=arguments["user"])
        view = self._world.view(arguments["view"])
        return _render_response(response) | {"errors": view.errors if view else {}}

    async def close(self, arguments: Json) -> Json:
        return _render_response(await self._sandbox.close_view(arguments["view"], user=arguments["user"]))

    async def options(self, arguments: Json) -> Json:
        typed, block_id = str(arguments.get("value") or ""), arguments.get("block_id")
        options = await self._sandbox.options(
            arguments["handle"], arguments["action_id"], typed, user=arguments["user"], block_id=block_id
        )
        return {"options": options}

    async def push(self, arguments: Json) -> Json:
        return await self._sandbox.push(arguments["body"])

    async def ask_as_agent(self, arguments: Json) -> Json:
        return {"calls": await self._sandbox.ask_as_agent()}

    async def put_clock_forward(self, arguments: Json) -> Json:
        self._sandbox.clock.advance(float(arguments["seconds"]))
        await self._sandbox.changes.happened()
        return {"now": self._sandbox.clock.iso()}

    async def mark_as_read(self, arguments: Json) -> Json:
        user, channel = arguments["user"], arguments["channel"]
        messages = self._world.seen_by(user, channel)
        latest = messages[-1].ts if messages else ""
        if self._world.read.get((user, channel), "") != latest:
            self._world.read[user, channel] = latest
            await self._sandbox.changes.happened()
        return {}

    async def open_home(self, arguments: Json) -> Json:
        return _render_response(await self._sandbox.open_home(arguments["user"]))

    def _render_channel(self, channel: Channel, me: SlackUser) -> Json:
        last_read = self._world.read.get((me.id, channel.id), "")
        unread = [
            message
            for message in self._world.seen_by(me.id, channel.id)
            if message.ts > last_read and message.user != me.id
        ]
        rendered = {"id": channel.id, "name": channel.name, "kind": channel.kind, "topic": channel.topic}
        return rendered | {"unread": len(unread)}

    def _render_message(self, message: Message) -> Json:
        author = self._world.people.get(message.user)
        name, bot = (author.real_name, author.is_bot) if author else (message.user, False)
        return {
            "id": message.id,
            "ts": message.ts,
            "channel": message.channel,
            "user": {"id": message.user, "name": name, "bot": bot},
            "text": message.text,
            "blocks": [*map(self._make_drawable, message.blocks)],
            "ephemeral": message.ephemeral,
            "edited": message.edited,
            "thread_ts": message.thread_ts,
        }

    def _render_view(self, view: View) -> Json:
        words = {key: (view.content.get(key) or {}).get("text") for key in ("title", "submit", "close")}
        rest = {"id": view.id, "type": view.type, "errors": view.errors, "callback_id": view.callback_id}
        return words | rest | {"blocks": [*map(self._make_drawable, view.blocks)]}

    def _make_drawable(self, block: Json) -> Json:
        """Return a block with a URL in place of the id of an uploaded picture."""
        picture = block.get("slack_file")
        return block | {"image_url": f"{self._world.url}/files/{picture['id']}"} if picture else block


def _make_handler(act: Act) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        # A form or script of another web page cannot send this header without a CORS preflight.
        if request.headers.get("X-Sandbox") != "1":
            raise web.HTTPForbidden(text="The header X-Sandbox: 1 is missing.")
        try:
            return web.json_response(await act(json.loads(await request.text())), headers=NOT_CACHED)
        except (LookupError, ValueError, TypeError, SlackError) as error:
            return web.json_response({"error": str(error)}, status=400)

    return handle


def _render_response(response: Response) -> Json:
    return {"status": response.status, "note": response.note}


def _render_person(person: SlackUser) -> Json:
    return {
        "id": person.id,
        "name": person.name,
        "real_name": person.real_name,
        "kind": person.kind,
        "avatar_color": f"#{person.color}",
        "tz": person.tz,
    }


def _serve_file(name: str) -> web.Response:
    path = PAGE / name
    if path.parent != PAGE or path.suffix not in CONTENT_TYPES or not path.is_file():
        raise web.HTTPNotFound
    kind = CONTENT_TYPES[path.suffix]
    return web.Response(body=path.read_bytes(), content_type=kind, charset="utf-8", headers=NOT_CACHED)
