"""Load contacts, insert new ones, lock them, and store their fields."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from storage.db import database
from storage.db.database import Row, Session, StartAgain
from storage.domain.attributes import AttributeKeys, index_value
from storage.domain.contacts import (
    ATTRIBUTE,
    EMAIL,
    FIELDS,
    TEXT_FIELDS,
    Contact,
    Json,
    contact_keys,
    fold_address,
    id_spellings,
)
from storage.domain.facts import FieldOrder
from storage.domain.people import Workspace

#: (workspace id, namespace, key)
Identity: TypeAlias = tuple[int, str, str]
#: field → (value, order of the fact that states it)
Fields: TypeAlias = dict[str, tuple[Json, FieldOrder]]

#: the columns of the text fields, and their matching keys
_TEXT_COLUMNS = tuple(column for name in TEXT_FIELDS for column in (name, f"{name}_key"))
#: the columns with the words that contacts are searched by
_WORD_COLUMNS = ("name_key", "company_key", "email_key")

#: the value of merged_into in a deleted contact; its emptied row stays, because other transactions may wait for it
DELETED_CONTACT = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """The result of an attempt to lock contact rows."""

    locked_elsewhere: set[int]  #: the rows that other transactions have locked
    split: set[int]  #: the locked rows that a split took an id from or gave an id to
    gone: frozenset[int]  #: the locked contacts that are gone


async def load_known(session: Session, identities: Iterable[Identity]) -> dict[Identity, int]:
    """Return the contacts that these identities belong to. Unknown identities are left out."""
    return {identity: contact for identity, (_, contact) in (await load_identity_owners(session, identities)).items()}


async def load_identity_owners(session: Session, identities: Iterable[Identity]) -> dict[Identity, tuple[int, int]]:
    """Return the owner of each known identity: (row that it was inserted for, contact that the row belongs to)."""
    identity_of = {
        (workspace, namespace, spelling): (workspace, namespace, value)
        for workspace, namespace, value in set(identities)
        for spelling in reversed((value,) if namespace == EMAIL else id_spellings(value))
    }
    keys = [
        {"workspace": workspace, "namespace": namespace, "value": spelling}
        for workspace, namespace, spelling in sorted(identity_of)
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
    spellings = sorted(owners, key=lambda spelling: spelling == identity_of[spelling])
    return {identity_of[spelling]: owners[spelling] for spelling in spellings}


async def insert_contacts(
    session: Session, new_contacts: Sequence[tuple[int, str | None]], *, now: int
) -> Sequence[int]:
    """Insert a contact for each (workspace id, address as typed) and return their ids."""
    ids = await database.current_database().next_ids(session, "contacts", len(new_contacts))
    rows = [
        (id, workspace, email, email, None if email is None else fold_address(email), "[]", "", "{}", "{}", now, now)
        for id, (workspace, email) in zip(ids, new_contacts, strict=True)
    ]
    await session.insert(
        "contacts",
        ("id", "workspace_id", "first_email", "email", "email_key", "tags", "tags_key", "attributes", "stamps",
         "created_at", "updated_at"),
        rows,
    )  # fmt: skip  # one line for what is listed first
    session.reworded.update(ids)
    session.untouched.update(zip(ids, (email for _, email in new_contacts), strict=True))
    return ids


async def insert_identities(session: Session, identities: Mapping[Identity, int]) -> None:
    """Insert identities with their contact rows. Raises StartAgain if another transaction has inserted one of them."""
    rows = [(*identity, contact) for identity, contact in sorted(identities.items())]
    await session.insert("identities", ("workspace_id", "namespace", "value", "contact_id"), rows)


async def lock(session: Session, expected: Mapping[int, int]) -> None:
    """Lock contact rows, in the order of their ids.

    The lock of a contact's row covers everything stored about the contact. *expected*: row → contact that it belongs to
    (itself if it is not merged). The lock of the contact also covers which rows belong to it. Raises StartAgain if a
    row belongs to another contact by now or was deleted.
    """
    rows = await session.rows(
        "SELECT id, coalesce(merged_into, id) AS root FROM contacts WHERE id IN (SELECT id FROM given(id bigint))"
        " ORDER BY id FOR NO KEY UPDATE",
        [{"id": id} for id in sorted(expected)],
    )
    if {row["id"]: row["root"] for row in rows} != expected:
        raise StartAgain


async def lock_available(session: Session, expected: Mapping[int, int]) -> Locked:
    """Lock the contact rows that no other transaction has locked.

    *expected* is as in `lock`. Raises StartAgain if a row belongs to another contact by now or was deleted.
    """
    rows = await session.rows(
        "SELECT id, coalesce(merged_into, id) AS root, split_at, is_gone FROM contacts"
        " WHERE id IN (SELECT id FROM given(id bigint)) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
        [{"id": id} for id in sorted(expected)],
    )
    locked = {row["id"]: row["root"] for row in rows}
    if any(expected[id] != root for id, root in locked.items()):
        raise StartAgain
    others = expected.keys() - locked.keys()
    if others and (await load_roots(session, others)).keys() != others:
        raise StartAgain
    return Locked(
        locked_elsewhere=others,
        split={row["id"] for row in rows if row["split_at"] is not None},
        gone=frozenset(row["id"] for row in rows if row["is_gone"]),
    )


async def load_rows(session: Session, contacts: Iterable[int]) -> dict[int, int]:
    """Return all rows of these contacts, their own and those merged into them: row → contact."""
    rows = await session.rows(
        "SELECT m.id, given.id AS root FROM given(id bigint)"
        " JOIN contacts m ON m.id = given.id OR m.merged_into = given.id",
        [{"id": id} for id in sorted(set(contacts))],
    )
    return {row["id"]: row["root"] for row in rows}


async def load_merged(session: Session, contacts: Iterable[int]) -> dict[int, dict[int, str | None]]:
    """Return the rows of contacts with more than one row: contact → row → address that the row was inserted with."""
    known = sorted(set(contacts) - session.untouched.keys())
    merged: Sequence[Row] = ()
    if known:
        merged = await session.rows(
            "SELECT DISTINCT m.merged_into AS id FROM given(id bigint) JOIN contacts m ON m.merged_into = given.id",
            [{"id": id} for id in known],
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


async def load_roots(session: Session, rows: Iterable[int]) -> dict[int, int]:
    """Return the contact that each row belongs to: itself if the row is not merged."""
    records = await session.rows(
        "SELECT id, coalesce(merged_into, id) AS root FROM contacts WHERE id IN (SELECT id FROM given(id bigint))",
        [{"id": id} for id in sorted(set(rows))],
    )
    return {row["id"]: row["root"] for row in records}


async def write_groups(session: Session, root_of: Mapping[int, int]) -> None:
    """Update the contact that each of these rows belongs to: row → contact. The caller holds the locks."""
    session.untouched.clear()
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


async def erase_rows(session: Session, rows: Collection[int]) -> None:
    """Empty contact rows, and delete their identities and attribute values. The caller holds the locks."""
    ids = [{"id": row} for row in sorted(rows)]
    session.untouched.clear()
    for table in ("identities", "attribute_values"):
        await session.rows(f"DELETE FROM {table} WHERE contact_id IN (SELECT id FROM given(id bigint))", ids)
    await session.rows(
        f"UPDATE contacts SET merged_into = $2, first_email = NULL, {' = NULL, '.join(_TEXT_COLUMNS)} = NULL,"
        " tags = '[]', tags_key = '', attributes = '{}', stamps = '{}', split_at = NULL, is_gone = false"
        " WHERE id IN (SELECT id FROM given(id bigint))",
        ids,
        DELETED_CONTACT,
    )
    session.reworded.update(rows)


async def load_identities(session: Session, rows: Iterable[int]) -> list[Identity]:
    """Return all identities of these contact rows."""
    records = await session.rows(
        "SELECT workspace_id, namespace, value FROM identities WHERE contact_id IN (SELECT id FROM given(id bigint))",
        [{"id": row} for row in sorted(rows)],
    )
    return [(row["workspace_id"], row["namespace"], row["value"]) for row in records]


async def load_fields(session: Session, ids: Iterable[int]) -> dict[int, Fields]:
    """Return the fields of contacts, each with the order of the fact that states it."""
    wanted = set(ids)
    fields_of: dict[int, Fields] = {id: {} for id in wanted if id in session.untouched}
    known = sorted(wanted - fields_of.keys())
    rows: Sequence[Row] = ()
    if known:
        rows = await session.rows(
            f"SELECT id, {', '.join(FIELDS)}, attributes, stamps FROM contacts"
            " WHERE id IN (SELECT id FROM given(id bigint))",
            [{"id": id} for id in known],
        )
    return fields_of | {row["id"]: _parse_fields(row) for row in rows}


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
    known = sorted(changed.keys() - session.untouched.keys())
    member_rows: Sequence[Row] = ()
    if known:
        member_rows = await session.rows(
            "SELECT given.id, m.id AS member, m.first_email, m.attributes, m.split_at,"
            f" {', '.join(f'm.{column}' for column in _WORD_COLUMNS)} FROM given(id bigint)"
            " JOIN contacts m ON m.id = given.id OR m.merged_into = given.id ORDER BY m.id DESC",
            [{"id": id} for id in known],
        )
    first_email = {id: email for id, email in session.untouched.items() if email and id in changed}
    first_email |= {row["id"]: row["first_email"] for row in member_rows if row["first_email"]}  # of the oldest row
    own_addresses = await _load_addresses(session, {row["id"] for row in member_rows if row["split_at"] is not None})
    attributes_before = {row["id"]: json.loads(row["attributes"]) for row in member_rows if row["id"] == row["member"]}
    texts_before = {
        row["id"]: [row[name] for name in _WORD_COLUMNS] for row in member_rows if row["id"] == row["member"]
    }
    attributes_after: dict[int, dict[str, Json]] = {}
    rows: list[Row] = []
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
                **{name: values.get(name) for name in TEXT_FIELDS},
                "tags": json.dumps(tags, ensure_ascii=False) if (tags := _list_tags(values.get("tags"))) else "[]",
                "attributes": json.dumps(attributes, ensure_ascii=False, sort_keys=True) if attributes else "{}",
                **contact_keys(values),
                "stamps": json.dumps(
                    {
                        name: [order[0], *(part.decode() for part in order[1:])]
                        for name, (_, order) in contact_fields.items()
                    }
                ),
            }
        )
    columns = (*_TEXT_COLUMNS, "tags", "tags_key", "attributes", "stamps")
    await session.rows(
        f"UPDATE contacts SET {', '.join(f'{column} = given.{column}' for column in columns)}, updated_at = $2"
        f" FROM given(id bigint, {', '.join(f'{column} text' for column in columns)})"
        " WHERE contacts.id = given.id",
        rows,
        now,
    )
    session.reworded |= {
        row["id"] for row in rows if texts_before.get(row["id"]) != [row[name] for name in _WORD_COLUMNS]
    }
    for id in changed:
        session.untouched.pop(id, None)
    await write_attribute_values(session, attributes_before, attributes_after)


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


async def write_attribute_values(
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
    """Return the contacts with these row ids, in the given order. Merged, deleted and unknown rows are left out.

    Contacts that are gone are included: receipts and follow-ups name them.
    """
    return await load_contacts(database.current_database().reader, workspace, ids=ids)


async def list_identities(workspace: Workspace, *, contact: int) -> list[tuple[str, str]]:
    """Return all addresses and ids of a contact as (namespace, key), the addresses first."""
    rows = await database.read(
        "SELECT i.namespace, i.value FROM contacts m JOIN identities i ON i.contact_id = m.id"
        " WHERE i.workspace_id = $1 AND (m.id = $2 OR m.merged_into = $2) ORDER BY i.namespace, i.id",
        workspace.id,
        contact,
    )
    return [(row["namespace"], row["value"]) for row in rows]


async def load_contacts(session: Session, workspace: Workspace, *, ids: Sequence[int]) -> list[Contact]:
    """Return the same as `contacts`, as this transaction sees it."""
    id_rows = [{"id": min(id, database.LARGEST_ID)} for id in ids]
    rows = await session.rows(
        f"SELECT id, {', '.join(FIELDS)}, attributes, created_at, updated_at, is_gone FROM contacts"
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
    return Contact(**{**values, "is_gone": bool(row["is_gone"])}, ids=ids)


async def verify_contact_ids(session: Session, pairs: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Return the existing pairs among these (workspace id, row id), each with the contact that the row belongs to."""
    rows = await session.rows(
        "SELECT c.workspace_id, c.id, coalesce(c.merged_into, c.id) AS root"
        " FROM given(workspace bigint, contact bigint)"
        " JOIN contacts c ON c.id = given.contact AND c.workspace_id = given.workspace",
        [{"workspace": workspace, "contact": contact} for workspace, contact in sorted(pairs)],
    )
    return {(row["workspace_id"], row["id"]): row["root"] for row in rows if row["root"] != DELETED_CONTACT}
