"""A fading score is found, sorted, paged and shown as of the time of the request, without writing rows."""

import random
from decimal import ROUND_HALF_UP, Decimal

import pytest

from storage.domain.facts import Op
from storage.domain.filters import Candidate, parse
from storage.domain.score_types import Band, ScoreType
from storage.reading.current_scores import card, top
from storage.reading.history import history
from storage.reading.pages import FEW, Few, count, page
from storage.scoring.definitions import add_score_type, score_types
from tests.counts import report_counts
from tests.storage import raw
from tests.storage.teams import DAY, NOW, Team, change, set_to

PEOPLE = 60
HALF_LIFE = 30 * DAY
BANDS = (Band(name="cold", start=-20_000), Band(name="warm", start=40_000), Band(name="hot", start=80_000))
START = Decimal(10)
INSTANTS = tuple(NOW + days * DAY for days in (0, 1, 9, 30, 75, 400))


def fade(value: Decimal, elapsed: int) -> Decimal:
    """Return what is left of a value by the formula."""
    return START + (value - START) * Decimal(2) ** (-Decimal(elapsed) / HALF_LIFE)


def shown_value(value: Decimal) -> int:
    """Return a value as shown, in thousandths: whole points, half a point rounded up."""
    return int((START + (value - START).quantize(Decimal(1), ROUND_HALF_UP)) * 1_000)


