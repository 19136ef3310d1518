"""Fold the facts of one contact into a score, fading between them, saturating at the range at every step."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from storage.domain.contacts import Json
from storage.domain.decay import BILLIONTHS, decay_distance, fading_rank, shown
from storage.domain.facts import BEFORE_ALL, Activity, Change, Fact, FieldOrder, Op, Order
from storage.domain.rules import Spent, compile_rules
from storage.domain.score_types import ScoreType

#: The fields that name a contact: of merged contacts those of the contact merged into are shown.
SHOWN_FIELDS = ("email", "name", "company", "owner")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreState:
    """What the fold knows after a fact: enough to take the next one in constant time."""

    #: distance from the base, missing until something was set or added: thousandths, or billionths where it fades
    own: int | None = None
    at: int = 0  #: the instant that *own* is as of
    base: int  #: the starting value and what the rules about the contact itself add, in thousandths
    rank: int | None = None  #: the number that orders scores of one type, see `decay`
    spent: Spent = field(default_factory=dict)  #: what the caps of rules have spent
    last: Order = BEFORE_ALL

    def value(self, score_type: ScoreType, *, now: int) -> int | None:
        """Give the score as it is shown at an instant, in thousandths, or none where it is missing."""
        return None if self.rank is None else shown(score_type, self.rank, now=now)

    def distance(self, score_type: ScoreType) -> int:
        """Give how far base and own part are from the starting value, before the range cuts; in the unit of *own*."""
        return (self.own or 0) + (self.base - score_type.start) * unit_of(score_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a fact did to a score as it is shown. Thousandths; a missing score counts as the starting value."""

    asked: int | None  #: what it was to move by, or to; none for clear
    effective: int
    rank_after: int | None
    capped: int = 0  #: what the caps of its rules took
    rule: str | None = None  #: the rules that speak of it, by name


def beginning(score_type: ScoreType) -> ScoreState:
    """Give the state before any fact."""
    return ScoreState(base=score_type.start)


def step(
    state: ScoreState, fact: Fact, score_type: ScoreType, fields: Mapping[str, Json] | None = None
) -> tuple[ScoreState, Effect | None]:
    """Take one fact that is later than all before it; *fields* is what is known of the contact then, where it matters.

    Raises nothing: a fact that means nothing to this type, as things stand, has no effect and leaves the state alone.
    """
    if not can_move(fact, score_type):
        return state, None
    at, judge, contact_fields = fact.occurred_at, compile_rules(score_type.rules), fields or {}
    before, spent = state.value(score_type, now=at), state.spent
    own = None if state.own is None else own_at(state, at, score_type)
    points, base_rule_names = judge.base(contact_fields) if judge.asks_fields else (0, ())
    base = score_type.start + points
    requested: int | None = base - state.base
    capped, rule_names = 0, base_rule_names if base != state.base else ()
    is_relevant = isinstance(fact, Change) and fact.score == score_type.key
    match fact:
        case Change(score=score, op=Op.SET, amount=amount) if score == score_type.key:
            own, requested = (score_type.clamp(amount) - base) * unit_of(score_type), amount
        case Change(score=score, op=Op.ADD, amount=amount) if score == score_type.key:
            own, requested = _add_saturating(state, amount, at, base, score_type), amount
        case Change(score=score) if score == score_type.key:
            own, requested = None, None
        case Activity():
            awards, spent = judge.awards(fact, contact_fields, spent)
            if awards:
                is_relevant = True
                requested = sum(award for _, award, _ in awards)
                allowed = sum(award for _, _, award in awards)
                capped, rule_names = requested - allowed, tuple(rule.name for rule, _, _ in awards)
                own = _add_saturating(state, allowed, at, base, score_type)
    has_value = own is not None or bool(base_rule_names)
    if not is_relevant and base == state.base and has_value == (state.rank is not None):
        return state, None
    rank = _compute_rank(own, at, base, score_type, has_value=has_value)
    after = ScoreState(own=own, at=at, base=base, rank=rank, spent=spent, last=fact.order)
    value = after.value(score_type, now=at)
    change = (score_type.start if value is None else value) - (score_type.start if before is None else before)
    rule = ", ".join(rule_names) or None
    return after, Effect(asked=requested, effective=change, rank_after=rank, capped=capped, rule=rule)


def unit_of(score_type: ScoreType) -> int:
    """Return how many units of `ScoreState.own` are a thousandth of a point."""
    return BILLIONTHS if score_type.half_life else 1


def _add_saturating(state: ScoreState, amount: int, at: int, base: int, score_type: ScoreType) -> int:
    """Add to the own part, saturating at the range."""
    unit = unit_of(score_type)
    total = own_at(state, at, score_type) + amount * unit
    lowest, highest = (edge - base for edge in (score_type.minimum, score_type.maximum))
    return min(max(total, lowest * unit), highest * unit)


def own_at(state: ScoreState, at: int, score_type: ScoreType) -> int:
    """Give what a later instant finds of the distance from the base; 0 where the score is missing."""
    if state.own is None or not score_type.half_life:
        return state.own or 0
    return decay_distance(state.own, elapsed=at - state.at, half_life=score_type.half_life)


def _compute_rank(own: int | None, at: int, base: int, score_type: ScoreType, *, has_value: bool) -> int | None:
    if not has_value:
        return None
    if score_type.half_life:
        return fading_rank(own or 0, at=at, half_life=score_type.half_life)
    return score_type.clamp(base + (own or 0)) - score_type.start


