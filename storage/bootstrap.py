"""Open the storage of a process, check that its tables are up to date, and migrate them.

Every command opens the storage, so what only backups and migrations need is imported where it is used.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.db import database, sqlite_statistics
from storage.db import migrate as migrating
from storage.db.errors import NoDatabase
from storage.domain.errors import Refusal, StorageUnavailable
from storage.limits import DEFAULT_LIMITS, MIGRATION, Limits
from storage.scoring import definitions
from storage.vault import Vault, key_file_of, load_or_create_keys, write_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether this process can do its work. *detail* is a sentence for the operator, or blank."""

    is_ready: bool
    detail: str = ""


class Storage:
    """The open storage of this process."""

    def __init__(self, opened: database.Database) -> None:
        self._database = opened
        self.dialect = opened.dialect

    async def readiness(self) -> Readiness:
        """Return whether the database answers within two seconds and this version can work with its tables."""
        check = asyncio.create_task(self._check_database())
        done, _ = await asyncio.wait([check], timeout=2)
        if not done:
            check.cancel()  # without waiting for it: a silent server does not answer a cancellation either
            return Readiness(is_ready=False, detail="The database does not answer.")
        try:
            schema = check.result()
        except StorageUnavailable as exc:
            return Readiness(is_ready=False, detail=f"{exc.because or 'The database does not answer'}.")
        except Refusal as exc:
            return Readiness(is_ready=False, detail=str(exc))
        if schema.incompatible:
            return Readiness(is_ready=False, detail=str(migrating.SchemaTooNew(schema.incompatible)))
        if schema.missing:
            return Readiness(is_ready=False, detail=str(migrating.SchemaOutdated()))
        if schema.unknown:
            names = ", ".join(schema.unknown)
            detail = f"A newer version has migrated the database ({names}); this version works with it as well."
            return Readiness(is_ready=True, detail=detail)
        return Readiness(is_ready=True)

    async def _check_database(self) -> migrating.Schema:
        schema = await migrating.read_schema(self._database.reader)
        await self._database.check_writer()
        return schema

    def give_up(self) -> None:
        """Fail the calls that wait for the database, and all later calls, because the process is about to end."""
        self._database.give_up()

    async def close(self) -> None:
        """Wait until all running submissions are recorded, then close every connection."""
        await self._database.close()


async def open_storage(url: str, *, secret_keys: Sequence[str] = (), limits: Limits = DEFAULT_LIMITS) -> Storage:
    """Open the storage at *url* and return it. In an empty database the tables are created.

    Raises NoDatabase if *url* is a directory, SchemaOutdated if the tables or the scores need `migrate`, SchemaTooNew
    if a newer version migrated the tables and this version cannot work with them, OtherApplication if the tables belong
    to another application. If the keys cannot decrypt the stored secrets, everything but these works.
    """
    opened = await _open_database(url, secret_keys, limits)
    try:
        schema = await migrating.read_schema(opened.writer)
        if schema.incompatible:
            raise migrating.SchemaTooNew(schema.incompatible)
        if schema.is_empty:
            await migrating.migrate(opened, database.parse_url(url))
        elif schema.missing or await definitions.load_marked(opened.reader):
            raise migrating.SchemaOutdated
        if opened.dialect == "sqlite":
            await sqlite_statistics.write_statistics(opened.writer)
    except BaseException:
        await opened.close()
        raise
    return Storage(opened)


@dataclass(frozen=True, slots=True)
class Migrated:
    """The migrations that were applied to a database, and the number of scores that were recalculated."""

    applied: Sequence[str]
    folded: int  #: scores that an older version had calculated differently


async def migrate(url: str, *, now: int) -> Migrated:
    """Migrate the tables at *url* and recalculate the scores that need it. An interrupted call can be repeated."""
    from storage.scoring.fold_marked import fold_again

    opened = await _open_database(url, (), MIGRATION)
    try:
        applied = await migrating.migrate(opened, database.parse_url(url))
        if opened.dialect == "sqlite":
            await sqlite_statistics.write_statistics(opened.writer)
        return Migrated(applied, await fold_again(now=now))
    finally:
        await opened.close()


async def back_up(url: str, *, path: Path, keys: Sequence[str] = ()) -> None:
    """Copy the database at *url* into a new file, as it is at one instant, while others write to it.

    With *keys*, the keys of its secrets, also write these to a file beside it. Raises a Refusal if there is no
    database, or if the file exists.
    """
    from storage.db import backup

    address = database.parse_url(url)
    if address.path is not None and not address.path.is_file():
        raise Refusal(f"there is no database {address.path}")
    await backup.write_backup(address, path)
    if keys:
        await asyncio.to_thread(write_keys, key_file_of(path), keys)


async def restore(url: str, *, path: Path) -> None:
    """Fill an empty database at *url* from a backup. Raises BadBackup, NotEmpty."""
    from storage.db import backup

    address = database.parse_url(url)
    if address.path is not None:
        address.path.parent.mkdir(parents=True, exist_ok=True)
    else:
        opened = await _open_database(url, (), MIGRATION)
        try:
            await migrating.migrate(opened, address)
        finally:
            await opened.close()
    await backup.restore_backup(address, path)


def read_keys(url: str, *, secret_keys: Sequence[str]) -> tuple[str, ...]:
    """Return the keys of a database's secrets: those given, or else those in the key file beside a SQLite database."""
    path = database.parse_url(url).path
    if secret_keys or path is None or not key_file_of(path).exists():
        return tuple(secret_keys)
    return tuple(key_file_of(path).read_text().split())


def add_keys(url: str, keys: Sequence[str]) -> bool:
    """Put keys before those in the key file of a SQLite database. Return False for PostgreSQL, which has no such file.

    New secrets are encrypted with the first of them.
    """
    path = database.parse_url(url).path
    if path is None:
        return False
    known = read_keys(url, secret_keys=())
    write_keys(key_file_of(path), tuple(dict.fromkeys([*keys, *known])))
    return True


def _load_or_create_keys(path: Path) -> Sequence[str]:
    """Return the keys in the key file beside a SQLite database.

    A new key file is made only if the database has no secret: a new key would hide that the old one is missing.
    """
    if key_file_of(path).exists() or not migrating.has_secrets(path):
        return load_or_create_keys(path)
    return ()


async def _open_database(url: str, secret_keys: Sequence[str], limits: Limits) -> database.Database:
    address = database.parse_url(url)
    if address.path is not None and address.path.is_dir():
        raise NoDatabase
    if address.path is not None:
        address.path.parent.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(migrating.prepare_file, address.path)
        secret_keys = secret_keys or await asyncio.to_thread(_load_or_create_keys, address.path)
    return await database.open_database(address, vault=Vault(secret_keys), limits=limits)
