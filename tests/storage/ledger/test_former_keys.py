"""An item that an earlier version stored under another key is recognized by that former key."""

from dataclasses import replace

import pytest

from storage.domain.facts import Deletion, Item
from storage.domain.submissions import Recorded, Status
from storage.ledger.erase import DELETED_REASON
from storage.ledger.former_keys import use_former_keys
from storage.scoring.definitions import add_score_type
from tests.storage.teams import DAY, NOW, SECOND, Team, set_to

ADA, BOB = "ada@example.com", "bob@example.com"
SENT = NOW - 10 * SECOND


def renamed(item: Item, key: str = "new", former: str = "old") -> Item:
    """Return the item under a new key, with its former key."""
    return replace(item, key=key, former_keys=(former,))


async def deliver(team: Team, *items: Item, received: int = NOW) -> Recorded:
    """Deliver items as webhooks do."""
    prepared = await use_former_keys(team.workspace, source="crm", items=items)
    return await team.deliver(*prepared, received=received)


OLD = set_to("old", ADA, 50, at=SENT)
UNTIMED = set_to("old", ADA, 50)
REPEATS = {
    "the same": (OLD, renamed(OLD)),
    "with a time of seconds": (OLD, replace(renamed(OLD), resolution=SECOND, place=7)),
    "no time": (UNTIMED, renamed(UNTIMED)),
}
NEWS = {
    "another value": (OLD, renamed(set_to("", ADA, 51, at=SENT))),
    "another time": (OLD, renamed(set_to("", ADA, 50, at=SENT + SECOND))),
    "another contact": (OLD, renamed(set_to("", BOB, 50, at=SENT))),
    "another score": (OLD, renamed(set_to("", ADA, 50, at=SENT, score="fit"))),
    "another key": (OLD, renamed(set_to("", ADA, 50, at=SENT), former="older")),
    "another reason": (OLD, renamed(set_to("", ADA, 50, at=SENT, reason="met"))),
    "other words of the contact": (OLD, renamed(set_to("", ADA, 50, at=SENT, fields={"name": "Ada"}))),
}


@pytest.fixture
async def team_with_fit(team: Team) -> Team:
    """Return the workspace with a second score type."""
    await add_score_type(
        team.workspace, key="fit", label="Fit", minimum=0, maximum=100_000, step=1000, bands=[], start=None,
        is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # the numbers of one definition
    return team


@pytest.mark.parametrize(("old", "new"), REPEATS.values(), ids=REPEATS)
async def test_the_same_content_under_the_former_key_is_a_repeat(team: Team, old: Item, new: Item) -> None:
    """The same content under the former key is a duplicate, and the ledger has one fact."""
    await team.deliver(old)
    outcomes = (await deliver(team, new, received=NOW + DAY)).outcomes

    assert [outcome.status for outcome in outcomes] == [Status.DUPLICATE]
    assert len(await team.lines(ADA)) == 1


@pytest.mark.parametrize(("old", "new"), NEWS.values(), ids=NEWS)
async def test_other_content_is_another_fact(team_with_fit: Team, old: Item, new: Item) -> None:
    """Different content under a former key is applied as another fact, and its repeat is a duplicate."""
    await team_with_fit.deliver(old)

    for status in (Status.APPLIED, Status.DUPLICATE):
        outcomes = (await deliver(team_with_fit, new, received=NOW + DAY)).outcomes
        assert [outcome.status for outcome in outcomes] == [status]


async def test_a_fact_that_was_undone_stays_undone(team: Team) -> None:
    """A repeat of an undone fact under the new key does not restore it."""
    await team.record(replace(team.delivery(OLD, batch="entered"), actor="U0REP"))
    await team.undo("entered", batch="undo")
    assert await team.value(ADA) is None
    outcomes = (await deliver(team, renamed(OLD))).outcomes

    assert [outcome.status for outcome in outcomes] == [Status.DUPLICATE]
    assert await team.value(ADA) is None


async def test_two_values_of_one_former_key_are_told_apart(team: Team) -> None:
    """Of two items with one former key the known one is a duplicate, and the formerly refused one is applied."""
    await team.deliver(OLD)
    other = renamed(set_to("", ADA, 60, at=SENT), key="newer")
    outcomes = (await deliver(team, renamed(OLD), other)).outcomes

    assert [outcome.status for outcome in outcomes] == [Status.DUPLICATE, Status.APPLIED]


async def test_what_was_deleted_does_not_come_back(team: Team) -> None:
    """A deleted fact is recognized by its key and time, which are all that remain of it."""
    await team.deliver(OLD)
    contact = await team.contact(ADA)
    await team.deliver(Deletion(key="gone", contact=contact.id), batch="gone")
    known, later = renamed(OLD), renamed(set_to("", ADA, 70, at=SENT + SECOND), key="later")
    outcomes = (await deliver(team, known, later, received=NOW + DAY)).outcomes

    assert outcomes[0].status is Status.DUPLICATE
    assert (outcomes[1].status, outcomes[1].reason) == (Status.IGNORED, DELETED_REASON)
