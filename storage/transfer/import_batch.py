"""The batch of a file's import: its name, and its undo."""

from collections.abc import Callable
from dataclasses import dataclass

from storage.audit import AuditAction, record_change
from storage.db import database
from storage.db.database import Session
from storage.domain.errors import NothingToUndo
from storage.domain.people import Workspace
from storage.domain.submissions import Recorded, Submission
from storage.ledger.batches import find_undo_in_force
from storage.ledger.committer import record
from storage.ledger.refold_job import refold_pending
from storage.transfer.csv_files import CsvFile

SOURCE = "import"


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoneImport:
    """What the undo of an import changed."""

    scores: int
    contacts: int


def batch_of(file: CsvFile) -> str:
    """Return the batch name of a file's import, which its undo refers to."""
    return f"{SOURCE}/{file.digest[:16]}"


def build_undo(batch: str, *, defers: bool, by: str, now: int) -> Submission:
    """Return the submission that undoes the import with this batch, or an undo of it."""
    return Submission(
        source=SOURCE, batch=f"{SOURCE}/undo/{now}", received_at=now, actor=by, all_or_none=True, undoes=batch,
        muted=True, defers=defers,
    )  # fmt: skip  # when and what


async def record_import(workspace: Workspace, *, file: CsvFile, by: str, now: int) -> None:
    """Record that the import of a file begins."""

    async def body(session: Session) -> None:
        await record_change(
            session, workspace, who=by, what=AuditAction.IMPORT_BEGUN, subject=file.path.name,
            before=None, after={"batch": batch_of(file)}, now=now,
        )  # fmt: skip  # who and what, then the states

    await database.write(body)


async def undo_import(
    workspace: Workspace,
    *,
    file: CsvFile,
    progress: Callable[[int, int], None] = lambda _, __: None,
    by: str,
    clock: Callable[[], int],
) -> UndoneImport:
    """Undo the import of a file, and fold the scores in a job of this process.

    *progress* is called with the number of recalculated contacts and their total. Raises NothingToUndo.
    """
    if await find_undo_in_force(workspace, batch=batch_of(file)) is not None:
        raise NothingToUndo(f"the import of {file.path.name} was undone already")
    now = clock()
    undo = build_undo(batch_of(file), defers=True, by=by, now=now)
    try:
        recorded = await record(workspace, undo, now=now)
    except NothingToUndo as exc:
        raise NothingToUndo(f"nothing was imported from {file.path.name}, as it is now") from exc
    scores, folded = len(recorded.score_changes), 0

    def count(slice: Recorded) -> None:
        nonlocal scores, folded
        scores += len(slice.score_changes)
        folded += len(slice.undone)
        progress(folded, recorded.pending)

    if recorded.pending:
        await refold_pending(workspace, undo=undo.batch, on_slice=count, clock=clock)
    return UndoneImport(scores=scores, contacts=len(recorded.undone) or recorded.pending)
