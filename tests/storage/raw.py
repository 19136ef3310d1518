"""Access a test's database through its driver alone, independently of the code under test."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg


def is_sqlite(url: str) -> bool:
    """Return whether a URL names a SQLite database."""
    return url.startswith("sqlite")


def file_of(url: str) -> Path:
    """Return the file of a SQLite URL."""
    return Path(url.removeprefix("sqlite://"))


async def connect(url: str, *, database: str | None = None) -> "asyncpg.Connection":
    """Connect to the PostgreSQL server of a URL: to the URL's database or to another one."""
    parts = urlsplit(url)
    host = parse_qs(parts.query)["host"][0]
    return await asyncpg.connect(host=host, user="postgres", database=database or parts.path.removeprefix("/"))


async def rows(url: str, sql: str, *params: object) -> list[dict[str, object]]:
    """Run one statement with the parameters $1, $2 …, and return its rows."""
    (found,) = await rows_of_each(url, [sql], *params)
    return found


async def rows_of_each(url: str, statements: Sequence[str], *params: object) -> list[list[dict[str, object]]]:
    """Run several statements with the same parameters over one connection, and return the rows of each."""
    if is_sqlite(url):
        return await asyncio.to_thread(_sqlite_rows, file_of(url), statements, params)
    connection = await connect(url)
    try:
        return [[dict(row) for row in await connection.fetch(sql, *params)] for sql in statements]
    finally:
        await connection.close()


def _sqlite_rows(path: Path, statements: Sequence[str], params: tuple[object, ...]) -> list[list[dict[str, object]]]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
        connection.row_factory = sqlite3.Row
        return [
            [dict(row) for row in connection.execute(re.sub(r"\$(\d+)", r"?\1", sql), params)] for sql in statements
        ]


@asynccontextmanager
async def write_locked(url: str) -> AsyncIterator[None]:
    """Hold the write lock of a SQLite file, as another process in the middle of a transaction does."""
    with closing(sqlite3.connect(file_of(url), isolation_level=None, check_same_thread=False)) as connection:
        # Not on the event loop: another transaction of this process may need the loop in order to finish.
        await asyncio.to_thread(connection.execute, "BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def empty(url: str) -> None:
    """Replace the database of a URL by one without tables."""
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
    """Overwrite the first pages of a table and its indexes in the file of a SQLite URL, as a broken disk does.

    Call this in a thread if the file is in use: it waits for open transactions."""
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
    """Cut every connection to the PostgreSQL database of a URL, as a server restart does. Return their number."""
    connection = await connect(url, database="postgres")
    try:
        name = urlsplit(url).path.removeprefix("/")
        terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
        return len(await connection.fetch(terminate, name))
    finally:
        await connection.close()
