"""Provide Tortoise with several SQLite connections for reading, and end a statement that takes too long.

With one connection, every look-up would wait for a slow filter of somebody else."""

import asyncio
import time
from typing import Any

import aiosqlite
from tortoise.backends.base.client import ConnectionWrapper
from tortoise.backends.sqlite.client import SqliteClient

READERS = 4
STEPS = 100_000  # of SQLite's virtual machine, about a millisecond, between two looks at the clock


class _Acquired(ConnectionWrapper[aiosqlite.Connection]):
    async def __aenter__(self) -> aiosqlite.Connection:
        connection = await super().__aenter__()
        assert isinstance(self.client, _Reader)
        self.client.begin_statement()
        return connection


class _Reader(SqliteClient):
    def __init__(self, file_path: str, *, limit: float | None, **settings: Any) -> None:
        super().__init__(file_path, **settings)
        self.running = 0  # the statements that run or wait for this connection
        self._limit = limit  # seconds that a statement may take
        self._latest = 0.0  # the time of the monotonic clock at which the current statement is ended

    async def create_connection(self, with_db: bool) -> None:
        is_new = self._connection is None
        await super().create_connection(with_db)
        if is_new and self._limit is not None:
            assert self._connection is not None
            await self._connection.set_progress_handler(lambda: time.monotonic() > self._latest, STEPS)

    def begin_statement(self) -> None:
        """Begin the time of a statement. The connection must be locked."""
        if self._limit is not None:
            self._latest = time.monotonic() + self._limit

    def acquire_connection(self) -> ConnectionWrapper[aiosqlite.Connection]:
        return _Acquired(self._lock, self)


class _Readers(_Reader):
    """The first of several connections; it hands each statement to the one with the fewest."""

    def __init__(self, file_path: str, **settings: Any) -> None:
        super().__init__(file_path, **settings)
        self._all: list[_Reader] = [self, *(_Reader(file_path, **settings) for _ in range(READERS - 1))]

    async def execute_query_dict(self, query: str, values: list[Any] | None = None) -> list[dict[str, Any]]:
        reader = min(self._all, key=lambda reader: reader.running)
        reader.running += 1
        try:
            rows: list[dict[str, Any]] = await SqliteClient.execute_query_dict(reader, query, values)
            return rows
        finally:
            reader.running -= 1

    async def close(self) -> None:
        await asyncio.gather(*(SqliteClient.close(reader) for reader in self._all))


client_class = _Readers
