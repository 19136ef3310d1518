"""Run jobs: claim what is due, hand each job to the handler of its kind, and settle, repeat or retry it.

One runner serves a whole process. A handler takes the workspace and the claimed job; it returns when the job is done,
and raises RetryLater, GiveUp, or whatever happens to it. Work that takes long is done in slices: a handler returns
after each with the position of the next one, so that a restart loses no more than a slice and every job gets its turn.
`run_here` runs one job at once for a caller that waits for it: a command in the terminal, a click in Slack."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias

import structlog

from storage import jobs
from storage.domain.backoff import GIVE_UP_AFTER, LONGEST, LONGEST_ASKED, MANY, MOST_HELD, SECOND, pause
from storage.domain.errors import Refusal, StorageUnavailable
from storage.domain.people import Workspace
from storage.jobs import Job, NewJob

log = structlog.get_logger(__name__)

POLL_EVERY = 0.5  # seconds between two looks for due jobs
RENEW_EVERY = 20.0  # seconds between two renewals of a lease, which lasts 60
AT_ONCE = 4  # jobs, each in a lane of its own
RECUR_EVERY = 60 * SECOND  # between two looks for workspaces without their recurring jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """A job is done, and the jobs *also_done* with it; the lane rests for *pace* µs. It runs again at *repeat_at*.

    With *next_position* only a slice is done: the job goes on at once, from there, before the next one of its lane.
    """

    also_done: Collection[int] = ()
    pace: int = 0
    repeat_at: int | None = None
    next_position: int | None = None


Handler: TypeAlias = Callable[[Workspace, Job], Awaitable[JobResult]]


class RetryLater(Exception):
    """Raised by a handler whose job failed and may succeed later, in *wait* µs if the other side asked for that.

    *is_outage*: any other job would have failed too, because the other side is away, rate-limits or refuses the token.
    The job then waits without limit, and the jobs behind it in its lane wait too. *is_doubtful*: the job may have been
    done all the same. *pace* is for how long the lane rests.
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
    """Raised by a handler whose job cannot succeed, however often it is retried."""


