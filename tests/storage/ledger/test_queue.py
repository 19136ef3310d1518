"""The queue of submissions is bounded; people come first, and sources take turns."""

import asyncio

import pytest

from storage.domain.errors import TooBusy
from storage.domain.facts import Deletion
from storage.domain.people import Workspace
from storage.ledger.queue import (
    MOST_ITEMS_OF_PUSH,
    MOST_SUBMISSIONS,
    MOST_WAITING,
    MOST_WAITING_WITH_PUSHES,
    Pending,
    Queue,
)
from tests.storage.teams import NOW, Team, set_to

ACME, OTHER = Team(Workspace(id=1, team="T1", name="Acme")), Team(Workspace(id=2, team="T2", name="Other"))


def delivery(source: str, number: int, *, items: int = 1, team: Team = ACME) -> Pending:
    """Return a delivery with a batch named by source and number."""
    item = set_to("k", "ada@example.com", 1)
    submission = team.delivery(*[item] * items, source=source, batch=f"{source}{number}")
    return Pending(team.workspace, submission, NOW, asyncio.get_running_loop().create_future())


def command(number: int) -> Pending:
    """Return a person's command."""
    submission = ACME.asking(set_to("k", "ada@example.com", 1), batch=f"person{number}")
    return Pending(ACME.workspace, submission, NOW, asyncio.get_running_loop().create_future())


def batches(group: list[Pending]) -> list[str]:
    """Return the batch names of the submissions in a group."""
    return [pending.submission.batch for pending in group]


def queue_of(*waiting: Pending) -> Queue:
    """Return a queue with these submissions in this order."""
    queue = Queue()
    for pending in waiting:
        queue.add(pending)
    return queue


def all_groups(queue: Queue) -> list[list[str]]:
    """Remove every group from a queue, and return the batch names of each."""
    groups = []
    while queue:
        groups.append(batches(queue.next_group()))
    return groups


async def test_a_person_is_in_the_next_group_however_much_waits() -> None:
    """A command is in the next group even behind 60 batches of ten sources, and no batch delays that group."""
    sources = [delivery(f"s{number % 10}", number, items=160) for number in range(60)]
    queue = queue_of(*sources, command(1), command(2), delivery("form", 1))

    assert all_groups(queue)[:2] == [["person1", "person2", "form1"], [f"s{number}{number}" for number in range(6)]]


async def test_pushes_and_batches_alternate() -> None:
    """While pushes wait, every other group contains only pushes, so that neither pushes nor batches wait for long."""
    queue = queue_of(*(delivery("crm", number, items=900) for number in range(4)))
    groups = []
    for number in range(5):
        queue.add(delivery("form", number))
        groups.append(batches(queue.next_group()))

    assert groups == [["crm0", "form0"], ["form1"], ["crm1", "form2"], ["form3"], ["crm2", "form4"]]


async def test_another_source_is_in_the_next_group() -> None:
    """A push does not wait for earlier batches of another source, and each source keeps its order."""
    queue = queue_of(*(delivery("crm", number, items=900) for number in range(10)), delivery("form", 1))

    assert all_groups(queue) == [["crm0", "form1"], *([f"crm{number}"] for number in range(1, 10))]


async def test_sources_take_turns() -> None:
    """While others wait, each source has one batch in a row; equal slugs of two workspaces are two sources."""
    flood = [delivery("crm", number, items=1_000) for number in range(4)]
    others = [delivery("erp", number, items=1_000) for number in range(2)]
    queue = queue_of(*flood, *others, delivery("crm", 9, items=1_000, team=OTHER))

    assert all_groups(queue) == [["crm0"], ["erp0"], ["crm9"], ["crm1"], ["erp1"], ["crm2"], ["crm3"]]


async def test_small_batches_share_a_group_up_to_its_size() -> None:
    """Small batches share a group, and a batch that does not fit is the first of the next group."""
    queue = queue_of(*(delivery("crm", number, items=400) for number in range(5)), delivery("erp", 0, items=300))

    assert all_groups(queue) == [["crm0", "erp0"], ["crm1", "crm2"], ["crm3", "crm4"]]


async def test_a_group_has_so_many_submissions_at_most() -> None:
    """A group has a limited number of submissions, and the rest waits for the next group."""
    queue = queue_of(*(delivery(f"s{number % 3}", number) for number in range(MOST_SUBMISSIONS + 1)))

    assert [len(group) for group in all_groups(queue)] == [MOST_SUBMISSIONS, 1]


@pytest.mark.parametrize("by_person", [False, True])
async def test_what_needs_a_group_of_its_own_has_one(*, by_person: bool) -> None:
    """A submission that needs its own group has one, and its source keeps its order before and after it."""
    submission = ACME.delivery(Deletion(key="k", contact=1), batch="deletion", source="slack" if by_person else "crm")
    deletion = Pending(ACME.workspace, submission, NOW, asyncio.get_running_loop().create_future())
    others = [command(number) if by_person else delivery("crm", number) for number in (1, 2)]
    queue = queue_of(others[0], deletion, others[1])
    name = "person" if by_person else "crm"

    assert all_groups(queue) == [[f"{name}1"], ["deletion"], [f"{name}2"]]


async def test_batches_are_refused_first() -> None:
    """At the first limit batches are refused, at the second limit pushes too, and commands never.

    A single batch may be larger than the limit.
    """
    queue_of(delivery("crm", 1, items=MOST_WAITING + 1))
    queue = queue_of(*(delivery("crm", number, items=1_000) for number in range(MOST_WAITING // 1_000)))
    with pytest.raises(TooBusy):
        queue.add(delivery("erp", 1, items=MOST_ITEMS_OF_PUSH + 1))
    pushes = [
        delivery("form", number, items=MOST_ITEMS_OF_PUSH) for number in range(MOST_WAITING // MOST_ITEMS_OF_PUSH)
    ]
    for push in pushes:
        queue.add(push)
    assert MOST_WAITING + len(pushes) * MOST_ITEMS_OF_PUSH == MOST_WAITING_WITH_PUSHES
    with pytest.raises(TooBusy):
        queue.add(delivery("form", 0))
    queue.add(command(1))

    queue.next_group()
    queue.add(delivery("form", 0))


async def test_what_is_put_back_comes_first_and_in_its_order() -> None:
    """A requeued submission keeps its place before its source's later ones and other sources; commands stay first."""
    queue = queue_of(delivery("crm", 1), delivery("crm", 2), command(1), delivery("erp", 1), delivery("crm", 3))
    group = queue.next_group()
    assert batches(group) == ["person1", "crm1", "erp1", "crm2", "crm3"]

    queue.add(delivery("erp", 2))
    queue.add(delivery("crm", 4))
    queue.put_back(group[1:])

    assert all_groups(queue) == [["crm1", "erp1", "crm2", "erp2", "crm3", "crm4"]]


async def test_what_is_removed_waits_no_longer() -> None:
    """A removed submission frees its place in the queue; one that is already in a group cannot be removed."""
    first, last = delivery("crm", 1), delivery("erp", 1, items=MOST_WAITING - 1)
    queue = queue_of(first, last)

    assert (queue.remove(last), queue.remove(last)) == (True, False)
    queue.add(delivery("erp", 2, items=MOST_WAITING - 1))
    assert all_groups(queue) == [["crm1", "erp2"]]
    assert not queue.remove(first)
