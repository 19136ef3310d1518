"""Several processes write to one database at once: on one SQLite file, and as replicas beside one PostgreSQL."""

import asyncio
import json
import os
from collections import Counter
from contextlib import suppress

import pytest

from storage.bootstrap import open_storage
from storage.ledger.verify import verify_next
from storage.workspaces import add_workspace, find_workspace
from tests.counts import tell
from tests.storage import raw
from tests.storage.processes import HOUSE, at_once
from tests.storage.replica import FACTS, KEYS, PEOPLE, SUBMISSIONS, whom
from tests.storage.teams import NOW, Team

PROCESSES = 4
BATCHES = int(os.environ.get("BATCHES", "400")) // PROCESSES  # of each of those that merge and part
MERGER = str(HOUSE / "tests" / "storage" / "merger.py")
REPLICA = str(HOUSE / "tests" / "storage" / "replica.py")


@pytest.mark.slow
async def test_processes_that_write_the_same_facts_at_once(database_url: str) -> None:
    """No lock that fails, no deadlock, no contact twice: each fact counts once, for whichever process came first."""
    opened = await open_storage(database_url, secret_keys=KEYS)
    await add_workspace("T0ACME", name="Acme", now=NOW)
    await opened.close()

    async with asyncio.timeout(120):
        printed = await at_once([(REPLICA, database_url, str(seed)) for seed in range(PROCESSES)])

    said = [json.loads(one) for one in printed]
    told = sum((Counter(one["told"]) for one in said), Counter[str]())
    tell(f"{PROCESSES} processes at once", told)
    assert told == {
        "submissions": PROCESSES * SUBMISSIONS,
        "applied": FACTS,
        "duplicate": (PROCESSES - 1) * FACTS,
    }
    assert told["submissions"] >= 2_000
    assert max(one["begun"] for one in said) < min(one["ended"] for one in said)  # all of them at one time
    counted = "SELECT (SELECT count(*) FROM contacts) AS contacts, (SELECT count(*) FROM effects) AS effects"
    assert await raw.rows(database_url, counted) == [{"contacts": PEOPLE, "effects": FACTS}]
    opened = await open_storage(database_url, secret_keys=KEYS)
    try:
        team = Team(await find_workspace("T0ACME"), opened.committer)
        names = [one.email or f"{one.source}:{one.id}" for one in map(whom, range(PEOPLE))]
        assert [await team.value(name) for name in names] == [FACTS // PEOPLE * 1_000] * PEOPLE
        for name in names[:3]:
            lines = await team.lines(name)
            assert [line.value for line in reversed(lines)] == [n * 1_000 for n in range(1, FACTS // PEOPLE + 1)]
    finally:
        await opened.close()


async def count_rows(url: str) -> None:
    """Let PostgreSQL count its rows from time to time, as it does by itself where that is not switched off for tests.

    Without that it plans every statement for the empty tables there were at first."""
    while True:
        await asyncio.sleep(1)
        await raw.rows(url, "ANALYZE")


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_processes_that_change_merge_and_part_the_same_contacts(database_url: str) -> None:
    """No deadlock, nothing given up, and everything is kept as a fold of the whole ledger has it."""
    opened = await open_storage(database_url, secret_keys=KEYS)
    workspace = await add_workspace("T0ACME", name="Acme", now=NOW)
    await opened.close()

    counting = asyncio.create_task(count_rows(database_url))
    try:
        async with asyncio.timeout(60 + BATCHES):
            printed = await at_once([(MERGER, database_url, str(seed), str(BATCHES)) for seed in range(PROCESSES)])
    finally:
        counting.cancel()
        with suppress(asyncio.CancelledError):
            await counting

    told = sum((Counter(json.loads(one)) for one in printed), Counter[str]())
    (counted,) = await raw.rows(
        database_url,
        "SELECT (SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()) AS deadlocks,"
        " (SELECT count(*) FROM contacts WHERE merged_into IS NOT NULL) AS merged,"
        " (SELECT count(*) FROM facts WHERE kind = 'merge') AS merges,"
        " (SELECT count(*) FROM facts WHERE kind = 'change') AS changes",
    )
    opened = await open_storage(database_url, secret_keys=KEYS)
    try:
        verified = await verify_next(workspace)
    finally:
        await opened.close()
    seen: dict[str, object] = {"differences": len(verified.differences), **counted}
    tell(f"{PROCESSES} processes that merge and part", {**told, **{key: int(str(n)) for key, n in seen.items()}})
    assert verified.differences == ()
    assert counted["deadlocks"] == 0
    assert told["given up"] == 0
    assert told["batches"] + told["nothing to undo"] == PROCESSES * BATCHES
    assert min(verified.contacts, int(str(counted["merged"]))) >= 10
    assert int(str(counted["merges"])) >= BATCHES // 4
    assert told["undone"] >= BATCHES // 4
    assert told["duplicate"] >= BATCHES
