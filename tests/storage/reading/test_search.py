"""How people and programs find contacts."""

import pytest

from storage.bootstrap import Storage
from storage.domain.contacts import Reference
from storage.domain.errors import BadItem
from storage.domain.facts import Item, Merge
from storage.domain.submissions import Status
from storage.ledger.contacts import contacts
from storage.reading.search import find, find_by_key, find_similar
from storage.workspaces import add_workspace
from tests.storage.teams import NOW, SECOND, Team, field_item, set_to

ADA = "ada@example.com"

PEOPLE = {
    "ada@example.com": ("Ada Lovelace", "Analytical Engines"),
    "adam@example.com": ("Adam Smith", None),
    "nevada@example.com": ("Nevada Jones", "Studio 54"),
    "zoë@example.com": ("Zoë 100% _Sure_!", "Ümläut GmbH"),
    "bare@else.org": (None, None),
}

FOUND = [
    ("ada@example.com", ["ada@example.com"]),
    ("ADA@EXAMPLE.COM", ["ada@example.com"]),
    ("nobody@example.com", []),  # an email finds exactly this contact
    ("crm:ada", ["ada@example.com"]),
    ("CRM: ada ", ["ada@example.com"]),
    ("crm:nobody", []),
    ("Ada", ["ada@example.com"]),  # a whole word: neither Adam nor Nevada
    ("ada lovelace", ["ada@example.com"]),
    ("LOVELACE ada", ["ada@example.com"]),
    ("ad", ["ada@example.com", "adam@example.com"]),  # beginnings of words: not Nevada
    ("love ad", ["ada@example.com"]),
    ("vada", ["nevada@example.com"]),  # any part of a word
    ("engines", ["ada@example.com"]),
    ("Studio 54", ["nevada@example.com"]),
    ("zoë", ["zoë@example.com"]),
    ("ZOE\u0308", ["zoë@example.com"]),
    ("ümläut", ["zoë@example.com"]),
    ("UMLAUT", []),
    ("bare", ["bare@else.org"]),  # found by email, because there is no name
    ("else", ["bare@else.org"]),
    ("ada smith", ["adam@example.com"]),  # no Ada has Smith, but Adam's name has both beginnings
    ("lovelace smith", []),  # every word must match
    ("100%", ["zoë@example.com"]),
    ("%", ["zoë@example.com"]),  # not a wildcard
    ("_", []),  # nothing but separators of words
    ("!", ["zoë@example.com"]),
    ("_sure_", ["zoë@example.com"]),
    ("a%a", []),
    ("a_a", []),
    ("!%", []),
    ("", []),
    ("   ", []),
]


@pytest.fixture
async def crowd(team: Team) -> Team:
    """Return a team with several contacts."""
    items = [
        field_item(
            f"k{number}",
            Reference(email=email, source="crm", id=email.partition("@")[0]),
            name=fields[0],
            company=fields[1],
        )
        for number, (email, fields) in enumerate(PEOPLE.items())
    ]
    await team.deliver(*items)
    return team


async def test_how_people_find_contacts(crowd: Team) -> None:
    """Contacts are found by email, id, whole words, beginnings or parts of words: the first way that finds any."""
    found_contacts = [(text, await find(crowd.workspace, text=text)) for text, _ in FOUND]

    assert [(text, sorted(person.email or "" for person in people)) for text, people in found_contacts] == FOUND


@pytest.mark.parametrize("typed", ["ZOË@example.com", "ｚｏë@example.com", "ZOE\u0308@example.com"])
async def test_an_address_is_looked_for_as_it_is_matched(team: Team, typed: str) -> None:
    """An email in a search is normalized as for matching, before and after other fields of the contact are known."""
    await team.deliver(set_to("a", typed, 10, at=NOW - 9))
    before = await find(team.workspace, text="zoë")
    await team.deliver(field_item("b", typed, at=NOW - 8, name="Somebody"), batch="d2")
    after = await find(team.workspace, text="zoë")

    shown = "ZO\u00cb@example.com" if "\u0308" in typed else typed  # composed into one character, otherwise as typed
    assert [contact.email for contact in (*before, *after)] == [shown, shown]


async def test_what_is_longer_than_any_name_is_refused(team: Team) -> None:
    """A search text longer than any name is refused with a sentence on either database."""
    await team.deliver(field_item("k", "ada@example.com", name="Ada " + "\ufdfa" * 250))
    for words in ("x" * 50_001, "\ufdfa" * 501, "x " * 30_000):
        for look in (find, find_similar):
            with pytest.raises(BadItem, match=r"at most 500 characters; this one has [0-9]"):
                await look(team.workspace, text=words)
    assert await find(team.workspace, text="z " * 250) == []
    assert len(await find(team.workspace, text="\ufdfa" * 250)) == 1  # normalized to eighteen times the length


async def test_a_list_says_that_there_are_more(team: Team) -> None:
    """One contact more than the limit is returned, so that the caller knows that there are more."""
    await team.deliver(*(field_item(f"k{n:02d}", f"p{n}@example.com", name=f"Ada {n:02d}") for n in range(24)))

    assert len(await find(team.workspace, text="ada")) == 21
    assert [contact.name for contact in await find(team.workspace, text="ada", most=2)] == [
        "Ada 00",
        "Ada 01",
        "Ada 02",
    ]


