"""Time limits of PostgreSQL are set on each connection, or in each transaction behind a pooler."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from storage.bootstrap import migrate, open_storage
from storage.db.database import BadDatabaseUrl, Session, current_database, parse_url, read, write
from storage.domain.errors import OutcomeUnknown, StorageUnavailable
from storage.limits import DEFAULT_LIMITS, MAINTENANCE, MIGRATION, Limits
from storage.workspaces import add_workspace
from tests.conftest import KEY
from tests.counts import report_counts
from tests.faults.between import between
from tests.pooler import Pooler, pooled
from tests.storage import raw
from tests.storage.teams import NOW

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)

SETTINGS = """
SELECT name, setting FROM pg_settings WHERE name IN ('lock_timeout', 'statement_timeout', 'transaction_timeout',
 'idle_in_transaction_session_timeout', 'plan_cache_mode', 'jit', 'random_page_cost') ORDER BY name
"""
IN_FORCE = {
    "idle_in_transaction_session_timeout": "30000",
    "jit": "off",
    "lock_timeout": "5000",
    "plan_cache_mode": "force_generic_plan",
    "random_page_cost": "1.1",
    "statement_timeout": "15000",
    "transaction_timeout": "20000",
}
QUICK = Limits(connect=2, lock=0.2, statement=0.4, idle=0.5, transaction=0.6)
FOREVER = "SELECT pg_sleep(60)"


@asynccontextmanager
async def opened(url: str, limits: Limits = DEFAULT_LIMITS) -> AsyncIterator[None]:
    """Open the storage at a URL, and close it at the end."""
    storage = await open_storage(url, secret_keys=[KEY], limits=limits)
    try:
        yield
    finally:
        await storage.close()


async def settings_in_force() -> list[dict[str, str]]:
    """Return the settings in force in two single statements and in two transactions."""
    alone = [await read(SETTINGS) for _ in range(2)]
    together = [await write(lambda session: session.rows(SETTINGS)) for _ in range(2)]
    return [{row["name"]: row["setting"] for row in rows} for rows in (*alone, *together)]


async def test_the_settings_stay_on_a_connection(database_url: str) -> None:
    """The settings are in force in the first use of a connection and in later ones."""
    async with opened(database_url):
        before = await read("SELECT pg_backend_pid() AS pid")
        assert await settings_in_force() == [IN_FORCE] * 4
        assert await read("SELECT pg_backend_pid() AS pid") == before
    lifted = IN_FORCE | {"statement_timeout": "0", "transaction_timeout": "0"}
    for limits, expected in ((MAINTENANCE, lifted), (MIGRATION, lifted | {"lock_timeout": "0"})):
        async with opened(database_url, limits):
            assert await settings_in_force() == [expected] * 4


@pytest.mark.parametrize("ignores", [False, True], ids=["refused", "ignored"])
async def test_behind_a_pooler_the_settings_are_those_of_each_transaction(database_url: str, *, ignores: bool) -> None:
    """Behind a pooler without start-up parameters and named prepared statements, each transaction sets its limits."""
    pooler = Pooler(ignores=ignores)
    async with pooled(database_url, pooler) as url, opened(url, replace(DEFAULT_LIMITS, lock=4)):
        assert await settings_in_force() == [IN_FORCE | {"lock_timeout": "4000"}] * 4
        await read("SELECT $1 AS number, $2 AS text", "1", "2")
    # Refused with all parameters, then without the one that older servers do not know; then none is sent.
    assert len(pooler.refused) == (0 if ignores else 2)


async def test_a_server_that_knows_no_time_for_transactions(database_url: str) -> None:
    """For a server without `transaction_timeout` the product itself limits transactions, and other settings apply."""
    refusal = ("42704", 'unrecognized configuration parameter "{}"')
    server = Pooler(known=None, unknown=["transaction_timeout"], refusal=refusal, shares=False)
    async with pooled(database_url, server) as url:
        async with opened(url):
            assert await settings_in_force() == [IN_FORCE | {"transaction_timeout": "0"}] * 4
        assert server.refused == ["transaction_timeout"]
        async with opened(url, replace(QUICK, statement=60)):
            await check_transaction_ends()


@pytest.mark.parametrize("pooler", [None, Pooler()], ids=["directly", "behind a pooler"])
async def test_what_takes_too_long_ends(database_url: str, pooler: Pooler | None) -> None:
    """A statement, a lock and a transaction of many statements end at their limits; the database works again."""
    await raw.rows(database_url, "CREATE TABLE scratch (number bigint)")
    async with pooled(database_url, pooler or Pooler(known=None, shares=False)) as url, opened(url, QUICK):
        with pytest.raises(StorageUnavailable):
            await read(FOREVER)
        with pytest.raises(StorageUnavailable):
            await write(lambda session: session.rows(FOREVER))
        await check_transaction_ends()
        holder = await raw.connect(database_url)
        await holder.execute("BEGIN; LOCK TABLE scratch")
        with pytest.raises(StorageUnavailable):
            await write(lambda session: session.rows("INSERT INTO scratch VALUES (1)"))
        await holder.close()

        await write(lambda session: session.rows("INSERT INTO scratch VALUES (2)"))
        assert await read("SELECT number FROM scratch") == [{"number": 2}]


@pytest.mark.parametrize("in_transaction", [False, True], ids=["alone", "in a transaction"])
async def test_what_is_never_answered_takes_no_longer_than_a_statement(
    database_url: str, *, in_transaction: bool
) -> None:
    """A statement without an answer ends at its limit, without waiting for the server to confirm the cancellation."""
    limits = Limits(connect=2.5, lock=2.5, statement=2.5)
    async with between(database_url) as (standing, url), opened(url, limits):

        async def fall_silent(session: Session) -> None:
            await session.rows("SELECT 1")
            standing.flows.clear()
            await session.rows("SELECT 2")

        begun = time.monotonic()
        with pytest.raises(StorageUnavailable):
            await (write(fall_silent) if in_transaction else fall_silent(current_database().writer))
        assert time.monotonic() - begun < 4.7
        standing.flows.set()


async def check_transaction_ends() -> None:
    """Fail unless a transaction of several quick statements ends at its limit."""
    counts = Counter[str]()

    async def body(session: Session) -> None:
        for _ in range(100):
            await session.rows("SELECT pg_sleep(0.05)")
            counts["statements"] += 1

    with pytest.raises(StorageUnavailable) as error:
        await write(body)
    assert not isinstance(error.value, OutcomeUnknown)  # the transaction was never committed
    assert 0 < counts["statements"] < 50
    report_counts("statements in a transaction of 0.6 seconds", counts)


async def test_what_was_rolled_back_is_not_reported_as_committed(database_url: str) -> None:
    """A transaction that continues after a failed statement is not reported as committed."""

    async def body(session: Session) -> None:
        with pytest.raises(Exception, match="nothing"):
            await session.rows("SELECT * FROM nothing")

    async with opened(database_url):
        with pytest.raises(StorageUnavailable):
            await write(body)


async def test_migrating_waits_as_long_as_it_takes(database_url: str) -> None:
    """A migration waits for another process that migrates, regardless of the server's limits."""
    name = (await raw.rows(database_url, "SELECT current_database() AS name"))[0]["name"]
    await raw.rows(database_url, f"ALTER DATABASE {name} SET statement_timeout = 50")
    await raw.rows(database_url, f"ALTER DATABASE {name} SET lock_timeout = 50")
    holder = await raw.connect(database_url)
    await holder.execute("SET statement_timeout = 0")
    await holder.execute("SELECT pg_advisory_lock(6031333)")
    migrating = asyncio.create_task(migrate(database_url, now=NOW))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
    while not await holder.fetchval(waiting):
        assert not migrating.done()
    await holder.execute("SELECT pg_sleep(0.3)")
    assert not migrating.done()
    await holder.close()
    assert (await migrating).applied == []


