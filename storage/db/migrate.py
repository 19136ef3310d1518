"""Apply migrations, in one process at a time, after making a copy of a SQLite file."""

import asyncio
import gc
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
from tortoise.connection import ConnectionHandler
from tortoise.context import TortoiseContext
from tortoise.fields.relational import ForeignKeyFieldInstance
from tortoise.migrations.executor import MigrationExecutor
from tortoise.migrations.graph import MigrationKey
from tortoise.migrations.schema_generator.state import ModelState, State
from tortoise.migrations.schema_generator.state_apps import StateApps
from tortoise.models import Model

from storage.db.database import Address, Database, Session
from storage.db.errors import translate_errors
from storage.domain.errors import Refusal, StorageUnavailable
from storage.limits import MIGRATION
from storage.vault import open_private

APPLIED = "tortoise_migrations"  # the table of applied migrations, which Tortoise creates before any other
_FOLDER = Path(__file__).with_name("migrations")
SQLITE_PATIENCE = 60  # seconds to wait while another process migrates the file
_LOCK = 0x5C0_7E5  # an arbitrary number for the advisory lock, which nothing else on the server uses
#: The suffix of migrations that earlier versions of the program can work with. It is part of the name because an older
#: version knows nothing of a newer migration but its name in the database.
COMPATIBLE = "_compatible"


class SchemaOutdated(Refusal):
    """The database was made by an older version: run `contact-score migrate` first."""


class SchemaTooNew(Refusal):
    """The database was made by a newer version, and this one cannot work with it."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            f"The database was made by a newer version: this one does not know its migration {', '.join(names)}."
            " Install the newer version."
        )


class OtherApplication(Refusal):
    """CONTACT_SCORE_DATABASE_URL names a database of another application: name a file that does not exist yet."""


class _FileLocked(Exception):
    """Another process holds the migration lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The state of a database's tables, as sorted names of migrations."""

    missing: list[str]  #: migrations that are not applied yet
    unknown: list[str]  #: migrations that a newer version applied and this version does not have
    is_empty: bool  #: whether no migration is applied

    @property
    def incompatible(self) -> list[str]:
        """The unknown migrations that this version cannot work with."""
        return [name for name in self.unknown if not name.endswith(COMPATIBLE)]


async def read_schema(session: Session) -> Schema:
    """Compare the applied migrations with the migrations of this version."""
    table = f"SELECT name FROM sqlite_master WHERE name = '{APPLIED}'"
    if session.dialect == "postgres":
        table = f"SELECT to_regclass('{APPLIED}') AS name"
    applied: set[str] = set()
    if [row for row in await session.rows(table) if row["name"]]:
        rows = await session.rows(f"SELECT name FROM {APPLIED} WHERE app = 'storage'")
        applied = {row["name"] for row in rows}
    available = available_migrations()
    return Schema(missing=sorted(available - applied), unknown=sorted(applied - available), is_empty=not applied)


def available_migrations() -> set[str]:
    """Return the names of the migrations of this version."""
    return {path.stem for path in _FOLDER.glob("[0-9]*.py")}


async def migrate(database: Database, address: Address) -> list[str]:
    """Apply the missing migrations and return their names.

    Other processes that call this wait for the lock, and then find nothing to apply. A SQLite file that is not empty is
    copied first, to FILE.before-MIGRATION.
    Raises SchemaTooNew if a newer version applied an incompatible migration, StorageUnavailable if the lock of a SQLite
    file is not free after SQLITE_PATIENCE seconds.
    """
    async with _hold_lock(address):
        schema = await read_schema(database.writer)
        if schema.incompatible:
            raise SchemaTooNew(schema.incompatible)
        names = schema.missing
        if not names:
            return []
        if address.path is not None and not schema.is_empty:
            await asyncio.to_thread(
                copy_file, address.path, address.path.with_name(f"{address.path.name}.before-{names[0]}")
            )
        # Run it in its own task, so that Tortoise's context does not stay active in this one.
        with translate_errors(), _without_collecting_garbage():
            await asyncio.create_task(_apply_migrations(address))
        return names