async def test_a_whole_word_is_found_among_very_many_parts(team: Team) -> None:
    """A contact with the whole word as its name is found among six hundred names that contain the word."""
    crowd = [field_item(f"k{n:03d}", f"p{n}@example.com", name=f"Joann {n:03d}") for n in range(600)]
    await team.deliver(*crowd, field_item("z", "z@example.com", name="Zed Ann"))

    assert [contact.name for contact in await find(team.workspace, text="ann")] == ["Zed Ann"]


NEAREST = [
    ("ada lovelase", ["ada@example.com"]),
    ("adaa@example.com", ["ada@example.com", "adam@example.com"]),
    ("bar", ["bare@else.org"]),
    ("%", ["zoë@example.com"]),
    ("qqqq", []),
    ("", []),
]


async def test_the_nearest_names_are_offered(crowd: Team) -> None:
    """A mistyped name finds similar names, the most similar first."""
    offered = [(text, await find_similar(crowd.workspace, text=text)) for text, _ in NEAREST]

    assert [(text, [person.email for person in people]) for text, people in offered] == NEAREST


async def test_any_word_of_a_name_may_be_the_mistyped_one(crowd: Team) -> None:
    """Any word of the name may be mistyped, not only the first."""
    assert [contact.email for contact in await find_similar(crowd.workspace, text="lovelase")] == ["ada@example.com"]


async def test_no_more_than_three_are_offered(team: Team) -> None:
    """At most three names are suggested: the most similar, and the older contacts if equally similar."""
    await team.deliver(*(field_item(f"k{n}", f"p{n}@example.com", name=f"Ada {n}") for n in range(6)))

    assert [contact.name for contact in await find_similar(team.workspace, text="ada")] == ["Ada 0", "Ada 1", "Ada 2"]


async def test_an_address_may_be_as_long_as_addresses_are(team: Team) -> None:
    """An email of 254 characters is found, even with blanks around it."""
    longest = f"{'a' * 64}@{'b' * 185}.com"
    recorded = await team.deliver(Item(key="k", contact=Reference(email=f"  {longest} ")), received=NOW + SECOND)

    assert [outcome.status for outcome in recorded.outcomes] == [Status.APPLIED]
    assert (await team.contact(longest)).email == longest


async def test_how_programs_name_a_contact(storage: Storage, team: Team) -> None:
    """Programs find a contact by row id, email or source id, in their own workspace only."""
    other = await add_workspace("T0OTHER", name="Other", by="U0ADMIN", now=NOW)
    await team.deliver(set_to("a", Reference(email=ADA, source="crm", id="17"), 10))
    ada = await team.contact(ADA)

    for key in (str(ada.id), ADA, "ADA@example.com", "crm:17"):
        assert (key, await find_by_key(team.workspace, key=key)) == (key, ada)
        assert (key, await find_by_key(other, key=key)) == (key, None)
    for key in ("", "0", "999999", "9" * 18, "9" * 40, "17", "\u0661", "ada", "Ada Lovelace", "crm:", ":17", "-1"):
        assert (key, await find_by_key(team.workspace, key=key)) == (key, None)


async def test_the_id_of_a_merged_contact_names_the_survivor(team: Team) -> None:
    """The id of a merged contact refers to the survivor, because programs may store ids for a long time."""
    await team.deliver(set_to("a", ADA, 10, at=NOW - 9), set_to("b", "lovelace@example.com", 20, at=NOW - 8))
    survivor, other = await team.contact(ADA), await team.contact("lovelace@example.com")
    lovelace, two = Reference(email="lovelace@example.com"), Reference(email=ADA)
    await team.deliver(Merge(key="m", contact=lovelace, into=two), batch="d2")

    named = await find_by_key(team.workspace, key=str(other.id))
    assert named is not None
    assert (named.id, named.row) == (survivor.id, other.id)
    assert await contacts(team.workspace, ids=[other.id]) == []


async def test_a_whole_name_goes_before_names_that_contain_it(team: Team) -> None:
    """If names equal the text, only these contacts are returned, however many contacts contain the words."""
    await team.deliver(
        *(field_item(f"k{n:02d}", f"a{n}@example.com", name=f"Person 4 {n:02d}") for n in range(24)),
        field_item("one", "z@example.com", name="Person 4"),
        field_item("two", "y@example.com", company="Person 4 GmbH"),
    )

    assert [contact.email for contact in await find(team.workspace, text="person  4")] == ["z@example.com"]


async def test_an_address_suggests_addresses_that_differ_by_a_letter_or_two(team: Team) -> None:
    """Other people of the same domain or the same name are not suggested for an address."""
    await team.deliver(
        *(field_item(email, email) for email in ("adalove@example.com", "adam@example.com", "ada.lovell@example.org"))
    )
    for typed in ("adalov@example.com", "adalvoe@example.com", "adalove@exampel.com", "adaloove@example.co"):
        nearby = await find_similar(team.workspace, text=typed)
        assert [contact.email for contact in nearby] == ["adalove@example.com"], typed
    assert await find_similar(team.workspace, text="bob@example.com") == []
