"""Be a process that opens or migrates a database, with whatever `storage` package it is started beside.

python migrator.py make|migrate|open URL; says when it is ready, goes on after a line, and prints as JSON what came.
`make` applies the migrations that are beside it and looks at no row, so that they may be older than the code."""

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
    """Do it, and say what was applied, or why it was refused."""
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
    """Make the tables alone."""
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