class JobRunner:
    """Runs the jobs that it has handlers for: `work` one of them, `start` and `stop` all of them as they become due.

    A job of a *recurring* kind exists for every workspace; it is never given up.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        clock: Callable[[], int],
        recurring: Collection[str] = (),
        renew_every: float = RENEW_EVERY,
    ) -> None:
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
        """Run jobs of further kinds for one workspace."""
        self._workspace_handlers[workspace.id] = handlers
        self.wake()

    def start(self) -> None:
        """Begin to run jobs."""
        self._polling = asyncio.create_task(self._poll())

    def wake(self) -> None:
        """Look for due jobs now."""
        self._woken.set()

    async def stop(self, *, patience: float) -> None:
        """Claim nothing else, and finish the jobs that run, but in no more than *patience* seconds."""
        self._is_stopping = True
        self.wake()
        if self._polling is not None and not (await asyncio.wait([self._polling], timeout=patience))[0]:
            late = {self._polling, *self._running}
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def work(self) -> bool:
        """Run one due job. Return False if there was none."""
        claimed = await self._claim_next()
        if claimed is not None:
            await self.run(*claimed)
        return claimed is not None

    async def run(self, workspace: Workspace, job: Job) -> None:
        """Run a claimed job; its lease is renewed meanwhile."""
        handler = self._find_handlers(workspace)[job.kind]
        task = asyncio.ensure_future(handler(workspace, job))
        try:
            while not (await asyncio.wait([task], timeout=self._renew_every))[0]:
                if not await self._renew(workspace, job):
                    log.error("lease lost", kind=job.kind)
                    return  # another process may run the job by now
        finally:
            task.cancel()
            await asyncio.wait([task])
        await self._finish(workspace, job, task)

    async def _renew(self, workspace: Workspace, job: Job) -> bool:
        try:
            return await jobs.renew(workspace, job=job, now=self._clock())
        except StorageUnavailable:  # the lease lasts for two further attempts
            return True

    async def _finish(self, workspace: Workspace, job: Job, task: "asyncio.Future[JobResult]") -> None:
        exc, now = task.exception(), self._clock()
        if isinstance(exc, Exception):
            await self._retry(workspace, job, exc)
            return
        result = task.result()
        if result.next_position is not None:
            await jobs.proceed(workspace, job=job, position=result.next_position, keeps_lane=False, now=now)
        elif result.repeat_at is not None:
            await jobs.reschedule(workspace, job=job, at=result.repeat_at, now=now)
        else:
            await jobs.settle(workspace, job=job, done=result.also_done, pace=result.pace, now=now)

    async def _retry(self, workspace: Workspace, job: Job, exc: Exception) -> None:
        """Decide when a job that failed is retried, or whether it is given up."""
        now, is_recurring = self._clock(), job.kind in self._recurring
        failure = _describe_failure(job, exc)
        if not is_recurring and (
            isinstance(exc, GiveUp) or (not failure.is_outage and job.failed_for >= GIVE_UP_AFTER)
        ):
            log.error("job given up", kind=job.kind, because=str(failure))
            await jobs.give_up(workspace, job=job, because=str(failure), now=now)
            return
        longest = LONGEST_ASKED if is_recurring and not failure.is_outage else LONGEST
        wait = pause(job.attempts, longest=longest) if failure.wait is None else min(failure.wait, LONGEST_ASKED)
        log.warning("job postponed", kind=job.kind, because=str(failure))
        await jobs.postpone(
            workspace,
            job=job,
            until=now + wait,
            # During an outage no job overtakes; after a day it may be this very job that the other side stumbles over.
            holds_lane=failure.is_outage and job.attempts < MOST_HELD,
            is_doubtful=job.is_doubtful or failure.is_doubtful,
            because=str(failure),
            failed_for=job.failed_for + (0 if failure.is_outage else wait),
            is_reported=is_recurring and not failure.is_outage and job.attempts >= MANY,
            pace=failure.pace,
            now=now,
        )

    async def _poll(self) -> None:
        """Run due jobs, up to AT_ONCE at the same time, until the runner is stopped."""
        while not self._is_stopping:
            self._woken.clear()
            try:
                claimed = await self._claim_next() if len(self._running) < AT_ONCE else None
            except Exception as exc:  # the database does not answer: what is due stays due
                log.warning("jobs not looked at", because=type(exc).__name__)
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
        except Exception as exc:  # its outcome could not be written: it is retried when its lease ends
            log.warning("outcome of a job not recorded", kind=job.kind, because=type(exc).__name__)

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
        for workspace in await jobs.workspaces_with_due_jobs(kinds=kinds, now=now):
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
    """Enqueue a job and run it in this process under its lease.

    Return False after *patience* seconds; the runner of a service goes on with the job then, as it does where this
    process dies. Without *patience* this waits until the job is done, also where another process runs it. A Refusal of
    the handler is raised; the job is then gone.
    """
    is_late = asyncio.Event()
    timer = None if patience is None else asyncio.get_running_loop().call_later(patience, is_late.set)
    try:
        claimed = await jobs.start(workspace, job=job, now=clock())
        while not is_late.is_set():
            if claimed is None:  # another process has it
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
            is_held = await jobs.proceed(
                workspace, job=claimed, position=result.next_position, keeps_lane=not is_late.is_set(), now=clock()
            )
            claimed = replace(claimed, position=result.next_position) if is_held else None
        return False
    finally:
        if timer is not None:
            timer.cancel()


def _describe_failure(job: Job, exc: Exception) -> RetryLater:
    """Return why a job failed, in words; what nobody foresaw is logged with its traceback under a reference."""
    if isinstance(exc, RetryLater):
        return exc
    if isinstance(exc, StorageUnavailable):
        return RetryLater(str(exc), is_outage=True)
    if isinstance(exc, GiveUp):
        return RetryLater(str(exc))
    reference = secrets.token_hex(4)
    log.error("job failed", kind=job.kind, subject=job.subject, reference=reference, exc_info=exc)
    return RetryLater(f"{type(exc).__name__}, in the log under {reference}")
