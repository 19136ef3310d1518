"""Provide Tortoise with a PostgreSQL engine that never waits forever.

The server enforces time limits (settings of each connection), and so does the driver (for each statement, and for a
whole transaction). A transaction therefore ends both when a lock is never released and when the network is silent.
A connection that exceeds its time is closed, because the state of the server is unknown. No statement is canceled.

Tortoise's own engine keeps a connection on which a transaction could not begin. When all connections of the pool are
lost in this way, every transaction waits forever. This engine closes such a connection.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
from tortoise.backends.asyncpg.client import AsyncpgDBClient, TransactionWrapper
from tortoise.backends.base.client import (
    NestedTransactionContext,
    PoolConnectionWrapper,
    TransactionalDBClient,
    TransactionContext,
    TransactionContextPooled,
)
from tortoise.backends.base_postgres.client import translate_exceptions
from tortoise.connection import get_connections
from tortoise.exceptions import TransactionManagementError

from storage.domain.errors import OutcomeUnknown
from storage.limits import Limits

BEGIN = "BEGIN"
GRACE = 0.5  # seconds
FEWEST_TO_COPY = 20  # rows for which COPY, with its additional messages, costs less than a statement for each
_NEWEST = "transaction_timeout"  # a setting that servers before PostgreSQL 17 do not have
_OF_CONNECTIONS = ("application_name", "options")  # startup parameters that poolers accept; never set per transaction
#: errors after which it is unknown whether the server executed the statement
_LOST = (OSError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InternalClientError)


class _Client(AsyncpgDBClient):
    def __init__(self, *, limits: Limits, **credentials: Any) -> None:
        super().__init__(**credentials)
        self.limits = limits
        #: the SQL that begins each transaction; it contains the settings if they cannot be set for a connection
        self.begin_statement = BEGIN

    async def create_pool(self, **options: Any) -> asyncpg.Pool:
        """Create the pool, with the limits as parameters of each connection if the server accepts them.

        Otherwise each transaction begins with the limits (`begin_statement`).
        """
        settings: dict[str, str] = options.pop("server_settings") | _write_settings(self.limits)
        # The driver gives up a little later than the server, which says that the statement took too long.
        statement = None if self.limits.statement is None else self.limits.statement + GRACE
        options |= {"timeout": self.limits.connect, "command_timeout": statement, "reset": _keep_session}
        for parameters in (settings, {name: value for name, value in settings.items() if name != _NEWEST}):
            with suppress(asyncpg.UndefinedObjectError, asyncpg.ProtocolViolationError):
                async with _opened(server_settings=parameters, **options) as pool:
                    if await _is_in_effect(pool, parameters):
                        self.begin_statement = BEGIN
                        return pool
                    await pool.close()
        # A pooler (PgBouncer) refuses or ignores these parameters, and shares its connections among clients.
        parameters = {name: settings.pop(name) for name in _OF_CONNECTIONS if name in settings}
        async with _opened(server_settings=parameters, **(options | {"statement_cache_size": 0})) as pool:
            known = await pool.fetch("SELECT name FROM pg_settings WHERE name = ANY($1)", list(settings))
            calls = [f"set_config('{row['name']}', {_quote(settings[row['name']])}, true)" for row in known]
            self.begin_statement = f"BEGIN; SELECT {', '.join(calls)}"
            return pool

    def give_up(self) -> None:
        """Close every connection at once. Statements that wait for the server fail, and so do later ones."""
        if self._pool is not None:
            self._pool.terminate()

    def acquire_connection(self) -> PoolConnectionWrapper[asyncpg.Connection]:
        """Acquire a connection from the pool for one statement."""
        return _Acquired(self, self._pool_init_lock)

    @translate_exceptions
    async def execute_query_dict(self, query: str, values: Sequence[object] | None = None) -> list[dict[str, Any]]:
        """Run one statement in its own transaction. Raises OutcomeUnknown if the connection is lost during a change."""
        async with self.acquire_connection() as connection:
            self.log.debug("%s: %s", query, values)
            try:
                return [dict(row) for row in await connection.fetch(query, *(values or ()))]
            except Exception as exc:
                if _is_lost(exc) and not query.lstrip().upper().startswith("SELECT"):
                    raise OutcomeUnknown from exc
                raise

    def _in_transaction(self) -> TransactionContext:
        return _Context(_Transaction(self), self._pool_init_lock)


class _Transaction(TransactionWrapper):
    """One transaction. Its connection is closed when the time limit for the whole transaction expires."""

    _parent: Any  # a _Client
    _timer: asyncio.TimerHandle | None = None

    @translate_exceptions
    async def begin(self) -> None:
        """Begin the transaction, with the limits if they are not parameters of the connection, and start its timer."""
        limits: Limits = self._parent.limits
        if limits.transaction is not None:
            self._timer = asyncio.get_running_loop().call_later(limits.transaction, self.abandon)
        await self._connection.execute(self._parent.begin_statement, timeout=limits.connect)

    @translate_exceptions
    async def execute_query_dict(self, query: str, values: Sequence[object] | None = None) -> list[dict[str, Any]]:
        """Run one statement; close the connection if it times out."""
        try:
            async with self.acquire_connection() as connection:
                self.log.debug("%s: %s", query, values)
                return [dict(row) for row in await connection.fetch(query, *(values or ()))]
        except TimeoutError:
            self.abandon()
            raise

    @translate_exceptions
    async def insert_rows(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Insert rows by COPY, or by a prepared statement if they are few; close the connection if it times out."""
        names = ", ".join(columns)
        marks = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        try:
            async with self.acquire_connection() as connection:
                self.log.debug("INSERT INTO %s (%s): %s", table, names, rows)
                if len(rows) < FEWEST_TO_COPY:
                    await connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
                else:
                    await connection.copy_records_to_table(table, records=rows, columns=columns)
        except TimeoutError:
            self.abandon()
            raise

    @translate_exceptions
    async def commit(self) -> None:
        """Commit. Raises OutcomeUnknown if the connection is lost before the server confirms the commit."""
        try:
            status = await self._connection.execute("COMMIT")
        except Exception as exc:
            self.abandon()
            if _is_lost(exc):
                raise OutcomeUnknown from exc
            raise
        if status != "COMMIT":  # a statement failed, and the caller ignored the error
            raise TransactionManagementError("the transaction was rolled back by the server")

    async def rollback(self) -> None:
        """Roll back. If the server does not answer, close the connection, which also rolls back."""
        limits: Limits = self._parent.limits
        try:
            await self._connection.execute("ROLLBACK", timeout=limits.connect)
        except Exception:
            self.abandon()

    def end(self) -> None:
        """Stop the timer of the transaction."""
        if self._timer is not None:
            self._timer.cancel()

    async def savepoint(self) -> None:
        """Begin a nested transaction, as migrations do."""
        await self._connection.execute("SAVEPOINT inner")

    async def savepoint_rollback(self) -> None:
        """Roll back the nested transaction."""
        await self._connection.execute("ROLLBACK TO SAVEPOINT inner; RELEASE SAVEPOINT inner")

    async def release_savepoint(self) -> None:
        """End the nested transaction. The outer transaction commits its changes."""
        await self._connection.execute("RELEASE SAVEPOINT inner")

    def abandon(self) -> None:
        """Close the connection at once. The server then rolls back."""
        _close(self._connection)

    def _in_transaction(self) -> TransactionContext:
        return NestedTransactionContext(_Transaction(self))


