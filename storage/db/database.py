"""Open the database, and run statements and transactions.

Plain rows of one table are read, changed and deleted by querysets of the models: `Session.load`, `update`, `delete`.
Statements about sets, locks, the ledger and filters are written once, in PostgreSQL's dialect, and translated for
SQLite:
- `given(a bigint, b text)` is a table of the rows passed as the first parameter, on both databases.
- `FOR NO KEY UPDATE` and `FOR SHARE`, also with `OF … SKIP LOCKED`, and `COLLATE "C"` are removed: SQLite locks the
  whole database and compares bytes by default.
- `least(…)` and `greatest(…)` become `min(…)` and `max(…)`.
- `OFFSET 0`, which keeps the planner from flattening a subquery, becomes `LIMIT -1 OFFSET 0`."""

import asyncio
import json
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.backends.base.config_generator import expand_db_url
from tortoise.context import TortoiseContext
from tortoise.exceptions import ConfigurationError
from tortoise.queryset import AwaitableQuery, QuerySet
from tortoise.transactions import in_transaction

from storage.db.errors import READ_ONLY, StartAgain, is_duplicate_error, translate_error, was_canceled
from storage.domain.errors import BadText, Refusal, StorageUnavailable, TooSlow
from storage.limits import DEFAULT_LIMITS, Limits
from storage.vault import Vault

T = TypeVar("T")
MOST_TRIES = 8  # of a transaction that must be repeated
Row: TypeAlias = dict[str, Any]  # values from a driver are untyped until a record is built from them

REFUSAL_LASTS = 30.0  # seconds for which `check_writer` reports a refused change
#: the tables that grow with each contact and each fact
LEDGER_TABLES = (
    "contacts", "identities", "attribute_values",
    "facts", "effects", "scores",
    "words", "word_trigrams", "contact_words",
)  # fmt: skip  # about contacts, about scores, about words
FIRST_ANALYSIS = 2_000  # rows
MOST_TO_ANALYZE = 10_000  # contacts: the plans for more are good, even if there are many more by now
LARGEST_ID = 2**63 - 1  # the largest value of an id column; no row has this id

#: force_generic_plan: planning a small batch each time costs more than running it. random_page_cost: on an SSD an index
#: lookup is cheap, so the planner should prefer it to a sequential scan.
SERVER_SETTINGS = {"plan_cache_mode": "force_generic_plan", "jit": "off", "random_page_cost": "1.1"}
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SESSION_ATTRIBUTES = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")
#: URL options that are passed to the pool as integers
NUMBERS = ("minsize", "maxsize", "max_queries", "max_inactive_connection_lifetime", "statement_cache_size")
#: URL options that are ignored; hosting providers add them. The driver does not support channel binding, and the
#: timeouts and the pool size are defined by this program.
LEFT_OUT = ("channel_binding", "connect_timeout", "connection_limit", "pool_timeout")
PLAN_CACHE_MODES = ("auto", "force_generic_plan", "force_custom_plan")
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_GIVEN = re.compile(r"given\(([^)]*)\)")
_PLACEHOLDER = re.compile(r"\$(\d+)")
_NAMES = {"least(": "min(", "greatest(": "max(", "OFFSET 0": "LIMIT -1 OFFSET 0"}
_RENAMED = re.compile(r"\b(?:least\(|greatest\(|OFFSET 0\b)")
_POSTGRES_ONLY = re.compile(r'\s*FOR (?:NO KEY UPDATE|SHARE)(?: OF \w+)?(?: SKIP LOCKED)?|\s*COLLATE "C"')


class BadDatabaseUrl(Refusal):
    """CONTACT_SCORE_DATABASE_URL must be sqlite:///absolute/file.db, sqlite://relative.db or postgres://…"""


class NotOpen(RuntimeError):
    """No database is open in this process."""


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a database, with its connection settings for Tortoise."""

    dialect: str  #: sqlite or postgres
    config: Mapping[str, Any]  #: the engine and its credentials
    path: Path | None = None  #: the SQLite file; None for PostgreSQL

    def tortoise(self, *, writer: Mapping[str, Any] | None = None, limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
        """Return Tortoise's configuration: a connection for writing, and on SQLite others for reading."""
        connections = {self.dialect: dict(writer or self.config)}
        if self.path is None:
            connections[self.dialect]["credentials"] = {**self.config["credentials"], "limits": limits}
        else:
            waiting = {**connections[self.dialect]["credentials"], "busy_timeout": round(limits.file * 1000)}
            connections[self.dialect]["credentials"] = waiting
            reading = {**waiting, "query_only": "ON", "limit": limits.statement}
            connections["reader"] = {"engine": "storage.db.sqlite_readers", "credentials": reading}
        # Connections are named by dialect because Tortoise caches statements by that name.
        app = {
            "models": ["storage.db.models"],
            "default_connection": self.dialect,
            "migrations": "storage.db.migrations",
        }
        return {"connections": connections, "apps": {"storage": app}}


