"""What activities and fields of a contact are worth: points, conditions and caps, in the order of the fold."""

from dataclasses import replace

import pytest

from storage.domain.errors import BadDefinition
from storage.domain.explain import explain
from storage.domain.facts import Activity, Change, Fact, FieldValue, Op
from storage.domain.fold import fold
from storage.domain.rules import check_rules
from storage.domain.score_types import Rule, RuleCap, ScoreType

DAY = 86_400_000_000
MONDAY = 1_767_571_200_000_000  # 2026-01-05, 00:00 UTC
DEMO = Rule(name="Demo", activity="demo_booked", points=10_000)
VISIT = Rule(name="Visit", activity="visit", points=1_000, cap=RuleCap(points=3_000, period="day"))
VIP = Rule(name="VIP", points=20_000, condition="tag:vip")
BIG = Rule(name="Big", points=5_000, condition="attributes.employees>=50 attributes.industry:(software,banking)")
SCORE = ScoreType(
    id=1, definition=1, number=1, key="score", label="Score", minimum=0, maximum=100_000, step=1000, start=0,
    rules=(DEMO, VISIT, VIP, BIG), is_default=True,
)  # fmt: skip  # the numbers of one definition stand together


def activity_fact(activity: str, at: int, *, times: float = 1) -> Activity:
    """Return a fact about an activity that happened *times* times."""
    return Activity(
        source="crm", key=f"{activity}/{at}", occurred_at=at, batch="b", activity=activity, quantity=int(times * 1000)
    )


def field_value(at: int, **fields: object) -> FieldValue:
    """Return a fact that states fields of the contact; `attributes_x` is an attribute."""
    field_values = {name.replace("attributes_", "attributes."): value for name, value in fields.items()}
    return FieldValue(source="crm", key=f"f/{at}", occurred_at=at, batch="b", fields=field_values)  # type: ignore[arg-type]  # JSON


def changed(op: Op, amount: int, at: int) -> Change:
    """Return a change of the score, in points."""
    return Change(source="crm", key=f"c/{at}", occurred_at=at, batch="b", score="score", op=op, amount=amount * 1000)


