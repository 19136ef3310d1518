"""Cleaning and comparing texts, tested with generated texts."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.domain.contacts import address_key, clean_address, clean_fields, find_address, looks_like_address
from storage.domain.texts import clean_text, match_key, remove_invisible

UNSEEN = [
    "\u200b",
    "\u2060",
    "\ufeff",
    "\u00ad",
    "\u200d",
    "\u200c",
    "\u200e",
    "\u202e",
    "\u2066",
    "\u034f",
    "\ufe0f",
    "\u180e",
]
JUNK = ["\u200b", "\u2060", "\ufeff", "\u00ad", "\u202e", "\u2066", "\x07", "\x1b"]
QUOTES = [
    "'",
    "\u2019",
    "\u2018",
    "\u201a",
    "\u2032",
    "\u02bc",
    "`",
    "\u00b4",
    '"',
    "\u201c",
    "\u201d",
    "\u00ab",
    "\u00bb",
    "\u201e",
]
DASHES = ["-", "\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2212"]
WORDS = ["O'Hara", "L'Oréal", "Jean-Luc", "Zoë", "«Rossiya» OOO", "Q3–Q4", "Смирнов", "李 小龙", "ﬁn", "straße"]


def disguise(draw: st.DrawFn, text: str) -> str:
    """Return a text as another program might write it: with other quotes and dashes, and invisible characters."""
    written = ""
    for character in unicodedata.normalize(draw(st.sampled_from(["NFC", "NFD"])), text):
        if character in QUOTES:
            character = draw(st.sampled_from(QUOTES))
        elif character in DASHES:
            character = draw(st.sampled_from(DASHES))
        written += character + draw(st.sampled_from(["", "", "", *UNSEEN]))
    return draw(st.sampled_from(["", " ", "\u00a0", "\t"])) + written


@given(st.data())
def test_texts_that_look_alike_match(data: st.DataObject) -> None:
    """Quotes, dashes, case and invisible characters do not make two texts different, whichever text has them."""
    text = data.draw(st.sampled_from(WORDS))
    first, second = (data.draw(st.composite(lambda draw: disguise(draw, text))()) for _ in range(2))

    assert match_key(first) == match_key(second.upper() if text.isascii() else second)


@given(st.text())
def test_a_key_is_its_own_key(text: str) -> None:
    """The key of a key is the same key, and cleaning a text does not change its key."""
    assert match_key(match_key(text)) == match_key(text)
    assert match_key(clean_text(text)) == match_key(text)


@given(st.text())
def test_a_clean_text_is_clean(text: str) -> None:
    """Cleaning is idempotent, and removes what cannot be stored or reverses the text's direction."""
    for cleaned in (clean_text(text), clean_text(text, lines=True)):
        assert cleaned == cleaned.strip()
        assert not set(cleaned) & set(JUNK)
    assert clean_text(clean_text(text)) == clean_text(text)
    assert "\n" not in clean_text(text)


def test_what_is_taken_out_of_a_text_and_what_stays() -> None:
    """Cleaning keeps joiners in names, composes accents, and makes a line break a blank in one-line texts."""
    assert clean_text("\ufeff Soft\u00adhyphen \u200bMan\u202e ") == "Softhyphen Man"
    assert (
        clean_text("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645")
        == "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    )
    assert clean_text("\U0001f469\u200d\U0001f4bb") == "\U0001f469\u200d\U0001f4bb"
    assert clean_text("Zoe\u0308") == clean_text("Zoe\u200b\u0308") == "Zo\u00eb"
    assert clean_text("one\r\ntwo") == "one  two"
    assert clean_text("one\ntwo\x07", lines=True) == "one\ntwo"
    assert remove_invisible("\u20608\u200d5\u00ad\u00a0") == "85"
    assert clean_fields(
        {
            "tags": [" vip\u200b", "vip", "\u00ad"],
            "name": "\u200b",
            "owner": "rep\u200b@example.com",
            "attributes.a": ["x\u00ad"],
        }
    ) == {"tags": ["vip"], "name": None, "owner": "rep@example.com", "attributes.a": ["x"]}


LOCALS = st.from_regex(r"[a-z0-9](?:[a-z0-9._+-]?[a-z0-9]){0,8}", fullmatch=True)
DOMAINS = st.from_regex(r"[a-z](?:-?[a-z0-9]){0,6}(?:\.[a-z](?:-?[a-z0-9]){1,5}){1,2}", fullmatch=True)
ADDRESSES = st.builds("{}@{}".format, LOCALS, DOMAINS).filter(lambda address: "xn--" not in address)
MARKS = st.sampled_from(["{}", "*{}*", "_{}_", "~{}~", "`{}`", "**{}**", "<{}>", "({})", '"{}"', "\u201c{}\u201d",
                         "'{}'", "{}.",
                         "{},", "{};", "{}!", "{}?", "mailto:{}", "mailto:{}?subject=Hi", "Ada Lovelace <{}>",
                         '"Lovelace, Ada" <{}>', "[Ada](mailto:{})", "{}/", "{}\u2026", " {}\u200b"])  # fmt: skip


@given(ADDRESSES, st.data())
def test_characters_nobody_sees_do_not_make_another_address(address: str, data: st.DataObject) -> None:
    """Invisible characters in an email do not make a different contact, and are not stored."""
    written = "".join(character + data.draw(st.sampled_from(["", "", *UNSEEN])) for character in address)

    assert address_key(f" {written.upper()}\u00a0") == address_key(address) == address
    assert clean_address(written) == address


@given(ADDRESSES, MARKS)
def test_the_address_in_what_was_pasted(address: str, marks: str) -> None:
    """Marks, a name and the end of a sentence around a pasted email are not part of it."""
    assert find_address(marks.format(address)) == address


@given(
    ADDRESSES,
    st.sampled_from(
        ["{}.", "{}..", ".{}", "'{}'", "`{}`", "*{}*", "{}/", "{}?subject=Hi", "<{}>", "{};", "{},", "{}\u2019", "{} x"]
    ),
)
def test_what_surrounds_an_address_is_no_part_of_one(address: str, marks: str) -> None:
    """Where only an email is expected, anything around it is refused."""
    assert not looks_like_address(marks.format(address))


@given(ADDRESSES, st.sampled_from(["@", ".@", "@.", "@-"]))
def test_double_dots_and_the_like_are_no_address(address: str, instead: str) -> None:
    """A dot in an email is not next to another dot, next to the @ or at an end."""
    assert looks_like_address(address.replace("@", instead)) is (instead == "@")
    assert not looks_like_address(address.replace(".", "..", 1))


@pytest.mark.parametrize(
    ("written", "puny"),
    [
        ("ann@münchen.example", "ann@xn--mnchen-3ya.example"),
        ("ann@MÜNCHEN.example", "ANN@XN--MNCHEN-3YA.example"),
        ("о.иванов@пример.рф", "о.иванов@xn--e1afmkfd.xn--p1ai"),
        ("ann@straße.example", "ann@xn--strae-oqa.example"),
        ("ann@例え。テスト", "ann@xn--r8jz45g.xn--zckzah"),
    ],
)
def test_a_domain_in_letters_and_in_punycode_is_one(written: str, puny: str) -> None:
    """Both spellings of an international domain, in letters and in punycode, name the same contact."""
    assert address_key(written) == address_key(puny)
    assert looks_like_address(written)
    assert looks_like_address(puny)
