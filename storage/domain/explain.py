"""Explain a score: split it into contributions that add up exactly to the value shown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from itertools import groupby

from storage.domain.decay import BILLIONTHS, decay_unrounded
from storage.domain.facts import Activity, Change, Deed, Fact, Op
from storage.domain.fold import (
    ScoreState,
    apply_fact,
    can_change,
    decay_own,
    find_unit,
    make_initial_state,
    walk_fields,
)
from storage.domain.rules import compile_rules
from storage.domain.score_types import Rule, ScoreType

#: operations of contributions besides those of changes: the starting value, and the changes of one month together
START, MONTH = "start", "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """The part of a score that one change, one rule, or the changes of one month contribute, in thousandths.

    *effect* is *asked* minus *cut_by_cap*, *cut_by_range*, *rounded* and *faded*; each has the sign of what it removed.
    """

    occurred_at: int | None  #: of the latest change; None for the starting value
    op: str
    asked: int
    effect: int
    cut_by_cap: int = 0
    cut_by_range: int = 0
    rounded: int = 0  #: removed or added by rounding to the step of the type
    faded: int = 0  #: lost by decay until now
    source: str | None = None
    actor: str | None = None
    reason: str | None = None
    activity: str | None = None
    rule: str | None = None  #: the name of the rule that awarded the points
    ended: bool = False  #: the rule is a field rule that no longer holds
    count: int = 1

    @property
    def cut(self) -> int:
        """The amount that caps and the range removed together."""
        return self.cut_by_cap + self.cut_by_range


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A score as shown, and its contributions, newest first. The effects add up to the value."""

    value: int
    contributions: tuple[Contribution, ...]


@dataclass(slots=True, kw_only=True, eq=False)
class _Line:
    """A contribution while the ledger is read. *range_cut* is in the unit of `ScoreState.own`."""

    fact: Fact
    op: str
    asked: int
    cut_by_cap: int = 0
    range_cut: int = 0
    rule: str | None = None
    ended: bool = False

    def share(self, score_type: ScoreType) -> int:
        """Return how far the line moved the score from the start at its instant, in the unit of *range_cut*."""
        start = score_type.start if self.op == Op.SET else 0
        return (self.asked - start - self.cut_by_cap) * find_unit(score_type) - self.range_cut


def explain(facts: Iterable[Fact], score_type: ScoreType, *, now: int, most: int) -> Explanation | None:
    """Explain a score by the facts that bear on it and are not undone. Return None if the score is missing.

    Only facts since the score was last set or cleared count; a value that was set includes the field rules that held
    then. Each field rule has one line, dated when the rule began to hold or stopped holding. The newest *most* changes
    have a line each; older changes share one line per month (UTC). The last set value, or the starting value, always
    has its own line.
    """
    state, lines = _collect_lines(facts, score_type)
    value = state.value(score_type, now=now)
    if value is None:
        return None
    contributions = _build_contributions(lines, score_type, value=value, now=now)
    first: list[Contribution] = []
    if contributions and contributions[0].op == Op.SET:
        first, contributions = contributions[:1], contributions[1:]
    elif score_type.start:
        first = [Contribution(occurred_at=None, op=START, asked=score_type.start, effect=score_type.start)]
    rules = [line for line in contributions if line.op == Deed.FIELDS]
    changes = [line for line in contributions if line.op != Deed.FIELDS]
    older, newer = changes[: max(0, len(changes) - most)], changes[max(0, len(changes) - most) :]
    rest = sorted([*rules, *_group_by_month(older), *newer], key=lambda line: line.occurred_at or 0)
    return Explanation(value=value, contributions=tuple(reversed([*first, *rest])))


def _collect_lines(facts: Iterable[Fact], score_type: ScoreType) -> tuple[ScoreState, list[_Line]]:
    """Fold the facts. Return the state, and the lines since the score was last set, cleared or missing, in order."""
    state, rules, lines = make_initial_state(score_type), compile_rules(score_type.rules), list[_Line]()
    holding: dict[str, tuple[Rule, Fact]] = {}  # field rules that hold, each with the fact since which it holds
    for fact, fields in walk_fields(facts, score_type):
        if not can_change(fact, score_type):
            continue
        before = holding
        holding = {rule.name: (rule, fact) for rule in rules.list_base_rules(fields)}
        holding |= {name: held for name, held in before.items() if name in holding and holding[name][0] == held[0]}
        _change_rules(lines, before, holding, fact)
        after, effect = apply_fact(state, fact, score_type, fields)
        match fact:
            case Change(score=score, op=Op.SET, amount=amount) if score == score_type.key:
                cut = (amount - score_type.clamp(amount)) * find_unit(score_type)
                lines = [_Line(fact=fact, op=Op.SET, asked=amount, range_cut=cut)]
            case Change(score=score, op=Op.CLEAR) if score == score_type.key:
                lines = []
                _change_rules(lines, {}, holding, fact)
            case Change(score=score, amount=amount) if score == score_type.key:
                _add(lines, [_Line(fact=fact, op=Op.ADD, asked=amount)], state, after, score_type)
            case Activity() if effect is not None:
                awards, _ = rules.compute_awards(fact, fields, state.spent)
                activity_lines = [
                    _Line(fact=fact, op=Deed.ACTIVITY, asked=points, cut_by_cap=points - allowed, rule=rule.name)
                    for rule, points, allowed in awards
                ]
                _add(lines, activity_lines, state, after, score_type)
        state = after
        if state.rank is None:
            lines = []
    if not score_type.half_life:
        distance = state.distance(score_type)
        _cut_by_range(lines, distance - (score_type.clamp(score_type.start + distance) - score_type.start), score_type)
    return state, lines


