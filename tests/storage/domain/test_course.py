"""A timeline has the value of a score at every instant of a span, and the changes that moved it most."""

from hypothesis import given
from hypothesis import strategies as st

from storage.domain.timeline import TimelinePoint, biggest_moves, points

SINCE, UNTIL, START = 1_000, 2_000, 7


def value(rank: int, instant: int) -> int:
    """Return the value of a score that does not fade and starts at seven."""
    return START + rank


def fading(rank: int, instant: int) -> int:
    """Return the value of a score that loses one every hundred microseconds."""
    return max(rank - instant // 100, 0)


def knots(*pairs: tuple[int, int | None]) -> list[TimelinePoint]:
    """Return points from instants and ranks; the facts are numbered in order."""
    return [TimelinePoint(at=at, rank=rank, fact=number) for number, (at, rank) in enumerate(pairs)]


def test_the_values_of_a_span() -> None:
    """A timeline begins with the value before the span, and has missing values and the last change of each instant."""
    followed = points(
        knots((10, 3), (20, 5), (1_200, None), (1_500, 9), (1_700, 1), (1_700, 2), (1_800, 2), (2_001, 8)),
        since=SINCE, until=UNTIL, value_at=value,
    )  # fmt: skip  # a span

    assert followed == ((1_000, 12), (1_200, None), (1_500, 16), (1_700, 9))
    assert points([], since=SINCE, until=UNTIL, value_at=value) == ((1_000, None),)


def test_a_fading_score_is_a_curve() -> None:
    """A fading score is sampled between changes, and right before each change."""
    followed = points(knots((950, 20), (1_450, 30)), since=SINCE, until=UNTIL, value_at=fading)

    assert followed == (
        *((1_000, 10), (1_100, 9), (1_200, 8), (1_300, 7), (1_400, 6)),
        *((1_450, 16), (1_500, 15), (1_600, 14), (1_700, 13), (1_800, 12), (1_900, 11), (2_000, 10)),
    )


def test_a_fading_score_is_looked_at_right_before_a_change() -> None:
    """The value to which a score faded right before a change is part of the timeline."""
    followed = points(
        knots((950, 20), (1_450, 30)), since=SINCE, until=UNTIL, value_at=lambda rank, at: rank - (at >= 1_449)
    )

    assert followed == ((1_000, 20), (1_449, 19), (1_450, 29))


histories = st.lists(st.tuples(st.integers(900, 2_100), st.none() | st.integers(-5, 5)), max_size=30).map(
    lambda pairs: knots(*sorted(pairs, key=lambda pair: pair[0]))
)


@given(histories, st.integers(SINCE, UNTIL))
def test_a_course_is_the_last_change_at_every_instant(history: list[TimelinePoint], instant: int) -> None:
    """The value at any instant is that of the last change up to the instant."""
    drawn_rank = [rank for at, rank in points(history, since=SINCE, until=UNTIL, value_at=value) if at <= instant][-1]
    ranks = [knot.rank for knot in history if knot.at <= instant]

    assert drawn_rank == (None if not ranks or ranks[-1] is None else ranks[-1] + START)


def test_the_biggest_moves() -> None:
    """At most three moves are listed, oldest first; a missing value counts as the start, and no change is no move."""
    history = knots((10, 1), (1_000, 4), (1_100, 4), (1_200, None), (1_300, 2), (1_400, -8), (1_500, -9))
    moves = biggest_moves(history, since=SINCE, start=START, value_at=value)

    assert [(move.at, move.before, move.after, move.fact) for move in moves] == [
        (1_000, 8, 11, 1),
        (1_200, 11, None, 3),
        (1_400, 9, -1, 5),
    ]
    assert biggest_moves(knots((10, 1), (1_100, 1)), since=SINCE, start=START, value_at=value) == ()
    assert biggest_moves([], since=SINCE, start=START, value_at=value) == ()


@given(histories)
def test_no_other_move_is_bigger(history: list[TimelinePoint]) -> None:
    """A move that is left out is no bigger than the listed ones; of equal moves the newer are listed."""
    moves = biggest_moves(history, since=SINCE, start=START, value_at=value)
    ranks = [0, *(knot.rank or 0 for knot in history)]  # a missing value counts as the start, which has rank 0
    sizes = {knot.fact: abs(ranks[place + 1] - ranks[place]) for place, knot in enumerate(history) if knot.at >= SINCE}
    expected = sorted((fact for fact in sizes if sizes[fact]), key=lambda fact: (sizes[fact], fact))[-3:]

    assert [move.fact for move in moves] == sorted(expected)


def test_a_move_of_a_fading_score_is_told_from_what_was_left() -> None:
    """A move of a fading score is measured from the value right before the change."""
    (move, _) = biggest_moves(knots((950, 20), (1_450, 30), (1_500, 31)), since=SINCE, start=0, value_at=fading)

    assert (move.before, move.after) == (6, 16)
