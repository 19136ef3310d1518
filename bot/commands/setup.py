"""Ask the first questions again."""

from bot.asking import Asked, Reply
from bot.blocks.setup import setup_reply


async def show_setup(asked: Asked) -> Reply:
    """Answer `setup`."""
    return setup_reply(asked.choices, asked.types)
