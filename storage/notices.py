"""Record what an admin was told, so that they are told once."""

from storage.db import database
from storage.db.database import Session
from storage.domain.people import Workspace

#: nobody is there to be told: no admin could be reached
NO_ADMIN = "no admin"


async def is_noticed(workspace: Workspace, *, notice: str) -> bool:
    """Tell whether that was told."""
    sql = "SELECT 1 AS told FROM notices WHERE workspace_id = $1 AND what = $2"
    return bool(await database.read(sql, workspace.id, notice))


async def load_told_at(session: Session, workspace: Workspace, *, notice: str) -> int | None:
    """Return when a notice was recorded the last time, or None."""
    rows = await session.rows("SELECT told_at FROM notices WHERE workspace_id = $1 AND what = $2", workspace.id, notice)
    return int(rows[0]["told_at"]) if rows else None


async def list_notices(workspace: Workspace, *, prefix: str, since: int) -> list[str]:
    """Return what follows *prefix* in the notices that begin with it and were recorded after an instant."""
    rows = await database.read(
        "SELECT what FROM notices WHERE workspace_id = $1 AND told_at > $2 ORDER BY what", workspace.id, since
    )
    return [row["what"].removeprefix(prefix) for row in rows if row["what"].startswith(prefix)]


async def record_notice(workspace: Workspace, *, notice: str, now: int) -> None:
    """Record that an admin was told something, or that there was no admin to tell."""
    await database.current_database().writer.rows(
        "INSERT INTO notices (workspace_id, what, told_at) VALUES ($1, $2, $3)"
        " ON CONFLICT (workspace_id, what) DO UPDATE SET told_at = excluded.told_at",
        workspace.id,
        notice,
        now,
    )


async def clear_notice(workspace: Workspace, *, notice: str) -> None:
    """Forget that something was told, because it is well again: the next time it is told anew."""
    if await is_noticed(workspace, notice=notice):
        await database.current_database().writer.rows(
            "DELETE FROM notices WHERE workspace_id = $1 AND what = $2", workspace.id, notice
        )
