"""Store the tokens that programs call the API with, as hashes."""

import asyncio
import hashlib
import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from tortoise.expressions import Q

from storage.audit import AuditAction, Document, record_change
from storage.db import database, models
from storage.db.database import Row, Session
from storage.domain.errors import BadName, StorageUnavailable, UnknownToken
from storage.domain.people import Workspace
from storage.events.outbox import KEPT_FOR, keep_events

SCOPES = ("read", "write", "metrics", "export")
PREFIX = "cs_"
MINUTE = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An API token's name, scopes and workspace. The secret itself is not stored. Times in µs UTC."""

    id: int
    workspace: Workspace
    name: str
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None = None  #: when it stops working; None: never
    last_used_at: int | None = None  #: to the minute


async def create_token(
    workspace: Workspace, *, name: str, scopes: Sequence[str], lifetime: int | None = None, by: str, now: int
) -> tuple[Token, str]:
    """Create an API token and return it with its secret; raises BadName. The secret cannot be read again later.

    *lifetime*: the µs after which it stops working.
    """
    chosen = tuple(scope for scope in SCOPES if scope in scopes)
    if not 1 <= len(name.strip()) <= 100:
        raise BadName("a token's name has 1 to 100 characters")
    if not chosen or set(scopes) - set(SCOPES):
        raise BadName(f"a token needs at least one of the scopes {', '.join(SCOPES)}: --scope read --scope write")
    secret = PREFIX + secrets.token_urlsafe(32)
    expires_at = None if lifetime is None else now + lifetime

    async def body(session: Session) -> Token:
        rows = await session.rows(
            "INSERT INTO tokens (workspace_id, name, scopes, hash, created_at, expires_at)"
            " VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
            workspace.id,
            name.strip(),
            json.dumps(chosen),
            _hash_secret(secret),
            now,
            expires_at,
        )
        token = Token(
            id=rows[0]["id"],
            workspace=workspace,
            name=name.strip(),
            scopes=chosen,
            created_at=now,
            expires_at=expires_at,
        )
        if "read" in chosen:
            await keep_events(session, workspace.id, until=now + KEPT_FOR)
        await record_change(
            session, workspace, who=by, what=AuditAction.TOKEN_CREATED, subject=token.name,
            before=None, after=_describe_token(token), now=now,
        )  # fmt: skip  # who and what, then the states
        return token

    return await database.write(body), secret


async def tokens(workspace: Workspace) -> list[Token]:
    """Return the tokens of a workspace that are not revoked, oldest first; expired ones too."""
    rows = await database.load(models.Token.filter(workspace_id=workspace.id).order_by("id"))
    return [_make_token(row, workspace) for row in rows]


async def revoke_token(workspace: Workspace, *, id: int, by: str, now: int) -> None:
    """Delete an API token, which stops working at once; raises UnknownToken."""

    async def body(session: Session) -> None:
        deleted = await session.rows(
            "DELETE FROM tokens WHERE workspace_id = $1 AND id = $2 RETURNING *",
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


async def find_token(secret: str, *, now: int) -> Token | None:
    """Return the API token with this secret, or None if there is none or it has expired."""
    # The database looks the hash up, so the time that the lookup takes reveals nothing about the secret.
    rows = await database.read(
        "SELECT t.*, w.team, w.name AS workspace_name FROM tokens t JOIN workspaces w ON w.id = t.workspace_id"
        " WHERE t.hash = $1 AND (t.expires_at IS NULL OR t.expires_at > $2)",
        _hash_secret(secret),
        now,
    )
    if not rows:
        return None
    row = rows[0]
    return _make_token(row, Workspace(id=row["workspace_id"], team=row["team"], name=row["workspace_name"]))


async def record_token_use(workspace: Workspace, *, id: int, now: int) -> None:
    """Record that a token was used, unless a later use is recorded."""
    earlier = Q(last_used_at__isnull=True) | Q(last_used_at__lt=now)
    token = models.Token.filter(earlier, workspace_id=workspace.id, id=id)
    await database.current_database().writer.update(token, last_used_at=now)


class TokenUses:
    """Records when tokens are used, at most once a minute for each token, without keeping requests waiting."""

    def __init__(self) -> None:
        self._noted: dict[int, int] = {}  # token → when its last use was noted
        self._tasks: set[asyncio.Task[None]] = set()

    def note(self, token: Token, *, now: int) -> None:
        """Record a use, in the background."""
        last_use = max(self._noted.get(token.id, -MINUTE), token.last_used_at or -MINUTE)
        if now - last_use < MINUTE:
            return
        self._noted[token.id] = now
        task = asyncio.create_task(self._record(token, now=now))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _record(self, token: Token, *, now: int) -> None:
        with suppress(StorageUnavailable):  # the next minute is recorded instead
            await record_token_use(token.workspace, id=token.id, now=now)

    async def drain(self) -> None:
        """Wait until all uses are recorded."""
        if self._tasks:
            await asyncio.wait(self._tasks)


def _make_token(row: Row, workspace: Workspace) -> Token:
    return Token(
        id=row["id"],
        workspace=workspace,
        name=row["name"],
        scopes=tuple(json.loads(row["scopes"])),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
    )


def _describe_token(token: Token) -> Document:
    expiry = {} if token.expires_at is None else {"expires_at": token.expires_at}
    return {"id": token.id, "name": token.name, "scopes": list(token.scopes), **expiry}


def _hash_secret(secret: str) -> str:
    # The secret is 32 random bytes and cannot be guessed, so a slow hash would only slow the API down.
    return hashlib.sha256(secret.encode()).hexdigest()
