"""Show the changes of one score of a contact."""

from bot.asking import Asked, Reply
from bot.blocks.history import history_reply
from bot.finding import find_one
from bot.replies import plain_reply
from bot.sentence import read_clear
from storage.scores import history

MOST = 20


async def show_history(asked: Asked) -> Reply:
    """Answer `history CONTACT [TYPE]`."""
    if not asked.text:
        return plain_reply("Say whose: `/score history ada@example.com fit`")
    words, scores = read_clear(asked.text, asked.types)
    found = await find_one(asked, words, line=f"history {{}} {scores[0]}")
    if isinstance(found, Reply):
        return found
    score_type, entries = await history(asked.workspace, contact=found.id, score=scores[0], most=MOST)
    return history_reply(found, score_type, entries)
