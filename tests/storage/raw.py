"""Reach the database of a test beside the code under test, with nothing but its driver."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg


def is_sqlite(url: str) -> bool:
    """Tell which kind of database a URL names."""
    return url.startswith("sqlite")


def file_of(url: str) -> Path:
    """Give the file of a SQLite URL."""
    return Path(url.removeprefix("sqlite://"))


async def connect(url: str, *, database: str | None = None) -> "asyncpg.Connection":
    """Connect to the PostgreSQL of a URL, to its database or to another one of that server."""
    parts = urlsplit(url)
    host = parse_qs(parts.query)["host"][0]
    return await asyncpg.connect(host=host, user="postgres", database=database or parts.path.removeprefix("/"))


async def rows(url: str, sql: str, *params: object) -> list[dict[str, object]]:
    """Run one statement with $1, $2 … and give its rows."""
    if is_sqlite(url):
        return await asyncio.to_thread(_sqlite_rows, file_of(url), re.sub(r"\$(\d+)", r"?\1", sql), params)
    connection = await connect(url)
    try:
        return [dict(row) for row in await connection.fetch(sql, *params)]
    finally:
        await connection.close()


def _sqlite_rows(path: Path, sql: str, params: tuple[object, ...]) -> list[dict[str, object]]:
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(sql, params)]
    finally:
        connection.close()


@asynccontextmanager
async def write_locked(url: str) -> AsyncIterator[None]:
    """Hold the write lock of a SQLite file, as another process does that is in the middle of a transaction."""
    with closing(sqlite3.connect(file_of(url), isolation_level=None, check_same_thread=False)) as connection:
        # Not in the loop, which another transaction of this process may need to come to its end.
        await asyncio.to_thread(connection.execute, "BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def empty(url: str) -> None:
    """Replace the database of a URL by one without a single table."""
    if is_sqlite(url):
        for path in file_of(url).parent.glob(f"{file_of(url).name}*"):
            path.unlink()
        return
    name = urlsplit(url).path.removeprefix("/")
    connection = await connect(url, database="postgres")
    try:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()


def damage(url: str, table: str) -> None:
    """Overwrite where a table and its indexes begin in the file of a SQLite URL, as a broken disk does.

    Call this in a thread where the file is in use: it waits for transactions that are open."""
    with closing(sqlite3.connect(file_of(url))) as connection:
        (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert not is_busy
        pages = connection.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = ?", (table,)).fetchall()
        ((size,),) = connection.execute("PRAGMA page_size")
    with file_of(url).open("r+b") as file:
        for (page,) in pages:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)


async def cut(url: str) -> int:
    """Cut every connection to the PostgreSQL database of a URL, as a restart of the server does; count them."""
    connection = await connect(url, database="postgres")
    try:
        name = urlsplit(url).path.removeprefix("/")
        terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
        return len(await connection.fetch(terminate, name))
    finally:
        await connection.close()
