"""Open the database, and run statements and transactions in it.

Statements are written once, in PostgreSQL's words; five marks make them fit SQLite:
`given(a bigint, b text)` reads the rows passed as the first parameter,
`FOR NO KEY UPDATE`, also with `OF … SKIP LOCKED`, and `COLLATE "C"` are what SQLite does anyway,
`least(…)` and `greatest(…)` have other names there, and `OFFSET 0`, which keeps a sub-select apart, needs a limit."""

import asyncio
import json
import re
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.backends.base.config_generator import expand_db_url
from tortoise.context import TortoiseContext
from tortoise.exceptions import ConfigurationError
from tortoise.transactions import in_transaction

from storage.db.errors import READ_ONLY, translate_error
from storage.domain.errors import BadText, Refusal, StorageUnavailable
from storage.limits import DEFAULT_LIMITS, Limits
from storage.vault import Vault

T = TypeVar("T")
Row: TypeAlias = dict[str, Any]  # what a driver returns has no type until a record is made of it

REFUSAL_LASTS = 30.0  # seconds for which a refused change says that the next one will be refused too
LARGEST_ID = 2**63 - 1  # what a column of ids holds; no row has it

#: A batch of one is planned anew each time otherwise, which costs more than running it; and no index is far away on
#: a disk without arms, so that rows are looked up rather than a whole table read.
SERVER_SETTINGS = {"plan_cache_mode": "force_generic_plan", "jit": "off", "random_page_cost": "1.1"}
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SESSION_ATTRIBUTES = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")
#: options of the pool that are whole numbers
NUMBERS = ("minsize", "maxsize", "max_queries", "max_inactive_connection_lifetime", "statement_cache_size")
#: Hosts put these into their addresses: the driver knows no channel binding, the times to wait are ours, and so is the
#: size of the pool, which is that of another program's there.
LEFT_OUT = ("channel_binding", "connect_timeout", "connection_limit", "pool_timeout")
PLAN_CACHE_MODES = ("auto", "force_generic_plan", "force_custom_plan")
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_GIVEN = re.compile(r"given\(([^)]*)\)")
_PLACEHOLDER = re.compile(r"\$(\d+)")
_NAMES = {"least(": "min(", "greatest(": "max(", "OFFSET 0": "LIMIT -1 OFFSET 0"}
_RENAMED = re.compile(r"\b(?:least\(|greatest\(|OFFSET 0\b)")
_POSTGRES_ONLY = re.compile(r'\s*FOR NO KEY UPDATE(?: OF \w+)?(?: SKIP LOCKED)?|\s*COLLATE "C"')


class BadDatabaseUrl(Refusal):
    """CONTACT_SCORE_DATABASE_URL must be sqlite:///absolute/file.db, sqlite://relative.db or postgres://…"""


