"""A job runs in its lane under a lease, is retried later, and is given up if it fails for too long."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from storage import jobs
from storage.db.database import Session, current_database, read, write
from storage.domain.backoff import LEASE, LONGEST_ASKED, SECOND
from storage.domain.people import Workspace
from storage.job_runner import GiveUp, JobResult, JobRunner, RetryLater
from storage.jobs import Failures, Job, NewJob
from storage.notices import record_notice
from storage.reading.metrics_queries import measure
from storage.workspaces import add_workspace
from tests.storage import raw
from tests.storage.teams import DAY, NOW, Team

HOUR = 3600 * SECOND
KIND, LANE = "ask", "C0SUCCESS"
LATER = NOW + LEASE + SECOND  # the first lease is over
LATEST = LATER + LEASE + SECOND  # the second lease is over


async def claim_next(team: Team, *, now: int) -> Job | None:
    """Claim the next job."""
    return await jobs.claim(team.workspace, kinds=[KIND], now=now)


async def taken_twice(team: Team) -> tuple[Job, Job]:
    """Enqueue a job, claim it, and claim it again after the first lease. Return both claims."""
    await jobs.enqueue_one(team.workspace, kind=KIND, lane=LANE, key="1", subject=1, due_at=NOW, now=NOW)
    first, second = await claim_next(team, now=NOW), await claim_next(team, now=LATER)
    assert first is not None
    assert second is not None
    assert (first.is_doubtful, second.is_doubtful) == (False, True)
    return first, second


async def postpone(workspace: Workspace, job: Job) -> None:
    """Postpone the job for an hour as after a refusal by Slack, which leaves no doubt about the result."""
    await jobs.postpone(
        workspace, job=job, until=LATER + HOUR, holds_lane=False, is_doubtful=False, because="late", now=LATER
    )


async def give_up(workspace: Workspace, job: Job) -> None:
    """Abandon the job."""
    await jobs.give_up(workspace, job=job, because="late", now=LATER)


async def repeat(workspace: Workspace, job: Job) -> None:
    """Reschedule the job for an hour later."""
    await jobs.reschedule(workspace, job=job, at=LATER + HOUR, now=LATER)


@pytest.mark.parametrize("late", [postpone, give_up, repeat])
async def test_what_is_said_after_the_lease_leaves_the_job_to_who_has_it(
    team: Team, late: Callable[[Workspace, Job], Awaitable[None]]
) -> None:
    """A result after the lease leaves the job with its new holder; if that one dies, the next claim is doubtful."""
    first, second = await taken_twice(team)
    await late(team.workspace, first)
    assert await claim_next(team, now=LATER) is None  # another claim still holds the lane
    third = await claim_next(team, now=LATEST)

    assert third is not None
    assert (third.id, third.attempts, third.is_doubtful) == (second.id, 3, True)


async def test_what_was_done_after_the_lease_is_done(team: Team) -> None:
    """A job that was completed after its lease is not run again; the lane stays with the new holder for now."""
    first, second = await taken_twice(team)
    await jobs.enqueue_one(team.workspace, kind=KIND, lane=LANE, key="2", subject=2, due_at=NOW, now=NOW)
    await jobs.settle(team.workspace, job=first, pace=0, now=LATER)
    assert await claim_next(team, now=LATER) is None
    await jobs.settle(team.workspace, job=second, pace=0, now=LATER)
    third = await claim_next(team, now=LATER)

    assert third is not None
    assert (third.subject, third.is_doubtful) == (2, False)


async def test_what_was_given_up_is_tried_again_once_it_is_put_again(team: Team) -> None:
    """A job that was given up is tried again if it is enqueued again, as the welcome message is at each start."""
    await jobs.enqueue_one(team.workspace, kind=KIND, lane=LANE, key="w", subject=0, due_at=NOW, now=NOW)
    # A job that waits stays as it is.
    await jobs.enqueue_one(team.workspace, kind=KIND, lane=LANE, key="w", subject=0, due_at=LATEST + HOUR, now=NOW)
    first = await claim_next(team, now=LATEST)
    assert first is not None
    await jobs.give_up(team.workspace, job=first, because="nobody", now=LATEST)
    assert await claim_next(team, now=LATEST) is None
    await jobs.enqueue_one(team.workspace, kind=KIND, lane=LANE, key="w", subject=0, due_at=LATEST, now=LATEST)
    repeated_job = await claim_next(team, now=LATEST)

    assert repeated_job is not None
    assert (repeated_job.id, repeated_job.attempts) == (first.id, 1)


AHEAD = {"an hour": HOUR, "thirty days": 30 * DAY, "ten years": 3_650 * DAY}


@pytest.mark.parametrize("ahead", AHEAD.values(), ids=AHEAD)
async def test_a_clock_that_was_ahead_holds_up_nothing(team: Team, ahead: int) -> None:
    """After a clock that was ahead is set back, new and repeated jobs run in their time, and lanes are free."""
    wrong, due = NOW + ahead, {"new": 0, "soon": 600 * SECOND, "monday": 5 * DAY}
    for subject, (key, wait) in enumerate(due.items(), start=1):
        await jobs.enqueue_one(
            team.workspace, kind=KIND, lane=key, key=key, subject=subject, due_at=wrong + wait, now=wrong
        )
    await jobs.enqueue_one(team.workspace, kind=KIND, lane="again", key="again", subject=4, due_at=NOW, now=NOW)
    await jobs.enqueue_one(team.workspace, kind=KIND, lane="later", key="later", subject=5, due_at=NOW, now=NOW)
    for _ in range(2):
        job = await claim_next(team, now=wrong)
        assert job is not None
        if job.lane == "again":
            await jobs.reschedule(team.workspace, job=job, at=wrong + 60 * SECOND, now=wrong)
        else:
            await jobs.postpone(
                team.workspace,
                job=job,
                until=wrong + 9 * DAY,
                holds_lane=True,
                is_doubtful=False,
                because="",
                now=wrong,
            )

    assert await done_by(team, NOW) == [1, 5]
    assert await done_by(team, NOW + 60 * SECOND) == [4]
    assert await done_by(team, NOW + 601 * SECOND) == [2]
    assert await done_by(team, NOW + 5 * DAY - SECOND) == []
    assert await done_by(team, NOW + 5 * DAY) == [3]


async def done_by(team: Team, now: int) -> list[int]:
    """Claim and settle all jobs that are due at an instant. Return their subjects."""
    subjects = []
    while (job := await claim_next(team, now=now)) is not None:
        await jobs.settle(team.workspace, job=job, pace=0, now=now)
        subjects.append(job.subject)
    return sorted(subjects)


async def test_a_lease_from_a_clock_that_was_ahead_ends_in_its_time(team: Team) -> None:
    """A lease from a clock that was ahead ends one lease after the clock is set back, and the job is tried again."""
    await jobs.enqueue_one(team.workspace, kind=KIND, lane=LANE, key="1", subject=1, due_at=NOW, now=NOW)
    assert await claim_next(team, now=NOW + 30 * DAY) is not None

    assert await claim_next(team, now=NOW) is None
    repeated_job = await claim_next(team, now=NOW + LEASE)
    assert repeated_job is not None
    assert repeated_job.is_doubtful


async def test_a_job_of_next_month_stays_one_of_next_month(team: Team) -> None:
    """A job that is due in a month runs in a month; a wrong clock is detected by the time of creation."""
    await jobs.enqueue_one(team.workspace, kind=KIND, lane=LANE, key="1", subject=1, due_at=NOW + 30 * DAY, now=NOW)
    for day in range(29):
        assert await claim_next(team, now=NOW + day * DAY) is None

    assert await claim_next(team, now=NOW + 30 * DAY) is not None


async def test_a_retry_waits_an_hour_at_most(team: Team) -> None:
    """A retry comes after an hour at most, because a longer wait would be taken for a wrong clock."""
    await jobs.enqueue_one(team.workspace, kind=KIND, lane=LANE, key="1", subject=1, due_at=NOW, now=NOW)
    job = await claim_next(team, now=NOW)
    assert job is not None
    await jobs.postpone(
        team.workspace, job=job, until=NOW + 9 * DAY, holds_lane=False, is_doubtful=False, because="busy", now=NOW
    )

    assert await claim_next(team, now=NOW + LONGEST_ASKED - 1) is None
    assert await claim_next(team, now=NOW + LONGEST_ASKED) is not None


@dataclass
class Desk:
    """A runner with one handler, which ends as *ends* says, and a clock that the test sets."""

    team: Team
    now: int = NOW
    ends: list[Exception | JobResult] = field(default_factory=list)  #: results in order; the last one repeats
    runs: list[Job] = field(default_factory=list)
    times: list[int] = field(default_factory=list)

    def runner(self, **options: Any) -> JobRunner:
        """Return a new runner of this handler."""
        return JobRunner({KIND: self.handle}, clock=lambda: self.now, **options)

    async def handle(self, _: Workspace, job: Job) -> JobResult:
        """Record the run, and return or raise the next result."""
        self.runs.append(job)
        self.times.append(self.now)
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if isinstance(end, Exception):
            raise end
        return end

    async def enqueue(self, key: str = "1", *, lane: str = LANE) -> None:
        """Enqueue a job."""
        await jobs.enqueue_one(self.team.workspace, kind=KIND, lane=lane, key=key, subject=1, due_at=NOW, now=self.now)

    async def work(self, runner: JobRunner, *, until: int, step: int) -> None:
        """Run all due jobs at each step until an instant."""
        while self.now < until:
            while await runner.work():
                continue
            self.now += step

    async def count(self) -> tuple[int, int]:
        """Return the number of waiting jobs, and of jobs that were given up."""
        measured = await measure(now=self.now)
        return measured.waiting.get(KIND, 0), measured.given_up.get(KIND, 0)


async def load_reports(team: Team, *, now: int) -> list[Job]:
    """Claim and settle the due reports to an admin. Return them."""
    reports = []
    while (report := await jobs.claim(team.workspace, kinds=[jobs.REPORT], now=now)) is not None:
        await jobs.settle(team.workspace, job=report, pace=0, now=now)
        reports.append(report)
    return reports


async def test_a_job_is_given_up_after_a_day_of_failures_of_its_own(team: Team) -> None:
    """A job is given up after a day of its own failures, without the time of outages, and an admin is told once."""
    refused, away = (RetryLater("no", wait=HOUR, is_outage=is_outage) for is_outage in (False, True))
    desk = Desk(team, ends=[*[refused] * 3, away])
    await desk.enqueue()
    await desk.work(desk.runner(), until=NOW + 2 * DAY, step=HOUR)
    assert (await desk.count(), await load_reports(team, now=desk.now)) == ((1, 0), [])
    desk.ends = [refused]
    await desk.work(desk.runner(), until=desk.now + 21 * HOUR, step=HOUR)
    assert (await desk.count(), await load_reports(team, now=desk.now)) == ((1, 0), [])
    await desk.work(desk.runner(), until=desk.now + 2 * HOUR, step=HOUR)

    assert await desk.count() == (0, 1)
    assert len(desk.runs) == 48 + 22
    assert await jobs.load_failures(team.workspace, kind=KIND) == Failures(given_up=1, retrying=0, problem="no")
    assert [report.key for report in await load_reports(team, now=desk.now)] == [KIND]


async def test_a_programming_error_is_in_the_log_with_its_traceback(
    team: Team, capsys: pytest.CaptureFixture[str]
) -> None:
    """A programming error is logged with its traceback, and the job keeps the reference of the log entry."""
    desk = Desk(team, ends=[KeyError("colour")])
    await desk.enqueue()
    await desk.runner().work()
    problem = (await jobs.load_failures(team.workspace, kind=KIND)).problem or ""
    text, _, reference = problem.rpartition(" ")
    out = capsys.readouterr().out

    assert text == "KeyError, in the log under"
    assert f"reference={reference}" in out
    assert "in handle" in out
    assert "KeyError: 'colour'" in out


async def test_an_admin_is_told_of_failures_once_a_day(team: Team) -> None:
    """Reports to an admin are at least a day apart, and the next one counts the failures since the last."""
    desk = Desk(team, ends=[GiveUp("never")])
    runner = desk.runner()
    for key in "abc":
        await desk.enqueue(key)
        while await runner.work():
            continue
        for _ in await load_reports(team, now=desk.now):
            await record_notice(team.workspace, notice=jobs.FAILED + KIND, now=desk.now)
        desk.now += HOUR

    assert await load_reports(team, now=NOW + DAY - SECOND) == []
    failures = await jobs.load_failures(team.workspace, kind=KIND)
    assert (failures.given_up, failures.problem) == (2, "never")
    assert len(await load_reports(team, now=NOW + DAY)) == 1


async def test_a_recurring_job_that_fails_is_retried_every_hour_and_reported(team: Team) -> None:
    """A recurring job that fails is retried hourly and reported, and returns to its own schedule after a success."""
    desk = Desk(team, ends=[RetryLater("no")])
    runner = desk.runner(recurring=[KIND])
    await desk.work(runner, until=NOW + 12 * HOUR, step=600 * SECOND)
    pauses = [later - earlier for earlier, later in pairwise(desk.times)]
    assert pauses == sorted(pauses)
    assert pauses[-6:] == [HOUR] * 6
    assert await desk.count() == (1, 0)
    assert [report.key for report in await load_reports(team, now=desk.now)] == [KIND]
    desk.ends = [JobResult(repeat_at=desk.now + 2 * HOUR)]
    tried = len(desk.runs)
    await desk.work(runner, until=desk.now + HOUR, step=600 * SECOND)

    assert len(desk.runs) == tried + 1
    assert (await jobs.load_failures(team.workspace, kind=KIND)).retrying == 0


async def test_every_workspace_has_its_recurring_jobs(team: Team) -> None:
    """Each workspace has each recurring job once, whatever the number of processes, also a new one within a minute."""
    desk = Desk(team, ends=[JobResult(repeat_at=NOW + DAY)])
    runners = [desk.runner(recurring=[KIND]) for _ in range(2)]
    assert [await runner.work() for runner in runners] == [True, False]
    await add_workspace("T0LATER", name="Later", by="U0ADMIN", now=NOW)
    desk.now += 60 * SECOND

    assert [await runner.work() for runner in runners] == [True, False]
    assert await desk.count() == (2, 0)


async def test_a_failure_holds_up_no_other_job_and_an_outage_all_of_its_lane(team: Team) -> None:
    """A failing job lets the next job of its lane pass; an outage holds the lane in order."""
    desk = Desk(team, ends=[RetryLater("refused"), JobResult()])
    await desk.enqueue("a")
    await desk.enqueue("b")
    runner = desk.runner()
    assert [await runner.work() for _ in range(3)] == [True, True, False]
    assert [job.key for job in desk.runs] == ["a", "b"]
    await desk.enqueue("c")
    await desk.enqueue("d")
    desk.ends = [RetryLater("away", is_outage=True), JobResult()]
    assert [await runner.work() for _ in range(2)] == [True, False]
    desk.now += 600 * SECOND
    while await runner.work():
        continue

    assert [job.key for job in desk.runs[2:]] == ["c", "c", "d", "a"] or [job.key for job in desk.runs[2:]] == [
        "c", "c", "a", "d",
    ]  # fmt: skip  # a is due again by then


async def test_a_lease_is_renewed_while_its_job_runs(team: Team) -> None:
    """A lease is renewed while its job runs, however long; a runner that lost its lease drops the job."""
    begun, ended, times = asyncio.Event(), asyncio.Event(), []

    async def handle(_: Workspace, job: Job) -> JobResult:
        begun.set()
        await ended.wait()
        return JobResult()

    def clock() -> int:
        times.append(0)
        return NOW + len(times) * 30 * SECOND

    runner = JobRunner({KIND: handle}, clock=clock, renew_every=0.01)
    await jobs.enqueue_one(team.workspace, kind=KIND, lane=LANE, key="1", subject=1, due_at=NOW, now=NOW)
    working = asyncio.create_task(runner.work())
    await begun.wait()
    while len(times) < 6:  # each look at the clock is a renewal, half a lease later
        await asyncio.wait([working], timeout=0.01)
    assert await claim_next(team, now=NOW + 6 * 30 * SECOND) is None
    stolen = await claim_next(team, now=NOW + DAY)
    assert stolen is not None
    assert stolen.is_doubtful
    assert await working  # the runner notices the loss, and ends silently
    await jobs.settle(team.workspace, job=stolen, pace=0, now=NOW + DAY)

    assert await claim_next(team, now=NOW + 2 * DAY) is None
    assert not ended.is_set()


async def test_what_was_given_up_long_ago_is_deleted_and_so_are_unused_lanes(team: Team) -> None:
    """Old given-up jobs and unused lanes are deleted; a lane with a job stays, and a missing lane is recreated."""
    desk = Desk(team, ends=[GiveUp("never"), JobResult()])
    await desk.enqueue("a", lane="first")
    await desk.enqueue("b", lane="second")
    runner = desk.runner()
    while await runner.work():
        continue
    await load_reports(team, now=desk.now)
    await jobs.delete_abandoned(team.workspace, now=NOW + jobs.KEPT_FOR)
    assert await desk.count() == (0, 1)
    await jobs.enqueue_one(team.workspace, kind=KIND, lane="third", key="c", subject=1, due_at=NOW, now=desk.now)
    await jobs.delete_abandoned(team.workspace, now=NOW + jobs.KEPT_FOR + SECOND)

    assert await desk.count() == (1, 0)
    lanes = await read("SELECT name FROM lanes")
    assert [lane["name"] for lane in lanes] == ["third"]
    await current_database().writer.rows("DELETE FROM lanes")
    assert await done_by(team, NOW + 2 * DAY) == [1]


async def test_a_runner_runs_lanes_at_once_and_stops_after_what_it_began(team: Team) -> None:
    """A runner runs several lanes at once; stopping waits for the running jobs and starts no other."""
    both, began = asyncio.Event(), list[str]()

    async def handle(_: Workspace, job: Job) -> JobResult:
        began.append(job.key)
        if len(began) == 2:
            both.set()
        await both.wait()
        return JobResult()

    runner = JobRunner({KIND: handle}, clock=lambda: NOW)
    for key in "ab":
        await jobs.enqueue_one(team.workspace, kind=KIND, lane=key, key=key, subject=1, due_at=NOW, now=NOW)
    runner.start()
    await both.wait()
    await runner.stop(patience=5)

    assert sorted(began) == ["a", "b"]
    assert (await measure(now=NOW)).waiting == {}


async def test_a_commit_that_enqueues_a_due_job_wakes_the_runner(team: Team) -> None:
    """The runner is woken after a commit with a due job, not by a later job and not by a rolled-back transaction."""
    woken, key = list[str](), ""
    current_database().job_wakers.append(lambda: woken.append(key))
    put = partial(jobs.enqueue_one, team.workspace, kind=KIND, lane=LANE, subject=1, now=NOW)
    for key, due_at in (("due", NOW), ("later", NOW + SECOND), ("overdue", NOW - SECOND)):
        await put(key=key, due_at=due_at)
    key = "rolled back"
    job = NewJob(workspace=team.workspace.id, kind=KIND, lane=LANE, key=key, subject=1, due_at=NOW)

    async def enqueue_and_fail(session: Session) -> None:
        await jobs.enqueue(session, [job], now=NOW)
        raise LookupError

    with pytest.raises(LookupError):
        await write(enqueue_and_fail)
    assert woken == ["due", "overdue"]

    runner = JobRunner({}, clock=lambda: NOW)
    runner.start()
    assert runner.wake in current_database().job_wakers
    await runner.stop(patience=5)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_lane_is_deleted_while_its_job_is_finished(team: Team, database_url: str) -> None:
    """Whoever deletes a lane waits for whoever finishes a job in it; neither is refused."""
    await jobs.enqueue_one(team.workspace, kind=KIND, lane=LANE, key="1", subject=1, due_at=NOW, now=NOW)
    begin = asyncio.Event()

    async def delete() -> None:
        await begin.wait()
        await write(lambda session: jobs.delete_lane(session, team.workspace.id, LANE))

    deleting = asyncio.create_task(delete())

    async def finish(session: Session) -> None:  # the statements of `settle`
        await session.rows("UPDATE lanes SET free_at = $2, holder = NULL WHERE name = $1", LANE, NOW)
        begin.set()
        waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while not await raw.rows(database_url, waiting):
            pass
        await session.rows("DELETE FROM jobs WHERE lane = $1", LANE)

    await write(finish)
    await deleting
    assert await raw.rows(database_url, "SELECT name FROM lanes WHERE name = 'C0SUCCESS'") == []
