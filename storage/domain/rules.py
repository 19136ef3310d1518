"""Evaluate scoring rules: the points of an activity, and the points of a contact's fields, in a score type."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

from storage.domain.contacts import ATTRIBUTE, TEXT_FIELDS, Json
from storage.domain.errors import BadDefinition
from storage.domain.facts import Activity
from storage.domain.filters import BadFilter, Candidate, parse
from storage.domain.filters.terms import Term, asked_fields
from storage.domain.numbers import LARGEST, THOUSAND, read_millionths, show
from storage.domain.score_types import Rule, RuleCap, ScoreType
from storage.domain.texts import match_key

NAME = re.compile(r"[^\s\0][^\0\n]{0,79}")
MOST_RULES = 200
_SLOPE = re.compile(
    r"(?i:attributes)\.(?:(?P<name>[\w.-]*\w)|[\"“„](?P<quoted>[^\"“”„]+)[\"“”])\s*(?:/\s*(?P<step>\d+(?:\.\d+)?))?"
)


class Period(StrEnum):
    """The period of a cap: UTC day, ISO week, month, or forever."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    EVER = "ever"


#: (rule, points before its cap, points after its cap), in thousandths
Award = tuple[Rule, int, int]
#: cap → (start of its current period as a day number, points spent in it, in thousandths)
Spent = Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Slope:
    """A rule's `for_each`: its points count once for each whole step of an attribute."""

    field: str
    step: int  #: in millionths

    def count_steps(self, fields: Mapping[str, Json]) -> int:
        """Return the number of whole steps in the attribute; 0 if it is negative or not a number."""
        return max(read_millionths(fields.get(self.field)) or 0, 0) // self.step


@dataclass(frozen=True, slots=True)
class CompiledRules:
    """The compiled rules of one definition. A field rule is a rule without an activity."""

    field_rules: tuple[Rule, ...] = ()
    #: match key of an activity → its rules
    activity_rules: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    conditions: Mapping[str, Term] = field(default_factory=dict)
    slopes: Mapping[str, Slope] = field(default_factory=dict)
    fields_read: frozenset[str] = frozenset()  #: the fields that the conditions and slopes read
    #: whether a field rule holds for a contact without any fields (`-tag:vip`): the contact's first fact,
    #: of any kind, then creates a score
    holds_from_first_fact: bool = False

    @property
    def reads_fields(self) -> bool:
        """Whether rules read fields, so that a field value may change the score."""
        return bool(self.conditions or self.slopes)

    def has_rule_for(self, activity: str) -> bool:
        """Return whether a rule awards points for an activity."""
        return bool(self.activity_rules) and match_key(activity) in self.activity_rules

    def reads_any_of(self, fields: Collection[str]) -> bool:
        """Return whether a change of these fields may change the score of a contact that already has facts."""
        return not self.fields_read.isdisjoint(fields)

    def compute_base(self, fields: Mapping[str, Json]) -> tuple[int, tuple[str, ...]]:
        """Return the total points of the field rules that hold, in thousandths, and the names of these rules."""
        matching = self.list_base_rules(fields)
        return sum(rule.points for rule in matching), tuple(rule.name for rule in matching)

    def list_base_rules(self, fields: Mapping[str, Json]) -> list[Rule]:
        """Return the field rules that hold, each with its points multiplied by the steps of its attribute."""
        rules = (rule for rule in self.field_rules if self._is_met(rule, fields, 0))
        return [worth for rule in rules if (worth := self._multiply_by_steps(rule, fields)).points]

    def compute_awards(self, activity: Activity, fields: Mapping[str, Json], spent: Spent) -> tuple[list[Award], Spent]:
        """Return the points of an activity, rule by rule, and the updated spending of the caps.

        Points times quantity are rounded half to even to thousandths. They need not be a multiple of the type's step:
        only the shown value is rounded to the step. Rules that share a cap spend it in the order of the rules.
        """
        awarded, now_spent = list[Award](), dict(spent)
        for rule in self.activity_rules.get(match_key(activity.activity), ()):
            if not self._is_met(rule, fields, activity.occurred_at):
                continue
            rule = self._multiply_by_steps(rule, fields)
            if not rule.points:
                continue
            points = _multiply_thousandths(rule.points, activity.quantity)
            allowed = points
            if rule.cap is not None:
                name, period_start = (
                    rule.cap.group or rule.name,
                    _find_period_start(rule.cap.period, activity.occurred_at),
                )
                spent_before = now_spent.get(name, (period_start, 0))
                used = spent_before[1] if spent_before[0] == period_start else 0
                allowed = min(max(used + points, -rule.cap.points), rule.cap.points) - used
                now_spent[name] = (period_start, used + allowed)
            awarded.append((rule, points, allowed))
        return awarded, now_spent

    def _multiply_by_steps(self, rule: Rule, fields: Mapping[str, Json]) -> Rule:
        """Return a rule with its points multiplied by the steps of its attribute, at most *at_most* up or down."""
        slope = self.slopes.get(rule.name)
        if slope is None:
            return rule
        most = LARGEST if rule.at_most is None else rule.at_most
        return replace(rule, points=min(max(rule.points * slope.count_steps(fields), -most), most))

    def _is_met(self, rule: Rule, fields: Mapping[str, Json], at: int) -> bool:
        """Return whether the condition of a rule holds. *at* is the instant that ages are counted to, in µs."""
        condition = self.conditions.get(rule.name)
        return condition is None or condition.matches(build_candidate(fields, at))


