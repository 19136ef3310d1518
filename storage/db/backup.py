"""Copy a whole database into a file while others write to it, and restore an empty database from such a file.

A backup of SQLite is a SQLite database, made by SQLite itself. A backup of PostgreSQL is a zip archive: a manifest, and
for each table the rows as COPY writes them, all read in one REPEATABLE READ transaction.
"""

import asyncio
import json
import os
import sqlite3
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import IO, Any

import asyncpg

from storage.db.database import Address
from storage.db.errors import translate_errors
from storage.db.migrate import APPLIED, available_migrations, copy_file
from storage.db.tables import WORKSPACES, list_tables
from storage.domain.errors import Refusal
from storage.limits import MIGRATION
from storage.vault import open_private

MANIFEST = "manifest.json"
FORMAT = "contact-score-backup/1"
_SQLITE_HEADER = b"SQLite format 3\0"
_CHUNK = 1 << 20
_NAMES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}


class BadBackup(Refusal):
    """That file is not a whole backup of Contact Score."""


class NotEmpty(Refusal):
    """The database of CONTACT_SCORE_DATABASE_URL has data already: restore into an empty one."""


async def write_backup(address: Address, path: Path) -> None:
    """Copy the database at *address* into a new file, which only its owner can read.

    The copy is the database as it was at one instant. The file appears when it is whole. Raises Refusal if it exists.
    """
    part = await asyncio.to_thread(_create_part, path)
    try:
        if address.path is not None:
            await asyncio.to_thread(copy_file, address.path, part)
        else:
            with zipfile.ZipFile(part, "w", compression=zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                await _copy_tables(address, archive)
        await asyncio.to_thread(_finish_file, part, is_sqlite=address.path is not None)
        os.replace(part, path)
    finally:
        await asyncio.to_thread(part.unlink, missing_ok=True)


async def restore_backup(address: Address, path: Path) -> None:
    """Fill the empty database at *address* from a backup, or leave it as it is.

    The tables of PostgreSQL must be there; a SQLite file need not. Raises BadBackup, and NotEmpty if there is a
    workspace.
    """
    dialect = await asyncio.to_thread(_recognize, path)
    if dialect != address.dialect:
        raise BadBackup(
            f"that is a backup of {_NAMES[dialect]}, and the database is {_NAMES[address.dialect]}:"
            " restore it into the same kind of database, or use export and import"
        )
    if address.path is not None:
        await asyncio.to_thread(_restore_file, path, address.path)
    else:
        await _restore_tables(address, path)


def _create_part(path: Path) -> Path:
    """Create the file that a backup is written to before it has its name; raises Refusal if the backup exists."""
    if path.exists():
        raise Refusal(f"the file {path} exists already: name a new one")
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    with open(part, "x", opener=open_private):
        return part


def _recognize(path: Path) -> str:
    """Return the dialect of a backup; raises BadBackup if the file is none."""
    with path.open("rb") as file:
        if file.read(len(_SQLITE_HEADER)) == _SQLITE_HEADER:
            return "sqlite"
    if not zipfile.is_zipfile(path):
        raise BadBackup
    return "postgres"


def _finish_file(path: Path, *, is_sqlite: bool) -> None:
    if is_sqlite:
        with closing(sqlite3.connect(path)) as copy:
            copy.execute("PRAGMA journal_mode = DELETE")  # all in one file, which a read-only medium can hold
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _restore_file(path: Path, target: Path) -> None:
    with translate_errors():
        with closing(sqlite3.connect(path)) as backup:
            try:
                (state,) = backup.execute("PRAGMA quick_check(1)").fetchone()
            except sqlite3.DatabaseError as exc:
                raise BadBackup from exc
            if state != "ok" or not _has_table(backup, APPLIED):
                raise BadBackup
        if target.exists():
            with closing(sqlite3.connect(target)) as existing:
                if _has_table(existing, WORKSPACES):
                    if existing.execute(f"SELECT 1 FROM {WORKSPACES} LIMIT 1").fetchone():
                        raise NotEmpty
                elif existing.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
                    raise NotEmpty("CONTACT_SCORE_DATABASE_URL names the file of another application: name a new file")
        copy_file(path, target)


def _has_table(connection: sqlite3.Connection, name: str) -> bool:
    row = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)).fetchone()
    return row is not None


