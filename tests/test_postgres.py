"""Tests are independent of earlier tests, because a database that is lent again is as good as new."""

import os
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.postgres import Databases, postgres_url
from tests.storage import raw
from tests.storage.worlds import everything, fill

# more rows than are deleted one by one
MANY = (
    "INSERT INTO tokens (workspace_id, name, scopes, hash, created_at)"
    " SELECT 1, 'script', '', format('%s', number), 0 FROM generate_series(1, 3000) AS of(number)"
)
RANDOM = (
    *("tokens", "sources", "tombstones", "workspaces", "subscriptions", "events", "config_versions"),
)  # tables with secrets or random ids, which differ each time


@pytest.fixture(scope="module")
async def apart(postgres: str) -> AsyncIterator[Databases]:
    """Yield databases that no other test has used."""
    opened_databases = Databases(postgres, prefix=f"apart_{os.getpid()}")
    await opened_databases.open()
    yield opened_databases
    await opened_databases.close()


async def test_what_was_only_written_to_is_emptied(apart: Databases, postgres: str) -> None:
    """A database in which only rows changed is emptied, and its row ids start again."""
    async with apart.borrow() as first:
        new = await state(postgres_url(postgres, first))
    async with apart.borrow() as second:
        await fill(postgres_url(postgres, second))
        await raw.rows(postgres_url(postgres, second), MANY)
        filled = await everything(postgres_url(postgres, second))
    async with apart.borrow() as third:
        emptied = await state(postgres_url(postgres, third))
        await fill(postgres_url(postgres, third))
        again = await everything(postgres_url(postgres, third))

    assert first == second == third
    assert emptied == new
    assert not any(new[0].values())
    assert all(filled.values())
    assert {table: again[table] for table in again if table not in RANDOM} == {
        table: filled[table] for table in again if table not in RANDOM
    }
    assert len(filled["tokens"]) == len(again["tokens"]) + 3000


async def state(url: str) -> tuple[dict[str, list[dict[str, object]]], list[dict[str, object]]]:
    """Return all rows, and the position of each sequence of row ids."""
    return await everything(url), await raw.rows(url, "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1")


ALTERATIONS = (
    "CREATE TABLE scratch (number int)",
    "DROP TABLE refusals",
    "ALTER TABLE contacts ADD COLUMN more int",
    "ALTER TABLE facts DROP CONSTRAINT facts_kind",
    "ALTER TABLE facts ADD CONSTRAINT no_more CHECK (reason <> 'break')",
    "ALTER TABLE facts ALTER COLUMN reason SET DEFAULT 'none'",
    "DROP INDEX effects_contact",
    "CREATE INDEX more ON facts (kind)",
    "ALTER SEQUENCE facts_id_seq INCREMENT 2",
    "CREATE FUNCTION two() RETURNS int LANGUAGE sql AS 'SELECT 2'",
    "CREATE SCHEMA more",
    "CREATE VIEW more AS SELECT id FROM facts",
    "DELETE FROM tortoise_migrations",
    "INSERT INTO workspaces (team, name, default_type, admins, setters, created_at)"
    " VALUES ('T1', 'Acme', 'score', '[]', 'members', 0);"
    " ANALYZE workspaces",
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET jit = on', current_database()); END $$",
)


async def test_what_was_altered_is_not_handed_out_again(apart: Databases, postgres: str) -> None:
    """A database with altered tables, indexes, settings or statistics is not lent again."""
    for alteration in ALTERATIONS:
        async with apart.borrow() as altered:
            connection = await raw.connect(postgres_url(postgres, altered))
            await connection.execute(alteration)
            await connection.close()
        async with apart.borrow() as following:
            assert following != altered, alteration


async def test_what_somebody_is_connected_to_is_not_handed_out_again(apart: Databases, postgres: str) -> None:
    """A database with an open connection is not lent again, because the client may still write."""
    async with apart.borrow() as left_over:
        connection = await raw.connect(postgres_url(postgres, left_over))
    async with apart.borrow() as following:
        pass

    assert following != left_over
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await connection.execute("SELECT 1")
    connection.terminate()


async def test_what_is_gone_is_made_anew(apart: Databases, postgres: str) -> None:
    """A test may drop its database, and the next one has a new database."""
    async with apart.borrow() as dropped:
        connection = await raw.connect(postgres_url(postgres, dropped), database="postgres")
        await connection.execute(f"DROP DATABASE {dropped}")
        await connection.close()
    async with apart.borrow() as following:
        assert not any((await everything(postgres_url(postgres, following))).values())
