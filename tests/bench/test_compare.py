"""Run the benches at a tiny size, so that they keep working. What they measure here says nothing about speed."""

from pathlib import Path

import pytest

from tests.bench.compare import BENCHES, format_table
from tests.bench.harness import FLOOR, PRODUCT, Options, Row, Stage, durations_row, furnish, verify
from tests.counts import report_counts
from tests.postgres import Databases
from tests.storage import raw


@pytest.fixture
def stage(sqlite_file: Path, databases: Databases, postgres: str, tmp_path: Path) -> Stage:
    """Return a stage with the test run's PostgreSQL server for both sides."""
    return Stage(tmp_path, sqlite_file, {side: (postgres, databases) for side in (FLOOR, PRODUCT)})


@pytest.mark.parametrize(("bench", "database"), [("ingest", "postgres"), ("import", "sqlite")])
async def test_a_bench_compares_the_product_with_the_floor(stage: Stage, bench: str, database: str) -> None:
    """The bench measures both sides without a refusal, and what they wrote verifies without a difference."""
    options = Options(databases=[database], contacts=20, events=32, rounds=1)
    rows = [(bench, row) async for row in BENCHES[bench](stage, options)]

    report_counts(f"bench {bench} on {database}", {"rows": len(rows)})
    assert {row.database for _, row in rows} == {database}
    assert all(row.product > 0 for _, row in rows)
    assert any(row.share for _, row in rows)


async def test_a_difference_fails_a_bench(stage: Stage) -> None:
    """Contacts that were written by the driver alone verify, until a stored score is changed."""
    async with stage.database("sqlite", PRODUCT) as url:
        await furnish(url, contacts=3)
        assert await verify(url) == 9

        await raw.rows(url, "UPDATE scores SET rank = rank + 1000 WHERE id = 5")
        with pytest.raises(AssertionError, match="Difference"):
            await verify(url)


def test_the_table_says_how_fast_the_product_is_beside_the_floor() -> None:
    """Half the rate and twice the cost are both half as fast; without a floor there is nothing to say."""
    rows = [
        Row(what="items", database="sqlite", unit="/s", floor=9_000, product=4_500),
        Row(what="an item", database="sqlite", unit="µs CPU", floor=10.04, product=20.08),
        Row(what="memory", database="sqlite", unit="MB", floor=None, product=7),
        durations_row("an answer", "sqlite", floor=[0.001], product=[0.02] * 98 + [0.3, 0.4]),
    ]

    cells = [[cell.strip() for cell in line.split("|")] for line in format_table([("demo", row) for row in rows])]
    assert [line[4:] for line in cells[2:]] == [
        ["9,000", "4,500", "0.50"],
        ["10.0", "20.1", "0.50"],
        ["—", "7.00", "—"],
        ["1.00 / 1.00", "20.0 / 300", "0.050"],
    ]
