"""Bring the tables up to date, one process at a time, with a copy of a SQLite file first."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from tortoise.context import TortoiseContext
from tortoise.migrations.executor import MigrationExecutor

from storage.database import Address, Database, Session
from storage.domain.errors import Refusal
from storage.errors import translated

_FOLDER = Path(__file__).with_name("migrations")
_LOCK = 0x5C0_7E5  # any number that nothing else on the server takes an advisory lock on


class SchemaOutdated(Refusal):
    """The database was made by an older version: run `contact-score migrate` first."""


async def pending(session: Session) -> tuple[list[str], bool]:
    """Name the migrations not applied yet, and say whether the database is empty."""
    table = "SELECT name FROM sqlite_master WHERE name = 'tortoise_migrations'"
    if session.dialect == "postgres":
        table = "SELECT to_regclass('tortoise_migrations') AS name"
    applied: set[str] = set()
    if [row for row in await session.rows(table) if row["name"]]:
        found = await session.rows("SELECT name FROM tortoise_migrations WHERE app = 'storage'")
        applied = {row["name"] for row in found}
    known = sorted(path.stem for path in _FOLDER.glob("[0-9]*.py"))
    return [name for name in known if name not in applied], not applied


async def migrate(database: Database, where: Address) -> list[str]:
    """Apply what is pending and name it; other processes that come along wait and find nothing left to do."""
    async with _alone(where):
        names, empty = await pending(database.writer)
        if not names:
            return []
        if where.path is not None and not empty:
            await asyncio.to_thread(_copy, where.path, where.path.with_name(f"{where.path.name}.before-{names[0]}"))
        # A task of its own, so that its context does not stay behind in this one.
        await asyncio.create_task(_apply(where))
        return names


async def _apply(where: Address) -> None:
    writer = {**where.config, "credentials": dict(where.config["credentials"])}
    if where.path is not None:
        # SQLite alters a table by making it anew; with the keys on, dropping the old one empties its children.
        writer["credentials"]["foreign_keys"] = "OFF"
    async with TortoiseContext() as context:
        config = where.tortoise(writer=writer)
        await context.init(config=config)
        connection = context.db(where.dialect)
        await MigrationExecutor(connection, config["apps"]).migrate()
        if where.path is not None and await connection.execute_query_dict("PRAGMA foreign_key_check"):
            raise RuntimeError("the migration left rows that point nowhere; the copy beside the database is untouched")


@asynccontextmanager
async def _alone(where: Address) -> AsyncIterator[None]:
    """Hold the lock that only one migrating process can hold."""
    if where.path is None:
        names = ("host", "port", "user", "password", "database", "ssl")
        credentials = {name: where.config["credentials"].get(name) for name in names}
        try:
            connection = await asyncpg.connect(**credentials)
        except Exception as exc:
            raise translated(exc) from exc
        try:
            await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
            yield
        finally:
            await connection.close()
        return
    beside = where.path.with_name(where.path.name + "-migrating")
    lock = await asyncio.to_thread(_lock, beside)
    try:
        yield  # the empty file stays: taken away, it would be another file for whoever waits for it
    finally:
        lock.close()


def _lock(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


def _copy(path: Path, to: Path) -> None:
    source, target = sqlite3.connect(path), sqlite3.connect(to)
    try:
        source.backup(target)
    finally:
        source.close()
        target.close()
