"""`/score settings`: list the score types."""

from bot.definition_changes import settings_page
from bot.slack.handling import Reply, Request


async def show_settings(request: Request) -> Reply:
    """Handle `settings`."""
    return await settings_page(request)