def bears_on(fact: Fact, score_type: ScoreType) -> bool:
    """Tell whether a fact means something to a score type."""
    if isinstance(fact, Change) and fact.score == score_type.key:
        return True
    judge = compile_rules(score_type.rules)
    return (isinstance(fact, Activity) and judge.bears(fact.activity)) or (judge.asks_fields and bool(fact.fields))


def can_move(fact: Fact, score_type: ScoreType) -> bool:
    """Return whether a fact may move a score; one that only states fields that no rule asks about never does."""
    if isinstance(fact, Change) and fact.score == score_type.key:
        return True
    judge = compile_rules(score_type.rules)
    return (isinstance(fact, Activity) and judge.bears(fact.activity)) or judge.asks_for(fact.fields)


def is_late(fact: Fact, score_type: ScoreType, *, last: Order, known: Mapping[str, tuple[Json, FieldOrder]]) -> bool:
    """Return whether a fact that can move a score comes before, or together with, what is folded already.

    *last* is the order of the last fact that the score has seen, *known* the fields of the contact. The conditions of
    rules read the fields as they stood at the fact: today's are not those where one that they ask about is newer.
    Of two facts with the same time and key the whole fold decides which is first.
    """
    newest = (known[name][1][:3] for name in compile_rules(score_type.rules).fields_read if name in known)
    return fact.order <= max([last, *newest])


def fold(facts: Iterable[Fact], score_type: ScoreType) -> tuple[ScoreState, list[tuple[Fact, Effect]]]:
    """Fold the facts that bear on a score in their order, whatever order they are given in; give what had an effect."""
    folded = list(steps(facts, score_type))
    return folded[-1][1] if folded else beginning(score_type), [(fact, effect) for fact, _, effect in folded]


def fold_ledger(
    ledger: Mapping[int, Fact], score_type: ScoreType, *, undone: Collection[str]
) -> tuple[ScoreState, dict[int, tuple[Fact, Effect]]]:
    """Fold what stands of a ledger, given by row id, as the effects are; batches that are *undone* do not stand.

    The last fact that a score has seen is one that had an effect, or was undone: what is undone may be restored, and
    whatever is stamped from now on comes after it all the same.
    """
    id_of = {(fact.source, fact.key, fact.subject): id for id, fact in ledger.items()}
    state, folded = fold((fact for fact in ledger.values() if fact.batch not in undone), score_type)
    effects = {id_of[fact.source, fact.key, fact.subject]: (fact, effect) for fact, effect in folded}
    orders = (fact.order for id, fact in ledger.items() if id in effects or fact.batch in undone)
    last = max(orders, default=BEFORE_ALL)
    return replace(state, last=last), effects


def steps(facts: Iterable[Fact], score_type: ScoreType) -> Iterator[tuple[Fact, ScoreState, Effect]]:
    """Fold, and yield each fact that had an effect, and the state after it."""
    state = beginning(score_type)
    for fact, fields in walk_fields(facts, score_type):
        state, effect = step(state, fact, score_type, fields)
        if effect is not None:
            yield fact, state, effect


def walk_fields(facts: Iterable[Fact], score_type: ScoreType) -> Iterator[tuple[Fact, Mapping[str, Json]]]:
    """Yield facts in the order of the fold, each with what is known of the contact then, where rules ask about it."""
    reads_fields = compile_rules(score_type.rules).asks_fields
    fields: dict[str, tuple[Json, FieldOrder]] = {}
    for fact in sorted(facts, key=lambda fact: (*fact.order, fact.subject.encode())):
        fields = fold_fields([fact], fields) if reads_fields else fields
        yield fact, {name: value for name, (value, _) in fields.items()}


def fold_merged_fields(
    facts_of: Mapping[int, Sequence[Fact]], ranks: Mapping[int, int], first_emails: Mapping[int, str]
) -> dict[str, tuple[Json, FieldOrder]]:
    """Fold the fields of merged contacts, by row: those that are shown are of the contact merged into, if it has them.

    *ranks* are those of `rank_merged_rows`; *first_emails* the addresses by which rows were made.
    """
    fields = fold_fields([fact for facts in facts_of.values() for fact in facts], {})
    levels = sorted(set(ranks.values()))
    for name in SHOWN_FIELDS if len(levels) > 1 else ():
        for level in levels:
            rows = sorted(row for row in ranks if ranks[row] == level)
            stated = fold_fields([fact for row in rows for fact in facts_of.get(row, ())], {}).get(name)
            first = next((first_emails[row] for row in rows if row in first_emails), None) if name == "email" else None
            if stated is not None and stated[0] is not None:
                fields[name] = stated
                break
            if first is not None:
                fields[name] = (first, (*BEFORE_ALL, b""))
                break
    return fields


def fold_fields(
    facts: Iterable[Fact], fields_before: Mapping[str, tuple[Json, FieldOrder]]
) -> dict[str, tuple[Json, FieldOrder]]:
    """Let the latest value of each field win, whatever order the facts are given in."""
    fields = dict(fields_before)
    for fact in facts:
        order = (*fact.order, fact.subject.encode())
        for name, value in fact.fields.items():
            if name not in fields or fields[name][1] <= order:
                fields[name] = (value, order)
    return fields
