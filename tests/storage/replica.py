"""One of several processes that write to one database: it delivers every fact of `world`, in an order of its own.

python replica.py URL SEED: prints a line when it is ready, starts after it reads a line, and prints the counts of its
answers as JSON."""

import asyncio
import json
import sys
from collections import Counter
from random import Random

from storage.bootstrap import open_storage
from storage.domain.contacts import Reference
from storage.domain.facts import Item, Op
from storage.domain.submissions import Recorded
from storage.workspaces import find_workspace
from tests.storage.teams import NOW, Team

KEYS = ["dGVzdHMtb25seS1ub3QtYS1zZWNyZXQtMzItYnl0ZXM="]
PEOPLE = 40
FACTS = 1_200
SUBMISSIONS = 600
# On SQLite one process writes at a time, so small commits allow the other processes a turn.
AT_ONCE = {"sqlite": 4, "postgres": 24}


def reference_to(number: int) -> Reference:
    """Return a reference to a contact: a third of them by email, a third by id, the others by both."""
    email = f"p{number}@example.com" if number % 3 != 1 else None
    return Reference(email=email, source="crm", id=None if number % 3 == 0 else str(number))


def world() -> list[Item]:
    """Return the facts that every process delivers: each adds one point, and many share a time."""
    return [
        Item(
            key=f"k{number}",
            contact=reference_to(number % PEOPLE),
            score="score",
            op=Op.ADD,
            amount=1_000,
            occurred_at=NOW - number % 7,
        )
        for number in range(FACTS)
    ]


async def main(url: str, seed: int) -> dict[str, object]:
    """Deliver all facts. Return the counts of the answers, and the start and end on the loop's clock in seconds."""
    dice, counts = Random(seed), Counter[str]()  # the order depends on the seed alone
    facts = world()
    dice.shuffle(facts)
    size, at_once = FACTS // SUBMISSIONS, AT_ONCE[url.partition(":")[0]]
    rest = [facts[start : start + size] for start in range(0, FACTS, size)]
    opened_storage = await open_storage(url, secret_keys=KEYS)
    try:
        team = Team(await find_workspace("T0ACME"))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        begun = asyncio.get_running_loop().time()
        while rest:
            group, rest = rest[:at_once], rest[at_once:]
            calls = [team.deliver(*items, batch=f"{seed}/{len(rest)}/{n}") for n, items in enumerate(group)]
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                counts["submissions"] += 1
                if isinstance(outcome, Recorded):
                    counts.update(outcome.status.value for outcome in outcome.outcomes)
                else:
                    counts[repr(outcome)] += 1
        end = asyncio.get_running_loop().time()
    finally:
        await opened_storage.close()
    return {"told": counts, "begun": begun, "ended": end}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(sys.argv[1], int(sys.argv[2])))))
