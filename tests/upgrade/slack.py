"""A small Slack for the upgrade test: it stores what the app posts, and sends what people do to the app.

It follows Slack's documentation and imports nothing of the product, so what it stored during one version of the
product can be loaded for the next version."""

import asyncio
import hmac
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlencode

from aiohttp import ClientSession, ClientTimeout, web

Json = dict[str, Any]

TEAM, BOT = "T0ACME", "U0BOT"
SIGNING_SECRET, BOT_TOKEN = "5f4dcc3b5aa765d61d8327deb882cf99", "xoxb-acme"  # made up for this test
ADMIN, REP, JANE, GUEST = "U0ADMIN", "U0REP", "U0JANE", "U0GUEST"
SALES, DEALS, LEADS = "C0SALES", "C0DEALS", "C0LEADS"
NAMES = {ADMIN: "Ann Admin", REP: "Rob Rep", JANE: "Jane Janson", GUEST: "Gus Guest", BOT: "Contact Score"}
CHANNELS = {SALES: "sales", DEALS: "deals", LEADS: "leads"}
MEMBERS = [ADMIN, REP, JANE, BOT]
SLACK_ADDRESS = "http://slack.example"  #: placeholder of this server's address in stored documents
FORM = "application/x-www-form-urlencoded"
PATIENCE = 60.0


def person(id: str) -> Json:
    """Return Slack's data about a user."""
    address = f"{NAMES[id].split()[0].lower()}@acme.example"
    return {
        "id": id,
        "team_id": TEAM,
        "name": id.lower(),
        "real_name": NAMES[id],
        "deleted": False,
        "tz": "UTC",
        "is_admin": id == ADMIN,
        "is_owner": id == ADMIN,
        "is_primary_owner": id == ADMIN,
        "is_restricted": id == GUEST,
        "is_ultra_restricted": False,
        "is_bot": id == BOT,
        "profile": {"real_name": NAMES[id], "display_name": "", "email": address, "team": TEAM},
    }


@dataclass(slots=True)
class Held:
    """Everything that Slack stores, which can be written and loaded as one JSON document."""

    messages: list[Json] = field(default_factory=list)  #: visible to everyone in their channel
    answers: list[Json] = field(default_factory=list)  #: visible to one user only
    modals: list[Json] = field(default_factory=list)  #: {"user", "view"}
    homes: list[Json] = field(default_factory=list)  #: {"user", "view"}, a user's latest view last
    urls: dict[str, Json] = field(default_factory=dict)  #: number of a response_url → receiver and place of the answer
    last: int = 0  #: the last number of a response_url, a view or an event


