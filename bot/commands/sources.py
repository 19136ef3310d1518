"""List what sends scores, to see and to change it."""

from bot.slack.handling import Reply, Request
from bot.source_list import sources_page


async def show_sources(request: Request) -> Reply:
    """Answer `sources`."""
    return await sources_page(request)
