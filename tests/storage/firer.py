"""One of several processes that make rules fire for the same contacts.

python firer.py URL TYPE PEOPLE: prints a line when it is ready, starts after it reads a line, and prints when it began
and ended. It raises a score of every contact, a few contacts at a time."""

import asyncio
import json
import sys

from storage.bootstrap import open_storage
from storage.workspaces import find_workspace
from tests.storage.replica import KEYS
from tests.storage.teams import NOW, Team, set_to

AT_ONCE = 4


async def main(url: str, score: str, people: int) -> dict[str, float]:
    """Raise the score of every contact. Return the start and the end on the clock that all processes share."""
    opened_storage = await open_storage(url, secret_keys=KEYS)
    try:
        team = Team(await find_workspace("T0ACME"))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        begun = asyncio.get_running_loop().time()
        for n in range(0, people, AT_ONCE):
            items = [set_to(f"{score}{n + i}", f"p{n + i}@example.com", 90, score=score) for i in range(AT_ONCE)]
            await asyncio.gather(*(team.deliver(item, batch=item.key, received=NOW + 1) for item in items))
        return {"begun": begun, "ended": asyncio.get_running_loop().time()}
    finally:
        await opened_storage.close()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
