"""Contacts as people paste them: mail links, names with an address, Markdown, typographic quotes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.slack.line import is_filter, read_add, read_clear, read_contact, read_set
from bot.slack.text import clean
from storage.domain.facts import Op
from storage.domain.filters import parse
from storage.domain.filters.terms import Is, Tagged
from storage.domain.score_types import ScoreType
from storage.domain.texts import match_key

SCORE = ScoreType(
    id=1, definition=1, number=1, key="score", label="Score", minimum=0, maximum=100_000, step=1000, start=0
)
ADDRESSES = st.from_regex(r"[a-z][a-z0-9]{0,5}(?:[._+-][a-z0-9]{1,4})?@[a-z]{1,6}\.(?:com|example)", fullmatch=True)
NAMES = st.sampled_from(
    ["Ada Lovelace", "Zoë O’Hara", "Studio 54", "Smith &amp; Sons", "Lovelace, Ada", "ada.b@example.com"]
)
LINKS = st.sampled_from(
    [
        "<mailto:{address}|{address}>", "<mailto:{address}|{name}>", "<mailto:{address}>", "<MAILTO:{address}|{name}>",
        "<mailto:{address}?subject=Hi%20there|{name}>", "&lt;<mailto:{address}|{address}>&gt;", "&lt;{address}&gt;",
        "*<mailto:{address}|{address}>*", "`{address}`", "*{address}*", "_{address}_", "{address}.", "{address},",
        "({address})", "“{address}”", "<mailto:{address}.|{address}.>", "mailto:{address}", "{address}\u200b",
    ]
)  # fmt: skip  # as Slack sends them
NAMED = st.sampled_from(
    ["{name} &lt;<mailto:{address}|{address}>&gt;", "“{name}” &lt;{address}&gt;", '"{name}" &lt;<mailto:{address}>&gt;']
)


@given(address=ADDRESSES, name=NAMES, form=LINKS | NAMED)
def test_the_address_decides_in_every_verb(address: str, name: str, form: str) -> None:
    """The address decides, whatever the text of a link or the name before an address is."""
    pasted = clean(form.format(address=address, name=name))

    assert read_contact(pasted) == address
    setting = read_set(clean(f"{form.format(address=address, name=name)} 55 because great demo"), [SCORE])
    assert (setting.contact, setting.values[0].amount, setting.reason) == (address, 55_000, "great demo")
    adding = read_set(clean(f"{form.format(address=address, name=name)} score+5"), [SCORE])
    assert (adding.contact, adding.values[0].op) == (address, Op.ADD)
    assert read_clear(clean(f"{form.format(address=address, name=name)} score"), [SCORE]) == (address, ("score",))


@given(address=ADDRESSES, name=NAMES.filter(lambda name: "@" not in name), form=NAMED)
def test_a_name_before_an_address_makes_no_filter(address: str, name: str, form: str) -> None:
    """The angle brackets around a pasted address are not filter operators."""
    assert not is_filter(clean(form.format(address=address, name=name)))
    assert read_add(clean(f"{form.format(address=address, name=name)} company:Acme")) == (address, {"company": "Acme"})


@given(address=ADDRESSES, name=NAMES, form=LINKS)
def test_a_link_is_added_by_its_address(address: str, name: str, form: str) -> None:
    """A pasted link adds the contact with its address, and the fields after the link."""
    line = clean(f"{form.format(address=address, name=name)} name:“Zoë O’Hara”")

    assert read_add(line) == (address, {"name": "Zoë O'Hara"})


TEXTS = st.sampled_from(
    ["L’Oréal", "L'Oréal", "«Rossiya» OOO", "“Acme” Inc", "Zero\u200bWidth Inc", "Jean‑Luc", "5″ Pipes"]
)
QUOTES = st.sampled_from([("“", "”"), ("„", "“"), ('"', '"')])


@given(text=TEXTS, quotes=QUOTES)
def test_a_text_in_quotes_finds_what_is_stored(text: str, quotes: tuple[str, str]) -> None:
    """Text in quotes of any keyboard finds the contact as it is stored."""
    if quotes[0] in text or quotes[1] in text:
        return
    typed = f"company:{quotes[0]}{text}{quotes[1]}"
    for line in (clean(typed), typed):  # in Slack, and in a program or a terminal
        where = parse(line, [SCORE]).where
        assert where == parse(f'company:"{match_key(text)}"', [SCORE]).where
        assert Is("company", (match_key(text),)) in getattr(where, "parts", [where])


@pytest.mark.parametrize("tag", ["Q3–Q4", "Q3-Q4", "Q3‑Q4", "q3—q4"])
def test_a_tag_with_any_dash(tag: str) -> None:
    """All kinds of dashes match each other."""
    where = parse(clean(f"tag:{tag}"), [SCORE]).where
    assert Tagged(("q3-q4",)) in getattr(where, "parts", [where])


@pytest.mark.parametrize(
    ("typed", "cleaned"),
    [
        ("<https://acme.example|acme.example>", "acme.example"),
        ("<tel:+123|+1 23>", "+1 23"),
        ("“Top Gun”", '"Top Gun"'),
        ("company:“the «Top» Gun”", "company:\"the 'Top' Gun\""),
        ("«Rossiya» OOO", '"Rossiya" OOO'),
        ("score&gt;=80 <@U0REP|rep>", "score>=80 <@U0REP|rep>"),
    ],
)
def test_what_else_is_cleaned(typed: str, cleaned: str) -> None:
    """Other links become their text, and quotes end where the person meant."""
    assert clean(typed) == cleaned
