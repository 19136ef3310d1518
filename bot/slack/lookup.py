"""Find the contact in a command, or build the reply that says what to type instead."""

import re
from collections.abc import Sequence
from dataclasses import replace

from bot.blocks.refusals import ambiguous_contact_reply, no_contact_reply, plain_reply
from bot.slack.handling import Reply, Request
from bot.slack.text import MENTION, escape_code
from storage.domain.contacts import Contact, looks_like_address
from storage.domain.errors import UnknownContact, UnknownScoreType
from storage.domain.texts import match_key
from storage.ledger.contacts import contacts
from storage.reading.current_scores import Card, card
from storage.reading.search import find, find_by_key, find_similar
from storage.sources.config import sources

OUR_ID = re.compile(r"id:([0-9]{1,18})", re.ASCII)


async def find_one(request: Request, words: str, *, line: str) -> Contact | Reply:
    """Return the contact for *words*, or else a reply with suggestions.

    The reply's buttons run *line*, in which {} stands for the contact.
    """
    matches = await find_all(request, words)
    if len(matches) == 1:
        return matches[0]
    if matches:
        return ambiguous_contact_reply(words, matches, command=line)
    if MENTION.fullmatch(words):
        return plain_reply(f"{words} is a colleague, not a contact. Their contacts: `/score filter owner:`{words}")
    return no_contact_reply(words, await find_similar(request.workspace, text=words), command=line)


async def find_scored(request: Request, words: str, *, line: str) -> Contact | Reply:
    """Return the contact of a line that may end with score types, or else a reply as `find_one` does.

    Raises UnknownScoreType if only the last word keeps the line from matching a contact.
    """
    contact, _, last = words.rpartition(" ")
    if contact and not await find_all(request, words) and await find_all(request, contact):
        raise UnknownScoreType(last, known=tuple(score_type.key for score_type in request.types))
    return await find_one(request, words, line=line)


async def find_all(request: Request, words: str) -> list[Contact]:
    """Return the contacts that match *words*: by `id:` number, or by address or name.

    Each text is searched once in a request, so the result does not have what the request changed since.
    """
    if words not in request.searches:
        request.searches[words] = await _search(request, words)
    return request.searches[words]


async def _search(request: Request, words: str) -> list[Contact]:
    match = OUR_ID.fullmatch(words)
    if match:
        matches = await contacts(request.workspace, ids=[int(match[1])])
        return [contact for contact in matches if not contact.is_gone]
    return await find(request.workspace, text=words)


async def load_card(request: Request, contact: Contact | str) -> Card:
    """Return a contact, or the contact in the value of a button, with its scores; raises UnknownContact.

    The card's contact keeps the row that was named, if it was merged into another. A button works for a contact that is
    gone, too: its history shows what was undone.
    """
    named = (
        await find_by_key(request.workspace, key=contact, include_gone=True) if isinstance(contact, str) else contact
    )
    contact_card = await card(request.workspace, contact=named.id, now=request.now) if named is not None else None
    if named is None or contact_card is None:
        raise UnknownContact
    return replace(contact_card, contact=named)


async def is_source_id(request: Request, words: str) -> bool:
    """Return whether words are `source:id` with the name of a known source; such words are not a filter."""
    slug, _, id = words.partition(":")
    return (
        bool(id)
        and " " not in words
        and slug.casefold() in {source.slug for source in await sources(request.workspace)}
    )


def is_name(word: str, matches: Sequence[Contact]) -> bool:
    """Return whether a whole word of a contact's name or company equals *word*, for any of *matches*."""
    return any(
        match_key(word) in match_key(f"{contact.name or ''} {contact.company or ''}").split() for contact in matches
    )


async def resolve_owner(request: Request, words: str) -> str | Reply:
    """Return the owner's address for `me`, a mention or an address, or else the reply that says what to type."""
    if words.casefold() == "me":
        return request.person.email or plain_reply(
            "Slack does not tell me your address. Type it: `owner:rep@example.com`"
        )
    mention = MENTION.fullmatch(words)
    if mention:
        address = await request.address_of(mention[1])
        return address or plain_reply(
            f"Slack does not tell me the address of {words}. Type it: `owner:rep@example.com`"
        )
    if not looks_like_address(words):
        return plain_reply(
            f"`{escape_code(words)}` is nobody's address. Type `owner:me`, `owner:@jane` or `owner:rep@example.com`."
        )
    return words
