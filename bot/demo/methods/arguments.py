"""Look up what the arguments of a Web API call name."""

from typing import Any

from bot.demo.blocks import Json
from bot.demo.errors import SlackError
from bot.demo.world import Channel, Message, SlackUser, World


class Arguments:
    """The arguments by name; the methods raise SlackError for missing or invalid values, with Slack's error codes."""

    def __init__(self, world: World, values: Json) -> None:
        self.world, self.values = world, values

    def needed(self, name: str) -> Any:
        value = self.values.get(name)
        if not value:
            raise SlackError("invalid_arguments", f"[ERROR] missing required field: {name}")
        return value

    def text(self, name: str) -> str:
        return str(self.values.get(name) or "")

    def person(self, name: str = "user") -> SlackUser:
        person = self.world.people.get(self.needed(name))
        if person is None:
            raise SlackError("user_not_found")
        return person

    def channel(self) -> Channel:
        """Return the channel with this id; raises SlackError for a private channel that the app is not in."""
        channel = self.world.channels.get(self.needed("channel"))
        if channel is None or (channel.is_private and self.world.bot_user not in channel.members):
            raise SlackError("channel_not_found")
        return channel

    def joined_channel(self) -> Channel:
        """Return the channel; raises SlackError if the app is not a member."""
        channel = self.channel()
        if self.world.bot_user not in channel.members:
            raise SlackError("not_in_channel")
        return channel

    def message(self, channel: Channel, name: str = "ts") -> Message:
        message = self.world.find(self.needed(name))
        if message is None or message.channel != channel.id or message.ephemeral:
            raise SlackError("message_not_found")
        return message
