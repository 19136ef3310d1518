"""An alert rule fires when a score crosses an edge, and its memory decides when it may fire again."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import log2

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage.domain.alerts.kinds import (
    KINDS,
    Cooling,
    Crosses,
    Falls,
    Kind,
    Moves,
    Region,
    Rises,
    Untouched,
    Watch,
)
from storage.domain.alerts.memory import AlertMemory, Decision
from storage.domain.alerts.syntax import AlertWords, read_alert
from storage.domain.alerts.values import BadAlert
from storage.domain.errors import UnknownScoreType
from storage.domain.facts import Change, Op
from storage.domain.fold import ScoreState, apply_fact, make_initial_state
from storage.domain.score_types import Band, ScoreType
from tests.counts import report_counts

DAY = 86_400_000_000
BANDS = (Band(name="cold", start=0), Band(name="warm", start=40_000), Band(name="hot", start=80_000))
SCORE = ScoreType(
    id=1, definition=1, number=1, key="score", label="Score", minimum=0, maximum=100_000, step=1000, start=0,
    bands=BANDS, is_default=True,
)  # fmt: skip  # the numbers of one definition stand together
UP, DOWN, WARM = Region(low=80_000), Region(high=40_000), Region(low=40_000, high=80_000)


def watch(region: Region, *, hold: int = 0, cooldown: int = 0) -> Crosses:
    """Return a rule that watches a region, with a margin of five points."""
    return Crosses(rule=1, score_type=SCORE, region=region, margin=5_000, hold=hold, cooldown=cooldown)


@dataclass
class Story:
    """A rule and its events while a score changes: f fires, c closes, . neither."""

    rule: Crosses
    memory: AlertMemory = field(default_factory=AlertMemory)
    events: str = ""

    def see(self, *points: int | None, at: int = 0) -> str:
        """Evaluate values in points, one after the other, and return all events so far."""
        for value in points:
            thousandths = None if value is None else value * 1000
            decision = self.rule.evaluate_value(self.memory, thousandths, now=at)
            self.memory = decision.memory
            self.events += "f" if decision.fires else "c" if decision.closes else "."
        return self.events


@pytest.mark.parametrize(
    ("region", "values", "events"),
    [
        (UP, (79, 80, 81, 100), ".f.."),  # once, not at every change
        (UP, (85, 76, 85), "f.."),  # between the edge and the re-arm line nothing happens
        (UP, (85, 75, 85), "fcf"),
        (UP, (85, None, 85), "fcf"),  # missing counts as outside
        (UP, (20, None, 0), "..."),
        (DOWN, (41, 40, 39, 12), "..f."),
        (DOWN, (39, 44, 39), "f.."),
        (DOWN, (39, 45, 39), "fcf"),
        (WARM, (39, 40, 79, 80, 60), ".f..."),
        (WARM, (40, 35, 40, 85, 40), "fcfcf"),
        (Region(low=3_000), (3, 0, 3), "fcf"),  # the re-arm line is never beyond the range
        (Region(high=98_000), (97, 100, 97), "fcf"),
    ],
    ids=str,
)
def test_an_edge_fires_once_and_is_armed_by_going_away(
    region: Region, values: tuple[int | None, ...], events: str
) -> None:
    """A rule does not fire again while the score stays inside, and fires again after the score was well outside."""
    assert Story(watch(region)).see(*values) == events


def test_a_firing_within_the_rest_is_spent() -> None:
    """After a crossing within the cool-down, the score must leave and return later for the rule to fire again."""
    story = Story(watch(UP, cooldown=14 * DAY))
    story.see(85, at=0)
    story.see(10, 90, at=13 * DAY)  # closes, and comes back too early
    story.see(91, at=15 * DAY)
    assert story.events == "fc.."
    assert story.see(10, 90, at=15 * DAY) == "fc..cf"


def test_a_hold_waits_and_a_dip_begins_it_anew() -> None:
    """A rule with a hold fires only if the score stays inside for the whole hold."""
    story = Story(watch(UP, hold=DAY))
    story.see(85, at=0)
    story.see(78, 85, at=DAY // 2)
    story.see(86, at=DAY)
    story.see(86, at=DAY + DAY // 2)
    assert story.events == "....f"


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 100)), max_size=40),
    st.sampled_from([UP, DOWN, WARM]),
    st.integers(0, 3),
)
def test_between_two_firings_the_score_was_away(values: list[int | None], region: Region, rest: int) -> None:
    """Between two firings the score was beyond the margin and the cool-down was over; each firing is inside."""
    story = Story(watch(region, cooldown=rest))
    since: list[int | None] | None = None  # the values seen since the last firing
    for at, value in enumerate(values):
        before = len(story.events)
        story.see(value, at=at)
        if story.events[before] == "f":
            assert region.holds(None if value is None else value * 1000)
            if since is not None:
                assert any(region.is_left(None if v is None else v * 1000, SCORE, margin=5_000) for v in since)
                assert len(since) + 1 >= rest
            since = []
        elif since is not None:
            since.append(value)


@pytest.mark.parametrize(
    ("words", "region", "condition", "channel"),
    [
        ("when score crosses 80", UP, "", None),
        ("score crosses above 80.0", UP, "", None),
        ("when Score reaches 80 in <#C0SALES|sales>", UP, "", "C0SALES"),
        ("when score >= 80 if owner:me -tag:churned in <#C0SALES>", UP, "owner:me -tag:churned", "C0SALES"),
        ("score falls below 40 if fit>7", DOWN, "fit>7", None),
        ("score crosses below 40", DOWN, "", None),
        ("when score enters warm", WARM, "", None),
        ("when score is in hot", UP, "", None),
        ("when score enters cold", DOWN, "", None),
    ],
)
def test_words_are_read(words: str, region: Region, condition: str, channel: str | None) -> None:
    """Alert rules are parsed from words as people write them."""
    read = read_alert(words, [SCORE])
    assert (read.score_type, read.region, read.condition, read.channel) == (SCORE, region, condition, channel)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "Type when to alert: `/score alerts add when score crosses 80"),
        ("when", "Type when to alert: `/score alerts add when score crosses 80"),
        ("when score", "Type when to alert: `/score alerts add when score crosses 80"),
        ("when score crosses", "does not say when"),
        ("when score crosses 8,5", "Use a point: 8.5"),
        ("when score crosses 0", "never crosses 0. Choose an edge above 0, up to 100"),
        ("when score crosses 101", "runs from 0 to 100"),
        ("when score enters hto", "Did you mean `hot`?"),
        ("when score crosses 80 in #sales", "type # and choose it from the list"),
    ],
)
def test_what_cannot_be_read_is_told_what_to_type(words: str, message: str) -> None:
    """An unreadable alert rule is refused with what to type instead."""
    with pytest.raises(BadAlert) as error:
        read_alert(words, [SCORE])
    assert message in str(error.value)


def test_an_unknown_type_is_named_with_the_known_ones() -> None:
    """An unknown score type is refused with the known types, from which the caller makes a sentence."""
    with pytest.raises(UnknownScoreType) as error:
        read_alert("when heat crosses 8", [SCORE])
    assert (error.value.key, error.value.known) == ("heat", ("score",))


@pytest.mark.parametrize(
    ("region", "words"),
    [(UP, "score crosses 80"), (DOWN, "score crosses below 40"), (WARM, "score enters warm")],
)
def test_a_rule_is_written_as_it_could_be_typed(region: Region, words: str) -> None:
    """A rule is written out in words that can be typed again."""
    assert Crosses(rule=1, score_type=SCORE, region=region, margin=0, cooldown=0).words == words
    assert read_alert(words, [SCORE]).region == region


HOUR = DAY // 24
HEAT = ScoreType(
    id=2, definition=2, number=1, key="heat", label="Heat", minimum=-100_000, maximum=100_000, step=1000, start=0,
    bands=(Band(name="cold", start=-100_000), Band(name="warm", start=40_000), Band(name="hot", start=80_000)),
    half_life=DAY,
)  # fmt: skip  # the numbers of one definition stand together
CASES: list[tuple[Kind, Region]] = [
    (Crosses, Region(low=40_000)),
    (Crosses, Region(high=40_000)),
    (Crosses, Region(low=40_000, high=80_000)),
    (Crosses, Region(low=-60_000)),
    (Crosses, Region(low=-60_500, high=-20_250)),
    (Cooling, Region(low=40_000)),
    (Untouched, Region()),
]


@dataclass
class Course:
    """A fading score that is changed, and a rule that is evaluated about it at times."""

    rule: Watch
    state: ScoreState = field(default_factory=lambda: make_initial_state(HEAT))
    memory: AlertMemory = field(default_factory=AlertMemory)
    events: list[tuple[int, str]] = field(default_factory=list)
    moves: int = 0
    clock: int = 0  #: decisions before this instant are final
    tagged: Sequence[int] = ()  #: the instants in µs at which the contact gains or loses what the condition asks for

    def settle(self, until: int) -> None:
        """Evaluate the rule at each instant at which time alone decides, as a sweep and a change both do."""
        before = self.memory
        while (at := self.rule.next_evaluation(self.memory, self.state)) is not None and at <= until:
            self.take(self.rule.evaluate(self.memory, self.state, now=at), at)
        self.keep(before)
        self.clock = max(self.clock, until)

    def look(self, at: int) -> None:
        """Evaluate the rule at an instant, whether or not there is a reason to."""
        self.settle(at)
        before = self.memory
        self.take(self.rule.evaluate(self.memory, self.state, now=at), at)
        self.keep(before)

    def change(self, op: Op, amount: int, at: int, *, late: int = 0) -> None:
        """Change the score at *at*; the fact happened *late* µs earlier than it became known."""
        before = self.memory
        self.settle(at)
        happened = max(at - late, self.state.last[0] + 1)
        self.moves += 1
        change = Change(
            source="crm", key=f"{self.moves:06d}", occurred_at=happened, batch="b", actor=None, reason=None, fields={},
            score="heat", op=op, amount=amount,
        )  # fmt: skip  # the columns of a fact
        self.state, _ = apply_fact(self.state, change, HEAT)
        self.take(self.rule.evaluate(self.memory, self.state, now=at), at)
        self.keep(before)

    def take(self, decision: Decision, at: int) -> None:
        """Record a decision. Fail if it fires or closes for a time before `clock`."""
        assert at >= self.clock or not (decision.fires or decision.closes)
        if decision.fires and sum(instant < at for instant in self.tagged) % 2:
            decision = replace(decision, memory=replace(decision.memory, fired_at=self.memory.fired_at))
            self.events.append((at, "does not match"))
        elif decision.fires:
            self.events.append((at, "fires"))
        self.memory = decision.memory
        if decision.closes:
            self.events.append((at, "closes"))

    def keep(self, before: AlertMemory) -> None:
        """Drop a memory that would not be stored, because nothing but the time of evaluation is new."""
        same = replace(self.memory, seen_at=before.seen_at) == before
        if same and not self.rule.is_behind(before, self.state, now=self.memory.seen_at):
            self.memory = before


MOVES = st.lists(
    st.tuples(
        st.integers(1, 4 * 24 * 60),  # minutes since the previous change
        st.sampled_from([Op.SET, Op.SET, Op.ADD, Op.CLEAR]),
        st.integers(-100, 100),
        st.sampled_from([0, 0, 0, 90, 3_000]),  # minutes by which the fact is late
    ),
    min_size=1,
    max_size=12,
)


def test_it_does_not_matter_when_somebody_looks() -> None:
    """Evaluations every three hours, at random, or only at changes fire and close at the same instants.

    A condition that is met at some times is asked of the instant; not met, it starts no cool-down.
    """
    fired = Counter[str]()

    @settings(max_examples=250, deadline=None)
    @given(
        MOVES, st.sampled_from(CASES), st.sampled_from([0, 9 * HOUR, 20 * HOUR]), st.sampled_from([0, 20 * HOUR]),
        st.lists(st.integers(0, 30 * 24 * 60), max_size=12), st.lists(st.integers(0, 30 * 24 * 60), max_size=6),
    )  # fmt: skip  # changes, rule, times of evaluation, and times at which the answer to the condition changes
    @example([(10, Op.SET, 0, 0), (3_000, Op.SET, 100, 3_000)], CASES[2], 0, 0, [], [])
    @example([(10, Op.SET, 50, 0), (900, Op.SET, 50, 0)], CASES[5], 20 * HOUR, 0, [], [])
    def whatever_happens(
        moves: list[tuple[int, Op, int, int]], kind: tuple[Kind, Region], hold: int, rest: int, sweeps: list[int],
        tagged: list[int],
    ) -> None:  # fmt: skip  # as above
        rule = kind[0](rule=1, score_type=HEAT, region=kind[1], span=DAY // 2, margin=5_000, hold=hold, cooldown=rest)
        end = sum(minutes for minutes, *_ in moves) + 20 * 24 * 60
        often, instants = range(0, end, 171), [minute * 60_000_000 for minute in tagged]
        stories = [told_by(rule, moves, looks, instants, end=end) for looks in (often, sorted(set(sweeps)), [])]
        assert stories[0] == stories[1] == stories[2]
        fired.update(event for _, event in stories[0])

    whatever_happens()
    report_counts("decided by changes and by time", fired)
    assert fired["fires"] >= 60  # the test proves nothing if nothing fires
    assert fired["closes"] >= 30
    assert fired["does not match"] >= 30


def told_by(
    rule: Watch, moves: list[tuple[int, Op, int, int]], looks: Sequence[int], tagged: Sequence[int], *, end: int
) -> list[tuple[int, str]]:
    """Return the events of a score with these changes, if the rule is evaluated at the minutes in *looks*."""
    course, at, pending = Course(rule, tagged=tagged), 0, list(looks)
    for minutes, op, points, late in moves:
        at += minutes
        while pending and pending[0] <= at:
            (course.look if looks else course.settle)(pending.pop(0) * 60_000_000)
        course.change(op, 0 if op is Op.CLEAR else points * 1000, at * 60_000_000, late=late * 60_000_000)
    for minute in [*pending, end]:
        (course.look if looks else course.settle)(minute * 60_000_000)
    return course.events


def test_fading_crosses_at_the_exact_instant() -> None:
    """With a half-life of a day 100 is shown as 79 after log2(100/79.5) days, and the rule fires at that µs."""
    course = Course(Crosses(rule=1, score_type=HEAT, region=Region(high=80_000), margin=5_000, cooldown=0))
    course.change(Op.SET, 100_000, DAY)
    course.settle(3 * DAY)
    ((at, event),) = course.events
    assert event == "fires"
    assert abs(at - DAY - int(DAY * log2(100 / 79.5))) <= 1_000
    assert (course.state.value(HEAT, now=at - 1), course.state.value(HEAT, now=at)) == (80_000, 79_000)


def test_about_to_cool_asks_before_it_falls() -> None:
    """The rule fires twelve hours before 80 is left, unless the score is raised again or is already below."""
    rule = Cooling(rule=1, score_type=HEAT, region=Region(low=80_000), span=DAY // 2, margin=5_000, cooldown=0)
    course = Course(rule)
    course.change(Op.SET, 30_000, 1)
    assert course.events == []
    course.change(Op.SET, 90_000, DAY)  # 90 falls below 79.5 after 4.3 hours: within the twelve
    assert course.events == [(DAY, "fires")]
    course.change(Op.SET, 100_000, DAY + 1)  # after 7.9 hours, so still
    course.settle(9 * DAY)
    assert course.events == [(DAY, "fires")]

    course = Course(replace(rule, region=Region(low=40_000)))
    course.change(Op.SET, 50_000, DAY)  # 35 in twelve hours
    course.change(Op.SET, 63_000, 2 * DAY)  # 44.5, shown as 45: at the line, so it may ask again
    course.settle(3 * DAY)
    assert [event for _, event in course.events] == ["fires", "closes", "fires"]


@pytest.mark.parametrize(
    ("kind", "days", "taken", "pending_until"),
    [
        (Crosses, 1, True, None), (Moves, 1, False, None), (Cooling, 1, False, None), (Cooling, 3, True, None),
        (Untouched, 6, False, 8 * DAY), (Untouched, 8, True, None),
    ],
)  # fmt: skip  # a table
def test_who_is_inside_when_a_rule_begins_is_taken(
    kind: Kind, days: int, taken: bool, pending_until: int | None
) -> None:
    """A rule takes a contact for which it would fire at its beginning, and waits where it will fire later."""
    rule = kind(rule=1, score_type=HEAT, region=Region(low=20_000), amount=1, span=7 * DAY, margin=5_000, cooldown=0)
    first = Change(source="crm", key="1", occurred_at=DAY, batch="b", score="heat", op=Op.SET, amount=100_000)
    state, _ = apply_fact(make_initial_state(HEAT), first, HEAT)
    if kind is Cooling:
        rule = replace(rule, span=DAY)
    memory = rule.enroll(AlertMemory(), state, since=days * DAY)
    assert (memory.taken, memory.pending_until) == (taken, pending_until)
    assert rule.enroll(memory, state, since=days * DAY) == memory


@pytest.mark.parametrize(
    ("points", "events"),
    [
        ((50, 62), ["fires"]),  # 44 in twelve hours: within the margin
        ((50, 64, 50), ["fires", "closes", "fires"]),  # 45 in twelve hours: at the edge plus the margin
        ((50, 30, 50), ["fires"]),  # below the edge it is not about to fall any more, which re-arms nothing
        ((50, None, 50), ["fires", "closes", "fires"]),
    ],
    ids=str,
)
def test_about_to_cool_is_armed_by_what_will_be_left(points: tuple[int | None, ...], events: list[str]) -> None:
    """The rule re-arms where the score, after the lead time, will be at the edge plus the margin, or is missing.

    Falling out of the band does not re-arm the rule.
    """
    rule = Cooling(rule=1, score_type=HEAT, region=Region(low=40_000), span=DAY // 2, margin=5_000, cooldown=0)
    course = Course(rule)
    for place, value in enumerate(points):
        course.change(Op.CLEAR if value is None else Op.SET, (value or 0) * 1_000, DAY + place)
    assert [event for _, event in course.events] == events


@pytest.mark.parametrize(
    ("kind", "before", "value", "fires"),
    [
        (Moves, 50, 65, True), (Moves, 65, 50, True), (Moves, 50, 64, False),
        (Rises, 50, 65, True), (Rises, 65, 50, False),
        (Falls, 65, 50, True), (Falls, 50, 65, False),
        (Moves, None, 65, False), (Moves, 50, None, False),
    ],
)  # fmt: skip  # a table
def test_what_moved_so_far_within_a_time(kind: Kind, before: int | None, value: int | None, fires: bool) -> None:
    """A movement is measured against the value at the start of the period; a missing value at either end is none."""
    rule = kind(rule=1, score_type=SCORE, amount=15_000, span=7 * DAY, margin=0, cooldown=0)
    earlier = None if before is None else before * 1_000
    state = ScoreState(base=0, rank=None if value is None else value * 1_000)
    first = rule.evaluate_change(AlertMemory(), state, earlier, now=9 * DAY)
    assert first.fires is fires
    if fires:  # and does not fire again within that time
        assert not rule.evaluate_change(first.memory, state, earlier, now=16 * DAY - 1).fires
        assert rule.evaluate_change(first.memory, state, earlier, now=16 * DAY).fires


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("when heat moved 15 in 7d", {"kind": Moves, "amount": 15_000, "span": 7 * DAY}),
        ("heat rises by 15 within 1w", {"kind": Rises, "amount": 15_000, "span": 7 * DAY}),
        (
            "heat falls 15.5 in 36h if tag:vip",
            {"kind": Falls, "amount": 15_500, "span": 36 * HOUR, "condition": "tag:vip"},
        ),
        ("heat untouched for 30d", {"kind": Untouched, "span": 30 * DAY}),
        ("heat about to fall out of hot", {"kind": Cooling, "region": Region(low=80_000), "span": 3 * DAY}),
        (
            "heat is about to fall out of warm in 1d in digest",
            {"kind": Cooling, "region": Region(low=40_000), "span": DAY, "in_digest": True},
        ),
        (
            "when heat crosses 80 if heat rising 5 in 7d in <#C0SALES|sales> hold 2h margin 10 cooldown 7d sla 4h"
            " escalate to <@U0JANE|jane>",
            {"region": UP, "condition": "heat rising 5 in 7d", "channel": "C0SALES", "hold": 2 * HOUR, "margin": 10_000}
            | {"cooldown": 7 * DAY, "sla": 4 * HOUR, "escalate_to": "U0JANE"},
        ),
        ("heat crosses 80 sla 1d in the digest hold 1h", {"region": UP, "sla": DAY, "in_digest": True, "hold": HOUR}),
    ],
    ids=str,
)  # fmt: skip  # a table
def test_the_rest_of_the_words(words: str, expected: dict[str, object]) -> None:
    """All kinds of rules are parsed, with their options at the end in any order."""
    assert read_alert(words, [SCORE, HEAT]) == AlertWords(score_type=HEAT, **expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("score about to fall out of hot", "does not fade"),
        ("heat about to fall out of cold", "no contact falls below that band"),
        ("heat moved 500 in 7d", "never moves 500"),
        ("heat moved 5 in 7x", "not a length of time"),
        ("heat untouched for 900w", "longer than a year"),
        ("heat crosses 80 margin 0", "`margin 5`"),
        ("heat crosses 80 escalate to <@U0JANE>", "Type the time after which"),
        ("heat crosses 80 sla 4h escalate to @jane", "type @ and choose"),
        ("heat crosses 80 hold 2h hold 3h", "given twice"),
        ("heat crosses 80 in digest in <#C0SALES>", "given twice"),
    ],
)
def test_what_is_wrong_with_the_rest_is_told(words: str, message: str) -> None:
    """A mistake in any kind of rule is refused with what to type instead."""
    with pytest.raises(BadAlert) as error:
        read_alert(words, [SCORE, HEAT])
    assert message in str(error.value)


@pytest.mark.parametrize(
    "words",
    ["heat moved 15 in 7d", "heat rises 2.5 in 36h", "heat untouched for 30d", "heat about to fall out of hot in 3d"],
)
def test_every_kind_is_written_as_it_could_be_typed(words: str) -> None:
    """Each kind of rule is written out in words that are parsed back to the same rule."""
    read = read_alert(words, [HEAT])
    watch = read.kind(
        rule=1, score_type=HEAT, region=read.region, amount=read.amount, span=read.span, margin=0, cooldown=0
    )
    assert watch.words == words


@pytest.mark.parametrize("kind", [Crosses, Moves, Rises, Falls, Untouched])
@pytest.mark.parametrize("hold", [0, DAY])
def test_an_idle_change_decides_nothing(kind: Kind, hold: int) -> None:
    """A change that is passed over as idle would not fire, close or change the memory if it was evaluated."""
    idle, now = 0, 6 * DAY
    memories = [AlertMemory(taken=taken, fired_at=at) for taken in (True, False) for at in (None, now - DAY, DAY)]
    memories.append(AlertMemory(pending_until=now + DAY))
    values = (None, *(points * 1_000 for points in (30, 38, 40, 44, 45, 60, 74, 75, 76, 80, 84, 85, 90)))
    for region, memory, before, after in product((UP, DOWN, WARM), memories, values, values):
        rule = kind(
            rule=1, score_type=SCORE, region=region, amount=20_000, span=DAY, margin=5_000, hold=hold, cooldown=3 * DAY
        )
        old, new = (ScoreState(base=0, rank=value, at=now, last=(now, b"", b"")) for value in (before, after))
        for is_enrolled in (True, False):
            enrolled = memory if is_enrolled else rule.enroll(memory, old, since=now)
            decision = rule.evaluate_change(enrolled, new, before, now=now)
            if rule.is_idle(memory, before, after, is_enrolled=is_enrolled):
                idle += 1
                assert (decision.fires, decision.closes) == (False, False), (rule, memory, before, after)
                assert decision.memory.has_same_state(memory), (rule, memory, before, after)

    assert (idle > 0) == (kind is not Untouched)


def test_a_change_of_a_fading_score_is_never_idle() -> None:
    """A score that fades may have crossed an edge before the change, so each change is evaluated."""
    for kind in KINDS.values():
        rule = kind(rule=1, score_type=HEAT, region=UP, amount=20_000, span=DAY, margin=5_000, cooldown=0)
        assert not rule.is_idle(AlertMemory(), 10_000, 11_000, is_enrolled=True)
