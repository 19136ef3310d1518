"""Ask the first questions again."""

from bot.blocks.setup import setup_reply
from bot.slack.handling import Reply, Request


async def show_setup(request: Request) -> Reply:
    """Answer `setup`."""
    return setup_reply(request.choices, request.types)
