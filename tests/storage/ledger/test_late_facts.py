"""A late fact reads the effects around it, not the history of its contact, and leaves what the ledger says."""

import random
from dataclasses import replace

import pytest

from storage.db.database import Row, Session, current_database
from storage.domain.contacts import Json, Reference
from storage.domain.facts import Item, Op, Split
from storage.domain.score_types import Rule, RuleCap
from storage.domain.submissions import Recorded, Submission
from storage.ledger.config_cache import ConfigCache
from storage.ledger.record import record_group
from storage.ledger.verify import verify_next
from storage.scoring.definitions import add_score_type, score_type
from storage.scoring.drafts import apply, build, create_draft
from tests.storage import raw
from tests.storage.teams import DAY, NOW, SECOND, Team, change

MINUTE = 60 * SECOND
ADA = "ada@example.com"
RULES = (
    Rule(name="Visit", activity="visit", points=2_000, cap=RuleCap(points=9_000, period="day", group="web")),
    Rule(name="Click", activity="click", points=3_000, cap=RuleCap(points=9_000, period="day", group="web")),
    Rule(name="Complaint", activity="complaint", points=-4_000, cap=RuleCap(points=60_000, period="ever")),
    Rule(name="Demo", activity="demo", points=5_000, condition="tag:vip"),
    Rule(name="VIP", activity="visit", points=1_000, condition="tag:vip"),
)
TAGS: tuple[list[Json], ...] = (["vip"], [])
KINDS = ("visit", "click", "complaint", "demo")


@pytest.fixture
async def scoring(team: Team) -> Team:
    """Return a team with types of every kind: plain, fading, capped, and with rules about fields."""
    for key, rules, half_life in (
        ("heat", RULES[:3], 10 * DAY),
        ("fit", (*RULES, Rule(name="Is VIP", points=20_000, condition="tag:vip")), None),
        ("care", RULES[3:], None),
    ):
        await add_score_type(
            team.workspace, key=key, label=key, minimum=-500_000, maximum=500_000, step=1_000, start=0, bands=[],
            half_life=half_life, rules=rules, is_default=False, by="U0ADMIN", now=NOW,
        )  # fmt: skip  # one definition
    return team


def some_item(dice: random.Random, key: str, *, contact: str = ADA, within: int = 400) -> Item:
    """Choose an item about a contact, at one of the last *within* steps of ten minutes."""
    at = NOW - dice.randrange(within) * 10 * MINUTE
    kind = dice.random()
    if kind < 0.5:
        return Item(
            key=key, contact=Reference(email=contact), activity=dice.choice(KINDS), amount=1_000, occurred_at=at
        )
    if kind < 0.55:
        return Item(key=key, contact=Reference(email=contact), fields={"tags": dice.choice(TAGS)}, occurred_at=at)
    op = dice.choice([Op.ADD] * 6 + [Op.SET, Op.CLEAR])
    amount = {Op.SET: 20, Op.CLEAR: 0}.get(op, dice.choice([-9, 1, 5]))
    return change(key, contact, op, amount, score=dice.choice(["score", "heat", "fit", "care"]), at=at)


async def find_differences(team: Team) -> list[str]:
    """Return the differences to a fold of all facts; it uses no snapshots."""
    return [f"{found.what}: {found.kept} / {found.folded}" for found in (await verify_next(team.workspace)).differences]


async def test_any_history_is_as_the_whole_ledger_has_it(scoring: Team, database_url: str) -> None:
    """After late facts, undos, merges, and changes of a definition, all is as a fold of all facts has it."""
    dice = random.Random(5)
    await scoring.deliver(*(some_item(dice, f"first/{number}") for number in range(150)), batch="first")
    await scoring.deliver(
        *(some_item(dice, f"other/{number}", contact="bob@example.com") for number in range(60)), batch="other"
    )
    for number in range(24):
        batch, received = f"b{number}", NOW + number * SECOND
        items = [some_item(dice, f"{batch}/{index}") for index in range(dice.choice([1, 1, 3]))]
        if number % 3:
            await scoring.deliver(*items, batch=batch, received=received)
        else:
            await scoring.ask(*items, batch=batch, received=received)
        match number:
            case 4 | 16:
                await scoring.undo(f"b{number - 1}", batch=f"undo/{number}", received=received)
            case 7:
                await scoring.undo("undo/4", batch="redo", received=received)
            case 9:
                heat = await score_type(scoring.workspace, key="heat")
                changed = replace(heat, half_life=3 * DAY, rules=heat.rules[:2])
                proposed = await create_draft(scoring.workspace, proposed=changed, by="U0ADMIN", now=received)
                assert proposed is not None  # its building ends now, and later facts go into it as well
                await build(scoring.workspace, draft=proposed, clock=lambda: NOW)
            case 13:
                assert proposed is not None
                await apply(scoring.workspace, draft=proposed, with_alerts=False, by="U0ADMIN", clock=lambda: NOW)
            case 21:
                split = Split(key="split", contact=Reference(email=ADA), id=Reference(source="crm", id="1"))
                await scoring.ask(split, batch="split", received=received)
            case 18:
                both = Item(key="both", contact=Reference(email=ADA, source="crm", id="1"), fields={"name": "Ada"})
                bob = Item(key="bob", contact=Reference(email="bob@example.com", source="crm", id="1"), fields={})
                await scoring.deliver(both, bob, batch="merge", received=received)
        assert (number, await find_differences(scoring)) == (number, [])
    assert len(await raw.rows(database_url, "SELECT id FROM effects WHERE snapshot IS NOT NULL")) > 5


