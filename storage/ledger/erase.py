"""Delete all that is known of a contact, and remember as a hash until when nothing of it is taken."""

import hmac
import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from storage.alerts import followup_moves
from storage.db import database
from storage.db.database import Row, Session
from storage.domain.contacts import EMAIL
from storage.domain.people import Workspace
from storage.domain.submissions import Status
from storage.ledger import contacts, facts, projection
from storage.ledger import merge as merging
from storage.ledger.contacts import Identity
from storage.ledger.plan import Plan, PlannedItem
from storage.sources import deliveries

DELETED = "that contact was deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """How much is known of a contact."""

    changes: int  #: and activities, undone or not
    follow_ups: int
    identities: int


async def count_holdings(workspace: Workspace, *, contact: int) -> Holdings:
    """Count what a deletion would take away, of all that are one with the contact."""
    (row,) = await database.read(
        "SELECT (SELECT count(*) FROM facts f WHERE f.kind IN ('change', 'activity') AND f.contact_id IN"
        f" ({_ONE})) AS changes,"
        f" (SELECT count(*) FROM follow_ups u WHERE u.contact_id IN ({_ONE})) AS follow_ups,"
        f" (SELECT count(*) FROM identities i WHERE i.contact_id IN ({_ONE})) AS identities",
        workspace.id,
        contact,
    )
    return Holdings(**row)


_ONE = "SELECT id FROM contacts WHERE workspace_id = $1 AND (id = $2 OR merged_into = $2)"


async def load_tombstones(session: Session, identities: Iterable[Identity]) -> dict[Identity, int]:
    """Give those of these identities whose contact was deleted, each with the instant."""
    wanted = set(identities)
    keys = await _keys(session, {workspace for workspace, _, _ in wanted})
    by_hash = {(one[0], _hash(keys[one[0]], one)): one for one in wanted if one[0] in keys}
    if not by_hash:
        return {}
    rows = await session.rows(
        "SELECT t.workspace_id, t.hash, t.deleted_at FROM given(w bigint, h text)"
        " JOIN tombstones t ON t.workspace_id = given.w AND t.hash = given.h",
        [{"w": workspace, "h": hashed} for workspace, hashed in sorted(by_hash)],
    )
    return {by_hash[row["workspace_id"], row["hash"]]: row["deleted_at"] for row in rows}


async def stamp_deletions(session: Session, work: Plan) -> None:
    """Time the deletions: what a person does, or we stamp ourselves, comes after all that is known of the contact."""
    for entry in work.unsettled:
        if entry.is_deletion and (entry.item.occurred_at is None or work.submission.actor):
            entry.at = max(entry.at, await facts.latest(session, _members(work, entry)) + 1)


async def apply_deletions(session: Session, work: Plan) -> list[int]:
    """Carry out the deletions of a work whose facts are written; give the contacts that they bore on.

    What happened after a deletion stays: it is as if a new contact had been made by it.
    """
    deletions = [entry for entry in work.live if entry.is_deletion and entry.status is Status.APPLIED]
    rows = sorted({row for entry in deletions for row in _members(work, entry)})
    if not rows:
        return []
    workspace, named = work.submission.workspace.id, await contacts.identities(session, rows)
    await deliveries.redact_deliveries(session, workspace, await _addresses(session, rows, named))
    for entry in deletions:
        members = _members(work, entry)
        await facts.redact_facts(session, members, until=entry.at)
        await _bury(session, workspace, await contacts.identities(session, members), until=entry.at)
        _take_back(work, members, until=entry.at)
    definitions = {(row, key): one.definition for row in rows for key, one in work.types.items()}
    was = await projection.load_states(session, definitions)
    await projection.delete_projection(session, rows)
    await followup_moves.delete_follow_ups(session, rows)
    living = await facts.contacts_with_facts(session, rows)
    await contacts.erase(session, [row for row in rows if row not in living])
    await merging.split_contacts(session, work, rows=rows, living=living, was=was)
    for entry in work.new:
        entry.contact = work.roots.get(entry.rows[0], entry.contact)
    return rows


def _members(work: Plan, entry: PlannedItem) -> list[int]:
    """Give all that are one with those whom a deletion names."""
    roots = {work.roots[row] for row in entry.rows}
    return sorted(row for row, root in work.roots.items() if root in roots)


def _take_back(work: Plan, rows: Sequence[int], *, until: int) -> None:
    """Leave alone what the same submission tells of the contact until then."""
    for entry in work.new:
        told = entry.fact is not None and not entry.is_deletion and entry.fact.occurred_at <= until
        if told and set(entry.rows) & set(rows):
            entry.fact_id, entry.status, entry.note = None, Status.IGNORED, DELETED


async def _addresses(session: Session, rows: Collection[int], named: Sequence[Identity]) -> set[str]:
    """Give the addresses of contacts, as they are matched and as they were typed."""
    found = await session.rows(
        "SELECT email, first_email FROM contacts WHERE id IN (SELECT id FROM given(id bigint))",
        [{"id": row} for row in rows],
    )
    typed = {row[name] for row in found for name in ("email", "first_email") if row[name]}
    return typed | {value for _, namespace, value in named if namespace == EMAIL}


async def _bury(session: Session, workspace: int, identities: Sequence[Identity], *, until: int) -> None:
    key = (await _keys(session, {workspace})).get(workspace) or await _make_key(session, workspace)
    await session.rows(
        "INSERT INTO tombstones (workspace_id, hash, deleted_at) SELECT $2, h, $3 FROM given(h text)"
        " WHERE true ORDER BY h ON CONFLICT (workspace_id, hash) DO UPDATE SET deleted_at ="
        " CASE WHEN tombstones.deleted_at > excluded.deleted_at THEN tombstones.deleted_at"
        " ELSE excluded.deleted_at END",
        [{"h": hashed} for hashed in sorted(_hash(key, one) for one in identities)],
        workspace,
        until,
    )


async def _keys(session: Session, workspaces: Collection[int]) -> dict[int, bytes]:
    rows = await session.rows(
        "SELECT id, tombstone_key FROM workspaces WHERE tombstone_key IS NOT NULL"
        " AND id IN (SELECT id FROM given(id bigint))",
        [{"id": workspace} for workspace in sorted(workspaces)],
    )
    return {row["id"]: _unsealed(row) for row in rows}


async def _make_key(session: Session, workspace: int) -> bytes:
    (row,) = await session.rows(
        "UPDATE workspaces SET tombstone_key = coalesce(tombstone_key, $2) WHERE id = $1 RETURNING tombstone_key",
        workspace,
        database.current_database().vault.seal(secrets.token_hex(32)),
    )
    return _unsealed(row)


def _unsealed(row: Row) -> bytes:
    return bytes.fromhex(database.current_database().vault.unseal(row["tombstone_key"]))


def _hash(key: bytes, identity: Identity) -> str:
    _, namespace, value = identity
    return hmac.new(key, f"{namespace}\n{value}".encode(), sha256).hexdigest()
