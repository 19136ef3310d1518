"""For a score with a half-life, display, filters and sort order agree at every instant."""

from decimal import ROUND_HALF_EVEN, ROUND_UP, Context, Decimal, localcontext
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from storage.domain.decay import BILLIONTHS, EVERY, NONE, band_until, bound, crosses, decay_distance, fading_rank, shown
from storage.domain.errors import BadDefinition
from storage.domain.facts import Change, Op
from storage.domain.fold import ScoreState, apply_fact, fold, make_initial_state
from storage.domain.score_types import Band, ScoreType, check_definition

HOUR = 3_600_000_000
DAY = 24 * HOUR
CENTURY = 36_500 * DAY
NOW = 1_767_225_600_000_000  # 2026-01-01, 00:00 UTC
BIGINT = range(-(2**63), 2**63)
BANDS = (Band(name="cold", start=0), Band(name="warm", start=40_000), Band(name="hot", start=80_000))


def fading(
    *, minimum: int = 0, maximum: int = 100_000, step: int = 1_000, start: int = 0, half_life: int | None = 30 * DAY
) -> ScoreType:
    """Return a score type; numbers are in thousandths, the half-life is in µs."""
    return ScoreType(
        id=1, definition=1, number=1, key="heat", label="Heat", minimum=minimum, maximum=maximum, step=step,
        start=start, half_life=half_life, bands=BANDS if (minimum, maximum) == (0, 100_000) else (),
    )  # fmt: skip  # the numbers of one definition stand together


HEAT = fading()


