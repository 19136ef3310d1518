"""Load contacts, insert new ones and lock them."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from storage.db import database
from storage.db.database import Row, Session
from storage.db.errors import StartAgain
from storage.domain.contacts import FIELDS, TEXT_FIELDS, Contact, fold_address
from storage.domain.people import Workspace

#: the columns of the text fields, and their matching keys
TEXT_COLUMNS = tuple(column for name in TEXT_FIELDS for column in (name, f"{name}_key"))

#: the value of merged_into in a deleted contact; its emptied row stays, because other transactions may wait for it
DELETED_CONTACT = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """The result of an attempt to lock contact rows."""

    locked_elsewhere: set[int]  #: the rows that other transactions have locked
    split: set[int]  #: the locked rows that a split took an id from or gave an id to
    gone: frozenset[int]  #: the locked contacts that are gone


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


async def find_split(session: Session, contacts: Iterable[int]) -> set[int]:
    """Return the contacts among these that a split took an id from or gave an id to."""
    rows = await session.rows(
        "SELECT DISTINCT given.id FROM given(id bigint) JOIN contacts m ON m.id = given.id OR m.merged_into = given.id"
        " WHERE m.split_at IS NOT NULL",
        [{"id": id} for id in sorted(set(contacts))],
    )
    return {row["id"] for row in rows}


async def erase_rows(session: Session, rows: Collection[int]) -> None:
    """Empty contact rows, and delete their identities and attribute values. The caller holds the locks."""
    ids = [{"id": row} for row in sorted(rows)]
    session.untouched.clear()
    for table in ("identities", "attribute_values"):
        await session.rows(f"DELETE FROM {table} WHERE contact_id IN (SELECT id FROM given(id bigint))", ids)
    await session.rows(
        f"UPDATE contacts SET merged_into = $2, first_email = NULL, {' = NULL, '.join(TEXT_COLUMNS)} = NULL,"
        " tags = '[]', tags_key = '', attributes = '{}', stamps = '{}', split_at = NULL, is_gone = false"
        " WHERE id IN (SELECT id FROM given(id bigint))",
        ids,
        DELETED_CONTACT,
    )
    session.reworded.update(rows)


async def contacts(workspace: Workspace, *, ids: Sequence[int]) -> list[Contact]:
    """Return the contacts with these row ids, in the given order. Merged, deleted and unknown rows are left out.

    Contacts that are gone are included: receipts and follow-ups name them.
    """
    return await load_contacts(database.current_database().reader, workspace, ids=ids)


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