@asynccontextmanager
async def own_transaction(address: Address, mode: str) -> AsyncIterator[asyncpg.Connection]:
    """Run the block in one transaction of a connection of its own, without limits of time."""
    credentials = address.config["credentials"]
    names = ("host", "port", "user", "password", "database", "ssl")
    with translate_errors():
        connection = await asyncpg.connect(
            **{name: credentials.get(name) for name in names}, timeout=MIGRATION.connect, statement_cache_size=0
        )
        try:
            await connection.execute(f"BEGIN ISOLATION LEVEL {mode}")
            # For this transaction alone: a pooler may share the server's connection with other clients.
            settings = {"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0"}
            if "search_path" in credentials["server_settings"]:
                settings["search_path"] = credentials["server_settings"]["search_path"]
            for name, value in settings.items():
                await connection.execute("SELECT set_config($1, $2, true)", name, value)
            yield connection
            await connection.execute("COMMIT")
        finally:
            with suppress(OSError):
                await connection.close(timeout=MIGRATION.connect)


async def _copy_tables(address: Address, archive: zipfile.ZipFile) -> None:
    async with own_transaction(address, "REPEATABLE READ, READ ONLY") as connection:
        migrations = await _list_migrations(connection)
        tables: dict[str, Mapping[str, Any]] = {}
        for table in list_tables():
            columns = await _list_columns(connection, table.name)
            with archive.open(table.name, "w", force_zip64=True) as entry:
                status = await _copy_out(connection, table.name, columns, entry)
            # Ids that deleted rows had are not used again.
            (sequence,) = await connection.fetch(f"SELECT last_value, is_called FROM {table.name}_id_seq")
            tables[table.name] = {"columns": columns, "rows": int(status.split()[-1]), "ids": list(sequence)}
    archive.writestr(MANIFEST, json.dumps({"format": FORMAT, "migrations": migrations, "tables": tables}, indent=1))


async def _list_migrations(connection: asyncpg.Connection) -> list[str]:
    """Return the applied migrations; raises a Refusal unless they are those of this version."""
    (row,) = await connection.fetch("SELECT to_regclass($1) IS NOT NULL AS is_there", APPLIED)
    if not row["is_there"]:
        raise Refusal("the database is empty: there is nothing to back up")
    rows = await connection.fetch(f"SELECT name FROM {APPLIED} WHERE app = 'storage' ORDER BY name")
    names = [row["name"] for row in rows]
    if set(names) != available_migrations():
        raise Refusal("the database is of another version: back it up with that version, or run contact-score migrate")
    return names


async def _list_columns(connection: asyncpg.Connection, table: str) -> list[str]:
    rows = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped"
        " ORDER BY attnum",
        table,
    )
    return [row["attname"] for row in rows]


async def _copy_out(connection: asyncpg.Connection, table: str, columns: Sequence[str], entry: IO[bytes]) -> str:
    async def write(chunk: bytes) -> None:
        entry.write(chunk)

    return str(await connection.copy_from_query(f"SELECT {', '.join(columns)} FROM {table}", output=write))


async def _restore_tables(address: Address, path: Path) -> None:
    try:
        archive = zipfile.ZipFile(path)
        manifest = json.loads(archive.read(MANIFEST))
    except (zipfile.BadZipFile, KeyError, ValueError) as exc:
        raise BadBackup from exc
    with archive:
        if manifest.get("format") != FORMAT:
            raise BadBackup
        _check_migrations(manifest["migrations"])
        async with own_transaction(address, "READ COMMITTED") as connection:
            await connection.execute(f"LOCK TABLE {WORKSPACES} IN ACCESS EXCLUSIVE MODE")
            if await connection.fetch(f"SELECT 1 FROM {WORKSPACES} LIMIT 1"):
                raise NotEmpty
            for table in list_tables():
                stored = manifest["tables"][table.name]
                try:
                    with archive.open(table.name) as entry:
                        source = _read_chunks(entry)
                        status = await connection.copy_to_table(table.name, source=source, columns=stored["columns"])
                except (zipfile.BadZipFile, KeyError, EOFError) as exc:
                    raise BadBackup from exc
                if int(status.split()[-1]) != stored["rows"]:
                    raise BadBackup
                last, is_called = stored["ids"]
                await connection.execute("SELECT setval($1::regclass, $2, $3)", f"{table.name}_id_seq", last, is_called)


def _check_migrations(names: Sequence[str]) -> None:
    """Raise BadBackup unless the tables of a backup are those of this version."""
    known = available_migrations()
    if newer := sorted(set(names) - known):
        raise BadBackup(f"that backup is from a newer version, with the migration {newer[-1]}: install that version")
    if older := sorted(known - set(names)):
        raise BadBackup(
            f"that backup is from an older version, without the migration {older[0]}: restore it with that version,"
            " then run contact-score migrate with this one"
        )


async def _read_chunks(entry: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(entry.read, _CHUNK):
        yield chunk
