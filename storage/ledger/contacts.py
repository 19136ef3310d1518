"""Find contacts, insert new ones, lock them, and store their fields."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import TypeAlias

from storage.db import database
from storage.db.database import Row, Session
from storage.domain.attributes import AttributeKeys, index_value
from storage.domain.contacts import (
    ATTRIBUTE,
    EMAIL,
    FIELDS,
    Contact,
    Json,
    Reference,
    address_key,
    contact_keys,
    fold_address,
    id_key,
    id_spellings,
    looks_like_address,
)
from storage.domain.errors import BadItem
from storage.domain.facts import FieldOrder
from storage.domain.people import Workspace
from storage.domain.texts import match_key

#: (workspace id, namespace, key)
Identity: TypeAlias = tuple[int, str, str]
#: field → (value, order of the fact that states it)
Fields: TypeAlias = dict[str, tuple[Json, FieldOrder]]
#: (row that was looked up, contact that it belongs to, the id that it was looked up by)
_Owner: TypeAlias = tuple[int, int, Reference | None]

#: the value of merged_into in a deleted contact; its emptied row stays, because other transactions may wait for it
NOBODY = 0
CANDIDATES = 500
MOST_WORDS = 8
#: the most characters of a search text: patterns are limited, and a matching key may be 18 times as long as its text
MOST_CHARACTERS = 500
LIKE_ENOUGH = 0.6


class StartAgain(Exception):
    """Another transaction changed one of these contacts meanwhile. Repeat the transaction to read the change."""


async def load_known(session: Session, identities: Iterable[Identity]) -> dict[Identity, int]:
    """Return the contacts that these identities belong to. Unknown identities are left out."""
    return {identity: contact for identity, (_, contact) in (await load_identity_owners(session, identities)).items()}


async def load_identity_owners(session: Session, identities: Iterable[Identity]) -> dict[Identity, tuple[int, int]]:
    """Return the owner of each known identity: (row that it was inserted for, contact that the row belongs to)."""
    asked = {
        (workspace, namespace, spelling): (workspace, namespace, value)
        for workspace, namespace, value in set(identities)
        for spelling in reversed((value,) if namespace == EMAIL else id_spellings(value))
    }
    keys = [
        {"workspace": workspace, "namespace": namespace, "value": spelling}
        for workspace, namespace, spelling in sorted(asked)
    ]
    rows = await session.rows(
        "SELECT i.workspace_id, i.namespace, i.value, c.id, coalesce(c.merged_into, c.id) AS root"
        " FROM given(workspace bigint, namespace text, value text)"
        " JOIN identities i ON i.workspace_id = given.workspace AND i.namespace = given.namespace"
        " AND i.value = given.value"
        " JOIN contacts c ON c.id = i.contact_id",
        keys,
    )
    owners = {(row["workspace_id"], row["namespace"], row["value"]): (row["id"], row["root"]) for row in rows}
    # The current spelling comes last, so that it overrides a former spelling.
    found = sorted(owners, key=lambda spelling: spelling == asked[spelling])
    return {asked[spelling]: owners[spelling] for spelling in found}


async def insert_contacts(session: Session, people: Sequence[tuple[int, str | None]], *, now: int) -> Sequence[int]:
    """Insert a contact for each (workspace id, address as typed) and return their ids."""
    ids = await database.current_database().next_ids(session, "contacts", len(people))
    rows = [
        {"id": id, "workspace": workspace, "email": email, "email_key": contact_keys({"email": email})["email_key"]}
        for id, (workspace, email) in zip(ids, people, strict=True)
    ]
    await session.rows(
        "INSERT INTO contacts"
        " (id, workspace_id, first_email, email, email_key, tags, tags_key, attributes, stamps, created_at, updated_at)"
        " SELECT id, workspace, email, email, email_key, '[]', '', '{}', '{}', $2, $2"
        " FROM given(id bigint, workspace bigint, email text, email_key text) ORDER BY id",
        rows,
        now,
    )
    return ids


async def insert_identities(session: Session, identities: Mapping[Identity, int]) -> None:
    """Insert identities with their contact rows. Raises StartAgain if another transaction has inserted one of them."""
    rows = [
        {"workspace": workspace, "namespace": namespace, "value": value, "contact": contact}
        for (workspace, namespace, value), contact in sorted(identities.items())
    ]
    written = await session.rows(
        "INSERT INTO identities (workspace_id, namespace, value, contact_id)"
        " SELECT workspace, namespace, value, contact"
        " FROM given(workspace bigint, namespace text, value text, contact bigint)"
        ' WHERE true ORDER BY workspace, namespace COLLATE "C", value COLLATE "C" ON CONFLICT DO NOTHING RETURNING id',
        rows,
    )
    if len(written) < len(rows):
        raise StartAgain


async def lock(session: Session, expected: Mapping[int, int]) -> None:
    """Lock contact rows, in the order of their ids.

    The lock of a contact's row covers everything stored about the contact. *expected*: row → contact that it belongs to
    (itself if it is not merged). The lock of the contact also covers which rows belong to it. Raises StartAgain if a
    row belongs to another contact by now or is gone.
    """
    rows = await session.rows(
        "SELECT id, coalesce(merged_into, id) AS root FROM contacts WHERE id IN (SELECT id FROM given(id bigint))"
        " ORDER BY id FOR NO KEY UPDATE",
        [{"id": id} for id in sorted(expected)],
    )
    if {row["id"]: row["root"] for row in rows} != expected:
        raise StartAgain


async def lock_available(session: Session, expected: Mapping[int, int]) -> tuple[set[int], set[int]]:
    """Lock the contact rows that no other transaction has locked.

    Return the rows that others have locked, and the locked rows that a split took an id from or gave an id to.
    *expected* is as in `lock`. Raises StartAgain if a row belongs to another contact by now or is gone.
    """
    rows = await session.rows(
        "SELECT id, coalesce(merged_into, id) AS root, split_at FROM contacts"
        " WHERE id IN (SELECT id FROM given(id bigint)) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
        [{"id": id} for id in sorted(expected)],
    )
    locked = {row["id"]: row["root"] for row in rows}
    if any(expected[id] != root for id, root in locked.items()):
        raise StartAgain
    others = expected.keys() - locked.keys()
    if others and (await roots(session, others)).keys() != others:
        raise StartAgain
    return others, {row["id"] for row in rows if row["split_at"] is not None}


async def members(session: Session, contacts: Iterable[int]) -> dict[int, int]:
    """Return all rows of these contacts, their own and those merged into them: row → contact."""
    rows = await session.rows(
        "SELECT m.id, given.id AS root FROM given(id bigint)"
        " JOIN contacts m ON m.id = given.id OR m.merged_into = given.id",
        [{"id": id} for id in sorted(set(contacts))],
    )
    return {row["id"]: row["root"] for row in rows}


async def load_merged(session: Session, contacts: Iterable[int]) -> dict[int, dict[int, str | None]]:
    """Return the rows of contacts with more than one row: contact → row → address that the row was inserted with."""
    merged = await session.rows(
        "SELECT DISTINCT m.merged_into AS id FROM given(id bigint) JOIN contacts m ON m.merged_into = given.id",
        [{"id": id} for id in sorted(set(contacts))],
    )
    if not merged:  # the usual case
        return {}
    rows = await session.rows(
        "SELECT given.id AS root, m.id, m.first_email FROM given(id bigint)"
        " JOIN contacts m ON m.id = given.id OR m.merged_into = given.id ORDER BY m.id",
        sorted(merged, key=lambda row: row["id"]),
    )
    by_contact: dict[int, dict[int, str | None]] = {}
    for row in rows:
        by_contact.setdefault(row["root"], {})[row["id"]] = row["first_email"]
    return by_contact


async def roots(session: Session, rows: Iterable[int]) -> dict[int, int]:
    """Return the contact that each row belongs to: itself if the row is not merged."""
    records = await session.rows(
        "SELECT id, coalesce(merged_into, id) AS root FROM contacts WHERE id IN (SELECT id FROM given(id bigint))",
        [{"id": id} for id in sorted(set(rows))],
    )
    return {row["id"]: row["root"] for row in records}


async def write_groups(session: Session, root_of: Mapping[int, int]) -> None:
    """Update the contact that each of these rows belongs to: row → contact. The caller holds the locks."""
    await session.rows(
        "UPDATE contacts SET merged_into = CASE WHEN given.root = given.id THEN NULL ELSE given.root END"
        " FROM given(id bigint, root bigint) WHERE contacts.id = given.id",
        [{"id": row, "root": root} for row, root in sorted(root_of.items())],
    )


async def move_id(session: Session, id: Identity, *, row: int, target: int, now: int) -> None:
    """Move an id of a source from a contact row to a new row, and mark both rows. The caller holds the locks.

    The address that the contact is looked up by is shown from now on, even if only facts of the moved id stated it.
    """
    workspace, namespace, value = id
    spellings = id_spellings(value)
    await session.rows(
        "UPDATE identities SET contact_id = $1 WHERE contact_id = $2 AND workspace_id = $3 AND namespace = $4"
        f" AND value IN ({', '.join(f'${number}' for number in range(5, len(spellings) + 5))})",
        target,
        row,
        workspace,
        namespace,
        *spellings,
    )
    await session.rows("UPDATE contacts SET split_at = $3 WHERE id IN ($1, $2)", row, target, now)
    await session.rows(
        "UPDATE contacts SET first_email = (SELECT i.value FROM identities i WHERE i.contact_id = contacts.id"
        " AND i.namespace = $2 ORDER BY i.id LIMIT 1) WHERE id = $1 AND first_email IS NULL",
        row,
        EMAIL,
    )


async def find_split(session: Session, contacts: Iterable[int]) -> set[int]:
    """Return the contacts among these that a split took an id from or gave an id to."""
    rows = await session.rows(
        "SELECT DISTINCT given.id FROM given(id bigint) JOIN contacts m ON m.id = given.id OR m.merged_into = given.id"
        " WHERE m.split_at IS NOT NULL",
        [{"id": id} for id in sorted(set(contacts))],
    )
    return {row["id"] for row in rows}


async def count_identities(session: Session, contacts: Iterable[int]) -> dict[int, int]:
    """Return how many addresses and ids each of these contacts has, those of merged rows included."""
    rows = await session.rows(
        "SELECT given.id, count(*) AS number FROM given(id bigint)"
        " JOIN contacts m ON m.id = given.id OR m.merged_into = given.id"
        " JOIN identities i ON i.contact_id = m.id GROUP BY given.id",
        [{"id": id} for id in sorted(set(contacts))],
    )
    return {row["id"]: row["number"] for row in rows}


async def erase(session: Session, rows: Iterable[int]) -> None:
    """Empty contact rows, and delete their identities and attribute values. The caller holds the locks."""
    ids = [{"id": row} for row in sorted(rows)]
    for table in ("identities", "attribute_values"):
        await session.rows(f"DELETE FROM {table} WHERE contact_id IN (SELECT id FROM given(id bigint))", ids)
    await session.rows(
        "UPDATE contacts SET merged_into = $2, first_email = NULL, email = NULL, name = NULL, company = NULL,"
        " owner = NULL, tags = '[]', attributes = '{}', email_key = NULL, name_key = NULL, company_key = NULL,"
        " owner_key = NULL, tags_key = '', stamps = '{}', split_at = NULL"
        " WHERE id IN (SELECT id FROM given(id bigint))",
        ids,
        NOBODY,
    )


async def identities(session: Session, rows: Iterable[int]) -> list[Identity]:
    """Return all identities of these contact rows."""
    records = await session.rows(
        "SELECT workspace_id, namespace, value FROM identities WHERE contact_id IN (SELECT id FROM given(id bigint))",
        [{"id": row} for row in sorted(rows)],
    )
    return [(row["workspace_id"], row["namespace"], row["value"]) for row in records]


async def fields(session: Session, ids: Iterable[int]) -> dict[int, Fields]:
    """Return the fields of contacts, each with the order of the fact that states it."""
    rows = await session.rows(
        "SELECT id, email, first_email, name, company, owner, tags, attributes, stamps FROM contacts"
        " WHERE id IN (SELECT id FROM given(id bigint))",
        [{"id": id} for id in sorted(set(ids))],
    )
    return {row["id"]: _parse_fields(row) for row in rows}


def _parse_fields(row: Row) -> Fields:
    values: dict[str, Json] = {name: row[name] for name in FIELDS}
    values["tags"] = json.loads(row["tags"])
    values |= {ATTRIBUTE + name: value for name, value in json.loads(row["attributes"]).items()}
    stamps = {
        name: (at, *(part.encode() for part in parts)) for name, (at, *parts) in json.loads(row["stamps"]).items()
    }
    return {name: (values.get(name), order) for name, order in stamps.items()}


async def write_fields(session: Session, changed: Mapping[int, Fields], *, now: int) -> None:
    """Save all fields of contacts with their matching keys and attribute values. The caller holds the locks."""
    member_rows = await session.rows(
        "SELECT given.id, m.id AS member, m.first_email, m.attributes, m.split_at FROM given(id bigint)"
        " JOIN contacts m ON m.id = given.id OR m.merged_into = given.id ORDER BY m.id DESC",
        [{"id": id} for id in sorted(changed)],
    )
    first_email = {row["id"]: row["first_email"] for row in member_rows if row["first_email"]}  # of the oldest row
    own_addresses = await _load_addresses(session, {row["id"] for row in member_rows if row["split_at"] is not None})
    attributes_before = {row["id"]: json.loads(row["attributes"]) for row in member_rows if row["id"] == row["member"]}
    attributes_after: dict[int, dict[str, Json]] = {}
    rows = []
    for id, contact_fields in sorted(changed.items()):
        values: dict[str, Json] = {name: value for name, (value, _) in contact_fields.items()}
        email = values.get("email")
        if id in own_addresses and not (isinstance(email, str) and fold_address(email) in own_addresses[id]):
            email = None  # the facts of an id that was split off may state the address of the contact that it left
        values["email"] = email or first_email.get(id)
        attributes = attributes_after[id] = {
            name.removeprefix(ATTRIBUTE): value for name, value in values.items() if name.startswith(ATTRIBUTE)
        }
        rows.append(
            {
                "id": id,
                "email": values.get("email"),
                "name": values.get("name"),
                "company": values.get("company"),
                "owner": values.get("owner"),
                "tags": json.dumps(_list_tags(values.get("tags")), ensure_ascii=False),
                "attributes": json.dumps(attributes, ensure_ascii=False, sort_keys=True),
                **contact_keys(values),
                "stamps": json.dumps(
                    {
                        name: [order[0], *(part.decode() for part in order[1:])]
                        for name, (_, order) in contact_fields.items()
                    }
                ),
            }
        )
    await session.rows(
        "UPDATE contacts SET email = given.email, name = given.name, company = given.company,"
        " owner = given.owner, tags = given.tags, attributes = given.attributes, stamps = given.stamps,"
        " updated_at = $2, email_key = given.email_key, name_key = given.name_key, company_key = given.company_key,"
        " owner_key = given.owner_key, tags_key = given.tags_key"
        " FROM given(id bigint, email text, name text, company text, owner text, tags text, attributes text,"
        " stamps text, email_key text, name_key text, company_key text, owner_key text, tags_key text)"
        " WHERE contacts.id = given.id",
        rows,
        now,
    )
    await _write_attribute_values(session, attributes_before, attributes_after)


async def _load_addresses(session: Session, contacts: Iterable[int]) -> dict[int, set[str]]:
    """Return the matching keys of the addresses by which these contacts are looked up."""
    ids = sorted(contacts)
    if not ids:
        return {}
    rows = await session.rows(
        "SELECT given.id, i.value FROM given(id bigint) JOIN contacts m ON m.id = given.id OR m.merged_into = given.id"
        " JOIN identities i ON i.contact_id = m.id WHERE i.namespace = $2",
        [{"id": id} for id in ids],
        EMAIL,
    )
    addresses: dict[int, set[str]] = {id: set() for id in ids}
    for row in rows:
        addresses[row["id"]].add(row["value"])
    return addresses


async def _write_attribute_values(
    session: Session, before: Mapping[int, Mapping[str, Json]], after: Mapping[int, Mapping[str, Json]]
) -> None:
    """Store the lookup values of the attributes that changed, and delete those of removed attributes."""
    old = {(id, name): repr(value) for id, attributes in before.items() for name, value in attributes.items()}
    new = {(id, name): value for id, attributes in after.items() for name, value in attributes.items()}
    changed = {key: value for key, value in new.items() if old.get(key) != repr(value)}
    if replaced := sorted(key for key in old if key in changed or key not in new):
        await session.rows(
            "DELETE FROM attribute_values WHERE id IN (SELECT a.id FROM given(contact bigint, name text)"
            " JOIN attribute_values a ON a.contact_id = given.contact AND a.name = given.name)",
            [{"contact": id, "name": name} for id, name in replaced],
        )
    rows = [
        {"contact": id, "name": name, "key": keys.key, "number": keys.number, "instant": keys.instant}
        for (id, name), value in sorted(changed.items(), key=lambda item: item[0])
        for keys in index_value(value)
    ]
    if rows:
        await session.rows(
            "INSERT INTO attribute_values (workspace_id, contact_id, name, key, number, instant)"
            " SELECT c.workspace_id, given.contact, given.name, given.key, given.number, given.instant"
            " FROM given(contact bigint, name text, key text, number bigint, instant bigint)"
            " JOIN contacts c ON c.id = given.contact",
            rows,
        )


async def load_attribute_values(session: Session, ids: Iterable[int]) -> dict[int, dict[str, list[AttributeKeys]]]:
    """Return the stored lookup values of contacts' attributes: contact → attribute → values sorted by key."""
    rows = await session.rows(
        "SELECT contact_id, name, key, number, instant FROM attribute_values"
        " WHERE contact_id IN (SELECT id FROM given(id bigint))",
        [{"id": id} for id in sorted(set(ids))],
    )
    values_of: dict[int, dict[str, list[AttributeKeys]]] = {}
    for row in sorted(rows, key=lambda row: row["key"]):
        keys = AttributeKeys(row["key"], row["number"], row["instant"])
        values_of.setdefault(row["contact_id"], {}).setdefault(row["name"], []).append(keys)
    return values_of


