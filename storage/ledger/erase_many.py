"""Delete many contacts, as `contact delete` does: in batches, each in a transaction of its own."""

from collections.abc import Callable, Sequence

from storage.db import database
from storage.domain.facts import Deletion
from storage.domain.filters import Filter
from storage.domain.people import Workspace
from storage.domain.submissions import Status, Submission
from storage.ledger.committer import record
from storage.reading.pages import matching_contacts

BATCH = 50  #: contacts in one transaction


async def list_matching(workspace: Workspace, *, query: Filter, now: int) -> list[int]:
    """Return the row ids of all contacts that match a filter; its order and its limit do not count."""
    reader = database.current_database().reader
    return await matching_contacts(reader, workspace, where=query.where, among=None, now=now)


async def list_gone(workspace: Workspace, *, batch: str) -> list[int]:
    """Return the row ids of the contacts of a batch that are gone: no fact about them is in force."""
    rows = await database.read(
        "SELECT DISTINCT r.id FROM facts f JOIN contacts c ON c.id = f.contact_id"
        " JOIN contacts r ON r.id = coalesce(c.merged_into, c.id)"
        " WHERE f.workspace_id = $1 AND f.batch = $2 AND r.is_gone ORDER BY r.id",
        workspace.id,
        batch,
    )
    return [row["id"] for row in rows]


async def delete_contacts(
    workspace: Workspace, *, ids: Sequence[int], progress: Callable[[int], None], by: str, clock: Callable[[], int]
) -> int:
    """Delete contacts for good and return their number, without those that do not exist any more.

    *progress* gets the number of contacts so far. After an interruption, the contacts until then are deleted.
    """
    deleted = 0
    for start in range(0, len(ids), BATCH):
        now = clock()
        batch = f"delete/{now}/{start}"
        items = [Deletion(key=f"{batch}/{id}", contact=id) for id in ids[start : start + BATCH]]
        submission = Submission(source="slack", batch=batch, received_at=now, items=items, actor=by)
        deleted += (await record(workspace, submission, now=now)).count(Status.APPLIED)
        progress(min(start + BATCH, len(ids)))
    return deleted
