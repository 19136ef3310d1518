"""Store hashes of the identities of deleted contacts, so that older data about them stays deleted."""

import hmac
import secrets
from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256

from storage.db import database
from storage.db.database import Row, Session
from storage.domain.contacts import id_spellings
from storage.ledger.identities import Identity


async def load_tombstones(session: Session, identities: Iterable[Identity]) -> dict[Identity, int]:
    """Return those of the identities that belong to deleted contacts, each with the time of the deletion in µs."""
    distinct = set(identities)
    keys = await _load_keys(session, {workspace for workspace, _, _ in distinct})
    by_hash = {
        (identity[0], _hash_identity(keys[identity[0]], (*identity[:2], spelling))): identity
        for identity in distinct
        if identity[0] in keys
        for spelling in id_spellings(identity[2])
    }
    if not by_hash:
        return {}
    rows = await session.rows(
        "SELECT t.workspace_id, t.hash, t.deleted_at FROM given(workspace bigint, hash text)"
        " JOIN tombstones t ON t.workspace_id = given.workspace AND t.hash = given.hash",
        [{"workspace": workspace, "hash": hashed} for workspace, hashed in sorted(by_hash)],
    )
    return {by_hash[row["workspace_id"], row["hash"]]: row["deleted_at"] for row in rows}


async def insert_tombstones(session: Session, workspace: int, identities: Sequence[Identity], *, until: int) -> None:
    """Store that these identities belong to a contact that was deleted at *until*, in µs."""
    key = (await _load_keys(session, {workspace})).get(workspace) or await _make_key(session, workspace)
    await session.rows(
        "INSERT INTO tombstones (workspace_id, hash, deleted_at) SELECT $2, hash, $3 FROM given(hash text)"
        " WHERE true ORDER BY hash ON CONFLICT (workspace_id, hash) DO UPDATE SET deleted_at ="
        " CASE WHEN tombstones.deleted_at > excluded.deleted_at THEN tombstones.deleted_at"
        " ELSE excluded.deleted_at END",
        [{"hash": hashed} for hashed in sorted(_hash_identity(key, identity) for identity in identities)],
        workspace,
        until,
    )


async def _load_keys(session: Session, workspaces: Collection[int]) -> dict[int, bytes]:
    rows = await session.rows(
        "SELECT id, tombstone_key FROM workspaces WHERE tombstone_key IS NOT NULL"
        " AND id IN (SELECT id FROM given(id bigint))",
        [{"id": workspace} for workspace in sorted(workspaces)],
    )
    return {row["id"]: _unseal_key(row) for row in rows}


async def _make_key(session: Session, workspace: int) -> bytes:
    (row,) = await session.rows(
        "UPDATE workspaces SET tombstone_key = coalesce(tombstone_key, $2) WHERE id = $1 RETURNING tombstone_key",
        workspace,
        database.current_database().vault.seal(secrets.token_hex(32)),
    )
    return _unseal_key(row)


def _unseal_key(row: Row) -> bytes:
    return bytes.fromhex(database.current_database().vault.unseal(row["tombstone_key"]))


def _hash_identity(key: bytes, identity: Identity) -> str:
    _, namespace, value = identity
    return hmac.new(key, f"{namespace}\n{value}".encode(), sha256).hexdigest()
