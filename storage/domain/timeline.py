"""Compute the timeline of one score: the values to draw in a chart, and its biggest changes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import pairwise
from typing import TypeAlias

#: an instant in µs, and the value from that instant on in thousandths; None: no score
Point: TypeAlias = tuple[int, int | None]
#: the number of samples of a fading score in the whole span, in addition to its changes
LOOKS = 400
MARKED = 3  #: the most changes that `biggest_moves` returns


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelinePoint:
    """The rank of a score after a fact, None if there is no score. *fact* is the row id, *at* is in µs."""

    at: int
    rank: int | None
    fact: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineMove:
    """A change of a score, with the values before and after it in thousandths; None: no score."""

    at: int
    before: int | None
    after: int | None
    fact: int


def points(
    knots: Sequence[TimelinePoint], *, since: int, until: int, value_at: Callable[[int, int], int]
) -> tuple[Point, ...]:
    """Return the values of a score between *since* and *until*, each with the instant at which it began.

    *knots* are in the order of the fold. A knot before the span defines the value at *since*.
    *value_at* returns the value of a rank at an instant.
    """
    change_times = [knot.at for knot in knots if since < knot.at <= until]
    sample_times = {since + (until - since) * index // LOOKS for index in range(LOOKS + 1)}
    course: list[Point] = []
    index, rank = 0, None
    for instant in sorted(sample_times.union(change_times, (at - 1 for at in change_times))):
        while index < len(knots) and knots[index].at <= instant:
            rank = knots[index].rank
            index += 1
        value = None if rank is None else value_at(rank, instant)
        if not course or course[-1][1] != value:
            course.append((instant, value))
    return tuple(course)


def biggest_moves(
    knots: Sequence[TimelinePoint], *, since: int, start: int, value_at: Callable[[int, int], int]
) -> tuple[TimelineMove, ...]:
    """Return the up to MARKED biggest changes since an instant, oldest first; of equal changes the newer are returned.

    A missing value counts as *start*, the starting value of the score type, as in the fold. Changes of 0 are left out.
    """
    moves = []
    for before, knot in pairwise([None, *knots]):
        assert knot is not None
        if knot.at < since:
            continue
        rank = None if before is None else before.rank
        moves.append(
            TimelineMove(
                at=knot.at,
                before=None if rank is None else value_at(rank, knot.at),
                after=None if knot.rank is None else value_at(knot.rank, knot.at),
                fact=knot.fact,
            )
        )

    def sort_key(indexed: tuple[int, TimelineMove]) -> tuple[int, int]:
        index, move = indexed
        before, after = (start if value is None else value for value in (move.before, move.after))
        return abs(after - before), index

    biggest = nlargest(MARKED, enumerate(moves), key=sort_key)
    return tuple(moves[index] for index in sorted(index for index, move in biggest if sort_key((index, move))[0]))
