"""Fold the facts of one contact into a score: apply them in order, fade between them, clamp to the range each time."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from storage.domain.contacts import TEXT_FIELDS, Json
from storage.domain.decay import BILLIONTHS, decay_distance, fading_rank, shown
from storage.domain.facts import BEFORE_ALL, Activity, Change, Fact, FieldOrder, FieldValue, Op, Order
from storage.domain.rules import Spent, compile_rules
from storage.domain.score_types import ScoreType


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreState:
    """The state of a score after a fact: all that is needed to apply the next fact in constant time."""

    #: the distance from *base*, None until a fact sets it or adds to it: in thousandths, in billionths if it fades
    own: int | None = None
    at: int = 0  #: the instant of *own*, in µs
    base: int  #: the starting value plus the points of rules about the contact's fields, in thousandths
    rank: int | None = None  #: orders the scores of one type, see `decay`; None: no score
    spent: Spent = field(default_factory=dict)  #: the points counted against the caps of rules
    last: Order = BEFORE_ALL  #: the last fact that counted

    def value(self, score_type: ScoreType, *, now: int) -> int | None:
        """Return the score as shown at *now*, in thousandths, or None if there is no score."""
        return None if self.rank is None else shown(score_type, self.rank, now=now)

    def distance(self, score_type: ScoreType) -> int:
        """Return the distance of base plus *own* from the starting value, unclamped, in the unit of *own*."""
        return (self.own or 0) + (self.base - score_type.start) * find_unit(score_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a fact did to a score, in thousandths. A missing score counts as the starting value."""

    asked: int | None  #: the points or the value requested, before caps and range; None for clear
    effective: int  #: the change of the shown score
    rank_after: int | None
    capped: int = 0  #: the requested points that the caps of rules took away
    rule: str | None = None  #: the names of the rules that applied, separated by commas
    #: the state of the score after the fact; None in an effect that was loaded
    after: ScoreState | None = field(default=None, compare=False, repr=False)


def make_initial_state(score_type: ScoreType) -> ScoreState:
    """Return the state before any fact."""
    return ScoreState(base=score_type.start)


def apply_fact(
    state: ScoreState, fact: Fact, score_type: ScoreType, fields: Mapping[str, Json] | None = None
) -> tuple[ScoreState, Effect | None]:
    """Apply one fact to a state; return the new state and the effect, or the same state and None.

    The fact must be later than all facts applied before. *fields* are the contact's fields at the fact, the fact's own
    included; they are needed only if rules of the type read fields. So the fields of a fact count before its change:
    `set` makes the value what was asked for under the new base. The points of several rules for one activity are
    summed, and the range then cuts the sum once.
    """
    if not can_change(fact, score_type):
        return state, None
    at, rules, contact_fields = fact.occurred_at, compile_rules(score_type.rules), fields or {}
    before, spent = state.value(score_type, now=at), state.spent
    own = None if state.own is None else decay_own(state, at, score_type)
    points, base_rule_names = rules.compute_base(contact_fields) if rules.reads_fields else (0, ())
    base = score_type.start + points
    requested: int | None = base - state.base
    capped, rule_names = 0, base_rule_names if base != state.base else ()
    is_relevant = isinstance(fact, Change) and fact.score == score_type.key
    match fact:
        case Change(score=score, op=Op.SET, amount=amount) if score == score_type.key:
            own, requested = (score_type.clamp(amount) - base) * find_unit(score_type), amount
        case Change(score=score, op=Op.ADD, amount=amount) if score == score_type.key:
            own, requested = _add_saturating(state, amount, at, base, score_type), amount
        case Change(score=score) if score == score_type.key:
            own, requested = None, None
        case Activity():
            awards, spent = rules.compute_awards(fact, contact_fields, spent)
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
    return after, Effect(asked=requested, effective=change, rank_after=rank, capped=capped, rule=rule, after=after)


def find_unit(score_type: ScoreType) -> int:
    """Return how many units of `ScoreState.own` make a thousandth of a point."""
    return BILLIONTHS if score_type.half_life else 1


def is_rank_enough(score_type: ScoreType) -> bool:
    """Return whether the rank after a fact determines the whole state: nothing fades, no caps, a constant base."""
    return not score_type.half_life and all(rule.activity is not None and rule.cap is None for rule in score_type.rules)


def state_of_rank(rank: int | None, fact: Fact, score_type: ScoreType) -> ScoreState:
    """Return the state after a fact that left this rank. Only for types of `is_rank_enough`.

    Own is clamped so that base plus own is in the range, and the base is the starting value: own equals the rank.
    """
    return ScoreState(own=rank, at=fact.occurred_at, base=score_type.start, rank=rank, last=fact.order)


def _add_saturating(state: ScoreState, amount: int, at: int, base: int, score_type: ScoreType) -> int:
    """Return the own distance at *at* plus *amount* thousandths, clamped so that base plus own is in the range."""
    unit = find_unit(score_type)
    total = decay_own(state, at, score_type) + amount * unit
    lowest, highest = (edge - base for edge in (score_type.minimum, score_type.maximum))
    return min(max(total, lowest * unit), highest * unit)


def decay_own(state: ScoreState, at: int, score_type: ScoreType) -> int:
    """Return `own` as it has faded until *at*, in its own unit; 0 if it is missing."""
    if state.own is None or not score_type.half_life:
        return state.own or 0
    return decay_distance(state.own, elapsed=at - state.at, half_life=score_type.half_life)


