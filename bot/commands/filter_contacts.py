"""Show the contacts that fit a filter."""

from bot.filter_pages import FilterPage, answer_filter
from bot.slack.handling import Reply, Request


async def filter_contacts(request: Request) -> Reply:
    """Answer `filter TERMS`."""
    return await answer_filter(request, FilterPage(request.text))
