"""Stand in for Slack on this machine: a foreign system that speaks to the product over HTTP alone."""

from bot.sandbox.acts import Sent
from bot.sandbox.block_kit import check_blocks, check_view
from bot.sandbox.clock import Clock
from bot.sandbox.faults import Fault, Faults
from bot.sandbox.sending import Response
from bot.sandbox.server import Sandbox
from bot.sandbox.world import Call, Channel, Message, Person, View, World

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
