"""Provide Tortoise with a SQLite engine that acquires the write lock when a transaction begins.

Tortoise's own engine begins deferred transactions, so two processes that read and then write fail with
"database is locked"; and if a transaction cannot begin, it never releases its own lock."""

import sqlite3

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
        """Make all waiting and later statements fail. The statement that is running ends normally."""
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
