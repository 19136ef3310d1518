"""Store the health of each source, and queue a notice to an admin each time it changes."""

import json
from dataclasses import dataclass

from storage import jobs
from storage.db import database, models
from storage.db.database import Row, Session
from storage.domain.people import Workspace
from storage.domain.source_health import BUSY, BUSY_WITHIN, IN_A_ROW, SourceHealth, judge_health
from storage.jobs import NewJob

WATCH, TELL = "watch", "standing"  #: job kinds (and lanes): check every source; report one source
WATCH_EVERY = 300_000_000
_USABLE = "(applied + duplicate + ignored > 0 OR quarantined = 0)"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthChange:
    """A change in a source's health that has not been reported to an admin. Times in µs UTC."""

    source: str
    standing: SourceHealth
    since: int
    last_at: int | None  #: when its last delivery was received
    refused: int  #: number of refused requests in a row
    reason: str | None  #: why its last request was refused, or why its last item was quarantined
    hint: str | None


async def list_troubled(workspace: Workspace) -> dict[str, SourceHealth]:
    """Return the health of each source that does not work, by slug."""
    troubled = models.Source.filter(workspace_id=workspace.id).exclude(standing=SourceHealth.WORKS.value)
    rows = await database.load(troubled, "slug", "standing")
    return {row["slug"]: SourceHealth(row["standing"]) for row in rows}


async def check_sources(workspace: Workspace, *, now: int) -> list[tuple[str, SourceHealth]]:
    """Update the health of every source that is not paused, and return (slug, health) of those that changed.

    Each change enqueues a job that reports the source. A source that has never delivered anything usable is skipped.
    """
    changed = []
    rows = await database.read(
        "SELECT s.id, s.slug, s.standing, s.standing_at, s.settings, s.updated_at, coalesce(r.in_a_row, 0) AS in_a_row,"
        " r.last_at AS refused_at,"
        " (SELECT max(received_at) FROM deliveries WHERE source_id = s.id) AS last_at,"
        f" (SELECT max(received_at) FROM deliveries WHERE source_id = s.id AND {_USABLE}) AS usable_at"
        " FROM sources s LEFT JOIN refusals r ON r.source_id = s.id WHERE s.workspace_id = $1 ORDER BY s.id",
        workspace.id,
    )
    for row in rows:
        usable_at = row["usable_at"]
        if usable_at is None or json.loads(row["settings"]).get("paused"):
            continue  # it never worked, or is paused
        before = SourceHealth(row["standing"])
        if before is SourceHealth.WORKS:
            standing = judge_health(
                refused=row["in_a_row"] if (row["refused_at"] or 0) > row["last_at"] else 0,
                unusable=await _count_deliveries(row["id"], after=usable_at, limit=IN_A_ROW),
                recent=await _count_deliveries(row["id"], after=row["last_at"] - BUSY_WITHIN, limit=BUSY),
                quiet_for=now - max(row["last_at"], row["updated_at"]),
            )
        else:
            standing = SourceHealth.WORKS if usable_at > row["standing_at"] else before
        if standing is not before and await _save_change(workspace, row, before, standing, now=now):
            changed.append((row["slug"], standing))
    return changed


async def _count_deliveries(source: int, *, after: int, limit: int) -> int:
    """Return the number of deliveries of a source after a time in µs, counted up to *limit*."""
    deliveries = models.Delivery.filter(source_id=source, received_at__gt=after).limit(limit)
    return len(await database.load(deliveries, "id"))


async def _save_change(
    workspace: Workspace, row: Row, before: SourceHealth, standing: SourceHealth, *, now: int
) -> bool:
    """Save the health of a source and enqueue a report; return False if another process changed it first."""

    async def body(session: Session) -> bool:
        written = await session.rows(
            "UPDATE sources SET standing = $3, standing_at = $4 WHERE id = $1 AND standing = $2 RETURNING id",
            row["id"],
            before,
            standing,
            now,
        )
        if written:
            job = NewJob(
                workspace=workspace.id, kind=TELL, lane=TELL, key=f"{row['id']}/{standing}/{now}", subject=row["id"],
                due_at=now,
            )  # fmt: skip  # owner, content, time
            await jobs.enqueue(session, [job], now=now)
        return bool(written)

    return await database.write(body)


async def load_unreported(workspace: Workspace, *, source: int) -> HealthChange | None:
    """Return the unreported health of a source, or None if it is already reported or the source is deleted.

    *source* is the row id of the source.
    """
    rows = await database.read(
        "SELECT s.slug AS source, s.standing, s.standing_at AS since, r.in_a_row AS refused, r.reason, r.hint,"
        " (SELECT max(received_at) FROM deliveries d WHERE d.source_id = s.id) AS last_at,"
        " (SELECT q.reason FROM quarantine q JOIN deliveries d ON d.id = q.delivery_id WHERE d.source_id = s.id"
        " ORDER BY q.id DESC LIMIT 1) AS aside"
        " FROM sources s LEFT JOIN refusals r ON r.source_id = s.id"
        " WHERE s.workspace_id = $1 AND s.id = $2 AND s.standing <> s.told",
        workspace.id,
        source,
    )
    if not rows:
        return None
    row = rows[0]
    is_refused = row["standing"] == SourceHealth.REFUSED
    return HealthChange(
        source=row["source"],
        standing=SourceHealth(row["standing"]),
        since=row["since"],
        last_at=row["last_at"],
        refused=row["refused"] or 0,
        reason=row["reason"] if is_refused else row["aside"],
        hint=row["hint"] if is_refused else None,
    )


async def record_reported(workspace: Workspace, *, changed: HealthChange) -> None:
    """Record that an admin was informed of a source's health. The health may have changed again since."""
    source = models.Source.filter(workspace_id=workspace.id, slug=changed.source)
    await database.current_database().writer.update(source, told=changed.standing.value)