class NotOpen(RuntimeError):
    """No database is open in this process."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is, as Tortoise wants to be told."""

    dialect: str  #: sqlite or postgres
    config: Mapping[str, Any]
    path: Path | None = None  #: of the SQLite file

    def tortoise(self, *, writer: Mapping[str, Any] | None = None, limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
        """Give Tortoise's configuration: a writing connection, and on SQLite a reading one beside it."""
        connections = {self.dialect: dict(writer or self.config)}
        if self.path is None:
            connections[self.dialect]["credentials"] = {**self.config["credentials"], "limits": limits}
        else:
            reading = {**self.config["credentials"], "query_only": "ON"}
            connections["reader"] = {"engine": "tortoise.backends.sqlite", "credentials": reading}
        # Connections are named by dialect because Tortoise caches statements by that name.
        app = {
            "models": ["storage.db.models"],
            "default_connection": self.dialect,
            "migrations": "storage.db.migrations",
        }
        return {"connections": connections, "apps": {"storage": app}}


def parse_url(url: str) -> Address:
    """Read a database URL; raises BadDatabaseUrl."""
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        path = Path(url.removeprefix("sqlite://").partition("?")[0])
        if not path.name:
            raise BadDatabaseUrl
        # -1: truncating the write-ahead log at every checkpoint costs a fifth of the throughput.
        # secure_delete: what is deleted is overwritten, so that a deleted contact is not found in the file either.
        credentials = {
            "file_path": str(path),
            "busy_timeout": 15_000,
            "journal_size_limit": -1,
            "secure_delete": "ON",
        }
        return Address("sqlite", {"engine": "storage.db.sqlite_engine", "credentials": credentials}, path)
    if scheme in ("postgres", "postgresql"):
        return Address("postgres", {"engine": "storage.db.asyncpg_engine", "credentials": _parse_server(url)})
    raise BadDatabaseUrl


def _parse_server(url: str) -> dict[str, Any]:
    """Return how to connect to the PostgreSQL server of a URL; raises BadDatabaseUrl."""
    try:
        options = {name: values[-1] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}
        parts = expand_db_url(url.partition("?")[0])["credentials"]
        # A socket's folder can only stand among the options, or percent-encoded in place of the host.
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
        # 0: none is kept for later, since it would be made anew in the background, with a traceback while it cannot be.
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
        raise BadDatabaseUrl(f"CONTACT_SCORE_DATABASE_URL has an option that is not known: {next(iter(options))[:40]}")
    return credentials


def _pop_choice(options: dict[str, str], name: str, choices: Sequence[str]) -> str | None:
    value = options.pop(name, None)
    if value is not None and value not in choices:
        raise BadDatabaseUrl(f"{name} in CONTACT_SCORE_DATABASE_URL is {' or '.join(choices)}")
    return value


def _trust(file: str, *, mode: str | None) -> ssl.SSLContext | str:
    """Return how to encrypt where the certificates to trust are in a file, as PostgreSQL's own tools do."""
    if mode in (None, "disable", "allow", "prefer"):  # which check no certificate
        return mode or "prefer"
    try:
        context = ssl.create_default_context(cafile=None if file == "system" else file)
    except OSError as exc:
        raise BadDatabaseUrl(
            f"sslrootcert in CONTACT_SCORE_DATABASE_URL names no file of certificates: {file}"
        ) from exc
    context.check_hostname = mode == "verify-full" or file == "system"
    return context


class Session:
    """One connection, inside a transaction or not."""

    def __init__(self, client: BaseDBAsyncClient, dialect: str) -> None:
        self._client = client
        self.dialect = dialect

    async def rows(self, sql: str, *params: object) -> list[Row]:
        """Run one statement and give its rows as dictionaries."""
        encoded = [encode_rows(param) if isinstance(param, list) else param for param in params]
        for text in encoded:
            if isinstance(text, str):
                _check_text(text)
        try:
            return await self._client.execute_query_dict(_translate_sql(sql, self.dialect), encoded)
        except Exception as exc:
            translated = translate_error(exc)
            raise translated from (exc if translated is not exc else None)


class _WatchedSession(Session):
    """A session that is in *silent* while a statement of it takes longer than *patience* seconds."""

    def __init__(self, client: BaseDBAsyncClient, dialect: str, *, silent: set[Session], patience: float) -> None:
        super().__init__(client, dialect)
        self._silent, self._patience = silent, patience

    async def rows(self, sql: str, *params: object) -> list[Row]:
        timer = asyncio.get_running_loop().call_later(self._patience, self._silent.add, self)
        try:
            return await super().rows(sql, *params)
        finally:
            timer.cancel()
            self._silent.discard(self)


def encode_rows(rows: Iterable[object]) -> str:
    """Write rows for `given(…)`; raises BadText."""
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    if "\\u0000" in text and _NUL.search(text):
        raise BadText
    return text


def _check_text(text: str) -> None:
    """Raise BadText for what no text can hold, so that SQLite does not cut it there and no driver breaks on it."""
    if "\0" in text:
        raise BadText
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            raise BadText from exc


@lru_cache(maxsize=512)
def _translate_sql(sql: str, dialect: str) -> str:
    if dialect == "postgres":
        return _GIVEN.sub(r"json_to_recordset($1::json) AS given(\1)", sql)
    sql = _RENAMED.sub(lambda match: _NAMES[match[0]], sql)
    return _PLACEHOLDER.sub(r"?\1", _POSTGRES_ONLY.sub("", _GIVEN.sub(_read_json_each, sql)))


def _read_json_each(match: re.Match[str]) -> str:
    names = [column.split()[0] for column in match[1].split(",")]
    columns = ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in names)
    return f"(SELECT {columns} FROM json_each(?1)) AS given"