def parse_url(url: str) -> Address:
    """Parse a database URL. Raises BadDatabaseUrl."""
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        path = Path(url.removeprefix("sqlite://").partition("?")[0])
        if not path.name:
            raise BadDatabaseUrl
        # journal_size_limit: truncating the write-ahead log at every checkpoint costs a fifth of the throughput.
        # secure_delete: SQLite overwrites deleted rows, so that the data of a deleted contact is not left in the file.
        credentials = {
            "file_path": str(path),
            "journal_size_limit": -1,
            "secure_delete": "ON",
        }
        return Address("sqlite", {"engine": "storage.db.sqlite_engine", "credentials": credentials}, path)
    if scheme in ("postgres", "postgresql"):
        return Address("postgres", {"engine": "storage.db.asyncpg_engine", "credentials": _parse_server(url)})
    raise BadDatabaseUrl


def _parse_server(url: str) -> dict[str, Any]:
    """Return the credentials for asyncpg from a PostgreSQL URL. Raises BadDatabaseUrl."""
    try:
        options = {name: values[-1] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}
        parts = expand_db_url(url.partition("?")[0])["credentials"]
        # The folder of a Unix socket can only be an option, or percent-encoded in place of the host.
        host = options.pop("host", None) or (unquote(parts["host"]) if parts["host"] else None)
        port = int(options.pop("port", None) or parts["port"] or 5432)
    except (ValueError, ConfigurationError) as exc:
        raise BadDatabaseUrl from exc
    for name in (*LEFT_OUT, *(name for name, value in options.items() if not value)):
        options.pop(name, None)
    settings = dict(SERVER_SETTINGS)
    if mode := _pop_choice(options, "plan_cache_mode", PLAN_CACHE_MODES):
        settings["plan_cache_mode"] = mode
    if schema := options.pop("schema", None):
        settings["search_path"] = '"{}"'.format(schema.replace('"', '""'))
    settings |= {name: options.pop(name) for name in ("application_name", "options") if name in options}
    credentials: dict[str, Any] = {
        "host": host,
        "port": port,
        "user": options.pop("user", None) or (unquote(parts["user"]) if parts["user"] else None),
        "password": options.pop("password", None) or parts["password"],
        "database": options.pop("dbname", None) or (unquote(parts["database"]) if parts["database"] else None),
        "server_settings": settings,
        # 0: otherwise the pool reconnects in the background, and logs a traceback while the server is down.
        "minsize": 0,
        "maxsize": 8,
    }
    try:
        credentials |= {name: int(options.pop(name)) for name in NUMBERS if name in options}
    except ValueError as exc:
        raise BadDatabaseUrl(f"{', '.join(NUMBERS)} in CONTACT_SCORE_DATABASE_URL are whole numbers") from exc
    mode = _pop_choice(options, "sslmode", SSL_MODES)
    if mode or (mode := _pop_choice(options, "ssl", (*SSL_MODES, "true"))):
        credentials["ssl"] = True if mode == "true" else mode
    if file := options.pop("sslrootcert", None):
        credentials["ssl"] = _trust(file, mode=mode)
    if attributes := _pop_choice(options, "target_session_attrs", SESSION_ATTRIBUTES):
        credentials["target_session_attrs"] = attributes
    if _pop_choice(options, "pgbouncer", ("true", "false")) == "true":
        credentials["statement_cache_size"] = 0
    if options:
        raise BadDatabaseUrl(f"CONTACT_SCORE_DATABASE_URL has an unknown option: {next(iter(options))[:40]}")
    return credentials


def _pop_choice(options: dict[str, str], name: str, choices: Sequence[str]) -> str | None:
    value = options.pop(name, None)
    if value is not None and value not in choices:
        raise BadDatabaseUrl(f"{name} in CONTACT_SCORE_DATABASE_URL is {' or '.join(choices)}")
    return value


def _trust(file: str, *, mode: str | None) -> ssl.SSLContext | str:
    """Return the `ssl` argument for asyncpg that trusts the certificates in a file, as libpq does.

    The file `system` stands for the certificates of the operating system. Raises BadDatabaseUrl if the file cannot be
    read.
    """
    if mode in (None, "disable", "allow", "prefer"):  # these modes check no certificate
        return mode or "prefer"
    try:
        context = ssl.create_default_context(cafile=None if file == "system" else file)
    except OSError as exc:
        raise BadDatabaseUrl(f"sslrootcert in CONTACT_SCORE_DATABASE_URL is not a certificate file: {file}") from exc
    context.check_hostname = mode == "verify-full" or file == "system"
    return context