def _compute_rank(own: int | None, at: int, base: int, score_type: ScoreType, *, has_value: bool) -> int | None:
    if not has_value:
        return None
    if score_type.half_life:
        return fading_rank(own or 0, at=at, half_life=score_type.half_life)
    return score_type.clamp(base + (own or 0)) - score_type.start


def is_relevant_to(fact: Fact, score_type: ScoreType) -> bool:
    """Return whether a fact is relevant to a score type.

    If any rule of the type reads fields, every fact with fields is relevant. `can_change` is stricter.
    """
    return can_change(fact, score_type) or (compile_rules(score_type.rules).reads_fields and bool(fact.fields))


def can_change(fact: Fact, score_type: ScoreType) -> bool:
    """Return whether a fact may change a score.

    Fields count only if a rule of the type reads one of them. If a rule holds even for a contact of which nothing is
    known, any fact may be the contact's first one, from which on the contact has the score.
    """
    if isinstance(fact, Change) and fact.score == score_type.key:
        return True
    rules = compile_rules(score_type.rules)
    if rules.holds_from_first_fact:
        return isinstance(fact, Change | Activity | FieldValue)
    return (isinstance(fact, Activity) and rules.has_rule_for(fact.activity)) or rules.reads_any_of(fact.fields)


def is_late(fact: Fact, score_type: ScoreType, *, last: Order, known: Mapping[str, tuple[Json, FieldOrder]]) -> bool:
    """Return whether a fact is not later than what was folded already, so that the contact must be folded again.

    *last* is the order of the last fact that the score counted, *known* the current fields of the contact. Conditions
    of rules read the fields as of the fact, so a fact is also late if a field that they read has a newer value.
    A fact with the same time, source and key counts as late, because only the full fold orders the two.
    """
    newest = (known[name][1][:3] for name in compile_rules(score_type.rules).fields_read if name in known)
    return fact.order <= max([last, *newest])


def fold(facts: Iterable[Fact], score_type: ScoreType) -> tuple[ScoreState, list[tuple[Fact, Effect]]]:
    """Fold facts, given in any order; return the final state and each fact that had an effect, in order."""
    folded = list(apply_facts(facts, score_type))
    return folded[-1][1] if folded else make_initial_state(score_type), [(fact, effect) for fact, _, effect in folded]


def fold_ledger(
    ledger: Mapping[int, Fact], score_type: ScoreType, *, undone: Collection[str]
) -> tuple[ScoreState, dict[int, tuple[Fact, Effect]]]:
    """Fold the facts of a ledger without the *undone* batches; return the state and the effects. Keys are row ids.

    `last` of the state is the last fact that had an effect or was undone: an undone fact may be restored, so a fact
    before it must count as late.
    """
    id_of = {(fact.source, fact.key, fact.subject): id for id, fact in ledger.items()}
    state, folded = fold((fact for fact in ledger.values() if fact.batch not in undone), score_type)
    effects = {id_of[fact.source, fact.key, fact.subject]: (fact, effect) for fact, effect in folded}
    orders = (fact.order for id, fact in ledger.items() if id in effects or fact.batch in undone)
    last = max(orders, default=BEFORE_ALL)
    return replace(state, last=last), effects


def apply_facts(facts: Iterable[Fact], score_type: ScoreType) -> Iterator[tuple[Fact, ScoreState, Effect]]:
    """Fold facts; yield each fact that had an effect, the state after it, and the effect."""
    state = make_initial_state(score_type)
    for fact, fields in walk_fields(facts, score_type):
        state, effect = apply_fact(state, fact, score_type, fields)
        if effect is not None:
            yield fact, state, effect


def fold_order(fact: Fact) -> FieldOrder:
    """Return the position of a fact in the fold. No two facts of a contact have the same."""
    return (*fact.order, fact.subject.encode())


def walk_fields(facts: Iterable[Fact], score_type: ScoreType) -> Iterator[tuple[Fact, Mapping[str, Json]]]:
    """Yield facts in the order of the fold, each with the contact's fields after it.

    The fields are empty if no rule of the type reads fields.
    """
    reads_fields = compile_rules(score_type.rules).reads_fields
    fields: dict[str, tuple[Json, FieldOrder]] = {}
    for fact in sorted(facts, key=fold_order):
        fields = fold_fields([fact], fields) if reads_fields else fields
        yield fact, {name: value for name, (value, _) in fields.items()}


def fold_merged_fields(
    facts_of: Mapping[int, Sequence[Fact]], ranks: Mapping[int, int], first_emails: Mapping[int, str]
) -> dict[str, tuple[Json, FieldOrder]]:
    """Fold the fields of merged contacts. Text fields come from the surviving contact if it has them.

    All keys are row ids. *ranks* is the result of `rank_merged_rows`; *first_emails* are the addresses that the rows
    were created with.
    """
    fields = fold_fields([fact for facts in facts_of.values() for fact in facts], {})
    levels = sorted(set(ranks.values()))
    for name in TEXT_FIELDS if len(levels) > 1 else ():
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
    """Return *fields_before* updated with the fields of *facts*, given in any order; the latest value of each wins."""
    fields = dict(fields_before)
    for fact in facts:
        order = fold_order(fact)
        for name, value in fact.fields.items():
            if name not in fields or fields[name][1] <= order:
                fields[name] = (value, order)
    return fields
