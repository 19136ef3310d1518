"""Several processes write to one database at once: a SQLite file, or PostgreSQL as replicas do."""

import asyncio
import json
import os
from collections import Counter
from contextlib import suppress

import pytest

from storage.bootstrap import open_storage
from storage.ledger.verify import verify_next
from storage.workspaces import add_workspace, find_workspace
from tests.counts import report_counts
from tests.processes import HOUSE, at_once
from tests.storage import raw
from tests.storage.replica import FACTS, KEYS, PEOPLE, SUBMISSIONS, reference_to
from tests.storage.teams import NOW, Team

PROCESSES = 4
BATCHES = int(os.environ.get("BATCHES", "400")) // PROCESSES  # of each process that merges and splits
MERGER = str(HOUSE / "tests" / "storage" / "merger.py")
REPLICA = str(HOUSE / "tests" / "storage" / "replica.py")


@pytest.mark.slow
async def test_processes_that_write_the_same_facts_at_once(database_url: str) -> None:
    """Without failed locks, deadlocks or duplicate contacts each fact counts once, from the process that came first."""
    opened_storage = await open_storage(database_url, secret_keys=KEYS)
    await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
    await opened_storage.close()

    async with asyncio.timeout(120):
        printed = await at_once([(REPLICA, database_url, str(seed)) for seed in range(PROCESSES)])

    reports = [json.loads(line) for line in printed]
    statuses = sum((Counter(report["told"]) for report in reports), Counter[str]())
    report_counts(f"{PROCESSES} processes at once", statuses)
    assert statuses == {
        "submissions": PROCESSES * SUBMISSIONS,
        "applied": FACTS,
        "duplicate": (PROCESSES - 1) * FACTS,
    }
    assert statuses["submissions"] >= 2_000
    assert max(report["begun"] for report in reports) < min(
        report["ended"] for report in reports
    )  # all processes ran at the same time
    count_query = "SELECT (SELECT count(*) FROM contacts) AS contacts, (SELECT count(*) FROM effects) AS effects"
    assert await raw.rows(database_url, count_query) == [{"contacts": PEOPLE, "effects": FACTS}]
    opened_storage = await open_storage(database_url, secret_keys=KEYS)
    try:
        team = Team(await find_workspace("T0ACME"))
        names = [
            reference.email or f"{reference.source}:{reference.id}" for reference in map(reference_to, range(PEOPLE))
        ]
        assert [await team.value(name) for name in names] == [FACTS // PEOPLE * 1_000] * PEOPLE
        for name in names[:3]:
            lines = await team.lines(name)
            assert [line.value for line in reversed(lines)] == [n * 1_000 for n in range(1, FACTS // PEOPLE + 1)]
    finally:
        await opened_storage.close()


async def count_rows(url: str) -> None:
    """Analyze PostgreSQL each second, in place of autovacuum, which is off in tests.

    Without statistics PostgreSQL would plan each statement for the empty tables of the start."""
    while True:
        await asyncio.sleep(1)
        await raw.rows(url, "ANALYZE")


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_processes_that_change_merge_and_part_the_same_contacts(database_url: str) -> None:
    """Without a deadlock, and with no submission given up, everything stored equals a fold of the ledger."""
    opened_storage = await open_storage(database_url, secret_keys=KEYS)
    workspace = await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
    await opened_storage.close()

    counting = asyncio.create_task(count_rows(database_url))
    try:
        async with asyncio.timeout(60 + BATCHES):
            printed = await at_once([(MERGER, database_url, str(seed), str(BATCHES)) for seed in range(PROCESSES)])
    finally:
        counting.cancel()
        with suppress(asyncio.CancelledError):
            await counting

    statuses = sum((Counter(json.loads(line)) for line in printed), Counter[str]())
    (row,) = await raw.rows(
        database_url,
        "SELECT (SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()) AS deadlocks,"
        " (SELECT count(*) FROM contacts WHERE merged_into IS NOT NULL) AS merged,"
        " (SELECT count(*) FROM facts WHERE kind = 'merge') AS merges,"
        " (SELECT count(*) FROM facts WHERE kind = 'change') AS changes",
    )
    opened_storage = await open_storage(database_url, secret_keys=KEYS)
    try:
        verified = await verify_next(workspace)
    finally:
        await opened_storage.close()
    results: dict[str, object] = {"differences": len(verified.differences), **row}
    report_counts(
        f"{PROCESSES} processes that merge and part", {**statuses, **{key: int(str(n)) for key, n in results.items()}}
    )
    assert not verified.differences, "\n".join(str(difference) for difference in verified.differences)
    assert row["deadlocks"] == 0
    assert statuses["given up"] == 0
    assert statuses["batches"] + statuses["nothing to undo"] == PROCESSES * BATCHES
    assert min(verified.contacts, int(str(row["merged"]))) >= 10
    assert int(str(row["merges"])) >= BATCHES // 4
    assert statuses["undone"] >= BATCHES // 4
    assert statuses["duplicate"] >= BATCHES