class Session:
    """A connection for statements, inside or outside a transaction."""

    def __init__(self, client: BaseDBAsyncClient, dialect: str) -> None:
        self._client = client
        self.dialect = dialect
        self.has_enqueued_jobs = False  #: whether the transaction enqueued jobs that are due already
        self.reworded: set[int] = set()  #: contact rows with texts that the transaction changed; see `ledger.words`
        #: contact rows that the transaction inserted, each with its address. Nothing else is stored about them yet,
        #: not even that another row is merged into them: there is nothing to load.
        self.untouched: dict[int, str | None] = {}
        self.inserted = 0  #: rows that `insert` inserted

    async def rows(self, sql: str, *params: object) -> list[Row]:
        """Run one statement and return its rows as dictionaries.

        A list parameter is encoded for `given(…)` and must be the first. Raises BadText, or StorageUnavailable if the
        database cannot be used.
        """
        translated, columns = _translate_sql(sql, self.dialect)
        encoded = [encode_rows(param, columns=columns) if isinstance(param, list) else param for param in params]
        for text in encoded:
            if isinstance(text, str):
                _check_text(text)
        return await self._run(lambda: self._client.execute_query_dict(translated, encoded))

    async def load(self, query: QuerySet[Any], *columns: str) -> list[Row]:
        """Return these columns, by default all, of the rows that a queryset of a model selects. Raises as `rows`.

        `limit(0)` would mean no limit.
        """
        return await self._run_built(query.using_db(self._client).values(*columns))

    async def update(self, query: QuerySet[Any], /, **values: object) -> None:
        """Change the rows that a queryset of a model selects. Raises as `rows`."""
        await self._run_built(query.using_db(self._client).update(**values))

    async def delete(self, query: QuerySet[Any]) -> None:
        """Delete the rows that a queryset of a model selects. Raises as `rows`."""
        await self._run_built(query.using_db(self._client).delete())

    async def _run_built(self, query: AwaitableQuery[Any]) -> list[Row]:
        """Run the statement of a queryset as `rows` does; awaiting the queryset would have none of its checks."""
        query._make_query()  # `sql()` does the same, and renders a statement that is not used
        sql, params = query.query.get_parameterized_sql()
        return await self.rows(sql, *params)

    async def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Insert rows, in their order; for many rows this costs a fraction of an INSERT from `given(…)`.

        The session must be in a transaction. Raises BadText, and StartAgain if a row has the unique key of another row:
        then a concurrent transaction has inserted that.
        """
        _check_text("".join([value for row in rows for value in row if type(value) is str]))
        client: Any = self._client  # of a transaction of sqlite_engine or asyncpg_engine
        try:
            await self._run(lambda: client.insert_rows(table, columns, rows))
        except Exception as exc:
            if is_duplicate_error(exc):
                raise StartAgain from exc
            raise
        self.inserted += len(rows)

    async def _run(self, statement: Callable[[], Awaitable[T]]) -> T:
        try:
            return await statement()
        except Exception as exc:
            error = translate_error(exc)
            raise error from (exc if error is not exc else None)


class _WatchedSession(Session):
    """A session that is in *waiting* while one of its statements runs, with the loop's time when that began."""

    def __init__(self, client: BaseDBAsyncClient, dialect: str, *, waiting: dict[Session, float]) -> None:
        super().__init__(client, dialect)
        self._waiting = waiting

    async def _run(self, statement: Callable[[], Awaitable[T]]) -> T:
        # A timer for each statement would take longer than this, and fill the loop's heap.
        loop = asyncio.get_running_loop()
        self._waiting[self] = loop.time()
        try:
            return await super()._run(statement)
        finally:
            self._waiting.pop(self, None)


class _ReadingSession(Session):
    async def _run(self, statement: Callable[[], Awaitable[T]]) -> T:
        try:
            return await super()._run(statement)
        except StorageUnavailable as exc:
            if exc.__cause__ is not None and was_canceled(exc.__cause__):
                raise TooSlow from exc
            raise


def encode_rows(rows: Sequence[Row], *, columns: Sequence[str] | None = None) -> str:
    """Encode rows as JSON for `given(…)`: as objects, or as arrays of their *columns*. Raises BadText."""
    text = _encoder.encode(rows if columns is None else [[row.get(column) for column in columns] for row in rows])
    if "\\u0000" in text and _NUL.search(text):
        raise BadText
    return text