def _list_tags(tags: Json) -> list[Json]:
    return tags if isinstance(tags, list) else []


async def contacts(workspace: Workspace, *, ids: Sequence[int]) -> list[Contact]:
    """Return the contacts with these row ids, in the given order. Merged, deleted and unknown rows are left out."""
    return await load_contacts(database.current_database().reader, workspace, ids=ids)


async def load_contacts(session: Session, workspace: Workspace, *, ids: Sequence[int]) -> list[Contact]:
    """Return the same as `contacts`, as this transaction sees it."""
    id_rows = [{"id": min(id, database.LARGEST_ID)} for id in ids]
    rows = await session.rows(
        "SELECT id, email, name, company, owner, tags, attributes, created_at, updated_at FROM contacts"
        " WHERE workspace_id = $2 AND merged_into IS NULL AND id IN (SELECT id FROM given(id bigint))",
        id_rows,
        workspace.id,
    )
    identity_rows = await session.rows(
        "SELECT given.id AS contact_id, i.namespace, i.value FROM given(id bigint)"
        " JOIN contacts m ON m.id = given.id OR m.merged_into = given.id"
        " JOIN identities i ON i.contact_id = m.id WHERE i.workspace_id = $2 AND i.namespace <> ''"
        ' ORDER BY i.namespace COLLATE "C", i.id DESC',
        id_rows,
        workspace.id,
    )
    ids_of: dict[int, dict[str, str]] = {}
    for row in identity_rows:
        ids_of.setdefault(row["contact_id"], {})[row["namespace"]] = row["value"]
    by_id = {row["id"]: _make_contact(row, ids_of.get(row["id"], {})) for row in rows}
    return [by_id[id] for id in ids if id in by_id]


