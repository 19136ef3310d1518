"""Each statement of an explanation is true: each line is checked against the ledger."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

from storage.bootstrap import Storage
from storage.db.database import current_database
from storage.domain.contacts import Json, Reference
from storage.domain.explain import MONTH, START, Contribution, Explanation
from storage.domain.facts import Activity, Change, Fact, Item, Merge, Op
from storage.domain.fold import fold
from storage.domain.score_types import Rule, RuleCap, ScoreType
from storage.ledger import facts as ledger_facts
from storage.reading.current_scores import cards_of
from storage.reading.history import why
from storage.scoring.definitions import add_score_type, score_types
from storage.workspaces import add_workspace
from tests.counts import report_counts
from tests.storage.teams import DAY, NOW, Team

WEB = RuleCap(points=5_000, period="day", group="web")
ACTIVITY_RULES = (
    Rule(name="Visit", activity="visit", points=2_000, cap=WEB),
    Rule(name="Visit of VIPs", activity="visit", points=4_000, condition="tag:vip"),
    Rule(name="Click", activity="click", points=3_000, cap=WEB),
    Rule(name="Demo", activity="demo", points=15_000),
    Rule(name="Complaint", activity="complaint", points=-40_000, cap=RuleCap(points=60_000, period="ever")),
)
BASE_RULES = (
    Rule(name="VIP", points=25_000, condition="tag:vip"),
    Rule(name="Student", points=-10_000, condition="tag:student"),
    Rule(name="Acme", points=10_000, condition="company:acme"),
    Rule(name="Other", points=-5_000, condition="company:other"),
    Rule(name="Big", points=60_000, condition="attributes.seats>=10"),
)
#: the rules about the contact, as plain functions
HOLDS: Mapping[str, Callable[[Mapping[str, Json]], bool]] = {
    "VIP": lambda fields: "vip" in (fields.get("tags") or ()),  # type: ignore[operator]  # a list
    "Student": lambda fields: "student" in (fields.get("tags") or ()),  # type: ignore[operator]  # a list
    "Acme": lambda fields: fields.get("company") == "Acme",
    "Other": lambda fields: fields.get("company") == "Other",
    "Big": lambda fields: (fields.get("attributes.seats") or 0) >= 10,  # type: ignore[operator]  # a number
}
FIELDS: Mapping[str, Sequence[Json]] = {
    "tags": (["vip"], ["student"], ["vip", "student"], []),
    "company": ("Acme", "Other", None),
    "attributes.seats": (5, 10, None),
}
PEOPLE, EVENTS = 130, 14


async def test_every_claim_of_320_explanations_is_true(storage: Storage) -> None:
    """The lines of 320 explanations are true, after random histories with rules, caps, fading, merges and undos."""
    team = Team(await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW))
    for key, half_life, rules in (
        ("ruled", None, (*ACTIVITY_RULES, *BASE_RULES)),
        ("started", None, (*BASE_RULES, *ACTIVITY_RULES)),
        ("heat", 7 * DAY, tuple(rule for rule in ACTIVITY_RULES)),
    ):
        await add_score_type(
            team.workspace, key=key, label=key, minimum=-50_000, maximum=100_000, step=1_000, bands=(),
            start=20_000 if key == "started" else 0, half_life=half_life, rules=rules, is_default=False,
            by="U0ADMIN", now=NOW,
        )  # fmt: skip  # the numbers of one definition stand together
    undone = await live_random_lives(team, random.Random(15))
    counts = Counter[str]()
    types = {score_type.key: score_type for score_type in await score_types(team.workspace)}
    rows = await current_database().reader.rows("SELECT id FROM contacts WHERE merged_into IS NULL ORDER BY id")
    cards = await cards_of(team.workspace, ids=[row["id"] for row in rows], now=NOW)
    for card in cards:
        for standing in card.standings:
            score_type = types[standing.score_type.key]
            _, explanation = await why(team.workspace, contact=card.contact.id, score=score_type.key, most=9, now=NOW)
            pair = (card.contact.id, score_type.key)
            ledger = (await ledger_facts.load_ledgers(current_database().reader, {pair: score_type}))[pair]
            facts = sorted(
                (fact for fact in ledger.values() if fact.batch not in undone),
                key=lambda fact: (*fact.order, fact.subject.encode()),
            )
            assert explanation is not None
            assert explanation.value == standing.value
            check_explanation(explanation, facts, score_type, counts)
            counts["scores"] += 1
    report_counts("claims of explanations checked", counts)
    assert counts["scores"] >= 320
    assert min(counts.values()) >= 8, counts


async def live_random_lives(team: Team, dice: random.Random) -> set[str]:
    """Record random events of many contacts. Return the batches that were undone."""
    undone, batches = set[str](), list[str]()
    for number in range(PEOPLE):
        person = Reference(email=f"p{number}@example.com")
        items = list[Item]()
        for event in range(dice.randrange(EVENTS // 2, EVENTS)):
            common = {
                "key": f"{number}/{event}", "contact": person, "occurred_at": NOW - dice.randrange(60 * DAY),
                "fields": {name: dice.choice(FIELDS[name]) for name in FIELDS if dice.random() < 0.3},
            }  # fmt: skip  # common to all items
            if dice.random() < 0.6:
                activity = dice.choice(["visit", "visit", "click", "demo", "complaint"])
                common["occurred_at"] = NOW - dice.choice([3, 4, 30]) * DAY + dice.randrange(DAY)
                items.append(Item(**common, activity=activity, amount=dice.choice([1_000, 1_000, 333, 2_500])))  # type: ignore[arg-type]  # named arguments
            else:
                op = dice.choice([Op.SET, Op.ADD, Op.ADD, Op.ADD, Op.CLEAR])
                amount = 0 if op is Op.CLEAR else dice.randrange(1 if op is Op.ADD else -50, 100) * 1_000
                score = dice.choice(["ruled", "started", "heat"])
                items.append(Item(**common, score=score, op=op, amount=amount))  # type: ignore[arg-type]  # named arguments
        for place in range(0, len(items), 5):
            batch = f"{number}-{place}"
            if dice.random() < 0.5:
                await team.deliver(*items[place : place + 5], batch=batch)
                continue
            await team.ask(*items[place : place + 5], batch=batch)
            batches.append(batch)
        if number % 5 == 1:
            merge = Merge(key=f"m{number}", contact=person, into=Reference(email=f"p{number - 1}@example.com"))
            await team.ask(merge, batch=f"m{number}")
            if number % 10 == 1:
                await team.undo(f"m{number}", batch=f"part{number}")
    for batch in dice.sample(batches, len(batches) // 3):
        await team.undo(batch, batch=f"undo-{batch}")
        undone.add(batch)
    return undone


def check_explanation(
    explanation: Explanation, facts: Sequence[Fact], score_type: ScoreType, counts: Counter[str]
) -> None:
    """Check each statement of each line."""
    lines = explanation.contributions
    assert sum(line.effect for line in lines) == explanation.value
    assert [line.occurred_at or 0 for line in lines] == sorted((line.occurred_at or 0 for line in lines), reverse=True)
    reset = max((index for index, fact in enumerate(facts) if is_reset(fact, score_type)), default=-1)
    since, before = facts[reset + 1 :], facts[: reset + 1]
    last = facts[reset] if reset >= 0 else None
    if lines or not score_type.half_life:  # otherwise everything may have faded away
        check_bottom(lines[-1], last, score_type)
    if not score_type.half_life:
        check_rules(lines, since, before, score_type, counts)
        check_range(lines, facts, score_type)
    for line in lines:
        assert line.asked - line.cut_by_cap - line.cut_by_range - line.rounded - line.faded == line.effect
        assert line.cut == line.cut_by_cap + line.cut_by_range
        counts["lines"] += 1
        for word in ("cut_by_cap", "cut_by_range", "rounded", "faded", "ended"):
            counts[word] += bool(getattr(line, word))
        if line.op == MONTH:
            assert line.count > 1
            counts["months"] += 1
        elif line.op not in (START, "fields"):
            check_change(line, since if line.op != Op.SET else before[-1:], score_type)
    if not score_type.half_life:
        change_count = sum(line.count for line in lines if line.op in (Op.ADD, "activity", MONTH))
        assert change_count == sum(len(list_parts(fact, score_type, facts)) for fact in since)


def is_reset(fact: Fact, score_type: ScoreType) -> bool:
    """Return whether earlier facts no longer count after this fact."""
    return isinstance(fact, Change) and fact.score == score_type.key and fact.op is not Op.ADD


def check_bottom(line: Contribution, last: Fact | None, score_type: ScoreType) -> None:
    """Fail unless the line is the last set value, or else the start if there is one."""
    if isinstance(last, Change) and last.op is Op.SET:
        assert (line.op, line.asked, line.occurred_at) == (Op.SET, last.amount, last.occurred_at)
    elif score_type.start:
        assert (line.op, line.effect, line.occurred_at) == (START, score_type.start, None)
    else:
        assert line.op not in (Op.SET, START)


def find_rules(facts: Sequence[Fact]) -> set[str]:
    """Return the names of the rules that hold after these facts."""
    fields: dict[str, Json] = {}
    for fact in facts:
        fields |= fact.fields
    return {name for name, holds in HOLDS.items() if holds(fields)}


def check_rules(
    lines: Sequence[Contribution],
    since: Sequence[Fact],
    before: Sequence[Fact],
    score_type: ScoreType,
    counts: Counter[str],
) -> None:
    """Fail unless each rule that holds, or ended, since the last set has one line with its points and its instant."""
    holds_now = find_rules([*before, *since])
    contained = find_rules(before) if before and isinstance(before[-1], Change) and before[-1].op is Op.SET else set()
    base_lines = [line for line in lines if line.op == "fields"]
    line_of_rule = {str(line.rule): line for line in base_lines}
    assert len(line_of_rule) == len(base_lines)
    points = {rule.name: rule.points for rule in score_type.rules}
    for name in HOLDS:
        asked = points[name] * ((name in holds_now) - (name in contained))
        assert (line_of_rule[name].asked if name in line_of_rule else 0) == asked
        if name not in line_of_rule:
            continue
        line = line_of_rule[name]
        assert line.ended == (name not in holds_now)
        assert asked or line.cut_by_range  # otherwise there is nothing to report
        everything = [*before, *since]
        (index,) = (
            n
            for n, fact in enumerate(everything)
            if fact.occurred_at == line.occurred_at and fact.source == line.source
        )
        assert (name in find_rules(everything[:index])) != (name in find_rules(everything[: index + 1]))
        assert {name in find_rules(everything[:n]) for n in range(index + 1, len(everything) + 1)} == {not line.ended}
    counts["rules"] += len(line_of_rule)
    counts["cancelling"] += sum(line.asked for line in base_lines) == 0 and bool(base_lines)


def check_range(lines: Sequence[Contribution], facts: Sequence[Fact], score_type: ScoreType) -> None:
    """Fail unless the score without a range would differ by exactly what the lines report as cut by the range."""
    boundless = replace(score_type, minimum=-(10**12), maximum=10**12)
    free, bound = fold(facts, boundless)[0], fold(facts, score_type)[0]
    assert free.rank is not None
    assert bound.rank is not None
    assert sum(line.cut_by_range for line in lines) == free.rank - bound.rank


def list_parts(fact: Fact, score_type: ScoreType, facts: Sequence[Fact]) -> list[tuple[str | None, int]]:
    """Return the parts that a fact asks for: (rule, points)."""
    if isinstance(fact, Change):
        return [(None, fact.amount)] if fact.score == score_type.key else []
    if not isinstance(fact, Activity):
        return []
    rules = [rule for rule in score_type.rules if rule.activity == fact.activity]
    is_vip = "VIP" in find_rules([other for other in facts if other.order <= fact.order])
    return [
        (rule.name, round(Fraction(rule.points * fact.quantity, 1_000)))
        for rule in rules
        if is_vip or not rule.condition
    ]


def check_change(line: Contribution, facts: Sequence[Fact], score_type: ScoreType) -> None:
    """Fail unless the ledger has the change, with the losses by cap, range, rounding and fading of the line."""
    rule = next((rule for rule in score_type.rules if rule.name == line.rule), None)

    def is_claimed(fact: Fact) -> bool:
        if (fact.occurred_at, fact.source, fact.actor, fact.reason) != (
            line.occurred_at, line.source, line.actor, line.reason,
        ):  # fmt: skip  # who and when
            return False
        if isinstance(fact, Activity) and rule is not None:
            points = round(Fraction(rule.points * fact.quantity, 1_000))
            return (line.op, line.activity, rule.activity, line.asked) == ("activity", *[fact.activity] * 2, points)
        return isinstance(fact, Change) and (line.op, line.asked, rule, fact.score) == (
            fact.op, fact.amount, None, score_type.key,
        )  # fmt: skip  # what

    fact = next(filter(is_claimed, facts))
    assert not line.ended
    if line.cut_by_cap:
        assert rule is not None
        assert rule.cap is not None
        day, cap = datetime.fromtimestamp(fact.occurred_at / 1e6, UTC).date(), rule.cap
        assert abs(line.asked - line.cut_by_cap) <= cap.points
        assert line.cut_by_cap * line.asked > 0
        assert cap.period == "ever" or day == datetime.fromtimestamp((line.occurred_at or 0) / 1e6, UTC).date()
    if line.cut_by_range:  # at most all of it
        assert 0 < Fraction(line.cut_by_range, line.asked - line.cut_by_cap) <= 1
    start = score_type.start if line.op == Op.SET else 0
    share = line.asked - start - line.cut_by_cap - line.cut_by_range
    if score_type.half_life:
        left = share * 0.5 ** ((NOW - fact.occurred_at) / score_type.half_life)
        assert abs(line.faded - (share - left)) <= 2
        assert abs(line.rounded) <= score_type.step
    else:
        assert line.faded == 0
        assert abs(line.rounded) < score_type.step
        assert bool(line.rounded) == bool(share % score_type.step)
