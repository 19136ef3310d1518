"""Bring the tables up to date, one process at a time, with a copy of a SQLite file first."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path

import asyncpg
from tortoise.connection import ConnectionHandler
from tortoise.context import TortoiseContext
from tortoise.fields.relational import ForeignKeyFieldInstance
from tortoise.migrations.executor import MigrationExecutor
from tortoise.migrations.graph import MigrationKey
from tortoise.migrations.schema_generator.state import ModelState, State
from tortoise.migrations.schema_generator.state_apps import StateApps

from storage.database import Address, Database, Session
from storage.domain.errors import Refusal
from storage.errors import translated

_FOLDER = Path(__file__).with_name("migrations")
_LOCK = 0x5C0_7E5  # any number that nothing else on the server takes an advisory lock on


class SchemaOutdated(Refusal):
    """The database was made by an older version: run `contact-score migrate` first."""


async def pending(session: Session) -> tuple[list[str], bool]:
    """Name the migrations not applied yet, and say whether the database is empty."""
    table = "SELECT name FROM sqlite_master WHERE name = 'tortoise_migrations'"
    if session.dialect == "postgres":
        table = "SELECT to_regclass('tortoise_migrations') AS name"
    applied: set[str] = set()
    if [row for row in await session.rows(table) if row["name"]]:
        found = await session.rows("SELECT name FROM tortoise_migrations WHERE app = 'storage'")
        applied = {row["name"] for row in found}
    known = sorted(path.stem for path in _FOLDER.glob("[0-9]*.py"))
    return [name for name in known if name not in applied], not applied


async def migrate(database: Database, where: Address) -> list[str]:
    """Apply what is pending and name it; other processes that come along wait and find nothing left to do."""
    async with _alone(where):
        names, empty = await pending(database.writer)
        if not names:
            return []
        if where.path is not None and not empty:
            await asyncio.to_thread(_copy, where.path, where.path.with_name(f"{where.path.name}.before-{names[0]}"))
        # A task of its own, so that its context does not stay behind in this one.
        try:
            await asyncio.create_task(_apply(where))
        except Exception as exc:
            better = translated(exc)
            raise better from (exc if better is not exc else None)
        return names


class _Before:
    """What the tables were before a step; their models are made when a step looks at them, which few do."""

    def __init__(self, state: State) -> None:
        self.models: dict[tuple[str, str], ModelState] = {key: model.clone() for key, model in state.models.items()}
        self._apps = state.apps

    @cached_property
    def apps(self) -> StateApps:
        return self._apps.clone(model_states=self.models)


class _State(State):
    def clone(self) -> _Before:  # type: ignore[override]  # all that a step asks of what was before it
        return _Before(self)

    def _find_related_models(self, app_label: str, model_name: str) -> set[tuple[str, str]]:
        """Return the models to make again for a step: its own, and those that it points at.

        Tortoise also makes those that point at them, which are nearly all; no step looks at these."""
        related: set[tuple[str, str]] = set()
        left = [(app_label, model_name)]
        while left:
            key = left.pop()
            if key in self.models and key not in related:
                related.add(key)
                for field in self.models[key].fields.values():
                    if isinstance(field, ForeignKeyFieldInstance):
                        app, _, name = str(field.model_name).partition(".")
                        left.append((app, name))
        return related


class _Executor(MigrationExecutor):
    """Tortoise's executor, without the models that no step looks at: making them took two thirds of the time.

    Migrations speak SQL: their models know no connection, so that nothing can be asked by them."""

    async def _project_state(self, applied: set[MigrationKey], *, upto: MigrationKey | None = None) -> State:
        state = _State(models={}, apps=StateApps(connections=ConnectionHandler()))
        for key in self._full_plan():
            if key in applied and (migration := self.loader.graph.nodes[key]):
                await migration.apply(state, dry_run=True)
        return state


async def _apply(where: Address) -> None:
    writer = {**where.config, "credentials": dict(where.config["credentials"])}
    if where.path is not None:
        # SQLite alters a table by making it anew; with the keys on, dropping the old one empties its children.
        writer["credentials"]["foreign_keys"] = "OFF"
    async with TortoiseContext() as context:
        config = where.tortoise(writer=writer)
        await context.init(config=config)
        connection = context.db(where.dialect)
        await _Executor(connection, config["apps"]).migrate()
        if where.path is not None and await connection.execute_query_dict("PRAGMA foreign_key_check"):
            raise RuntimeError("the migration left rows that point nowhere; the copy beside the database is untouched")


@asynccontextmanager
async def _alone(where: Address) -> AsyncIterator[None]:
    """Hold the lock that only one migrating process can hold."""
    if where.path is None:
        names = ("host", "port", "user", "password", "database", "ssl")
        credentials = {name: where.config["credentials"].get(name) for name in names}
        try:
            connection = await asyncpg.connect(**credentials)
        except Exception as exc:
            raise translated(exc) from exc
        try:
            await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
            yield
        finally:
            await connection.close()
        return
    beside = where.path.with_name(where.path.name + "-migrating")
    lock = await asyncio.to_thread(_lock, beside)
    try:
        yield  # the empty file stays: taken away, it would be another file for whoever waits for it
    finally:
        lock.close()


def _lock(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


def _copy(path: Path, to: Path) -> None:
    source, target = sqlite3.connect(path), sqlite3.connect(to)
    try:
        source.backup(target)
    finally:
        source.close()
        target.close()
