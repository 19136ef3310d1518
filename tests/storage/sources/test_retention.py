"""Deliveries are deleted after their retention time, even if nothing arrives."""

import asyncio

import pytest

from storage.domain.facts import Unusable
from storage.domain.submissions import Delivered, Raw
from storage.job_handlers import RECURRING, make_handlers
from storage.job_runner import JobRunner
from storage.sources.config import add_source
from storage.sources.deliveries import BATCH, KEPT_FOR, RETENTION, RETENTION_EVERY, count_recent
from tests.storage import raw
from tests.storage.teams import NOW, Team, set_to

RAW = Raw(method="POST", query="", headers={}, body=b"{}")
TABLES = ("deliveries", "raw_deliveries", "quarantine")


@pytest.fixture
async def source(team: Team) -> int:
    """Add a source, and return its row id."""
    return (await add_source(team.workspace, slug="crm", provider="generic", secrets=["s"], by="U0ADMIN", now=NOW)).id


async def test_old_deliveries_are_deleted_without_traffic(team: Team, source: int, database_url: str) -> None:
    """More old deliveries than fit into a transaction are deleted; newer ones, and all score changes, stay."""
    await asyncio.gather(*(deliver(team, source, n, at=NOW + n // BATCH) for n in range(BATCH + 3)))
    now = NOW
    runner = JobRunner(make_handlers(lambda: now), recurring=RECURRING, clock=lambda: now)
    while await runner.work():
        continue
    assert await count_rows(database_url) == {table: BATCH + 3 for table in TABLES}
    now += KEPT_FOR + 1
    while await runner.work():
        continue

    assert await count_rows(database_url) == {table: 3 for table in TABLES}
    assert (await count_recent(team.workspace, source=source, now=NOW + 2)).deliveries == 3
    assert await team.value("p1@example.com") == 1_000
    (job,) = await raw.rows(database_url, "SELECT due_at FROM jobs WHERE kind = $1 AND workspace_id = 1", RETENTION)
    assert job["due_at"] == now + RETENTION_EVERY


async def deliver(team: Team, source: int, number: int, *, at: int) -> None:
    """Record a delivery with an applied item and an unusable one."""
    unusable = Unusable(key=f"u{number}", reason="no good", raw="{}")
    delivered = Delivered(source=source, key=str(number), raw=RAW)
    item = set_to(f"s{number}", f"p{number % 20}@example.com", 1)
    await team.deliver(item, unusable, batch=f"crm/{number}", received=at, delivered=delivered)


async def count_rows(database_url: str) -> dict[str, int]:
    """Return the number of rows in each table of deliveries."""
    return {table: len(await raw.rows(database_url, f"SELECT id FROM {table}")) for table in TABLES}
