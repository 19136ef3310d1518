"""Store the tokens that programs call the API with, as hashes."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from storage.audit import AuditAction, Document, record_change
from storage.db import database
from storage.db.database import Row, Session
from storage.domain.errors import BadName, UnknownToken
from storage.domain.people import Workspace
from storage.events.outbox import KEPT_FOR, keep_events

SCOPES = ("read", "write", "metrics")
PREFIX = "cs_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An API token's name, scopes and workspace. The secret itself is not stored. *created_at* is in µs UTC."""

    id: int
    workspace: Workspace
    name: str
    scopes: tuple[str, ...]
    created_at: int


async def create_token(
    workspace: Workspace, *, name: str, scopes: Sequence[str], by: str, now: int
) -> tuple[Token, str]:
    """Create an API token and return it with its secret; raises BadName. The secret cannot be read again later."""
    chosen = tuple(scope for scope in SCOPES if scope in scopes)
    if not 1 <= len(name.strip()) <= 100:
        raise BadName("a token's name has 1 to 100 characters")
    if not chosen or set(scopes) - set(SCOPES):
        raise BadName(f"a token needs at least one of the scopes {', '.join(SCOPES)}: --scope read --scope write")
    secret = PREFIX + secrets.token_urlsafe(32)

    async def body(session: Session) -> Token:
        rows = await session.rows(
            "INSERT INTO tokens (workspace_id, name, scopes, hash, created_at) VALUES ($1, $2, $3, $4, $5)"
            " RETURNING id",
            workspace.id,
            name.strip(),
            json.dumps(chosen),
            _hash_secret(secret),
            now,
        )
        if "read" in chosen:
            await keep_events(session, workspace.id, until=now + KEPT_FOR)
        token = Token(id=rows[0]["id"], workspace=workspace, name=name.strip(), scopes=chosen, created_at=now)
        await record_change(
            session, workspace, who=by, what=AuditAction.TOKEN_CREATED, subject=token.name,
            before=None, after=_describe_token(token), now=now,
        )  # fmt: skip  # who and what, then the states
        return token

    return await database.write(body), secret


async def tokens(workspace: Workspace) -> list[Token]:
    """Return the tokens of a workspace that are not revoked, oldest first."""
    rows = await database.read(
        "SELECT id, name, scopes, created_at FROM tokens WHERE workspace_id = $1 ORDER BY id", workspace.id
    )
    return [_make_token(row, workspace) for row in rows]


async def revoke_token(workspace: Workspace, *, id: int, by: str, now: int) -> None:
    """Delete an API token, which stops working at once; raises UnknownToken."""

    async def body(session: Session) -> None:
        deleted = await session.rows(
            "DELETE FROM tokens WHERE workspace_id = $1 AND id = $2 RETURNING id, name, scopes, created_at",
            workspace.id,
            min(id, database.LARGEST_ID),
        )
        if not deleted:
            raise UnknownToken(f"there is no token {id}; `contact-score token list` names them")
        token = _make_token(deleted[0], workspace)
        await record_change(
            session, workspace, who=by, what=AuditAction.TOKEN_REVOKED, subject=token.name,
            before=_describe_token(token), after=None, now=now,
        )  # fmt: skip  # who and what, then the states

    await database.write(body)


async def find_token(secret: str) -> Token | None:
    """Return the API token with this secret, or None if there is none."""
    # The database looks the hash up, so the time that the lookup takes reveals nothing about the secret.
    rows = await database.read(
        "SELECT t.id, t.name, t.scopes, t.created_at, w.id AS workspace_id, w.team, w.name AS workspace_name"
        " FROM tokens t JOIN workspaces w ON w.id = t.workspace_id WHERE t.hash = $1",
        _hash_secret(secret),
    )
    if not rows:
        return None
    row = rows[0]
    return _make_token(row, Workspace(id=row["workspace_id"], team=row["team"], name=row["workspace_name"]))


def _make_token(row: Row, workspace: Workspace) -> Token:
    return Token(
        id=row["id"],
        workspace=workspace,
        name=row["name"],
        scopes=tuple(json.loads(row["scopes"])),
        created_at=row["created_at"],
    )


def _describe_token(token: Token) -> Document:
    return {"id": token.id, "name": token.name, "scopes": list(token.scopes)}


def _hash_secret(secret: str) -> str:
    # The secret is 32 random bytes and cannot be guessed, so a slow hash would only slow the API down.
    return hashlib.sha256(secret.encode()).hexdigest()
