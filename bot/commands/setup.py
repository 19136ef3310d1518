"""Ask the first questions again."""

from bot.blocks.setup import setup_reply
from bot.slack.handling import Asked, Reply


async def show_setup(asked: Asked) -> Reply:
    """Answer `setup`."""
    return setup_reply(asked.choices, asked.types)
