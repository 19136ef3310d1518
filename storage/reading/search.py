"""Search contacts by what a person types or a program sends: an address, an id, or words of a name or company."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from storage.db import database
from storage.db.database import Row
from storage.domain.contacts import EMAIL, Contact, Reference, address_key, id_key, looks_like_address
from storage.domain.errors import BadItem
from storage.domain.people import Workspace
from storage.domain.texts import match_key
from storage.domain.words import (
    LAST,
    contact_runs,
    count_shared_beginning,
    count_typos,
    cut_for_typos,
    make_trigram,
    most_typos,
    split_query,
    split_runs,
    split_words,
    swap_neighbors,
    trigram_range,
)
from storage.ledger.contacts import DELETED_CONTACT, contacts
from storage.ledger.identities import load_identity_owners
from storage.reading.word_sql import (
    WORDS_OF_CONTACT,
    Bind,
    Match,
    escape_pattern,
    is_searched_inside,
    write_contacts_of_word,
)

MOST_WORDS = 8
#: the most characters of a search text; a matching key may be 18 times as long as its text
MOST_CHARACTERS = 500
#: The most contacts of a search that are sorted. Of more, those that the index has first are returned.
MOST_SORTED = 2_000
#: the count at which counting the contacts with a word stops, to find the rarest word of a search
MOST_COUNTED = 50_000
#: Limits of the search for similar contacts: words that are compared with each word of the text; contacts with a
#: similar word, for each word of the text; of all these contacts, those that are read; those that are compared with the
#: text.
MOST_NEAR_WORDS, MOST_NEAR_CONTACTS, MOST_CHECKED, MOST_COMPARED = 5_000, 20_000, 5_000, 500
MOST_TYPOS = 2  #: the letters by which an address may differ from one that is suggested for it

#: the owner of an address or id: (contact row, contact that the row belongs to, the id; None for an address or a row)
_Owner: TypeAlias = tuple[int, int, Reference | None]
#: whether the contact `c` of the workspace $1 is shown in lists
_IS_LISTED = "c.workspace_id = $1 AND c.merged_into IS NULL AND NOT c.is_gone"


class _Values(list[object]):
    """The values of a statement."""

    def bind(self, value: object) -> str:
        """Add a value and return its placeholder."""
        self.append(value)
        return f"${len(self)}"


async def find_by_key(workspace: Workspace, *, key: str, include_gone: bool = False) -> Contact | None:
    """Return the contact that a key from a program or a button identifies: a row id, an address, or `source:id`.

    A contact that is gone is returned with *include_gone* only.
    """
    owner = await _find_row(workspace, key)
    return next(iter(await _load_owner(workspace, owner, include_gone=include_gone)), None)


async def _find_row(workspace: Workspace, key: str) -> _Owner | None:
    """Return the owner of a key, or None if no contact has it or the contact was deleted."""
    if key.isascii() and key.isdecimal() and len(key) <= 18:
        rows = await database.read(
            "SELECT id, coalesce(merged_into, id) AS root FROM contacts WHERE workspace_id = $1 AND id = $2"
            " AND coalesce(merged_into, id) <> $3",
            workspace.id,
            int(key),
            DELETED_CONTACT,
        )
        return (rows[0]["id"], rows[0]["root"], None) if rows else None
    return await _find_by_identity(workspace, key)


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


async def _load_owner(workspace: Workspace, owner: _Owner | None, *, include_gone: bool = False) -> list[Contact]:
    """Return the contact of *owner*, or an empty list for None."""
    if owner is None:
        return []
    row, root, id = owner
    return [
        replace(contact, named_row=None if row == root else row, named_id=id)
        for contact in await contacts(workspace, ids=[root])
        if include_gone or not contact.is_gone
    ]


async def find(workspace: Workspace, *, text: str, most: int = 20) -> list[Contact]:
    """Return the contacts that match a person's search text, at most *most* plus one.

    An address or `source:id` identifies one contact exactly. Any other text is searched in names, companies and
    addresses: first as a whole name, then as whole words, as beginnings of words, and anywhere in words. The first
    search that matches any contact decides; its contacts are sorted by name, unless they are more than MOST_SORTED.
    A text of nothing but `.`, `_`, `+` and `-` matches no contact, and a word such as `a.b` with no three letters or
    digits in a row is not searched for inside of words. Raises BadItem if the text is too long.
    """
    _check_length(text)
    exact = await _find_by_identity(workspace, text)
    if exact is not None or looks_like_address(text.strip()):
        return await _load_owner(workspace, exact)
    key = match_key(text)
    words = split_words(key)[:MOST_WORDS]
    if not any(map(split_runs, words)):
        return []
    ids = await _find_by_name(workspace, key, most=most + 1)
    unindexed_after = await load_unindexed_after(workspace) if not ids else None
    for match in Match:
        ids = ids or await _find_by_words(workspace, words, match, unindexed_after=unindexed_after, most=most + 1)
    return await contacts(workspace, ids=ids) if ids else []


def _check_length(text: str) -> None:
    """Raise BadItem if a search text is too long; SQLite would reject such a pattern."""
    if len(text) > MOST_CHARACTERS:
        raise BadItem(f"A name or address has at most {MOST_CHARACTERS:,} characters; this one has {len(text):,}")


async def _find_by_name(workspace: Workspace, key: str, *, most: int) -> list[int]:
    """Return the contacts with a name, by its matching key."""
    rows = await database.read(
        f'SELECT c.id FROM contacts c WHERE {_IS_LISTED} AND c.name_key COLLATE "C" = $2 ORDER BY c.id LIMIT $3',
        workspace.id,
        key,
        most,
    )
    return [row["id"] for row in rows]


async def load_unindexed_after(workspace: Workspace) -> int | None:
    """Return the contact id after which the word index may be incomplete, or None; see `ledger.words`."""
    (row,) = await database.read("SELECT words_after FROM workspaces WHERE id = $1", workspace.id)
    last: int | None = row["words_after"]
    return last


async def _find_by_words(
    workspace: Workspace, words: Sequence[str], match: Match, *, unindexed_after: int | None, most: int
) -> list[int]:
    """Return the contacts in which every word occurs as *match* demands. The rarest word is looked up in the index.

    With *unindexed_after*, the contacts after that id are read without the index.
    """
    indexed = [word for word in words if split_runs(word)]
    if match is Match.PART and not all(map(is_searched_inside, indexed)):
        return []
    rarest = indexed[0] if len(indexed) == 1 else await _find_rarest(workspace, indexed, match)
    values = _Values([workspace.id])
    candidates = write_contacts_of_word(rarest, match, workspace="$1", bind=values.bind)
    if unindexed_after is not None:
        after = values.bind(unindexed_after)
        candidates += (
            f" UNION ALL SELECT c.id AS contact_id FROM contacts c WHERE c.workspace_id = $1 AND c.id > {after}"
        )
    patterns = [f"{WORDS_OF_CONTACT} LIKE {values.bind(match.pattern(word))} ESCAPE '!'" for word in words]
    checked = f"{write_checked(candidates, [_IS_LISTED, *patterns])} LIMIT {MOST_SORTED}"
    rows = await database.read(
        f"SELECT c.id FROM (SELECT DISTINCT id FROM ({checked}) AS l) AS d JOIN contacts c ON c.id = d.id"
        f' ORDER BY c.name_key IS NULL, c.name_key COLLATE "C", c.id LIMIT {values.bind(most)}',
        *values,
    )
    return [row["id"] for row in rows]


async def _find_rarest(workspace: Workspace, words: Sequence[str], match: Match) -> str:
    """Return the word that occurs in the fewest contacts."""
    values = _Values([workspace.id])
    counts = [
        f"(SELECT count(*) FROM (SELECT 1 FROM"
        f" ({write_contacts_of_word(word, match, workspace='$1', bind=values.bind)}) AS p"
        f" LIMIT {MOST_COUNTED}) AS l) AS count_{number}"
        for number, word in enumerate(words)
    ]
    (row,) = await database.read(f"SELECT {', '.join(counts)}", *values)
    _, _, rarest = min((count, -len(word), word) for count, word in zip(row.values(), words, strict=True))
    return rarest


def write_checked(candidates: str, conditions: Sequence[str]) -> str:
    """Return a SELECT of the ids of the candidates that meet the conditions.

    *candidates* is a SELECT of contact ids, named `p` here; the conditions refer to the contact as `c`. Each contact is
    looked up by its id, because PostgreSQL would read all contacts for a join.
    """
    contact = f"SELECT c.id FROM contacts c WHERE c.id = p.contact_id AND {' AND '.join(conditions)}"
    return f"SELECT id FROM (SELECT ({contact}) AS id FROM ({candidates}) AS p OFFSET 0) AS m WHERE id IS NOT NULL"


async def find_similar(workspace: Workspace, *, text: str, most: int = 3) -> list[Contact]:
    """Return the contacts most similar to a text that no contact matches, because one or two letters are wrong.

    Each word, split into runs of letters and digits, must be similar to a word of the contact's name, company or
    address, or be a part of one. Contacts with
    the fewest wrong letters come first, then those with the most letters before the first wrong one. For an address,
    they are the contacts with an address that differs by one or two letters. A contact that is not in the word index
    yet (see `ledger.words`) is not suggested.
    """
    _check_length(text)
    address = address_key(text.strip()) if looks_like_address(text.strip()) else None
    if address is not None:
        ids = await _rank_addresses(workspace, address)
    else:
        runs = split_query(match_key(text))[:MOST_WORDS]
        ids = await _rank_names(workspace, runs, await _load_near_words(workspace, runs))
    return await contacts(workspace, ids=ids[:most]) if ids else []


#: for each run of a text the indexed words similar to it: word → (id of the word, number of wrong letters)
_Near: TypeAlias = Sequence[Mapping[str, tuple[int, int]]]


async def _rank_addresses(workspace: Workspace, address: str) -> list[int]:
    """Return the contacts with an address that differs by at most MOST_TYPOS letters, the most similar first.

    Candidates have the same local part, half of it, or the same domain and similar words in the local part.
    """
    local, _, domain = address.rpartition("@")
    values = _Values([workspace.id])
    parts = [
        f"SELECT c.id, c.email_key FROM contacts c WHERE {_IS_LISTED}"
        f' AND c.email_key COLLATE "C" >= {values.bind(beginning)}'
        f' AND c.email_key COLLATE "C" < {values.bind(beginning + LAST)} LIMIT {MOST_COMPARED}'
        for beginning in (f"{local}@", local[: (len(local) + 1) // 2])
    ]
    rows = await database.read(" UNION ALL ".join(f"SELECT * FROM ({part}) AS p" for part in parts), *values)
    runs = split_runs(local)[:MOST_WORDS]
    rows += await _load_similar(workspace, runs, await _load_near_words(workspace, runs), domain=domain)
    addresses = {row["id"]: row["email_key"] for row in rows if row["email_key"] is not None}
    typos = {id: count_typos(address, email, most=MOST_TYPOS) for id, email in addresses.items()}
    return [id for _, id in sorted((number, id) for id, number in typos.items() if number is not None)]


async def _rank_names(workspace: Workspace, runs: Sequence[str], near: _Near) -> list[int]:
    """Return the contacts with words similar to the runs of a text, the most similar first.

    Contacts with the fewest wrong letters come first; then those in which the fewest runs are only a part of a word;
    then those with the most letters before the first wrong one.
    """
    ranks: list[tuple[int, int, int, int]] = []
    for row in await _load_similar(workspace, runs, near):
        words = contact_runs(name=row["name_key"], company=row["company_key"], email=row["email_key"])
        typos = parts = shared = 0
        for run, similar in zip(runs, near, strict=True):
            matches = [(similar[word][1], -count_shared_beginning(run, word)) for word in words & similar.keys()]
            if matches:
                fewest_typos, negative_shared = min(matches)
                typos += fewest_typos
                shared -= negative_shared
            else:
                parts += 1
        ranks.append((typos, parts, -shared, row["id"]))
    return [id for *_, id in sorted(ranks)]


async def _load_near_words(workspace: Workspace, runs: Sequence[str]) -> _Near:
    """Return, for each run, the indexed words that differ from it by at most `most_typos` letters."""
    if not runs:
        return []
    values = _Values([workspace.id])
    parts = [part for number, run in enumerate(runs) for part in _write_candidates(number, run, values.bind)]
    rows = await database.read(" UNION ALL ".join(f"SELECT * FROM ({part}) AS p" for part in parts), *values)
    near: list[dict[str, tuple[int, int]]] = [{} for _ in runs]
    letters = [set(run) for run in runs]
    for row in rows:
        number, word = row["number"], row["word"]
        run, most = runs[number], most_typos(runs[number])
        # Most candidates have too many other letters, which takes a tenth of the time to see.
        if len(letters[number].difference(word)) <= most and word not in near[number]:
            typos = count_typos(run, word, most=most)
            if typos is not None:
                near[number][word] = (row["id"], typos)
    return near


def _write_candidates(number: int, run: str, bind: Bind) -> list[str]:
    """Return SELECTs that together find every indexed word that differs from a run by at most `most_typos` letters."""
    most, column = most_typos(run), 'w.word COLLATE "C"'
    same = ", ".join(bind(spelling) for spelling in (run, *(swap_neighbors(run) if most == 1 else ())))
    select = f"SELECT {number} AS number, w.id, w.word FROM words w WHERE w.workspace_id = $1 AND {column}"
    candidates = [f"{select} IN ({same})"]
    if not most:
        return candidates
    beginning, middle, end = cut_for_typos(run)
    length = f"length(w.word) BETWEEN {len(run) - most} AND {len(run) + most}"
    candidates.append(
        f"{select} >= {bind(beginning)} AND {column} < {bind(beginning + LAST)} AND {length} LIMIT {MOST_NEAR_WORDS}"
    )
    conditions = [f"t.trigram = {bind(make_trigram(end[-2:]))}"]
    if middle:
        low, high = trigram_range(middle[:3])
        conditions.append(f"t.trigram BETWEEN {bind(low)} AND {bind(high)}")
    word = f"SELECT w.word FROM words w WHERE w.id = t.word_id AND {length}"
    candidates += [
        # By its id, like a candidate of `write_checked`.
        f"SELECT {number} AS number, word_id AS id, word FROM (SELECT t.word_id, ({word}) AS word FROM word_trigrams t"
        f" WHERE t.workspace_id = $1 AND {condition} OFFSET 0) AS m WHERE word IS NOT NULL LIMIT {MOST_NEAR_WORDS}"
        for condition in conditions
    ]
    return candidates


async def _load_similar(
    workspace: Workspace, runs: Sequence[str], near: _Near, *, domain: str | None = None
) -> list[Row]:
    """Return contacts in which each run has a similar word or is a part of a word; at least one has a similar word.

    With *domain*, only contacts with an address in this domain.
    """
    numbers = [number for number, similar in enumerate(near) if similar]
    if not numbers:
        return []
    values = _Values([[{"number": number, "word": id} for number in numbers for id, _ in near[number].values()]])
    workspace_id = values.bind(workspace.id)
    lookups = [
        f"SELECT * FROM (SELECT given.number, p.contact_id FROM given(number bigint, word bigint)"
        f" JOIN contact_words p ON p.word_id = given.word WHERE given.number = {number} LIMIT {MOST_NEAR_CONTACTS})"
        f" AS p{number}"
        for number in numbers
    ]
    flags = ", ".join(f"max(CASE WHEN number = {number} THEN 1 ELSE 0 END) AS near_{number}" for number in numbers)
    candidates = (
        f"SELECT contact_id, {flags} FROM ({' UNION ALL '.join(lookups)}) AS p GROUP BY contact_id"
        f" ORDER BY count(DISTINCT number) DESC LIMIT {MOST_CHECKED}"
    )
    conditions = [_IS_LISTED.replace("$1", workspace_id)]
    for number, run in enumerate(runs):
        is_near = f"p.near_{number} = 1 OR " if number in numbers else ""
        pattern = values.bind(Match.PART.pattern(run))
        conditions.append(f"({is_near}{WORDS_OF_CONTACT} LIKE {pattern} ESCAPE '!')")
    if domain is not None:
        conditions.append(f"c.email_key LIKE {values.bind(f'%@{escape_pattern(domain)}')} ESCAPE '!'")
    return await database.read(
        "SELECT c.id, c.name_key, c.company_key, c.email_key"
        f" FROM ({write_checked(candidates, conditions)} LIMIT {MOST_COMPARED}) AS l JOIN contacts c ON c.id = l.id",
        *values,
    )
