"""A process that opens or migrates a database, with the `storage` package beside which it is started.

python migrator.py migrate|open URL: prints a line when it is ready, starts after it reads a line, and prints the result
as JSON."""

import asyncio
import json
import sys
import time

from storage.bootstrap import migrate, open_storage
from storage.domain.errors import Refusal

KEYS = ["dGVzdHMtb25seS1ub3QtYS1zZWNyZXQtMzItYnl0ZXM="]


async def main(verb: str, url: str) -> object:
    """Run the verb. Return what was applied, whether the database is ready, or why it was refused."""
    try:
        if verb == "migrate":
            return {"applied": (await migrate(url, now=time.time_ns() // 1000)).applied}
        opened_storage = await open_storage(url, secret_keys=KEYS)
        ready = (await opened_storage.readiness()).is_ready
        await opened_storage.close()
    except (Refusal, RuntimeError) as exc:
        return {"refused": str(exc)}
    return {"ready": ready}


if __name__ == "__main__":
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    sys.stdout.write(json.dumps(asyncio.run(main(*sys.argv[1:]))) + "\n")
