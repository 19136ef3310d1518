"""Queue jobs: enqueue, claim under a lease, settle, reschedule, postpone or give up.

A job is enqueued in the transaction of its cause. The jobs of a lane run one at a time and in order, so that messages
to one channel keep their order and pace, whichever process sends them. The process that claims a job holds the job's
lane until the lease ends: the lane is the lock. `job_runner` runs the jobs.
"""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from storage.db import database, models
from storage.db.database import Row, Session
from storage.domain.backoff import LEASE, LONGEST_ASKED, SECOND
from storage.domain.people import Workspace
from storage.notices import load_recorded_at

CHECK_EVERY = 60 * SECOND
DAY = 86_400 * SECOND
KEPT_FOR = 30 * DAY  #: how long a job that was given up is kept for inspection
REPORT = "report"  #: kind and lane of jobs that report a failing kind of job to an admin; their key is that kind
FAILED = "failed/"  #: prefix of the notice that records when an admin was notified of a kind's failures

_JOB_COLUMNS = "id, kind, lane, job_key, subject, attempts, failed_for, under_way, position"
#: whether the lane `l` is free and has a due job; $1: the kinds of jobs, $2: now
_HAS_DUE_JOB = (
    "l.free_at <= $2 AND EXISTS (SELECT 1 FROM jobs j WHERE j.workspace_id = l.workspace_id AND j.lane = l.name"
    " AND j.due_at <= $2 AND j.given_up_at IS NULL AND j.kind IN (SELECT kind FROM given(kind text)))"
)
#: $1 and $2 as above, $3: the workspace
_SELECT_FREE_LANES = f"SELECT l.id, l.name FROM lanes l WHERE l.workspace_id = $3 AND {_HAS_DUE_JOB}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to enqueue. It is not enqueued if a job of the same kind and *key* is queued. Times in µs UTC."""

    workspace: int
    kind: str
    lane: str
    key: str
    subject: int  #: the id of the row that the job is about; its kind decides the table
    due_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A claimed job. This process owns the job until the lease ends."""

    id: int
    kind: str
    lane: str
    key: str
    subject: int
    attempts: int  #: including this one
    failed_for: int  #: µs that the job has waited because of its own failures
    is_doubtful: bool  #: an earlier attempt started and its outcome is unknown
    position: int  #: the position that earlier slices reached
    claim: str  #: the token that marks the lane as held by this process


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """The failures of one kind of job since an admin was last notified of them."""

    given_up: int  #: jobs that were given up
    retrying: int  #: jobs that failed and will be retried
    problem: str | None  #: the reason of the latest failure


async def enqueue(session: Session, jobs: Sequence[NewJob], *, now: int) -> None:
    """Enqueue jobs in the transaction of their cause. A job that is already queued stays unchanged."""
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
    session.has_enqueued_jobs |= any(job.due_at <= now for job in jobs)


async def enqueue_one(
    workspace: Workspace, *, kind: str, lane: str, key: str, subject: int, due_at: int, now: int
) -> None:
    """Enqueue one job in a transaction of its own. If the job was given up, it is retried."""
    job = NewJob(workspace=workspace.id, kind=kind, lane=lane, key=key, subject=subject, due_at=due_at)

    async def body(session: Session) -> None:
        given_up = models.Job.filter(workspace_id=workspace.id, kind=kind, job_key=key, given_up_at__isnull=False)
        await session.update(given_up, given_up_at=None, problem=None, attempts=0, failed_for=0, due_at=due_at)
        await enqueue(session, [job], now=now)

    await database.write(body)


async def enqueue_recurring(kinds: Collection[str], *, now: int) -> None:
    """Enqueue a recurring job of each kind in every workspace without one. Its lane and its key are its kind."""
    if not kinds:
        return
    kind_rows = _make_kind_rows(kinds)
    await database.change(
        "INSERT INTO lanes (workspace_id, name, free_at) SELECT w.id, given.kind, 0 FROM given(kind text)"
        " CROSS JOIN workspaces w WHERE NOT EXISTS"
        " (SELECT 1 FROM lanes l WHERE l.workspace_id = w.id AND l.name = given.kind)"
        ' ORDER BY w.id, given.kind COLLATE "C" ON CONFLICT DO NOTHING',
        kind_rows,
    )
    await database.change(
        "INSERT INTO jobs (workspace_id, kind, lane, job_key, subject, due_at, attempts, under_way, created_at)"
        " SELECT w.id, given.kind, given.kind, given.kind, 0, $2, 0, false, $2 FROM given(kind text)"
        " CROSS JOIN workspaces w WHERE NOT EXISTS"
        " (SELECT 1 FROM jobs j WHERE j.workspace_id = w.id AND j.kind = given.kind AND j.job_key = given.kind)"
        ' ORDER BY w.id, given.kind COLLATE "C" ON CONFLICT DO NOTHING',
        kind_rows,
        now,
    )


async def _correct_times(now: int) -> None:
    """Correct times that were written by a clock that ran ahead, so that no job waits until the clocks catch up.

    It runs at the first call of this process, then once a minute, and at once after this process's clock was set back.
    A job created in the future keeps its delay: if it was due two days after its creation, it is due in two days.
    Differences of less than a minute between two processes are ignored. Missing lanes are created again.
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
        # A lane is held for a lease, waits with its first job for a retry, or waits only for its pace.
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


