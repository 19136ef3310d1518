"""Queue the read-backs: reads of contacts at their source, because a delivery named them by the source's id alone."""

from collections.abc import Iterable
from dataclasses import dataclass

from storage import jobs
from storage.db import database, models
from storage.db.database import Row, Session
from storage.domain.backoff import SECOND
from storage.domain.errors import StorageUnavailable, UnknownSource
from storage.domain.people import Workspace
from storage.jobs import Job, NewJob
from storage.ledger.identities import Identity
from storage.vault import CannotUnlock

READ = "read"  #: the kind of the job that reads one contact back
LANE = "read/"  #: lane prefix, followed by the slug of a source; each source's lane reads one contact at a time
#: read-backs are due at the end of an interval of this length, in µs: changes within one interval share a read-back,
#: which comes after all of them
TOGETHER = 2 * SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A read-back to be made: the source's slug, the contact's id there, and the source's API token."""

    source: str
    id: str
    api_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadbackStatus:
    """The state of a source's read-backs. Times in µs UTC."""

    waiting: int  #: number of queued read-backs
    problem: str | None  #: why the last failed read-back failed
    problem_at: int | None


async def enqueue_readbacks(session: Session, readbacks: Iterable[tuple[Identity, bool]], *, now: int) -> None:
    """Queue a read-back for each (identity, always) of *readbacks*.

    A contact that has an address is read back only if *always* is true. The caller holds the transaction.
    """
    rows: list[Row] = [
        {"workspace": workspace, "namespace": namespace, "value": value, "always": int(always)}
        for ((workspace, namespace, value), always) in sorted(set(readbacks))
    ]
    identities = await session.rows(
        "SELECT DISTINCT i.id, i.workspace_id, i.namespace"
        " FROM given(workspace bigint, namespace text, value text, always int) JOIN identities i"
        " ON i.workspace_id = given.workspace AND i.namespace = given.namespace AND i.value = given.value"
        " JOIN contacts c ON c.id = i.contact_id JOIN contacts r ON r.id = coalesce(c.merged_into, c.id)"
        " WHERE given.always = 1 OR r.email IS NULL",
        rows,
    )
    await _enqueue_jobs(session, identities, at=(now // TOGETHER + 1) * TOGETHER, now=now)


async def restart_readback(session: Session, workspace: int, source: str, *, now: int) -> None:
    """Queue a read-back for every contact of a source that has no address, and clear the source's last failure."""
    await session.update(models.Source.filter(workspace_id=workspace, slug=source), unread=None, unread_at=None)
    identities = await session.rows(
        "SELECT i.id, i.workspace_id, i.namespace FROM identities i JOIN contacts c ON c.id = i.contact_id"
        " JOIN contacts r ON r.id = coalesce(c.merged_into, c.id)"
        " WHERE i.workspace_id = $1 AND i.namespace = $2 AND r.email IS NULL AND NOT r.is_gone",
        workspace,
        source,
    )
    await _enqueue_jobs(session, identities, at=now, now=now)


async def _enqueue_jobs(session: Session, identities: list[Row], *, at: int, now: int) -> None:
    new_jobs = [
        NewJob(
            workspace=row["workspace_id"], kind=READ, lane=LANE + row["namespace"], key=f"{row['id']}/{at}",
            subject=row["id"], due_at=at,
        )
        for row in identities
    ]  # fmt: skip  # owner and lane, content, time
    await jobs.enqueue(session, new_jobs, now=now)


async def stop_readback(session: Session, workspace: int, source: str) -> None:
    """Delete the queued read-backs of a source, and its lane."""
    await jobs.delete_lane(session, workspace, LANE + source)


async def load_request(workspace: Workspace, *, job: Job) -> Wanted | None:
    """Return the read-back that a job is for, or None if the identity, the source or its token is gone."""
    rows = await database.read(
        "SELECT i.namespace, i.value, s.api_token FROM identities i"
        " JOIN sources s ON s.workspace_id = i.workspace_id AND s.slug = i.namespace"
        " WHERE i.workspace_id = $1 AND i.id = $2 AND s.api_token IS NOT NULL",
        workspace.id,
        job.subject,
    )
    if not rows:
        return None
    try:
        token = database.current_database().vault.unseal(rows[0]["api_token"])
    except CannotUnlock as exc:  # the job waits until the operator adds the key
        raise StorageUnavailable(str(exc).rstrip(".")) from exc
    return Wanted(source=rows[0]["namespace"], id=rows[0]["value"], api_token=token)


async def record_failure(workspace: Workspace, *, source: str, id: str, because: str, now: int) -> None:
    """Record at a source why one of its contacts could not be read."""
    failed = models.Source.filter(workspace_id=workspace.id, slug=source)
    await database.current_database().writer.update(failed, unread=f"{source}:{id} {because}", unread_at=now)


async def clear_failure(workspace: Workspace, *, source: str, id: str) -> None:
    """Clear the last failure of a source if it was about this contact, which has been read meanwhile."""
    await database.change(
        "UPDATE sources SET unread = NULL, unread_at = NULL WHERE workspace_id = $1 AND slug = $2"
        " AND substr(unread, 1, length($3)) = $3",
        workspace.id,
        source,
        f"{source}:{id} ",
    )


async def load_readback_status(workspace: Workspace, *, source: str) -> ReadbackStatus:
    """Return the state of a source's read-backs; raises UnknownSource."""
    rows = await database.read(
        "SELECT s.unread, s.unread_at, (SELECT count(*) FROM jobs j WHERE j.workspace_id = $1 AND j.lane = $3"
        " AND j.given_up_at IS NULL) AS count"
        " FROM sources s WHERE s.workspace_id = $1 AND s.slug = $2",
        workspace.id,
        source,
        LANE + source,
    )
    if not rows:
        raise UnknownSource
    return ReadbackStatus(waiting=rows[0]["count"], problem=rows[0]["unread"], problem_at=rows[0]["unread_at"])
