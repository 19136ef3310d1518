"""The SQL of filters about past scores agrees with their specification, which agrees with the words."""

import random
from dataclasses import replace

import pytest

from storage.domain.decay import shown
from storage.domain.facts import Item, Op
from storage.domain.filters import Candidate, Sort, parse
from storage.domain.score_types import Band, ScoreType
from storage.reading.pages import Few, count, page
from storage.scoring.definitions import add_score_type, score_types
from tests.counts import report_counts
from tests.storage import raw
from tests.storage.teams import DAY, NOW, Team, change, field_item, set_to

HOUR = DAY // 24
PEOPLE = 70
MANY = Few(candidates=0, matches=0)  # as in a large workspace: nothing is few


@pytest.fixture
async def heated(team: Team) -> Team:
    """Return a team with a type that fades toward 10 in ten days by half, and one with halves and negatives."""
    await add_score_type(
        team.workspace, key="heat", label="Heat", minimum=-20_000, maximum=100_000, step=1_000, start=10_000,
        bands=[Band(name="all", start=-20_000)], half_life=10 * DAY, is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    await add_score_type(
        team.workspace, key="mood", label="Mood", minimum=-5_000, maximum=5_000, step=500, start=None,
        bands=[], is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    return team


async def filter_letters(team: Team, text: str, *, now: int = NOW) -> list[str]:
    """Return the first letters of the emails that a filter finds."""
    types = await score_types(team.workspace)
    cards = (await page(team.workspace, query=parse(text, types), limit=1000, now=now)).cards
    return [(card.contact.email or "")[0] for card in cards]


async def test_an_undone_fact_is_an_update_and_an_undo_is_none(heated: Team) -> None:
    """`updated` counts any fact of the contact, even an undone one; `stale` counts only changes in force."""
    await heated.deliver(set_to("old", "a@example.com", 40, at=NOW - 20 * DAY), batch="old")
    await heated.ask(set_to("p", "a@example.com", 50, at=NOW - 9 * DAY), batch="p", received=NOW - 9 * DAY)
    await heated.undo("p", batch="u", received=NOW - DAY)
    assert await filter_letters(heated, "updated<10d") == ["a"]
    assert await filter_letters(heated, "updated<5d") == []
    assert await filter_letters(heated, "score stale 15d") == ["a"]


async def test_what_the_words_mean(heated: Team) -> None:
    """Each kind of history has the right answer to each kind of question about the past."""
    past: dict[str, list[tuple[float, Op, int]]] = {
        "a": [(20, Op.SET, 40), (2, Op.ADD, 45)],  # 40 a week ago, 85 now
        "b": [(20, Op.SET, 90), (3, Op.SET, 70)],  # fell by 20
        "c": [(20, Op.SET, 90)],  # untouched
        "d": [(2, Op.SET, 85)],  # none a week ago
        "e": [(20, Op.SET, 0), (1, Op.SET, 10)],  # from 0: no percentage
        "f": [(20, Op.SET, 50), (1, Op.CLEAR, 0)],  # none now
        "g": [(20, Op.SET, 80), (8, Op.CLEAR, 0), (1, Op.SET, 80)],  # none a week ago, in between
        "h": [(7, Op.SET, 60), (0, Op.ADD, 10)],  # the very instant a week ago counts
    }
    for name, changes in past.items():
        for number, (days, op, amount) in enumerate(changes):
            at = NOW - int(days * DAY)
            key = f"{name}{number}"
            await heated.deliver(change(key, f"{name}@example.com", op, amount, at=at), batch=key)
    await heated.deliver(field_item("i", "i@example.com", at=NOW - 40 * DAY, name="I"), batch="i")
    answers = {
        "score rising 10 in 7d": "aeh",
        "score rising 11 in 7d": "a",
        "score falling 20 in 7d": "b",
        "score falling 20% in 7d": "b",  # 20 of 90
        "score falling 23% in 7d": "",
        "score rising 100% in 7d": "a",
        "score moved 10 in 7d": "abeh",
        "-score moved 10 in 7d": "cdfgi",
        "score crossed above 80 in 7d": "adg",  # including contacts without a score before
        "score crossed above 85 in 7d": "ad",
        "score crossed above 80 in 30d": "acdg",
        "score crossed below 80 in 7d": "b",  # not contacts without a score now
        "score crossed below 90 in 1w": "b",
        "score stale 48h": "abcd",
        "score stale 4d": "c",
        "updated<2d": "efgh",
        "updated<=2d": "adefgh",
        "updated>30d": "i",
        "updated>=3d": "bci",
    }

    assert {text: "".join(await filter_letters(heated, text)) for text in answers} == answers


async def test_what_was_undone_has_no_part_in_it(heated: Team) -> None:
    """An undone change neither moves a score nor makes it fresh, but it updates the contact."""
    await heated.deliver(set_to("a", "a@example.com", 40, at=NOW - 20 * DAY))
    await heated.ask(set_to("p", "a@example.com", 90), batch="p", received=NOW - DAY)
    answers = ("score rising 10 in 7d", "score crossed above 80 in 7d", "score stale 10d", "updated<2d")
    before = [await filter_letters(heated, text) for text in answers]
    await heated.undo("p", batch="u")

    assert before == [["a"], ["a"], [], ["a"]]
    assert [await filter_letters(heated, text) for text in answers] == [[], [], ["a"], ["a"]]


async def test_fading_is_a_trend(heated: Team) -> None:
    """A fading score falls and crosses without a change, and rises below its start."""
    await heated.deliver(
        set_to("a", "a@example.com", 90, score="heat", at=NOW), set_to("b", "b@example.com", -20, score="heat", at=NOW)
    )
    filters = (
        "heat falling 20 in 7d",
        "heat rising 5 in 7d",
        "heat crossed below 60 in 7d",
        "heat crossed above 0 in 7d",
    )
    answers = [[await filter_letters(heated, text, now=NOW + days * DAY) for text in filters] for days in (7, 17, 40)]

    # at 0, 7, 10, 17, 33 and 40 days: 90, 59, 50, 35, 18, 15; and -20, -8, -5, 1, 7, 8
    assert answers == [
        [["a"], ["b"], ["a"], []],
        [[], ["b"], [], ["b"]],
        [[], [], [], []],
    ]


def _terms(dice: random.Random) -> str:
    key, most = dice.choice([("score", 60), ("heat", 60), ("mood", 6)])
    window = dice.choice(["1h", "24h", "3d", "7d", "2w", "40d", "90d"])
    amount = dice.choice(["0.5", "1", str(dice.randint(1, most)), "5"])
    percent = dice.choice(["1%", "10%", "33.3%", "150%"])
    way = dice.choice(["rising", "falling", "moved"])
    edge = dice.choice(["1", "4.5", "5"] if key == "mood" else ["0", "11", "12.5", "40", "80", "99"])
    return dice.choice(
        [
            f"{key} rising {amount} in {window}", f"{key} falling {amount} in {window}",
            f"{key} moved {amount} in {window}", f"{key} {way} {percent} in {window}",
            f"{key} crossed above {edge} in {window}", f"{key} crossed below {edge.replace('0', '1')} in {window}",
            f"{key} stale {window}", f"updated{dice.choice(['<', '<=', '>', '>='])}{window}",
            f"-{key} rising {amount} in {window}", f"(heat>=12 OR {key} stale {window})",
        ]
    )  # fmt: skip  # a table of ways to ask


async def specimens(url: str, types: list[ScoreType], now: int) -> list[Candidate]:
    """Return what filters may test of each contact, from the rows of facts and effects."""
    by_definition = {score_type.definition: score_type for score_type in types}
    effects = await raw.rows(
        url,
        "SELECT e.contact_id, e.definition_id, e.at, e.rank_after, f.source, f.dedupe_key"
        " FROM effects e JOIN facts f ON f.id = e.fact_id",
    )
    touched = await raw.rows(url, "SELECT contact_id, max(occurred_at) AS at FROM facts GROUP BY contact_id")
    last = {row["contact_id"]: row["at"] for row in touched}
    everybody = []
    for row in await raw.rows(url, "SELECT id, email FROM contacts ORDER BY id"):
        past: dict[str, list[tuple[int, int | None]]] = {}
        effects_of_contact = [effect for effect in effects if effect["contact_id"] == row["id"]]
        for effect in sorted(
            effects_of_contact, key=lambda effect: (effect["at"], str(effect["source"]), str(effect["dedupe_key"]))
        ):
            key = by_definition[effect["definition_id"]].key  # type: ignore[index]  # a raw row
            past.setdefault(key, []).append((effect["at"], effect["rank_after"]))  # type: ignore[arg-type]  # a raw row
        values = {
            score_type.key: shown(score_type, rank, now=now)
            for score_type in types
            if score_type.key in past and (rank := past[score_type.key][-1][1]) is not None
        }
        everybody.append(
            Candidate(
                id=row["id"], email=row["email"], values=values, now=now, past=past,  # type: ignore[arg-type]  # raw
                touched=last.get(row["id"]),  # type: ignore[arg-type]  # raw
            )
        )  # fmt: skip  # one contact
    return everybody


async def test_the_sql_finds_whom_the_specification_finds(heated: Team, database_url: str) -> None:
    """The SQL finds what the specification finds, for random histories with ties and random questions."""
    dice = random.Random(17)
    for number in range(PEOPLE):
        items: list[Item] = []
        for place in range(dice.randint(0, 8)):
            key = dice.choice(["score", "heat", "mood"])
            op = dice.choice([Op.SET, Op.SET, Op.ADD, Op.ADD, Op.CLEAR])
            amount = {"score": dice.randint(0, 100), "heat": dice.randint(-20, 100), "mood": dice.randint(-5, 5)}[key]
            at = NOW - dice.choice([0, 1, 3, 7, 14, 40, 90]) * DAY - dice.choice([0, 0, 1, HOUR])
            items.append(change(f"{number}/{place}", f"p{number:03d}@example.com", op, amount, score=key, at=at))
        items.append(
            field_item(f"{number}/said", f"p{number:03d}@example.com", at=NOW - dice.randrange(100 * DAY), name="P")
        )
        await heated.deliver(*items, batch=f"b{number}")
    types, counts = list(await score_types(heated.workspace)), {"cells": 0, "hits": 0}
    for now in (NOW, NOW + 9 * DAY, NOW + 33 * DAY):
        everybody = await specimens(database_url, types, now)
        for _ in range(90):
            text = _terms(dice)
            contact_filter = parse(text, types)
            expected = [candidate.email for candidate in everybody if contact_filter.matches(candidate)]
            answer = await page(heated.workspace, query=contact_filter, limit=1000, now=now)
            assert (text, [card.contact.email for card in answer.cards]) == (text, expected)
            in_order = replace(contact_filter, sort=(Sort((contact_filter.scores or types)[0], True),))
            answer = await page(heated.workspace, query=in_order, limit=1000, now=now, few=MANY)
            assert (text, sorted(card.contact.email or "" for card in answer.cards)) == (text, expected)
            counts["cells"], counts["hits"] = counts["cells"] + len(everybody), counts["hits"] + len(expected)
            assert await count(heated.workspace, query=contact_filter, now=now, few=MANY) == len(expected)

    report_counts("questions about the past", counts)
    assert counts["cells"] >= 15_000
    assert 0.1 < counts["hits"] / counts["cells"] < 0.7