def values(*facts: Fact, score_type: ScoreType = SCORE) -> list[int | None]:
    """Return the score in points after each fact, in the order of the fold. Fail if an explanation does not add up."""
    results: list[int | None] = []
    ordered = sorted(facts, key=lambda fact: fact.order)
    for count in range(1, len(ordered) + 1):
        state, _ = fold(ordered[:count], score_type)
        value = state.value(score_type, now=ordered[count - 1].occurred_at)
        results.append(None if value is None else value // 1000)
        explanation = explain(ordered[:count], score_type, now=ordered[count - 1].occurred_at, most=50)
        assert (
            None if explanation is None else sum(contribution.effect for contribution in explanation.contributions)
        ) == value
    return results


def test_activities_add_their_points() -> None:
    """An activity adds its points each time, whatever its case; an activity without a rule makes no score."""
    assert values(
        activity_fact("Demo_Booked", 1), activity_fact("demo_booked", 2, times=2.5), activity_fact("left", 3)
    ) == [10, 35, 35]
    assert values(activity_fact("left", 1)) == [None]


def test_points_saturate_at_every_step() -> None:
    """Points of activities saturate at each step, as additions do."""
    assert values(
        activity_fact("demo_booked", 1, times=9), activity_fact("demo_booked", 2, times=3), changed(Op.ADD, -30, 3)
    ) == [
        90,
        100,
        70,
    ]


def test_a_cap_counts_in_the_order_of_the_fold() -> None:
    """A cap counts in the order of the fold, whichever visit arrives first, and its day begins at midnight UTC."""
    visits = [activity_fact("visit", MONDAY + n) for n in range(5)]
    assert values(*visits, activity_fact("visit", MONDAY + DAY - 1), activity_fact("visit", MONDAY + DAY)) == [
        1,
        2,
        3,
        3,
        3,
        3,
        4,
    ]
    state, effects = fold(reversed(visits), SCORE)
    assert state.value(SCORE, now=MONDAY + DAY) == 3_000
    assert [(effect.asked, effect.capped, effect.effective, effect.rule) for _, effect in effects] == [
        (1_000, 0, 1_000, "Visit"), (1_000, 0, 1_000, "Visit"), (1_000, 0, 1_000, "Visit"),
        (1_000, 1_000, 0, "Visit"), (1_000, 1_000, 0, "Visit"),
    ]  # fmt: skip  # one for each visit


@pytest.mark.parametrize(
    ("period", "later", "counts"),
    [
        ("day", DAY, True),
        ("week", 6 * DAY, False),
        ("week", 7 * DAY, True),
        ("month", 26 * DAY, False),
        ("month", 27 * DAY, True),
        ("ever", 4000 * DAY, False),
    ],
)
def test_periods(period: str, later: int, counts: bool) -> None:
    """Caps count per UTC day, per week from Monday, per month, or for all time."""
    rule = replace(VISIT, cap=RuleCap(points=1_000, period=period))
    results = values(
        activity_fact("visit", MONDAY), activity_fact("visit", MONDAY + later), score_type=replace(SCORE, rules=(rule,))
    )
    assert results == [1, 2 if counts else 1]


def test_a_group_shares_its_cap_and_it_holds_downwards_too() -> None:
    """A group shares its cap, which also limits points that are taken away."""
    cap = RuleCap(points=4_000, period="day", group="mail")
    rules = (
        Rule(name="Open", activity="open", points=3_000, cap=cap),
        Rule(name="Bounce", activity="bounce", points=-9_000, cap=cap),
    )
    results = values(
        activity_fact("open", 1),
        activity_fact("open", 2),
        activity_fact("bounce", 3),
        score_type=replace(SCORE, rules=rules, minimum=-10_000),
    )
    assert results == [3, 4, -4]


def test_what_is_known_makes_the_base() -> None:
    """Rules about fields make a base that follows the fields; a set includes the base, and later changes are added."""
    assert values(field_value(1, tags=["VIP"]), field_value(2, tags=[]), field_value(3, tags=["vip", "new"])) == [
        20,
        None,
        20,
    ]
    assert values(field_value(1, tags=["vip"]), activity_fact("demo_booked", 2), field_value(3, tags=[])) == [
        20,
        30,
        10,
    ]
    assert values(
        changed(Op.SET, 50, 1), field_value(2, tags=["vip"]), changed(Op.SET, 50, 3), field_value(4, tags=[])
    ) == [
        50,
        70,
        50,
        30,
    ]
    assert values(field_value(1, tags=["vip"]), changed(Op.SET, 90, 2), changed(Op.CLEAR, 0, 3)) == [20, 90, 20]
    assert values(field_value(1, attributes_employees=50, attributes_industry="Software")) == [5]
    assert values(field_value(1, attributes_employees="49.5", attributes_industry="Software")) == [None]
    assert values(changed(Op.SET, 95, 1), field_value(2, tags=["vip"]), field_value(3, tags=[])) == [95, 100, 95]


def test_several_rules_of_an_activity_are_summed_before_the_range_cuts() -> None:
    """The points of one activity are summed before the range cuts: 95 with +10 and -8 is 97, not 92."""
    less = replace(DEMO, name="Less", points=-8_000)
    assert (
        values(changed(Op.SET, 95, 1), activity_fact("demo_booked", 2), score_type=replace(SCORE, rules=(DEMO, less)))[
            -1
        ]
        == 97
    )
    cap = RuleCap(points=4_000, period="ever", group="both")
    up, down = replace(DEMO, points=5_000, cap=cap), replace(less, points=-3_000, cap=cap)
    ends = [
        values(activity_fact("demo_booked", 1), score_type=replace(SCORE, rules=rules, minimum=-10_000))
        for rules in ((up, down), (down, up))
    ]
    assert ends == [[1], [2]]  # 4 and then 3 off it; 3 off and then 5


def test_points_times_a_quantity_may_be_off_the_step() -> None:
    """Points times a quantity are rounded half to even to thousandths, and only the display rounds to the step."""
    halves = [activity_fact("demo_booked", n, times=0.05) for n in range(1, 4)]
    assert fold(halves, SCORE)[0].rank == 1_500
    assert values(*halves) == [1, 1, 2]
    (effect,) = (
        effect
        for _, effect in fold(
            [activity_fact("third", 1, times=0.125)],
            replace(SCORE, rules=(Rule(name="Third", activity="third", points=20),), step=20, maximum=100),
        )[1]
    )
    assert effect.asked == 2  # of 2.5


def test_the_fields_of_a_fact_count_before_its_change() -> None:
    """The fields of a fact apply before its change, so a set includes a rule about a tag of the same fact."""
    both = replace(changed(Op.SET, 50, 1), fields={"tags": ["vip"]})
    added = replace(changed(Op.ADD, 5, 3), fields={"tags": ["vip"]})
    assert values(both, field_value(2, tags=[]), added) == [50, 30, 55]


def test_a_condition_is_asked_of_what_was_known_then() -> None:
    """A condition is evaluated with the fields at the time of the activity, even if the fact arrives late."""
    rule = replace(DEMO, condition="owner:rep@acme.com OR company:Acme")
    facts = (
        activity_fact("demo_booked", 1),
        field_value(2, company="ACME"),
        activity_fact("demo_booked", 3),
        field_value(4, company="Other"),
        activity_fact("demo_booked", 5),
    )
    assert values(*facts, score_type=replace(SCORE, rules=(rule,))) == [None, None, 10, 10, 10]


def test_a_rule_asks_for_a_band_of_values_and_for_what_is_there() -> None:
    """A rule can test a range of values, both ends included, or presence; its numbers may be larger than a score."""
    rules = (
        replace(VIP, name="Few", points=1_000, condition="attributes.visits:3..5"),
        replace(VIP, name="Large", points=2_000, condition="attributes.revenue>=2000000000.0001"),
        replace(VIP, name="Known", points=4_000, condition='has:attributes."Lead Source"'),
    )
    ruled = replace(SCORE, rules=rules)
    for value, points in ((2.999999, None), (3, 1), ("5", 1), (5.000001, None), ("few", None), ([3], None)):
        assert values(field_value(1, attributes_visits=value), score_type=ruled) == [points]
    for revenue, points in ((2_000_000_000, None), (2_000_000_001, 2), (10**30, 2)):
        assert values(field_value(1, attributes_revenue=revenue), score_type=ruled) == [points]
    for source, points in (("", None), ([], None), (None, None), (0, 4), ("web", 4)):
        assert values(field_value(1, **{"attributes.Lead Source": source}), score_type=ruled) == [points]


MINUTES = Rule(name="Minutes", points=2_000, for_each="attributes.minutes / 5", at_most=10_000)


@pytest.mark.parametrize(
    ("minutes", "points"),
    [
        (0, None), (4.999999, None), (5, 2), ("9.9", 2), (10, 4), (24, 8), (25, 10), (10**9, 10), (10**40, 10),
        (-50, None), ("many", None), (True, None), ([10], None), (None, None), ("", None),
    ],
)  # fmt: skip  # a value, and what it is worth
def test_a_slope_counts_whole_steps_of_an_attribute(minutes: object, points: int | None) -> None:
    """A slope counts whole steps of an attribute up to a limit; negative numbers and other values have no step."""
    assert values(field_value(1, attributes_minutes=minutes), score_type=replace(SCORE, rules=(MINUTES,))) == [points]


def test_a_slope_follows_its_attribute() -> None:
    """The points of a slope follow the attribute up and down; an activity uses the attribute's value at its time."""
    taking = replace(MINUTES, name="Late", points=-1_000, for_each='attributes."days late"', at_most=3_000)
    visiting = replace(MINUTES, name="Visit", points=1_000, activity="visit", at_most=4_000, condition="-tag:no")
    ruled = replace(SCORE, start=50_000, rules=(replace(MINUTES, at_most=None), taking, visiting))
    facts = (
        field_value(1, attributes_minutes=12),
        field_value(2, **{"attributes.days late": 2}),
        activity_fact("visit", 3, times=2),
        field_value(4, attributes_minutes=200, tags=["no"]),
        activity_fact("visit", 5),
        field_value(6, **{"attributes.days late": 7.5}),
        field_value(7, attributes_minutes="?", tags=[]),
        activity_fact("visit", 8),
        field_value(9, attributes_minutes=7),
    )
    assert values(*facts, score_type=ruled) == [54, 52, 56, 100, 100, 100, 51, 51, 53]
    explanation = explain(facts, ruled, now=9, most=50)
    assert explanation is not None
    assert [(line.rule, line.asked // 1000, line.occurred_at) for line in explanation.contributions if line.rule] == [
        ("Minutes", 2, 9),
        ("Late", -3, 6),
        ("Visit", 4, 3),
    ]


def test_an_age_is_that_at_the_instant_of_the_activity() -> None:
    """An age is measured at the instant of the activity; a rule without an activity refuses ages."""
    rule = replace(DEMO, condition="attributes.seen<7d")
    check_rules([rule], SCORE)
    facts = (
        field_value(MONDAY, attributes_seen="2026-01-05"),
        activity_fact("demo_booked", MONDAY + 7 * DAY - 1),
        activity_fact("demo_booked", MONDAY + 7 * DAY),
        field_value(MONDAY + 8 * DAY, attributes_seen="2026-01-12T00:00:00Z"),
        activity_fact("demo_booked", MONDAY + 9 * DAY),
    )
    assert values(*facts, score_type=replace(SCORE, rules=(rule,))) == [None, 10, 10, 10, 20]
    with pytest.raises(BadDefinition, match="only a rule with an activity can check an age"):
        check_rules([replace(rule, activity=None)], SCORE)


def test_what_fades_takes_points_and_no_base() -> None:
    """A fading type has points for activities but no base: a touch a day, halved each day, is 10, 15, 17.5."""
    fading = replace(SCORE, step=500, half_life=DAY, rules=(DEMO,))
    assert values(*(activity_fact("demo_booked", n * DAY) for n in range(3)), score_type=fading) == [10, 15, 17]
    state, _ = fold([activity_fact("demo_booked", n * DAY) for n in range(3)], fading)
    assert state.value(fading, now=2 * DAY) == 17_500
    with pytest.raises(BadDefinition, match="fades"):
        check_rules([VIP], fading)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([DEMO, DEMO], "two rules are called `Demo`"),
        ([replace(DEMO, points=0)], "0 points is not possible: use a multiple of the step 1, except 0"),
        ([replace(DEMO, points=1_500)], "1.5 points is not possible: use a multiple of the step 1"),
        ([replace(DEMO, activity=None)], "needs an activity, or an `if`"),
        ([replace(VIP, cap=RuleCap(points=1_000, period="day"))], "only activities are capped"),
        ([replace(VISIT, cap=RuleCap(points=1_000, period="hour"))], "a cap counts per day, week, month, ever"),
        ([replace(VIP, condition="score>80")], "a rule can only check the contact itself"),
        ([replace(VIP, condition="updated<7d")], "a rule can only check the contact itself"),
        ([replace(VIP, condition="tga:vip")], "Did you mean `tag`?"),
        ([replace(DEMO, name="")], "needs a name"),
        ([replace(MINUTES, for_each="minutes / 5")], "write an attribute and, after a slash, a step of it above 0"),
        ([replace(MINUTES, for_each="attributes.minutes / 0")], "a step of it above 0: attributes.minutes / 5"),
        ([replace(MINUTES, for_each="attributes.minutes * 5")], "write an attribute and, after a slash"),
        ([replace(MINUTES, for_each="")], "needs an activity, or an `if`"),
        ([replace(DEMO, at_most=1_000)], "at_most needs for_each"),
        ([replace(MINUTES, at_most=1_500)], "at_most: 1.5 is not a multiple of the step 1 above 0"),
        ([replace(MINUTES, at_most=0)], "at_most: 0 is not a multiple of the step 1 above 0"),
        (
            [replace(VISIT, name=str(n), cap=RuleCap(points=n * 1000, period="day", group="g")) for n in (1, 2)],
            "must have the same cap",
        ),
    ],
)
def test_rules_that_cannot_be_are_refused(rules: list[Rule], message: str) -> None:
    """Contradictory rules are refused with what to do instead."""
    with pytest.raises(BadDefinition) as error:
        check_rules(rules, SCORE)
    assert message in str(error.value)


