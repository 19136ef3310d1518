"""Record submissions. Submissions that wait at the same time share a commit; each caller gets its own outcome.

The public functions `record` and `rehearse` use the committer of the open database.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import TypeVar

from storage.db.database import MOST_TRIES, Database, Session, current_database
from storage.db.errors import StartAgain
from storage.domain.errors import Refusal, StorageUnavailable, TooBusy
from storage.domain.facts import Deletion
from storage.domain.people import Workspace
from storage.domain.submissions import Recorded, Submission
from storage.ledger.config_cache import ConfigCache
from storage.ledger.lock import Returned
from storage.ledger.plan import OrderingKey
from storage.ledger.queue import MOST_ITEMS_OF_PUSH, MOST_SUBMISSIONS, Pending, Queue
from storage.ledger.record import record_group
from storage.ledger.refold import RefoldNeeded

T = TypeVar("T")

#: How long a submission waits for its group, in seconds. Some senders never resend a rejected event, so it is long.
PATIENCE = 10.0
RETRY_LOCKED = 0.02


async def record(workspace: Workspace, submission: Submission, *, now: int) -> Recorded:
    """Record a submission of a workspace. Return its outcome once the transaction is committed.

    Raises the Refusal of a submission that is refused as a whole, TooBusy if too many items wait, and
    StorageUnavailable if the database does not answer. After StorageUnavailable, the submission may have been recorded;
    it is safe to record it again.
    """
    recorded = await _current_committer().record(workspace, submission, now=now)
    if any(isinstance(item, Deletion) for item in submission.items):
        await current_database().discard_log()
    return recorded


async def rehearse(
    workspace: Workspace, submission: Submission, *, look: Callable[[Session, Recorded], Awaitable[T]], now: int
) -> T:
    """Record a submission, return what *look* reads in that transaction, and roll back. Raises the same as `record`."""
    return await _current_committer().rehearse(workspace, submission, look=look, now=now)


def check_room() -> None:
    """Raise TooBusy if any batch would be refused now, before the caller spends work on parsing one."""
    _current_committer().check_room()


class _RollBack(Exception):
    """Raised to roll back a transaction that has done its work."""


class _Locked(Exception):
    """Raised if another transaction has locked one of the contacts."""


class Committer:
    """Queues the submissions of one database and commits them in groups, in a task of its own."""

    def __init__(self, database: Database, *, patience: float = PATIENCE, lock_limit: float | None = None) -> None:
        self.database = database
        self._patience = patience
        #: How long a submission waits for a contact that another transaction has locked, in seconds.
        self._lock_limit = lock_limit or database.limits.lock or PATIENCE
        self._queue = Queue()
        self._config_cache = ConfigCache()
        self._locked: list[Pending] = []  # submissions that wait for a locked contact, in order
        self._retry = asyncio.Event()  # set when these are due for a retry
        self._retry.set()
        self._task: asyncio.Task[None] | None = None

    async def record(self, workspace: Workspace, submission: Submission, *, now: int) -> Recorded:
        """Record a submission; see the function `record` of this module."""
        loop = asyncio.get_running_loop()
        pending = Pending(workspace, submission, now, loop.create_future())
        self._queue.add(pending, beside=self._count_locked())
        pending.patience = loop.call_later(self._patience, self._give_up, pending)
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
        """Record a submission and roll back; see the function `rehearse` of this module."""
        results: list[T] = []

        async def body(session: Session) -> None:
            (outcome,) = await record_group(session, [(workspace, submission)], self._config_cache, now=now)
            if isinstance(outcome, Refusal):
                raise outcome
            if isinstance(outcome, Returned):
                raise _Locked
            results.append(await look(session, outcome))
            raise _RollBack

        for _ in range(round(self._lock_limit / RETRY_LOCKED)):
            try:
                with suppress(_RollBack, _Locked):
                    await self._run_with_retries(body)
            except (StartAgain, RefoldNeeded) as exc:
                raise StorageUnavailable from exc
            if results:
                return results[-1]
            await asyncio.sleep(RETRY_LOCKED)
        raise StorageUnavailable

    def check_room(self) -> None:
        """Raise TooBusy if any batch would be refused; see the function `check_room` of this module."""
        self._queue.check_room(MOST_ITEMS_OF_PUSH + 1, beside=self._count_locked())

    def _count_locked(self) -> int:
        return sum(pending.size for pending in self._locked)

    async def drained(self) -> None:
        """Wait until no submission is being recorded."""
        while self._task is not None:
            await asyncio.wait([self._task])

    def _give_up(self, pending: Pending) -> None:
        """Refuse a submission with TooBusy if it still waits for its group."""
        if self._queue.remove(pending):
            _set_outcome(pending, TooBusy())

    async def _drain_queue(self) -> None:
        try:
            while self._queue or self._locked:
                if self._locked and (self._retry.is_set() or not self._queue):
                    await self._retry.wait()
                    await self._retry_locked()
                if group := self._queue.next_group():
                    self._queue.put_back(await self._commit_group(group))
                    await self.database.analyze_new_tables()
        finally:
            self._task = None

    async def _retry_locked(self) -> None:
        """Retry the submissions that wait for locked contacts, in order. Refuse those that have waited too long."""
        for pending in self._locked:
            if pending.is_overdue:
                _set_outcome(pending, StorageUnavailable())
        waiting, self._locked = (pending for pending in self._locked if not pending.is_overdue), []
        while group := list(islice(waiting, MOST_SUBMISSIONS)):
            # A submission that is left for the next group keeps its ordering keys, so that no later one overtakes it.
            self._locked += await self._commit_group(group)
        self._retry.clear()
        asyncio.get_running_loop().call_later(RETRY_LOCKED, self._retry.set)

    def _wait_for_contact(self, pending: Pending, ordering_keys: frozenset[OrderingKey]) -> None:
        """Queue a submission until its contact is unlocked, at most for the lock limit."""

        def set_overdue() -> None:
            pending.is_overdue = True

        pending.ordering_keys = ordering_keys
        if pending.lock_limit is None:
            pending.lock_limit = asyncio.get_running_loop().call_later(self._lock_limit, set_overdue)
        self._locked.append(pending)

    async def _commit_group(self, group: Sequence[Pending]) -> list[Pending]:
        """Record a group and set the outcomes of its submissions. Return those left for the next group."""
        for pending in group:
            if pending.patience is not None:
                pending.patience.cancel()
        try:
            outcomes = await self._record_group(group)
        except StorageUnavailable as exc:
            for pending in group:
                _set_outcome(pending, exc)
            return []
        except Exception as exc:
            if len(group) == 1:
                _set_outcome(group[0], StorageUnavailable() if isinstance(exc, StartAgain | RefoldNeeded) else exc)
                return []
            middle = len(group) // 2  # isolate the failing submission from its neighbors
            left = await self._commit_group(group[:middle])
            return [*left, *group[middle:]] if left else await self._commit_group(group[middle:])
        left = []
        for pending, outcome in zip(group, outcomes, strict=True):
            if not isinstance(outcome, Returned):
                _set_outcome(pending, outcome)
            elif outcome.ordering_keys is None:
                left.append(pending)
            else:
                self._wait_for_contact(pending, outcome.ordering_keys)
        return left

    async def _record_group(self, group: Sequence[Pending]) -> list[Recorded | Refusal | Returned]:
        blocked = {key for pending in self._locked for key in pending.ordering_keys}

        async def body(session: Session) -> list[Recorded | Refusal | Returned]:
            return await record_group(
                session,
                [(pending.workspace, pending.submission) for pending in group],
                self._config_cache,
                blocked=blocked,
                now=max(pending.now for pending in group),
            )

        return await self._run_with_retries(body)

    async def _run_with_retries(self, body: Callable[[Session], Awaitable[T]]) -> T:
        """Run *body* in a transaction, and repeat it after a conflict with another transaction.

        Contacts that an undo left to a job are recalculated first.
        """
        for _ in range(MOST_TRIES):
            try:
                return await self.database.transaction(body)
            except StartAgain:
                continue
            except RefoldNeeded as exc:
                for refolding in exc.refoldings:
                    await self._refold(*refolding)
        return await self.database.transaction(body)

    async def _refold(self, workspace: Workspace, refolding: Submission) -> None:
        async def body(session: Session) -> None:
            await record_group(session, [(workspace, refolding)], self._config_cache, now=refolding.received_at)

        await self._run_with_retries(body)


def _set_outcome(pending: Pending, outcome: Recorded | Exception) -> None:
    if pending.lock_limit is not None:
        pending.lock_limit.cancel()
    if pending.outcome.done():  # its caller was canceled
        return
    if isinstance(outcome, Exception):
        pending.outcome.set_exception(outcome)
    else:
        pending.outcome.set_result(outcome)


_committer: Committer | None = None


def _current_committer() -> Committer:
    """Return the committer of the open database. Raises NotOpen."""
    global _committer
    if _committer is None or _committer.database is not current_database():
        _committer = Committer(current_database())
        _committer.database.before_close.append(_committer.drained)
    return _committer
