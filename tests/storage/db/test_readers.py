"""A read that takes too long is ended, and other reads do not wait for it."""

import asyncio
from dataclasses import replace

from storage.bootstrap import open_storage
from storage.db.database import read
from storage.domain.errors import TooSlow
from storage.limits import DEFAULT_LIMITS
from tests.conftest import KEY

COUNTING = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000000)"
ENDLESS = f"SELECT count(*) FROM ({COUNTING} SELECT i FROM n) AS numbers"


async def test_a_slow_read_is_ended_and_delays_no_other(database_url: str) -> None:
    """Three reads without an end are refused; meanwhile another one is answered."""
    storage = await open_storage(database_url, secret_keys=[KEY], limits=replace(DEFAULT_LIMITS, statement=0.5))
    slow = [asyncio.create_task(read(ENDLESS)) for _ in range(3)]
    answered_first = [await read("SELECT 1 AS one") for _ in range(20)]
    were_running = [not task.done() for task in slow]
    outcomes = await asyncio.gather(*slow, return_exceptions=True)
    after = await read("SELECT 2 AS two")
    await storage.close()

    assert answered_first == [[{"one": 1}]] * 20
    assert were_running == [True] * 3
    assert [type(outcome) for outcome in outcomes] == [TooSlow] * 3
    assert after == [{"two": 2}]
