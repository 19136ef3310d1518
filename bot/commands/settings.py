"""List the score types, to see and to change them."""

from bot.asking import Asked, Reply
from bot.drafting import settings_page


async def show_settings(asked: Asked) -> Reply:
    """Answer `settings`."""
    return await settings_page(asked)
