"""Give Tortoise a PostgreSQL engine on which nothing waits for ever.

The limits are the server's (settings of each connection) and the driver's (for each statement and for a whole
transaction), so that both a lock that nobody releases and a network that carries nothing end a transaction. A
connection that exceeded its time is closed: nobody knows what the server is doing on it. Nothing is ever canceled.

The stock engine keeps a connection on which a transaction could not begin: once as many were cut as the pool has,
every transaction waits for ever. Here such a connection is closed too.
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
_NEWEST = "transaction_timeout"  # the setting that servers before PostgreSQL 17 do not know
_OF_CONNECTIONS = ("application_name", "options")  # start-up parameters that poolers know, and that no transaction has
#: After these nobody knows whether the server did what it was sent.
_LOST = (OSError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InternalClientError)


class _Client(AsyncpgDBClient):
    def __init__(self, *, limits: Limits, **credentials: Any) -> None:
        super().__init__(**credentials)
        self.limits = limits
        #: What begins each transaction; it holds the settings where the server does not take them for a connection.
        self.begin_statement = BEGIN

    async def create_pool(self, **options: Any) -> asyncpg.Pool:
        """Connect, with the settings and limits as parameters of each connection where the server takes them."""
        settings: dict[str, str] = options.pop("server_settings") | _write_settings(self.limits)
        options |= {"timeout": self.limits.connect, "command_timeout": self.limits.statement, "reset": _keep_session}
        for parameters in (settings, {name: value for name, value in settings.items() if name != _NEWEST}):
            with suppress(asyncpg.UndefinedObjectError, asyncpg.ProtocolViolationError):
                async with _opened(server_settings=parameters, **options) as pool:
                    if await _is_in_effect(pool, parameters):
                        self.begin_statement = BEGIN
                        return pool
                    await pool.close()
        # A pooler (PgBouncer) refuses such parameters, or ignores them, and shares its connections among clients.
        parameters = {name: settings.pop(name) for name in _OF_CONNECTIONS if name in settings}
        async with _opened(server_settings=parameters, **(options | {"statement_cache_size": 0})) as pool:
            known = await pool.fetch("SELECT name FROM pg_settings WHERE name = ANY($1)", list(settings))
            calls = [f"set_config('{row['name']}', {_quote(settings[row['name']])}, true)" for row in known]
            self.begin_statement = f"BEGIN; SELECT {', '.join(calls)}"
            return pool

    def give_up(self) -> None:
        """Close every connection at once: whatever waits for the server fails, and whatever comes later."""
        if self._pool is not None:
            self._pool.terminate()

    def acquire_connection(self) -> PoolConnectionWrapper[asyncpg.Connection]:
        """Take a connection of the pool for one statement."""
        return _Acquired(self, self._pool_init_lock)

    @translate_exceptions
    async def execute_query_dict(self, query: str, values: Sequence[object] | None = None) -> list[dict[str, Any]]:
        """Run one statement in a transaction of its own; raises OutcomeUnknown where a change may have been made."""
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
    """One transaction; its connection is closed when the time of all its statements together is over."""

    _parent: Any  # a _Client
    _timer: asyncio.TimerHandle | None = None

    @translate_exceptions
    async def begin(self) -> None:
        """Begin, with the settings where they are not those of the connection."""
        limits: Limits = self._parent.limits
        if limits.transaction is not None:
            self._timer = asyncio.get_running_loop().call_later(limits.transaction, self.abandon)
        await self._connection.execute(self._parent.begin_statement, timeout=limits.connect)

    @translate_exceptions
    async def execute_query_dict(self, query: str, values: Sequence[object] | None = None) -> list[dict[str, Any]]:
        """Run one statement."""
        try:
            async with self.acquire_connection() as connection:
                self.log.debug("%s: %s", query, values)
                return [dict(row) for row in await connection.fetch(query, *(values or ()))]
        except TimeoutError:
            self.abandon()
            raise

    @translate_exceptions
    async def commit(self) -> None:
        """Commit; raises OutcomeUnknown where the server did not say whether it has."""
        try:
            status = await self._connection.execute("COMMIT")
        except Exception as exc:
            self.abandon()
            if _is_lost(exc):
                raise OutcomeUnknown from exc
            raise
        if status != "COMMIT":  # a statement failed, and whoever ran it went on
            raise TransactionManagementError("the transaction was rolled back by the server")

    async def rollback(self) -> None:
        """Roll back; where the server does not answer the connection is closed, which does the same."""
        limits: Limits = self._parent.limits
        try:
            await self._connection.execute("ROLLBACK", timeout=limits.connect)
        except Exception:
            self.abandon()

    def end(self) -> None:
        """Stop the time of the transaction."""
        if self._timer is not None:
            self._timer.cancel()

    async def savepoint(self) -> None:
        """Begin a transaction within this one, as a migration does."""
        await self._connection.execute("SAVEPOINT inner")

    async def savepoint_rollback(self) -> None:
        """Roll back the inner transaction."""
        await self._connection.execute("ROLLBACK TO SAVEPOINT inner; RELEASE SAVEPOINT inner")

    async def release_savepoint(self) -> None:
        """End the inner transaction; the outer one commits it."""
        await self._connection.execute("RELEASE SAVEPOINT inner")

    def abandon(self) -> None:
        """Close the connection."""
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
    """A connection for one statement, in a transaction where that is what has the settings."""

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
    """Open a pool, and close it where that which is done with it fails."""
    pool = await asyncpg.create_pool(None, **options)
    try:
        yield pool
    except BaseException:
        pool.terminate()
        raise


async def _release(pool: asyncpg.Pool, connection: asyncpg.Connection) -> None:
    """Hand a connection back; where that fails it is closed, which is no reason to doubt what was done on it."""
    try:
        await pool.release(connection)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        _close(connection)


def _close(connection: asyncpg.Connection) -> None:
    with suppress(asyncpg.InterfaceError):  # it is back in the pool, because it was cut
        connection.terminate()


def _write_settings(limits: Limits) -> dict[str, str]:
    """Return limits as the server's settings, which are in milliseconds; 0 is no limit."""
    seconds = {
        "lock_timeout": limits.lock,
        "statement_timeout": limits.statement,
        "idle_in_transaction_session_timeout": limits.idle,
        "transaction_timeout": limits.transaction,
    }
    return {name: str(round((limit or 0) * 1000)) for name, limit in seconds.items()}


async def _keep_session(_: asyncpg.Connection) -> None:
    """Reset nothing when a connection is handed back: no statement of ours changes anything beyond its transaction."""


async def _is_in_effect(pool: asyncpg.Pool, parameters: Mapping[str, str]) -> bool:
    """Return whether the connections of a pool have the settings that they were made with."""
    pairs = [f"('{name}', {_quote(value)})" for name, value in parameters.items() if name not in _OF_CONNECTIONS]
    # Without parameters no statement is prepared, which a pooler may not take.
    status = await pool.execute(f"SELECT FROM pg_settings WHERE (name, setting) IN ({', '.join(pairs)})")
    return bool(status == f"SELECT {len(pairs)}")


def _is_lost(exc: Exception) -> bool:
    """Return whether the answer to a statement was lost; an error that the server answered with rolled it back."""
    return isinstance(exc, _LOST) and getattr(exc, "severity_en", None) != "ERROR"


def _quote(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


client_class = _Client
