"""Make two contacts one, because a person knows that they are."""

import re

from bot.blocks.receipt import receipt_reply
from bot.blocks.refusals import plain_reply
from bot.slack.handling import Reply, Request
from bot.slack.line import strip_quotes
from bot.slack.lookup import find_one
from bot.slack.text import escape
from storage.ledger.contacts import contacts, find_by_key

_INTO = re.compile(r"\s+into\s+", re.IGNORECASE)


async def merge_contacts(asked: Request) -> Reply:
    """Answer `merge CONTACT into CONTACT`."""
    words = _INTO.split(f" {asked.text} ")
    if len(words) != 2 or not all(one.strip() for one in words):
        return plain_reply("Say which two are one: `/score merge ada.l@example.com into ada@example.com`")
    one, other = (strip_quotes(each.strip()) for each in words)
    first = await find_one(asked, one, line=f"merge {{}} into {words[1].strip()}")
    if isinstance(first, Reply):
        return first
    second = await find_one(asked, other, line=f"merge id:{first.id} into {{}}")
    if isinstance(second, Reply):
        return second
    if first.id == second.id:
        return plain_reply(f"{escape(first.shown)} and {escape(second.shown)} are one contact already.")
    recorded = await asked.merge(first.id, second.id)
    (now,) = await contacts(asked.workspace, ids=[await find_by_key(asked.workspace, key=str(second.id)) or second.id])
    note = f"{escape(first.shown)} and {escape(second.shown)} are one contact now"
    moved = [one for one in recorded.moved if one.before != one.after]
    return receipt_reply(now, moved, batch=asked.batch, note=note)
