"""Run the benches at a tiny size, so that they keep working. What they measure here says nothing about speed."""

from pathlib import Path

import pytest

from tests.bench.compare import BENCHES, format_table
from tests.bench.harness import FLOOR, PRODUCT, Options, Stage
from tests.counts import report_counts
from tests.postgres import Databases


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
    assert all(row.product > 0 for _, row in rows)
    assert len(format_table(rows)) == 2 + len(rows)