@contextmanager
def _without_collecting_garbage() -> Iterator[None]:
    """Collect no garbage: the classes of models that a migration builds keep it busy for a quarter of the time."""
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            gc.enable()


class _StateBefore:
    """The state of the tables before a migration step, which may read the model classes of a few tables."""

    def __init__(self, state: State) -> None:
        # A step replaces fields and changes options; it changes no field.
        self.models: dict[tuple[str, str], ModelState] = {
            key: replace(model, options=dict(model.options), fields=dict(model.fields))
            for key, model in state.models.items()
        }
        self._apps = state.apps

    @property
    def apps(self) -> "_StateBefore":
        return self

    def get_model(self, app_label: str, model_name: str | None = None) -> type[Model]:
        """Build the class of the model `app.Model`, which may be one argument. Tortoise would build all classes."""
        if model_name is None:
            app_label, model_name = self._apps.split_reference(app_label)
        related = _find_related_models(self.models, app_label, model_name)
        copies = {key: self.models[key].clone() for key in self.models if key in related}
        return self._apps.clone(model_states=copies).get_model(app_label, model_name)


class _Models(StateApps):
    """The model classes of a state. The outdated ones are built again only when a step reads a class."""

    rebuild: Callable[[], None] | None = None  #: None in a copy, which is complete

    def get_model(self, app_label: str, model_name: str | None = None) -> type[Model]:
        if self.rebuild is not None:
            self.rebuild()
        return super().get_model(app_label, model_name)


class _State(State):
    def __init__(self) -> None:
        models = _Models(connections=ConnectionHandler())
        models.rebuild = self._rebuild
        super().__init__(models={}, apps=models)
        self._outdated: set[tuple[str, str]] = set()

    def clone(self) -> _StateBefore:  # type: ignore[override]  # has all that a step uses of the state before it
        return _StateBefore(self)

    def _reload(self, models_to_reload: set[tuple[str, str]]) -> None:
        self._outdated |= models_to_reload

    def _rebuild(self) -> None:
        if outdated := self._outdated & self.models.keys():
            self._outdated.clear()
            super()._reload(outdated)

    def _find_related_models(self, app_label: str, model_name: str) -> set[tuple[str, str]]:
        """Return the models to rebuild for a step.

        Tortoise also rebuilds the models with foreign keys to these, which are nearly all. No step reads them."""
        return _find_related_models(self.models, app_label, model_name)


def _find_related_models(
    models: Mapping[tuple[str, str], ModelState], app_label: str, model_name: str
) -> set[tuple[str, str]]:
    """Return a model and the models that it has foreign keys to, directly or through others."""
    related: set[tuple[str, str]] = set()
    remaining = [(app_label, model_name)]
    while remaining:
        key = remaining.pop()
        if key in models and key not in related:
            related.add(key)
            for field in models[key].fields.values():
                if isinstance(field, ForeignKeyFieldInstance):
                    app, _, name = str(field.model_name).partition(".")
                    remaining.append((app, name))
    return related


class _Executor(MigrationExecutor):
    """Tortoise's executor, without building models that no step reads, which took two thirds of the time.

    The models have no connections and cannot run queries. Migrations use SQL."""

    async def _project_state(self, applied: set[MigrationKey], *, upto: MigrationKey | None = None) -> State:
        state = _State()
        for key in self._full_plan():
            if key in applied and (migration := self.loader.graph.nodes[key]):
                await migration.apply(state, dry_run=True)
        return state


