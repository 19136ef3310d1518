"""List what activities and attributes are worth, to see and to change it."""

from bot.blocks.rules import rules_reply
from bot.slack.handling import Reply, Request


async def show_rules(asked: Request) -> Reply:
    """Answer `rules`."""
    return rules_reply(asked.types)
