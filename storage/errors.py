"""Translate what a database driver raises into our own words."""

import sqlite3

import asyncpg
from tortoise.exceptions import DBConnectionError, OperationalError, TransactionManagementError

from storage.domain.errors import Refusal, StorageUnavailable


class NoDatabase(Refusal):
    """CONTACT_SCORE_DATABASE_URL names a file that is no SQLite database."""


_GONE = (
    OSError,  # refused, reset, timed out
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,  # the connection or the pool is closing
    asyncpg.InternalClientError,  # it broke in the middle of something
    asyncpg.ObjectNotInPrerequisiteStateError,  # it takes no connections just now
    asyncpg.InvalidCatalogNameError,  # the database is not there, or not yet
    asyncpg.OperatorInterventionError,  # shut down, not yet started
    asyncpg.InsufficientResourcesError,
    DBConnectionError,
    TransactionManagementError,
)
_PASSING = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


def is_passing(exc: BaseException) -> bool:
    """Tell whether the same transaction may well succeed when begun again."""
    return isinstance(exc, _PASSING)


def translated(exc: Exception) -> Exception:
    """Give StorageUnavailable where the database is out of reach or full; anything else as it is."""
    if isinstance(exc, _GONE) or is_passing(exc):
        return StorageUnavailable()
    cause = exc.args[0] if isinstance(exc, OperationalError) and exc.args else exc
    if isinstance(cause, sqlite3.DatabaseError) and getattr(cause, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
        return NoDatabase()
    return StorageUnavailable() if isinstance(cause, sqlite3.OperationalError) and _busy(cause) else exc


def _busy(exc: sqlite3.OperationalError) -> bool:
    # "no such table" and "syntax error" are ours to mend and must stay visible.
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF != sqlite3.SQLITE_ERROR
