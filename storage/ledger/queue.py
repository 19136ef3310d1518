"""Hold the submissions that wait to be recorded: bounded, people before programs, sources in turn."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from storage.domain.errors import TooBusy
from storage.domain.facts import Deletion, Merge
from storage.domain.people import Workspace
from storage.domain.submissions import Recorded, Submission
from storage.ledger.plan import Name

#: (workspace id, source): its submissions keep their order
Lane: TypeAlias = tuple[int, str]

PEOPLE = "slack"  #: the source of what people do
#: Submissions of one group. Under load groups fill by themselves; a larger one gains nothing more.
MOST_SUBMISSIONS = 128
#: Items in the batches of one group: a quarter to half a second of work.
MOST_ITEMS = 1_000
#: A submission with more items is a batch. One event of a sender is read as a handful of items at most.
MOST_ITEMS_OF_PUSH = 10
#: Items that wait before batches are refused: three to five seconds of work, less than senders wait for an answer.
MOST_WAITING = 10_000
#: Items that wait before pushes are refused as well: they would wait longer than their patience.
MOST_WAITING_WITH_PUSHES = 20_000


@dataclass(slots=True, eq=False)
class Pending:
    """A submission that waits for its outcome."""

    workspace: Workspace
    submission: Submission
    now: int
    outcome: "asyncio.Future[Recorded]"
    patience: asyncio.TimerHandle | None = None  #: until its first group is formed
    names: frozenset[Name] = (
        frozenset()
    )  #: of what waits for a locked contact: no later submission overtakes one of these
    lock_limit: asyncio.TimerHandle | None = None
    is_overdue: bool = False  #: it has waited too long for a locked contact

    @property
    def size(self) -> int:
        """The number of its items, at least one: an undo has none."""
        return max(len(self.submission.items), 1)

    @property
    def is_batch(self) -> bool:
        """Whether it is large enough to hold up others."""
        return self.size > MOST_ITEMS_OF_PUSH

    @property
    def needs_group(self) -> bool:
        """Whether it is recorded in a group of its own: it regroups contacts, or may have to be rolled back."""
        submission = self.submission
        if submission.undoes is not None or submission.unless_later is not None:
            return True
        return any(isinstance(item, Merge | Deletion) for item in submission.items)


class Queue:
    """The submissions that wait for a group: a lane for each source, and one for people."""

    def __init__(self) -> None:
        self._people: deque[Pending] = deque()
        self._lanes: OrderedDict[Lane, deque[Pending]] = OrderedDict()  # the one whose turn it is first
        self._size = 0
        self._took_batches = False  # in the last group

    def __bool__(self) -> bool:
        """Return whether a submission waits."""
        return bool(self._people or self._lanes)

    def add(self, pending: Pending, *, beside: int = 0) -> None:
        """Add a submission behind those of its source; raises TooBusy. What people do is never refused.

        *beside*: so many items wait elsewhere, for locked contacts.
        """
        if pending.submission.source == PEOPLE:
            self._people.append(pending)
        else:
            most = MOST_WAITING if pending.is_batch else MOST_WAITING_WITH_PUSHES
            self.check_room(pending.size, most=most, beside=beside)
            self._lanes.setdefault(_lane_of(pending), deque()).append(pending)
        self._size += pending.size

    def check_room(self, size: int, *, most: int = MOST_WAITING, beside: int = 0) -> None:
        """Raise TooBusy unless there is room for so many items more; a lone submission always has room."""
        waiting = self._size + beside
        if waiting and waiting + size > most:
            raise TooBusy

    def put_back(self, group: Iterable[Pending]) -> None:
        """Put submissions of a group back to the front, in their order."""
        for pending in reversed(list(group)):
            if pending.submission.source == PEOPLE:
                self._people.appendleft(pending)
            else:
                lane = _lane_of(pending)
                self._lanes.setdefault(lane, deque()).appendleft(pending)
                self._lanes.move_to_end(lane, last=False)
            self._size += pending.size

    def remove(self, pending: Pending) -> bool:
        """Remove a submission; return False if it was in a group already."""
        lane = self._people if pending.submission.source == PEOPLE else self._lanes.get(_lane_of(pending))
        if lane is None or pending not in lane:
            return False
        lane.remove(pending)
        self._forget(pending)
        return True

    def next_group(self) -> list[Pending]:
        """Take the submissions of the next group: people's, then one of each source in turn until it is full.

        Batches are taken up to MOST_ITEMS, but not beside people, and only in every other group while pushes wait. A
        source whose batch is not taken has its turn first in the next group.
        """
        group: list[Pending] = []
        has_pushes = any(not waiting[0].is_batch for waiting in self._lanes.values())
        room = 0 if self._people or (has_pushes and self._took_batches) else MOST_ITEMS
        while self._people and self._fits(group, self._people[0], room=MOST_ITEMS):
            group.append(self._take(self._people))
        is_full, batched = False, 0
        while self._lanes and not is_full:
            is_full = True
            for lane, waiting in list(self._lanes.items()):
                if self._fits(group, waiting[0], room=room - batched):
                    self._lanes.move_to_end(lane)
                    group.append(self._take(waiting))
                    batched += group[-1].size if group[-1].is_batch else 0
                    is_full = False
        self._took_batches = batched > 0
        return group

    def _fits(self, group: list[Pending], pending: Pending, *, room: int) -> bool:
        """Return whether a submission may join a group that has room for so many more items of batches."""
        if group and (pending.needs_group or group[0].needs_group or len(group) == MOST_SUBMISSIONS):
            return False
        is_first_batch = room == MOST_ITEMS  # it may be of any size
        return not pending.is_batch or is_first_batch or pending.size <= room

    def _take(self, waiting: deque[Pending]) -> Pending:
        pending = waiting.popleft()
        self._forget(pending)
        return pending

    def _forget(self, pending: Pending) -> None:
        self._size -= pending.size
        lane = _lane_of(pending)
        if lane in self._lanes and not self._lanes[lane]:
            del self._lanes[lane]


def _lane_of(pending: Pending) -> Lane:
    return (pending.workspace.id, pending.submission.source)
