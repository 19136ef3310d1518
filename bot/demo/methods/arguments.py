"""Parse the arguments of a Web API call."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from bot.demo.answers import structure
from bot.demo.errors import SlackError
from bot.demo.world import Channel, Json, Message, SlackUser, World


class Arguments:
    """The arguments by name; the methods raise SlackError for missing or invalid values, with Slack's error codes."""

    def __init__(self, world: World, values: Json) -> None:
        self.world, self.values = world, values

    def needed(self, name: str) -> str:
        value = self.text(name)
        if not value:
            raise SlackError("invalid_arguments", f"[ERROR] missing required field: {name}")
        return value

    def text(self, name: str) -> str:
        value = self.values.get(name)
        return "" if value is None else str(value)

    def flag(self, name: str) -> bool:
        return self.text(name).lower() in ("true", "1")

    def number(self, name: str, default: int) -> int:
        value = self.text(name)
        if not value:
            return default
        if not value.isascii() or not value.isdigit():
            raise SlackError("invalid_arguments", f"[ERROR] must provide a number [json-pointer:/{name}]")
        return int(value)

    def structure(self, name: str) -> Any:
        return structure(self.values.get(name))

    def needs_scope(self, scope: str) -> None:
        if scope not in self.world.scopes:
            raise SlackError("missing_scope", needed=scope, provided=",".join(sorted(self.world.scopes)))

    def person(self, name: str = "user") -> SlackUser:
        person = self.world.people.get(self.needed(name))
        if person is None:
            raise SlackError("user_not_found")
        return person

    def channel(self, verb: str = "") -> Channel:
        """Return the channel with this id or name, or the direct messages with this person.

        With *verb*, such as "read", the scope for this kind of channel is required, such as channels:read.
        """
        name = self.needed("channel")
        channel = self.world.channels.get(name)
        if channel is None and name in self.world.people:
            channel = self.world.im(name)
        if channel is None:
            matches = (
                candidate for candidate in self.world.channels.values() if candidate.name == name.removeprefix("#")
            )
            channel = next(matches, None)
        if channel is None or (channel.is_private and self.world.bot_user not in channel.members):
            raise SlackError("channel_not_found")
        if verb:
            self.needs_scope(f"{channel.family}:{verb}")
        return channel

    def joined_channel(self, verb: str = "") -> Channel:
        """Return the channel; raises SlackError if the app is not a member."""
        channel = self.channel(verb)
        if self.world.bot_user not in channel.members:
            raise SlackError("not_in_channel")
        return channel

    def message(self, channel: Channel, name: str = "ts") -> Message:
        message = self.world.find(self.needed(name))
        if message is None or message.channel != channel.id or message.ephemeral:
            raise SlackError("message_not_found")
        return message

    def page(self, rows: Sequence[Any], *, default: int = 100) -> tuple[list[Any], str]:
        """Return the rows selected by *limit* and *cursor*, and the cursor of the next page."""
        start, limit = _decode_cursor(self.text("cursor")), self.number("limit", default) or default
        end = start + limit
        return list(rows[start:end]), _encode_cursor(end) if end < len(rows) else ""


def _encode_cursor(offset: int) -> str:
    return base64.urlsafe_b64encode(b"after:%d" % offset).decode()


def _decode_cursor(cursor: str) -> int:
    if not cursor:
        return 0
    try:
        word, _, number = base64.urlsafe_b64decode(cursor).decode().partition(":")
        if word == "after":
            return int(number)
    except (binascii.Error, ValueError):
        pass
    raise SlackError("invalid_cursor")
