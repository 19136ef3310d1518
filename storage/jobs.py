"""Queue jobs: enqueued with what causes them, claimed lane by lane under a lease, settled or retried.

The jobs of a lane run one at a time and in order, so that two messages to one channel keep their order and pace,
whichever process sends them. The process that claims a job holds its lane until the lease ends: the lane is the lock.
`job_runner` runs the jobs."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from storage.db import database
from storage.db.database import Row, Session
from storage.domain.backoff import LEASE, LONGEST_ASKED, SECOND
from storage.domain.people import Workspace
from storage.notices import load_told_at

CHECK_EVERY = 60 * SECOND
DAY = 86_400 * SECOND
KEPT_FOR = 30 * DAY  #: how long a job that was given up stays, so that it can be counted and looked at
REPORT = "report"  #: the kind and the lane of the jobs that tell an admin which kind of job fails; its key
FAILED = "failed/"  #: before a kind: the notice that an admin was told of its failures


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to be enqueued; a job with the same kind and *key* is enqueued once. Times in µs UTC."""

    workspace: int
    kind: str
    lane: str
    key: str
    subject: int  #: the row it is about
    due_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A claimed job; it belongs to this process until its lease ends."""

    id: int
    kind: str
    lane: str
    key: str
    subject: int
    attempts: int  #: this attempt included
    failed_for: int  #: µs for which it has waited because of failures of its own
    is_doubtful: bool  #: an earlier attempt began, and nobody knows how it ended
    position: int  #: how far its earlier slices have come
    claim: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """The failures of one kind of job."""

    given_up: int  #: jobs that were given up since an admin was told the last time
    retrying: int  #: jobs that are still retried
    problem: str | None  #: of the latest failure


async def enqueue(session: Session, jobs: Sequence[NewJob], *, now: int) -> None:
    """Enqueue jobs in the transaction of what causes them; a job that is queued already stays as it is."""
    if not jobs:
        return
    lanes = [
        {"workspace": workspace, "name": name}
        for workspace, name in sorted({(job.workspace, job.lane) for job in jobs})
    ]
    await session.rows(
        "INSERT INTO lanes (workspace_id, name, free_at)"
        " SELECT workspace, name, 0 FROM given(workspace bigint, name text)"
        ' WHERE true ORDER BY workspace, name COLLATE "C" ON CONFLICT DO NOTHING',
        lanes,
    )
    rows: list[Row] = [
        {
            "workspace": job.workspace,
            "kind": job.kind,
            "lane": job.lane,
            "key": job.key,
            "subject": job.subject,
            "due_at": job.due_at,
        }
        for job in sorted(jobs, key=lambda job: (job.workspace, job.kind, job.key))
    ]
    await session.rows(
        "INSERT INTO jobs (workspace_id, kind, lane, job_key, subject, due_at, attempts, under_way, created_at)"
        " SELECT workspace, kind, lane, key, subject, due_at, 0, false, $2"
        " FROM given(workspace bigint, kind text, lane text, key text, subject bigint, due_at bigint)"
        ' WHERE true ORDER BY workspace, kind COLLATE "C", subject, key COLLATE "C" ON CONFLICT DO NOTHING',
        rows,
        now,
    )


async def enqueue_one(
    workspace: Workspace, *, kind: str, lane: str, key: str, subject: int, due_at: int, now: int
) -> None:
    """Enqueue one job that nothing else causes; a job that was given up is retried."""
    job = NewJob(workspace=workspace.id, kind=kind, lane=lane, key=key, subject=subject, due_at=due_at)

    async def body(session: Session) -> None:
        await session.rows(
            "UPDATE jobs SET given_up_at = NULL, problem = NULL, attempts = 0, failed_for = 0, due_at = $4"
            " WHERE workspace_id = $1 AND kind = $2 AND job_key = $3 AND given_up_at IS NOT NULL",
            workspace.id,
            kind,
            key,
            due_at,
        )
        await enqueue(session, [job], now=now)

    await database.write(body)


async def enqueue_recurring(kinds: Collection[str], *, now: int) -> None:
    """Enqueue a recurring job of each kind for every workspace that has none; its lane and its key are its kind."""
    if not kinds:
        return
    for statement in (
        "INSERT INTO lanes (workspace_id, name, free_at) SELECT w.id, given.kind, 0 FROM given(kind text)"
        " CROSS JOIN workspaces w WHERE NOT EXISTS"
        " (SELECT 1 FROM lanes l WHERE l.workspace_id = w.id AND l.name = given.kind)"
        ' ORDER BY w.id, given.kind COLLATE "C" ON CONFLICT DO NOTHING',
        "INSERT INTO jobs (workspace_id, kind, lane, job_key, subject, due_at, attempts, under_way, created_at)"
        " SELECT w.id, given.kind, given.kind, given.kind, 0, $2, 0, false, $2 FROM given(kind text)"
        " CROSS JOIN workspaces w WHERE NOT EXISTS"
        " (SELECT 1 FROM jobs j WHERE j.workspace_id = w.id AND j.kind = given.kind AND j.job_key = given.kind)"
        ' ORDER BY w.id, given.kind COLLATE "C" ON CONFLICT DO NOTHING',
    ):
        params = [_make_kind_rows(kinds), now] if "$2" in statement else [_make_kind_rows(kinds)]
        await database.current_database().writer.rows(statement, *params)


async def _correct_times(now: int) -> None:
    """Correct the times that were written while a clock was ahead, so that no job waits until it has caught up.

    Runs when this process starts, once a minute, and at once if its clock was put back. A job that was created in the
    future keeps its distance from there: one that was due after two days is due in two days. A minute of difference
    between the clocks of two processes is no reason to write. Lanes that are missing are made again.
    """
    db = database.current_database()
    if 0 <= now - db.jobs_checked_at < CHECK_EVERY:
        return
    db.jobs_checked_at = now
    await db.writer.rows(
        "UPDATE jobs SET due_at = CASE WHEN created_at > $2 THEN $1 + due_at - created_at ELSE $1 END,"
        " created_at = least(created_at, $1) WHERE created_at > $2 OR (attempts > 0 AND due_at > $3)",
        now,
        now + CHECK_EVERY,
        now + LONGEST_ASKED,
    )
    await db.writer.rows(
        # A lane is held for a lease, waits with the job at its head for a retry, or else only for its pace.
        "UPDATE lanes SET free_at = CASE WHEN holder IS NULL THEN CAST($1 AS BIGINT) ELSE $2 END"
        " WHERE free_at > $2 AND (holder IS NOT NULL OR free_at > $3 OR NOT EXISTS (SELECT 1 FROM jobs j"
        " WHERE j.workspace_id = lanes.workspace_id AND j.lane = lanes.name AND j.attempts > 0"
        " AND j.given_up_at IS NULL))",
        now,
        now + LEASE,
        now + LONGEST_ASKED,
    )
    await db.writer.rows(
        "INSERT INTO lanes (workspace_id, name, free_at) SELECT DISTINCT j.workspace_id, j.lane, 0 FROM jobs j"
        " WHERE j.given_up_at IS NULL AND NOT EXISTS (SELECT 1 FROM lanes l"
        " WHERE l.workspace_id = j.workspace_id AND l.name = j.lane) ON CONFLICT DO NOTHING"
    )


async def workspaces_with_due_jobs(*, kinds: Collection[str], now: int) -> list[Workspace]:
    """Return the workspaces with a job of these kinds to claim; first the one whose lane has been free the longest."""
    await _correct_times(now)
    rows = await database.read(
        f"SELECT w.id, w.team, w.name FROM lanes l JOIN workspaces w ON w.id = l.workspace_id"
        f" WHERE {_IS_FREE} GROUP BY w.id, w.team, w.name ORDER BY min(l.free_at), w.id",
        _make_kind_rows(kinds),
        now,
    )
    return [Workspace(**row) for row in rows]


async def claim(workspace: Workspace, *, kinds: Collection[str], now: int) -> Job | None:
    """Claim the next due job of these kinds in a lane that no process holds, and the lane; None if there is none."""
    await _correct_times(now)
    if not await database.read(f"{_FREE} LIMIT 1", _make_kind_rows(kinds), now, workspace.id):
        return None  # most of the time: nothing is written for it

    async def body(session: Session) -> Job | None:
        lanes = await session.rows(
            f"{_FREE} ORDER BY l.free_at, l.id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED",
            _make_kind_rows(kinds),
            now,
            workspace.id,
        )
        if not lanes:
            return None
        due_jobs = await session.rows(
            f"SELECT {_COLUMNS} FROM jobs"
            " WHERE workspace_id = $3 AND lane = $4 AND due_at <= $2 AND given_up_at IS NULL"
            " AND kind IN (SELECT kind FROM given(kind text)) ORDER BY due_at, id LIMIT 1",
            _make_kind_rows(kinds),
            now,
            workspace.id,
            lanes[0]["name"],
        )
        return await _hold(session, lanes[0]["id"], due_jobs[0], now=now) if due_jobs else None

    return await database.write(body)


async def start(workspace: Workspace, *, job: NewJob, now: int) -> Job | None:
    """Enqueue a job and claim it at once. Return None if another process holds its lane; the job is queued then."""

    async def body(session: Session) -> Job | None:
        await enqueue(session, [job], now=now)
        lanes = await session.rows(
            "SELECT id FROM lanes WHERE workspace_id = $1 AND name = $2 AND free_at <= $3"
            " FOR NO KEY UPDATE SKIP LOCKED",
            workspace.id,
            job.lane,
            now,
        )
        rows = await session.rows(
            f"SELECT {_COLUMNS} FROM jobs WHERE workspace_id = $1 AND kind = $2 AND job_key = $3"
            " AND given_up_at IS NULL",
            workspace.id,
            job.kind,
            job.key,
        )
        return await _hold(session, lanes[0]["id"], rows[0], now=now) if lanes and rows else None

    return await database.write(body)


async def is_queued(workspace: Workspace, *, kind: str, key: str) -> bool:
    """Return whether a job is queued or runs."""
    sql = "SELECT id FROM jobs WHERE workspace_id = $1 AND kind = $2 AND job_key = $3 AND given_up_at IS NULL"
    return bool(await database.read(sql, workspace.id, kind, key))


async def _hold(session: Session, lane: int, row: Row, *, now: int) -> Job:
    """Give this process a lane and the job of a row."""
    token = secrets.token_hex(8)
    await session.rows("UPDATE lanes SET free_at = $2, holder = $3 WHERE id = $1", lane, now + LEASE, token)
    await session.rows("UPDATE jobs SET attempts = attempts + 1, under_way = true WHERE id = $1", row["id"])
    return Job(
        id=row["id"],
        kind=row["kind"],
        lane=row["lane"],
        key=row["job_key"],
        subject=row["subject"],
        attempts=row["attempts"] + 1,
        failed_for=row["failed_for"],
        is_doubtful=bool(row["under_way"]),
        position=row["position"],
        claim=token,
    )


_COLUMNS = "id, kind, lane, job_key, subject, attempts, failed_for, under_way, position"
_IS_FREE = (
    "l.free_at <= $2 AND EXISTS (SELECT 1 FROM jobs j WHERE j.workspace_id = l.workspace_id AND j.lane = l.name"
    " AND j.due_at <= $2 AND j.given_up_at IS NULL AND j.kind IN (SELECT kind FROM given(kind text)))"
)
_FREE = f"SELECT l.id, l.name FROM lanes l WHERE l.workspace_id = $3 AND {_IS_FREE}"


def _make_kind_rows(kinds: Collection[str]) -> list[Row]:
    return [{"kind": kind} for kind in sorted(kinds)]


async def renew(workspace: Workspace, *, job: Job, now: int) -> bool:
    """Extend the lease of a job. Return False if it ended already and another process may have the job."""
    renewed = await database.current_database().writer.rows(
        "UPDATE lanes SET free_at = $4 WHERE workspace_id = $1 AND name = $2 AND holder = $3 RETURNING id",
        workspace.id,
        job.lane,
        job.claim,
        now + LEASE,
    )
    return bool(renewed)


async def settle(workspace: Workspace, *, job: Job, done: Collection[int] = (), pace: int, now: int) -> None:
    """Delete a job that is done, with the jobs *done* along with it; the lane is free again after *pace* µs.

    A job that is done is deleted also if its lease has ended; the lane then belongs to the process that claimed it.
    """

    async def body(session: Session) -> None:
        await _release_lane(session, workspace, job, at=now + pace)
        await session.rows(
            "DELETE FROM jobs WHERE workspace_id = $2 AND id IN (SELECT id FROM given(id bigint))",
            [{"id": id} for id in sorted({job.id, *done})],
            workspace.id,
        )

    await database.write(body)


async def reschedule(workspace: Workspace, *, job: Job, at: int, now: int) -> None:
    """Schedule a job that is done for another time, as if it were enqueued now."""

    async def body(session: Session) -> None:
        if not await _release_lane(session, workspace, job, at=now):
            return
        await session.rows(
            "UPDATE jobs SET due_at = $3, created_at = $4, attempts = 0, failed_for = 0, under_way = false,"
            " problem = NULL WHERE workspace_id = $1 AND id = $2",
            workspace.id,
            job.id,
            at,
            now,
        )

    await database.write(body)


async def proceed(workspace: Workspace, *, job: Job, position: int, keeps_lane: bool, now: int) -> bool:
    """Record that a slice of a job is done. Return False if its lease ended and another process may have the job.

    The job keeps its place at the head of its lane; with *keeps_lane* this process keeps the lane for the next slice.
    """

    async def body(session: Session) -> bool:
        held = await session.rows(
            "UPDATE lanes SET free_at = $4, holder = CASE WHEN $5 THEN holder END"
            " WHERE workspace_id = $1 AND name = $2 AND holder = $3 RETURNING id",
            workspace.id,
            job.lane,
            job.claim,
            now + LEASE if keeps_lane else now,
            keeps_lane,
        )
        if held:
            await session.rows(
                "UPDATE jobs SET position = $3, attempts = 0, failed_for = 0, under_way = false, problem = NULL"
                " WHERE workspace_id = $1 AND id = $2",
                workspace.id,
                job.id,
                position,
            )
        return bool(held)

    return await database.write(body)


async def postpone(
    workspace: Workspace,
    *,
    job: Job,
    until: int,
    holds_lane: bool,
    is_doubtful: bool,
    because: str,
    failed_for: int = 0,
    is_reported: bool = False,
    pace: int = 0,
    now: int,
) -> None:
    """Retry a job at *until*, but in an hour at most.

    With *holds_lane* the jobs behind it wait too, so that the order is kept; without it the lane is free again after
    *pace* µs. *is_doubtful*: the job may have been done all the same. *failed_for* is for how many µs it will have
    waited because of failures of its own; with *is_reported* an admin is told that it fails.
    """
    until = min(until, now + LONGEST_ASKED)

    async def body(session: Session) -> None:
        if not await _release_lane(session, workspace, job, at=until if holds_lane else now + pace):
            return
        await session.rows(
            "UPDATE jobs SET due_at = $3, under_way = $4, problem = $5, failed_for = $6"
            " WHERE workspace_id = $1 AND id = $2",
            workspace.id,
            job.id,
            0 if holds_lane else until,  # it keeps its place at the head of the lane
            is_doubtful,
            because,
            failed_for,
        )
        if is_reported:
            await _enqueue_report(session, workspace, job, now=now)

    await database.write(body)


async def give_up(workspace: Workspace, *, job: Job, because: str, now: int) -> None:
    """Give up a job for good, record why, and have an admin told; the jobs behind it go on."""

    async def body(session: Session) -> None:
        if not await _release_lane(session, workspace, job, at=now):
            return
        await session.rows(
            "UPDATE jobs SET given_up_at = $3, problem = $4 WHERE workspace_id = $1 AND id = $2",
            workspace.id,
            job.id,
            now,
            because,
        )
        await _enqueue_report(session, workspace, job, now=now)

    await database.write(body)


async def _enqueue_report(session: Session, workspace: Workspace, job: Job, *, now: int) -> None:
    """Have an admin told that jobs of this kind fail, once a day."""
    if job.kind == REPORT:
        return
    told_at = await load_told_at(session, workspace, notice=FAILED + job.kind)
    report = NewJob(
        workspace=workspace.id, kind=REPORT, lane=REPORT, key=job.kind, subject=0,
        due_at=now if told_at is None else max(now, told_at + DAY),
    )  # fmt: skip  # what and when
    await enqueue(session, [report], now=now)


async def load_failures(workspace: Workspace, *, kind: str) -> Failures:
    """Return the failures of a kind of job since an admin was told of them the last time."""
    told_at = await load_told_at(database.current_database().reader, workspace, notice=FAILED + kind)
    rows = await database.read(
        "SELECT given_up_at, problem FROM jobs WHERE workspace_id = $1 AND kind = $2"
        " AND (given_up_at > $3 OR (given_up_at IS NULL AND failed_for > 0))"
        " ORDER BY coalesce(given_up_at, due_at), id",
        workspace.id,
        kind,
        told_at or 0,
    )
    given_up = sum(row["given_up_at"] is not None for row in rows)
    return Failures(given_up=given_up, retrying=len(rows) - given_up, problem=rows[-1]["problem"] if rows else None)


async def delete_abandoned(workspace: Workspace, *, now: int) -> None:
    """Delete the jobs that were given up long ago, and the lanes without a job."""
    writer = database.current_database().writer
    await writer.rows("DELETE FROM jobs WHERE workspace_id = $1 AND given_up_at < $2", workspace.id, now - KEPT_FOR)
    # A job that is enqueued at this very moment may lose its lane; `_correct_times` makes it again.
    await writer.rows(
        "DELETE FROM lanes WHERE workspace_id = $1 AND free_at < $2 AND NOT EXISTS (SELECT 1 FROM jobs j"
        " WHERE j.workspace_id = lanes.workspace_id AND j.lane = lanes.name)",
        workspace.id,
        now - DAY,
    )


async def _release_lane(session: Session, workspace: Workspace, job: Job, *, at: int) -> bool:
    """Release the lane of a job. Return False if the lease has ended and another process has the lane and the job."""
    freed = await session.rows(
        "UPDATE lanes SET free_at = $4, holder = NULL WHERE workspace_id = $1 AND name = $2 AND holder = $3"
        " RETURNING id",
        workspace.id,
        job.lane,
        job.claim,
        at,
    )
    return bool(freed)


async def list_due_in_lane(workspace: Workspace, *, lane: str, kind: str, now: int) -> dict[int, int]:
    """Return the jobs of a kind that are due in a lane, in their order: row id of the job → its subject."""
    rows = await database.read(
        "SELECT id, subject FROM jobs WHERE workspace_id = $1 AND lane = $2 AND kind = $3 AND due_at <= $4"
        " AND given_up_at IS NULL ORDER BY due_at, id",
        workspace.id,
        lane,
        kind,
        now,
    )
    return {row["id"]: row["subject"] for row in rows}
