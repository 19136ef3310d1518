"""Compute how scores fade toward their starting value, without writing rows and with exact order and thresholds.

This is forward decay (Cormode, Shkapenyuk, Srivastava, Xu: "Forward decay", ICDE 2009), here without a landmark.
The rank of a fading score is the instant, in µs, at which its distance from the start will be a billionth of a point;
it is negative for a score below the start. The rank changes only when the score is changed. A threshold such as
`score >= 80` is a comparison of the rank with one number, which depends on the time (`bound`).
The rank of a score that does not fade is its distance from the start, in thousandths."""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from math import ceil, exp2, frexp, log2
from typing import Final

from storage.domain.score_types import ScoreType

#: billionths of a point in a thousandth; distances of fading scores are in billionths
BILLIONTHS: Final = 10**6
#: bounds that every rank reaches, and that no rank reaches
EVERY, NONE = -(2**63), 2**63 - 1

_EXACT = Context(prec=40, rounding=ROUND_HALF_EVEN)
_LN_2 = _EXACT.ln(Decimal(2))
# After this many half-lives less than half a billionth is left of the greatest possible distance.
_GONE = 64


def decay_distance(distance: int, *, elapsed: int, half_life: int) -> int:
    """Return the rest of a distance after *elapsed* µs, in billionths of a point, rounded half to even."""
    # Most of the time an estimate is enough, which takes a tenth of the time: until nothing is left, it is off by less
    # than a part in 10¹⁴.
    estimate = distance * exp2(-elapsed / half_life)
    if _is_far_from_half(estimate, error=abs(estimate) * 1e-14):
        return round(estimate)
    return int(_EXACT.to_integral_value(decay_unrounded(distance, elapsed=elapsed, half_life=half_life)))


def decay_unrounded(share: int, *, elapsed: int, half_life: int) -> Decimal:
    """Return the same as `decay_distance` before rounding; *share* may be a part of a distance."""
    if not share or elapsed >= _GONE * half_life:
        return Decimal(0)
    # Divide exactly for whole half-lives: a result halfway between two billionths must stay exactly halfway.
    halvings, rest = divmod(elapsed, half_life)
    left = _EXACT.divide(Decimal(share), Decimal(2**halvings))
    # Use _EXACT for all of it: a unary minus on a Decimal would round it in the thread's current context.
    fading = _EXACT.divide(_EXACT.multiply(_LN_2, Decimal(-rest)), Decimal(half_life))
    return _EXACT.multiply(left, _EXACT.exp(fading))


def fading_rank(distance: int, *, at: int, half_life: int) -> int:
    """Return the rank of a fading score: the instant at which a billionth of a point is left of its distance.

    *distance* is as of *at*, in billionths. The rank is negative for a negative distance, 0 for no distance.
    """
    if not distance:
        return 0
    # As in `decay_distance`. The logarithm of a number from ½ to 1 is off by less than 10⁻¹⁵, the rest is exact.
    part, exponent = frexp(abs(distance))
    estimate = half_life * log2(part)
    if _is_far_from_half(estimate, error=half_life * 1e-15):
        left = half_life * exponent + round(estimate)
    else:
        halvings = _EXACT.divide(_EXACT.ln(Decimal(abs(distance))), _LN_2)
        left = int(_EXACT.to_integral_value(_EXACT.multiply(Decimal(half_life), halvings)))
    instant = at + left
    return instant if distance > 0 else -instant


def _is_far_from_half(estimate: float, *, error: float) -> bool:
    """Return whether a number is rounded like its estimate, from which it differs by less than *error*."""
    return abs(estimate - round(estimate)) < 0.5 - error


def shown(score_type: ScoreType, rank: int, *, now: int) -> int:
    """Return the value of a score with this rank at *now*, in thousandths, rounded to a step of the type."""
    steps = _count_steps(score_type.step, score_type.half_life, _measure_ahead(score_type, rank, now))
    distance = steps * score_type.step
    return score_type.clamp(score_type.start + (distance if rank > 0 else -distance))


def bound(score_type: ScoreType, value: int, *, now: int) -> int:
    """Return the lowest rank that is shown as *value* or more at *now*.

    Returns EVERY if all ranks are, NONE if no rank is.
    """
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
    """Return the instant at which fading carries a score across *value*, or None if it never does.

    From that instant on a score above its start is shown as less than *value*, a score below its start as *value* or
    more. The instant may be in the past.
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
    """Return the instant at which fading takes a score out of its current band, or None if it stays there."""
    bands, value = score_type.bands, shown(score_type, rank, now=now)
    if rank > 0:
        edge = next((band.start for band in reversed(bands) if band.start <= value), None)
    else:
        edge = next((band.start for band in bands if band.start > value), None)
    return None if edge is None else crosses(score_type, rank, edge)


def _measure_ahead(score_type: ScoreType, rank: int, now: int) -> int:
    return abs(rank) - (now if score_type.half_life else 0)


def _count_steps(step: int, half_life: int | None, ahead: int) -> int:
    """Return the number of steps that a distance is shown as; half a step is rounded up."""
    if half_life is None:
        return (2 * ahead + step) // (2 * step)
    if ahead <= 0:
        return 0
    # A float is enough because the result is never stored. The SQL in storage/reading/filter_sql.py computes the same
    # in the same order: change both.
    return int(2.0 ** min(float(ahead) / float(half_life), float(_GONE)) / float(step * BILLIONTHS) + 0.5)


@lru_cache(maxsize=4096)
def _find_least_distance(step: int, half_life: int | None, steps: int) -> int:
    """Return the least distance ahead that is shown as *steps* steps.

    This is the inverse of `_count_steps`, found by searching from an estimate.
    """
    if half_life is None:
        return ((2 * steps - 1) * step + 1) // 2
    ahead = ceil(half_life * log2((steps - 0.5) * step * BILLIONTHS))
    while _count_steps(step, half_life, ahead - 1) >= steps:
        ahead -= 1
    while _count_steps(step, half_life, ahead) < steps:
        ahead += 1
    return ahead
