"""A course says the value at every instant of a span, and which changes moved it most."""

from hypothesis import given
from hypothesis import strategies as st

from storage.domain.timeline import TimelinePoint, biggest_moves, points

SINCE, UNTIL, START = 1_000, 2_000, 7


def value(rank: int, instant: int) -> int:
    """Let a score keep what its rank says, on a start of seven."""
    return START + rank


def fading(rank: int, instant: int) -> int:
    """Let a score lose one every hundred microseconds."""
    return max(rank - instant // 100, 0)


def knots(*pairs: tuple[int, int | None]) -> list[TimelinePoint]:
    """Write knots by instant and rank; the facts are numbered as they stand."""
    return [TimelinePoint(at=at, rank=rank, fact=number) for number, (at, rank) in enumerate(pairs)]


def test_the_values_of_a_span() -> None:
    """It begins with what there was before, shows what is missing, and of one instant the last change."""
    followed = points(
        knots((10, 3), (20, 5), (1_200, None), (1_500, 9), (1_700, 1), (1_700, 2), (1_800, 2), (2_001, 8)),
        since=SINCE, until=UNTIL, value_at=value,
    )  # fmt: skip  # a span

    assert followed == ((1_000, 12), (1_200, None), (1_500, 16), (1_700, 9))
    assert points([], since=SINCE, until=UNTIL, value_at=value) == ((1_000, None),)


def test_a_fading_score_is_a_curve() -> None:
    """Between changes it is looked at again, and right before one too."""
    followed = points(knots((950, 20), (1_450, 30)), since=SINCE, until=UNTIL, value_at=fading)

    assert followed == (
        *((1_000, 10), (1_100, 9), (1_200, 8), (1_300, 7), (1_400, 6)),
        *((1_450, 16), (1_500, 15), (1_600, 14), (1_700, 13), (1_800, 12), (1_900, 11), (2_000, 10)),
    )


def test_a_fading_score_is_looked_at_right_before_a_change() -> None:
    """What it faded to between the last look and the change is not left out."""
    followed = points(
        knots((950, 20), (1_450, 30)), since=SINCE, until=UNTIL, value_at=lambda rank, at: rank - (at >= 1_449)
    )

    assert followed == ((1_000, 20), (1_449, 19), (1_450, 29))


histories = st.lists(st.tuples(st.integers(900, 2_100), st.none() | st.integers(-5, 5)), max_size=30).map(
    lambda pairs: knots(*sorted(pairs, key=lambda pair: pair[0]))
)


@given(histories, st.integers(SINCE, UNTIL))
def test_a_course_is_the_last_change_at_every_instant(history: list[TimelinePoint], instant: int) -> None:
    """Whatever the changes, the value drawn at an instant is that of the last one not after it."""
    drawn_rank = [rank for at, rank in points(history, since=SINCE, until=UNTIL, value_at=value) if at <= instant][-1]
    ranks = [knot.rank for knot in history if knot.at <= instant]

    assert drawn_rank == (None if not ranks or ranks[-1] is None else ranks[-1] + START)


def test_the_biggest_moves() -> None:
    """Three at most, oldest first; what was missing moved from the start, and nothing is no move."""
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
    """Those that are left out moved it no more than those that are marked; of equal ones the newer are."""
    moves = biggest_moves(history, since=SINCE, start=START, value_at=value)
    ranks = [0, *(knot.rank or 0 for knot in history)]  # missing counts as the start, whose rank is 0
    sizes = {knot.fact: abs(ranks[place + 1] - ranks[place]) for place, knot in enumerate(history) if knot.at >= SINCE}
    expected = sorted((fact for fact in sizes if sizes[fact]), key=lambda fact: (sizes[fact], fact))[-3:]

    assert [move.fact for move in moves] == sorted(expected)


def test_a_move_of_a_fading_score_is_told_from_what_was_left() -> None:
    """Just before the change it was what it had faded to."""
    (move, _) = biggest_moves(knots((950, 20), (1_450, 30), (1_500, 31)), since=SINCE, start=0, value_at=fading)

    assert (move.before, move.after) == (6, 16)
