"""Queue submissions until they are recorded: a bounded queue with people before programs and sources in turn."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from storage.domain.errors import TooBusy
from storage.domain.facts import Deletion, Merge, Split
from storage.domain.people import Workspace
from storage.domain.submissions import Recorded, Submission
from storage.ledger.plan import OrderingKey

#: (workspace id, source): the submissions of a lane keep their order
Lane: TypeAlias = tuple[int, str]

PEOPLE = "slack"  #: the source of what people do in Slack
#: The most submissions of one group. Groups fill up under load; a larger limit gains nothing.
MOST_SUBMISSIONS = 128
#: The most items in the batches of one group: a quarter to half a second of work.
MOST_ITEMS = 1_000
#: A submission with more items is a batch. One event of a sender has a few items at most.
MOST_ITEMS_OF_PUSH = 10
#: Waiting items above which batches are refused: three to five seconds of work, less than most senders' timeout.
MOST_WAITING = 10_000
#: Waiting items above which pushes are refused too: they would wait longer than PATIENCE.
MOST_WAITING_WITH_PUSHES = 20_000


@dataclass(slots=True, eq=False)
class Pending:
    """A submission that waits for its outcome."""

    workspace: Workspace
    submission: Submission
    now: int
    outcome: "asyncio.Future[Recorded]"
    patience: asyncio.TimerHandle | None = None  #: runs until its first group is formed
    #: set while it waits for a locked contact: no later submission with one of these keys overtakes it
    ordering_keys: frozenset[OrderingKey] = frozenset()
    lock_limit: asyncio.TimerHandle | None = None
    is_overdue: bool = False  #: it has waited too long for a locked contact

    @property
    def size(self) -> int:
        """The number of items, at least one: an undo has none."""
        return max(len(self.submission.items), 1)

    @property
    def is_batch(self) -> bool:
        """Whether the submission is large enough to delay others."""
        return self.size > MOST_ITEMS_OF_PUSH

    @property
    def needs_group(self) -> bool:
        """Whether it needs a group of its own: it regroups contacts, or may have to be rolled back."""
        submission = self.submission
        if submission.undoes is not None or submission.unless_later is not None:
            return True
        if submission.expects is not None or submission.expects_each:
            return True
        return any(isinstance(item, Merge | Split | Deletion) for item in submission.items)


class Queue:
    """The submissions that wait for a group: one lane for each source, and one for people."""

    def __init__(self) -> None:
        self._people: deque[Pending] = deque()
        self._lanes: OrderedDict[Lane, deque[Pending]] = OrderedDict()  # the lane that has the next turn comes first
        self._size = 0
        self._took_batches = False  # whether the last group had batches

    def __bool__(self) -> bool:
        """Return whether any submission waits."""
        return bool(self._people or self._lanes)

    def add(self, pending: Pending, *, beside: int = 0) -> None:
        """Add a submission behind those of its source. Raises TooBusy, except for submissions of people.

        *beside* is the number of items that wait elsewhere, for locked contacts.
        """
        if pending.submission.source == PEOPLE:
            self._people.append(pending)
        else:
            most = MOST_WAITING if pending.is_batch else MOST_WAITING_WITH_PUSHES
            self.check_room(pending.size, most=most, beside=beside)
            self._lanes.setdefault(_lane_of(pending), deque()).append(pending)
        self._size += pending.size

    def check_room(self, size: int, *, most: int = MOST_WAITING, beside: int = 0) -> None:
        """Raise TooBusy if there is no room for *size* more items. An empty queue always has room."""
        waiting = self._size + beside
        if waiting and waiting + size > most:
            raise TooBusy

    def put_back(self, group: Iterable[Pending]) -> None:
        """Return submissions of a group to the front of their lanes, in order."""
        for pending in reversed(list(group)):
            if pending.submission.source == PEOPLE:
                self._people.appendleft(pending)
            else:
                lane = _lane_of(pending)
                self._lanes.setdefault(lane, deque()).appendleft(pending)
                self._lanes.move_to_end(lane, last=False)
            self._size += pending.size

    def remove(self, pending: Pending) -> bool:
        """Remove a submission. Return False if it is no longer in the queue."""
        lane = self._people if pending.submission.source == PEOPLE else self._lanes.get(_lane_of(pending))
        if lane is None or pending not in lane:
            return False
        lane.remove(pending)
        self._forget(pending)
        return True

    def next_group(self) -> list[Pending]:
        """Remove and return the submissions of the next group: people's first, then one per source in turn.

        Batches join up to MOST_ITEMS, but not next to submissions of people, and only in every other group while pushes
        wait. A source with a waiting batch has the first turn in the next group.
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
        """Return whether a submission may join a group that has room for *room* more items of batches."""
        if group and (pending.needs_group or group[0].needs_group or len(group) == MOST_SUBMISSIONS):
            return False
        is_first_batch = room == MOST_ITEMS  # the first batch may have any size
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
