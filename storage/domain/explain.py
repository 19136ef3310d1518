"""Take a score apart into contributions that add up to the number shown, with nothing left over."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby

from storage.domain.decay import BILLIONTHS, decay_unrounded
from storage.domain.facts import Activity, Change, Deed, Fact, Op
from storage.domain.fold import Effect, ScoreState, beginning, own_at, steps
from storage.domain.score_types import ScoreType

#: besides the operations of changes: where adding began, and a month's changes in one
START, MONTH = "start", "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What one change, or a month of them, still makes of a score; *asked* less *cut* less *faded* is *effect*."""

    occurred_at: int | None  #: of the latest one; none for the start
    op: str
    asked: int
    cut: int  #: by the range, and by caps
    faded: int  #: by the half-life, until now
    effect: int
    source: str | None = None
    actor: str | None = None
    reason: str | None = None
    activity: str | None = None
    rule: str | None = None  #: the rules that speak of it, by name
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A score as it is shown, and what it is made of, newest first; the effects add up to the value."""

    value: int
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True, slots=True)
class _Share:
    """A change that counts: what it did, and its part of the distance from the start, as of its time."""

    fact: Fact
    effect: Effect
    distance: int
    is_at_end: bool  #: of the range


def explain(facts: Iterable[Fact], score_type: ScoreType, *, now: int, most: int) -> Explanation | None:
    """Explain a score by the facts that bear on it and stand; none where it is missing.

    The newest *most* changes are told one by one, those before them month by month (UTC);
    the value that was set last, or the start, is always a line of its own.
    """
    state, shares = _collect_shares(facts, score_type)
    value = state.value(score_type, now=now)
    if value is None:
        return None
    lines = _build_lines(shares, score_type, value=value, now=now)
    base, rest = lines[:1], lines[1:]
    if not _is_set(shares[0].fact, score_type):
        base, rest = _build_start_line(score_type), lines
    older, newer = rest[: max(0, len(rest) - most)], rest[max(0, len(rest) - most) :]
    return Explanation(value=value, contributions=tuple(reversed([*base, *_group_by_month(older), *newer])))


def _collect_shares(facts: Iterable[Fact], score_type: ScoreType) -> tuple[ScoreState, list[_Share]]:
    """Fold, keeping what came since the score was last set or cleared."""
    state, shares = beginning(score_type), list[_Share]()
    for fact, after, effect in steps(facts, score_type):
        at = fact.occurred_at
        faded = replace(state, own=None if state.own is None else own_at(state, at, score_type))
        before = faded.distance(score_type) if state.rank is not None else 0
        state = after
        if _is_reset(fact, score_type):
            shares.clear()
            before = 0
        if state.rank is not None:
            distance = state.distance(score_type) - before
            shown = state.value(score_type, now=at)
            shares.append(_Share(fact, effect, distance, shown in (score_type.minimum, score_type.maximum)))
        else:
            shares.clear()
    return state, shares


def _is_reset(fact: Fact, score_type: ScoreType) -> bool:
    """Tell whether what came before a fact counts no more."""
    return isinstance(fact, Change) and fact.score == score_type.key and fact.op is not Op.ADD


def _is_set(fact: Fact, score_type: ScoreType) -> bool:
    return _is_reset(fact, score_type) and isinstance(fact, Change) and fact.op is Op.SET


def _build_lines(shares: Sequence[_Share], score_type: ScoreType, *, value: int, now: int) -> list[Contribution]:
    """Round so that nothing is left over: each line is what the shown sum moves by when its share is added."""
    lines, distance_sum, before = [], Decimal(0), 0
    for share in shares:
        remaining = _decay_share(share, score_type, now)
        distance_sum += remaining
        total = value - score_type.start if share is shares[-1] else _round_to_steps(distance_sum, score_type)
        effect = total - before
        before = total
        is_set = _is_set(share.fact, score_type)
        requested, cut = share.effect.asked or 0, share.effect.capped
        if is_set:
            cut = requested - score_type.clamp(requested)
            effect += score_type.start
        elif share.is_at_end:
            cut = requested - share.effect.effective
        # What has faded away does not count any more; where the sum began is always told.
        if effect or (requested and not score_type.half_life) or is_set or _round_to_steps(remaining, score_type):
            lines.append(
                Contribution(
                    occurred_at=share.fact.occurred_at,
                    op=_get_operation(share.fact, score_type),
                    asked=requested,
                    cut=cut,
                    faded=requested - cut - effect,
                    effect=effect,
                    source=share.fact.source,
                    actor=share.fact.actor,
                    reason=share.fact.reason,
                    activity=share.fact.activity if isinstance(share.fact, Activity) else None,
                    rule=share.effect.rule,
                )
            )
    return lines


def _get_operation(fact: Fact, score_type: ScoreType) -> str:
    if isinstance(fact, Change) and fact.score == score_type.key:
        return fact.op.value
    return Deed.ACTIVITY if isinstance(fact, Activity) else Deed.FIELDS


def _decay_share(share: _Share, score_type: ScoreType, now: int) -> Decimal:
    """Give what is left of a share, in thousandths."""
    if score_type.half_life is None:
        return Decimal(share.distance)
    elapsed = max(0, now - share.fact.occurred_at)
    return decay_unrounded(share.distance, elapsed=elapsed, half_life=score_type.half_life) / BILLIONTHS


def _round_to_steps(distance: Decimal, score_type: ScoreType) -> int:
    """Give a distance as it is shown: in whole steps, a half counting as one more."""
    steps = int(abs(distance) / score_type.step + Decimal("0.5"))
    return steps * score_type.step if distance > 0 else -steps * score_type.step


def _build_start_line(score_type: ScoreType) -> list[Contribution]:
    if not score_type.start:
        return []
    start = score_type.start
    return [Contribution(occurred_at=None, op=START, asked=start, cut=0, faded=0, effect=start)]


def _group_by_month(lines: Sequence[Contribution]) -> list[Contribution]:
    grouped = []
    for _, group in groupby(lines, key=lambda line: _get_month(line.occurred_at or 0)):
        month_lines = list(group)
        if len(month_lines) == 1:
            grouped += month_lines
            continue
        grouped.append(
            Contribution(
                occurred_at=month_lines[-1].occurred_at,
                op=MONTH,
                asked=sum(line.asked for line in month_lines),
                cut=sum(line.cut for line in month_lines),
                faded=sum(line.faded for line in month_lines),
                effect=sum(line.effect for line in month_lines),
                count=len(month_lines),
            )
        )
    return grouped


def _get_month(at: int) -> tuple[int, int]:
    moment = datetime.fromtimestamp(at / 1_000_000, UTC)
    return moment.year, moment.month
