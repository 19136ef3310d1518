"""Store files that a program or a person sent, until a job has imported them, and the results of these imports.

Any process may run the job, so a file is in the database, in compressed parts. It is deleted when the import has ended.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from tortoise.expressions import Q

from storage.db import database, models
from storage.db.database import Row, Session
from storage.domain.errors import Conflict
from storage.domain.facts import DAY
from storage.domain.people import Workspace
from storage.domain.texts import match_key
from storage.jobs import NewJob, enqueue
from storage.vault import open_private

IMPORT = "import"  #: kind and lane of the job that imports a file; imports of a workspace run one after the other
PART = 512 * 1024  #: bytes of a file in one part
RESULT_KEPT_FOR = 30 * DAY  #: in µs
FILE_KEPT_FOR = DAY  #: how long a file waits for a confirmation; in µs


class ImportState(StrEnum):
    """What became of a file."""

    WAITING = "waiting"  #: for a person to confirm it
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSettings:
    """How to read a file. *mapping* maps column headers to fields."""

    mapping: Mapping[str, str] = field(default_factory=dict)
    all_columns: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFile:
    """A file that was sent, and the result of its import."""

    id: int
    name: str
    made_by: str
    settings: ImportSettings
    state: ImportState
    summary: Mapping[str, Any] | None
    errors: Sequence[tuple[int, str]]  #: the first lines that were not imported, with the reasons
    problem: str | None
    created_at: int
    finished_at: int | None


async def store_file(
    workspace: Workspace,
    *,
    path: Path,
    name: str,
    key: str,
    settings: ImportSettings,
    is_confirmed: bool = True,
    by: str,
    now: int,
) -> int:
    """Store a file and enqueue the job that imports it, and return its id. *key* identifies the request.

    A repeat of a request returns the same id; Conflict is raised if it has another file or other settings. Without
    *is_confirmed*, the job is enqueued by `confirm_file`.
    """
    written = json.dumps(asdict(settings), sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(written.encode())
    with path.open("rb") as file:
        while part := file.read(PART):
            digest.update(part)
    state = ImportState.QUEUED if is_confirmed else ImportState.WAITING

    async def body(session: Session) -> int:
        rows = await session.rows(
            "INSERT INTO imports (workspace_id, request_key, digest, name, made_by, settings, state, created_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING id",
            workspace.id,
            key,
            digest.hexdigest(),
            name,
            by,
            written,
            state.value,
            now,
        )
        if not rows:
            same_request = models.Import.filter(workspace_id=workspace.id, request_key=key)
            (stored,) = await session.load(same_request, "id", "digest")
            if stored["digest"] != digest.hexdigest():
                raise Conflict
            return int(stored["id"])
        id = int(rows[0]["id"])
        await _insert_parts(session, id, path)
        if is_confirmed:
            await enqueue(session, [_make_job(workspace, id, now=now)], now=now)
        return id

    return await database.write(body)


async def _insert_parts(session: Session, id: int, path: Path) -> None:
    with path.open("rb") as file:
        position = 0
        while part := file.read(PART):
            await session.rows(
                "INSERT INTO import_parts (file_id, position, content) VALUES ($1, $2, $3)",
                id,
                position,
                base64.b64encode(zlib.compress(part, 1)).decode(),
            )
            position += 1


def _make_job(workspace: Workspace, id: int, *, now: int) -> NewJob:
    return NewJob(workspace=workspace.id, kind=IMPORT, lane=IMPORT, key=str(id), subject=id, due_at=now)


async def confirm_file(workspace: Workspace, *, id: int, now: int) -> bool:
    """Enqueue the job that imports a file. Return False if the file does not wait for that any more."""

    async def body(session: Session) -> bool:
        rows = await session.rows(
            "UPDATE imports SET state = $3 WHERE workspace_id = $1 AND id = $2 AND state = $4 RETURNING id",
            workspace.id,
            id,
            ImportState.QUEUED.value,
            ImportState.WAITING.value,
        )
        if rows:
            await enqueue(session, [_make_job(workspace, id, now=now)], now=now)
        return bool(rows)

    return await database.write(body)


async def cancel_file(workspace: Workspace, *, id: int) -> bool:
    """Delete a file that waits for a confirmation. Return False if it does not wait any more."""

    async def body(session: Session) -> bool:
        rows = await session.rows(
            "SELECT id FROM imports WHERE workspace_id = $1 AND id = $2 AND state = $3 FOR NO KEY UPDATE",
            workspace.id,
            id,
            ImportState.WAITING.value,
        )
        if rows:
            await session.delete(models.ImportPart.filter(file_id=id))
            await session.delete(models.Import.filter(id=id))
        return bool(rows)

    return await database.write(body)


async def load_file(workspace: Workspace, *, id: int) -> SentFile | None:
    """Return a file and its result, or None if there is none."""
    rows = await database.load(models.Import.filter(workspace_id=workspace.id, id=min(id, database.LARGEST_ID)))
    return _make_file(rows[0]) if rows else None


def create_private(path: Path) -> IO[bytes]:
    """Create a file that only its owner can read."""
    return open(path, "wb", opener=open_private)


async def load_part(workspace: Workspace, *, id: int, position: int) -> bytes | None:
    """Return a part of a file, counted from 0, or None after the last part."""
    rows = await database.read(
        "SELECT p.content FROM import_parts p JOIN imports i ON i.id = p.file_id"
        " WHERE i.workspace_id = $1 AND p.file_id = $2 AND p.position = $3",
        workspace.id,
        id,
        position,
    )
    return zlib.decompress(base64.b64decode(rows[0]["content"])) if rows else None


async def record_start(workspace: Workspace, *, id: int) -> None:
    """Record that the import of a file is running."""
    queued = models.Import.filter(workspace_id=workspace.id, id=id, state=ImportState.QUEUED.value)
    await database.current_database().writer.update(queued, state=ImportState.RUNNING.value)


async def record_end(
    workspace: Workspace,
    *,
    id: int,
    summary: Mapping[str, Any] | None = None,
    errors: Sequence[tuple[int, str]] = (),
    problem: str | None = None,
    now: int,
) -> None:
    """Record the result of an import, or the *problem* for which it failed, and delete the content of the file."""

    async def body(session: Session) -> None:
        await session.update(
            models.Import.filter(workspace_id=workspace.id, id=id),
            state=(ImportState.DONE if problem is None else ImportState.FAILED).value,
            summary=None if summary is None else json.dumps(summary, ensure_ascii=False),
            errors=json.dumps(list(errors), ensure_ascii=False) if errors else None,
            problem=problem,
            finished_at=now,
        )
        await session.delete(models.ImportPart.filter(file_id=id))

    await database.write(body)


async def delete_old_files(workspace: Workspace, *, now: int) -> None:
    """Delete files that nobody confirmed for a day, and the results of imports after a month."""

    async def body(session: Session) -> None:
        unconfirmed = Q(state=ImportState.WAITING.value, created_at__lt=now - FILE_KEPT_FOR)
        old = models.Import.filter(unconfirmed | Q(finished_at__lt=now - RESULT_KEPT_FOR), workspace_id=workspace.id)
        rows = await session.load(old, "id")
        for statement in ("DELETE FROM import_parts WHERE file_id", "DELETE FROM imports WHERE id"):
            await session.rows(f"{statement} IN (SELECT id FROM given(id bigint))", rows)

    await database.write(body)


async def redact_files(session: Session, workspace: int, *, words: Collection[str]) -> None:
    """Empty the reasons of lines that contain an address or a name of a deleted contact."""
    keys = [key for word in words if (key := match_key(word))]
    refused = models.Import.filter(workspace_id=workspace, errors__isnull=False)
    rows = await session.load(refused, "id", "errors")
    reasons = {row["id"]: [match_key(reason) for _, reason in json.loads(row["errors"])] for row in rows}
    naming = [{"id": id} for id, texts in reasons.items() if any(key in text for key in keys for text in texts)]
    await session.rows("UPDATE imports SET errors = NULL WHERE id IN (SELECT id FROM given(id bigint))", naming)


def _make_file(row: Row) -> SentFile:
    return SentFile(
        **{name: row[name] for name in ("id", "name", "made_by", "problem", "created_at", "finished_at")},
        settings=ImportSettings(**json.loads(row["settings"])),
        state=ImportState(row["state"]),
        summary=None if row["summary"] is None else json.loads(row["summary"]),
        errors=[(line, reason) for line, reason in json.loads(row["errors"] or "[]")],
    )
