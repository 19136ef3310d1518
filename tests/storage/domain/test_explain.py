"""A score is exactly the sum of its contributions at every instant."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.domain.explain import MONTH, Contribution, explain
from storage.domain.facts import Activity, Change, Op
from storage.domain.fold import fold
from storage.domain.score_types import Rule, ScoreType

DAY = 86_400_000_000
NOW = 1_767_225_600_000_000  # 2026-01-01, 00:00 UTC
CDNOW = Path(__file__).resolve().parents[2] / "data" / "cdnow_2000.txt"


def score_type(*, half_life: int | None = None, start: int = 0, minimum: int = -20_000, step: int = 1_000) -> ScoreType:
    """Return a score type with the maximum 100."""
    return ScoreType(
        id=1, definition=1, number=1, key="fit", label="Fit", minimum=minimum, maximum=100_000, step=step,
        start=start, half_life=half_life,
    )  # fmt: skip  # the numbers of one definition stand together


def change(op: Op, amount: int = 0, *, days: float = 0, key: str = "k") -> Change:
    """Return a change of a score that happened some days ago."""
    at = NOW - int(days * DAY)
    return Change(source="crm", key=key, occurred_at=at, batch="b", score="fit", op=op, amount=amount * 1_000)


def explain_rows(
    changes: list[Change], score_type_: ScoreType, *, most: int = 99, now: int = NOW
) -> list[tuple[str, int, int, int, int]]:
    """Return the contributions in points: operation, asked, cut by the range, faded and effect."""
    explanation = explain(changes, score_type_, now=now, most=most)
    assert explanation is not None
    return [
        (
            contribution.op,
            contribution.asked // 1_000,
            contribution.cut // 1_000,
            contribution.faded // 1_000,
            contribution.effect // 1_000,
        )
        for contribution in explanation.contributions
    ]


def test_what_the_range_cut_is_said() -> None:
    """A contribution states what the range cut off; changes before the last set are not listed."""
    changes = [
        change(Op.ADD, 50, days=9), change(Op.SET, 90, days=8), change(Op.ADD, 20, days=7),
        change(Op.ADD, 5, days=6), change(Op.ADD, -30, days=5),
    ]  # fmt: skip  # one after the other

    assert explain_rows(changes, score_type()) == [
        ("add", -30, 0, 0, -30),
        ("add", 5, 5, 0, 0),
        ("add", 20, 10, 0, 10),
        ("set", 90, 0, 0, 90),
    ]


def test_where_adding_began_is_a_line() -> None:
    """The start is a line of its own after a clear and at first, unless it is 0."""
    changes = [change(Op.SET, 90, days=8), change(Op.CLEAR, days=7), change(Op.ADD, 5, days=6)]

    assert explain_rows(changes, score_type(start=7_000)) == [("add", 5, 0, 0, 5), ("start", 7, 0, 0, 7)]
    assert explain_rows(changes, score_type()) == [("add", 5, 0, 0, 5)]
    assert explain(changes[:2], score_type(), now=NOW, most=9) is None
    assert explain([], score_type(), now=NOW, most=9) is None


def test_what_faded_is_said() -> None:
    """A contribution that faded away is not listed, except the value that was set; others state what faded."""
    definition = score_type(half_life=10 * DAY, minimum=0)
    changes = [
        change(Op.SET, 80, days=20), change(Op.ADD, 1, days=19),
        change(Op.ADD, 10, days=10), change(Op.ADD, 95, days=0),
    ]  # fmt: skip  # one after the other

    # 80 fades to 20, 1 to 0.27 and 10 to 5; of 95 only 74.73 fit into the range
    assert explain_rows(changes, definition) == [("add", 95, 20, 0, 75), ("add", 10, 0, 5, 5), ("set", 80, 0, 60, 20)]
    explanation = explain(changes, definition, now=NOW, most=9)
    assert explanation is not None
    assert [(line.cut_by_range, line.rounded, line.faded) for line in explanation.contributions] == [
        (20_268, -268, 0),
        (0, 0, 5_000),
        (0, 0, 60_000),
    ]
    assert explain_rows(changes, definition, now=NOW + 200 * DAY) == [("set", 80, 0, 80, 0)]


def test_rounding_is_no_fading() -> None:
    """Contributions of thirds are rounded so that they add up, and rounding is not reported as fading."""
    rule = Rule(name="Visit", activity="visit", points=10_000)
    visits = [
        Activity(source="crm", key=f"{n}", occurred_at=NOW + n, batch="b", activity="visit", quantity=333)
        for n in range(3)
    ]
    contributions = []
    for count in (1, 2, 3):
        explanation = explain(visits[:count], replace(score_type(), rules=(rule,)), now=NOW, most=9)
        assert explanation is not None
        contributions.append([(line.effect, line.rounded) for line in reversed(explanation.contributions)])
        assert all((line.asked, line.faded, line.cut) == (3_330, 0, 0) for line in explanation.contributions)

    assert contributions == [
        [(3_000, 330)],
        [(4_000, -670), (3_000, 330)],  # 6.66 is shown as 7
        [(4_000, -670), (3_000, 330), (3_000, 330)],  # 9.99 is shown as 10
    ]


def test_a_fading_score_that_starts_elsewhere() -> None:
    """A set value fades toward the start without a line for the start; with an addition the start has its line."""
    definition = score_type(half_life=10 * DAY, start=10_000)

    assert explain_rows([change(Op.SET, 90, days=10)], definition) == [("set", 90, 0, 40, 50)]
    assert explain_rows([change(Op.SET, -20, days=10)], definition) == [("set", -20, 0, -15, -5)]
    assert explain_rows([change(Op.ADD, 8, days=10)], definition) == [("add", 8, 0, 4, 4), ("start", 10, 0, 0, 10)]


def test_older_parts_are_summed_by_month() -> None:
    """The newest changes are listed one by one, older ones are summed by month, and the first line stays."""
    changes = [
        change(Op.SET, 10, days=200),
        *(change(Op.ADD, 1, days=days, key=f"{days}") for days in range(100, 0, -10)),
    ]

    assert explain_rows(changes, score_type(), most=2) == [
        ("add", 1, 0, 0, 1),  # 22 December
        ("add", 1, 0, 0, 1),  # 12 December
        ("add", 1, 0, 0, 1),  # 2 December, the only one left in its month
        (MONTH, 3, 0, 0, 3),  # November
        (MONTH, 3, 0, 0, 3),  # October
        ("add", 1, 0, 0, 1),  # 23 September
        ("set", 10, 0, 0, 10),
    ]
    explanation = explain(changes, score_type(), now=NOW, most=2)
    assert explanation is not None
    assert [contribution.count for contribution in explanation.contributions] == [1, 1, 1, 3, 3, 1, 1]


def check(changes: list[Change], definition: ScoreType, now: int, most: int) -> tuple[Contribution, ...]:
    """Fail unless the contributions add up to the value of the fold, and each is consistent by itself."""
    state, _ = fold(changes, definition)
    explanation = explain(changes, definition, now=now, most=most)
    assert (None if explanation is None else explanation.value) == state.value(definition, now=now)
    if explanation is None:
        return ()
    assert sum(contribution.effect for contribution in explanation.contributions) == explanation.value
    assert all(
        contribution.asked - contribution.cut - contribution.rounded - contribution.faded == contribution.effect
        for contribution in explanation.contributions
    )
    times = [contribution.occurred_at or 0 for contribution in explanation.contributions]
    assert times == sorted(times, reverse=True)
    if definition.half_life is None:
        assert all(contribution.faded == 0 for contribution in explanation.contributions)
    return explanation.contributions


@given(
    st.lists(
        st.builds(
            lambda op, amount, days, key: change(op, amount, days=days, key=key),
            st.sampled_from((Op.SET, Op.ADD, Op.ADD, Op.ADD, Op.ADD, Op.CLEAR)),
            st.integers(-60, 120),
            st.floats(0, 200),
            st.text(max_size=3),
        ),
        unique_by=lambda change: change.order,
        max_size=25,
    ),
    st.sampled_from((None, 3_600_000_000, 10 * DAY, 36_500 * DAY)),
    st.sampled_from((-20_000, 0, 7_000)),
    st.integers(0, 300),
    st.integers(0, 8),
)
def test_the_lines_add_up(changes: list[Change], half_life: int | None, start: int, later: int, most: int) -> None:
    """The contributions add up for any changes, any type and any instant."""
    check(changes, score_type(half_life=half_life, start=start), NOW + later * DAY, most)


def purchases() -> Iterator[tuple[str, Change]]:
    """Load the purchases of the CDNOW log as changes of a score by customer, one point per dollar."""
    for number, line in enumerate(CDNOW.read_text().splitlines()[1:]):  # the first line names the columns
        customer, date, _, dollars = line.split()
        at = int(datetime.strptime(date, "%Y%m%d").replace(tzinfo=UTC).timestamp()) * 1_000_000
        yield customer, Change(
            source="shop", key=f"{number:04d}", occurred_at=at, batch="b", score="fit", op=Op.ADD,
            amount=round(float(dollars)) * 1_000,
        )  # fmt: skip  # purchase, customer and amount


@pytest.mark.parametrize("half_life", [None, 30 * DAY], ids=["stays", "fades"])
def test_every_customer_of_a_shop_adds_up_at_ten_instants(half_life: int | None) -> None:
    """Two thousand real purchases add up at ten instants, from the first spring until long after the last purchase."""
    definition, ledgers = score_type(half_life=half_life, minimum=0), dict[str, list[Change]]()
    for customer, bought in purchases():
        ledgers.setdefault(customer, []).append(bought)
    counts = Counter[str]()
    for number in range(10):
        now = int((datetime(1997, 2, 15, tzinfo=UTC) + timedelta(days=60 * number)).timestamp()) * 1_000_000
        for ledger in ledgers.values():
            so_far = [fact for fact in ledger if fact.occurred_at <= now]
            lines = check(so_far, definition, now, 3)
            counts.update(explained=bool(so_far), lines=len(lines), cut=sum(line.cut > 0 for line in lines))
            counts.update(faded=sum(line.faded > 0 for line in lines), months=sum(line.op == MONTH for line in lines))
    print(dict(counts))

    assert len(ledgers) > 500
    assert counts["explained"] > 5_000
    assert counts["months"] > 20
    assert counts["cut"] > 50
    assert (counts["faded"] > 1_000) == (half_life is not None)
