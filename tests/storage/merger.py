"""One of several processes that change, merge and split the same few contacts, each in an order of its own.

python merger.py URL SEED BATCHES: prints a line when it is ready, starts after it reads a line, and prints the counts
of its answers as JSON."""

import asyncio
import json
import sys
from collections import Counter
from random import Random

from storage.bootstrap import open_storage
from storage.domain.contacts import Reference
from storage.domain.errors import NothingToUndo, StorageUnavailable
from storage.domain.facts import Item, ItemRequest, Merge, Op
from storage.domain.submissions import Recorded, Submission
from storage.workspaces import find_workspace
from tests.storage.replica import KEYS
from tests.storage.teams import NOW, Team

PEOPLE, BLOCK = 200, 5  # contacts are only merged within a block
GENERATION = 400  # a process moves on to other contacts after so many batches, so that no history grows without limit
AT_ONCE = 16
MOST_TRIES = 20


def block(dice: Random, generation: int) -> range:
    """Choose a block, and return the numbers of its contacts."""
    start = generation * PEOPLE + dice.randrange(PEOPLE // BLOCK) * BLOCK
    return range(start, start + BLOCK)


def name(number: int) -> Reference:
    """Return a reference to a contact: by email for odd numbers, by id for even ones."""
    return Reference(email=f"p{number}@example.com") if number % 2 else Reference(source="crm", id=str(number))


def both(dice: Random, generation: int) -> Reference:
    """Return a reference with the email of one contact of a block and the id of another: it proves both the same."""
    those = block(dice, generation)
    odd = [number for number in those if number % 2]
    even = [number for number in those if not number % 2]
    return Reference(email=f"p{dice.choice(odd)}@example.com", source="crm", id=str(dice.choice(even)))


def merge(dice: Random, key: str, generation: int) -> Merge:
    """Return a request to merge two contacts of a block."""
    first, other = dice.sample(block(dice, generation), 2)
    return Merge(key=key, contact=name(first), into=name(other))


def add(dice: Random, key: str, generation: int, *, reference: Reference | None = None) -> Item:
    """Return an item that adds points to a contact, at a time that it shares with many facts."""
    contact, amount = reference or name(dice.choice(block(dice, generation))), dice.randint(-9, 10) * 1_000
    return Item(key=key, contact=contact, score="score", op=Op.ADD, amount=amount, occurred_at=NOW - dice.randrange(9))


def batches(team: Team, seed: int, count: int) -> list[Submission]:
    """Return the submissions of a process: deliveries that two processes send, proofs of identity, merges and undos."""
    own, submissions, commands = Random(seed), list[Submission](), list[str]()
    for number in range(count):
        key, shared, born = f"{seed}/{number}", Random(f"{seed // 2}/{number}"), number // GENERATION
        kind = own.random()
        if kind < 0.5:
            items: list[ItemRequest] = [
                add(shared, f"{seed // 2}/{number}/{n}", born) for n in range(shared.randint(1, 5))
            ]
            own.shuffle(items)
            submissions.append(team.delivery(*items, batch=key))
        elif kind < 0.6:
            submissions.append(team.asking(add(own, key, born, reference=both(own, born)), batch=key))
            commands.append(key)
        elif kind < 0.75 or not commands:
            submissions.append(team.asking(merge(own, key, born), add(own, key, born), batch=key))
            commands.append(key)
        else:
            place = own.randrange(len(commands))
            submissions.append(team.undoing(commands[place], batch=key))
            commands[place] = key  # the next undo of this place restores the batch
    return submissions


async def hand_in(team: Team, submission: Submission, counts: Counter[str]) -> None:
    """Record a submission, and retry while storage is unavailable, up to MOST_TRIES times. Count the result."""
    for _ in range(MOST_TRIES):
        try:
            recorded: Recorded = await team.record(submission)
        except StorageUnavailable:
            counts["tried again"] += 1
        except NothingToUndo:
            counts["nothing to undo"] += 1
            return
        else:
            counts["batches"] += 1
            counts.update(outcome.status.value for outcome in recorded.outcomes)
            counts["undone"] += submission.undoes is not None
            return
    counts["given up"] += 1


async def main(url: str, seed: int, count: int) -> Counter[str]:
    """Record all submissions, and return the counts of the answers."""
    counts = Counter[str]()
    opened_storage = await open_storage(url, secret_keys=KEYS)
    try:
        team = Team(await find_workspace("T0ACME"))
        rest = batches(team, seed, count)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        while rest:
            group, rest = rest[:AT_ONCE], rest[AT_ONCE:]
            await asyncio.gather(*(hand_in(team, submission, counts) for submission in group))
    finally:
        await opened_storage.close()
    return counts


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
