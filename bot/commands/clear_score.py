"""Make scores of a contact missing again."""

from bot.asking import Asked, Reply
from bot.blocks.receipt import receipt_reply
from bot.finding import find_one
from bot.replies import plain_reply
from bot.sentence import read_clear
from bot.text import escape


async def clear_score(asked: Asked) -> Reply:
    """Answer `clear CONTACT [TYPE…]`."""
    words, scores = read_clear(asked.text, asked.types)
    found = await find_one(asked, words, line=f"clear {{}} {' '.join(scores)}")
    if isinstance(found, Reply):
        return found
    recorded = await asked.clear(found.id, scores)
    if not recorded.moved:
        return plain_reply(f"That was recorded already: `/score view {escape(found.typed)}`")
    return receipt_reply(found, recorded.moved, batch=asked.batch)