async def test_a_schema_of_the_url_is_the_one_that_is_used(database_url: str) -> None:
    """The schema in the URL is used, beside schemas with the same tables, also behind a pooler."""
    option = "&schema=Team%20%22A%22"
    with pytest.raises(StorageUnavailable) as error:
        await migrate(database_url + option, now=NOW)
    assert error.value.because == "The schema that CONTACT_SCORE_DATABASE_URL names does not exist: create it first"
    await raw.rows(database_url, 'CREATE SCHEMA "Team ""A"""')

    assert (await migrate(database_url + option, now=NOW)).applied != []
    async with pooled(database_url, Pooler()) as through:
        for address in (database_url, through):
            async with opened(address + option):
                schemas = await read("SELECT current_schema() AS name, 'contacts'::regclass::text AS contacts")
                assert schemas == [{"name": 'Team "A"', "contacts": "contacts"}]
        await raw.rows(database_url, "CREATE SCHEMA other")
        assert (await migrate(f"{through}&schema=other", now=NOW)).applied != []
        async with opened(f"{through}&schema=other"):
            await add_workspace("T1", name="Acme", by="U0ADMIN", now=NOW)
    workspaces = {
        name: await raw.rows(database_url, f"SELECT id FROM {name}.workspaces") for name in ("public", "other")
    }
    assert workspaces == {"public": [], "other": [{"id": 1}]}


@pytest.mark.parametrize("pooler", [Pooler(known=None, shares=False), Pooler()], ids=["directly", "behind a pooler"])
async def test_what_else_the_url_sets_is_of_the_connection(database_url: str, pooler: Pooler) -> None:
    """The application name and server options of the URL apply together with the product's settings."""
    sql = "SELECT current_setting('application_name') AS name, current_setting('geqo') AS geqo"
    async with pooled(database_url, pooler) as url, opened(f"{url}&application_name=acme&options=-c%20geqo%3Doff"):
        assert await read(sql) == [{"name": "acme", "geqo": "off"}]
        assert await write(lambda session: session.rows(sql)) == [{"name": "acme", "geqo": "off"}]
        assert await settings_in_force() == [IN_FORCE] * 4
        own = "SELECT boot_val <> reset_val AS is_set FROM pg_settings WHERE name = 'lock_timeout'"
        assert await read(own) == [{"is_set": pooler.known is None}]  # of the connection, or of the transaction


async def test_the_way_statements_are_planned_is_an_option_of_the_url(database_url: str) -> None:
    """`plan_cache_mode` can be set in the URL, for servers that plan better with the values."""
    async with opened(f"{database_url}&plan_cache_mode=auto"):
        assert await settings_in_force() == [IN_FORCE | {"plan_cache_mode": "auto"}] * 4
    with pytest.raises(BadDatabaseUrl):
        parse_url(f"{database_url}&plan_cache_mode=best")


async def test_a_database_that_is_given_up_answers_at_once(database_url: str) -> None:
    """After the database is abandoned, running and later calls fail at once."""
    async with opened(database_url):
        running = asyncio.create_task(write(lambda session: session.rows(FOREVER)))
        watcher = await raw.connect(database_url)
        while not await watcher.fetchval("SELECT count(*) FROM pg_stat_activity WHERE query = $1", FOREVER):
            assert not running.done()
        await watcher.close()
        current_database().give_up()
        for work in (running, read("SELECT 1"), write(lambda session: session.rows("SELECT 1"))):
            with pytest.raises(StorageUnavailable):
                await work