class _Context(TransactionContextPooled):
    client: _Transaction

    async def __aenter__(self) -> TransactionalDBClient:
        await self.ensure_connection()
        client = self.client
        self._pool: Any = client._parent._pool
        client._connection = await self._pool.acquire(timeout=client._parent.limits.connect)
        try:
            await client.begin()
        except BaseException:
            client.end()
            client.abandon()
            raise
        self.token = get_connections().set(self.connection_name, client)
        return client

    async def __aexit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        get_connections().reset(self.token)
        client = self.client
        try:
            if exc_type is None:
                await client.commit()
            else:
                await client.rollback()
        except BaseException:
            client.abandon()
            raise
        finally:
            client.end()
        await _release(self._pool, client._connection)


class _Acquired(PoolConnectionWrapper[asyncpg.Connection]):
    """A connection for one statement, in its own transaction if `begin_statement` contains the limits."""

    client: _Client
    _context: TransactionContext | None = None

    async def __aenter__(self) -> asyncpg.Connection:
        await self.ensure_connection()
        client: Any = self.client
        if client.begin_statement != BEGIN:
            self._context = client._in_transaction()
            transaction: Any = await self._context.__aenter__()
            return transaction._connection
        self._pool = client._pool
        connection: asyncpg.Connection = await self._pool.acquire(timeout=client.limits.connect)
        self.connection = connection
        return connection

    async def __aexit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        if self._context is not None:
            await self._context.__aexit__(exc_type, exc_val, exc_tb)
            return
        if isinstance(exc_val, TimeoutError | OutcomeUnknown):
            _close(self.connection)
        await _release(self._pool, self.connection)


@asynccontextmanager
async def _opened(**options: Any) -> AsyncIterator[asyncpg.Pool]:
    """Open a pool; close it if the block raises."""
    pool = await asyncpg.create_pool(None, **options)
    try:
        yield pool
    except BaseException:
        pool.terminate()
        raise


async def _release(pool: asyncpg.Pool, connection: asyncpg.Connection) -> None:
    """Return a connection to the pool. If this fails, close it: the statements on it succeeded all the same."""
    try:
        await pool.release(connection)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        _close(connection)


def _close(connection: asyncpg.Connection) -> None:
    with suppress(asyncpg.InterfaceError):  # a lost connection may be back in the pool already
        connection.terminate()


def _write_settings(limits: Limits) -> dict[str, str]:
    """Return the limits as settings of the server, in milliseconds; 0 means no limit."""
    seconds = {
        "lock_timeout": limits.lock,
        "statement_timeout": limits.statement,
        "idle_in_transaction_session_timeout": limits.idle,
        "transaction_timeout": limits.transaction,
    }
    return {name: str(round((limit or 0) * 1000)) for name, limit in seconds.items()}


async def _keep_session(_: asyncpg.Connection) -> None:
    """Do not reset a connection on release: no statement changes anything beyond its transaction."""


async def _is_in_effect(pool: asyncpg.Pool, parameters: Mapping[str, str]) -> bool:
    """Return whether the connections of a pool have the settings in *parameters*."""
    pairs = [f"('{name}', {_quote(value)})" for name, value in parameters.items() if name not in _OF_CONNECTIONS]
    # Without query parameters asyncpg prepares no statement, which a pooler may refuse.
    status = await pool.execute(f"SELECT FROM pg_settings WHERE (name, setting) IN ({', '.join(pairs)})")
    return bool(status == f"SELECT {len(pairs)}")


def _is_lost(exc: Exception) -> bool:
    """Return whether the answer to a statement was lost. If the server answers with an error, it has rolled back."""
    return isinstance(exc, _LOST) and getattr(exc, "severity_en", None) != "ERROR"


def _quote(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


client_class = _Client
