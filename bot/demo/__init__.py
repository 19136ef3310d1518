"""A local stand-in for Slack; it talks to the product only over HTTP, as a separate system does."""

from bot.demo.acts import Sent
from bot.demo.block_kit import check_blocks, check_view
from bot.demo.clock import Clock
from bot.demo.faults import Fault, Faults
from bot.demo.sending import Response
from bot.demo.server import Sandbox
from bot.demo.world import Channel, Message, ReceivedCall, SlackUser, View, World

__all__ = [
    "Channel",
    "Clock",
    "Fault",
    "Faults",
    "Message",
    "ReceivedCall",
    "Response",
    "Sandbox",
    "Sent",
    "SlackUser",
    "View",
    "World",
    "check_blocks",
    "check_view",
]
