"""Keep what is for later: put with what causes it, claimed lane by lane under a lease, settled or tried again.

In a lane one thing happens at a time and in order, so that two messages to one place keep their order and pace,
whichever process sends them. Whoever holds a lane has it until the lease ends; the lane is the lock of its jobs."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from storage.db import database
from storage.db.database import Row, Session
from storage.domain.backoff import LEASE, LONGEST_ASKED, SECOND
from storage.domain.people import Workspace

CHECK_EVERY = 60 * SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """Something to be done later; *key* makes it one, however often it is put. Times in µs UTC."""

    workspace: int
    kind: str
    lane: str
    key: str
    subject: int  #: the row it is about
    due_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that is ours until its lease ends."""

    id: int
    kind: str
    lane: str
    subject: int
    attempts: int  #: this one included
    is_doubtful: bool  #: it was begun before, and nobody knows how that ended
    claim: str


async def enqueue(session: Session, jobs: Sequence[NewJob], *, now: int) -> None:
    """Put jobs, in the transaction of what causes them; what is there already stays as it is."""
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
    """Put one job that nothing else causes; it is tried again where it was given up."""
    job = NewJob(workspace=workspace.id, kind=kind, lane=lane, key=key, subject=subject, due_at=due_at)

    async def body(session: Session) -> None:
        await session.rows(
            "UPDATE jobs SET given_up_at = NULL, problem = NULL, attempts = 0, due_at = $4"
            " WHERE workspace_id = $1 AND kind = $2 AND job_key = $3 AND given_up_at IS NOT NULL",
            workspace.id,
            kind,
            key,
            due_at,
        )
        await enqueue(session, [job], now=now)

    await database.write(body)


async def _correct_times(now: int) -> None:
    """Bring back the times that were written while a clock was ahead, so that nothing waits until it has caught up.

    Looks when this process begins, once a minute, and at once where its clock was put back. A job that was created in
    the future keeps its distance from there: one that was due after two days is due in two days. A minute of
    difference between the clocks of two processes is no reason to write.
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


async def workspaces_with_due_jobs(*, kinds: Collection[str], now: int) -> list[Workspace]:
    """Give the workspaces that have a job of these kinds to be claimed."""
    await _correct_times(now)
    rows = await database.read(
        f"SELECT DISTINCT w.id, w.team, w.name FROM lanes l JOIN workspaces w ON w.id = l.workspace_id"
        f" WHERE {_IS_FREE} ORDER BY w.id",
        _make_kind_rows(kinds),
        now,
    )
    return [Workspace(**row) for row in rows]


async def claim(workspace: Workspace, *, kinds: Collection[str], now: int) -> Job | None:
    """Take the next job of these kinds that is due in a lane that nobody holds, and the lane with it."""
    await _correct_times(now)
    if not await database.read(f"{_FREE} LIMIT 1", _make_kind_rows(kinds), now, workspace.id):
        return None  # most of the time: nothing is written for it
    token = secrets.token_hex(8)

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
            "SELECT id, kind, lane, subject, attempts, under_way FROM jobs"
            " WHERE workspace_id = $3 AND lane = $4 AND due_at <= $2 AND given_up_at IS NULL"
            " AND kind IN (SELECT kind FROM given(kind text)) ORDER BY due_at, id LIMIT 1",
            _make_kind_rows(kinds),
            now,
            workspace.id,
            lanes[0]["name"],
        )
        if not due_jobs:
            return None
        row = due_jobs[0]
        await session.rows(
            "UPDATE lanes SET free_at = $2, holder = $3 WHERE id = $1", lanes[0]["id"], now + LEASE, token
        )
        await session.rows("UPDATE jobs SET attempts = attempts + 1, under_way = true WHERE id = $1", row["id"])
        return Job(
            id=row["id"],
            kind=row["kind"],
            lane=row["lane"],
            subject=row["subject"],
            attempts=row["attempts"] + 1,
            is_doubtful=bool(row["under_way"]),
            claim=token,
        )

    return await database.write(body)


_IS_FREE = (
    "l.free_at <= $2 AND EXISTS (SELECT 1 FROM jobs j WHERE j.workspace_id = l.workspace_id AND j.lane = l.name"
    " AND j.due_at <= $2 AND j.given_up_at IS NULL AND j.kind IN (SELECT kind FROM given(kind text)))"
)
_FREE = f"SELECT l.id, l.name FROM lanes l WHERE l.workspace_id = $3 AND {_IS_FREE}"


def _make_kind_rows(kinds: Collection[str]) -> list[Row]:
    return [{"kind": kind} for kind in sorted(kinds)]


async def settle(workspace: Workspace, *, job: Job, done: Collection[int] = (), pace: int, now: int) -> None:
    """Strike out a job that is done, with the jobs *done* along with it; the lane is free again after *pace* µs.

    What is done is done, also where the lease has ended; anything else is then left to who has the job.
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
    """Put a job that is done for another time, as if it had been put just now."""

    async def body(session: Session) -> None:
        if not await _release_lane(session, workspace, job, at=now):
            return
        await session.rows(
            "UPDATE jobs SET due_at = $3, created_at = $4, attempts = 0, under_way = false, problem = NULL"
            " WHERE workspace_id = $1 AND id = $2",
            workspace.id,
            job.id,
            at,
            now,
        )

    await database.write(body)


async def postpone(
    workspace: Workspace,
    *,
    job: Job,
    until: int,
    holds_lane: bool,
    is_doubtful: bool,
    because: str,
    pace: int = 0,
    now: int,
) -> None:
    """Try a job again at *until*, but in an hour at most.

    With *holds_lane* the jobs behind it wait too, so that the order is kept; without it the lane is free again after
    *pace* µs. *is_doubtful*: the job may have been done all the same.
    """
    until = min(until, now + LONGEST_ASKED)

    async def body(session: Session) -> None:
        if not await _release_lane(session, workspace, job, at=until if holds_lane else now + pace):
            return
        await session.rows(
            "UPDATE jobs SET due_at = $3, under_way = $4, problem = $5 WHERE workspace_id = $1 AND id = $2",
            workspace.id,
            job.id,
            0 if holds_lane else until,  # it keeps its place at the head of the lane
            is_doubtful,
            because,
        )

    await database.write(body)


async def give_up(workspace: Workspace, *, job: Job, because: str, now: int) -> None:
    """Leave a job undone for good, and say why; its neighbours go on."""

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

    await database.write(body)


async def _release_lane(session: Session, workspace: Workspace, job: Job, *, at: int) -> bool:
    """Let the lane of a job go; false where our lease has ended, and the lane and its job are another's."""
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
    """Give the jobs of a kind that are due in a lane: row id of the job → its subject, in their order."""
    rows = await database.read(
        "SELECT id, subject FROM jobs WHERE workspace_id = $1 AND lane = $2 AND kind = $3 AND due_at <= $4"
        " AND given_up_at IS NULL ORDER BY due_at, id",
        workspace.id,
        lane,
        kind,
        now,
    )
    return {row["id"]: row["subject"] for row in rows}
