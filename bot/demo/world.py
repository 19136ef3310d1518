"""The state of the sandbox: people, channels, messages, views, triggers and response URLs."""

import mimetypes
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from bot.demo.clock import Clock
from bot.demo.errors import SlackError

Json = dict[str, Any]

TRIGGER_SECONDS = 3
RESPONSE_URL_SECONDS = 30 * 60
RESPONSE_URL_USES = 5
SCOPES = frozenset({"commands", "chat:write", "team:read", "files:write", "reactions:write", "channels:join"}) | {
    *("users:read", "users:read.email", "channels:read", "groups:read", "im:read", "mpim:read", "im:write"),
    *("channels:history", "groups:history", "im:history"),
}


@dataclass(slots=True, kw_only=True)
class SlackUser:
    """A person with an account in this workspace or, with another *team_id*, in a connected organization."""

    id: str
    name: str
    real_name: str
    email: str = ""
    team_id: str = "T0DEMO"
    tz: str = "Europe/Berlin"
    job: str = "member"
    color: str = "4a5568"
    is_admin: bool = False
    is_owner: bool = False
    is_restricted: bool = False
    is_ultra_restricted: bool = False
    is_stranger: bool = False
    is_bot: bool = False
    deleted: bool = False

    @property
    def kind(self) -> str:
        if self.is_stranger:
            return "outsider"
        if self.is_restricted or self.is_ultra_restricted:
            return "guest"
        return "admin" if self.is_admin else self.job


