"""The 15-character and the 18-character form of a Salesforce id name one contact, whichever form is stored."""

import pytest

from storage.db import database
from storage.domain.facts import Deletion
from storage.domain.submissions import Status
from storage.ledger.erase import DELETED_REASON
from storage.reading.search import find_by_key
from tests.storage.teams import DAY, NOW, Team, set_to

LONG, SHORT = "0031I0000081tbPQAQ", "0031I0000081tbP"


async def store_short(team: Team) -> None:
    """Record a score, and store the id in the short form as earlier versions did."""
    await team.deliver(set_to("a", ("sf", SHORT), 40, at=NOW - DAY), source="sf")
    await database.current_database().writer.rows("UPDATE identities SET value = $1 WHERE value = $2", SHORT, LONG)


@pytest.mark.parametrize("ids", [(SHORT, LONG), (LONG, SHORT)], ids=["15 then 18", "18 then 15"])
async def test_both_spellings_name_one_contact(team: Team, ids: tuple[str, str]) -> None:
    """Both forms name the same contact, within a delivery and in searches."""
    items = [set_to(key, ("sf", id), 40 + place) for place, (key, id) in enumerate(zip("ab", ids, strict=True))]
    await team.deliver(*items, source="sf")

    assert await team.value(f"sf:{SHORT}") == await team.value(f"sf:{LONG}") == 41_000
    assert (await team.contact(f"sf:{SHORT}")).ids == {"sf": LONG}
    assert await find_by_key(team.workspace, key=f"sf:{SHORT}") == await find_by_key(team.workspace, key=f"sf:{LONG}")


async def test_what_is_stored_in_the_short_spelling_is_found(team: Team) -> None:
    """A delivery with the long form finds the contact of a stored short form, and its repeats are duplicates."""
    await store_short(team)
    again, new = set_to("a", ("sf", SHORT), 40, at=NOW - DAY), set_to("b", ("sf", LONG), 86)
    recorded = await team.deliver(again, new, source="sf")

    assert [outcome.status for outcome in recorded.outcomes] == [Status.DUPLICATE, Status.APPLIED]
    assert await team.value(f"sf:{LONG}") == 86_000
    contacts = await database.read("SELECT id FROM contacts")
    assert len(contacts) == 1


async def test_where_both_spellings_are_stored_each_contact_keeps_its_own(team: Team) -> None:
    """Where an earlier version stored both forms for two contacts, they stay separate and each form names its own."""
    await store_short(team)
    await team.deliver(set_to("b", ("other", "1"), 50), source="other")
    rename = "UPDATE identities SET namespace = 'sf', value = $1 WHERE namespace = 'other'"
    await database.current_database().writer.rows(rename, LONG)
    for id in (LONG, SHORT):
        await team.deliver(set_to(f"new {id}", ("sf", id), 70), source="sf")

    scores = await database.read("SELECT contact_id, rank FROM scores ORDER BY contact_id")
    assert [row["rank"] for row in scores] == [40_000, 70_000]


async def test_a_contact_deleted_under_the_short_spelling_stays_deleted(team: Team) -> None:
    """A fact from before the deletion is ignored in either form of the id."""
    await store_short(team)
    await team.deliver(Deletion(key="gone", contact=(await team.contact(f"sf:{LONG}")).id), source="sf")
    recorded = await team.deliver(set_to("b", ("sf", LONG), 86, at=NOW - DAY), source="sf", received=NOW + DAY)

    assert [(outcome.status, outcome.reason) for outcome in recorded.outcomes] == [(Status.IGNORED, DELETED_REASON)]
