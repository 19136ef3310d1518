"""List what sends scores, to see and to change it."""

from bot.asking import Asked, Reply
from bot.sources import sources_page


async def show_sources(asked: Asked) -> Reply:
    """Answer `sources`."""
    return await sources_page(asked)
