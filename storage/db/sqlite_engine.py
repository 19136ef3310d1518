"""Provide Tortoise with a SQLite engine that acquires the write lock when a transaction begins.

Tortoise's own engine begins deferred transactions, so two processes that read and then write fail with
"database is locked"; and if a transaction cannot begin, it never releases its own lock. SQLite's `busy_timeout` begins
anew for each transaction, so that of several that wait for each other the last would wait several times as long."""

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Any

import aiosqlite
from tortoise.backends.base.client import ConnectionWrapper, TransactionalDBClient, TransactionContext
from tortoise.backends.sqlite.client import SqliteClient, SqliteTransactionContext, SqliteTransactionWrapper
from tortoise.connection import get_connections
from tortoise.exceptions import DBConnectionError, OperationalError


class _Transaction(SqliteTransactionWrapper):
    async def begin(self) -> None:
        try:
            if self._connection.in_transaction:  # left over from a canceled BEGIN
                await self._connection.rollback()
            await self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as exc:
            raise OperationalError(exc) from exc

    async def insert_rows(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Insert rows with one prepared statement."""
        marks = ", ".join("?" * len(columns))
        # Tortoise's type says lists, but tuples are bound as well.
        await self.execute_many(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)


class _Context(SqliteTransactionContext):
    async def __aenter__(self) -> TransactionalDBClient:
        waited = await self.connection._parent.lock()
        try:
            await self.ensure_connection()
            await self.connection._parent.limit_waiting(waited)
            await self.connection.begin()
        except BaseException:
            self._trxlock.release()
            raise
        self.token = get_connections().set(self.connection_name, self.connection)
        return self.connection  # type: ignore[no-any-return]  # untyped in Tortoise


class _Acquired(ConnectionWrapper[aiosqlite.Connection]):
    async def __aenter__(self) -> aiosqlite.Connection:
        client = self.client if isinstance(self.client, _Client) else None  # None inside a transaction
        waited = await client.lock() if client else await self._lock.acquire()
        try:
            await self.ensure_connection()
            if client:
                await client.limit_waiting(waited)
        except BaseException:
            self._lock.release()
            raise
        return self.connection


class _Client(SqliteClient):
    def __init__(self, file_path: str, *, busy_timeout: int, **settings: Any) -> None:
        super().__init__(file_path, busy_timeout=busy_timeout, **settings)
        self._patience = self._busy_timeout = busy_timeout  # ms
        self._is_given_up = False

    def give_up(self) -> None:
        """Make all waiting and later statements fail. The statement that is running ends normally."""
        self._is_given_up = True

    async def lock(self) -> float:
        """Acquire the lock on the connection. Return the ms waited, at most `busy_timeout`.

        Raises DBConnectionError after that time, and after `give_up`.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(self._patience / 1000):
                await self._lock.acquire()
        except TimeoutError:
            raise DBConnectionError("another process keeps the file locked") from None
        if self._is_given_up:
            self._lock.release()
            raise DBConnectionError("the database is being closed")
        return (loop.time() - begun) * 1000

    async def limit_waiting(self, waited: float) -> None:
        """Limit the wait for the lock on the file to `busy_timeout` less *waited* ms. The lock must be held."""
        # Within a tenth of the limit nothing is set, because each setting is a statement.
        left = self._patience if waited < self._patience / 10 else max(0, round(self._patience - waited))
        if left != self._busy_timeout:
            assert self._connection is not None
            await self._connection.execute(f"PRAGMA busy_timeout={left}")
            self._busy_timeout = left

    def acquire_connection(self) -> ConnectionWrapper[aiosqlite.Connection]:
        return _Acquired(self._lock, self)

    def _in_transaction(self) -> TransactionContext:
        return _Context(_Transaction(self), self._lock)


client_class = _Client
