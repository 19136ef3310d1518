"""Follow one score through a span of time: the values to draw, and what moved it most."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import pairwise
from typing import TypeAlias

#: an instant in µs, and the value from then on in thousandths; none where it is missing
Point: TypeAlias = tuple[int, int | None]
#: between changes a score that fades is looked at so many times in the span
LOOKS = 400
MARKED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelinePoint:
    """What a fact made of a score: its rank from then on, none where it is missing."""

    at: int
    rank: int | None
    fact: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineMove:
    """One change of a score, with the value just before it and the one it left."""

    at: int
    before: int | None
    after: int | None
    fact: int


def points(
    knots: Sequence[TimelinePoint], *, since: int, until: int, value_at: Callable[[int, int], int]
) -> tuple[Point, ...]:
    """Give every value that a score had in a span, from when on; *value_at* tells it of a rank at an instant.

    *knots* are in the order of the fold; one before the span says what the score was when it began.
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
    """Give the changes since an instant that moved a score most, the oldest first; of equal ones the newer count.

    What was missing, or is from then on, moved from or to the *start*, as the fold has it.
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