async def list_workspaces_with_due_jobs(*, kinds: Collection[str], now: int) -> list[Workspace]:
    """Return the workspaces with a due job of these kinds, the one with the lane that was free the longest first."""
    await _correct_times(now)
    rows = await database.read(
        f"SELECT w.id, w.team, w.name FROM lanes l JOIN workspaces w ON w.id = l.workspace_id"
        f" WHERE {_HAS_DUE_JOB} GROUP BY w.id, w.team, w.name ORDER BY min(l.free_at), w.id",
        _make_kind_rows(kinds),
        now,
    )
    return [Workspace(**row) for row in rows]


async def claim(workspace: Workspace, *, kinds: Collection[str], now: int) -> Job | None:
    """Claim the next due job of these kinds and its lane. Return None if no job is due in a free lane."""
    await _correct_times(now)
    if not await database.read(f"{_SELECT_FREE_LANES} LIMIT 1", _make_kind_rows(kinds), now, workspace.id):
        return None  # the usual case: nothing to write

    async def body(session: Session) -> Job | None:
        lanes = await session.rows(
            f"{_SELECT_FREE_LANES} ORDER BY l.free_at, l.id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED",
            _make_kind_rows(kinds),
            now,
            workspace.id,
        )
        if not lanes:
            return None
        due_jobs = await session.rows(
            f"SELECT {_JOB_COLUMNS} FROM jobs"
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
    """Enqueue a job and claim it at once. Return None if its lane is held; the job is queued then."""

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
            f"SELECT {_JOB_COLUMNS} FROM jobs WHERE workspace_id = $1 AND kind = $2 AND job_key = $3"
            " AND given_up_at IS NULL",
            workspace.id,
            job.kind,
            job.key,
        )
        return await _hold(session, lanes[0]["id"], rows[0], now=now) if lanes and rows else None

    return await database.write(body)


async def is_queued(workspace: Workspace, *, kind: str, key: str) -> bool:
    """Return whether a job is queued or running."""
    queued = models.Job.filter(workspace_id=workspace.id, kind=kind, job_key=key, given_up_at__isnull=True)
    return bool(await database.load(queued, "id"))


async def _hold(session: Session, lane: int, row: Row, *, now: int) -> Job:
    """Lease a lane and the job of a row to this process."""
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


def _make_kind_rows(kinds: Collection[str]) -> list[Row]:
    return [{"kind": kind} for kind in sorted(kinds)]


async def renew(workspace: Workspace, *, job: Job, now: int) -> bool:
    """Extend the lease of a job. Return False if it has ended and another process may have claimed the job."""
    renewed = await database.change(
        "UPDATE lanes SET free_at = $4 WHERE workspace_id = $1 AND name = $2 AND holder = $3 RETURNING id",
        workspace.id,
        job.lane,
        job.claim,
        now + LEASE,
    )
    return bool(renewed)


async def settle(workspace: Workspace, *, job: Job, done: Collection[int] = (), pace: int, now: int) -> None:
    """Delete a finished job, and the jobs with the row ids *done*. The lane is free again after *pace* µs.

    The job is deleted even if its lease has ended; the lane then stays with the process that claimed it.
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
    """Schedule a finished job to run again at *at*. Its attempts and failures start from zero."""

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


async def save_position(workspace: Workspace, *, job: Job, position: int, keeps_lane: bool, now: int) -> bool:
    """Save the position of a finished slice. Return False if the lease has ended and another process may have the job.

    The job stays first in its lane. With *keeps_lane*, this process keeps the lane for the next slice.
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
    """Schedule a retry of a job at *until*, at most an hour from now.

    With *holds_lane*, the jobs behind it wait too, so that their order is kept; otherwise the lane is free again after
    *pace* µs. *is_doubtful*: the job may have been done despite the failure. *failed_for*: µs that it will have waited
    because of its own failures. *is_reported*: enqueue a report to an admin.
    """
    until = min(until, now + LONGEST_ASKED)

    async def body(session: Session) -> None:
        if not await _release_lane(session, workspace, job, at=until if holds_lane else now + pace):
            return
        await session.update(
            models.Job.filter(workspace_id=workspace.id, id=job.id),
            due_at=0 if holds_lane else until,  # the job stays first in its lane
            under_way=is_doubtful,
            problem=because,
            failed_for=failed_for,
        )
        if is_reported:
            await _enqueue_report(session, workspace, job, now=now)

    await database.write(body)


