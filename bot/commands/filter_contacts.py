"""Show the contacts that fit a filter."""

from bot.asking import Asked, Reply
from bot.filtering import Place, answer_filter


async def filter_contacts(asked: Asked) -> Reply:
    """Answer `filter TERMS`."""
    return await answer_filter(asked, Place(asked.text))
