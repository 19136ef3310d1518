"""How contacts are named and matched."""

from dataclasses import fields

import pytest

from storage.db import models
from storage.domain.contacts import TEXT_FIELDS, Contact, ContactFields, Reference, address_key, looks_like_address
from storage.domain.errors import BadItem
from storage.domain.texts import match_key

MATCHED = [
    ("Ada@Example.COM", "ada@example.com"),
    ("  ada@example.com ", "ada@example.com"),
    ("ＡＤＡ@example.com", "ada@example.com"),  # full-width letters
    ("straße@example.com", "strasse@example.com"),  # case folding, which is more than lower case
    ("STRASSE@example.com", "strasse@example.com"),
    ("zoe\u0308@example.com", "zo\u00eb@example.com"),  # a letter and its dots as two characters
    ("\ufb01n@example.com", "fin@example.com"),  # a ligature
    ("first.last+tag@sub.example.co.uk", "first.last+tag@sub.example.co.uk"),
]


@pytest.mark.parametrize(("typed", "key"), MATCHED)
def test_addresses_match_as_people_would_match_them(typed: str, key: str) -> None:
    """Emails are matched in the normal form NFKC and case-folded."""
    assert address_key(typed) == key


NO_ADDRESSES = [
    "", "ada", "ada@", "@example.com", "ada@example", "ada@@example.com", "a da@example.com", "ada@exam ple.com",
    "<ada@example.com>", "ada@example.com,bob@example.com", "mailto:ada@example.com", "\"ada\"@example.com",
    "ada@example.com\nBcc", "a..b@example.com", "ada@example..com", "ada@example.com.", ".ada@example.com",
    "ada.@example.com", "ada@-example.com", "ada@example-.com", "'ada@example.com'", "ada@example.com/",
    f"{'a' * 65}@example.com", f"ada@{'a' * 186}.com",
]  # fmt: skip  # one list


@pytest.mark.parametrize("typed", NO_ADDRESSES)
def test_what_is_no_address(typed: str) -> None:
    """A text that cannot be an email is refused, and the refusal shows as much of it as fits."""
    with pytest.raises(BadItem) as error:
        address_key(typed)

    assert not looks_like_address(typed.strip())
    shown = typed.strip().replace("\n", " ")[:80]
    assert str(error.value) == f"`{shown}` is not an e-mail address"


def test_the_longest_address_fits() -> None:
    """An email of 254 characters, the longest that the standards allow, is accepted."""
    longest = f"{'a' * 64}@{'b' * 185}.com"

    assert (len(longest), looks_like_address(longest)) == (254, True)


def test_texts_match_without_case_width_and_blanks() -> None:
    """Texts are matched without regard to case, width and blanks."""
    assert match_key("  ＡＤＡ \t  Lovelace\u00a0 ") == "ada lovelace"


def test_a_reference_names_its_contact_by_address_first() -> None:
    """A reference identifies its contact by email first, then by the id in the sender's system."""
    assert Reference(email="Ada@Example.com", source="crm", id="17").identities() == [
        ("", "ada@example.com"),
        ("crm", "17"),
    ]
    assert Reference(source="crm", id="Ab").identities() == [("crm", "Ab")]  # ids are case-sensitive


def contact(name: str | None = None, email: str | None = None, ids: dict[str, str] | None = None) -> Contact:
    """Return a contact with these fields."""
    return Contact(id=1, email=email, name=name, company=None, owner=None, ids=ids or {}, created_at=0, updated_at=0)


def test_how_a_contact_is_shown_and_typed() -> None:
    """A contact is shown by name, and typed in a command by email or id."""
    ada = contact("Ada", "ada@example.com", {"crm": "17"})

    assert (ada.shown, ada.typed) == ("Ada", "ada@example.com")
    assert (contact(None, "ada@example.com").shown, contact("Ada", None, {"crm": "17"}).typed) == (
        "ada@example.com",
        "crm:17",
    )
    assert (contact(ids={"crm": "17"}).shown, contact().shown, contact().typed) == (
        "crm:17",
        "a contact",
        "a contact",
    )


def test_every_text_field_has_its_columns() -> None:
    """The class, the table and the list of text fields name the same fields; each has a column for its matching key."""
    columns = set(models.Contact._meta.fields_map)

    assert [field.name for field in fields(ContactFields)] == list(TEXT_FIELDS)
    assert {name for name in columns if name.endswith("_key")} == {f"{name}_key" for name in (*TEXT_FIELDS, "tags")}
    assert columns >= TEXT_FIELDS.keys()