PRO = Rule(name="Pro plan", points=10_000, condition="attributes.plan:pro")
FREE = Rule(name="Free address", points=-10_000, condition="email~freemail")


def lines(*facts: Fact, rules: tuple[Rule, ...], start: int = 0, most: int = 50) -> list[str]:
    """Return the lines of an explanation, oldest first: effect and points, rule, and what was cut off by what."""
    explanation = explain(facts, replace(SCORE, rules=rules, start=start), now=DAY, most=most)
    assert explanation is not None
    assert sum(line.effect for line in explanation.contributions) == explanation.value
    return [
        f"{line.effect // 1000} of {line.asked // 1000} {line.rule or line.op}{' ended' if line.ended else ''}"
        f"{f', cap {line.cut_by_cap // 1000}' if line.cut_by_cap else ''}"
        f"{f', range {line.cut_by_range // 1000}' if line.cut_by_range else ''}"
        f"{', rounded' if line.rounded else ''}{', faded' if line.faded else ''}"
        for line in reversed(explanation.contributions)
    ]


def test_each_rule_about_the_contact_has_a_line_of_its_own() -> None:
    """Each rule about the contact has a line, even if one fact made several rules hold or rules cancel each other."""
    both = field_value(1, tags=["vip"], attributes_plan="pro", email="ada@freemail.example")
    assert lines(both, rules=(VIP, PRO, FREE)) == ["20 of 20 VIP", "10 of 10 Pro plan", "-10 of -10 Free address"]
    assert lines(both, rules=(PRO, FREE)) == ["10 of 10 Pro plan", "-10 of -10 Free address"]
    assert lines(both, rules=(PRO, FREE), start=30_000)[0] == "30 of 30 start"
    explanation = explain([field_value(1, tags=["vip"]), both], replace(SCORE, rules=(VIP, PRO)), now=9, most=9)
    assert explanation is not None
    assert {line.rule: line.source for line in explanation.contributions} == {"Pro plan": "crm", "VIP": "crm"}


