"""What people read of scores: card, top list and history."""

import pytest

from storage.domain.errors import UnknownScoreType
from storage.domain.facts import Op
from storage.reading.current_scores import CurrentScore, card, cards_of, top
from storage.reading.history import history, load_timeline
from storage.scoring.definitions import add_score_type
from tests.conftest import on_both
from tests.storage.teams import DAY, NOW, Team, change, field_item, set_to

ADA, BOB = "ada@example.com", "bob@example.com"


@pytest.fixture
async def measured(team: Team) -> Team:
    """Return a team with a second score type, from 1 to 10, as default."""
    await add_score_type(
        team.workspace, key="fit", label="Fit", minimum=1_000, maximum=10_000, step=1_000,
        bands=[], start=None, is_default=True, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    return team


async def standings(team: Team, text: str, *, now: int = NOW) -> tuple[CurrentScore, ...]:
    """Return the scores of a contact."""
    contact_card = await card(team.workspace, contact=(await team.contact(text)).id, now=now)
    assert contact_card is not None
    return contact_card.standings


async def test_a_card_shows_every_score_the_default_first(measured: Team) -> None:
    """A card lists existing scores, the default type first, with the time and source of the last change."""
    await measured.deliver(
        set_to("a", ADA, 62, at=NOW - 9), set_to("b", ADA, 8, at=NOW - 8, score="fit"), field_item("c", BOB, name="Bob")
    )
    await measured.ask(change("p", ADA, Op.ADD, -2), batch="p", actor="U1")

    assert [
        (standing.score_type.key, standing.value, standing.as_of, standing.source, standing.actor)
        for standing in await standings(measured, ADA)
    ] == [("fit", 8_000, NOW - 8, "crm", None), ("score", 60_000, NOW, "slack", "U1")]
    assert await standings(measured, BOB) == ()
    assert await card(measured.workspace, contact=999_999, now=NOW) is None


async def test_cards_come_in_the_order_asked_for(measured: Team) -> None:
    """Cards are returned in the order of the ids; unknown ids are left out."""
    await measured.deliver(*(set_to(f"k{n}", f"p{n}@example.com", n) for n in range(3)))
    ids = [(await measured.contact(f"p{n}@example.com")).id for n in range(3)]
    cards = await cards_of(measured.workspace, ids=[ids[2], 999_999, ids[0]], now=NOW)

    assert [(card.contact.email, card.standings[0].value) for card in cards] == [
        ("p2@example.com", 2_000),
        ("p0@example.com", 0),
    ]


async def test_the_top_is_sorted_by_value_and_then_by_age(measured: Team) -> None:
    """The top list is sorted by value and then by age, without contacts that have no score."""
    values = {"a": 10, "b": 90, "c": 0, "d": 90, "e": 50, "f": 70}
    await measured.deliver(*(set_to(f"k{name}", f"{name}@example.com", value) for name, value in values.items()))
    await measured.deliver(
        change("x", "f@example.com", Op.CLEAR), field_item("y", "g@example.com", name="G"), received=NOW + 1
    )

    for count, expected in ((3, "bde"), (9, "bdeac"), (0, "")):
        score_type, cards = await top(measured.workspace, score="score", count=count, now=NOW)
        assert score_type.key == "score"
        assert [card.contact.email for card in cards] == [f"{name}@example.com" for name in expected]
    score_type, cards = await top(measured.workspace, score=None, count=9, now=NOW)
    assert (score_type.key, cards) == ("fit", [])


async def test_an_unknown_type_is_refused_with_the_known_ones(measured: Team) -> None:
    """An unknown type is refused with the known types, the default first."""
    for reading in (
        top(measured.workspace, score="fti", count=1, now=NOW),
        history(measured.workspace, contact=1, score="fti", most=1),
    ):
        with pytest.raises(UnknownScoreType) as error:
            await reading
        assert str(error.value) == "there is no score type `fti`; existing: fit, score"


async def test_a_history_is_told_newest_first(measured: Team) -> None:
    """A history lists the newest changes first, with amount, effect, value, source and reason, up to a limit."""
    await measured.deliver(
        change("a", ADA, Op.ADD, 30, at=NOW - 9, reason="opened a mail"),
        change("b", ADA, Op.ADD, 90, at=NOW - 8),
        change("c", ADA, Op.CLEAR, at=NOW - 7),
        set_to("d", ADA, 8, at=NOW - 6, score="fit"),
    )
    await measured.ask(set_to("p", ADA, 50, reason="great demo"), batch="p", actor="U1")
    ada = await measured.contact(ADA)
    score_type, lines = await history(measured.workspace, contact=ada.id, score="score", most=10)

    assert score_type.key == "score"
    assert [
        (line.occurred_at - NOW, line.op, line.amount, line.effective, line.value, line.source, line.actor, line.reason)
        for line in lines
    ] == [
        (0, Op.SET, 50_000, 50_000, 50_000, "slack", "U1", "great demo"),
        (-7, Op.CLEAR, 0, -100_000, None, "crm", None, None),
        (-8, Op.ADD, 90_000, 70_000, 100_000, "crm", None, None),
        (-9, Op.ADD, 30_000, 30_000, 30_000, "crm", None, "opened a mail"),
    ]
    _, two = await history(measured.workspace, contact=ada.id, score="score", most=2)
    _, since = await history(measured.workspace, contact=ada.id, score="score", most=10, since=NOW - 8)
    _, fit = await history(measured.workspace, contact=ada.id, score=None, most=10)
    assert (two, since, len(fit)) == (lines[:2], lines[:3], 1)


@on_both
async def test_a_history_has_the_value_before_each_change(measured: Team) -> None:
    """The value before is that of the change before in the ledger's order, without undone ones; None if missing."""
    await measured.deliver(
        change("b", ADA, Op.ADD, 30, at=NOW - 9),
        change("c", ADA, Op.ADD, 90, at=NOW - 9),  # at the same instant: the key decides
        change("a", ADA, Op.ADD, 5, at=NOW - 9),
        change("d", ADA, Op.CLEAR, at=NOW - 7),
        set_to("e", ADA, 0, at=NOW - 6),
        set_to("f", ADA, 20, at=NOW - 4),
    )
    await measured.ask(set_to("p", ADA, 50), batch="p", actor="U1", received=NOW - 5)
    await measured.undo("p", batch="u", received=NOW)
    await measured.ask(set_to("q", ADA, 60), batch="q", received=NOW)
    ada = await measured.contact(ADA)
    _, lines = await history(measured.workspace, contact=ada.id, score="score", most=10)

    assert [(line.before, line.value) for line in lines] == [
        (20_000, 60_000),
        (None, None),  # undone
        (0, 20_000),
        (None, 0),
        (100_000, None),
        (35_000, 100_000),
        (5_000, 35_000),
        (None, 5_000),
    ]


async def test_a_fading_score_has_faded_before_a_change(team: Team) -> None:
    """The value before a change of a fading score is the value as shown just then."""
    await add_score_type(
        team.workspace, key="heat", label="Heat", minimum=0, maximum=100_000, step=1_000, start=None,
        bands=[], half_life=10 * DAY, is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    await team.deliver(
        set_to("a", ADA, 80, at=NOW - 20 * DAY, score="heat"), set_to("b", ADA, 85, at=NOW - 10 * DAY, score="heat")
    )
    _, lines = await history(team.workspace, contact=(await team.contact(ADA)).id, score="heat", most=10)

    assert [(line.before, line.value, line.effective) for line in lines] == [
        (40_000, 85_000, 45_000),
        (None, 80_000, 80_000),
    ]


TRENDS: list[tuple[list[tuple[int, Op, int]], int | None]] = [
    ([(-31, Op.SET, 40), (-1, Op.SET, 55)], 15_000),
    ([(-31, Op.SET, 55), (-1, Op.SET, 40)], -15_000),
    ([(-30, Op.SET, 40), (-29, Op.SET, 50)], 10_000),  # the very instant thirty days ago counts
    ([(-40, Op.SET, 20), (-31, Op.SET, 40), (-1, Op.ADD, 2)], 2_000),
    ([(-40, Op.SET, 40)], 0),  # no change since then
    ([(-29, Op.SET, 40)], None),  # no score then: no trend
    ([(-40, Op.SET, 40), (-35, Op.CLEAR, 0), (-1, Op.SET, 50)], None),  # cleared then: no trend
    ([(-40, Op.SET, 0), (-1, Op.SET, 50)], 50_000),  # 0 is a value
]


async def test_the_trend_is_the_value_now_less_the_value_thirty_days_ago(team: Team) -> None:
    """The trend is the value now minus the value thirty days ago; if either is missing there is no trend."""
    for number, (changes, _) in enumerate(TRENDS):
        await team.deliver(
            *(
                change(f"{number}/{at}", f"p{number}@example.com", op, amount, at=NOW + at * DAY)
                for at, op, amount in changes
            )
        )
    trends = [
        [standing.trend for standing in await standings(team, f"p{number}@example.com")]
        for number in range(len(TRENDS))
    ]

    assert trends == [[trend] for _, trend in TRENDS]


async def test_an_undone_change_has_no_part_in_a_trend(team: Team) -> None:
    """An undone change is not part of a trend."""
    await team.deliver(set_to("a", ADA, 10, at=NOW - 50 * DAY))
    await team.ask(set_to("p", ADA, 90), batch="p", received=NOW - 40 * DAY)
    await team.ask(change("q", ADA, Op.ADD, 5), batch="q", received=NOW - DAY)
    assert [(standing.value, standing.trend) for standing in await standings(team, ADA)] == [(95_000, 5_000)]

    await team.undo("p", batch="u")
    assert [(standing.value, standing.trend) for standing in await standings(team, ADA)] == [(15_000, 5_000)]


async def test_after_an_undo_a_score_is_as_of_the_change_that_stands(team: Team) -> None:
    """After an undo the score has the time and author of the last change in force."""
    await team.deliver(set_to("a", ADA, 10, at=NOW - DAY))
    await team.ask(set_to("p", ADA, 90), batch="p", actor="U1")
    await team.undo("p", batch="u", actor="U2")

    assert [
        (standing.value, standing.as_of, standing.source, standing.actor) for standing in await standings(team, ADA)
    ] == [(10_000, NOW - DAY, "crm", None)]


async def test_the_course_of_a_score(measured: Team) -> None:
    """A timeline runs from the first value to now, without undone changes, with the biggest moves and their reasons."""
    await measured.deliver(
        set_to("a", ADA, 20, at=NOW - 9 * DAY),
        set_to("b", ADA, 30, at=NOW - 5 * DAY, reason="Read the pricing page"),
        set_to("c", ADA, 3, at=NOW - 4 * DAY, score="fit"),
        change("e", ADA, Op.ADD, 40, at=NOW - 2 * DAY),
        set_to("f", BOB, 99, at=NOW - 2 * DAY),
    )
    # recorded later, but ordered earlier by key
    await measured.deliver(change("d", ADA, Op.ADD, 1, at=NOW - 2 * DAY), batch="late")
    await measured.ask(set_to("p", ADA, 95), batch="p", actor="U1", received=NOW - DAY)
    await measured.ask(change("q", ADA, Op.CLEAR), batch="q", actor="U2", received=NOW - DAY // 2)
    await measured.undo("p", batch="u", received=NOW - DAY // 4)
    ada = (await measured.contact(ADA)).id

    async def followed(days: int, most: int = 100) -> tuple[object, object]:
        since = NOW - days * DAY
        timeline = await load_timeline(measured.workspace, contact=ada, score="score", most=most, since=since, now=NOW)
        causes = [
            (cause.move.before, cause.move.after, cause.source, cause.actor, cause.reason) for cause in timeline.causes
        ]
        return [((NOW - at) / DAY, value) for at, value in timeline.points], causes

    cleared = (71_000, None, "slack", "U2", None)
    demo = (31_000, 71_000, "crm", None, None)
    assert await followed(6) == (
        [(6, 20_000), (5, 30_000), (2, 71_000), (0.5, None)],
        [(20_000, 30_000, "crm", None, "Read the pricing page"), demo, cleared],
    )
    assert await followed(1) == ([(1, 71_000), (0.5, None)], [cleared])
    # A limit leaves out older changes, and the timeline begins later.
    points, causes = await followed(90, most=2)
    assert isinstance(points, list)
    assert points[0] == (pytest.approx(2), 71_000)
    assert causes == [cleared]
