"""Store the working hours of a workspace, in which the time to claim a follow-up and snoozes run."""

import asyncio
from collections.abc import Collection

from storage.audit import AuditAction, record_change
from storage.db import database, models
from storage.db.database import Row, Session
from storage.domain.business_hours import WorkingHours, check_zone
from storage.domain.people import Workspace


async def load_working_hours(session: Session, workspaces: Collection[int]) -> dict[int, WorkingHours]:
    """Return the working hours of workspaces, by workspace id."""
    rows = await session.rows(
        "SELECT w.id, w.zone, w.opens, w.closes FROM given(id bigint) JOIN workspaces w ON w.id = given.id",
        [{"id": id} for id in sorted(workspaces)],
    )
    return {row["id"]: _make_hours(row) for row in rows}


async def working_hours(workspace: Workspace) -> WorkingHours:
    """Return the working hours of a workspace: Monday to Friday, 9:00 to 17:00 UTC unless chosen otherwise."""
    return (await load_working_hours(database.current_database().reader, [workspace.id]))[workspace.id]


async def choose_working_hours(
    workspace: Workspace,
    *,
    zone: str | None = None,
    hours: tuple[int, int] | None = None,
    by: str,
    only_if_unset: bool = False,
    now: int,
) -> None:
    """Set the time zone of the working hours, or their begin and end in minutes after midnight; None: unchanged.

    *only_if_unset*: change nothing if a time zone was chosen before. Raises UnknownZone.
    """
    zone = await asyncio.to_thread(check_zone, zone) if zone is not None else None

    async def body(session: Session) -> None:
        (before,) = await session.rows(
            "SELECT zone, opens, closes FROM workspaces WHERE id = $1 FOR NO KEY UPDATE", workspace.id
        )
        if only_if_unset and before["zone"] is not None:
            return
        opens, closes = hours or (before["opens"], before["closes"])
        after = {"zone": zone or before["zone"], "opens": opens, "closes": closes}
        await session.update(models.Workspace.filter(id=workspace.id), **after)
        await record_change(
            session, workspace, who=by, what=AuditAction.HOURS_SET, subject=workspace.team,
            before=dict(before), after=after, now=now,
        )  # fmt: skip  # who and what, then the states

    await database.write(body)


def _make_hours(row: Row) -> WorkingHours:
    return WorkingHours(zone=row["zone"] or "UTC", opens=row["opens"], closes=row["closes"])