def test_a_rule_that_ended_is_named_and_the_others_are_not_blamed() -> None:
    """A rule that ended is listed if the value that was set had included it, unless the rule holds again."""
    held = field_value(1, tags=["vip"], attributes_plan="pro")
    gone = field_value(5, tags=[])
    assert lines(held, gone, rules=(VIP, PRO)) == ["10 of 10 Pro plan"]
    assert lines(held, changed(Op.SET, 50, 2), gone, rules=(VIP, PRO)) == ["50 of 50 set", "-20 of -20 VIP ended"]
    again = field_value(6, tags=["vip"])
    assert lines(held, changed(Op.SET, 50, 2), gone, again, rules=(VIP, PRO)) == ["50 of 50 set"]


def test_what_the_range_cut_is_charged_to_what_led_there() -> None:
    """What the range cuts is charged to the change that led beyond it, and is only final if an addition is cut."""
    vip, down = field_value(2, tags=["vip"]), changed(Op.ADD, -20, 3)
    assert lines(changed(Op.SET, 95, 1), vip, rules=(VIP,)) == ["95 of 95 set", "5 of 20 VIP, range 15"]
    assert lines(changed(Op.SET, 95, 1), vip, down, rules=(VIP,)) == [
        "95 of 95 set", "20 of 20 VIP", "-20 of -20 add",
    ]  # fmt: skip  # nothing is cut
    free = field_value(3, email="ada@freemail.example")
    assert lines(changed(Op.SET, 95, 1), vip, free, rules=(VIP, FREE)) == [
        "95 of 95 set", "15 of 20 VIP, range 5", "-10 of -10 Free address",
    ]  # fmt: skip  # a change back into the range is not cut
    up, gone = changed(Op.ADD, 5, 3), field_value(4, tags=[])
    assert lines(changed(Op.SET, 95, 1), vip, up, gone, rules=(VIP,)) == [
        "95 of 95 set", "0 of 5 add, range 5", "-15 of 0 VIP ended, range 15",
    ]  # fmt: skip  # the addition made the cut final
    assert lines(vip, changed(Op.SET, 50, 3), changed(Op.CLEAR, 0, 4), rules=(VIP,)) == ["20 of 20 VIP"]


def test_several_rules_of_one_activity_have_a_line_each_with_its_cap() -> None:
    """Each rule of an activity has a line: a cap cuts its own rule, then the range cuts the last rule."""
    capped = replace(DEMO, name="Capped", points=8_000, cap=RuleCap(points=5_000, period="day"))
    explained = lines(changed(Op.SET, 90, 1), activity_fact("demo_booked", 2), rules=(DEMO, capped))
    assert explained == ["90 of 90 set", "10 of 10 Demo", "0 of 8 Capped, cap 3, range 5"]
    explained = lines(activity_fact("demo_booked", 2), activity_fact("demo_booked", 3), rules=(capped,))
    assert explained == ["5 of 8 Capped, cap 3", "0 of 8 Capped, cap 8"]


def test_months_take_changes_together_but_no_rules() -> None:
    """Older changes are summed by month, and each rule about the contact keeps its own line."""
    adds = [changed(Op.ADD, 1, MONDAY + n * DAY) for n in range(5)]
    explained = lines(field_value(1, tags=["vip"], attributes_plan="pro"), *adds, rules=(VIP, PRO), most=2)
    assert explained == ["20 of 20 VIP", "10 of 10 Pro plan", "3 of 3 month", "1 of 1 add", "1 of 1 add"]
