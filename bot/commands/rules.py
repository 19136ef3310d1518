"""`/score rules`: list the scoring rules."""

from bot.blocks.scoring import rules_reply
from bot.slack.handling import Reply, Request


async def show_rules(request: Request) -> Reply:
    """Handle `rules`."""
    return rules_reply(request.types)
