"""List the score types, to see and to change them."""

from bot.definition_changes import settings_page
from bot.slack.handling import Reply, Request


async def show_settings(request: Request) -> Reply:
    """Answer `settings`."""
    return await settings_page(request)
