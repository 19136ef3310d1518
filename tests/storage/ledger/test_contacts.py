"""How references are resolved to contacts, and what is known of contacts."""

from itertools import permutations

import pytest

from storage.domain.contacts import Json, Reference
from storage.domain.errors import UnknownContact
from storage.domain.facts import Op
from storage.ledger.contacts import contacts
from storage.reading.search import find
from tests.storage.teams import DAY, NOW, Team, change, field_item, set_to

ADA = "ada@example.com"

ALIKE = [
    ("Ada@Example.COM", "ada@example.com"),
    ("ada@example.com", "ＡＤＡ@example.com"),  # full-width letters
    ("STRASSE@example.com", "straße@example.com"),
    ("zo\u00eb@example.com", "ZOE\u0308@example.com"),  # a letter and its dots as two characters
]


@pytest.mark.parametrize(("typed", "typed_otherwise"), ALIKE)
async def test_one_address_typed_in_two_ways_is_one_contact(team: Team, typed: str, typed_otherwise: str) -> None:
    """Emails match without regard to case and width, are stored as first typed, and are found in either spelling."""
    await team.deliver(change("a", typed, Op.ADD, 1), change("b", typed_otherwise, Op.ADD, 2))

    contacts = [await team.contact(text) for text in (typed, typed_otherwise, f"  {typed} ")]
    assert {contact.id for contact in contacts} == {contacts[0].id}
    assert contacts[0].email == typed
    assert await team.value(typed_otherwise) == 3_000


async def test_ids_are_kept_to_the_letter_and_belong_to_their_source(team: Team) -> None:
    """An id is case-sensitive and belongs to its source: `17` of one source is not `17` of another."""
    references = [("crm", "ab"), ("crm", "AB"), ("n8n", "ab")]
    await team.deliver(*(set_to(f"k{number}", reference, number) for number, reference in enumerate(references)))

    assert [await team.value(f"{source}:{id}") for source, id in references] == [0, 1_000, 2_000]


async def test_an_address_beside_an_id_joins_the_two(team: Team) -> None:
    """After an item with an email and an id, both refer to the contact, even within the same delivery."""
    await team.deliver(
        set_to("a", ("crm", "17"), 10, at=NOW - 9),
        field_item("b", Reference(email=ADA, source="crm", id="17"), at=NOW - 8, email=ADA),
        change("c", ADA, Op.ADD, 5, at=NOW - 7),
    )
    await team.deliver(change("d", ("n8n", "x"), Op.ADD, 1, at=NOW - 6), field_item("e", ADA, at=NOW - 5), source="n8n")
    await team.deliver(field_item("f", Reference(email="lovelace@example.com", source="crm", id="17"), at=NOW - 4))

    contact = await team.contact("crm:17")
    assert (contact.email, dict(contact.ids)) == (ADA, {"crm": "17"})
    assert await team.value("lovelace@example.com") == 15_000
    assert (await team.contact("n8n:x")).id != contact.id


SAID: list[tuple[int, dict[str, Json]]] = [
    (1, {"name": "Ada", "company": "Engines", "tags": ["vip"], "attributes.tier": "gold"}),
    (2, {"name": "Ada L.", "owner": "rep@acme.com", "attributes.seats": 7}),
    (3, {"company": None, "tags": ["vip", "churned"], "email": "lovelace@example.com"}),
    (4, {"owner": "jane@acme.com", "attributes.tier": None}),
]


async def test_the_latest_value_of_each_field_wins_in_any_order(team: Team) -> None:
    """The latest value of each field wins, whatever the order of arrival, and a blank is a value."""
    orders = list(permutations(range(4)))
    for place in range(4):  # Each order of arrival has a contact of its own, with one fact in each delivery.
        items = []
        for person, order in enumerate(orders):
            at, fields = SAID[order[place]]
            items.append(field_item(f"k{person}/{order[place]}", ("crm", f"p{person}"), at=NOW - DAY + at, **fields))
        await team.deliver(*items, batch=f"d{place}")

    for person in range(len(orders)):
        contact = await team.contact(f"crm:p{person}")
        assert (contact.name, contact.company, contact.owner) == ("Ada L.", None, "jane@acme.com")
        assert (contact.email, contact.tags) == ("lovelace@example.com", ("vip", "churned"))
        assert dict(contact.attributes) == {"tier": None, "seats": 7}


async def test_a_change_may_speak_of_its_contact(team: Team) -> None:
    """The fields of an item are stored with the score change of the item."""
    await team.deliver(set_to("a", ADA, 10, fields={"name": "Ada", "tags": ["vip"]}), received=NOW + 5)
    contact = await team.contact(ADA)

    assert (contact.name, contact.tags, contact.created_at, contact.updated_at) == ("Ada", ("vip",), NOW + 5, NOW + 5)


async def test_two_facts_of_one_event_that_disagree_end_the_same_in_any_order(team: Team) -> None:
    """Two contradictory facts of one event and time give the same result in any order of arrival."""
    for number, turn in enumerate((1, -1)):
        email, key = f"p{number}@example.com", f"k{number}"
        changed = set_to(key, email, 10, at=NOW - 1, fields={"name": "as the change says"})
        both = [changed, field_item(key, email, at=NOW - 1, name="as the word says")][::turn]
        for place, fact in enumerate(both):
            await team.deliver(fact, batch=f"d{number}/{place}")

    assert (await team.contact("p0@example.com")).name == (await team.contact("p1@example.com")).name


async def test_contacts_come_in_the_order_asked_for(team: Team) -> None:
    """Contacts are returned in the order of the ids; unknown ids are left out."""
    await team.deliver(*(set_to(f"k{number}", f"p{number}@example.com", number) for number in range(3)))
    ids = [(await team.contact(f"p{number}@example.com")).id for number in range(3)]

    listed_contacts = await contacts(team.workspace, ids=[ids[2], 999_999, ids[0], ids[1]])
    assert [contact.email for contact in listed_contacts] == ["p2@example.com", "p0@example.com", "p1@example.com"]
    assert await contacts(team.workspace, ids=[]) == []


async def test_of_two_ids_in_one_source_the_first_is_shown(team: Team) -> None:
    """If a contact has two ids of one source, both find the contact and the first is shown."""
    await team.deliver(
        set_to("a", Reference(email=ADA, source="crm", id="17"), 10),
        set_to("b", Reference(email=ADA, source="crm", id="9"), 20, at=NOW),
    )

    assert (await team.contact("crm:9")).ids == {"crm": "17"}


async def test_who_may_not_make_contacts_finds_those_there_are(team: Team) -> None:
    """A submission that may not create contacts is refused for an unknown email, and applies to a known one."""
    await team.deliver(set_to("a", ADA, 10))
    with pytest.raises(UnknownContact):
        await team.ask(set_to("p", ADA, 20), set_to("p2", "new@example.com", 20), batch="p", creates=False)
    await team.ask(set_to("q", "Ada@Example.com", 30), batch="q", creates=False)

    assert await find(team.workspace, text="new@example.com") == []
    assert await team.value(ADA) == 30_000
