"""Push the first two thousand lines of the CDNOW log, as the benchmark pushes all of them."""

from pathlib import Path

import pytest

from tests.bench.replay import BATCH, check, purchases, replay

LOG = Path(__file__).resolve().parent.parent / "data" / "cdnow_2000.txt"


@pytest.mark.slow
async def test_real_purchases_add_up(database_url: str) -> None:
    """Each contact has the computed sum, and a second push in another order contains only duplicates."""
    log = purchases(LOG)
    dialect = database_url.partition(":")[0]
    # In order first into SQLite, shuffled first into PostgreSQL: complete exports are compared with the same sums.
    replayed = await replay(database_url, log, seed=7, shuffled_first=dialect == "postgres")
    first, again = replayed.in_order, replayed.shuffled
    if dialect == "postgres":
        first, again = again, first

    assert len(log) == 1999  # the first line names the columns
    assert len(log) > 3 * BATCH
    assert check(replayed, log) == 586
    assert (first.applied, first.duplicate, again.applied, again.duplicate) == (1999, 0, 0, 1999)
    assert replayed.peak < 200 * 1024
    print(f"\n{dialect}: {len(log) / first.seconds:,.0f} a second, serve at most {replayed.peak / 1024:.0f} MiB")
