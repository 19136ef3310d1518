"""A change that depends on a score as read is refused if the score has changed since."""

import asyncio
from dataclasses import replace

import pytest

from storage.domain.errors import Changed
from storage.domain.facts import Op
from storage.domain.submissions import ItemOutcome, Recorded, Status, Submission
from storage.reading.search import find
from tests.storage.teams import NOW, Team, change, set_to

ADA = "ada@example.com"


def asking(team: Team, key: str, value: int, *, unless_later: int, score: str = "score") -> Submission:
    """Return a request to set Ada's score, unless the score has a fact later than *unless_later*."""
    return replace(team.asking(set_to(key, ADA, value, score=score), batch=key), unless_later=unless_later)


async def test_a_score_that_was_not_touched_since_is_set(team: Team) -> None:
    """A score without a later change than the card shows is set."""
    await team.deliver(set_to("a", ADA, 10, at=NOW - 5))
    recorded = await team.record(asking(team, "p", 70, unless_later=NOW - 5))

    assert [(move.before, move.after) for move in recorded.score_changes] == [(10_000, 70_000)]


async def test_a_score_that_was_touched_since_is_left_alone(team: Team) -> None:
    """A score with a later change is left alone, and the refusal stores nothing."""
    await team.deliver(set_to("a", ADA, 10, at=NOW - 5))
    with pytest.raises(Changed) as error:
        await team.record(asking(team, "p", 70, unless_later=NOW - 6))

    assert str(error.value) == "The score has changed since it was read."
    assert (await team.value(ADA), len(await team.lines(ADA))) == (10_000, 1)


async def test_a_score_that_must_be_missing(team: Team) -> None:
    """A score that must be missing is set by the first request and refused by the second."""
    await team.record(asking(team, "p", 70, unless_later=0))
    with pytest.raises(Changed):
        await team.record(asking(team, "q", 80, unless_later=0))

    assert await team.value(ADA) == 70_000


async def test_a_refused_first_score_makes_no_contact(team: Team) -> None:
    """If a conditional change is refused, it creates no contact."""
    await team.deliver(set_to("a", "bob@example.com", 10))
    two = (set_to("p", ADA, 70), set_to("p2", "bob@example.com", 70))
    with pytest.raises(Changed):
        await team.record(replace(team.asking(*two, batch="p"), unless_later=0))

    assert await find(team.workspace, text=ADA) == []


async def test_of_many_that_read_the_same_score_one_sets_it(team: Team) -> None:
    """Of simultaneous requests that read the same score, the first sets it and the others are refused."""
    await team.deliver(set_to("a", ADA, 10, at=NOW - 5))

    outcomes = await asyncio.gather(
        *(team.record(asking(team, f"p{n}", 20 + n, unless_later=NOW - 5)) for n in range(8)), return_exceptions=True
    )

    assert [type(outcome) for outcome in outcomes] == [Recorded] + [Changed] * 7
    assert await team.value(ADA) == 20_000


async def test_a_repeat_is_told_what_became_of_the_first(team: Team) -> None:
    """A retried request has the result of the first, although the score has changed by it."""
    await team.deliver(set_to("a", ADA, 10, at=NOW - 5))
    await team.record(asking(team, "p", 70, unless_later=NOW - 5))
    again = await team.record(asking(team, "p", 70, unless_later=NOW - 5))

    assert again.outcomes == (ItemOutcome(status=Status.DUPLICATE),)


async def test_what_was_refused_is_not_there_for_its_neighbours(team: Team) -> None:
    """A key of a refused request is not taken for known: another request of the same commit may use it."""
    await team.deliver(change("a", ADA, Op.ADD, 10, at=NOW - 5))
    stale, fresh = (asking(team, "p", 70, unless_later=instant) for instant in (NOW - 6, NOW - 5))

    outcomes = await asyncio.gather(team.record(stale), team.record(fresh), return_exceptions=True)

    assert type(outcomes[0]) is Changed
    assert isinstance(outcomes[1], Recorded)
    assert outcomes[1].outcomes == (ItemOutcome(status=Status.APPLIED),)
    assert await team.value(ADA) == 70_000