def _make_contact(row: Row, ids: Mapping[str, str]) -> Contact:
    values = {**row, "tags": tuple(json.loads(row["tags"])), "attributes": json.loads(row["attributes"])}
    return Contact(**values, ids=ids)


async def find(workspace: Workspace, *, text: str, most: int = 10) -> list[Contact]:
    """Return the contacts that match a person's search text, at most *most* plus one.

    An address or `source:id` identifies one contact exactly. Any other text is searched in names, companies and
    addresses: first as whole words, then as beginnings of words, then anywhere. Raises BadItem if the text is too long.
    """
    _check_length(text)
    exact = await _find_by_identity(workspace, text)
    if exact is not None or looks_like_address(text.strip()):
        return await _load_named(workspace, exact)
    words = [_escape_pattern(word) for word in match_key(text).split()[:MOST_WORDS]]
    for pattern in ("% {} %", "% {}%", "%{}%") if words else ():
        ids = [
            row["id"]
            for row in await _search_by_patterns(workspace, [pattern.format(word) for word in words], most=most + 1)
        ]
        if ids:
            return await contacts(workspace, ids=ids)
    return []


async def nearest(workspace: Workspace, *, text: str, most: int = 3) -> list[Contact]:
    """Return the contacts with the name, company or address most similar to a text that no contact matches."""
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
    return await contacts(workspace, ids=best[:most])