async def test_late_facts_read_as_facts_in_order(scoring: Team) -> None:
    """Scores and histories are the same if the facts of a contact came late or in order."""
    dice = random.Random(6)
    items = [some_item(dice, f"{number:03d}", within=50) for number in range(70)]
    for number, item in enumerate(items):
        await scoring.deliver(replace(item, key=f"a/{item.key}"), batch=f"a{number}")
    in_order = sorted(items, key=lambda item: (item.occurred_at or 0, item.key))
    bob = Reference(email="bob@example.com")
    for number, item in enumerate(in_order):
        await scoring.deliver(replace(item, key=f"b/{item.key}", contact=bob), batch=f"b{number}")
    for score in ("score", "heat", "fit", "care"):
        histories = [
            [(line.occurred_at, line.op, line.amount, line.effective, line.before, line.value) for line in lines]
            for lines in (await scoring.lines(ADA, score), await scoring.lines("bob@example.com", score))
        ]
        assert len(histories[0]) > 5
        assert histories[0] == histories[1]
        assert await scoring.value(ADA, score) == await scoring.value("bob@example.com", score)


async def test_several_late_facts_in_one_commit(scoring: Team) -> None:
    """Late facts about one contact that share a commit, between facts in order, end as the ledger says."""
    dice = random.Random(7)
    await scoring.deliver(*(some_item(dice, f"first/{number}") for number in range(80)), batch="first")
    submissions = [
        scoring.delivery(some_item(dice, f"s{number}", within=400 if number % 3 else 1), batch=f"s{number}")
        for number in range(30)
    ]
    database = current_database()
    await database.transaction(
        lambda session: record_group(
            session, [(scoring.workspace, submission) for submission in submissions], ConfigCache(), now=NOW
        )
    )

    assert await find_differences(scoring) == []


async def test_effects_of_an_earlier_version_get_what_they_lack(scoring: Team, database_url: str) -> None:
    """Where an earlier version stored no snapshots, a late fact is right, and the next one reads few rows again."""
    dice = random.Random(8)
    await scoring.deliver(
        *(Item(key=f"{number}", contact=Reference(email=ADA), activity=dice.choice(KINDS[:3]), amount=1_000,
               occurred_at=NOW - (600 - number) * MINUTE) for number in range(600)),
        batch="first",
    )  # fmt: skip  # one history
    before = await raw.rows(database_url, "SELECT id, snapshot FROM effects ORDER BY id")
    await raw.rows(database_url, "UPDATE effects SET snapshot = NULL")
    (first, _), (second, _) = [
        await count_rows(scoring, Item(key=f"late/{number}", contact=Reference(email=ADA), activity="complaint",
                                       amount=1_000, occurred_at=NOW - 20 * MINUTE - number))
        for number in range(2)
    ]  # fmt: skip  # two late facts
    after = {row["id"]: row["snapshot"] for row in await raw.rows(database_url, "SELECT id, snapshot FROM effects")}

    assert second < 200 < first
    assert {row["id"] for row in before if row["snapshot"]} <= {id for id, snapshot in after.items() if snapshot}
    assert await find_differences(scoring) == []


class CountingSession(Session):
    """A session that counts its statements and the rows that it reads."""

    def __init__(self, session: Session) -> None:
        super().__init__(session._client, session.dialect)
        self.statements = self.read = 0

    async def rows(self, sql: str, *params: object) -> list[Row]:
        """Run one statement and count it."""
        rows = await super().rows(sql, *params)
        self.statements += 1
        self.read += len(rows)
        return rows


async def count_rows(team: Team, item: Item) -> tuple[int, int]:
    """Record an item; return the number of rows that its transaction read, and of its statements."""
    submission = Submission(source="crm", batch=item.key, received_at=NOW, items=(item,))

    async def body(session: Session) -> tuple[int, int]:
        counting = CountingSession(session)
        (recorded,) = await record_group(counting, [(team.workspace, submission)], ConfigCache(), now=NOW)
        assert isinstance(recorded, Recorded)
        assert [outcome.status for outcome in recorded.outcomes] == ["applied"]
        return counting.read, counting.statements

    return await current_database().transaction(body)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_late_fact_reads_few_rows_of_a_long_history(team: Team) -> None:
    """With 10,000 facts, a fact that is late by 100 reads as many rows, and an older one those up to the next set."""
    number = 10_000

    def item(index: int, key: str) -> Item:
        op, amount = (Op.SET, 50) if index == number // 2 else (Op.ADD, 1 - index % 2 * 2)
        return change(key, ADA, op, amount, at=NOW - (number - index) * MINUTE)

    for start in range(0, number, 1_000):
        await team.deliver(*(item(index, f"{index}") for index in range(start, start + 1_000)), batch=f"{start}")
    counted = {by: await count_rows(team, item(number - by, f"late/{by}")) for by in (10, 100, 5_100, 9_000)}

    assert counted[10][0] < 40
    assert counted[100][0] < 130
    assert counted[5_100][0] < 160
    assert max(statements for _, statements in counted.values()) < 30
    assert await find_differences(team) == []
