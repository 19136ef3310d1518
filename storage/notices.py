"""Record the notices that admins were sent, so that each is sent once."""

from storage.db import database
from storage.db.database import Session
from storage.domain.people import Workspace

#: the notice that is recorded while no admin can be reached
NO_ADMIN = "no admin"


async def is_noticed(workspace: Workspace, *, notice: str) -> bool:
    """Return whether a notice is recorded."""
    sql = "SELECT 1 AS told FROM notices WHERE workspace_id = $1 AND what = $2"
    return bool(await database.read(sql, workspace.id, notice))


async def load_told_at(session: Session, workspace: Workspace, *, notice: str) -> int | None:
    """Return when a notice was last recorded, in µs UTC, or None."""
    rows = await session.rows("SELECT told_at FROM notices WHERE workspace_id = $1 AND what = $2", workspace.id, notice)
    return int(rows[0]["told_at"]) if rows else None


async def list_notices(workspace: Workspace, *, prefix: str, since: int) -> list[str]:
    """Return the notices that begin with *prefix*, without the prefix, recorded after *since* (µs UTC)."""
    rows = await database.read(
        "SELECT what FROM notices WHERE workspace_id = $1 AND told_at > $2 ORDER BY what", workspace.id, since
    )
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
        await database.change("DELETE FROM notices WHERE workspace_id = $1 AND what = $2", workspace.id, notice)
