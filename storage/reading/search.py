"""Search contacts by what a person types or a program sends: an address, an id, or words of a name or company."""

from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import TypeAlias

from storage.db import database
from storage.db.database import Row
from storage.domain.contacts import EMAIL, Contact, Reference, address_key, id_key, looks_like_address
from storage.domain.errors import BadItem
from storage.domain.people import Workspace
from storage.domain.texts import match_key
from storage.ledger.contacts import NOBODY, contacts, load_identity_owners

CANDIDATES = 500
MOST_WORDS = 8
#: the most characters of a search text: patterns are limited, and a matching key may be 18 times as long as its text
MOST_CHARACTERS = 500
LIKE_ENOUGH = 0.6
MOST_TYPOS = 2  #: the letters by which an address may differ from one that is suggested for it

#: (row that was looked up, contact that it belongs to, the id that it was looked up by)
_Owner: TypeAlias = tuple[int, int, Reference | None]


async def find(workspace: Workspace, *, text: str, most: int = 20) -> list[Contact]:
    """Return the contacts that match a person's search text, at most *most* plus one.

    An address or `source:id` identifies one contact exactly. Any other text is searched in names, companies and
    addresses: first as whole words, then as beginnings of words, then anywhere. If whole names equal the text, only
    these contacts are returned. Raises BadItem if the text is too long.
    """
    _check_length(text)
    exact = await _find_by_identity(workspace, text)
    if exact is not None or looks_like_address(text.strip()):
        return await _load_named(workspace, exact)
    words = [_escape_pattern(word) for word in match_key(text).split()[:MOST_WORDS]]
    for pattern in ("% {} %", "% {}%", "%{}%") if words else ():
        patterns = [pattern.format(word) for word in words]
        rows = await _search_by_patterns(workspace, patterns, most=most + 1, first=match_key(text))
        same_name = [row for row in rows if row["name_key"] == match_key(text)]
        if rows:
            return await contacts(workspace, ids=[row["id"] for row in same_name or rows])
    return []


async def nearest(workspace: Workspace, *, text: str, most: int = 3) -> list[Contact]:
    """Return the contacts with the name, company or address most similar to a text that no contact matches.

    For an address, these are the contacts whose address differs by one or two letters.
    """
    _check_length(text)
    query = match_key(text)
    words = [_escape_pattern(word) for word in query.split()[:MOST_WORDS]]
    if not words:
        return []
    # Candidates share the beginning or the end of a word with the text.
    shared = [pattern for word in words for pattern in (f"% {word[:2]}%", f"%{word[-3:]} %")]
    rows = await _search_by_patterns(workspace, shared, most=CANDIDATES, match_all=False)
    similarities = {row["id"]: _measure_similarity(query, row) for row in rows}
    best = sorted(
        (id for id, similarity in similarities.items() if similarity >= LIKE_ENOUGH),
        key=lambda id: (-similarities[id], id),
    )
    if looks_like_address(text.strip()):
        keys = {row["id"]: row["email_key"] or "" for row in rows}
        best = [id for id in best if _is_typo(keys[id], address_key(text.strip()))]
    return await contacts(workspace, ids=best[:most])


def _is_typo(left: str, right: str) -> bool:
    """Return whether two addresses differ by at most two inserted, deleted, replaced or swapped letters."""
    blocks = SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks()
    return max(len(left), len(right)) - sum(block.size for block in blocks) <= MOST_TYPOS


def _check_length(text: str) -> None:
    """Raise BadItem if a search text is too long; SQLite would reject such a pattern."""
    if len(text) > MOST_CHARACTERS:
        raise BadItem(f"A name or address has at most {MOST_CHARACTERS:,} characters; this one has {len(text):,}")


async def find_by_key(workspace: Workspace, *, key: str, include_gone: bool = False) -> Contact | None:
    """Return the contact that a key from a program or a button identifies: a row id, an address, or `source:id`.

    A contact that is gone is returned with *include_gone* only.
    """
    owner = await _find_row(workspace, key)
    return next(iter(await _load_named(workspace, owner, include_gone=include_gone)), None)


async def _load_named(workspace: Workspace, owner: _Owner | None, *, include_gone: bool = False) -> list[Contact]:
    """Return the contact of *owner*, or an empty list for None."""
    if owner is None:
        return []
    row, root, id = owner
    return [
        replace(contact, named_row=None if row == root else row, named_id=id)
        for contact in await contacts(workspace, ids=[root])
        if include_gone or not contact.is_gone
    ]


async def _find_row(workspace: Workspace, key: str) -> _Owner | None:
    if key.isascii() and key.isdecimal() and len(key) <= 18:
        rows = await database.read(
            "SELECT id, coalesce(merged_into, id) AS root FROM contacts WHERE workspace_id = $1 AND id = $2"
            " AND coalesce(merged_into, id) <> $3",
            workspace.id,
            int(key),
            NOBODY,
        )
        return (rows[0]["id"], rows[0]["root"], None) if rows else None
    return await _find_by_identity(workspace, key)


async def _search_by_patterns(
    workspace: Workspace, patterns: Sequence[str], *, most: int, match_all: bool = True, first: str = ""
) -> list[Row]:
    """Return contacts that match all patterns in name, company and address, or with *match_all* false any of them.

    Contacts whose name has the matching key *first* come first; the others follow by name.
    """
    haystack = (
        "' ' || coalesce(name_key, '') || ' ' || coalesce(company_key, '') || ' '"
        " || replace(coalesce(email_key, ''), '@', ' ') || ' '"
    )
    condition = (" AND " if match_all else " OR ").join(
        f"{haystack} LIKE ${number} ESCAPE '!'" for number in range(3, len(patterns) + 3)
    )
    return await database.read(
        "SELECT id, name_key, company_key, email_key FROM contacts"
        f" WHERE workspace_id = $1 AND merged_into IS NULL AND NOT is_gone AND ({condition})"
        f" ORDER BY CASE WHEN name_key = ${len(patterns) + 3} THEN 0 ELSE 1 END, name_key, id LIMIT $2",
        workspace.id,
        most,
        *patterns,
        first,
    )


def _measure_similarity(query: str, row: Row) -> float:
    local, at, _ = query.partition("@")
    if at:  # the address without its domain, which half of a company shares
        return SequenceMatcher(None, local, (row["email_key"] or "").partition("@")[0]).ratio() - 0.05
    texts = [text for text in (row["name_key"], row["company_key"], (row["email_key"] or "").partition("@")[0]) if text]
    words = [word for text in texts for word in (text, *text.split())]
    return max((SequenceMatcher(None, query, word).ratio() for word in words), default=0)


async def _find_by_identity(workspace: Workspace, text: str) -> _Owner | None:
    """Return the owner of an address or `source:id`, or None if no contact has it."""
    trimmed = text.strip()
    source, colon, source_id = trimmed.partition(":")
    pairs = [(EMAIL, address_key(trimmed))] if looks_like_address(trimmed) else []
    pairs += [(source.casefold(), id_key(source_id.strip()))] if colon and source_id.strip() else []
    if not pairs:
        return None
    matches = await load_identity_owners(
        database.current_database().reader, [(workspace.id, namespace, key) for namespace, key in pairs]
    )
    for (_, namespace, value), (row, root) in matches.items():
        return row, root, None if namespace == EMAIL else Reference(source=namespace, id=value)
    return None


def _escape_pattern(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
