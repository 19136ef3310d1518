"""Fold the changes of one contact into a score, saturating at the range at every step."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from storage.domain.contacts import Json
from storage.domain.facts import BEFORE_ALL, Change, Fact, FieldOrder, Op, Order
from storage.domain.score_types import ScoreType


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the fold knows after a fact: enough to take the next one in constant time. Thousandths."""

    own: int | None = None  #: distance from the base; missing until something was set or added
    base: int  #: the starting value
    last: Order = BEFORE_ALL

    def value(self, score_type: ScoreType) -> int | None:
        """Give the score, or none where it is missing."""
        return None if self.own is None else score_type.clamp(self.base + self.own)

    def rank(self, score_type: ScoreType) -> int | None:
        """Give the number that orders scores of one type: the distance from the starting value."""
        value = self.value(score_type)
        return None if value is None else value - score_type.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a change did to a score. Thousandths; a missing score counts as the starting value."""

    asked: int | None  #: the amount asked for; none for clear
    effective: int
    rank_after: int | None


def beginning(score_type: ScoreType) -> State:
    """Give the state before any fact."""
    return State(base=score_type.start)


def step(state: State, change: Change, score_type: ScoreType) -> tuple[State, Effect]:
    """Take one change that is later than all before it."""
    before = state.value(score_type)
    match change.op:
        case Op.SET:
            own: int | None = score_type.clamp(change.amount) - state.base
        case Op.ADD:
            own = score_type.clamp(state.base + (state.own or 0) + change.amount) - state.base
        case Op.CLEAR:
            own = None
    after = State(own=own, base=state.base, last=change.order)
    value = after.value(score_type)
    moved = (score_type.start if value is None else value) - (score_type.start if before is None else before)
    asked = None if change.op is Op.CLEAR else change.amount
    return after, Effect(asked=asked, effective=moved, rank_after=after.rank(score_type))


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
