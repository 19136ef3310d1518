"""Read many pages of the database as it was at one instant, while others write to it."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from typing import TypeAlias

from storage.db.backup import own_transaction
from storage.db.database import Database, Row
from storage.db.errors import translate_errors

#: runs a statement with parameters ($1, $2, …) and returns its rows
ReadRows: TypeAlias = Callable[..., Awaitable[list[Row]]]

_PLACEHOLDER = re.compile(r"\$(?=\d)")


@asynccontextmanager
async def open_snapshot(db: Database) -> AsyncIterator[ReadRows]:
    """Open a connection of its own, and yield a function that reads rows as they were when it was first called."""
    path = db.address.path
    if path is None:
        async with own_transaction(db.address, "REPEATABLE READ, READ ONLY") as connection:

            async def read_rows(sql: str, *params: object) -> list[Row]:
                return [dict(record) for record in await connection.fetch(sql, *params)]

            yield read_rows
        return
    file = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(file, uri=True, isolation_level=None, check_same_thread=False)
    with translate_errors(), closing(connection):
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")

        def read(sql: str, params: tuple[object, ...]) -> list[Row]:
            return [dict(record) for record in connection.execute(_PLACEHOLDER.sub("?", sql), params)]

        async def read_file(sql: str, *params: object) -> list[Row]:
            return await asyncio.to_thread(read, sql, params)

        yield read_file
