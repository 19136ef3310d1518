"""Open all that is kept, for a process: tables present, secrets readable, one committer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from storage import database, definitions, migrating, redefining, sources, statistics
from storage.committer import Committer
from storage.domain.errors import Refusal
from storage.errors import NoDatabase
from storage.vault import Vault, keys_beside


class Storage:
    """The open storage of this process."""

    def __init__(self, opened: database.Database, committer: Committer) -> None:
        self._database = opened
        self.committer = committer
        self.dialect = opened.dialect

    async def is_ready(self) -> bool:
        """Ask the database whether it answers, within two seconds, and its tables are current."""
        asking = asyncio.create_task(migrating.pending(self._database.reader))
        done, _ = await asyncio.wait([asking], timeout=2)
        if not done:
            asking.cancel()  # and not waited for: a server that says nothing does not answer a cancellation either
            return False
        try:
            return not asking.result()[0]
        except Refusal:
            return False

    async def close(self) -> None:
        """Wait for what is being recorded, then close every connection."""
        await self.committer.drained()
        await self._database.close()


async def open_storage(url: str, *, secret_keys: Sequence[str] = ()) -> Storage:
    """Open the storage at *url*, making the tables where the database is empty.

    Raises SchemaOutdated where they are of an older version, CannotUnlock where the keys do not fit the secrets.
    """
    opened = await _opened(url, secret_keys)
    try:
        names, empty = await migrating.pending(opened.writer)
        if (names and not empty) or (not names and await definitions.to_fold(opened.reader)):
            raise migrating.SchemaOutdated
        if names:
            await migrating.migrate(opened, database.address(url))
        if opened.dialect == "sqlite":
            await statistics.tell_sqlite(opened.writer)
        await sources.check_keys()
    except BaseException:
        await opened.close()
        raise
    return Storage(opened, Committer(opened))


@dataclass(frozen=True, slots=True)
class Migrated:
    """What was done to bring a database up to date."""

    applied: Sequence[str]
    folded: int  #: scores that an older version had folded otherwise


async def migrate(url: str) -> Migrated:
    """Bring the tables at *url* up to date, and the scores in them; killed in the midst, it goes on the next time."""
    opened = await _opened(url, ())
    try:
        applied = await migrating.migrate(opened, database.address(url))
        return Migrated(applied, await redefining.fold_again())
    finally:
        await opened.close()


async def _opened(url: str, secret_keys: Sequence[str]) -> database.Database:
    where = database.address(url)
    if where.path is not None and where.path.is_dir():
        raise NoDatabase
    if where.path is not None:
        where.path.parent.mkdir(parents=True, exist_ok=True)
        secret_keys = secret_keys or keys_beside(where.path)
    return await database.open_database(where, vault=Vault(secret_keys))
