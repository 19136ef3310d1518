"""List what activities and attributes are worth, to see and to change it."""

from bot.asking import Asked, Reply
from bot.blocks.rules import rules_reply


async def show_rules(asked: Asked) -> Reply:
    """Answer `rules`."""
    return rules_reply(asked.types)
