"""Run jobs: claim a due job, call the handler of its kind, then settle, reschedule, retry or give up the job.

A service has one runner for its own jobs, and another for events, because their receivers may answer slowly. A handler
takes the workspace and the claimed job, and returns a JobResult. If the job fails, the handler raises RetryLater,
GiveUp or any other exception. Long work is done in slices: after each slice the handler returns the position of the
next slice, so that a restart loses at most one slice and other jobs get their turn.
`run_here` runs a job immediately for a caller that waits for it: a command in the terminal, or a click in Slack.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from storage import jobs
from storage.db.database import current_database
from storage.domain.backoff import GIVE_UP_AFTER, LONGEST, LONGEST_ASKED, MANY, MOST_HELD, SECOND, pause
from storage.domain.errors import Refusal, StorageUnavailable
from storage.domain.people import Workspace
from storage.jobs import Job, NewJob


def _logger() -> Any:
    import structlog  # imported late: the command line runs jobs without logging, and the import is slow

    return structlog.get_logger(__name__)


POLL_EVERY = 0.5  # seconds between two polls for due jobs
RENEW_EVERY = 20.0  # seconds between two renewals of a lease; a lease lasts 60 seconds
AT_ONCE = 4  # jobs that run at the same time, each in its own lane
RECUR_EVERY = 60 * SECOND  # between two checks for workspaces without their recurring jobs, in µs


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """The result of a handler: the job is done, together with the jobs *also_done*.

    The lane is free again after *pace* µs. With *repeat_at*, the job runs again at that time. With *next_position*,
    only a slice is done: the job continues at that position, before the next job of its lane.
    """

    also_done: Collection[int] = ()
    pace: int = 0
    repeat_at: int | None = None
    next_position: int | None = None


Handler: TypeAlias = Callable[[Workspace, Job], Awaitable[JobResult]]


class RetryLater(Exception):
    """Raised by a handler if its job failed and may succeed later. *wait*: µs that the other side asked to wait.

    *is_outage*: any other job would have failed too, because the other side is unreachable, limits the rate or rejects
    the token. The job is then retried without limit. For about a day the jobs behind it in its lane wait for it.
    *is_doubtful*: the job may have been done despite the failure. *pace*: µs until the lane is free again.
    """

    def __init__(
        self, reason: str, *, wait: int | None = None, is_outage: bool = False, is_doubtful: bool = False, pace: int = 0
    ) -> None:
        super().__init__(reason)
        self.wait = wait
        self.is_outage = is_outage
        self.is_doubtful = is_doubtful
        self.pace = pace


class GiveUp(Exception):
    """Raised by a handler if its job cannot succeed, however often it is retried."""


class JobRunner:
    """Runs the jobs that have a handler: `start` and `stop` run them as they become due, `work` runs a single one.

    Every workspace has a job of each *recurring* kind. Recurring jobs are never given up.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        clock: Callable[[], int],
        recurring: Collection[str] = (),
        renew_every: float = RENEW_EVERY,
        at_once: int = AT_ONCE,
    ) -> None:
        self._at_once = at_once
        self._handlers = handlers
        self._workspace_handlers: dict[int, Mapping[str, Handler]] = {}
        self._clock = clock
        self._recurring = frozenset(recurring)
        self._renew_every = renew_every
        self._recurring_at = 0
        self._woken = asyncio.Event()
        self._is_stopping = False
        self._polling: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()

    def add_handlers(self, workspace: Workspace, handlers: Mapping[str, Handler]) -> None:
        """Add handlers that apply to the jobs of one workspace only."""
        self._workspace_handlers[workspace.id] = handlers
        self.wake()

    def start(self) -> None:
        """Start polling for due jobs. A commit of this process that enqueues due jobs wakes the runner."""
        current_database().job_wakers.append(self.wake)
        self._polling = asyncio.create_task(self._poll())

    def wake(self) -> None:
        """Poll for due jobs now."""
        self._woken.set()

    async def stop(self, *, patience: float) -> None:
        """Stop claiming jobs. Wait at most *patience* seconds for the running jobs, then cancel them."""
        self._is_stopping = True
        self.wake()
        if self._polling is not None and not (await asyncio.wait([self._polling], timeout=patience))[0]:
            late = {self._polling, *self._running}
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def work(self) -> bool:
        """Run one due job. Return False if none was due."""
        claimed = await self._claim_next()
        if claimed is not None:
            await self.run(*claimed)
        return claimed is not None

    async def run(self, workspace: Workspace, job: Job) -> None:
        """Run a claimed job and record its outcome. The lease is renewed while the job runs."""
        handler = self._find_handlers(workspace)[job.kind]
        task = asyncio.ensure_future(handler(workspace, job))
        try:
            while not (await asyncio.wait([task], timeout=self._renew_every))[0]:
                if not await self._renew(workspace, job):
                    _logger().error("lease lost", kind=job.kind)
                    return  # another process may have claimed the job
        finally:
            task.cancel()
            await asyncio.wait([task])
        await self._finish(workspace, job, task)

    async def _renew(self, workspace: Workspace, job: Job) -> bool:
        try:
            return await jobs.renew(workspace, job=job, now=self._clock())
        except StorageUnavailable:  # the lease outlasts two more attempts
            return True

    async def _finish(self, workspace: Workspace, job: Job, task: "asyncio.Future[JobResult]") -> None:
        exc, now = task.exception(), self._clock()
        if isinstance(exc, Exception):
            await self._retry(workspace, job, exc)
            return
        result = task.result()
        if result.next_position is not None:
            await jobs.save_position(workspace, job=job, position=result.next_position, keeps_lane=False, now=now)
        elif result.repeat_at is not None:
            await jobs.reschedule(workspace, job=job, at=result.repeat_at, now=now)
        else:
            await jobs.settle(workspace, job=job, done=result.also_done, pace=result.pace, now=now)

    async def _retry(self, workspace: Workspace, job: Job, exc: Exception) -> None:
        """Schedule a retry of a failed job, or give it up."""
        now, is_recurring = self._clock(), job.kind in self._recurring
        failure = _describe_failure(job, exc)
        if not is_recurring and (
            isinstance(exc, GiveUp) or (not failure.is_outage and job.failed_for >= GIVE_UP_AFTER)
        ):
            _logger().error("job given up", kind=job.kind, because=str(failure))
            await jobs.give_up(workspace, job=job, because=str(failure), now=now)
            return
        longest = LONGEST_ASKED if is_recurring and not failure.is_outage else LONGEST
        wait = pause(job.attempts, longest=longest) if failure.wait is None else min(failure.wait, LONGEST_ASKED)
        _logger().warning("job postponed", kind=job.kind, because=str(failure))
        await jobs.postpone(
            workspace,
            job=job,
            until=now + wait,
            # During an outage no other job of the lane overtakes this job. After about a day the lane is released,
            # because this job itself may cause the failures.
            holds_lane=failure.is_outage and job.attempts < MOST_HELD,
            is_doubtful=job.is_doubtful or failure.is_doubtful,
            because=str(failure),
            failed_for=job.failed_for + (0 if failure.is_outage else wait),
            is_reported=is_recurring and not failure.is_outage and job.attempts >= MANY,
            pace=failure.pace,
            now=now,
        )

    async def _poll(self) -> None:
        """Run due jobs, at most *at_once* at the same time, until the runner is stopped."""
        while not self._is_stopping:
            self._woken.clear()
            try:
                claimed = await self._claim_next() if len(self._running) < self._at_once else None
            except Exception as exc:  # the database is unavailable: due jobs stay due
                _logger().warning("jobs not polled", because=type(exc).__name__)
                claimed = None
            if claimed is None:
                await self._wait_for_work()
            else:
                task = asyncio.create_task(self._run_logged(*claimed))
                self._running.add(task)
                task.add_done_callback(self._forget)
        while self._running:
            await asyncio.wait(self._running)

    async def _run_logged(self, workspace: Workspace, job: Job) -> None:
        try:
            await self.run(workspace, job)
        except Exception as exc:  # the outcome could not be saved: the job is retried when its lease ends
            _logger().warning("job outcome not recorded", kind=job.kind, because=type(exc).__name__)

    def _forget(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self.wake()

    async def _wait_for_work(self) -> None:
        try:
            async with asyncio.timeout(POLL_EVERY):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _claim_next(self) -> tuple[Workspace, Job] | None:
        now = self._clock()
        if not 0 <= now - self._recurring_at < RECUR_EVERY:
            await jobs.enqueue_recurring(self._recurring & self._handlers.keys(), now=now)
            self._recurring_at = now
        kinds = {*self._handlers, *(kind for handlers in self._workspace_handlers.values() for kind in handlers)}
        for workspace in await jobs.list_workspaces_with_due_jobs(kinds=kinds, now=now):
            job = await jobs.claim(workspace, kinds=self._find_handlers(workspace), now=now)
            if job is not None:
                return workspace, job
        return None

    def _find_handlers(self, workspace: Workspace) -> Mapping[str, Handler]:
        return {**self._handlers, **self._workspace_handlers.get(workspace.id, {})}


async def run_here(
    workspace: Workspace,
    *,
    job: NewJob,
    handler: Handler,
    clock: Callable[[], int],
    patience: float | None = None,
) -> bool:
    """Enqueue a job and run it in this process under its lease. Return True once the job is done.

    Return False after *patience* seconds. The runner of a service then continues the job, as it also does if this
    process dies. Without *patience*, wait until the job is done, even if another process runs the job. If the handler
    raises a Refusal, the job is deleted and the Refusal raised; after StorageUnavailable the job stays queued.
    """
    is_late = asyncio.Event()
    timer = None if patience is None else asyncio.get_running_loop().call_later(patience, is_late.set)
    try:
        claimed = await jobs.start(workspace, job=job, now=clock())
        while not is_late.is_set():
            if claimed is None:  # another process holds its lane
                with suppress(TimeoutError):
                    await asyncio.wait_for(is_late.wait(), POLL_EVERY)
                if not await jobs.is_queued(workspace, kind=job.kind, key=job.key):
                    return True
                claimed = await jobs.start(workspace, job=job, now=clock())
                continue
            try:
                result = await handler(workspace, claimed)
            except Refusal as refusal:
                if not isinstance(refusal, StorageUnavailable):
                    await jobs.settle(workspace, job=claimed, pace=0, now=clock())
                raise
            if result.next_position is None:
                await jobs.settle(workspace, job=claimed, pace=result.pace, now=clock())
                return True
            is_held = await jobs.save_position(
                workspace, job=claimed, position=result.next_position, keeps_lane=not is_late.is_set(), now=clock()
            )
            claimed = replace(claimed, position=result.next_position) if is_held else None
        return False
    finally:
        if timer is not None:
            timer.cancel()


def _describe_failure(job: Job, exc: Exception) -> RetryLater:
    """Return the failure to record for an exception. Log an unexpected exception with a traceback and a reference."""
    if isinstance(exc, RetryLater):
        return exc
    if isinstance(exc, StorageUnavailable):
        return RetryLater(str(exc), is_outage=True)
    if isinstance(exc, GiveUp):
        return RetryLater(str(exc))
    reference = secrets.token_hex(4)
    _logger().error("job failed", kind=job.kind, subject=job.subject, reference=reference, exc_info=exc)
    return RetryLater(f"{type(exc).__name__}, in the log under {reference}")
