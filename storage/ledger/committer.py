"""Record together what waits at the same moment, and tell each caller its own outcome after the commit."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from storage.db.database import Database, Session
from storage.domain.errors import Refusal, StorageUnavailable
from storage.domain.facts import Deletion, Merge
from storage.domain.submissions import Recorded, Submission
from storage.ledger.contacts import StartAgain
from storage.ledger.record import record_group
from storage.ledger.refold import FoldFirst

T = TypeVar("T")

MOST_SUBMISSIONS = 128
MOST_ITEMS = 2_000
MOST_TRIES = 8


class _RollBack(Exception):
    """What was done is to be as if it had never been."""


@dataclass(slots=True)
class _PendingSubmission:
    submission: Submission
    now: int
    outcome: "asyncio.Future[Recorded]"


class Committer:
    """The one door of the ledger: `await record(…)` returns when what was handed in is durable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: deque[_PendingSubmission] = deque()
        self._task: asyncio.Task[None] | None = None

    async def record(self, submission: Submission, *, now: int) -> Recorded:
        """Record a submission.

        Raises its Refusal where it is refused whole, StorageUnavailable where the database does not answer:
        it may then have been kept or not, and handing it in again changes nothing that was kept.
        """
        pending = _PendingSubmission(submission, now, asyncio.get_running_loop().create_future())
        self._queue.append(pending)
        if self._task is None:
            self._task = asyncio.create_task(self._drain_queue())
        return await pending.outcome

    async def rehearse(
        self, submission: Submission, *, look: Callable[[Session, Recorded], Awaitable[T]], now: int
    ) -> T:
        """Record a submission, let *look* see what came of it, and keep nothing of it; raises as `record` does."""
        results: list[T] = []

        async def body(session: Session) -> None:
            (outcome,) = await record_group(session, [submission], now=now)
            if isinstance(outcome, Refusal):
                raise outcome
            results.append(await look(session, outcome))
            raise _RollBack

        with suppress(_RollBack):
            await self._run_with_retries(body)
        return results[-1]

    async def drained(self) -> None:
        """Wait until nothing is being recorded."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _drain_queue(self) -> None:
        try:
            while self._queue:
                await self._commit_group(self._next_group())
        finally:
            self._task = None

    def _next_group(self) -> list[_PendingSubmission]:
        group, items = [self._queue.popleft()], 0
        while self._queue and len(group) < MOST_SUBMISSIONS and items < MOST_ITEMS:
            if _should_commit_alone(group[0].submission) or _should_commit_alone(self._queue[0].submission):
                break
            group.append(self._queue.popleft())
            items += len(group[-1].submission.items)
        return group

    async def _commit_group(self, group: Sequence[_PendingSubmission]) -> None:
        try:
            outcomes = await self._record_submissions(
                [pending.submission for pending in group], now=max(pending.now for pending in group)
            )
        except StorageUnavailable as exc:
            for pending in group:
                _set_outcome(pending, exc)
        except Exception as exc:
            if len(group) == 1:
                _set_outcome(group[0], StorageUnavailable() if isinstance(exc, StartAgain) else exc)
                return
            middle = len(group) // 2  # one of them is at fault, or in somebody's way: it must not harm its neighbours
            await self._commit_group(group[:middle])
            await self._commit_group(group[middle:])
        else:
            for pending, outcome in zip(group, outcomes, strict=True):
                _set_outcome(pending, outcome)

    async def _record_submissions(self, submissions: Sequence[Submission], *, now: int) -> list[Recorded | Refusal]:
        async def body(session: Session) -> list[Recorded | Refusal]:
            return await record_group(session, submissions, now=now)

        return await self._run_with_retries(body)

    async def _run_with_retries(self, body: Callable[[Session], Awaitable[T]]) -> T:
        """Run *body* in a transaction; begin again if another transaction was in its way.

        Contacts that an undo has left to a job are folded before.
        """
        for _ in range(MOST_TRIES):
            try:
                return await self._database.transaction(body)
            except StartAgain:
                continue
            except FoldFirst as exc:
                for refolding in exc.refoldings:
                    await self._record_submissions([refolding], now=refolding.received_at)
        return await self._database.transaction(body)


def _should_commit_alone(submission: Submission) -> bool:
    """Tell whether a submission looks at what is in the ledger, or who is one with whom, or there at all, hangs on it.

    What it shared a group with were then in its way."""
    reads_ledger = submission.undoes is not None or submission.unless_later is not None
    return reads_ledger or any(isinstance(item, Merge | Deletion) for item in submission.items)


def _set_outcome(pending: _PendingSubmission, outcome: Recorded | Exception) -> None:
    if pending.outcome.done():  # its caller was cancelled meanwhile
        return
    if isinstance(outcome, Exception):
        pending.outcome.set_exception(outcome)
    else:
        pending.outcome.set_result(outcome)