@st.composite
def types(draw: st.DrawFn) -> ScoreType:
    """Choose any valid type: a half-life from an hour to a century, or none, and up to 10⁹ steps."""
    step = draw(st.sampled_from((1, 7, 500, 1_000, 50_000)))
    steps = draw(st.sampled_from((1, 2, 100, 999, 10**6, min(10**9, 10**12 // step))))
    minimum = -step * draw(st.integers(0, steps))
    start = minimum + step * draw(st.integers(0, steps))
    half_life = draw(st.one_of(st.none(), st.integers(HOUR, CENTURY), st.sampled_from((HOUR, 30 * DAY, CENTURY))))
    return fading(minimum=minimum, maximum=minimum + step * steps, step=step, start=start, half_life=half_life)


@st.composite
def ranks(draw: st.DrawFn, score_type: ScoreType, at: int) -> int:
    """Choose a rank that a score of a type can have after a change at an instant."""
    if score_type.half_life is None:
        return draw(st.integers(score_type.minimum - score_type.start, score_type.maximum - score_type.start))
    lowest, highest = ((end - score_type.start) * BILLIONTHS for end in (score_type.minimum, score_type.maximum))
    own = draw(st.one_of(st.integers(lowest, highest), st.sampled_from((lowest, highest, 0))))
    return fading_rank(own, at=at, half_life=score_type.half_life)


@given(st.data(), types())
def test_what_is_shown_is_what_a_filter_finds_and_how_it_sorts(data: st.DataObject, score_type: ScoreType) -> None:
    """`>= v` holds for the shown value exactly if the rank reaches the bound, and ranks sort as shown values do."""
    at = data.draw(st.integers(0, NOW))  # nothing happened before 1970
    first, second = data.draw(ranks(score_type, at)), data.draw(ranks(score_type, at))
    now = data.draw(st.one_of(st.integers(at, NOW + CENTURY), st.integers(at, at + HOUR)))
    value = data.draw(
        st.one_of(
            st.integers(score_type.minimum - 2, score_type.maximum + 2), st.just(shown(score_type, first, now=now))
        )
    )
    beyond = value + data.draw(st.integers(-score_type.step, score_type.step))

    for limit in (value, beyond):
        assert (shown(score_type, first, now=now) >= limit) == (first >= bound(score_type, limit, now=now))
        assert bound(score_type, limit, now=now) in BIGINT
    assert first in BIGINT
    low, high = sorted((first, second))
    assert shown(score_type, low, now=now) <= shown(score_type, high, now=now)


@given(st.data(), types())
def test_a_value_just_set_is_shown_as_it_was_set(data: st.DataObject, score_type: ScoreType) -> None:
    """Whatever the half-life, a value that was just set is shown exactly as it was set."""
    value = score_type.minimum + score_type.step * data.draw(
        st.integers(0, (score_type.maximum - score_type.minimum) // score_type.step)
    )
    state, effect = apply_fact(make_initial_state(score_type), make_change(Op.SET, value, at=NOW), score_type)
    assert effect is not None

    assert (state.value(score_type, now=NOW), effect.effective) == (value, value - score_type.start)


def test_half_is_left_after_a_half_life() -> None:
    """After a half-life of thirty days 80 is shown as 40; values are shown in whole points, half a point rounded up."""
    rank = fading_rank(80 * 10**9, at=0, half_life=30 * DAY)

    assert [shown(HEAT, rank, now=days * DAY) // 1_000 for days in (0, 15, 30, 60, 90, 180, 300)] == [
        *(80, 57, 40, 20, 10),
        1,  # one and a quarter
        0,
    ]


@given(st.data(), types())
def test_it_is_shown_as_the_half_life_says(data: st.DataObject, score_type: ScoreType) -> None:
    """A shown value is within half a step of the formula, apart from the error of a microsecond."""
    assume(score_type.half_life is not None)
    assert score_type.half_life is not None
    own = (score_type.maximum - score_type.start) * BILLIONTHS
    elapsed = data.draw(st.integers(0, 40 * score_type.half_life))
    with localcontext(prec=60):
        exact = Decimal(own) * Decimal(2) ** (-Decimal(elapsed) / score_type.half_life) / BILLIONTHS / score_type.step
    steps = (
        Decimal(
            shown(score_type, fading_rank(own, at=NOW, half_life=score_type.half_life), now=NOW + elapsed)
            - score_type.start
        )
        / score_type.step
    )

    assert abs(steps - exact) <= Decimal("0.5") + abs(exact) * Decimal("2e-10") + Decimal("1e-9")


def test_the_bounds_at_the_ends_of_the_range() -> None:
    """A bound at or below the minimum fits every scored contact, one above the maximum fits none, others round up."""
    assert [bound(HEAT, value, now=NOW) for value in (-1, 0, 100_001, 99_001)] == [
        EVERY,
        EVERY,
        NONE,
        bound(HEAT, 100_000, now=NOW),
    ]
    plain = fading(half_life=None, minimum=-5_000, maximum=5_000, step=500, start=1_000)
    assert [bound(plain, value, now=NOW) for value in (1_500, 1_200, 1_000, 500, -4_500)] == [
        250,
        250,
        -249,
        -749,
        -5_749,
    ]


@given(st.data(), types())
def test_fading_crosses_an_edge_at_the_instant_it_names(data: st.DataObject, score_type: ScoreType) -> None:
    """A score is on one side of an edge a µs before the predicted instant, and on the other side at the instant."""
    assume(score_type.half_life is not None)
    rank = data.draw(ranks(score_type, NOW))
    edge = score_type.minimum + score_type.step * data.draw(
        st.integers(1, (score_type.maximum - score_type.minimum) // score_type.step)
    )
    instant = crosses(score_type, rank, edge)

    if instant is None:
        later = [NOW, NOW + HOUR, NOW + CENTURY]
        assert len({shown(score_type, rank, now=instant) >= edge for instant in later}) == 1
        assert (shown(score_type, rank, now=NOW) >= edge) == (score_type.start >= edge)
    else:
        before, after = shown(score_type, rank, now=instant - 1) >= edge, shown(score_type, rank, now=instant) >= edge
        assert (before, after) == ((True, False) if rank > 0 else (False, True))


def test_a_band_is_left_toward_the_start() -> None:
    """A score fades downward out of a band above the start, upward out of one below, never out of the start's band."""
    below = ScoreType(
        id=1, definition=1, number=1, key="mood", label="Mood", minimum=-10_000, maximum=10_000, step=1_000, start=0,
        half_life=DAY, bands=(Band(name="bad", start=-10_000), Band(name="fine", start=-3_000)),
    )  # fmt: skip  # the numbers of one definition stand together
    hot, warm, cold = (fading_rank(value * 10**9, at=NOW, half_life=30 * DAY) for value in (100, 50, 20))
    bad, fine = (fading_rank(value * 10**9, at=NOW, half_life=DAY) for value in (-8, -2))
    ends = [band_until(HEAT, rank, now=NOW) for rank in (hot, warm, cold, 0)]

    # 100 is shown as 79 below 79.5, and 50 as 39 below 39.5: log2 of these ratios, times thirty days
    assert [None if end is None else round((end - NOW) / DAY, 4) for end in ends] == [9.9292, 10.2023, None, None]
    assert [band_until(below, rank, now=NOW) is not None for rank in (bad, fine)] == [True, False]
    until = band_until(below, bad, now=NOW)
    assert until is not None
    assert [below.band(shown(below, bad, now=until + less)) for less in (-1, 0)] == ["bad", "fine"]
    assert band_until(fading(half_life=None), 100_000, now=NOW) is None


def make_change(op: Op, amount: int = 0, *, at: int, key: str = "k") -> Change:
    """Return a change of a score."""
    return Change(source="crm", key=key, occurred_at=at, batch="b", score="heat", op=op, amount=amount)


CHANGES = st.lists(
    st.builds(
        lambda op, steps, at, key: make_change(op, steps * 1_000, at=NOW + at, key=key),
        st.sampled_from((Op.SET, Op.ADD, Op.ADD, Op.ADD, Op.CLEAR)),
        st.integers(-60, 120),
        st.one_of(st.integers(0, 3), st.integers(0, 90 * DAY)),
        st.text(max_size=2),
    ),
    unique_by=lambda change: change.order,
)


@given(CHANGES, st.randoms(use_true_random=False), st.sampled_from((HOUR, 30 * DAY, CENTURY)))
def test_one_step_is_worth_a_whole_fold(changes: list[Change], random: Random, half_life: int) -> None:
    """Applying changes one by one in order gives the same score as folding all of them in any order."""
    score_type = fading(minimum=-20_000, start=5_000, half_life=half_life)
    shuffled = list(changes)
    random.shuffle(shuffled)
    state: ScoreState = make_initial_state(score_type)
    effects = []
    for change in sorted(changes, key=lambda change: change.order):
        before = state.value(score_type, now=change.occurred_at)
        state, effect = apply_fact(state, change, score_type)
        assert effect is not None
        effects.append((change, effect))
        after = state.value(score_type, now=change.occurred_at)
        assert effect.effective == (score_type.start if after is None else after) - (
            score_type.start if before is None else before
        )

    assert fold(shuffled, score_type) == (state, effects)


def test_a_score_that_is_touched_all_day_does_not_freeze() -> None:
    """A score that is touched a hundred times a day, or every two seconds, fades as if it were never touched."""
    dice = Random(5)
    often = sorted(NOW + dice.randrange(30 * DAY) for _ in range(3_000))
    every = range(NOW + 2_000_000, NOW + DAY, 2_000_000)
    for times, end, expected in ((often, NOW + 30 * DAY, "50"), (every, NOW + DAY, "97.715996")):
        state, _ = apply_fact(make_initial_state(HEAT), make_change(Op.SET, 100_000, at=NOW), HEAT)
        for number, at in enumerate(times):
            state, _ = apply_fact(state, make_change(Op.ADD, 0, at=at, key=f"{number}"), HEAT)
        assert state.own is not None
        remaining = Decimal(decay_distance(state.own, elapsed=end - state.at, half_life=30 * DAY)) / 10**9

        assert abs(remaining - Decimal(expected)) < Decimal("0.0001")


def test_a_distance_is_rounded_to_the_nearest_billionth() -> None:
    """A distance is rounded to the nearest billionth, equally from both sides, and finally fades to nothing."""
    assert [decay_distance(own, elapsed=2 * HOUR, half_life=HOUR) for own in (1, 3, 5, 7, -1, -3, -5, -7)] == [
        *(0, 1, 1, 2),
        *(0, -1, -1, -2),
    ]
    assert decay_distance(2 * 10**18, elapsed=64 * HOUR, half_life=HOUR) == 0
    assert decay_distance(10**18, elapsed=0, half_life=CENTURY) == 10**18


@pytest.mark.parametrize(
    ("half_life", "maximum", "complaint"),
    [
        (HOUR - 1, 100_000, "a half-life is at least an hour (1h) and at most a hundred years (36500d)"),
        (CENTURY + 1, 100_000, "a half-life is at least an hour (1h) and at most a hundred years (36500d)"),
        (HOUR, 10**9 + 1, "a score with a half-life has at most 1,000,000,000 steps: use a larger step"),
    ],
)
def test_a_half_life_that_cannot_be_kept_is_refused(half_life: int, maximum: int, complaint: str) -> None:
    """A half-life is refused if a billionth of a point could not distinguish neighboring steps."""
    with pytest.raises(BadDefinition) as error:
        check_definition(label="Heat", minimum=0, maximum=maximum, step=1, start=None, bands=(), half_life=half_life)

    assert str(error.value) == complaint


def test_what_stands_between_two_billionths_after_whole_half_lives_goes_to_the_even_one() -> None:
    """A value halfway between two billionths rounds to the even one, equally from above and from below."""
    halves = {1: 0, 3: 2, 5: 2, 7: 4, 2_031_024_207: 1_015_512_104, 40_859_692_455: 20_429_846_228}
    for times in range(1, 30):
        for own, expected in halves.items():
            whole = own << (times - 1)
            assert decay_distance(whole, elapsed=times * DAY, half_life=DAY) == expected
            assert decay_distance(-whole, elapsed=times * DAY, half_life=DAY) == -expected


@given(st.integers(-(10**18), 10**18), st.integers(0, 70 * DAY))
def test_nobody_elses_precision_matters(own: int, elapsed: int) -> None:
    """Results do not depend on the precision of the caller's decimal context."""
    usual = decay_distance(own, elapsed=elapsed, half_life=DAY), fading_rank(own, at=NOW, half_life=DAY)
    with localcontext(prec=5, rounding=ROUND_UP):
        other = decay_distance(own, elapsed=elapsed, half_life=DAY), fading_rank(own, at=NOW, half_life=DAY)

    assert other == usual


def test_what_is_close_to_a_half_is_rounded_exactly() -> None:
    """Distances and ranks are those of exact arithmetic, also where the next float is on the other side of a half."""
    random, exact = Random(7), Context(prec=60)
    ln_2 = exact.ln(2)

    def halve(times: Decimal) -> Decimal:
        return exact.exp(-times * ln_2)

    def count_halvings(number: Decimal) -> Decimal:
        return exact.divide(exact.ln(number), ln_2)

    for _ in range(150):
        instant = Decimal(random.randrange(57 * HOUR, 59 * HOUR)) + Decimal("0.5")
        own = int(exact.divide(1, halve(exact.divide(instant, HOUR)))) + random.randrange(-1, 3)
        rank = exact.multiply(HOUR, count_halvings(Decimal(own))).to_integral_value(ROUND_HALF_EVEN, exact)
        assert [fading_rank(sign * own, at=NOW, half_life=HOUR) for sign in (1, -1)] == [NOW + rank, -NOW - rank]

        own = random.randrange(10**12, 10**13)
        times = count_halvings(exact.divide(own, Decimal(random.randrange(10**11, own)) + Decimal("0.5")))
        elapsed = int(exact.multiply(CENTURY, times)) + random.randrange(-1, 3)
        left = exact.multiply(own, halve(exact.divide(elapsed, CENTURY))).to_integral_value(ROUND_HALF_EVEN, exact)
        assert [decay_distance(sign * own, elapsed=elapsed, half_life=CENTURY) for sign in (1, -1)] == [left, -left]
