"""The state of the sandbox: people, channels, messages, views, triggers and response URLs."""

import mimetypes
from dataclasses import dataclass, field, replace
from typing import Any

from bot.demo.blocks import Json, with_ids
from bot.demo.clock import Clock
from bot.demo.errors import SlackError


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
class SlackUserGroup:
    """A user group of the workspace."""

    id: str
    handle: str
    name: str
    users: list[str] = field(default_factory=list)


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


@dataclass(slots=True, kw_only=True)
class File:
    """A file that was uploaded, or will be."""

    id: str
    name: str
    title: str
    content: bytes | None = None

    @property
    def mimetype(self) -> str:
        return mimetypes.guess_type(self.name)[0] or "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseUrl:
    """A URL for answers to one interaction; *original* is the timestamp of the clicked message."""

    user: str
    channel: str
    original: str | None = None


class World:
    """The state of one workspace, in memory."""

    def __init__(self, *, team_id: str, team_name: str, clock: Clock) -> None:
        self.team_id, self.team_name, self.clock = team_id, team_name, clock
        self.app_id, self.bot_id, self.bot_user, self.app_name = "A0APP", "B0BOT", "U0BOT", "Contact Score"
        self.url = ""
        self.commands: list[dict[str, str]] = []
        self.people: dict[str, SlackUser] = {}
        self.channels: dict[str, Channel] = {}
        self.groups: dict[str, SlackUserGroup] = {}
        self.posts: list[Message] = []
        self.modals: dict[str, View] = {}
        self.homes: dict[str, View] = {}
        self.files: dict[str, File] = {}
        self.read: dict[tuple[str, str], str] = {}
        self._triggers: dict[str, str] = {}
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

    def accept_message(self, content: Json) -> Json:
        """Return the text and blocks of a message from the product in stored form."""
        blocks = with_ids(content.get("blocks") or (), new_id=self.new_id)
        return {"text": str(content.get("text") or ""), "blocks": tuple(blocks)}

    def accept_view(self, content: Json, kind: str) -> Json:
        """Return a modal or Home tab from the product in stored form."""
        return content | {"type": kind, "blocks": with_ids(content["blocks"], new_id=self.new_id)}

    def complete_file(self, file_id: str, *, title: str) -> None:
        """Finish an upload, so that blocks can show the file."""
        file = self.files.get(file_id)
        if file is None or file.content is None:
            raise SlackError("file_not_found")
        file.title = title

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
        views = (*self.homes.values(), *self.modals.values())
        return next((view for view in views if view.id == view_id), None)

    def show(self, user: str, content: Json) -> View:
        """Open a modal, or publish the first Home tab of *user*."""
        return self.keep(View(id=self.new_id("V"), user=user, content=content, hash=self.clock.stamp()))

    def update(self, view: View, content: Json) -> View:
        """Return the updated view; values of fields that remain are kept, errors are removed."""
        return self.keep(replace(view, content=content, hash=self.clock.stamp(), errors={}))

    def keep(self, view: View) -> View:
        """Store a view in place of the person's modal or Home tab."""
        (self.homes if view.type == "home" else self.modals)[view.user] = view
        return view

    def new_trigger(self, user: str) -> str:
        """Return the id with which the product may open a modal for *user*."""
        name = f"{self.new_id('')}.{self.team_id}.{self.clock.stamp()}"
        self._triggers[name] = user
        return name

    def use_trigger(self, name: str) -> str:
        """Use up a trigger and return its user; raises SlackError if it is unknown."""
        if name not in self._triggers:
            raise SlackError("invalid_trigger_id")
        return self._triggers.pop(name)

    def new_response_url(self, user: str, channel: str, original: str | None = None) -> str:
        name = self.new_id("R")
        self._response_urls[name] = ResponseUrl(user=user, channel=channel, original=original)
        return f"{self.url}/response/{name}"

    def use_response_url(self, name: str) -> ResponseUrl | None:
        """Return a response URL, or None if it is unknown."""
        return self._response_urls.get(name)
