"""Translate errors of the database drivers into `StorageUnavailable`."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from tortoise.exceptions import DBConnectionError, IntegrityError, OperationalError, TransactionManagementError

from storage.domain.errors import Refusal, StorageUnavailable


class StartAgain(Exception):
    """Another transaction changed a contact that this one has read. Repeat the transaction to read the change."""


class Deadlock(StorageUnavailable, StartAgain):
    """PostgreSQL ended this transaction, because it and another one waited for each other. It may be repeated."""


class NoDatabase(StorageUnavailable):
    """CONTACT_SCORE_DATABASE_URL names a file that is not a SQLite database."""

    def __init__(self) -> None:
        Refusal.__init__(self)
        self.because = str(self).rstrip(".")


_UNREACHABLE = (
    OSError,  # refused, reset, timed out
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,  # the connection or the pool is closing
    asyncpg.InternalClientError,  # the connection broke during a statement
    asyncpg.ObjectNotInPrerequisiteStateError,  # the server accepts no connections at the moment
    asyncpg.InvalidCatalogNameError,  # the database does not exist, or not yet
    asyncpg.OperatorInterventionError,  # the server is shutting down or starting
    asyncpg.InsufficientResourcesError,
    DBConnectionError,
    TransactionManagementError,
)
_FULL = "The database has no room left"
READ_ONLY = "The database is read-only just now"
_DAMAGED = (
    "The database file is damaged: restore a backup of it, or recover what can be read with sqlite3 FILE .recover"
)
#: problems that the operator has to repair, with what to do
_POSTGRES_MESSAGES = {
    asyncpg.InvalidAuthorizationSpecificationError: (
        "The database refuses the login of CONTACT_SCORE_DATABASE_URL: check its user and password"
    ),
    asyncpg.InsufficientPrivilegeError: "The database does not let the user of CONTACT_SCORE_DATABASE_URL do this",
    asyncpg.ReadOnlySQLTransactionError: READ_ONLY,
    asyncpg.DiskFullError: _FULL,
    asyncpg.TooManyConnectionsError: (
        "The database accepts no more connections: raise its limit, or add ?maxsize=5 to CONTACT_SCORE_DATABASE_URL"
    ),
    asyncpg.InvalidSchemaNameError: "The schema that CONTACT_SCORE_DATABASE_URL names does not exist: create it first",
    asyncpg.DuplicateTableError: "The database has tables of another application with the same names: choose another",
}
_SQLITE_MESSAGES = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: READ_ONLY,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_CANTOPEN: "The file of CONTACT_SCORE_DATABASE_URL cannot be opened",
}


def translate_error(exc: Exception) -> Exception:
    """Return a StorageUnavailable if the database is unreachable, busy, full, damaged or denies access.

    It is a Deadlock if the transaction may succeed when it is repeated. Any other error is returned unchanged.
    """
    cause = exc.args[0] if exc.args and isinstance(exc.args[0], Exception) else exc  # Tortoise wraps some
    code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    because = _SQLITE_MESSAGES.get(code) or next(
        (message for kind, message in _POSTGRES_MESSAGES.items() if isinstance(cause, kind)), None
    )
    # Text that is not valid UTF-8, in a row or in SQLite's message, raises an error without an error code.
    if isinstance(cause, UnicodeDecodeError) or str(cause).startswith("Could not decode to UTF-8"):
        because = _DAMAGED
    if because is not None:
        return StorageUnavailable(because)
    if isinstance(cause, asyncpg.DeadlockDetectedError | asyncpg.SerializationError):
        return Deadlock()
    if isinstance(exc, _UNREACHABLE):
        return StorageUnavailable()
    if isinstance(cause, sqlite3.DatabaseError) and code == sqlite3.SQLITE_NOTADB:
        return NoDatabase()
    # "no such table" and "syntax error" (SQLITE_ERROR) are bugs in this code base and must stay visible.
    is_busy = isinstance(cause, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR
    return StorageUnavailable() if is_busy else exc


def was_canceled(exc: BaseException) -> bool:
    """Return whether the database ended a statement because it took too long."""
    cause = exc.args[0] if exc.args and isinstance(exc.args[0], Exception) else exc  # Tortoise wraps some
    is_interrupted = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_INTERRUPT
    return is_interrupted or isinstance(cause, asyncpg.QueryCanceledError)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise the errors of a database driver inside the block as `translate_error` returns them."""
    try:
        yield
    except Exception as exc:
        translated = translate_error(exc)
        raise translated from (exc if translated is not exc else None)


def is_row_error(exc: BaseException) -> bool:
    """Return whether the database refused a row for what it holds: a constraint, a type, or a number out of range."""
    return isinstance(exc, IntegrityError | OperationalError | asyncpg.DataError | OverflowError)


def is_duplicate_error(exc: Exception) -> bool:
    """Return whether the database refused a row because another row has the same unique key."""
    cause = exc.args[0] if exc.args and isinstance(exc.args[0], Exception) else exc  # Tortoise wraps it
    code = getattr(cause, "sqlite_errorcode", None)
    return isinstance(cause, asyncpg.UniqueViolationError) or code == sqlite3.SQLITE_CONSTRAINT_UNIQUE


def is_reference_error(exc: Exception) -> bool:
    """Return whether a statement failed because another row refers to a row that it deletes, or to one that is gone."""
    cause = exc.args[0] if exc.args and isinstance(exc.args[0], Exception) else exc  # Tortoise wraps it
    code = getattr(cause, "sqlite_errorcode", None)  # a trigger implements ON DELETE RESTRICT
    return isinstance(cause, asyncpg.ForeignKeyViolationError | asyncpg.RestrictViolationError) or code in (
        sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY,
        sqlite3.SQLITE_CONSTRAINT_TRIGGER,
    )