def _check_text(text: str) -> None:
    """Raise BadText for NUL, at which SQLite would cut the text, and for unpaired surrogates, which UTF-8 lacks."""
    if "\0" in text:
        raise BadText
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            raise BadText from exc


@lru_cache(maxsize=512)
def _translate_sql(sql: str, dialect: str) -> tuple[str, Sequence[str] | None]:
    """Return the statement for a database, and the columns that the arrays of its rows have; None: rows are objects."""
    if dialect == "postgres":
        return _GIVEN.sub(r"json_to_recordset($1::json) AS given(\1)", sql), None
    # SQLite parses the JSON of a row once for each column: an array, without names, is half as long.
    columns = list(dict.fromkeys(name for match in _GIVEN.finditer(sql) for name in _list_names(match)))

    def read_arrays(match: re.Match[str]) -> str:
        values = (f"json_extract(value, '$[{columns.index(name)}]') AS {name}" for name in _list_names(match))
        return f"(SELECT {', '.join(values)} FROM json_each(?1)) AS given"

    sql = _RENAMED.sub(lambda match: _NAMES[match[0]], sql)
    return _PLACEHOLDER.sub(r"?\1", _POSTGRES_ONLY.sub("", _GIVEN.sub(read_arrays, sql))), columns


def _list_names(given: re.Match[str]) -> list[str]:
    return [column.split()[0] for column in given[1].split(",")]


class Database:
    """The open database of this process."""

    def __init__(self, address: Address, context: TortoiseContext, vault: Vault, limits: Limits) -> None:
        self.address = address
        self.dialect = address.dialect
        self.vault = vault
        self.jobs_checked_at = 0  #: when `storage.jobs` last corrected times from a wrong clock, in µs
        self._context = context
        self._writer: Any = context.db(address.dialect)  # a client of sqlite_engine or asyncpg_engine
        self._reader = context.db("reader") if address.path is not None else self._writer
        self.limits = limits
        self.job_wakers: list[Callable[[], None]] = []  #: called after each commit that enqueued due jobs
        self.before_close: list[Callable[[], Awaitable[None]]] = []  #: what finishes its work first
        self._waiting: dict[Session, float] = {}  # sessions with a running statement, and when it began
        self._inserted = 0  # rows that this process inserted by `Session.insert`
        self._next_analysis = FIRST_ANALYSIS
        self._refusal: StorageUnavailable | None = None  # why a change was refused in the last REFUSAL_LASTS seconds

    @property
    def writer(self) -> Session:
        """A session for single statements, each in its own transaction."""
        return Session(self._writer, self.dialect)

    @property
    def reader(self) -> Session:
        """A session for reads of committed data, which do not wait for a running write.

        A statement that takes longer than the limit raises TooSlow.
        """
        return _ReadingSession(self._reader, self.dialect)

    async def transaction(self, body: Callable[[Session], Awaitable[T]]) -> T:
        """Run *body* in one transaction, in its own task, and return the result of *body*.

        If the caller is canceled, it waits for the end of the task first: canceling a task inside Tortoise's
        transaction would leave the connection locked forever.
        Raises what *body* raises, and StorageUnavailable or OutcomeUnknown for errors of the database."""

        async def run() -> T:
            try:
                async with in_transaction(self.dialect) as client:
                    session = _WatchedSession(client, self.dialect, waiting=self._waiting)
                    result = await body(session)
            except Exception as exc:
                translated = translate_error(exc)
                if isinstance(translated, StorageUnavailable) and translated.because:
                    self._remember_refusal(translated)
                raise translated from (exc if translated is not exc else None)
            self._refusal = None
            self._inserted += session.inserted
            if session.has_enqueued_jobs:
                for wake in self.job_wakers:
                    wake()
            return result

        task = asyncio.create_task(run())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            while not task.done():
                try:
                    await asyncio.wait([task])
                except asyncio.CancelledError:
                    continue
            if not task.cancelled():
                task.exception()  # retrieve the exception, so that asyncio does not log it as never retrieved
            raise

    async def next_ids(self, session: Session, table: str, count: int) -> Sequence[int]:
        """Reserve *count* row ids of *table*, so that rows can refer to each other before they are inserted.

        *session* must be in a transaction, which on SQLite holds the write lock.
        """
        if self.dialect == "postgres":
            sql = f"SELECT nextval('{table}_id_seq') AS id FROM generate_series(1, $1::bigint)"
            return [row["id"] for row in await session.rows(sql, count)]
        # The transaction holds the write lock, so no other process can use the same ids.
        last = await session.rows("SELECT seq FROM sqlite_sequence WHERE name = $1", table)
        first = (last[0]["seq"] if last else 0) + 1
        return range(first, first + count)

    async def analyze_new_tables(self) -> None:
        """Collect statistics on PostgreSQL while the tables are small and growing, as during the first large import.

        Its plans for empty tables read every row of a workspace, and it looks at tables by itself only once a minute.
        This process does so when it has inserted FIRST_ANALYSIS rows, ten times as many, and so on.
        """
        if self.dialect != "postgres" or self._inserted < self._next_analysis:
            return
        self._next_analysis = 10 * self._inserted
        small = "SELECT 1 FROM pg_class WHERE oid = 'contacts'::regclass AND reltuples < $1"
        with suppress(StorageUnavailable):
            if await self.writer.rows(small, MOST_TO_ANALYZE):
                await self.writer.rows(f"ANALYZE (SKIP_LOCKED) {', '.join(LEDGER_TABLES)}")

    async def discard_log(self) -> None:
        """Truncate SQLite's write-ahead log, which may still contain deleted data. A running read prevents it."""
        if self.dialect == "sqlite":
            await self.writer.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    async def check_writer(self) -> None:
        """Raise StorageUnavailable if the database accepts no changes: it is read-only, full, or does not answer.

        This writes nothing: a full database is known from a change that it refused in the last REFUSAL_LASTS seconds.
        """
        if self.dialect == "postgres":
            (row,) = await self.writer.rows("SELECT current_setting('transaction_read_only') AS read_only")
            if row["read_only"] == "on":
                raise StorageUnavailable(READ_ONLY)
        if self._refusal is not None:
            raise StorageUnavailable(self._refusal.because)
        loop = asyncio.get_running_loop()
        latest = loop.time() - self.limits.silence
        if any(begun < latest for begun in self._waiting.values()):
            raise StorageUnavailable

    def _remember_refusal(self, refusal: StorageUnavailable) -> None:
        def forget() -> None:
            if self._refusal is refusal:
                self._refusal = None

        self._refusal = refusal
        asyncio.get_running_loop().call_later(REFUSAL_LASTS, forget)

    def give_up(self) -> None:
        """Make all waiting and later statements fail, because the process is about to exit."""
        self._writer.give_up()

    async def close(self) -> None:
        """Wait for what `before_close` lists, then close every connection; `open_database` may be called again."""
        global _open
        for finish in self.before_close:
            await finish()
        await self._context.close_connections()
        _open = None


