"""What is wrong with an unreadable filter, and what a saved filter means inside another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.domain.filters import BadFilter, Candidate, Filter, parse
from storage.domain.score_types import ScoreType

TYPES = tuple(
    ScoreType(
        id=number,
        definition=number,
        number=1,
        key=key,
        label=key.capitalize(),
        minimum=0,
        maximum=100_000,
        step=1_000,
        start=0,
    )
    for number, key in enumerate(("score", "fit"), start=1)
)
SEGMENTS = {
    "hot": "score>=80 sort:-score limit:5",
    "vips": "segment:hot tag:vip",
    "either": "segment:hot OR fit>50",
    "a": "segment:b",
    "b": "has:fit segment:a",
    "self": "-segment:self",
    "old": "zzz>3",
    "mine": "owner:me",
    **{f"deep-{n}": f"segment:deep-{n + 1} segment:deep-{n + 1}" for n in range(9)},
    "deep-9": "has:fit",
}

COMPLAINTS = [
    ("fit rising ten in 7d", "`ten` is not expected here; expected a number", "ten"),
    ("fit rising", "the filter ends too early; expected a number", ""),
    ("fit rising 10", "the filter ends too early; expected a % or `in` and a time like 7d", ""),
    ("fit rising 10 in 7", "`7` is not expected here; expected a time like 7d or 24h", "7"),
    ("fit rising 10 in 7m", "`7m` is not a length of time: write 24h, 30d or 2w", "7m"),
    ("fit rising 10 in 1.5d", "`1.5d` is not a length of time: write 24h, 30d or 2w", "1.5d"),
    ("fit rising 0 in 7d", "type by how much, with a number above 0: fit rising 10 in 7d", "0"),
    ("fit moved -5 in 7d", "type by how much, with a number above 0: fit moved 10 in 7d", "-5"),
    ("fit rising 101 in 7d", "`fit` runs from 0 to 100 in steps of 1, so this can never match", "101"),
    ("fit:101", "`fit` runs from 0 to 100 in steps of 1, so this can never match", "101"),
    ("-fit:50.5", "`fit` runs from 0 to 100 in steps of 1, so this can never match", "50.5"),
    ("fit rising 9001% in 7d", "a trend is at most 9000 %; type it in points", "9001"),
    ("fti stale 30d", "there is no field `fti`. Did you mean `fit`?", "fti"),
    ("fit stale", "the filter ends too early; expected a time like 7d or 24h", ""),
    ("fit crossed 80 in 7d", "`80` is not expected here; expected `above` or `below`", "80"),
    ("fit crossed above 101 in 7d", "`fit` runs from 0 to 100 in steps of 1, so this can never match", "101"),
    ("fit crossed below 0 in 7d", "`fit` runs from 0 to 100 in steps of 1, so this can never match", "0"),
    ("updated:7d", "`updated` is not a score; write it like this: updated<7d", "updated"),
    ("name>5", "`name` is not a score; write it like this: name~ada", "name"),
    ("tag:vip,beta", "put several in parentheses: tag:(vip,…)", ","),
    ("80<score", "put the score first: score>80, or for a range score:60..90", "<"),
    ("60 < fit", "put the score first: score>80, or for a range score:60..90", "<"),
    ("fit => 80", "write `>=` or `<=`, in one piece", "> 80"),
    ("fit > = 80", "write `>=` or `<=`, in one piece", "= 80"),
    ("fit:80..60", "put the lower end first: fit:60..80", "80..60"),
    ("fit:60..80.0625", "`80.0625` has more than three digits after the point", "60..80.0625"),
    ("-fit:-1000000001..*", "`-1000000001` is larger than a score can be (1,000,000,000)", "-1000000001..*"),
    ("fit:80..", "a range has two ends, and * for an open one: fit:80..*", "80.."),
    ("fit:..80", "a range has two ends, and * for an open one: fit:*..80", "..80"),
    ("company=Navy", "use a colon to match a word: `company:Navy`", "Navy"),
    ('fit>1 tag!="big deal"', 'use a colon to match a word: `-tag:"big deal"`', '"big deal"'),
    ("fit=hot", "use a colon to match a word: `fit:hot`", "hot"),
    ("owner:@jane", "`@jane` is not an address: choose the person from the list that opens after @", "@jane"),
    ("owner:<@U0JANE>", "I do not know that colleague's address; type it: owner:rep@example.com", "<@U0JANE>"),
    ("updated<7", "`updated` is compared with a time, for example updated<7d", "7"),
    ("updated=7d", "`updated` takes < or >, for example updated<7d", "="),
    ("fit>7d", "`fit` is compared with a number, for example fit>80", "7d"),
    ("attributes.visits:3..", "a range has two ends, and * for an open one: attributes.visits:3..*", "3.."),
    ("attributes.visits:5..3", "put the lower end first: attributes.visits:3..5", "5..3"),
    (
        "attributes.seats>=9000000000000",
        "a number of an attribute must be between -9,000,000,000,000 and 9,000,000,000,000",
        "9000000000000",
    ),
    ("attributes.seen=7d", "an age takes < or >, for example attributes.seen<7d", "="),
    ("attributes.seen<7m", "`7m` is not a length of time: write 24h, 30d or 2w", "7m"),
    *(
        (typed, f'put a name with more than letters, digits and underscores in quotes: `attributes."{name}"`', place)
        for typed, name, place in (
            ("fit>1 attributes.Lead Source:web", "Lead Source", "attributes.Lead"),
            ("attributes.Fit Score>5", "Fit Score", "attributes.Fit"),
            ("attributes.a/b<7d", "a/b", "a/b"),
        )
    ),
    *(
        (
            typed,
            "write an attribute like this: attributes.plan:pro, attributes.employees>=50"
            " or has:attributes.plan",
            typed,
        )
        for typed in ("attributes.plan", 'attributes."Lead Source"')
    ),
    ("segment:hto", "there is no segment `hto`. Did you mean `hot`?", "hto"),
    ("segment:self", "in the segment `self`: a segment cannot name itself: self → self", "self"),
    ("segment:a", "in the segment `a`: in the segment `b`: a segment cannot name itself: a → b → a", "a"),
    (
        "fit>1 segment:mine",
        "in the segment `mine`: I do not know your address; type it: owner:rep@example.com",
        "mine",
    ),
]  # fmt: skip  # a table of lines


@pytest.mark.parametrize(("text", "sentence", "place"), COMPLAINTS, ids=[text for text, _, _ in COMPLAINTS])
def test_a_complaint_points_at_the_place(text: str, sentence: str, place: str) -> None:
    """A complaint marks the place in the filter, and states what would be understood there."""
    with pytest.raises(BadFilter) as error:
        parse(text, TYPES, segments=SEGMENTS)

    assert error.value.sentence == sentence
    assert text[error.value.column :][: len(place)] == place
    assert error.value.column == (text.rindex(place) if place else len(text))


def test_a_segment_that_cannot_be_read_any_more_says_why() -> None:
    """A complaint about an unreadable segment marks the segment in the typed line."""
    with pytest.raises(BadFilter) as error:
        parse("fit>3 segment:old", TYPES, segments=SEGMENTS)

    assert error.value.sentence.startswith("in the segment `old`: there is no field `zzz`. Choose from `score`, `fit`,")
    assert error.value.pointed == "fit>3 segment:old\n              ^^^"


@pytest.mark.parametrize(
    ("text", "carets"),
    [
        ("fit>1 fti>2", "      ^^^"),
        ("山田 fti>2", "\u3000\u3000 ^^^"),  # a blank as wide as the character above it
        ("zoe\u0308 fti>2", "    ^^^"),  # a separate accent has no width
        ("has:山田", "    \uff3e\uff3e"),
        ("fit>", "    ^"),
    ],
)
def test_carets_stand_under_the_place(text: str, carets: str) -> None:
    """The carets stand under the marked text, even if some characters are wider than others."""
    with pytest.raises(BadFilter) as error:
        parse(text, TYPES)

    assert error.value.pointed == f"{text}\n{carets}"


def test_segments_that_multiply_are_stopped() -> None:
    """Nested segments that multiply are refused: ten that each name the next one twice would be a thousand."""
    with pytest.raises(BadFilter, match="a filter reads at most 50 segments"):
        parse("segment:deep-0", TYPES, segments=SEGMENTS)
    assert parse("segment:deep-6", TYPES, segments=SEGMENTS)


@pytest.mark.parametrize(
    ("text", "scores", "tags", "fits"),
    [
        ("segment:hot", {"score": 80_000}, (), True),
        ("segment:hot", {"score": 79_000}, (), False),
        ("-segment:hot", {}, (), True),
        ("segment:vips", {"score": 80_000}, ("VIP",), True),
        ("segment:vips", {"score": 80_000}, (), False),
        ("segment:either", {"fit": 51_000}, (), True),
        ("segment:either has:score", {"fit": 51_000}, (), False),  # the OR of the segment stays inside of it
        ("segment:(vips,either)", {"fit": 51_000}, (), True),
        ('segment:"HOT"', {"score": 80_000}, (), True),
    ],
)
def test_a_segment_stands_for_its_filter(text: str, scores: dict[str, int], tags: tuple[str, ...], fits: bool) -> None:
    """A segment means its filter in parentheses, without the filter's own sort and limit."""
    contact_filter: Filter = parse(text, TYPES, segments=SEGMENTS)

    assert contact_filter.matches(Candidate(id=1, tags=tags, values=scores)) is fits
    assert (contact_filter.sort, contact_filter.limit) == ((), None)


@given(
    st.text(
        alphabet=st.sampled_from('fit rising 10 in 7d crossed above stale updated<>=:()-%x"segment:hot,'), max_size=60
    )
)
def test_any_text_is_read_or_refused(text: str) -> None:
    """Any text is either parsed, or refused with a complaint that points into the line."""
    complaint = None
    try:
        contact_filter = parse(text, TYPES, segments=SEGMENTS)
    except BadFilter as exc:
        complaint = exc
    if complaint is None:
        assert contact_filter.matches(Candidate(id=1, values={})) in (True, False)
    else:
        assert 0 <= complaint.column <= len(text)
        assert complaint.sentence


@pytest.mark.parametrize("text", ["rising star", "stale", '"ada moved"', "moved", "in", "ada OR moved on"])
def test_the_words_are_free_where_no_name_stands_before_them(text: str) -> None:
    """A word that has a meaning after a name is plain text elsewhere, because a contact may be called like that."""
    assert len(parse(text, TYPES).texts) >= 1
