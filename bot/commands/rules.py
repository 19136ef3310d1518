"""List what activities and attributes are worth, to see and to change it."""

from bot.blocks.rules import rules_reply
from bot.slack.handling import Reply, Request


async def show_rules(request: Request) -> Reply:
    """Answer `rules`."""
    return rules_reply(request.types)
