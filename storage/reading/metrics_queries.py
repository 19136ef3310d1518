"""Count quarantined items, jobs and follow-ups of all workspaces, for the metrics of the service."""

from collections.abc import Mapping
from dataclasses import dataclass

from storage.db import database


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The current counts. A workspace is given by its Slack team id, a source by its slug."""

    quarantined: Mapping[tuple[str, str], int]  #: quarantined items by workspace and source
    waiting: Mapping[str, int]  #: queued jobs by kind
    overdue: Mapping[str, int]  #: how long the oldest queued job of each kind has been due, in µs; 0: none is due
    given_up: Mapping[str, int]  #: jobs that were given up, by kind
    follow_ups: Mapping[tuple[str, str], int]  #: follow-ups by workspace and state


async def measure(*, now: int) -> Measured:
    """Return the current counts of all workspaces."""
    quarantine_rows = await database.read(
        "SELECT w.team, s.slug, count(q.id) AS number FROM sources s JOIN workspaces w ON w.id = s.workspace_id"
        " LEFT JOIN deliveries d ON d.source_id = s.id AND d.quarantined > 0"
        " LEFT JOIN quarantine q ON q.delivery_id = d.id GROUP BY w.team, s.slug"
    )
    job_rows = await database.read(
        "SELECT kind, sum(CASE WHEN given_up_at IS NULL THEN 1 ELSE 0 END) AS number,"
        " sum(CASE WHEN given_up_at IS NULL THEN 0 ELSE 1 END) AS given_up,"
        " min(CASE WHEN given_up_at IS NULL THEN greatest(due_at, created_at) END) AS oldest FROM jobs GROUP BY kind"
    )
    follow_up_rows = await database.read(
        "SELECT w.team, f.state, count(*) AS number FROM follow_ups f JOIN workspaces w ON w.id = f.workspace_id"
        " GROUP BY w.team, f.state"
    )
    return Measured(
        quarantined={(row["team"], row["slug"]): row["number"] for row in quarantine_rows},
        waiting={row["kind"]: int(row["number"]) for row in job_rows},
        overdue={row["kind"]: max(0, now - (now if row["oldest"] is None else row["oldest"])) for row in job_rows},
        given_up={row["kind"]: int(row["given_up"]) for row in job_rows},
        follow_ups={(row["team"], row["state"]): row["number"] for row in follow_up_rows},
    )
