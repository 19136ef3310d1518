"""Load, insert and move the identities by which contacts are looked up: addresses, and ids of sources."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from storage.db import database
from storage.db.database import Session
from storage.domain.contacts import EMAIL, id_spellings
from storage.domain.people import Workspace

#: (workspace id, namespace, key)
Identity: TypeAlias = tuple[int, str, str]


async def load_contacts_of_identities(session: Session, identities: Iterable[Identity]) -> dict[Identity, int]:
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


async def insert_identities(session: Session, identities: Mapping[Identity, int]) -> None:
    """Insert identities with their contact rows. Raises StartAgain if another transaction has inserted one of them."""
    rows = [(*identity, contact) for identity, contact in sorted(identities.items())]
    await session.insert("identities", ("workspace_id", "namespace", "value", "contact_id"), rows)


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


async def count_identities(session: Session, contacts: Iterable[int]) -> dict[int, int]:
    """Return how many addresses and ids each of these contacts has, those of merged rows included."""
    rows = await session.rows(
        "SELECT given.id, count(*) AS number FROM given(id bigint)"
        " JOIN contacts m ON m.id = given.id OR m.merged_into = given.id"
        " JOIN identities i ON i.contact_id = m.id GROUP BY given.id",
        [{"id": id} for id in sorted(set(contacts))],
    )
    return {row["id"]: row["number"] for row in rows}


async def load_identities(session: Session, rows: Iterable[int]) -> list[Identity]:
    """Return all identities of these contact rows."""
    records = await session.rows(
        "SELECT workspace_id, namespace, value FROM identities WHERE contact_id IN (SELECT id FROM given(id bigint))",
        [{"id": row} for row in sorted(rows)],
    )
    return [(row["workspace_id"], row["namespace"], row["value"]) for row in records]


async def load_addresses(session: Session, contacts: Iterable[int]) -> dict[int, set[str]]:
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


async def list_identities(workspace: Workspace, *, contact: int) -> list[tuple[str, str]]:
    """Return all addresses and ids of a contact as (namespace, key), the addresses first."""
    rows = await database.read(
        "SELECT i.namespace, i.value FROM contacts m JOIN identities i ON i.contact_id = m.id"
        " WHERE i.workspace_id = $1 AND (m.id = $2 OR m.merged_into = $2) ORDER BY i.namespace, i.id",
        workspace.id,
        contact,
    )
    return [(row["namespace"], row["value"]) for row in rows]
