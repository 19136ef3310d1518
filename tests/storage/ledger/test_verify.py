"""Verification folds everything again, finds no difference even during writes, and finds each manipulation."""

import asyncio
import random

import pytest

from storage.domain.contacts import Json
from storage.domain.facts import Item, Op
from storage.ledger.verify import Difference, contacts_to_verify, verify_next
from storage.scoring.definitions import add_score_type
from tests.counts import report_counts
from tests.storage import raw
from tests.storage.teams import DAY, NOW, Team, change, field_item

PEOPLE = 30


def items(dice: random.Random, batch: str) -> list[Item]:
    """Return items that change several scores and fields of a contact, some of them late."""
    email = f"p{dice.randrange(PEOPLE):02d}@example.com"
    items = [
        field_item(f"{batch}/said", email, at=NOW - dice.randrange(DAY), name=dice.choice(["Ada", "Bob"]), company=None)
    ]
    listed: list[Json] = ["vip"]
    tags: Json = dice.choice([None, listed])
    items += [field_item(f"{batch}/tags", email, at=NOW - dice.randrange(DAY), tags=tags, email=None)]
    for number in range(dice.randint(1, 4)):
        op, at = dice.choice([Op.SET, Op.ADD, Op.ADD, Op.CLEAR]), NOW - dice.randrange(60 * DAY)
        score = dice.choice(["score", "heat"])
        items.append(change(f"{batch}/{number}", email, op, dice.randint(0, 100), score=score, at=at))
    return items


@pytest.fixture
async def busy(team: Team) -> Team:
    """Return a team with a constant and a fading type, late facts, and undone and restored batches."""
    await add_score_type(
        team.workspace, key="heat", label="Heat", minimum=0, maximum=100_000, step=1_000, start=5_000, bands=[],
        half_life=10 * DAY, is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    dice = random.Random(9)
    for number in range(80):
        await team.deliver(*items(dice, f"b{number}"), batch=f"b{number}")
    for number in range(12):
        items_asked = [item for item in items(dice, f"p{number}") if item.op is not None]
        await team.ask(*items_asked[:1], batch=f"p{number}", received=NOW + number)
    for number in range(0, 12, 2):
        await team.undo(f"p{number}", batch=f"u{number}", received=NOW + 100 + number)
    await team.undo("u4", batch="v4", received=NOW + 200)
    return team


async def verified(team: Team, *, most: int = 7) -> tuple[int, int, list[Difference]]:
    """Verify all contacts, a few at a time; return the number of contacts, of scores and the differences."""
    contacts, scores, differences = 0, 0, list[Difference]()
    last: int | None = 0
    while last is not None:
        checked = await verify_next(team.workspace, after=last, most=most)
        contacts, scores, last = contacts + checked.contacts, scores + checked.scores, checked.last
        differences += checked.differences
    return contacts, scores, differences


async def test_there_is_never_a_difference(busy: Team) -> None:
    """Verification finds no difference, whatever the batch size, while other tasks write."""
    contacts, scores, differences = await verified(busy)
    assert (contacts, differences) == (await contacts_to_verify(busy.workspace), [])
    assert scores > 30
    dice, rounds = random.Random(10), 0
    writing = asyncio.gather(
        *(busy.deliver(*items(dice, f"c{number}"), batch=f"c{number}", received=NOW + DAY) for number in range(150))
    )
    while not writing.done():
        assert (await verified(busy, most=500))[2] == []
        rounds += 1
        await asyncio.sleep(0)
    await writing

    assert (await verified(busy))[2] == []
    report_counts("verified", {"contacts": contacts, "scores": scores, "rounds beside writers": rounds})


TAMPERED = {
    "UPDATE scores SET own = own + 1 WHERE id = {score}": "score",
    "UPDATE scores SET rank = rank + 1 WHERE id = {score}": "score",
    "UPDATE scores SET own_at = own_at - 1 WHERE id = {score}": "score",
    "UPDATE scores SET last_key = 'other' WHERE id = {score}": "score",
    "DELETE FROM scores WHERE id = {score}": "score",
    "UPDATE effects SET effective = effective + 1 WHERE id = {effect}": "effect",
    "UPDATE effects SET rank_after = NULL WHERE id = {effect}": "effect",
    "UPDATE effects SET at = at + 1 WHERE id = {effect}": "effect",
    "UPDATE effects SET snapshot = 'other' WHERE id = {effect}": "effect",
    "DELETE FROM effects WHERE id = {effect}": "effect",
    "UPDATE contacts SET name = 'Eve' WHERE id = {contact}": "name",
    "UPDATE contacts SET is_gone = true WHERE id = {contact}": "gone",
}


async def test_whatever_was_tampered_with_is_found(busy: Team, database_url: str) -> None:
    """Verification reports a manipulation of any column of one row of each kind, and reports nothing else."""
    (some,) = await raw.rows(
        database_url,
        "SELECT k.id AS score, k.contact_id AS contact, e.id AS effect, e.fact_id AS fact, t.key AS of FROM scores k"
        " JOIN effects e ON e.contact_id = k.contact_id AND e.definition_id = k.definition_id"
        " JOIN definitions d ON d.id = k.definition_id JOIN score_types t ON t.id = d.score_type_id"
        " WHERE k.rank > 0 AND e.rank_after > 0 ORDER BY e.id LIMIT 1",
    )
    whats = {
        "score": f"score {some['of']}",
        "effect": f"effect of fact {some['fact']} on {some['of']}",
        "name": "name",
        "gone": "gone",
    }
    found_by_statement = {}
    for sql in TAMPERED:
        table = sql.removeprefix("DELETE FROM ").removeprefix("UPDATE ").partition(" ")[0]
        place = sql.format(**some).partition("WHERE ")[2]
        (row,) = await raw.rows(database_url, f"SELECT * FROM {table} WHERE {place}")
        await raw.rows(database_url, sql.format(**some))
        found_by_statement[sql] = [
            (difference.contact, difference.what) for difference in (await verified(busy, most=500))[2]
        ]
        await raw.rows(database_url, f"DELETE FROM {table} WHERE {place}" if table != "contacts" else "SELECT 1 AS one")
        if table == "contacts":
            await raw.rows(database_url, f"UPDATE contacts SET name = $1, is_gone = false WHERE {place}", row["name"])
            continue
        marks = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await raw.rows(database_url, f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())

    assert found_by_statement == {sql: [(some["contact"], whats[flaw])] for sql, flaw in TAMPERED.items()}
    assert (await verified(busy))[2] == []
