"""A late fact, folded from the stored effects around it, ends as the fold of all facts does."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from random import Random

from storage.domain.contacts import Json
from storage.domain.facts import DAY, Activity, Change, Fact, FieldValue, Op
from storage.domain.fold import fold_fields, fold_ledger, fold_order, is_rank_enough
from storage.domain.late_facts import LateFold, StoredEffect
from storage.domain.score_types import Rule, RuleCap, ScoreType
from tests.counts import report_counts

NOW, HOUR = 1_767_225_600_000_000, DAY // 24
TAGS: tuple[list[Json], ...] = (["vip"], [])
PLAIN = ScoreType(
    id=1, definition=1, number=1, key="score", label="Score", minimum=0, maximum=60_000, step=1_000, start=10_000,
    rules=(Rule(name="Demo", activity="demo", points=9_000),),
)  # fmt: skip  # a range that is left often
CAPPED = (
    Rule(name="Visit", activity="visit", points=2_000, cap=RuleCap(points=5_000, period="day", group="web")),
    Rule(name="Demo", activity="demo", points=3_000, cap=RuleCap(points=5_000, period="day", group="web")),
    Rule(name="Complaint", activity="complaint", points=-4_000, cap=RuleCap(points=9_000, period="month")),
    Rule(name="Complaints", activity="complaint", points=-1_000, cap=RuleCap(points=25_000, period="ever")),
)
FIELDS = (
    Rule(name="Visit", activity="visit", points=2_000, condition="tag:vip"),
    Rule(name="New", points=7_000, condition="-tag:vip"),
    Rule(name="VIP", points=-30_000, condition="tag:vip"),
)
TYPES = {
    "plain": PLAIN,
    "capped": replace(PLAIN, rules=CAPPED),
    "fading": replace(PLAIN, half_life=DAY, minimum=-60_000),
    "fading and capped": replace(PLAIN, half_life=5 * DAY, rules=CAPPED),
    "of fields": replace(PLAIN, rules=FIELDS),
    "of fields and capped": replace(
        PLAIN, rules=(*FIELDS[1:], CAPPED[0], replace(CAPPED[1], condition="tag:vip"), *CAPPED[2:])
    ),
    "of an activity under a condition": replace(PLAIN, rules=FIELDS[:1]),
}


def some_fact(dice: Random, number: int, *, tags: bool) -> Fact:
    """Choose a fact; several may have the same instant. Only with *tags* it may state a field that rules read."""
    common = {
        "source": dice.choice(["crm", "n8n"]), "key": f"{number}", "batch": dice.choice("abcdefgh"),
        "occurred_at": NOW + dice.randrange(20) * 3 * HOUR,
    }  # fmt: skip  # common to all facts
    kind = dice.random()
    if tags and kind < 0.08:
        return FieldValue(**common, fields={"tags": dice.choice(TAGS)})  # type: ignore[arg-type]  # named arguments
    if kind < 0.1:
        return FieldValue(**common, fields={"name": "Ada"})  # type: ignore[arg-type]  # named arguments
    if kind < 0.5:
        activity = dice.choice(["visit", "demo", "complaint", "other"])
        return Activity(**common, activity=activity, quantity=dice.choice([1_000, 2_500, 333]))  # type: ignore[arg-type]  # named arguments
    op = dice.choice([Op.ADD] * 8 + [Op.SET, Op.CLEAR])
    amount = {Op.SET: 20_000, Op.CLEAR: 0}.get(op) if op is not Op.ADD else dice.choice([-9_000, 1_000, 5_000])
    return Change(**common, score=dice.choice(["score", "score", "other"]), op=op, amount=amount)  # type: ignore[arg-type]  # named arguments


def store(
    ledger: Mapping[int, Fact], score_type: ScoreType, *, undone: Collection[str], saved: Collection[int]
) -> list[StoredEffect]:
    """Return the effects of a ledger in the order of the fold; those of *saved* facts carry their states."""
    _, effects = fold_ledger(ledger, score_type, undone=undone)
    stored = [
        StoredEffect(
            fact_id=id, fact=fact, effect=replace(effect, after=None), after=effect.after if id in saved else None
        )
        for id, (fact, effect) in effects.items()
    ]
    return sorted(stored, key=lambda effect: fold_order(effect.fact))


def run(fold: LateFold, stored: list[StoredEffect], *, sizes: Random) -> int:
    """Pass a fold its windows, as `storage.ledger.late_facts` does; return the number of effects that it was passed."""
    is_enough = is_rank_enough(fold.score_type)
    known = [
        effect.fact.occurred_at
        for effect in stored
        if effect.fact.occurred_at < fold.since and (is_enough or effect.after)
    ]
    first, since, passed = max(known, default=-1), fold.since, 0
    while not fold.is_finished:
        times = sorted(effect.fact.occurred_at for effect in stored if effect.fact.occurred_at >= since)
        size = sizes.randrange(4)
        last = times[size] if size < len(times) else NOW * 2
        window = [effect for effect in stored if first <= effect.fact.occurred_at <= last]
        fold.add_window(window, is_last=size >= len(times))
        passed += len(window)
        first = since = last + 1
    return passed


def test_late_facts_end_as_the_fold_of_all_facts() -> None:
    """With any facts, snapshots and windows, states and effects are those of the whole fold, or that is asked for."""
    dice, counts = Random(19), Counter[str]()
    for number in range(500):
        name = dice.choice(list(TYPES))
        score_type, undone = TYPES[name], dice.choice([(), ("a",), ("a", "b")])
        ledger = {id: some_fact(dice, id, tags=True) for id in range(1, dice.randrange(2, 50))}
        if dice.random() < 0.7:  # else the fields change at any time
            ledger = {
                id: fact for id, fact in ledger.items() if "tags" not in fact.fields or fact.occurred_at < NOW + DAY
            }
        new = {id: some_fact(dice, id, tags=False) for id in range(101, 101 + dice.choice([1, 1, 2, 5]))}
        new = {id: replace(fact, batch="new") for id, fact in new.items()}
        saved = [id for id in ledger if dice.random() < 0.3]
        stored = store(ledger, score_type, undone=undone, saved=saved)
        fields = fold_fields([fact for fact in ledger.values() if fact.batch not in undone], {})
        reads_fields = any(rule.condition for rule in score_type.rules)
        fold = LateFold(
            score_type,
            new,
            stored=fold_ledger(ledger, score_type, undone=undone)[0],
            fields={field: value for field, (value, _) in fields.items()},
            fields_since=fields["tags"][1][0] if reads_fields and "tags" in fields else -1,
        )
        passed = run(fold, stored, sizes=dice)
        state, effects = fold_ledger(ledger | new, score_type, undone=undone)
        counts[f"{name}: {'whole' if fold.needs_ledger else 'from a state'}"] += 1
        if fold.needs_ledger:
            continue
        merged = {effect.fact_id: (effect.fact, effect.effect) for effect in stored} | fold.effects
        states = {effect.fact_id: effect.after for effect in stored if effect.after is not None}
        states |= {id: effect.after for id, (_, effect) in fold.effects.items() if effect.after is not None}

        assert (fold.state, merged) == (state, effects), (number, name)
        assert {id: effects[id][1].after for id in states} == states, (number, name)
        counts["effects that were not passed"] += max(len(stored) - passed, 0)

    report_counts("late facts", dict(sorted(counts.items())))
    assert all(counts[f"{name}: from a state"] > 25 for name in TYPES)
    assert counts["effects that were not passed"] > 1_000


def test_fields_that_changed_at_the_instant_of_the_state_need_the_ledger() -> None:
    """At the instant of the stored state, facts before a change of fields are not folded with the fields after it."""
    rules = (
        Rule(name="Visit", activity="visit", points=2_000, condition="-tag:vip"),
        Rule(name="VIP", activity="visit", points=5_000, condition="tag:vip"),
    )
    score_type = replace(PLAIN, rules=rules, half_life=DAY)
    visit = Activity(source="crm", key="1", occurred_at=NOW, batch="b", activity="visit")
    tags = FieldValue(source="crm", key="3", occurred_at=NOW, batch="b", fields={"tags": ["vip"]})
    ledger = {1: visit, 2: replace(visit, key="2"), 3: tags, 4: replace(visit, key="4", occurred_at=NOW + HOUR)}
    late = replace(visit, key="5", occurred_at=NOW + 1)
    for fields_since, needs_ledger in ((NOW, True), (NOW - 1, False)):
        fold = LateFold(
            score_type, {5: late}, stored=fold_ledger(ledger, score_type, undone=())[0],
            fields={"tags": ["vip"]}, fields_since=fields_since,
        )  # fmt: skip  # the score, then its fields
        run(fold, store(ledger, score_type, undone=(), saved=[1]), sizes=Random(1))
        assert fold.needs_ledger == needs_ledger
