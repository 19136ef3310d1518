"""SQLite plans for a large database from the first row on."""

import pytest

from storage.bootstrap import open_storage
from storage.db.sqlite_statistics import EXPECTED
from tests.conftest import KEY
from tests.storage import raw

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def test_every_index_of_the_large_tables_has_its_numbers(database_url: str) -> None:
    """Each index of the large tables has its statistics, a number per column and one for the rows, in a fresh file."""
    await (await open_storage(database_url, secret_keys=[KEY])).close()
    tables = {table for table, _ in EXPECTED.values()}
    indexes = {
        str(row["name"]): (row["tbl_name"], row["columns"])
        for row in await raw.rows(
            database_url,
            "SELECT name, tbl_name, (SELECT count(*) FROM pragma_index_info(sqlite_master.name)) AS columns"
            " FROM sqlite_master WHERE type = 'index'",
        )
        if row["tbl_name"] in tables
    }

    assert indexes == {index: (table, len(numbers.split()) - 1) for index, (table, numbers) in EXPECTED.items()}
    statistics = await raw.rows(database_url, "SELECT tbl, idx, stat FROM sqlite_stat1 WHERE tbl <> 'workspaces'")
    assert {row["idx"]: (row["tbl"], row["stat"]) for row in statistics} == EXPECTED


async def test_what_was_counted_meanwhile_gives_way(database_url: str) -> None:
    """Statistics of someone's ANALYZE are replaced when the database is opened, and correct ones are left alone."""
    await (await open_storage(database_url, secret_keys=[KEY])).close()
    await raw.rows(database_url, "UPDATE sqlite_stat1 SET stat = '3 1' WHERE idx = 'identities_contact'")
    await raw.rows(database_url, "DELETE FROM sqlite_stat1 WHERE idx = 'facts_key'")
    await (await open_storage(database_url, secret_keys=[KEY])).close()
    before = await raw.rows(database_url, "SELECT rowid, tbl, idx, stat FROM sqlite_stat1 WHERE tbl <> 'workspaces'")
    await (await open_storage(database_url, secret_keys=[KEY])).close()

    assert {row["idx"]: (row["tbl"], row["stat"]) for row in before} == EXPECTED
    after = await raw.rows(database_url, "SELECT rowid, tbl, idx, stat FROM sqlite_stat1 WHERE tbl <> 'workspaces'")
    assert after == before