@dataclass(slots=True)
class Reply:
    """The app's reaction to a request: its HTTP answer, and its calls to Slack."""

    status: int
    body: bytes
    calls: list[Json] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Return all text that the user can read."""
        return "\n".join([*(readable(call) for call in self.calls), self.body.decode()]).strip()


class Slack:
    """The workspace of one team. `url` is the value for SLACK_API_URL, `app_url` the address of the app."""

    def __init__(self, held: Held, *, clock: Callable[[], float]) -> None:
        self.held = held
        self.clock = clock
        self.url = ""
        self.app_url = ""
        self.calls: list[Json] = []  #: method and arguments of each call that changes or shows something
        self.silent: set[str] = set()  #: channels in which messages are stored but not answered
        self.deaf: set[str] = set()  #: channels in which messages are neither stored nor answered
        self.waiting = 0  #: number of unanswered requests
        self.other: Json = {}  #: the answer of another system with an API on this server
        self._changed = asyncio.Condition()
        self._moments = itertools.count(1)
        self._session: ClientSession | None = None
        self._open = asyncio.Event()

    # Calls of the app

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one call of the Web API."""
        arguments = dict(request.query)
        if request.content_type == "application/json":
            arguments |= await request.json()
        elif request.can_read_body:
            arguments |= {name: str(value) for name, value in (await request.post()).items()}
        for name in ("blocks", "view", "metadata", "files"):
            if isinstance(arguments.get(name), str):
                arguments[name] = json.loads(arguments[name])
        method = request.match_info["method"]
        handler = _METHODS.get(method)
        if handler is None:
            return web.json_response({"ok": False, "error": "unknown_method"})
        try:
            answer = {"ok": True} | handler(self, arguments)
        except LookupError as error:
            return web.json_response({"ok": False, "error": str(error.args[0])})
        except _Unanswered:
            self.waiting += 1
            await self._tell()
            await self._open.wait()
            return web.Response(status=500)
        await self._tell()
        return web.json_response(answer)

    async def respond(self, request: web.Request) -> web.Response:
        """Store what the app sends to a response_url."""
        place, arguments = self.held.urls.get(request.match_info["number"]), await request.json()
        if place is None:
            return web.Response(status=404, text="expired_url")
        original = next((message for message in self._all() if message["ts"] == place["original"]), None)
        content = {"text": arguments.get("text", ""), "blocks": _with_ids(arguments.get("blocks") or [])}
        self.calls.append({"method": "response_url", "to": request.match_info["number"], **content})
        if arguments.get("replace_original") and original is not None:
            original |= content
        else:
            self.held.answers.append(
                {"user": place["user"], "channel": place["channel"], "ts": self._new_ts(), **content}
            )
        await self._tell()
        return web.Response(text="ok")

    async def take_file(self, request: web.Request) -> web.Response:
        """Accept an uploaded picture."""
        await request.read()
        return web.Response(text="OK")

    async def other_system(self, _: web.Request) -> web.Response:
        """Answer for the API of another system."""
        return web.json_response(self.other)

    def post_message(self, arguments: Json) -> Json:
        """Store a message to a channel."""
        channel = str(arguments["channel"])
        if channel in self.deaf:
            raise _Unanswered
        is_known = channel in CHANNELS or (channel[:1] == "D" and f"U{channel[1:]}" in NAMES)
        if not is_known:
            raise LookupError("channel_not_found")
        message: Json = {"channel": channel, "ts": self._new_ts(), "text": arguments.get("text", "")}
        message["blocks"] = _with_ids(arguments.get("blocks") or [])
        message |= {name: arguments[name] for name in ("metadata", "thread_ts") if arguments.get(name)}
        self.held.messages.append(message)
        self.calls.append({"method": "chat.postMessage", **message})
        if channel in self.silent:
            raise _Unanswered
        return {"channel": channel, "ts": message["ts"]}

    def update_message(self, arguments: Json) -> Json:
        """Change a message."""
        message = next((message for message in self.held.messages if message["ts"] == arguments["ts"]), None)
        if message is None or message["channel"] != arguments["channel"]:
            raise LookupError("message_not_found")
        message |= {"text": arguments.get("text", ""), "blocks": _with_ids(arguments.get("blocks") or [])}
        self.calls.append({"method": "chat.update", "channel": message["channel"], "ts": message["ts"]})
        return {"channel": message["channel"], "ts": message["ts"]}

    def post_ephemeral(self, arguments: Json) -> Json:
        """Store a message that only one user sees."""
        content = {"text": arguments.get("text", ""), "blocks": _with_ids(arguments.get("blocks") or [])}
        answer = {"user": arguments["user"], "channel": arguments["channel"], "ts": self._new_ts(), **content}
        self.held.answers.append(answer)
        self.calls.append({"method": "chat.postEphemeral", **answer})
        return {"message_ts": answer["ts"]}

    def open_view(self, arguments: Json) -> Json:
        """Open a form for the user of a trigger id."""
        trigger = str(arguments["trigger_id"])
        user = self.held.urls[trigger.partition(".")[0]]["user"]
        view = self._shown(arguments["view"], f"V{self._next()}")
        self.held.modals.append({"user": user, "view": view})
        self.calls.append({"method": "views.open", "view": view})
        return {"view": view}

    def update_view(self, arguments: Json) -> Json:
        """Replace the view of an open form."""
        modal = next((modal for modal in self.held.modals if modal["view"]["id"] == arguments.get("view_id")), None)
        if modal is None:
            raise LookupError("not_found")
        modal["view"] = self._shown(arguments["view"], modal["view"]["id"])
        self.calls.append({"method": "views.update", "view": modal["view"]})
        return {"view": modal["view"]}

    def publish_view(self, arguments: Json) -> Json:
        """Replace the Home tab of a user."""
        view = self._shown(arguments["view"], f"V{self._next()}")
        self.held.homes.append({"user": arguments["user_id"], "view": view})
        self.calls.append({"method": "views.publish", "user": arguments["user_id"], "view": view})
        return {"view": view}

    def history(self, arguments: Json) -> Json:
        """Return the messages of a channel or thread, newest first."""
        thread, oldest = arguments.get("ts"), float(arguments.get("oldest") or 0)
        messages = [
            message
            for message in reversed(self.held.messages)
            if message["channel"] == arguments["channel"]
            and message.get("thread_ts") == thread
            and float(message["ts"]) >= oldest
        ]
        return {"messages": messages, "has_more": False}

    # Actions of people

    async def command(self, text: str, *, user: str = REP, channel: str = SALES) -> Reply:
        """Type `/score` and *text*."""
        number = self._new_url(user, channel)
        body = urlencode(
            {
                "team_id": TEAM,
                "channel_id": channel,
                "user_id": user,
                "command": "/score",
                "text": text,
                "response_url": self._url_of(number),
                "trigger_id": f"{number}.trigger",
            }
        )
        return await self._send(body.encode(), FORM, number=number)

    async def press(self, message: Json, element: Json, *, user: str, extra: Json | None = None) -> Reply:
        """Press a button of *message*: a message, an answer or a view. *extra* is the choice in a menu."""
        action = {"type": element["type"], "action_id": element["action_id"], "block_id": element["block_id"]}
        action |= {"action_ts": self._new_ts(), **({"value": element["value"]} if "value" in element else {})}
        payload = self._interaction("block_actions", user, message.get("channel")) | {
            "actions": [action | (extra or {})]
        }
        if "view" in message:
            view = message["view"] | {"state": {"values": state_of(message["view"], {})}}
            payload |= {"view": view, "container": {"type": "view", "view_id": message["view"]["id"]}}
            return await self._interact(payload)
        channel = message["channel"]
        payload |= {"channel": {"id": channel, "name": CHANNELS.get(channel, "directmessage")}}
        payload["container"] = {
            "type": "message",
            "message_ts": message["ts"],
            "channel_id": channel,
            "is_ephemeral": "user" in message,
        }
        number = payload["trigger_id"].partition(".")[0]
        self.held.urls[number]["original"] = message["ts"]
        payload["response_url"] = self._url_of(number)
        if "user" not in message:
            payload["message"] = {name: message[name] for name in ("ts", "text", "blocks")}
        return await self._interact(payload)

    async def submit(self, modal: Json, values: Json) -> Reply:
        """Fill in *values* (block → value), and submit a form."""
        payload = self._interaction("view_submission", modal["user"], None)
        payload |= {"view": modal["view"] | {"state": {"values": state_of(modal["view"], values)}}, "response_urls": []}
        return await self._interact(payload)

    async def options(self, modal: Json, *, block: str, action: str, value: str) -> list[Json]:
        """Return the options that the app offers for a text in a menu."""
        payload = self._interaction("block_suggestion", modal["user"], None)
        payload |= {"action_id": action, "block_id": block, "value": value, "view": modal["view"]}
        reply = await self._send(urlencode({"payload": json.dumps(payload)}).encode(), FORM, waits=False)
        return list(json.loads(reply.body)["options"])

    async def shortcut(self, text: str, *, callback: str, user: str, channel: str) -> Reply:
        """Use the message shortcut on the message with *text*."""
        payload = self._interaction("message_action", user, channel)
        number = payload["trigger_id"].partition(".")[0]
        payload |= {"callback_id": callback, "channel": {"id": channel}, "response_url": self._url_of(number)}
        payload |= {"message": {"type": "message", "user": JANE, "text": text, "ts": self._new_ts()}}
        return await self._interact(payload)

    async def event(self, **event: Any) -> Reply:
        """Send an event to the app."""
        document = {
            "team_id": TEAM,
            "type": "event_callback",
            "event": {"event_ts": self._new_ts(), "team": TEAM, **event},
            "event_id": f"Ev{self._next()}",
            "event_time": int(self.clock()),
            "authorizations": [{"team_id": TEAM, "user_id": BOT, "is_bot": True, "is_enterprise_install": False}],
        }
        return await self._send(json.dumps(document).encode(), "application/json")

    async def wait(self, condition: Callable[[], bool], *, patience: float = PATIENCE) -> None:
        """Wait until *condition* is true, which is checked after each call of the app."""
        async with asyncio.timeout(patience), self._changed:
            await self._changed.wait_for(condition)

    def release(self) -> None:
        """Answer the requests that are still unanswered."""
        self.silent.clear()
        self.deaf.clear()
        self._open.set()

    def _interaction(self, kind: str, user: str, channel: str | None) -> Json:
        number = self._new_url(user, channel or f"D{user[1:]}")
        return {
            "type": kind,
            "team": {"id": TEAM},
            "user": {"id": user, "team_id": TEAM},
            "trigger_id": f"{number}.trigger",
            "is_enterprise_install": False,
        }

    async def _interact(self, payload: Json) -> Reply:
        number = payload["trigger_id"].partition(".")[0] if "response_url" in payload else None
        body = urlencode({"payload": json.dumps(payload)}).encode()
        is_home = payload.get("view", {}).get("type") == "home"
        return await self._send(body, FORM, number=number, is_home=is_home)

    async def _send(
        self, body: bytes, kind: str, *, number: str | None = None, waits: bool = True, is_home: bool = False
    ) -> Reply:
        """Sign and send a request, and wait until the app has shown something in reaction.

        *number* is the number of the request's response_url, if any."""
        before, stamp = len(self.calls), str(int(self.clock()))
        digest = hmac.new(SIGNING_SECRET.encode(), f"v0:{stamp}:".encode() + body, "sha256").hexdigest()
        headers = {"Content-Type": kind, "X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}
        assert self._session is not None
        async with self._session.post(f"{self.app_url}/slack/events", data=body, headers=headers) as answer:
            reply = Reply(answer.status, await answer.read())
        # A Home tab is drawn again after the answer.
        is_shown = _is_home if is_home else partial(_shows, number=number)
        if waits and reply.status == 200 and not reply.body:
            await self.wait(lambda: any(map(is_shown, self.calls[before:])))
        reply.calls = [call for call in self.calls[before:] if _shows(call, number=number)]
        return reply

    def _next(self) -> int:
        self.held.last += 1
        return self.held.last

    def _new_url(self, user: str, channel: str) -> str:
        number = str(self._next())
        self.held.urls[number] = {"user": user, "channel": channel, "original": None}
        return number

    def _url_of(self, number: str) -> str:
        return f"{self.url.removesuffix('/api/')}/respond/{number}"

    def _new_ts(self) -> str:
        # A timestamp is unique, and later than all earlier posts.
        last = max((float(message["ts"]) for message in self._all()), default=0.0)
        return f"{max(self.clock(), last + 0.000_01):.5f}{next(self._moments) % 10}"

    def _all(self) -> Iterator[Json]:
        return itertools.chain(self.held.messages, self.held.answers)

    def _shown(self, view: Json, id: str) -> Json:
        return view | {
            "id": id,
            "team_id": TEAM,
            "app_installed_team_id": TEAM,
            "hash": f"{self._next()}.hash",
            "blocks": _with_ids(view["blocks"]),
        }

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class _Unanswered(Exception):
    """The call is not answered."""


def _channel(id: str) -> Json:
    if id in CHANNELS:
        return {"id": id, "name": CHANNELS[id], "is_channel": True, "is_member": True, "is_private": False}
    if id[:1] == "D":
        return {"id": id, "is_im": True, "user": f"U{id[1:]}"}
    raise LookupError("channel_not_found")


def _check_person(id: str) -> str:
    if id not in NAMES:
        raise LookupError("user_not_found")
    return id


def _by_address(arguments: Json) -> Json:
    for id in NAMES:
        if person(id)["profile"]["email"] == arguments["email"]:
            return {"user": person(id)}
    raise LookupError("users_not_found")


_METHODS: dict[str, Callable[[Slack, Json], Json]] = {
    "auth.test": lambda _, __: {"team": "Acme", "team_id": TEAM, "user_id": BOT, "bot_id": "B0BOT", "url": "https://acme"},
    "users.info": lambda _, arguments: {"user": person(_check_person(str(arguments["user"])))},
    "users.list": lambda _, __: {"members": [person(id) for id in NAMES], "response_metadata": {"next_cursor": ""}},
    "users.lookupByEmail": lambda _, arguments: _by_address(arguments),
    "conversations.info": lambda _, arguments: {"channel": _channel(str(arguments["channel"]))},
    "conversations.members": lambda _, __: {"members": MEMBERS, "response_metadata": {"next_cursor": ""}},
    "conversations.open": lambda _, arguments: {"channel": {"id": f"D{_check_person(str(arguments['users']))[1:]}"}},
    "conversations.history": lambda slack, arguments: slack.history(arguments),
    "conversations.replies": lambda slack, arguments: slack.history(arguments),
    "chat.postMessage": lambda slack, arguments: slack.post_message(arguments),
    "chat.update": lambda slack, arguments: slack.update_message(arguments),
    "chat.postEphemeral": lambda slack, arguments: slack.post_ephemeral(arguments),
    "views.open": lambda slack, arguments: slack.open_view(arguments),
    "views.update": lambda slack, arguments: slack.update_view(arguments),
    "views.publish": lambda slack, arguments: slack.publish_view(arguments),
    "files.getUploadURLExternal": lambda slack, _: {
        "upload_url": f"{slack.url.removesuffix('/api/')}/upload", "file_id": "F0CHART",
    },
    "files.completeUploadExternal": lambda _, __: {"files": [{"id": "F0CHART"}]},
}  # fmt: skip  # one method per line


def _is_home(call: Json) -> bool:
    return bool(call["method"] == "views.publish")


def _shows(call: Json, *, number: str | None) -> bool:
    """Return whether a call shows something to the requesting user, unlike a message that a job posted."""
    if call["method"] == "chat.postMessage":
        return "metadata" not in call
    if call["method"] == "response_url":
        return number in (None, call["to"])
    return call["method"] in ("response_url", "chat.postEphemeral", "views.open", "views.update", "views.publish")


def _with_ids(blocks: list[Json]) -> list[Json]:
    return [{"block_id": f"b{place}", **block} for place, block in enumerate(blocks)]


def elements_of(blocks: list[Json]) -> list[Json]:
    """Return the buttons and menus of blocks, each with its block id, without the fields of forms."""
    elements = []
    for block in blocks:
        inside = block["elements"] if block["type"] == "actions" else [block.get("accessory") or {}]
        elements += [{**element, "block_id": block["block_id"]} for element in inside if "action_id" in element]
    return elements


def name_of(element: Json) -> str:
    """Return the action id of an element, without the suffix that makes it unique."""
    return str(element["action_id"]).partition(":")[0]


def choices_of(element: Json) -> list[Json]:
    """Return the choices in an element, the current one last; a button has one choice."""
    match element["type"]:
        case "button":
            return [{}]
        case "conversations_select":
            return [{"selected_conversation": SALES}]
        case _:
            chosen = element.get("initial_option")
            options = sorted(element["options"], key=lambda option: bool(option == chosen))
            return [{"selected_option": option} for option in options]


def state_of(view: Json, values: Json) -> Json:
    """Return the state of a form: the values of its fields, with *values* in place of some."""
    state: Json = {}
    for block in view["blocks"]:
        if block["type"] != "input":
            continue
        element, name = block["element"], block["block_id"]
        entry = {"type": element["type"]}
        match element["type"]:
            case "static_select" | "external_select":
                entry["selected_option"] = values.get(name, element.get("initial_option"))
            case "checkboxes":
                entry["selected_options"] = element["options"] if values.get(name) else []
            case "conversations_select":
                entry["selected_conversation"] = values.get(name)
            case "users_select":
                entry["selected_user"] = values.get(name)
            case _:
                entry["value"] = values.get(name, element.get("initial_value"))
        state[name] = {element["action_id"]: entry}
    return state


def readable(content: Json) -> str:
    """Return the texts of a message or view, with buttons in brackets."""
    blocks = content.get("view", content).get("blocks") or []
    if not blocks:
        return str(content.get("text", ""))
    lines = []
    for block in blocks:
        if "text" in block:
            lines.append(block["text"]["text"])
        if block["type"] == "context":
            lines.append(" ".join(element["text"] for element in block["elements"]))
        if "label" in block:
            lines.append(block["label"]["text"])
    lines += [f"[{element['text']['text']}]" for element in elements_of(blocks) if element["type"] == "button"]
    return "\n".join(lines)


@asynccontextmanager
async def slack_with(held: Held, *, clock: Callable[[], float]) -> AsyncIterator[Slack]:
    """Start a Slack with stored data on a free port, and stop it at the end."""
    slack = Slack(held, clock=clock)
    application = web.Application(client_max_size=2**24)
    application.add_routes(
        [
            web.route("*", "/api/{method}", slack.answer),
            web.post("/respond/{number}", slack.respond),
            web.post("/upload", slack.take_file),
            web.route("*", "/other/{path:.*}", slack.other_system),
        ]
    )
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    slack.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/"
    async with ClientSession(timeout=ClientTimeout(total=PATIENCE)) as session:
        slack._session = session
        try:
            yield slack
        finally:
            slack.release()
            await runner.cleanup()