class Database:
    """An open database."""

    def __init__(self, address: Address, context: TortoiseContext, vault: Vault, limits: Limits) -> None:
        self.dialect = address.dialect
        self.vault = vault
        self.jobs_checked_at = 0  #: when `jobs` last looked for times that a wrong clock wrote, in µs
        self._context = context
        self._writer: Any = context.db(address.dialect)  # one of our engines
        self._reader = context.db("reader") if address.path is not None else self._writer
        self.limits = limits
        self._silent: set[Session] = set()  # transactions that wait too long for an answer
        self._refusal: StorageUnavailable | None = None  # why the last change was not taken, if it was a short time ago

    @property
    def writer(self) -> Session:
        """Run single statements, each in a transaction of its own."""
        return Session(self._writer, self.dialect)

    @property
    def reader(self) -> Session:
        """Read what is committed, beside whatever is being written."""
        return Session(self._reader, self.dialect)

    async def transaction(self, body: Callable[[Session], Awaitable[T]]) -> T:
        """Run *body* in one transaction, in a task of its own.

        A cancelled caller waits for the end of the task and is then cancelled:
        cancelling a task inside Tortoise's transaction would leave its connection locked for ever."""

        async def run() -> T:
            try:
                async with in_transaction(self.dialect) as client:
                    session = _WatchedSession(client, self.dialect, silent=self._silent, patience=self.limits.silence)
                    result = await body(session)
            except Exception as exc:
                translated = translate_error(exc)
                if isinstance(translated, StorageUnavailable) and translated.because:
                    self._remember_refusal(translated)
                raise translated from (exc if translated is not exc else None)
            self._refusal = None
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
                task.exception()  # seen here, so that asyncio does not report it as forgotten
            raise

    async def next_ids(self, session: Session, table: str, count: int) -> Sequence[int]:
        """Set aside *count* row ids of *table*, so that rows can name each other before they are written."""
        if self.dialect == "postgres":
            sql = f"SELECT nextval('{table}_id_seq') AS id FROM generate_series(1, $1::bigint)"
            return [row["id"] for row in await session.rows(sql, count)]
        # The write lock is held, so nobody else takes the same ones.
        last = await session.rows("SELECT seq FROM sqlite_sequence WHERE name = $1", table)
        first = (last[0]["seq"] if last else 0) + 1
        return range(first, first + count)

    async def discard_log(self) -> None:
        """Empty SQLite's write-ahead log, which still holds what was deleted; a reader under way keeps it for now."""
        if self.dialect == "sqlite":
            await self.writer.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    async def check_writer(self) -> None:
        """Raise StorageUnavailable where changes are not taken: read-only, full, or silent for too long.

        This writes nothing. That the database had no room is known from the last change that it refused."""
        if self.dialect == "postgres":
            (row,) = await self.writer.rows("SELECT current_setting('transaction_read_only') AS read_only")
            if row["read_only"] == "on":
                raise StorageUnavailable(READ_ONLY)
        if self._refusal is not None:
            raise StorageUnavailable(self._refusal.because)
        if self._silent:
            raise StorageUnavailable

    def _remember_refusal(self, refusal: StorageUnavailable) -> None:
        def forget() -> None:
            if self._refusal is refusal:
                self._refusal = None

        self._refusal = refusal
        asyncio.get_running_loop().call_later(REFUSAL_LASTS, forget)

    def give_up(self) -> None:
        """Fail what waits for the database, and whatever asks for it later, because the process is about to end."""
        self._writer.give_up()

    async def close(self) -> None:
        """Close every connection."""
        global _open
        await self._context.close_connections()
        _open = None


_open: Database | None = None


async def open_database(address: Address, *, vault: Vault, limits: Limits = DEFAULT_LIMITS) -> Database:
    """Open the one database of this process; it can be used and closed from any task."""
    global _open
    if _open is not None:
        raise RuntimeError("a database is open in this process already")
    context = TortoiseContext()
    with context:
        # Without the global fallback only the task that opened it, and its children, would find the database.
        await context.init(config=address.tortoise(limits=limits), _enable_global_fallback=True)
    _open = Database(address, context, vault, limits)
    return _open


def current_database() -> Database:
    """Give the open database; raises NotOpen."""
    if _open is None:
        raise NotOpen
    return _open


async def read(sql: str, *params: object) -> list[Row]:
    """Read what is committed."""
    return await current_database().reader.rows(sql, *params)


async def write(body: Callable[[Session], Awaitable[T]]) -> T:
    """Run *body* in one transaction."""
    return await current_database().transaction(body)
