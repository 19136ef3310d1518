"""Remember what an admin was told, so that it is told once."""

from storage.db import database
from storage.domain.people import Workspace

#: nobody is there to be told: no admin could be reached
NO_ADMIN = "no admin"


async def is_noticed(workspace: Workspace, *, notice: str) -> bool:
    """Tell whether that was told."""
    sql = "SELECT 1 AS told FROM notices WHERE workspace_id = $1 AND what = $2"
    return bool(await database.read(sql, workspace.id, notice))


async def record_notice(workspace: Workspace, *, notice: str, now: int) -> None:
    """Remember that something was told."""
    await database.current_database().writer.rows(
        "INSERT INTO notices (workspace_id, what, told_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
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