async def give_up(workspace: Workspace, *, job: Job, because: str, now: int) -> None:
    """Stop retrying a job, record the reason and enqueue a report to an admin. The jobs behind it continue."""

    async def body(session: Session) -> None:
        if not await _release_lane(session, workspace, job, at=now):
            return
        stored = models.Job.filter(workspace_id=workspace.id, id=job.id)
        await session.update(stored, given_up_at=now, problem=because)
        await _enqueue_report(session, workspace, job, now=now)

    await database.write(body)


async def _enqueue_report(session: Session, workspace: Workspace, job: Job, *, now: int) -> None:
    """Enqueue a report to an admin that jobs of this kind fail, due at most once a day."""
    if job.kind == REPORT:
        return
    reported_at = await load_recorded_at(session, workspace, notice=FAILED + job.kind)
    report = NewJob(
        workspace=workspace.id, kind=REPORT, lane=REPORT, key=job.kind, subject=0,
        due_at=now if reported_at is None else max(now, reported_at + DAY),
    )  # fmt: skip  # what, then when
    await enqueue(session, [report], now=now)


async def load_failures(workspace: Workspace, *, kind: str) -> Failures:
    """Return the failures of a kind of job since an admin was last notified of them."""
    reported_at = await load_recorded_at(database.current_database().reader, workspace, notice=FAILED + kind)
    rows = await database.read(
        "SELECT given_up_at, problem FROM jobs WHERE workspace_id = $1 AND kind = $2"
        " AND (given_up_at > $3 OR (given_up_at IS NULL AND failed_for > 0))"
        " ORDER BY coalesce(given_up_at, due_at), id",
        workspace.id,
        kind,
        reported_at or 0,
    )
    given_up = sum(row["given_up_at"] is not None for row in rows)
    return Failures(given_up=given_up, retrying=len(rows) - given_up, problem=rows[-1]["problem"] if rows else None)


async def delete_abandoned(workspace: Workspace, *, now: int) -> None:
    """Delete the jobs that were given up more than KEPT_FOR ago, and lanes without a job."""
    writer = database.current_database().writer
    await writer.delete(models.Job.filter(workspace_id=workspace.id, given_up_at__lt=now - KEPT_FOR))
    # A job that is being enqueued right now may lose its lane; `_correct_times` creates the lane again.
    await writer.rows(
        "DELETE FROM lanes WHERE workspace_id = $1 AND free_at < $2 AND NOT EXISTS (SELECT 1 FROM jobs j"
        " WHERE j.workspace_id = lanes.workspace_id AND j.lane = lanes.name)",
        workspace.id,
        now - DAY,
    )


async def _release_lane(session: Session, workspace: Workspace, job: Job, *, at: int) -> bool:
    """Release the lane of a job. Return False if the lease has ended and another process has claimed the lane."""
    freed = await session.rows(
        "UPDATE lanes SET free_at = $4, holder = NULL WHERE workspace_id = $1 AND name = $2 AND holder = $3"
        " RETURNING id",
        workspace.id,
        job.lane,
        job.claim,
        at,
    )
    return bool(freed)


async def list_due_in_lane(
    workspace: Workspace, *, lane: str, kind: str, now: int, most: int = database.LARGEST_ID
) -> dict[int, int]:
    """Return the due jobs of a kind in a lane, at most *most*, in order: row id of the job → its subject."""
    rows = await database.read(
        "SELECT id, subject FROM jobs WHERE workspace_id = $1 AND lane = $2 AND kind = $3 AND due_at <= $4"
        " AND given_up_at IS NULL ORDER BY due_at, id LIMIT $5",
        workspace.id,
        lane,
        kind,
        now,
        most,
    )
    return {row["id"]: row["subject"] for row in rows}


async def delete_lane(session: Session, workspace: int, lane: str) -> None:
    """Delete a lane and its jobs. The lane is locked first, as by a process that finishes a job: no deadlock."""
    await session.delete(models.Lane.filter(workspace_id=workspace, name=lane))
    await session.delete(models.Job.filter(workspace_id=workspace, lane=lane))


async def drop_repeated(workspace: Workspace, *, job: Job) -> None:
    """Delete the jobs in the lane of a claimed job that have the same subject as an earlier job.

    The earlier job stands for the later ones: its handler must read the current state of the subject when it runs.
    """
    await database.change(
        "DELETE FROM jobs WHERE workspace_id = $1 AND lane = $2 AND kind = $3 AND given_up_at IS NULL AND id <> $4"
        " AND id NOT IN (SELECT min(j.id) FROM jobs j WHERE j.workspace_id = $1 AND j.lane = $2 AND j.kind = $3"
        " AND j.given_up_at IS NULL GROUP BY j.subject)",
        workspace.id,
        job.lane,
        job.kind,
        job.id,
    )
