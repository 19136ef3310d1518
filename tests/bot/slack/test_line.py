"""Parse typed lines: tables of examples, and properties that hold for every line."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.slack.line import (
    EVER,
    Setting,
    Unclear,
    Value,
    VerbAndRest,
    ends_with_number,
    is_filter,
    near_verb,
    read_clear,
    read_days,
    read_set,
    read_top,
    strip_quotes,
    verb_of,
)
from storage.domain.facts import Op
from tests.bot.types import SCORE, TYPES

VERBS = ("help", "view", "set", "clear", "filter", "top", "history", "undo")


def put(score: str, amount: int) -> Value:
    """Return a value that sets a score."""
    return Value(score, Op.SET, amount)


def add(score: str, amount: int) -> Value:
    """Return a value that adds to a score."""
    return Value(score, Op.ADD, amount)


@pytest.mark.parametrize(
    ("line", "asking"),
    [
        ("set ada 85", VerbAndRest("set", "ada 85")),
        ("SET ada 85", VerbAndRest("set", "ada 85")),
        ("undo", VerbAndRest("undo", "")),
        ("top  5 ", VerbAndRest("top", "5")),
        ("ada@example.com", VerbAndRest(None, "ada@example.com")),
        ("setter 5", VerbAndRest(None, "setter 5")),  # only an exact match is a verb
        ('"top"', VerbAndRest(None, '"top"')),
        ("", VerbAndRest(None, "")),
        ("top\t5", VerbAndRest(None, "top\t5")),  # spaces were normalized before
    ],
)
def test_the_first_word(line: str, asking: VerbAndRest) -> None:
    """The first word is a verb only if it matches exactly."""
    assert verb_of(line, VERBS) == asking


@pytest.mark.parametrize(
    ("line", "filters"),
    [
        ("score>=80", True),
        ("fit:7..10", True),
        ("owner:me", True),
        ("email~acme.com", True),
        ("score=8", True),
        ("fit<3", True),
        ("ada lovelace", False),
        ('"Acme: the company"', False),  # quotes force a contact
        ('"a:b" c', False),
        ('"a:b" c:d', True),
    ],
)
def test_a_filter(line: str, filters: bool) -> None:
    """A line with an operator outside quotes is a filter."""
    assert is_filter(line) is filters


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("tpo 5", "top 5"),  # two neighbors swapped
        ("to", "top"),  # one letter missing
        ("topp 5 fit", "top 5 fit"),  # one letter too many
        ("tip", "top"),  # one letter changed
        ("TPO", "top"),
        ("stop", "top"),
        ("hlep set", "help set"),
        ("udno", "undo"),
        ("uodn", None),  # the same letters, but more than one slip
        ("pot", None),  # swapped, but not neighbors
        ("top 5", None),  # a verb itself
        ("t", None),  # too short
        ("", None),
        ("ada", None),
    ],
)
def test_one_letter_off(line: str, meant: str | None) -> None:
    """A word one letter off a verb is offered as that verb; the rest of the line stays."""
    assert near_verb(line, VERBS) == meant


SETS = [
    ("ada 85", Setting("ada", (put("score", 85_000),), None)),
    ("ada@example.com 85", Setting("ada@example.com", (put("score", 85_000),), None)),
    ("ada +5", Setting("ada", (add("score", 5_000),), None)),
    ("ada -5", Setting("ada", (add("score", -5_000),), None)),
    ("ada =5", Setting("ada", (put("score", 5_000),), None)),
    ("ada =-5", Setting("ada", (put("score", -5_000),), None)),  # = sets a negative value
    ("ada =+5", Setting("ada", (put("score", 5_000),), None)),
    ("ada + 5", Setting("ada", (add("score", 5_000),), None)),
    ("ada .5", Setting("ada", (put("score", 500),), None)),
    ("ada 5.", Setting("ada", (put("score", 5_000),), None)),
    ("ada 0.125", Setting("ada", (put("score", 125),), None)),
    ("ada 1.1250", Setting("ada", (put("score", 1_125),), None)),
    ("ada fit=8", Setting("ada", (put("fit", 8_000),), None)),
    ("ada fit=-8", Setting("ada", (put("fit", -8_000),), None)),
    ("ada fit+8", Setting("ada", (add("fit", 8_000),), None)),
    ("ada fit-8", Setting("ada", (add("fit", -8_000),), None)),
    ("ada fit 8", Setting("ada", (put("fit", 8_000),), None)),
    ("ada fit +8", Setting("ada", (add("fit", 8_000),), None)),
    ("ada fit -8", Setting("ada", (add("fit", -8_000),), None)),
    ("ada fit =-8", Setting("ada", (put("fit", -8_000),), None)),
    ("ada fit = 8", Setting("ada", (put("fit", 8_000),), None)),
    ("ada Fit=8", Setting("ada", (put("fit", 8_000),), None)),
    ("ada mood_2=-0.125", Setting("ada", (put("mood_2", -125),), None)),
    (
        "ada fit=8 satisfaction+.5 90",
        Setting("ada", (put("fit", 8_000), add("satisfaction", 500), put("score", 90_000)), None),
    ),
    ("ada 90 fit=8", Setting("ada", (put("score", 90_000), put("fit", 8_000)), None)),
    ("Studio 54 85", Setting("Studio 54", (put("score", 85_000),), None)),
    ('"Studio 54" 85', Setting("Studio 54", (put("score", 85_000),), None)),
    ('"Fit 8" fit 8', Setting("Fit 8", (put("fit", 8_000),), None)),
    ('"Top Gun" 85', Setting("Top Gun", (put("score", 85_000),), None)),
    ("crm:4711 85", Setting("crm:4711", (put("score", 85_000),), None)),
    ("id:7 fit=8", Setting("id:7", (put("fit", 8_000),), None)),
    ("ada 85 because great demo", Setting("ada", (put("score", 85_000),), "great demo")),
    ("ada 85 Because great demo", Setting("ada", (put("score", 85_000),), "great demo")),
    ('ada 85 because "great demo"', Setting("ada", (put("score", 85_000),), "great demo")),
    ("ada 85 because she came because of us", Setting("ada", (put("score", 85_000),), "she came because of us")),
    ('ada 85 because she said "yes"', Setting("ada", (put("score", 85_000),), 'she said "yes"')),
    # the text after "because" is the reason
    ("ada 85 because fit=8", Setting("ada", (put("score", 85_000),), "fit=8")),
    ('"Just Because Ltd" 85', Setting("Just Because Ltd", (put("score", 85_000),), None)),
    ("ada   85", Setting("ada", (put("score", 85_000),), None)),
    ("ada fit=8, score=70,", Setting("ada", (put("fit", 8_000), put("score", 70_000)), None)),
    ("ada 85, because good", Setting("ada", (put("score", 85_000),), "good")),
    ("Bob Because 20", Setting("Bob Because", (put("score", 20_000),), None)),  # a reason follows a value
    ("Bob Because 20 because because", Setting("Bob Because", (put("score", 20_000),), "because")),
]


@pytest.mark.parametrize(("line", "setting"), SETS, ids=[line for line, _ in SETS])
def test_what_a_set_line_means(line: str, setting: Setting) -> None:
    """Values go at the end of the line, a sign adds or subtracts, and the rest is the contact."""
    assert read_set(line, TYPES) == setting


UNCLEAR = [
    ("", "Type the value too: `/score set ada@example.com 85`"),
    ("ada", "Type the value too: `/score set ada 85`"),
    ("ada@example.com", "Type the value too: `/score set ada@example.com 85`"),
    ("ada fit", "Type the value too: `/score set ada fit=8`"),
    ("85", "Name the contact: `/score set ada@example.com score=85`"),
    ("fit-3", "Name the contact: `/score set ada@example.com fit-3`"),
    ("=-5", "Name the contact: `/score set ada@example.com score=-5`"),
    ("ada 8,5", "`8,5` has a comma. Use a point: 8.5."),
    ("ada fit=8,5", "`8,5` has a comma. Use a point: 8.5."),
    ("ada fti=8", "There is no score type `fti`. Did you mean fit?"),
    ("ada renewal=8", "There is no score type `renewal`. Choose from score, fit, satisfaction, mood_2."),
    ("ada fit=ten", "`ten` is not a number. Type for example `fit=8`."),
    ("ada@example.com 85 70", "One number sets Score; name the other: fit=70"),
    ("ada@example.com 85 -70", "One number sets Score; name the other: fit=70"),
    ("ada 85 score=90", "Score is given twice; type it once."),
    ("ada 1.2345", "`1.2345` has more than three digits after the point."),
    (f"ada {'9' * 41}", f"`{'9' * 40}` is not a number."),
    (f"ada 85 because {'x' * 301}", "A reason has at most 300 characters; this one has 301."),
    ("ada ,5", "`,5` is not a number."),
    ("ada fit=", "Type the number too: `fit=8`"),
    ("ada fit:9", "A colon is for filters. To set the score, type `fit=9`"),
    ("ada Fit: 9", "A colon is for filters. To set the score, type `fit=8`"),
    ("ada 85 because", "Type a reason after `because`, or leave `because` out: `/score set ada 85`"),
    ("ada because great", "Type the value too: `/score set ada 85`"),
    ("85 ada", "Values go at the end: `/score set ada 85`"),
    (
        "ada 85 good call",
        "Values go at the end, and a reason after `because`: `/score set ada 85 because good call`",
    ),
    ("ada 85%", "`85%` is not a number. Type for example `/score set ada 85`"),
    ("ada lovelace 1e3", "`1e3` is not a number. Type for example `/score set ada lovelace 85`"),
    (
        "ada fit=8 and more",
        "Values go at the end, and a reason after `because`: `/score set ada fit=8 because and more`",
    ),
    ("fit=8 ada", "Values go at the end: `/score set ada fit=8`"),
    ("ada fit=8 renewal=60", "There is no score type `renewal`. Choose from score, fit, satisfaction, mood_2."),
    ("ada eighty", "`eighty` is not a number. Type for example `/score set ada 85`"),
    ("ada eighty-five", "`eighty-five` is not a number. Type for example `/score set ada 85`"),
    ("ada satisfaction=", "Type the number too: `satisfaction=4`"),
]


@pytest.mark.parametrize(("line", "complaint"), UNCLEAR, ids=[line[:30] for line, _ in UNCLEAR])
def test_what_is_said_of_an_unclear_line(line: str, complaint: str) -> None:
    """A line that cannot be parsed is answered with what to type instead."""
    with pytest.raises(Unclear) as unclear:
        read_set(line, TYPES)

    assert str(unclear.value) == complaint


def test_two_numbers_where_there_is_one_type() -> None:
    """With one score type, two numbers are refused, because only one of them can be set."""
    with pytest.raises(Unclear) as unclear:
        read_set("ada@example.com 85 70", [SCORE])

    assert str(unclear.value) == ("One number sets Score, and there is no other score type; leave one of the two out")


@pytest.mark.parametrize(
    ("words", "ends"), [("ada 70", True), ("Studio 54", True), ("54", False), ("ada", False), ("ada =-5", True)]
)
def test_a_contact_and_a_number_too_many(words: str, ends: bool) -> None:
    """Words that end with a number may be a contact and a number."""
    assert ends_with_number(words) is ends


@pytest.mark.parametrize(
    ("words", "contact"), [('"Top Gun"', "Top Gun"), (' "Top Gun" ', "Top Gun"), ("ada", "ada"), ('""', ""), ('"', '"')]
)
def test_quotes(words: str, contact: str) -> None:
    """Quotes that force a contact are not part of its name."""
    assert strip_quotes(words) == contact


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("", (10, None, "")),
        ("5", (5, None, "")),
        ("fit", (10, "fit", "")),
        ("5 FIT", (5, "fit", "")),
        ("fit  5", (5, "fit", "")),
        ("50", (50, None, "")),
        ("1", (1, None, "")),
        ("me", (10, None, "me")),
        ("5 owner:me", (5, None, "owner:me")),
        ('fit company:"Acme 5" 7', (7, "fit", 'company:"Acme 5"')),
        ("fit>3 5 fit", (5, "fit", "fit>3")),
        ("score fit>3", (10, "score", "fit>3")),
    ],
)
def test_top(rest: str, expected: tuple[int, str | None, str]) -> None:
    """`top` accepts a number and a score type in any order, before or after the terms of a filter."""
    assert read_top(rest, TYPES) == expected


@pytest.mark.parametrize("word", ["0", "51", "9" * 5000, "5 5", "fit score", "tag:vip 0"])
def test_a_top_that_is_none(word: str) -> None:
    """`top` refuses a number that is not from 1 to 50, two numbers and two score types."""
    with pytest.raises(Unclear):
        read_top(word, TYPES)


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("ada", ("ada", ("score",))),
        ("ada fit", ("ada", ("fit",))),
        ("ada fit Score fit", ("ada", ("fit", "score"))),
        ("fit", ("fit", ("score",))),  # a single word is the contact
        ('"Top Fit" fit', ("Top Fit", ("fit",))),
        ("Studio 54 fit", ("Studio 54", ("fit",))),
    ],
)
def test_clear(rest: str, expected: tuple[str, tuple[str, ...]]) -> None:
    """Score types stand at the end of `clear`, each once; without one the default score type is cleared."""
    assert read_clear(rest, TYPES) == expected


def test_a_clear_of_nobody() -> None:
    """`clear` without a contact is refused."""
    with pytest.raises(Unclear) as unclear:
        read_clear("", TYPES)

    assert str(unclear.value) == "Name the contact: `/score clear ada@example.com score`"


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("ada fit 90d", ("ada fit", 90)),
        ("ada 7D", ("ada", 7)),
        ("ada 9999d", ("ada", 9999)),
        ("ada fit 12w", ("ada fit", 84)),
        ("ada fit 2Y", ("ada fit", 730)),
        ("ada fit all", ("ada fit", EVER)),
        ("all", ("all", None)),
        ("ada 99999d", ("ada 99999d", None)),  # too many days for a period: part of a name
        ("90d", ("90d", None)),  # a single word is the contact
        ("ada d", ("ada d", None)),
        ("ada", ("ada", None)),
    ],
)
def test_days(rest: str, expected: tuple[str, int | None]) -> None:
    """A period stands at the end of the line."""
    assert read_days(rest) == expected


amounts = st.integers(min_value=-(10**12), max_value=10**12)
values = st.builds(
    Value, st.sampled_from([score_type.key for score_type in TYPES]), st.sampled_from([Op.SET, Op.ADD]), amounts
)


@given(values)
def test_a_value_reads_back_as_it_was_written(value: Value) -> None:
    """The value of a button parses back to the typed value, for every score type and either sign."""
    assert read_set(f"ada@example.com {value.typed()}", TYPES).values == (value,)


@given(
    st.lists(values, min_size=1, max_size=4, unique_by=lambda value: value.score),
    st.from_regex(r"[A-Za-z][a-z]{0,8}( [A-Z][a-z]{0,8}){0,2}", fullmatch=True).filter(
        lambda name: (
            not {word.casefold() for word in name.split()} & {"because", *(score_type.key for score_type in TYPES)}
        )
    ),
    st.from_regex(r"[a-z]+( [a-z0-9=+.-]+){0,5}", fullmatch=True).filter(
        lambda reason: "because" not in reason.split()
    ),
)
def test_a_whole_request_reads_back(values_wanted: list[Value], name: str, reason: str) -> None:
    """The line of a choice parses back to the contact, every value in order, and the reason."""
    line = f"{name} {' '.join(value.typed() for value in values_wanted)} because {reason}"

    assert read_set(line, TYPES) == Setting(name, tuple(values_wanted), reason)


pieces = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "=",
            "+",
            "-",
            "=-",
            "fit",
            "fit=",
            "score+5",
            "85",
            "8,5",
            '"',
            "because",
            "@",
            ":",
            "{}",
            "<",
            "٣",
            "1e9",
            ".",
        ]
    ),
)
lines = st.lists(pieces, max_size=8).map(" ".join) | st.text(max_size=60)


@given(lines)
@settings(max_examples=400)
def test_no_line_is_a_fault(line: str) -> None:
    """Every line is parsed or refused as unclear; no other exception is raised."""
    for read in (read_set, read_top, read_clear):
        with contextlib.suppress(Unclear):
            read(line, TYPES)
    verb_of(line, VERBS)
    near_verb(line, VERBS)
    is_filter(line)
    strip_quotes(line)
    ends_with_number(line)
    read_days(line)
