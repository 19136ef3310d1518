"""A contact is gone when facts made it and all of them are undone; lists, searches, counts and exports leave it out."""

import pytest

from storage.alerts.enroll import add_alert_rule
from storage.alerts.simulate import try_alert
from storage.domain.contacts import Reference
from storage.domain.facts import Merge, Op
from storage.domain.filters import parse
from storage.domain.submissions import Submission
from storage.ledger.split import split_contact
from storage.ledger.verify import verify_next
from storage.reading.current_scores import top
from storage.reading.pages import count, page
from storage.reading.search import find, find_by_key, find_similar
from storage.scoring.definitions import score_types
from storage.transfer.export import export
from tests.storage import raw
from tests.storage.teams import NOW, SECOND, Team, change, field_item, set_to

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"


async def listed(team: Team, text: str = "") -> list[str]:
    """Return the addresses of the contacts that match a filter; the page, the count and the export agree."""
    query = parse(text, await score_types(team.workspace))
    cards = (await page(team.workspace, query=query, limit=100, now=NOW)).cards
    exported = [card.contact.email async for card in export(team.workspace, query=query, text=text, by="U1", now=NOW)]
    addresses = sorted(card.contact.email or "" for card in cards)
    assert sorted(address or "" for address in exported) == addresses
    assert await count(team.workspace, query=query, now=NOW) == len(addresses)
    assert (await verify_next(team.workspace)).differences == ()
    return addresses


async def test_what_only_an_undone_command_made_is_in_no_list(team: Team) -> None:
    """Lists, searches, negated filters, counts and exports leave it out, and the undo of the undo brings it back."""
    await team.deliver(field_item("k", ADA, name="Ada"))
    await team.ask(set_to("b", BOB, 90, fields={"name": "Bob Gone"}), batch="b")
    bob = await team.contact(BOB)
    assert await listed(team) == [ADA, BOB]
    await team.undo("b", batch="u")

    assert await listed(team) == [ADA]
    assert (await listed(team, "-score>80"), await listed(team, "email~bob")) == ([ADA], [])
    for text in (BOB, "Bob Gone"):
        assert await find(team.workspace, text=text) == []
    assert await find_similar(team.workspace, text="Bob Gona") == []
    for key in (BOB, str(bob.id)):
        assert await find_by_key(team.workspace, key=key) is None
    gone = await find_by_key(team.workspace, key=BOB, include_gone=True)
    assert gone is not None
    assert (gone.id, gone.is_gone) == (bob.id, True)
    assert (await top(team.workspace, score=None, count=5, now=NOW))[1] == []
    simulation = await try_alert(team.workspace, words="score crosses 50", owners={}, now=NOW + SECOND)
    assert simulation.firings == []

    await team.undo("u", batch="v", received=NOW + SECOND)
    assert await listed(team, "score>80") == [BOB]
    assert [contact.id for contact in await find(team.workspace, text="Bob Gone")] == [bob.id]


async def test_the_next_fact_brings_a_contact_back(team: Team) -> None:
    """A later fact makes the contact exist again, with what stands only, and a condition sees it at once."""
    await add_alert_rule(team.workspace, words="score crosses 50 if email~bob", made_by="U1", owners={}, now=NOW)
    await team.ask(field_item("b", BOB, name="Bob", company="Acme"), batch="b")
    await team.undo("b", batch="u")
    assert await listed(team) == []

    await team.deliver(set_to("k", BOB, 60), received=NOW + SECOND)
    assert await listed(team) == [BOB]
    assert (await team.contact(BOB)).name is None
    assert await listed(team, "followup:open") == [BOB]
    await team.undo("u", batch="v", received=NOW + 2 * SECOND)
    assert (await team.contact(BOB)).company == "Acme"


async def test_a_contact_without_any_fact_stays(team: Team, database_url: str) -> None:
    """Only a contact that facts made can be gone."""
    await raw.rows(
        database_url,
        "INSERT INTO contacts (workspace_id, first_email, email, email_key, tags, tags_key, attributes, stamps,"
        f" created_at, updated_at) VALUES ({team.workspace.id}, '{EVE}', '{EVE}', '{EVE}', '[]', '', '{{}}', '{{}}',"
        " 0, 0)",
    )
    await raw.rows(database_url, "UPDATE workspaces SET words_after = 0")  # it has no words yet
    assert await listed(team) == [EVE]


async def test_an_undone_part_and_a_repeat_leave_a_contact(team: Team) -> None:
    """A contact with another fact in force stays, and a repeat of an undone fact brings nothing back."""
    await team.deliver(set_to("k", ADA, 10))
    for name in (ADA, BOB):
        await team.ask(set_to(f"a/{name}", name, 60), batch=f"a/{name}")
        await team.undo(f"a/{name}", batch=f"u/{name}")
    assert await listed(team) == [ADA]
    await team.ask(set_to(f"a/{BOB}", BOB, 60), batch="again")
    assert await listed(team) == [ADA]


async def test_merges_and_splits_of_undone_contacts(team: Team) -> None:
    """A merged contact exists if any of its parts has a fact in force; apart, each part counts for itself."""
    await team.ask(set_to("b", BOB, 60), batch="b")
    await team.deliver(set_to("k", Reference(email=ADA, source="crm", id="7"), 10))
    ada, bob = await team.contact(ADA), await team.contact(BOB)
    await team.undo("b", batch="u")
    await team.ask(Merge(key="m", contact=ada.id, into=bob.id), batch="m", received=NOW + SECOND)
    assert await listed(team) == [BOB]
    await team.undo("m", batch="n", received=NOW + 2 * SECOND)
    assert await listed(team) == [ADA]

    await team.ask(set_to("c", ADA, 20), batch="c", received=NOW + 3 * SECOND)
    id = Reference(source="crm", id="7")
    await split_contact(team.workspace, contact=ada.id, id=id, actor="U1", batch="split", now=NOW + 4 * SECOND)
    await team.undo("c", batch="d", received=NOW + 5 * SECOND)
    assert len(await listed(team)) == 1
    assert await find(team.workspace, text=ADA) == []
    await team.undo("split", batch="joined", received=NOW + 6 * SECOND)
    assert await listed(team) == [ADA]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_import_that_goes_on_after_its_undo_makes_nobody(team: Team) -> None:
    """A contact of an undone batch is gone from its beginning, and exists once the batch is restored."""

    async def imported(key: str, name: str, at: int) -> None:
        item = change(key, name, Op.SET, 50)
        await team.record(
            Submission(source="import", batch="import/1", received_at=at, items=[item], actor="import", muted=True)
        )

    await imported("0", ADA, NOW)
    await team.undo("import/1", batch="u", received=NOW + 1)
    await imported("1", BOB, NOW + 2)
    assert await listed(team) == []
    await team.undo("u", batch="v", received=NOW + 3)
    assert await listed(team) == [ADA, BOB]
