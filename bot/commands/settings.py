"""List the score types, to see and to change them."""

from bot.definition_changes import settings_page
from bot.slack.handling import Asked, Reply


async def show_settings(asked: Asked) -> Reply:
    """Answer `settings`."""
    return await settings_page(asked)