@dataclass(slots=True, kw_only=True)
class Channel:
    """A channel or, with *im_with*, the direct messages of a person with the app."""

    id: str
    name: str
    members: list[str] = field(default_factory=list)
    topic: str = ""
    im_with: str | None = None
    is_private: bool = False
    is_archived: bool = False
    is_ext_shared: bool = False
    is_pending_ext_shared: bool = False
    connected_team_ids: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        if self.im_with:
            return "im"
        return "shared" if self.is_ext_shared or self.is_pending_ext_shared else "channel"

    @property
    def family(self) -> str:
        """Return the prefix of the scopes for this kind of channel."""
        return "im" if self.im_with else "groups" if self.is_private else "channels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A posted message; with *only_for*, an ephemeral message to one person.

    *blocks_before* are the blocks before the last edit: a click during the edit may still come from them.
    """

    ts: str
    channel: str
    user: str
    text: str
    blocks: tuple[Json, ...] = ()
    blocks_before: tuple[Json, ...] = ()
    only_for: str | None = None
    edited: bool = False
    thread_ts: str | None = None
    metadata: Json | None = None
    files: tuple[str, ...] = ()
    reactions: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> str:
        """Return the id of the message for clicks: its timestamp, which is unique in the sandbox."""
        return self.ts

    @property
    def ephemeral(self) -> bool:
        return self.only_for is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A modal or a Home tab of one person; *values* are the values chosen so far."""

    id: str
    user: str
    content: Json
    hash: str
    root: str
    previous: str | None = None
    values: dict[str, dict[str, Json]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def type(self) -> str:
        return str(self.content["type"])

    @property
    def blocks(self) -> list[Json]:
        return list(self.content["blocks"])

    @property
    def callback_id(self) -> str:
        return str(self.content.get("callback_id", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedCall:
    """A received request: a Web API call, an upload, or a post to a response_url."""

    method: str
    arguments: Json
    answer: Json
    at: float


@dataclass(slots=True, kw_only=True)
class File:
    """A file that was uploaded, or will be."""

    id: str
    name: str
    title: str
    length: int
    content: bytes | None = None
    complete: bool = False
    looked_at: float = 0  #: when Slack finishes processing (seconds since the epoch); no block can show it before

    @property
    def mimetype(self) -> str:
        return mimetypes.guess_type(self.name)[0] or "application/octet-stream"

    @property
    def is_picture(self) -> bool:
        return self.complete and self.mimetype in ("image/png", "image/jpeg", "image/gif")


class Trigger(NamedTuple):
    """The person who acted, and when; a trigger is valid for one modal within three seconds."""

    user: str
    at: float


@dataclass(slots=True, kw_only=True)
class ResponseUrl:
    """A URL for answers to one interaction; *original* is the timestamp of the clicked message."""

    user: str
    channel: str
    at: float
    original: str | None = None
    uses: int = 0


class World:
    """The state of one workspace, in memory."""

    def __init__(self, *, team_id: str, team_name: str, clock: Clock) -> None:
        self.team_id, self.team_name, self.clock = team_id, team_name, clock
        self.app_id, self.bot_id, self.bot_user, self.app_name = "A0APP", "B0BOT", "U0BOT", "Contact Score"
        self.url = ""
        self.new_socket_url: Callable[[], str] = str
        self.scopes = set(SCOPES)
        self.commands: list[dict[str, str]] = []
        self.people: dict[str, SlackUser] = {}
        self.channels: dict[str, Channel] = {}
        self.posts: list[Message] = []
        self.modals: dict[str, list[View]] = {}
        self.homes: dict[str, View] = {}
        self.files: dict[str, File] = {}
        self.looking_seconds = 0.0
        self.read: dict[tuple[str, str], str] = {}
        self._triggers: dict[str, Trigger] = {}
        self._spent: set[str] = set()
        self._response_urls: dict[str, ResponseUrl] = {}
        self._counter = 0

    @property
    def domain(self) -> str:
        return "".join(letter for letter in self.team_name.lower() if letter.isalnum()) or "workspace"

    def add_person(self, person: SlackUser) -> SlackUser:
        self.people[person.id] = person
        return person

    def add_channel(self, channel: Channel) -> Channel:
        self.channels[channel.id] = channel
        return channel

    def new_id(self, prefix: str) -> str:
        self._counter += 1
        return f"{prefix}0{self._counter:06d}"

    def im(self, user: str) -> Channel:
        """Return the direct messages of *user* with the app, created if necessary."""
        channel_id = "D" + user[1:]
        if channel_id not in self.channels:
            members = [user, self.bot_user]
            self.add_channel(Channel(id=channel_id, name=self.app_name, members=members, im_with=user))
        return self.channels[channel_id]

    def post(self, *, channel: str, user: str, text: str, **more: Any) -> Message:
        message = Message(ts=self.clock.stamp(), channel=channel, user=user, text=text, **more)
        self.posts.append(message)
        return message

    def find(self, ts: str) -> Message | None:
        return next((message for message in self.posts if message.ts == ts), None)

    def change(self, message: Message, **changes: Any) -> Message:
        before = message.blocks if "blocks" in changes else message.blocks_before
        changed = replace(message, blocks_before=before, **changes)
        self.posts[self.posts.index(message)] = changed
        return changed

    def seen_by(self, user: str, channel: str) -> list[Message]:
        return [post for post in self.posts if post.channel == channel and post.only_for in (None, user)]

    def view(self, view_id: str) -> View | None:
        views = [*self.homes.values(), *(view for stack in self.modals.values() for view in stack)]
        return next((view for view in views if view.id == view_id), None)

    def keep(self, view: View) -> View:
        """Replace the stored view that has the same id; a Home tab is added if there is none."""
        if view.type == "home":
            self.homes[view.user] = view
        else:
            stack = self.modals[view.user]
            stack[[modal.id for modal in stack].index(view.id)] = view
        return view

    def new_trigger(self, user: str) -> str:
        name = f"{self.new_id('')}.{self.team_id}.{self.clock.stamp()}"
        self._triggers[name] = Trigger(user, self.clock.now())
        return name

    def spend_trigger(self, name: str) -> Trigger:
        """Use up a trigger and return it; raises SlackError if it is unknown, used or older than three seconds."""
        trigger = self._triggers.get(name)
        if trigger is None:
            raise SlackError("invalid_trigger_id")
        if name in self._spent:
            raise SlackError("exchanged_trigger_id")
        if self.clock.now() - trigger.at > TRIGGER_SECONDS:
            raise SlackError("expired_trigger_id")
        self._spent.add(name)
        return trigger

    def new_response_url(self, user: str, channel: str, original: str | None = None) -> str:
        name = self.new_id("R")
        self._response_urls[name] = ResponseUrl(user=user, channel=channel, at=self.clock.now(), original=original)
        return f"{self.url}/response/{name}"

    def use_response_url(self, name: str) -> ResponseUrl | None:
        """Count a use of a response URL and return it, or None after five uses or half an hour."""
        url = self._response_urls.get(name)
        if not url or url.uses >= RESPONSE_URL_USES or self.clock.now() - url.at > RESPONSE_URL_SECONDS:
            return None
        url.uses += 1
        return url
