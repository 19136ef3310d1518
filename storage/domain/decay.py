"""Let a score fade toward its start without a row being written, and keep order and thresholds exact meanwhile.

This is forward decay (Cormode, Shkapenyuk, Srivastava, Xu: "Forward decay", ICDE 2009), here without a landmark:
the rank of a fading score is the instant at which a billionth of a point will be left of its distance from the start,
so that it changes only with the score, and a threshold is one number that moves with the time in its place.
Of a score that keeps its value the rank is the distance itself, in thousandths."""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from math import ceil, log2
from typing import Final

from storage.domain.score_types import ScoreType

#: billionths of a point in a thousandth: what the fold counts in, where a score fades
BILLIONTHS: Final = 10**6
#: every rank is at least this, and none is as much as that
EVERY, NONE = -(2**63), 2**63 - 1

_EXACT = Context(prec=40, rounding=ROUND_HALF_EVEN)
_LN_2 = _EXACT.ln(Decimal(2))
# After so many half-lives not half a billionth is left of the greatest distance there is.
_GONE = 64


def decay_distance(distance: int, *, elapsed: int, half_life: int) -> int:
    """Give what is left of a distance, in billionths of a point, *elapsed* µs later; rounded half to even."""
    return int(_EXACT.to_integral_value(decay_unrounded(distance, elapsed=elapsed, half_life=half_life)))


def decay_unrounded(share: int, *, elapsed: int, half_life: int) -> Decimal:
    """Give the same of a distance, or of a part of it, before it is rounded."""
    if not share or elapsed >= _GONE * half_life:
        return Decimal(0)
    # Whole half-lives by themselves, exactly: what then stands between two billionths must be seen to stand there.
    halvings, rest = divmod(elapsed, half_life)
    left = _EXACT.divide(Decimal(share), Decimal(2**halvings))
    # All of it in this context: a sign before a decimal would round it in that of whoever else runs in this thread.
    fading = _EXACT.divide(_EXACT.multiply(_LN_2, Decimal(-rest)), Decimal(half_life))
    return _EXACT.multiply(left, _EXACT.exp(fading))


def fading_rank(distance: int, *, at: int, half_life: int) -> int:
    """Give the instant when a billionth of a point is left of a distance as of *at*; negative below the start."""
    if not distance:
        return 0
    halvings = _EXACT.divide(_EXACT.ln(Decimal(abs(distance))), _LN_2)
    instant = at + int(_EXACT.to_integral_value(_EXACT.multiply(Decimal(half_life), halvings)))
    return instant if distance > 0 else -instant


def shown(score_type: ScoreType, rank: int, *, now: int) -> int:
    """Give the value, in thousandths on the type's step, that a score of this rank has at an instant."""
    steps = _count_steps(score_type.step, score_type.half_life, _measure_ahead(score_type, rank, now))
    distance = steps * score_type.step
    return score_type.clamp(score_type.start + (distance if rank > 0 else -distance))


def bound(score_type: ScoreType, value: int, *, now: int) -> int:
    """Give the least rank that is shown as *value* or more at an instant; EVERY or NONE where all are, or none is."""
    steps = -((score_type.start - value) // score_type.step)  # a value off the step counts as the next one
    if value <= score_type.minimum:
        return EVERY
    if score_type.start + steps * score_type.step > score_type.maximum:
        return NONE
    from_when = now if score_type.half_life else 0
    if steps > 0:
        return from_when + _find_least_distance(score_type.step, score_type.half_life, steps)
    return 1 - from_when - _find_least_distance(score_type.step, score_type.half_life, 1 - steps)


def crosses(score_type: ScoreType, rank: int, value: int) -> int | None:
    """Give the instant at which fading carries a score across *value*, from either side; none where it never does.

    A score above its start is less than *value* from then on, one below it is *value* or more.
    """
    if not score_type.half_life:
        return None
    steps = -((score_type.start - value) // score_type.step)
    if rank > 0 and steps > 0:
        return rank - _find_least_distance(score_type.step, score_type.half_life, steps) + 1
    if rank < 0 and steps <= 0:
        return -rank - _find_least_distance(score_type.step, score_type.half_life, 1 - steps) + 1
    return None


def band_until(score_type: ScoreType, rank: int, *, now: int) -> int | None:
    """Give the instant at which fading takes a score out of the band it is in; none where it stays."""
    bands, value = score_type.bands, shown(score_type, rank, now=now)
    if rank > 0:
        edge = next((band.start for band in reversed(bands) if band.start <= value), None)
    else:
        edge = next((band.start for band in bands if band.start > value), None)
    return None if edge is None else crosses(score_type, rank, edge)


def _measure_ahead(score_type: ScoreType, rank: int, now: int) -> int:
    return abs(rank) - (now if score_type.half_life else 0)


def _count_steps(step: int, half_life: int | None, ahead: int) -> int:
    """Count the whole steps that a distance is shown as; a half counts as one more."""
    if half_life is None:
        return (2 * ahead + step) // (2 * step)
    if ahead <= 0:
        return 0
    # A double is enough: nothing of it is kept. The same, in the same order, is the SQL in storage/conditions.py.
    return int(2.0 ** min(float(ahead) / float(half_life), float(_GONE)) / float(step * BILLIONTHS) + 0.5)


@lru_cache(maxsize=4096)
def _find_least_distance(step: int, half_life: int | None, steps: int) -> int:
    """Give the least distance ahead that is shown as so many steps; the inverse of `_count_steps`, by asking it."""
    if half_life is None:
        return ((2 * steps - 1) * step + 1) // 2
    ahead = ceil(half_life * log2((steps - 0.5) * step * BILLIONTHS))
    while _count_steps(step, half_life, ahead - 1) >= steps:
        ahead -= 1
    while _count_steps(step, half_life, ahead) < steps:
        ahead += 1
    return ahead
