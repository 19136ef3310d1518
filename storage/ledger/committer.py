"""Record submissions: those that wait at the same moment share a commit, and each caller gets its own outcome.

`record` and `rehearse` are the verbs; both use the committer of the open database."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from storage.db.database import Database, Session, current_database
from storage.domain.errors import Refusal, StorageUnavailable
from storage.domain.facts import Deletion, Merge
from storage.domain.people import Workspace
from storage.domain.submissions import Recorded, Submission
from storage.ledger.contacts import StartAgain
from storage.ledger.record import record_group

T = TypeVar("T")

MOST_SUBMISSIONS = 128
MOST_ITEMS = 2_000
MOST_TRIES = 8


class _RollBack(Exception):
    """What was done is to be as if it had never been."""


@dataclass(slots=True)
class _PendingSubmission:
    workspace: Workspace
    submission: Submission
    now: int
    outcome: "asyncio.Future[Recorded]"


async def record(workspace: Workspace, submission: Submission, *, now: int) -> Recorded:
    """Record a submission of a workspace; return its outcome once that is durable.

    Raises its Refusal where it is refused whole, StorageUnavailable where the database does not answer: the submission
    may then have been recorded or not, and recording it again changes nothing that was recorded.
    """
    recorded = await _current_committer().record(workspace, submission, now=now)
    if any(isinstance(item, Deletion) for item in submission.items):
        await current_database().discard_log()
    return recorded


async def rehearse(
    workspace: Workspace, submission: Submission, *, look: Callable[[Session, Recorded], Awaitable[T]], now: int
) -> T:
    """Record a submission, return what *look* reads in that transaction, and roll it back; raises as `record` does."""
    return await _current_committer().rehearse(workspace, submission, look=look, now=now)


async def drained(opened: Database) -> None:
    """Wait until every submission accepted for a database is recorded."""
    if _committer is not None and _committer.database is opened:
        await _committer.drained()


class Committer:
    """The queue of submissions of one database, and the task that commits them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._queue: deque[_PendingSubmission] = deque()
        self._task: asyncio.Task[None] | None = None

    async def record(self, workspace: Workspace, submission: Submission, *, now: int) -> Recorded:
        """Record a submission; see the verb of the same name."""
        pending = _PendingSubmission(workspace, submission, now, asyncio.get_running_loop().create_future())
        self._queue.append(pending)
        if self._task is None:
            self._task = asyncio.create_task(self._drain_queue())
        return await pending.outcome

    async def rehearse(
        self,
        workspace: Workspace,
        submission: Submission,
        *,
        look: Callable[[Session, Recorded], Awaitable[T]],
        now: int,
    ) -> T:
        """Record a submission and roll it back; see the verb of the same name."""
        results: list[T] = []

        async def body(session: Session) -> None:
            (outcome,) = await record_group(session, [(workspace, submission)], now=now)
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
                [(pending.workspace, pending.submission) for pending in group],
                now=max(pending.now for pending in group),
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

    async def _record_submissions(
        self, submissions: Sequence[tuple[Workspace, Submission]], *, now: int
    ) -> list[Recorded | Refusal]:
        async def body(session: Session) -> list[Recorded | Refusal]:
            return await record_group(session, submissions, now=now)

        return await self._run_with_retries(body)

    async def _run_with_retries(self, body: Callable[[Session], Awaitable[T]]) -> T:
        """Run *body* in a transaction, and begin again where somebody was in its way."""
        for _ in range(MOST_TRIES):
            with suppress(StartAgain):
                return await self.database.transaction(body)
        return await self.database.transaction(body)


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


_committer: Committer | None = None


def _current_committer() -> Committer:
    """Return the committer of the open database; raises NotOpen."""
    global _committer
    if _committer is None or _committer.database is not current_database():
        _committer = Committer(current_database())
    return _committer
