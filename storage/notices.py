"""Record the notices that admins were sent, so that each is sent once."""

from collections.abc import Collection

from storage.db import database, models
from storage.db.database import Session
from storage.domain.people import Workspace

#: the notice that is recorded while no admin can be reached
NO_ADMIN = "no admin"


async def is_noticed(workspace: Workspace, *, notice: str) -> bool:
    """Return whether a notice is recorded."""
    return bool(await database.load(models.Notice.filter(workspace_id=workspace.id, what=notice), "id"))


async def noticed(workspace: Workspace, *, notices: Collection[str]) -> set[str]:
    """Return which of these notices are recorded."""
    return await load_noticed(database.current_database().reader, workspace, notices)


async def load_noticed(session: Session, workspace: Workspace, notices: Collection[str]) -> set[str]:
    """Return which of these notices are recorded, as the session sees them."""
    rows = await session.rows(
        "SELECT n.what FROM given(what text) JOIN notices n ON n.what = given.what WHERE n.workspace_id = $2",
        [{"what": notice} for notice in sorted(notices)],
        workspace.id,
    )
    return {row["what"] for row in rows}


async def insert_notices(session: Session, workspace: Workspace, notices: Collection[str], *, now: int) -> set[str]:
    """Record notices. Return those that were not recorded before."""
    rows = await session.rows(
        "INSERT INTO notices (workspace_id, what, told_at) SELECT CAST($2 AS BIGINT), what, CAST($3 AS BIGINT)"
        " FROM given(what text) WHERE true ORDER BY what ON CONFLICT DO NOTHING RETURNING what",
        [{"what": notice} for notice in sorted(notices)],
        workspace.id,
        now,
    )
    return {row["what"] for row in rows}


async def delete_notices(session: Session, workspace: Workspace, notices: Collection[str]) -> None:
    """Delete notices because their causes are gone."""
    await session.rows(
        "DELETE FROM notices WHERE workspace_id = $2 AND what IN (SELECT what FROM given(what text))",
        [{"what": notice} for notice in sorted(notices)],
        workspace.id,
    )


async def load_recorded_at(session: Session, workspace: Workspace, *, notice: str) -> int | None:
    """Return when a notice was last recorded, in µs UTC, or None."""
    rows = await session.load(models.Notice.filter(workspace_id=workspace.id, what=notice), "told_at")
    return int(rows[0]["told_at"]) if rows else None


async def list_notices(workspace: Workspace, *, prefix: str, since: int, until: int | None = None) -> list[str]:
    """Return the notices that begin with *prefix*, without the prefix.

    Only those recorded after *since* and, if given, at most at *until*, in µs UTC.
    """
    notices = models.Notice.filter(workspace_id=workspace.id, told_at__gt=since)
    if until is not None:
        notices = notices.filter(told_at__lte=until)
    rows = await database.load(notices.order_by("what"), "what")
    return [row["what"].removeprefix(prefix) for row in rows if row["what"].startswith(prefix)]


async def record_notice(workspace: Workspace, *, notice: str, now: int) -> None:
    """Record that a notice was sent to an admin, or NO_ADMIN if there is no admin to send it to."""
    await database.change(
        "INSERT INTO notices (workspace_id, what, told_at) VALUES ($1, $2, $3)"
        " ON CONFLICT (workspace_id, what) DO UPDATE SET told_at = excluded.told_at",
        workspace.id,
        notice,
        now,
    )


async def clear_notice(workspace: Workspace, *, notice: str) -> None:
    """Delete a notice because its cause is gone, so that the notice is sent again if the cause comes back."""
    if await is_noticed(workspace, notice=notice):
        notices = models.Notice.filter(workspace_id=workspace.id, what=notice)
        await database.current_database().writer.delete(notices)