async def _apply_migrations(address: Address) -> None:
    writer = {**address.config, "credentials": dict(address.config["credentials"])}
    if address.path is not None:
        # To alter a table on SQLite, Tortoise creates a new table and drops the old one. DROP TABLE first deletes all
        # rows, so with foreign keys on it would affect the rows that refer to them.
        writer["credentials"]["foreign_keys"] = "OFF"
        # With its checks, renaming the new table would fail while triggers of other tables name the old one.
        writer["credentials"]["legacy_alter_table"] = "ON"
    async with TortoiseContext() as context:
        config = address.tortoise(writer=writer, limits=MIGRATION)
        await context.init(config=config, init_connections=False)
        connection = context.db(address.dialect)
        await _Executor(connection, config["apps"]).migrate()
        if address.path is not None and await connection.execute_query_dict("PRAGMA foreign_key_check"):
            raise Refusal("the migration left rows that point nowhere; the copy beside the database is untouched")


@asynccontextmanager
async def _hold_lock(address: Address) -> AsyncIterator[None]:
    """Hold the migration lock during the block: an advisory lock on PostgreSQL, a lock file on SQLite.

    Raises StorageUnavailable if the lock file is not free after SQLITE_PATIENCE seconds.
    """
    if address.path is None:
        names = ("host", "port", "user", "password", "database", "ssl")
        credentials = {name: address.config["credentials"].get(name) for name in names}
        with translate_errors():
            connection = await asyncpg.connect(**credentials, timeout=MIGRATION.connect)
        try:
            # A transaction-level lock, because a pooler may use another server connection for each transaction.
            await connection.execute(
                "BEGIN; SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0;"
                f"SET LOCAL idle_in_transaction_session_timeout = 0; SELECT pg_advisory_xact_lock({_LOCK})"
            )
            yield
        finally:
            with suppress(OSError):
                await connection.close(timeout=MIGRATION.connect)
        return
    lock_path = address.path.with_name(address.path.name + "-migrating")
    for _ in range(SQLITE_PATIENCE):  # one second per attempt, so that the wait can be canceled
        with suppress(_FileLocked):
            lock = await asyncio.to_thread(_lock_file, lock_path)
            break
    else:
        raise StorageUnavailable
    try:
        yield  # the empty file stays: if it were deleted, waiting processes would lock a deleted file
    finally:
        lock.close()


def prepare_file(path: Path) -> None:
    """Create a SQLite file if it does not exist, else check that it belongs to this program.

    Call this before the database is opened, because opening changes the file.
    Raises OtherApplication, or StorageUnavailable if the file is damaged or cannot be opened.
    """
    create_file(path)
    with translate_errors(), closing(sqlite3.connect(path)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and APPLIED not in tables:
        raise OtherApplication


#: the columns with sealed texts
_SEALED = {
    "sources": ("secrets", "api_token"),
    "subscriptions": ("secrets",),
    "workspaces": ("tombstone_key",),
    "late_answers": ("answer_to",),
}


def has_secrets(path: Path) -> bool:
    """Return whether a SQLite database has encrypted texts."""
    with translate_errors(), closing(sqlite3.connect(path)) as connection:
        for table, columns in _SEALED.items():
            known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            for column in known.intersection(columns):
                if connection.execute(f"SELECT 1 FROM {table} WHERE {column} IS NOT NULL LIMIT 1").fetchone():
                    return True
    return False


def create_file(path: Path) -> None:
    """Create an empty SQLite file with permissions for its owner only, if it does not exist. Its log inherits them."""
    if not path.exists():
        with open(path, "a", opener=open_private):
            pass


def _lock_file(path: Path) -> sqlite3.Connection:
    """Lock a file exclusively and return the connection that holds the lock. Raises _FileLocked after one second."""
    create_file(path)
    with translate_errors():
        connection = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as exc:
            connection.close()
            if exc.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise _FileLocked from exc
            raise
        return connection


def copy_file(path: Path, copy_path: Path) -> None:
    """Copy a SQLite database into another file, as it is at one instant; others may write to it meanwhile."""
    create_file(copy_path)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy_path)) as target, translate_errors():
        source.backup(target)