#: compiled rules by the id of their tuple, which stays alive here: every fact needs them, and hashing them is slow
_compiled: dict[int, tuple[tuple[Rule, ...], CompiledRules]] = {}
_MOST_COMPILED = 1024


def compile_rules(rules: tuple[Rule, ...]) -> CompiledRules:
    """Compile rules. Raises BadDefinition if a condition or a `for_each` cannot be parsed."""
    compiled = _compiled.get(id(rules))
    if compiled is None:
        if len(_compiled) >= _MOST_COMPILED:
            _compiled.clear()
        compiled = _compiled[id(rules)] = rules, _compile_rules(rules)
    return compiled[1]


@lru_cache(maxsize=1024)
def _compile_rules(rules: tuple[Rule, ...]) -> CompiledRules:
    conditions, slopes = dict[str, Term](), dict[str, Slope]()
    activity_rules = dict[str, tuple[Rule, ...]]()
    for rule in rules:
        if rule.activity is not None:
            key = match_key(rule.activity)
            activity_rules[key] = (*activity_rules.get(key, ()), rule)
        if rule.for_each.strip():
            slopes[rule.name] = _parse_slope(rule)
        if rule.condition.strip():
            try:
                conditions[rule.name] = parse(
                    rule.condition, (), about_fields=True, has_instant=rule.activity is not None
                ).where
            except BadFilter as exc:
                raise BadDefinition(f"rule `{rule.name}`, if: {exc.sentence} (column {exc.column + 1})") from exc
    fields_read = {name for term in conditions.values() for name in asked_fields(term)}
    fields_read |= {slope.field for slope in slopes.values()}
    field_rules = tuple(rule for rule in rules if rule.activity is None)
    compiled = CompiledRules(field_rules, activity_rules, conditions, slopes, frozenset(fields_read))
    return replace(compiled, holds_from_first_fact=bool(compiled.list_base_rules({})))


def _parse_slope(rule: Rule) -> Slope:
    match = _SLOPE.fullmatch(rule.for_each.strip())
    step = read_millionths(match["step"] or 1) if match else None
    if match is None or not step:
        raise BadDefinition(
            f"rule `{rule.name}`, for_each: write an attribute and, after a slash, a step of it above 0:"
            " attributes.minutes / 5"
        )
    return Slope(ATTRIBUTE + (match["name"] or match["quoted"]), step)


