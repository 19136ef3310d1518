"""Merge two contacts."""

import re

from bot.blocks.refusals import plain_reply
from bot.blocks.scores import receipt_reply
from bot.slack.access import Need
from bot.slack.feature import Command, Feature
from bot.slack.handling import Reply, Request
from bot.slack.line import read_contact
from bot.slack.lookup import find_one
from bot.slack.text import escape
from storage.reading.search import find_by_key

_INTO = re.compile(r"\s+into\s+", re.IGNORECASE)


async def merge_contacts(request: Request) -> Reply:
    """Handle `merge CONTACT into CONTACT`."""
    words = _INTO.split(f" {request.text} ")
    if len(words) != 2 or not all(part.strip() for part in words):
        return plain_reply("Name both contacts: `/score merge ada.l@example.com into ada@example.com`")
    source, target = (read_contact(part.strip()) for part in words)
    first = await find_one(request, source, line=f"merge {{}} into {words[1].strip()}")
    if isinstance(first, Reply):
        return first
    second = await find_one(request, target, line=f"merge id:{first.id} into {{}}")
    if isinstance(second, Reply):
        return second
    if first.id == second.id:
        return plain_reply(f"{escape(first.shown)} and {escape(second.shown)} are already one contact.")
    recorded = await request.merge(first, second)
    merged = await find_by_key(request.workspace, key=str(second.id)) or second
    note = f"{escape(first.shown)} and {escape(second.shown)} are one contact now"
    moved = [change for change in recorded.moved if change.before != change.after]
    return receipt_reply(merged, moved, batch=request.batch, note=note)


FEATURE = Feature(
    verbs={
        "merge": Command(
            merge_contacts,
            "merge CONTACT into CONTACT",
            "for admins: merge two contacts; Undo splits them again",
            ("merge ada.l@example.com into ada@example.com",),
            Need.ADMINISTER,
        ),
    },
)
