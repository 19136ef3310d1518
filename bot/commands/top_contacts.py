"""Show the contacts with the highest scores."""

from bot.blocks.contact_list import top_reply
from bot.slack.handling import Reply, Request
from bot.slack.line import read_top
from storage.reading.current_scores import top


async def top_contacts(asked: Request) -> Reply:
    """Answer `top [N] [TYPE]`."""
    count, score = read_top(asked.text, asked.types)
    score_type, cards = await top(asked.workspace, score=score, count=count, now=asked.now)
    return top_reply(cards, score_type)
