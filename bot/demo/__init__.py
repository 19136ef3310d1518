"""Stand in for Slack on this machine: a foreign system that speaks to the product over HTTP alone."""

from bot.demo.acts import Sent
from bot.demo.block_kit import check_blocks, check_view
from bot.demo.clock import Clock
from bot.demo.faults import Fault, Faults
from bot.demo.sending import Response
from bot.demo.server import Sandbox
from bot.demo.world import Call, Channel, Message, Person, View, World

__all__ = [
    "Call",
    "Channel",
    "Clock",
    "Fault",
    "Faults",
    "Message",
    "Person",
    "Response",
    "Sandbox",
    "Sent",
    "View",
    "World",
    "check_blocks",
    "check_view",
]
