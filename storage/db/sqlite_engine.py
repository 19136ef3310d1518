"""Give Tortoise a SQLite engine that takes the write lock when a transaction begins.

The stock engine begins deferred, so that two processes that read and then write fail with "database is locked";
and it keeps its lock for ever when beginning fails."""

import sqlite3

import aiosqlite
from tortoise.backends.base.client import ConnectionWrapper, TransactionalDBClient, TransactionContext
from tortoise.backends.sqlite.client import SqliteClient, SqliteTransactionContext, SqliteTransactionWrapper
from tortoise.connection import get_connections
from tortoise.exceptions import DBConnectionError, OperationalError


class _Transaction(SqliteTransactionWrapper):
    async def begin(self) -> None:
        try:
            if self._connection.in_transaction:  # what a cancelled BEGIN left behind
                await self._connection.rollback()
            await self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as exc:
            raise OperationalError(exc) from exc


class _Context(SqliteTransactionContext):
    async def __aenter__(self) -> TransactionalDBClient:
        await self._trxlock.acquire()
        try:
            self.connection._parent.check_usable()
            await self.ensure_connection()
            await self.connection.begin()
        except BaseException:
            self._trxlock.release()
            raise
        self.token = get_connections().set(self.connection_name, self.connection)
        return self.connection  # type: ignore[no-any-return]  # untyped in Tortoise


class _Acquired(ConnectionWrapper[aiosqlite.Connection]):
    async def __aenter__(self) -> aiosqlite.Connection:
        await self._lock.acquire()
        try:
            if isinstance(self.client, _Client):
                self.client.check_usable()
            await self.ensure_connection()
        except BaseException:
            self._lock.release()
            raise
        return self.connection


class _Client(SqliteClient):
    _is_given_up = False

    def give_up(self) -> None:
        """Fail whatever waits for its turn, and whatever comes later; the statement that runs ends by itself."""
        self._is_given_up = True

    def check_usable(self) -> None:
        """Raise DBConnectionError after `give_up`."""
        if self._is_given_up:
            raise DBConnectionError("the database is being closed")

    def acquire_connection(self) -> ConnectionWrapper[aiosqlite.Connection]:
        return _Acquired(self._lock, self)

    def _in_transaction(self) -> TransactionContext:
        return _Context(_Transaction(self), self._lock)


client_class = _Client