def check_rules(rules: Sequence[Rule], score_type: ScoreType) -> None:
    """Validate rules against each other and their score type. Raises BadDefinition."""
    if len(rules) > MOST_RULES:
        raise BadDefinition(f"a score type has at most {MOST_RULES} rules; these are {len(rules)}")
    names = [rule.name for rule in rules]
    for rule in rules:
        if not NAME.fullmatch(rule.name):
            raise BadDefinition("each rule needs a name of 1 to 80 characters")
        if names.count(rule.name) > 1:
            raise BadDefinition(f"two rules are called `{rule.name}`: rename one of them")
        if rule.activity is not None and not NAME.fullmatch(rule.activity):
            raise BadDefinition(f"rule `{rule.name}`: an activity has 1 to 80 characters, for example demo_booked")
        if not rule.points or rule.points % score_type.step:
            step = show(score_type.step)
            raise BadDefinition(
                f"rule `{rule.name}`: {show(rule.points)} points is not possible:"
                f" use a multiple of the step {step}, except 0"
            )
        if rule.activity is None and score_type.half_life:
            raise BadDefinition(
                f"rule `{rule.name}`: {score_type.label} fades, so only rules with an activity can give points"
            )
        if rule.activity is None and not rule.condition.strip() and not rule.for_each.strip():
            raise BadDefinition(f"rule `{rule.name}` needs an activity, or an `if` about the contact")
        if rule.at_most is not None and not rule.for_each.strip():
            raise BadDefinition(
                f"rule `{rule.name}`: at_most needs for_each, which names an attribute; an activity has a cap"
            )
        if rule.at_most is not None and (rule.at_most <= 0 or rule.at_most % score_type.step):
            raise BadDefinition(
                f"rule `{rule.name}`, at_most: {show(rule.at_most)} is not a multiple of the step"
                f" {show(score_type.step)} above 0"
            )
        if rule.cap is not None and (rule.activity is None or rule.cap.points <= 0):
            raise BadDefinition(f"rule `{rule.name}`: only activities are capped, at more than 0 points")
        if rule.cap is not None and rule.cap.period not in list(Period):
            raise BadDefinition(f"rule `{rule.name}`: a cap counts per {', '.join(Period)}")
    _check_groups(rules)
    compile_rules(tuple(rules))


def _check_groups(rules: Sequence[Rule]) -> None:
    """Validate groups: rules that share a cap must state the same cap. Raises BadDefinition."""
    groups: dict[str, RuleCap] = {}
    for rule in rules:
        if (
            rule.cap is not None
            and rule.cap.group is not None
            and groups.setdefault(rule.cap.group, rule.cap) != rule.cap
        ):
            raise BadDefinition(f"the rules of the group `{rule.cap.group}` must have the same cap")
        if rule.cap is not None and rule.cap.group in {other.name for other in rules}:
            raise BadDefinition(f"the group `{rule.cap.group}` has the name of a rule: rename one of them")


def _multiply_thousandths(points: int, quantity: int) -> int:
    """Multiply two numbers in thousandths. A half is rounded to the even neighbor."""
    whole, rest = divmod(points * quantity, THOUSAND)
    return whole + (rest * 2 > THOUSAND or (rest * 2 == THOUSAND and whole % 2 == 1))


def _find_period_start(period: str, at: int) -> int:
    """Return the first day of the period of an instant, as a proleptic Gregorian ordinal; 0 for Period.EVER."""
    day = datetime.fromtimestamp(at // 1_000_000, UTC).date()
    match period:
        case Period.DAY:
            first_day = day
        case Period.WEEK:
            first_day = day - timedelta(days=day.weekday())
        case Period.MONTH:
            first_day = day.replace(day=1)
        case _:
            return 0
    return first_day.toordinal()


def build_candidate(fields: Mapping[str, Json], at: int) -> Candidate:
    """Return a contact with these fields as filters see it at an instant, without an id and without scores."""
    texts: dict[str, Any] = {name: value for name in TEXT_FIELDS if isinstance(value := fields.get(name), str)}
    tags = fields.get("tags")
    return Candidate(
        **texts,
        id=0,
        tags=tuple(str(tag) for tag in tags) if isinstance(tags, list) else (),
        attributes={
            name.removeprefix(ATTRIBUTE): value for name, value in fields.items() if name.startswith(ATTRIBUTE)
        },
        values={},
        now=at,
    )
