"""Delete a workspace with everything that belongs to it, in batches."""

from collections.abc import Callable
from dataclasses import dataclass

from storage.db import database
from storage.db.database import Session
from storage.db.errors import is_reference_error
from storage.db.tables import WORKSPACES, list_tables
from storage.domain.errors import Refusal
from storage.domain.people import Workspace

BATCH = 1_000  #: rows in one transaction
MOST_PASSES = 5


class WorkspaceInUse(Refusal):
    """New data kept arriving: stop the service, or remove the app from that Slack, then run this again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What belongs to a workspace."""

    contacts: int
    changes: int  #: changes and activities
    sources: int


async def count_contents(workspace: Workspace) -> Contents:
    """Return how much belongs to a workspace."""
    (row,) = await database.read(
        "SELECT (SELECT count(*) FROM contacts WHERE workspace_id = $1 AND merged_into IS NULL) AS contacts,"
        " (SELECT count(*) FROM facts WHERE workspace_id = $1 AND kind IN ('change', 'activity')) AS changes,"
        " (SELECT count(*) FROM sources WHERE workspace_id = $1) AS sources",
        workspace.id,
    )
    return Contents(**row)


async def remove_workspace(workspace: Workspace, *, progress: Callable[[int], None] = lambda _: None) -> int:
    """Delete a workspace and all its rows, and return their number. *progress* gets the number so far.

    After an interruption, call it again: it deletes the rest. Raises WorkspaceInUse if rows that refer to deleted ones
    arrive meanwhile.
    """
    done = 0

    def add(number: int) -> None:
        nonlocal done
        done += number
        progress(done)

    for _ in range(MOST_PASSES):
        try:
            for table in reversed(list_tables()):
                if table.name != WORKSPACES:
                    await _delete_rows(workspace, table.name, table.of_workspace, add)
            await database.write(lambda session: _delete_rest(session, workspace))
        except Exception as exc:
            if not is_reference_error(exc):
                raise
            continue
        await database.current_database().discard_log()
        return done + 1
    raise WorkspaceInUse


async def _delete_rows(workspace: Workspace, table: str, of_workspace: str, add: Callable[[int], None]) -> None:
    """Delete the rows of a table that belong to a workspace, in the order of their ids, so that each is read once."""
    last = 0

    async def delete_batch(session: Session) -> int:
        nonlocal last
        rows = await session.rows(
            f"SELECT id FROM {table} WHERE {of_workspace} AND id > $2 ORDER BY id LIMIT $3", workspace.id, last, BATCH
        )
        await session.rows(f"DELETE FROM {table} WHERE id IN (SELECT id FROM given(id bigint))", rows)
        last = rows[-1]["id"] if rows else last
        return len(rows)

    while number := await database.write(delete_batch):
        add(number)


async def _delete_rest(session: Session, workspace: Workspace) -> None:
    """Delete the workspace itself, and the rows that arrived since their table was emptied."""
    for table in reversed(list_tables()):
        await session.rows(f"DELETE FROM {table.name} WHERE {table.of_workspace}", workspace.id)
