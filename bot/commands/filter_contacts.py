"""`/score filter`: list the contacts that match a filter."""

from bot.filter_pages import FilterPage, answer_filter
from bot.slack.handling import Reply, Request


async def filter_contacts(request: Request) -> Reply:
    """Handle `filter TERMS`, also without the verb."""
    return await answer_filter(request, FilterPage(request.text))
