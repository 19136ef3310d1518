"""Find the one contact that a person means, or answer what else to type."""

import re
from collections.abc import Sequence

from bot.blocks.refusals import ambiguous_contact_reply, no_contact_reply, plain_reply
from bot.slack.handling import Reply, Request
from bot.slack.text import MENTION
from storage.domain.contacts import Contact, match_key
from storage.domain.errors import UnknownScoreType
from storage.ledger.contacts import contacts, find, nearest

_OUR_ID = re.compile(r"id:([0-9]{1,18})", re.ASCII)


async def find_one(asked: Request, words: str, *, line: str) -> Contact | Reply:
    """Give the contact that *words* name, else a reply; *line* with {} for the contact is what its buttons run."""
    found = await find_all(asked, words)
    if len(found) == 1:
        return found[0]
    if found:
        return ambiguous_contact_reply(words, found, line=line)
    if MENTION.fullmatch(words):
        return plain_reply(f"{words} is a colleague, not a contact. Their contacts: `/score filter owner:`{words}")
    return no_contact_reply(words, await nearest(asked.workspace, text=words), line=line)


async def find_scored(asked: Request, words: str, *, line: str) -> Contact | Reply:
    """Give the contact of a line that may end with score types.

    Raises UnknownScoreType where the words name a contact and one word more, which was meant for a type.
    """
    found = await find_one(asked, words, line=line)
    contact, _, last = words.rpartition(" ")
    if isinstance(found, Reply) and contact and not await find_all(asked, words) and await find_all(asked, contact):
        raise UnknownScoreType(last, known=tuple(one.key for one in asked.types))
    return found


async def find_all(asked: Request, words: str) -> list[Contact]:
    """Give every contact that *words* may mean, eleven at most."""
    ours = _OUR_ID.fullmatch(words)
    if ours:
        return await contacts(asked.workspace, ids=[int(ours[1])])
    return await find(asked.workspace, text=words)


def is_name(word: str, found: Sequence[Contact]) -> bool:
    """Tell whether a word stands whole in the name or company of one of the contacts that it finds."""
    return any(match_key(word) in match_key(f"{one.name or ''} {one.company or ''}").split() for one in found)
