"""`/score top`: list the contacts with the highest scores."""

from bot.blocks.lists import top_reply
from bot.slack.handling import Reply, Request
from bot.slack.line import read_top
from storage.reading.current_scores import top


async def top_contacts(request: Request) -> Reply:
    """Handle `top [N] [TYPE]`."""
    count, score = read_top(request.text, request.types)
    score_type, cards = await top(request.workspace, score=score, count=count, now=request.now)
    return top_reply(cards, score_type)
