"""Run a PostgreSQL server for the tests, and lend databases that are as good as new but cheaper."""

import itertools
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from subprocess import PIPE
from urllib.parse import quote

import asyncpg

from storage.bootstrap import migrate

SERVER = Path(__file__).with_name("postgres_server.py")

# The objects of a database, and when their rows in the catalogs were last written: a copy has the numbers of its
# template, and any alteration changes them.
SHAPE = " UNION ALL ".join(
    f"SELECT '{catalog}' AS catalog, count(*), sum(xmin::text::bigint) FROM {catalog} WHERE {condition}"
    for catalog, condition in {
        "pg_class": "oid >= 16384",
        "pg_attribute": "attrelid >= 16384",
        "pg_attrdef": "true",
        "pg_constraint": "oid >= 16384",
        "pg_index": "indexrelid >= 16384",
        "pg_sequence": "true",
        "pg_type": "oid >= 16384",
        "pg_proc": "oid >= 16384",
        "pg_trigger": "true",
        "pg_namespace": "oid >= 16384 AND nspname NOT LIKE 'pg_%'",
        "pg_statistic": "starelid >= 16384",
        "pg_db_role_setting": "setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())",
        "tortoise_migrations": "true",
    }.items()
)
USED = """
SELECT relname AS name, pg_relation_size(oid) > 65536 AS is_large FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'tortoise_migrations'
  AND pg_relation_size(oid) > 0
"""
OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
# Resets the sequences of row ids, including ids that were drawn but not used.
BEGIN_ANEW = """
SELECT setval(format('public.%I', sequencename), start_value, false) FROM pg_sequences
WHERE schemaname = 'public' AND last_value IS NOT NULL AND sequencename <> 'tortoise_migrations_id_seq'
"""


def postgres_url(socket: str, name: str) -> str:
    """Return the URL of a database of the test server."""
    return f"postgres://postgres:@/{name}?host={quote(socket, safe='')}"


@contextmanager
def server(*, durable: bool = False) -> Iterator[str]:
    """Run a PostgreSQL server in a process of its own, and yield the folder of its socket.

    The server also stops if this process is killed. A *durable* one writes each commit to the disk."""
    # The package warns that it uses /tmp without XDG_RUNTIME_DIR, which is good enough here.
    command = [
        sys.executable,
        "-W",
        "ignore:XDG_RUNTIME_DIR is not set",
        str(SERVER),
        *(["durable"] if durable else []),
    ]
    # The server has a session of its own, so that Ctrl-C does not stop it before the tests.
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        folder = process.stdout.readline().strip()
        assert folder, "PostgreSQL did not start"
        yield folder


class Databases:
    """Migrated databases of one server. Only one process may use an instance.

    A database in which only rows changed is emptied and lent again. A database is dropped, and the next one created
    from the template, if its schema was altered or a client is still connected to it."""

    def __init__(self, socket: str, *, prefix: str) -> None:
        self._socket = socket
        self._names = (f"{prefix}_{number}" for number in itertools.count())
        self._template = f"{prefix}_template"
        self._spare: str | None = None
        self._shapes: dict[str, object] = {}  # by database

    async def open(self) -> None:
        """Create the template database."""
        await self._in_server(f"DROP DATABASE IF EXISTS {self._template}", f"CREATE DATABASE {self._template}")
        await migrate(postgres_url(self._socket, self._template), now=0)
        async with self._connected(self._template) as connection:
            self._shapes[self._template] = await connection.fetch(SHAPE)

    async def close(self) -> None:
        """Drop the databases that this instance created."""
        names = [name for name in (self._spare, self._template) if name]
        await self._in_server(*(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in names))

    @asynccontextmanager
    async def borrow(self) -> AsyncIterator[str]:
        """Yield the name of an empty database, which belongs to the caller until the block ends."""
        name, self._spare = self._spare, None
        if name is None:
            name = next(self._names)
            await self._in_server(f"CREATE DATABASE {name} TEMPLATE {self._template}")
            self._shapes[name] = self._shapes[self._template]
        try:
            yield name
        finally:
            if await self._emptied(name):
                self._spare = name
            else:
                await self._in_server(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def _emptied(self, name: str) -> bool:
        """Empty a database. Return False if that would not make it as good as new."""
        try:
            async with self._connected(name) as connection:
                if await connection.fetchval(OTHERS) or await connection.fetch(SHAPE) != self._shapes[name]:
                    return False
                await self._empty(connection)
                self._shapes[name] = await connection.fetch(SHAPE)  # TRUNCATE changes it
                return True
        except asyncpg.PostgresError:  # the database is gone, or refuses connections
            return False

    async def _empty(self, connection: "asyncpg.Connection") -> None:
        used = await connection.fetch(USED)
        # TRUNCATE creates new files, which takes ten times as long as deleting a few rows.
        if large := [row["name"] for row in used if row["is_large"]]:
            await connection.execute(f"TRUNCATE {', '.join(large)} CASCADE")
        # Foreign keys are not checked, because all tables are emptied together.
        steps = ["SET LOCAL session_replication_role = replica", *(f"DELETE FROM {row['name']}" for row in used)]
        await connection.execute("; ".join([*steps, BEGIN_ANEW]))

    async def _in_server(self, *statements: str) -> None:
        async with self._connected("postgres") as connection:
            for statement in statements:
                await connection.execute(statement)

    @asynccontextmanager
    async def _connected(self, name: str) -> AsyncIterator["asyncpg.Connection"]:
        connection = await asyncpg.connect(host=self._socket, user="postgres", database=name)
        try:
            yield connection
        finally:
            await connection.close()
