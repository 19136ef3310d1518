"""`/score setup`: show the setup questions."""

from bot.blocks.setup import setup_reply
from bot.slack.handling import Reply, Request


async def show_setup(request: Request) -> Reply:
    """Handle `setup`."""
    return setup_reply(request.choices, request.types)
