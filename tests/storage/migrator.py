"""A process that opens or migrates a database, with the `storage` package beside which it is started.

python migrator.py make|migrate|open URL: prints a line when it is ready, starts after it reads a line, and prints the
result as JSON. `make` applies the migrations of that package and checks no row, so the migrations may be older than
the code."""

import asyncio
import json
import sys
import time

from storage.bootstrap import migrate, open_storage
from storage.db import database
from storage.db import migrate as migrating
from storage.domain.errors import Refusal
from storage.vault import Vault

KEYS = ["dGVzdHMtb25seS1ub3QtYS1zZWNyZXQtMzItYnl0ZXM="]


async def main(verb: str, url: str) -> object:
    """Run the verb. Return what was applied, whether the database is ready, or why it was refused."""
    try:
        if verb == "make":
            return {"applied": await make(url)}
        if verb == "migrate":
            return {"applied": (await migrate(url, now=time.time_ns() // 1000)).applied}
        opened_storage = await open_storage(url, secret_keys=KEYS)
        ready = (await opened_storage.readiness()).is_ready
        await opened_storage.close()
    except (Refusal, RuntimeError) as exc:
        return {"refused": str(exc)}
    return {"ready": ready}


async def make(url: str) -> list[str]:
    """Apply the migrations without checking rows. Return their names."""
    url_parts = database.parse_url(url)
    opened_database = await database.open_database(url_parts, vault=Vault(KEYS))
    try:
        return await migrating.migrate(opened_database, url_parts)
    finally:
        await opened_database.close()


if __name__ == "__main__":
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    sys.stdout.write(json.dumps(asyncio.run(main(*sys.argv[1:]))) + "\n")
