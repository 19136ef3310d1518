"""What a write knows of its workspace is in memory until anybody changes it, and a change counts at once."""

from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest

from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.alerts.followups import load_follow_ups
from storage.alerts.rules import pause_rule, remove_rule, resume_rule
from storage.bootstrap import open_storage
from storage.db.database import Session, current_database, write
from storage.domain.errors import SourceChanged
from storage.domain.facts import Item, Op
from storage.domain.score_types import Rule, ScoreType
from storage.domain.submissions import Delivered, Status
from storage.ledger.committer import Committer
from storage.ledger.config_cache import ConfigCache
from storage.scoring.definitions import add_score_type, score_type
from storage.scoring.drafts import apply, build, create_draft
from storage.scoring.removal import add_again, remove_score_type
from storage.sources.config import add_source, find_source, rotate_source
from tests.storage import raw
from tests.storage.teams import NOW, Team, change, set_to
from tests.storage.worlds import KEYS, fill

ADA, BOB = "ada@example.com", "bob@example.com"
MOOD: Any = {
    "key": "mood", "label": "Mood", "minimum": 0, "maximum": 10_000, "step": 1000, "bands": [], "start": 0,
    "is_default": False, "by": "U1",
}  # fmt: skip  # the numbers of one definition
TABLES = ("workspaces", "sources", "score_types", "definitions", "alert_rules")
#: table → the columns of which a write and the receiver of deliveries know nothing
UNKNOWN = {
    "workspaces": {  # whatever of it is known is read in each transaction; the default type marks a score type
        "team", "name", "alert_channel", "admins", "setters", "welcomed_at", "set_up_at", "tombstone_key",
        "events_kept_until", "events_position", "watches_segments", "write_backs", "zone", "opens", "closes",
        "words_after", "created_at",
    },
    "sources": {
        "unread", "unread_at", "standing", "standing_at", "told", "unwritten", "unwritten_at", "writing_paused_at",
        "created_at", "updated_at",
    },
    "score_types": {"created_at"},
    "definitions": {"to_fold", "asked", "applied_by", "applied_at", "replaces", "asked_up_to", "created_at"},
    "alert_rules": {"swept_until", "created_at"},
}  # fmt: skip  # names


async def version(url: str) -> object:
    """Return the version of the workspace's settings."""
    rows = await raw.rows(url, "SELECT version FROM config_versions ORDER BY workspace_id LIMIT 1")
    return rows[0]["version"]


@pytest.fixture(scope="module")
async def filled(lasting_database_url: str) -> str:
    """Return the URL of a database in which every table has rows."""
    await fill(lasting_database_url)
    return lasting_database_url


@pytest.mark.parametrize("table", TABLES)
async def test_a_change_of_any_column_that_is_known_is_seen(filled: str, table: str) -> None:
    """Setting a column, by whatever program, changes the version; columns that nothing knows do not."""
    (row,) = await raw.rows(filled, f"SELECT * FROM {table} ORDER BY id LIMIT 1")
    for column in row.keys() - {"id"}:
        before = await version(filled)
        await raw.rows(filled, f"UPDATE {table} SET {column} = {column} WHERE id = $1", row["id"])

        assert (await version(filled) != before) == (column not in UNKNOWN[table]), column


