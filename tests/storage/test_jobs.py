"""Who took a job and lost it to another, since the lease had ended, is in nobody's way."""

from collections.abc import Awaitable, Callable

import pytest

from storage import jobs
from storage.domain.backoff import LEASE, LONGEST_ASKED, SECOND
from storage.domain.people import Workspace
from storage.jobs import Job
from tests.storage.teams import DAY, NOW, Team

KIND, LANE = "ask", "C0SUCCESS"
LATER = NOW + LEASE + SECOND  # the first lease has ended
LATEST = LATER + LEASE + SECOND  # so has the second


async def claim_next(team: Team, *, now: int) -> Job | None:
    """Take the one job."""
    return await jobs.claim(team.workspace, kinds=[KIND], now=now)


async def taken_twice(team: Team) -> tuple[Job, Job]:
    """Put a job, and let another take it from who took it first."""
    await jobs.enqueue_one(team.workspace, kind=KIND, lane=LANE, key="1", subject=1, due_at=NOW, now=NOW)
    first, second = await claim_next(team, now=NOW), await claim_next(team, now=LATER)
    assert first is not None
    assert second is not None
    assert (first.is_doubtful, second.is_doubtful) == (False, True)
    return first, second


async def postpone(workspace: Workspace, job: Job) -> None:
    """Say that Slack refused it, so that nothing is in doubt, and try again in an hour."""
    await jobs.postpone(
        workspace, job=job, until=LATER + 3600 * SECOND, holds_lane=False, is_doubtful=False, because="late", now=LATER
    )


async def give_up(workspace: Workspace, job: Job) -> None:
    """Leave it undone."""
    await jobs.give_up(workspace, job=job, because="late", now=LATER)


async def repeat(workspace: Workspace, job: Job) -> None:
    """Put it for another time."""
    await jobs.reschedule(workspace, job=job, at=LATER + 3600 * SECOND, now=LATER)


@pytest.mark.parametrize("late", [postpone, give_up, repeat])
async def test_what_is_said_after_the_lease_leaves_the_job_to_who_has_it(
    team: Team, late: Callable[[Workspace, Job], Awaitable[None]]
) -> None:
    """Who has it now may have sent something: should that one die, the next has to know that it is in doubt."""
    first, second = await taken_twice(team)
    await late(team.workspace, first)
    assert await claim_next(team, now=LATER) is None  # the lane is another's still
    third = await claim_next(team, now=LATEST)

    assert third is not None
    assert (third.id, third.attempts, third.is_doubtful) == (second.id, 3, True)


async def test_what_was_done_after_the_lease_is_done(team: Team) -> None:
    """It is not done a third time; the lane stays with who has it until that one is done too."""
    first, second = await taken_twice(team)
    await jobs.enqueue_one(team.workspace, kind=KIND, lane=LANE, key="2", subject=2, due_at=NOW, now=NOW)
    await jobs.settle(team.workspace, job=first, pace=0, now=LATER)
    assert await claim_next(team, now=LATER) is None
    await jobs.settle(team.workspace, job=second, pace=0, now=LATER)
    third = await claim_next(team, now=LATER)

    assert third is not None
    assert (third.subject, third.is_doubtful) == (2, False)


async def test_what_was_given_up_is_tried_again_once_it_is_put_again(team: Team) -> None:
    """As the welcome is at every start: whom to ask may be there by now."""
    await jobs.enqueue_one(team.workspace, kind=KIND, lane=LANE, key="w", subject=0, due_at=NOW, now=NOW)
    first = await claim_next(team, now=LATEST)
    assert first is not None
    await jobs.give_up(team.workspace, job=first, because="nobody", now=LATEST)
    assert await claim_next(team, now=LATEST) is None
    await jobs.enqueue_one(team.workspace, kind=KIND, lane=LANE, key="w", subject=0, due_at=LATEST, now=LATEST)
    repeated_job = await claim_next(team, now=LATEST)

    assert repeated_job is not None
    assert (repeated_job.id, repeated_job.attempts) == (first.id, 1)


AHEAD = {"an hour": 3600 * SECOND, "thirty days": 30 * DAY, "ten years": 3_650 * DAY}


@pytest.mark.parametrize("ahead", AHEAD.values(), ids=AHEAD)
async def test_a_clock_that_was_ahead_holds_up_nothing(team: Team, ahead: int) -> None:
    """Put back, a new job is done at once, a repeated and a postponed one in their time, and a lane is free again."""
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
    """Do all that is due at an instant; return the subjects."""
    subjects = []
    while (job := await claim_next(team, now=now)) is not None:
        await jobs.settle(team.workspace, job=job, pace=0, now=now)
        subjects.append(job.subject)
    return sorted(subjects)


async def test_a_lease_from_a_clock_that_was_ahead_ends_in_its_time(team: Team) -> None:
    """The process that held the lane died; its job is tried again one lease after the clock was put back."""
    await jobs.enqueue_one(team.workspace, kind=KIND, lane=LANE, key="1", subject=1, due_at=NOW, now=NOW)
    assert await claim_next(team, now=NOW + 30 * DAY) is not None

    assert await claim_next(team, now=NOW) is None
    repeated_job = await claim_next(team, now=NOW + LEASE)
    assert repeated_job is not None
    assert repeated_job.is_doubtful


async def test_a_job_of_next_month_stays_one_of_next_month(team: Team) -> None:
    """That it is far ahead is no sign of a wrong clock; when it was created is."""
    await jobs.enqueue_one(team.workspace, kind=KIND, lane=LANE, key="1", subject=1, due_at=NOW + 30 * DAY, now=NOW)
    for day in range(29):
        assert await claim_next(team, now=NOW + day * DAY) is None

    assert await claim_next(team, now=NOW + 30 * DAY) is not None


async def test_a_retry_waits_an_hour_at_most(team: Team) -> None:
    """Whatever the other side asks for: a longer wait would be taken for a wrong clock."""
    await jobs.enqueue_one(team.workspace, kind=KIND, lane=LANE, key="1", subject=1, due_at=NOW, now=NOW)
    job = await claim_next(team, now=NOW)
    assert job is not None
    await jobs.postpone(
        team.workspace, job=job, until=NOW + 9 * DAY, holds_lane=False, is_doubtful=False, because="busy", now=NOW
    )

    assert await claim_next(team, now=NOW + LONGEST_ASKED - 1) is None
    assert await claim_next(team, now=NOW + LONGEST_ASKED) is not None