def _change_rules(
    lines: list[_Line], before: Mapping[str, tuple[Rule, Fact]], after: Mapping[str, tuple[Rule, Fact]], fact: Fact
) -> None:
    """Move the lines of field rules that a fact started, ended or changed to the end of *lines*.

    A rule without any net points has no line.
    """
    changes = [(rule, fact, -rule.points) for name, (rule, _) in before.items() if before[name] != after.get(name)]
    changes += [(rule, since, rule.points) for name, (rule, since) in after.items() if after[name] != before.get(name)]
    for rule, since, points in changes:
        line = next((line for line in lines if line.op == Deed.FIELDS and line.rule == rule.name), None)
        if line is None:
            line = _Line(fact=since, op=Deed.FIELDS, asked=0, rule=rule.name)
        else:
            lines.remove(line)
        line.fact, line.asked, line.ended = since, line.asked + points, rule.name not in after
        if line.asked or line.range_cut:
            lines.append(line)


def _add(
    lines: list[_Line], new_lines: Sequence[_Line], before: ScoreState, after: ScoreState, score_type: ScoreType
) -> None:
    """Append the lines of a fact that adds to the score. What the range cuts at that time is lost permanently."""
    at, shares = after.at, sum(line.share(score_type) for line in new_lines)
    own = None if before.own is None else decay_own(before, at, score_type)
    distance = replace(before, own=own, base=after.base).distance(score_type)
    lines += new_lines
    _cut_by_range(lines, distance + shares - after.distance(score_type), score_type)


def _cut_by_range(lines: Sequence[_Line], excess: int, score_type: ScoreType) -> None:
    """Charge *excess*, the part beyond the range, to the newest lines in its direction.

    *excess* is in the unit of `ScoreState.own`. The lines since the set value or the start always cover the excess,
    because both are within the range.
    """
    for line in reversed(lines):
        share = line.share(score_type)
        if line.op != Op.SET and (share > 0) == (excess > 0):
            taken = min(share, excess, key=abs)
            line.range_cut += taken
            excess -= taken
        if not excess:
            return


def _build_contributions(lines: Sequence[_Line], score_type: ScoreType, *, value: int, now: int) -> list[Contribution]:
    """Round the lines to whole steps that add up to the value, with the losses of each.

    Lines that decayed away are left out.
    """
    shares = [_decay_share(line, score_type, now) for line in lines]
    effects = _round_to_steps(shares, (value - score_type.start) // score_type.step, score_type.step)
    contributions, unit = [], find_unit(score_type)
    for line, share, effect in zip(lines, shares, effects, strict=True):
        has_faded_away = score_type.half_life and not effect and 2 * abs(share) < score_type.step
        if line.op != Op.SET and (has_faded_away or not (line.asked or line.range_cut)):
            continue
        cut_by_range, faded = (
            round(Fraction(line.range_cut, unit)),
            round(Fraction(line.share(score_type), unit) - share),
        )
        start = score_type.start if line.op == Op.SET else 0
        rest = line.asked - line.cut_by_cap - cut_by_range - (start + effect)
        # Less than a thousandth may remain between decay and the range cut: it counts as rounding if the line was
        # rounded.
        rounded = rest - faded if share != effect else 0
        contributions.append(
            Contribution(
                occurred_at=line.fact.occurred_at,
                op=line.op,
                asked=line.asked,
                effect=start + effect,
                cut_by_cap=line.cut_by_cap,
                cut_by_range=cut_by_range,
                rounded=rounded,
                faded=rest - rounded,
                source=line.fact.source,
                actor=line.fact.actor,
                reason=line.fact.reason,
                activity=line.fact.activity if line.op == Deed.ACTIVITY and isinstance(line.fact, Activity) else None,
                rule=line.rule,
                ended=line.ended,
            )
        )
    return contributions


def _decay_share(line: _Line, score_type: ScoreType, now: int) -> Fraction:
    """Return what remains of a line after decay, in thousandths, before rounding."""
    share = line.share(score_type)
    if score_type.half_life is None:
        return Fraction(share)
    elapsed = max(0, now - line.fact.occurred_at)
    return Fraction(decay_unrounded(share, elapsed=elapsed, half_life=score_type.half_life)) / BILLIONTHS


def _round_to_steps(shares: Sequence[Fraction], total: int, step: int) -> list[int]:
    """Round shares to *total* whole steps altogether. The shares nearest to the next step up are rounded up.

    A share on a step stays unchanged, and every other share moves by less than a step.
    """
    steps = [share // step for share in shares]
    off_step = [index for index, share in enumerate(shares) if share % step]
    off_step.sort(key=lambda index: shares[index] % step, reverse=True)
    for index in off_step[: max(0, total - sum(steps))]:
        steps[index] += 1
    return [count * step for count in steps]


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
                effect=sum(line.effect for line in month_lines),
                cut_by_cap=sum(line.cut_by_cap for line in month_lines),
                cut_by_range=sum(line.cut_by_range for line in month_lines),
                rounded=sum(line.rounded for line in month_lines),
                faded=sum(line.faded for line in month_lines),
                count=len(month_lines),
            )
        )
    return grouped


def _get_month(at: int) -> tuple[int, int]:
    moment = datetime.fromtimestamp(at / 1_000_000, UTC)
    return moment.year, moment.month
