"""How long a database may take: to connect, to lock, for a statement, for a transaction."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times in seconds; None means no limit. Only `file`, `silence` and, for reads, `statement` apply to SQLite."""

    connect: float = 5.0  #: until a connection is free or made, and until it answers the beginning of a transaction
    lock: float | None = 5.0  #: that a statement waits for a lock
    statement: float | None = 15.0
    idle: float = 30.0  #: that a transaction waits for its next statement
    transaction: float | None = 20.0
    file: float = 15.0  #: that a write to SQLite waits for other writes, of this process and of others
    silence: float = 5.0  #: that a statement of a transaction takes before the database is reported as not ready


DEFAULT_LIMITS = Limits()
#: For commands of the terminal that read everything, or write it in one transaction.
MAINTENANCE = Limits(statement=None, transaction=None)
#: For `migrate`, which also waits for running transactions.
MIGRATION = Limits(statement=None, transaction=None, lock=None)
