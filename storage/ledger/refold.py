"""Mark the contacts to recalculate after a large batch was undone.

The undo is recorded at once, and a job recalculates the scores in slices. A write to a marked contact recalculates the
contact first.
"""

from collections.abc import Collection, Sequence

from storage.db import database, models
from storage.db.database import Session
from storage.domain.people import Workspace
from storage.domain.submissions import Submission
from storage.jobs import NewJob, enqueue

SOURCE = "import"  #: the source of deferred undos: only imports are that large
REFOLD = "refold"  #: the kind and the lane of the job that recalculates marked contacts; its key is the undo's batch


class RefoldNeeded(Exception):
    """Raised if a write affects marked contacts. The caller must record *refoldings* before it repeats the write."""

    def __init__(self, refoldings: Sequence[tuple[Workspace, Submission]]) -> None:
        super().__init__(f"{len(refoldings)} undos")
        self.refoldings = refoldings


def make_refolding(*, undo: str, contacts: Collection[int], now: int) -> Submission:
    """Return the submission that recalculates contacts marked by an undo. *undo* is the batch of the undo itself."""
    return Submission(
        source=SOURCE, batch=undo, received_at=now, all_or_none=True, undoes=undo, refolds=tuple(contacts), muted=True
    )


async def mark_contacts(session: Session, workspace: Workspace, *, batch: str, undo: str, now: int) -> int:
    """Mark all contacts of a batch, enqueue the job that recalculates them, and return their number.

    *undo* is the batch of the undo itself.
    """
    await session.rows(
        "INSERT INTO pending_refolds (workspace_id, contact_id, undo)"
        " SELECT DISTINCT workspace_id, contact_id, CAST($3 AS TEXT) FROM facts"
        " WHERE workspace_id = $1 AND batch = $2 AND actor IS NOT NULL AND contact_id IS NOT NULL"
        " ORDER BY contact_id ON CONFLICT DO NOTHING",
        workspace.id,
        batch,
        undo,
    )
    await enqueue(session, [make_refold_job(workspace, undo=undo, now=now)], now=now)
    return await count_marked(session, workspace, undo=undo)


def make_refold_job(workspace: Workspace, *, undo: str, now: int) -> NewJob:
    """Return the job that recalculates the contacts marked by an undo."""
    return NewJob(workspace=workspace.id, kind=REFOLD, lane=REFOLD, key=undo, subject=0, due_at=now)


async def count_marked(session: Session, workspace: Workspace, *, undo: str) -> int:
    """Return the number of contacts that are still marked by an undo."""
    (row,) = await session.rows(
        "SELECT count(*) AS number FROM pending_refolds WHERE workspace_id = $1 AND undo = $2", workspace.id, undo
    )
    return int(row["number"])


async def list_marked(workspace: Workspace, *, undo: str, most: int) -> list[int]:
    """Return the next contacts marked by an undo, at most *most*."""
    marked = models.PendingRefold.filter(workspace_id=workspace.id, undo=undo)
    rows = await database.load(marked.order_by("contact_id").limit(most), "contact_id")
    return [row["contact_id"] for row in rows]


async def list_marked_rows(session: Session, roots: Collection[int]) -> dict[tuple[int, str], list[int]]:
    """Return the marked rows of these contacts, including merged rows: (workspace id, batch of the undo) → rows."""
    if not await session.rows("SELECT 1 AS marked FROM pending_refolds LIMIT 1"):
        return {}
    rows = await session.rows(
        "SELECT DISTINCT p.workspace_id, p.undo, p.contact_id FROM given(id bigint)"
        " JOIN contacts m ON m.id = given.id OR m.merged_into = given.id"
        " JOIN pending_refolds p ON p.contact_id = m.id ORDER BY p.workspace_id, p.undo, p.contact_id",
        [{"id": id} for id in sorted(roots)],
    )
    contacts_of: dict[tuple[int, str], list[int]] = {}
    for row in rows:
        contacts_of.setdefault((row["workspace_id"], row["undo"]), []).append(row["contact_id"])
    return contacts_of


async def find_marked_contacts(session: Session, roots: Collection[int]) -> set[int]:
    """Return the contacts among these that have a marked row."""
    rows = await session.rows(
        "SELECT DISTINCT given.id FROM given(id bigint) JOIN contacts m ON m.id = given.id OR m.merged_into = given.id"
        " JOIN pending_refolds p ON p.contact_id = m.id",
        [{"id": id} for id in sorted(roots)],
    )
    return {row["id"] for row in rows}


async def clear_marks(session: Session, *, undo: str, contacts: Collection[int]) -> None:
    """Delete the marks of contacts after recalculating them."""
    await session.rows(
        "DELETE FROM pending_refolds WHERE undo = $2 AND contact_id IN (SELECT id FROM given(id bigint))",
        [{"id": id} for id in sorted(contacts)],
        undo,
    )
