"""Show the contacts that fit a filter."""

from bot.filter_pages import Place, answer_filter
from bot.slack.handling import Asked, Reply


async def filter_contacts(asked: Asked) -> Reply:
    """Answer `filter TERMS`."""
    return await answer_filter(asked, Place(asked.text))