@pytest.mark.parametrize("table", TABLES[1:])
async def test_a_new_and_a_deleted_row_are_seen(filled: str, table: str) -> None:
    """A row that is added or deleted changes the version."""
    (row,) = await raw.rows(filled, f"SELECT * FROM {table} ORDER BY id LIMIT 1")
    unique: dict[str, dict[str, object]] = {
        "sources": {"slug": "other"},
        "score_types": {"key": "other"},
        "definitions": {"number": 99},
    }
    row |= {"id": 999, **unique.get(table, {})}
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    before = await version(filled)

    await raw.rows(filled, f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", *row.values())
    between = await version(filled)
    await raw.rows(filled, f"DELETE FROM {table} WHERE id = 999")

    assert len({before, between, await version(filled)}) == 3


async def test_a_change_that_is_rolled_back_leads_to_no_version_of_a_later_one(filled: str) -> None:
    """What a transaction loaded after its own change is not taken for a later change when it is rolled back."""
    cache, labels = ConfigCache(), list[str]()

    class RollBack(Exception):
        pass

    async def rename(session: Session, label: str, *, fails: bool) -> None:
        await session.rows("UPDATE definitions SET label = $1 WHERE id = 1", label)
        await load(session)
        if fails:
            raise RollBack

    async def load(session: Session) -> None:
        configs = await cache.load(session, [1])
        labels.append(configs.types[1]["score"].label)

    opened_storage = await open_storage(filled, secret_keys=KEYS)
    try:
        await write(load)
        with pytest.raises(RollBack):
            await write(lambda session: rename(session, "Wrong", fails=True))
        await write(load)
        await raw.rows(filled, "UPDATE definitions SET label = 'Score' WHERE id = 1")
        await write(load)
    finally:
        await opened_storage.close()

    assert [labels[0], labels[2], labels[3]] == ["Score"] * 3


class World:
    """A team with a process that records from memory, beside another process that changes the settings."""

    def __init__(self, team: Team) -> None:
        self.team = Team(team.workspace, Committer(current_database()))
        self.workspace = team.workspace
        self.number = 0

    async def change(self, happens: Awaitable[object]) -> None:
        """Warm up the memory of the process that records, and let another change something."""
        await self.record(set_to("w", ADA, 10))
        await happens

    async def record(self, item: Item) -> Status:
        """Record an item, and return its outcome."""
        self.number += 1
        recorded = await self.team.deliver(
            replace(item, key=f"k{self.number}"), batch=f"d{self.number}", received=NOW + self.number
        )
        return recorded.outcomes[0].status

    async def follow_ups(self) -> int:
        """Return the number of follow-ups."""
        return len(await load_follow_ups(self.workspace, ids=range(1, 99)))

    async def redefine(self, wanted: ScoreType) -> None:
        """Change a score type as an admin does."""
        new_draft = await create_draft(self.workspace, proposed=wanted, by="U1", now=NOW)
        assert new_draft is not None
        assert await build(self.workspace, draft=new_draft, clock=lambda: NOW)
        await apply(self.workspace, draft=new_draft, with_alerts=False, by="U1", clock=lambda: NOW)


@pytest.fixture
async def world(team: Team) -> World:
    """Return a team with a process of its own."""
    return World(team)


async def test_score_types_of_another_process_count_in_the_next_transaction(world: World) -> None:
    """A type that was added, redefined, removed or added again is used by the very next record."""
    workspace = world.workspace
    await world.change(add_score_type(workspace, **MOOD, now=NOW))
    assert await world.record(set_to("a", ADA, 5, score="mood")) is Status.APPLIED
    mood = await score_type(workspace, key="mood")

    await world.change(world.redefine(replace(mood, maximum=20_000)))
    assert await world.record(set_to("a", ADA, 20, score="mood")) is Status.APPLIED
    assert await world.team.value(ADA, "mood") == 20_000

    await world.change(remove_score_type(workspace, key="mood", by="U1", clock=lambda: NOW))
    assert await world.record(set_to("a", ADA, 5, score="mood")) is Status.QUARANTINED

    await world.change(add_again(workspace, **MOOD, clock=lambda: NOW))
    assert await world.record(set_to("a", ADA, 6, score="mood")) is Status.APPLIED


async def test_scoring_rules_of_another_process_count_in_the_next_transaction(world: World) -> None:
    """An activity scores by the rule that another process has just applied."""
    activity = replace(set_to("v", ADA, 1), score=None, op=None, activity="visit")
    await world.record(activity)
    score = await score_type(world.workspace, key="score")
    visit = Rule(name="Visit", activity="visit", points=7_000)

    await world.change(world.redefine(replace(score, rules=(visit,))))
    before = await world.team.value(ADA)
    assert await world.record(activity) is Status.APPLIED

    assert before is not None
    assert await world.team.value(ADA) == before + 7_000


async def test_alert_rules_of_another_process_count_in_the_next_transaction(world: World) -> None:
    """A rule that was added, paused, resumed or removed is used by the very next record."""
    workspace = world.workspace
    await choose_channel(workspace, channel="C0SALES", by="U1", now=NOW)
    await pause_rule(workspace, rule=1, by="U1", now=NOW)
    words = "when score crosses 50 cooldown 1h"
    await world.change(add_alert_rule(workspace, words=words, made_by="U1", owners={}, now=NOW))
    await world.record(set_to("a", ADA, 60))
    assert await world.follow_ups() == 1

    await world.change(pause_rule(workspace, rule=2, by="U1", now=NOW))
    await world.record(set_to("a", BOB, 60))
    assert await world.follow_ups() == 1

    await world.change(resume_rule(workspace, rule=2, by="U1", now=NOW))
    await world.record(set_to("a", "eve@example.com", 60))
    assert await world.follow_ups() == 2

    await world.change(remove_rule(workspace, rule=2, by="U1", now=NOW))
    await world.record(set_to("a", "zoe@example.com", 60))
    assert await world.follow_ups() == 2


async def test_a_delivery_of_an_outdated_source_is_refused_beside_others(world: World, database_url: str) -> None:
    """A delivery that an earlier secret authenticated records nothing; another one and the current one do."""
    source = await add_source(world.workspace, slug="crm", provider="generic", secrets=["a"], by="U1", now=NOW)
    await world.change(rotate_source(world.workspace, slug="crm", secret="b", by="U1", now=NOW))
    current = await find_source(world.workspace.team, slug="crm")

    with pytest.raises(SourceChanged):
        await world.team.deliver(
            set_to("x", ADA, 90), batch="x", delivered=Delivered(source=source.id, key="x", version=source.version)
        )
    for key, at in (("y", current.version), ("z", None)):
        await world.team.deliver(
            change(key, ADA, Op.ADD, 1), batch=key, delivered=Delivered(source=source.id, key=key, version=at)
        )

    assert await world.team.value(ADA) == 12_000
    assert await raw.rows(database_url, "SELECT delivery_key AS key FROM deliveries ORDER BY id") == [
        {"key": "y"}, {"key": "z"},
    ]  # fmt: skip  # one per delivery
