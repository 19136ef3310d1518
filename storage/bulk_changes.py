"""Store changes of many contacts: as a preview until a person confirms it, and while a job applies it."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field

from storage.audit import AuditAction, record_change
from storage.db import database, models
from storage.db.database import Row, Session
from storage.domain.bulk_changes import BulkChange
from storage.domain.facts import DAY
from storage.domain.people import Workspace
from storage.domain.texts import match_key
from storage.jobs import NewJob, enqueue

PREVIEW, APPLY = "bulk_preview", "bulk_apply"  #: the kinds of its jobs
KEPT_FOR = DAY  #: how long a preview can be confirmed, and a result is kept; in µs


@dataclass(slots=True, kw_only=True)
class BulkResult:
    """The result of a change of many contacts, or of its preview, so far. The numbers are numbers of contacts."""

    done: int = 0  #: contacts that were looked at
    changed: int = 0
    same: int = 0  #: contacts for which nothing changes
    cut: int = 0  #: contacts of which the range of a score cuts what is added
    missing: int = 0  #: contacts that no longer exist
    refused: int = 0
    reason: str | None = None  #: why the first of these was refused
    follow_ups: int = 0  #: in a preview: follow-ups that the change would create
    unsent: int = 0  #: follow-ups that were not created because they would go to the person who made the change
    #: the scores of the first contacts that change: [contact, [[score type, before, after], …]], in thousandths
    first: list[tuple[int, list[tuple[str, int | None, int | None]]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBulkChange:
    """A change of many contacts, as a preview or confirmed."""

    id: int
    batch: str
    made_by: str  #: Slack user id
    address: str | None  #: the maker's email address
    text: str | None  #: the filter that found the contacts; None if they were named
    change: BulkChange
    contacts: Sequence[int]  #: fixed when the preview was made
    preview: BulkResult
    result: BulkResult
    asks: bool  #: whether follow-ups are created
    confirmed_at: int | None

    @property
    def is_previewed(self) -> bool:
        """Whether the preview is complete."""
        return self.preview.done >= len(self.contacts)

    @property
    def is_applied(self) -> bool:
        """Whether every contact is changed."""
        return self.confirmed_at is not None and self.result.done >= len(self.contacts)


async def add_bulk_change(
    workspace: Workspace,
    *,
    batch: str,
    change: BulkChange,
    contacts: Sequence[int],
    text: str | None,
    by: str,
    address: str | None,
    now: int,
) -> int:
    """Store a change that is not confirmed yet, and return its id. A retry of the same request stores nothing."""

    async def body(session: Session) -> int:
        await session.rows(
            "INSERT INTO bulk_changes"
            " (workspace_id, batch, made_by, address, text, change, contacts, asks, created_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, false, $8) ON CONFLICT DO NOTHING",
            workspace.id,
            batch,
            by,
            address,
            text,
            json.dumps(change.encode(), ensure_ascii=False),
            json.dumps(list(contacts)),
            now,
        )
        (row,) = await session.load(models.BulkChange.filter(workspace_id=workspace.id, batch=batch), "id")
        return int(row["id"])

    return await database.write(body)


async def load_bulk_change(workspace: Workspace, *, id: int) -> StoredBulkChange | None:
    """Return a stored change, or None if it was canceled or is too old."""
    rows = await database.load(models.BulkChange.filter(workspace_id=workspace.id, id=min(id, database.LARGEST_ID)))
    return _make_stored(rows[0]) if rows else None


async def save_progress(workspace: Workspace, *, id: int, column: str, result: BulkResult) -> None:
    """Store the result so far; *column* is `preview` or `result`."""
    stored = models.BulkChange.filter(workspace_id=workspace.id, id=id)
    progress = json.dumps(asdict(result), ensure_ascii=False)
    await database.current_database().writer.update(stored, **{column: progress})


async def confirm_bulk_change(workspace: Workspace, *, id: int, asks: bool, by: str, words: str, now: int) -> bool:
    """Confirm a change and enqueue the job that applies it. Return False if it was confirmed or canceled before.

    *words* describe the change in the record of changes.
    """

    async def body(session: Session) -> bool:
        rows = await session.rows(
            "UPDATE bulk_changes SET confirmed_at = $3, asks = $4"
            " WHERE workspace_id = $1 AND id = $2 AND confirmed_at IS NULL RETURNING *",
            workspace.id,
            id,
            now,
            asks,
        )
        if not rows:
            return False
        stored = _make_stored(rows[0])
        number = len(stored.contacts)
        await record_change(
            session, workspace, who=by, what=AuditAction.CONTACTS_CHANGED, subject=stored.text or f"{number} contacts",
            before=None, after={"change": words, "contacts": number, "batch": stored.batch}, now=now,
        )  # fmt: skip  # who and what, then the states
        await enqueue(session, [make_job(workspace, APPLY, id, now=now)], now=now)
        return True

    return await database.write(body)


def make_job(workspace: Workspace, kind: str, id: int, *, now: int) -> NewJob:
    """Return the job that previews or applies a change."""
    return NewJob(workspace=workspace.id, kind=kind, lane=lane_of(id), key=str(id), subject=id, due_at=now)


def lane_of(id: int) -> str:
    """Return the lane of the jobs of a change, and of the answer about it."""
    return f"bulk/{id}"


async def cancel_bulk_change(workspace: Workspace, *, id: int) -> bool:
    """Delete a change that is not confirmed. Return False if it was confirmed or canceled before."""
    rows = await database.change(
        "DELETE FROM bulk_changes WHERE workspace_id = $1 AND id = $2 AND confirmed_at IS NULL RETURNING id",
        workspace.id,
        id,
    )
    return bool(rows)


async def delete_old_bulk_changes(workspace: Workspace, *, now: int) -> None:
    """Delete previews that nobody confirmed, and changes that were applied, after a day."""
    await database.change(
        "DELETE FROM bulk_changes WHERE workspace_id = $1 AND created_at < $2 AND NOT EXISTS (SELECT 1 FROM jobs j"
        " WHERE j.workspace_id = $1 AND j.kind = $3 AND j.subject = bulk_changes.id AND j.given_up_at IS NULL)",
        workspace.id,
        now - KEPT_FOR,
        APPLY,
    )


async def redact_bulk_changes(session: Session, workspace: int, *, words: Collection[str]) -> None:
    """Empty the filters that contain an address or a name of a deleted contact."""
    keys = [key for word in words if (key := match_key(word))]
    filtered = models.BulkChange.filter(workspace_id=workspace, text__isnull=False)
    rows = await session.load(filtered, "id", "text")
    naming = [{"id": row["id"]} for row in rows if any(key in match_key(row["text"]) for key in keys)]
    await session.rows("UPDATE bulk_changes SET text = NULL WHERE id IN (SELECT id FROM given(id bigint))", naming)


def _make_stored(row: Row) -> StoredBulkChange:
    return StoredBulkChange(
        **{name: row[name] for name in ("id", "batch", "made_by", "address", "text", "confirmed_at")},
        change=BulkChange.decode(json.loads(row["change"])),
        contacts=json.loads(row["contacts"]),
        preview=_parse_result(row["preview"]),
        result=_parse_result(row["result"]),
        asks=bool(row["asks"]),
    )


def _parse_result(text: str | None) -> BulkResult:
    return BulkResult() if text is None else BulkResult(**json.loads(text))
