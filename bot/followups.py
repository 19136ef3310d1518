"""List the follow-ups that wait, page by page."""

from bot.asking import Asked, Reply
from bot.blocks.followup import list_reply
from storage.contacts import contacts
from storage.followups import Whose, overdue, waiting

PER_PAGE = 8


async def follow_ups_page(asked: Asked, which: str, *, after: int = 0) -> Reply:
    """Answer with those that wait for who asks (`mine`), with all that wait (`open`), or with what is `overdue`."""
    whose = Whose(id=asked.person.id, address=asked.person.email) if which == "mine" else None
    if which == "overdue":
        found = await overdue(asked.workspace, after=after, most=PER_PAGE + 1, now=asked.now)
    else:
        found = await waiting(asked.workspace, whose=whose, after=after, most=PER_PAGE + 1)
    shown = found[:PER_PAGE]
    people = {one.id: one for one in await contacts(asked.workspace, ids=[one.contact for one in shown])}
    return list_reply(
        [one for one in shown if one.contact in people],
        people,
        {one.key: one for one in asked.types},
        which=which,
        onward=shown[-1].id if len(found) > PER_PAGE else None,
    )
