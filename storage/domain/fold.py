"""Fold the changes of one contact into a score, fading between them, saturating at the range at every step."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from storage.domain.contacts import Json
from storage.domain.decay import BILLIONTHS, faded, fading_rank, shown
from storage.domain.facts import BEFORE_ALL, Change, Fact, FieldOrder, Op, Order
from storage.domain.score_types import ScoreType


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the fold knows after a fact: enough to take the next one in constant time."""

    #: distance from the base, missing until something was set or added: thousandths, or billionths where it fades
    own: int | None = None
    at: int = 0  #: the instant that *own* is as of
    base: int  #: the starting value, in thousandths
    rank: int | None = None  #: the number that orders scores of one type, see `decay`
    last: Order = BEFORE_ALL

    def value(self, score_type: ScoreType, *, now: int) -> int | None:
        """Give the score as it is shown at an instant, in thousandths, or none where it is missing."""
        return None if self.rank is None else shown(score_type, self.rank, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a change did to a score as it is shown. Thousandths; a missing score counts as the starting value."""

    asked: int | None  #: the amount asked for; none for clear
    effective: int
    rank_after: int | None


def beginning(score_type: ScoreType) -> State:
    """Give the state before any fact."""
    return State(base=score_type.start)


def step(state: State, change: Change, score_type: ScoreType) -> tuple[State, Effect]:
    """Take one change that is later than all before it."""
    at, unit = change.occurred_at, BILLIONTHS if score_type.half_life else 1
    before = state.value(score_type, now=at)
    match change.op:
        case Op.SET:
            own: int | None = (score_type.clamp(change.amount) - state.base) * unit
        case Op.ADD:
            wanted = own_at(state, at, score_type) + change.amount * unit
            lowest, highest = (end - state.base for end in (score_type.minimum, score_type.maximum))
            own = min(max(wanted, lowest * unit), highest * unit)
        case Op.CLEAR:
            own = None
    after = State(own=own, at=at, base=state.base, rank=_rank(own, at, state.base, score_type), last=change.order)
    value = after.value(score_type, now=at)
    moved = (score_type.start if value is None else value) - (score_type.start if before is None else before)
    asked = None if change.op is Op.CLEAR else change.amount
    return after, Effect(asked=asked, effective=moved, rank_after=after.rank)


def own_at(state: State, at: int, score_type: ScoreType) -> int:
    """Give what a later instant finds of the distance from the base; 0 where the score is missing."""
    if state.own is None or not score_type.half_life:
        return state.own or 0
    return faded(state.own, elapsed=at - state.at, half_life=score_type.half_life)


def _rank(own: int | None, at: int, base: int, score_type: ScoreType) -> int | None:
    if own is None:
        return None
    if score_type.half_life:
        return fading_rank(own, at=at, half_life=score_type.half_life)
    return score_type.clamp(base + own) - score_type.start


def fold(changes: Iterable[Change], score_type: ScoreType) -> tuple[State, list[tuple[Change, Effect]]]:
    """Fold changes in their order, whatever order they are given in."""
    state, effects = beginning(score_type), []
    for change in sorted(changes, key=lambda change: change.order):
        state, effect = step(state, change, score_type)
        effects.append((change, effect))
    return state, effects


def fold_fields(
    facts: Iterable[Fact], known: Mapping[str, tuple[Json, FieldOrder]]
) -> dict[str, tuple[Json, FieldOrder]]:
    """Let the latest value of each field win, whatever order the facts are given in."""
    fields = dict(known)
    for fact in facts:
        order = (*fact.order, fact.subject.encode())
        for name, value in fact.fields.items():
            if name not in fields or fields[name][1] <= order:
                fields[name] = (value, order)
    return fields