@pytest.fixture
async def heated(team: Team) -> Team:
    """Return a team with a type that fades toward 10 from both sides."""
    await add_score_type(
        team.workspace, key="heat", label="Heat", minimum=-20_000, maximum=100_000, step=1_000, start=10_000,
        bands=BANDS, half_life=HALF_LIFE, is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    return team


@pytest.fixture
async def crowd(heated: Team) -> tuple[Team, dict[str, tuple[int, Decimal]]]:
    """Create sixty contacts, some without the fading score. Return the instant and the value of each set."""
    dice, scores = random.Random(3), {}
    for number in range(PEOPLE):
        email, value, at = f"p{number:02d}@example.com", dice.randint(-20, 100), NOW - dice.randrange(90 * DAY)
        await heated.deliver(set_to(f"s{number}", email, number, at=at), batch=f"s{number}")
        if number % 5:
            await heated.deliver(set_to(f"h{number}", email, value, score="heat", at=at), batch=f"h{number}")
            scores[email] = (at, Decimal(value))
    return heated, scores


def candidates(scores: dict[str, tuple[int, Decimal]], now: int) -> list[Candidate]:
    """Return the contacts as the specification sees them at an instant."""
    everybody = [f"p{number:02d}@example.com" for number in range(PEOPLE)]
    return [
        Candidate(
            id=number,
            email=email,
            values={"score": number * 1_000}
            | ({"heat": shown_value(fade(scores[email][1], now - scores[email][0]))} if email in scores else {}),
        )
        for number, email in enumerate(everybody)
    ]


MANY = Few(candidates=0, matches=0)  # as in a large workspace: nothing is few
FILTERS = (
    *("heat>=40", "heat>39.5", "heat<40", "heat<=12", "heat=11", "heat!=11", "heat:15..60", "heat:*..9", "heat:-20..*"),
    *("heat:hot", "heat:warm", "heat:(cold,hot)", "has:heat", "-heat>=40", "-heat:cold", "heat>=11 score<40"),
    *("heat<10 OR heat>60", "heat>=-20", "heat<100", "-has:heat"),
)


async def test_filters_sorts_and_pages_are_of_the_moment(
    crowd: tuple[Team, dict[str, tuple[int, Decimal]]], database_url: str
) -> None:
    """At six instants, up to a year later, each filter finds what the specification finds, and no row changes."""
    team, scores = crowd
    types = list(await score_types(team.workspace))
    before = [await raw.rows(database_url, f"SELECT * FROM {name} ORDER BY id") for name in ("scores", "effects")]
    counts = {"cells": 0, "hits": 0, "pages": 0}
    for now in INSTANTS:
        everybody = candidates(scores, now)
        for text in FILTERS:
            contact_filter = parse(text, types)
            expected = [candidate.email for candidate in everybody if contact_filter.matches(candidate)]
            result = await page(team.workspace, query=contact_filter, limit=1000, now=now)
            assert (text, [card.contact.email for card in result.cards]) == (text, expected)
            assert await count(team.workspace, query=contact_filter, now=now, few=MANY) == len(expected)
            counts["cells"], counts["hits"] = counts["cells"] + len(everybody), counts["hits"] + len(expected)
        counts["pages"] += await check_pages(team, types, scores, now)
    after = [await raw.rows(database_url, f"SELECT * FROM {name} ORDER BY id") for name in ("scores", "effects")]

    assert after == before
    report_counts("fading scores, filtered", counts)
    assert counts["cells"] >= 5_000
    assert 0.2 < counts["hits"] / counts["cells"] < 0.8
    assert counts["pages"] >= 40


async def check_pages(team: Team, types: list[ScoreType], scores: dict[str, tuple[int, Decimal]], now: int) -> int:
    """Load a result page by page while weeks pass. Fail unless it is sorted as of the instant of the first page."""
    contact_filter = parse("heat>=11 sort:-heat", types)
    exact = {email: fade(value, now - at) for email, (at, value) in scores.items()}
    expected = sorted(
        (email for email in scores if shown_value(exact[email]) >= 11_000), key=lambda email: (-exact[email], email)
    )
    pages = 0
    for limit, few in ((4, MANY), (50, FEW)):
        read: list[str] = []
        cursor, later = None, now
        while True:
            result = await page(team.workspace, query=contact_filter, limit=limit, cursor=cursor, now=later, few=few)
            values = {card.contact.email: card.standings[-1].value for card in result.cards}
            assert values == {email: shown_value(exact[email or ""]) for email in values}
            read += [card.contact.email or "" for card in result.cards]
            cursor, later, pages = result.next_cursor, later + 20 * DAY, pages + 1
            if cursor is None:
                break
        assert read == expected
    return pages


async def test_a_card_shows_what_is_left_and_until_when(heated: Team) -> None:
    """A card shows the current value, the trend between shown values, and when the score leaves its band."""
    await heated.deliver(set_to("a", "ada@example.com", 98, score="heat", at=NOW - 30 * DAY))
    ada = (await heated.contact("ada@example.com")).id
    results = []
    for days in (-30, -23, 0, 30, 60):
        contact_card = await card(heated.workspace, contact=ada, now=NOW + days * DAY)
        assert contact_card is not None
        (standing,) = contact_card.standings
        results.append(
            (standing.value // 1_000, dict(standing.trends), standing.band_until and (standing.band_until - NOW) // DAY)
        )

    # 10 + 88/2 after one half-life; no longer hot below 79.5: 30 log2(88/69.5) = 10.2 days after the set
    assert results == [
        (98, {}, -20),
        (85, {7: -13_000}, -20),
        (54, {7: -8_000, 30: -44_000}, 17),  # 39.5 = 10 + 29.5: 30 log2(88/29.5) = 47.3 days after
        (32, {7: -4_000, 30: -22_000}, None),
        (21, {7: -2_000, 30: -11_000, 90: -77_000}, None),
    ]


async def test_a_change_starts_from_what_is_left(heated: Team) -> None:
    """Receipts and histories show the value right before the change as the value before."""
    ada = "ada@example.com"
    await heated.deliver(set_to("a", ada, 90, score="heat", at=NOW - 60 * DAY))
    recorded = await heated.ask(change("p", ada, Op.ADD, 5, score="heat"), batch="p")
    _, lines = await history(heated.workspace, contact=(await heated.contact(ada)).id, score="heat", most=9)

    assert [(move.before, move.after) for move in recorded.score_changes] == [(30_000, 35_000)]
    assert [(line.effective, line.value) for line in lines] == [(5_000, 35_000), (80_000, 90_000)]
    undo = await heated.undo("p", batch="u", received=NOW + 60 * DAY)
    assert [(move.before, move.after) for move in undo.score_changes] == [(16_000, 15_000)]
    # The undone fact is still the last fact of the score, but has no effect.
    repeat = await heated.ask(change("q", ada, Op.ADD, 5, score="heat"), batch="q", received=NOW + 60 * DAY + 1)
    assert [(move.before, move.after) for move in repeat.score_changes] == [(15_000, 20_000)]
    _, cards = await top(heated.workspace, score="heat", count=1, now=NOW + 119 * DAY)
    assert [card.standings[-1].value for card in cards] == [13_000]  # 10 + 10 / 2^(59/30) = 12.56