_open: Database | None = None
_querysets_of: str | None = None  # the dialect that the querysets of the models are built for


async def open_database(address: Address, *, vault: Vault, limits: Limits = DEFAULT_LIMITS) -> Database:
    """Open the database of this process. It can be used and closed from any task.

    Raises RuntimeError if a database is open already.
    """
    global _open, _querysets_of
    if _open is not None:
        raise RuntimeError("a database is open in this process already")
    context = TortoiseContext()
    with context:
        # Without the global fallback only this task and its children would find the database.
        config = address.tortoise(limits=limits)
        await context.init(config=config, init_connections=False, _enable_global_fallback=True)
        if _querysets_of != address.dialect:  # with init_connections, Tortoise would build them at each opening: 10 ms
            assert context.apps is not None
            context.apps._build_initial_querysets()
            _querysets_of = address.dialect
    _open = Database(address, context, vault, limits)
    return _open


def current_database() -> Database:
    """Return the open database. Raises NotOpen."""
    if _open is None:
        raise NotOpen
    return _open


async def read(sql: str, *params: object) -> list[Row]:
    """Run one statement on the reader, which sees committed data, and return its rows."""
    return await current_database().reader.rows(sql, *params)


async def load(query: QuerySet[Any], *columns: str) -> list[Row]:
    """Return these columns, by default all, of the committed rows that a queryset of a model selects."""
    return await current_database().reader.load(query, *columns)


async def change(sql: str, *params: object) -> list[Row]:
    """Run one statement in its own transaction, and return its rows."""
    return await current_database().writer.rows(sql, *params)


async def write(body: Callable[[Session], Awaitable[T]]) -> T:
    """Run *body* in one transaction of the open database, and return its result."""
    return await current_database().transaction(body)


async def write_and_repeat(body: Callable[[Session], Awaitable[T]]) -> T:
    """Run *body* in a transaction, again if it raises StartAgain."""
    for _ in range(MOST_TRIES):
        with suppress(StartAgain):
            return await write(body)
    return await write(body)