def _check_length(text: str) -> None:
    """Raise BadItem if a search text is too long; SQLite would reject such a pattern."""
    if len(text) > MOST_CHARACTERS:
        raise BadItem(f"A name or address has at most {MOST_CHARACTERS:,} characters; this one has {len(text):,}")


async def find_by_key(workspace: Workspace, *, key: str) -> Contact | None:
    """Return the contact that a key from a program or a button identifies: a row id, an address, or `source:id`."""
    return next(iter(await _load_named(workspace, await _find_row(workspace, key))), None)


async def _load_named(workspace: Workspace, owner: _Owner | None) -> list[Contact]:
    """Return the contact of *owner*, or an empty list for None."""
    if owner is None:
        return []
    row, root, id = owner
    return [
        replace(contact, named_row=None if row == root else row, named_id=id)
        for contact in await contacts(workspace, ids=[root])
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
    workspace: Workspace, patterns: Sequence[str], *, most: int, match_all: bool = True
) -> list[Row]:
    """Return contacts that match all patterns in name, company and address, or with *match_all* false any of them."""
    haystack = (
        "' ' || coalesce(name_key, '') || ' ' || coalesce(company_key, '') || ' '"
        " || replace(coalesce(email_key, ''), '@', ' ') || ' '"
    )
    condition = (" AND " if match_all else " OR ").join(
        f"{haystack} LIKE ${number} ESCAPE '!'" for number in range(3, len(patterns) + 3)
    )
    return await database.read(
        "SELECT id, name_key, company_key, email_key FROM contacts"
        f" WHERE workspace_id = $1 AND merged_into IS NULL AND ({condition}) ORDER BY name_key, id LIMIT $2",
        workspace.id,
        most,
        *patterns,
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


async def verify_contact_ids(session: Session, pairs: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Return the existing pairs among these (workspace id, row id), each with the contact that the row belongs to."""
    rows = await session.rows(
        "SELECT c.workspace_id, c.id, coalesce(c.merged_into, c.id) AS root"
        " FROM given(workspace bigint, contact bigint)"
        " JOIN contacts c ON c.id = given.contact AND c.workspace_id = given.workspace",
        [{"workspace": workspace, "contact": contact} for workspace, contact in sorted(pairs)],
    )
    return {(row["workspace_id"], row["id"]): row["root"] for row in rows if row["root"] != NOBODY}
