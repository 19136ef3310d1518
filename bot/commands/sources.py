"""`/score sources`: list the sources that send scores."""

from bot.slack.handling import Reply, Request
from bot.source_list import sources_page


async def show_sources(request: Request) -> Reply:
    """Handle `sources`."""
    return await sources_page(request)
