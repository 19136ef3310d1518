"""Parse request bodies, and report what is wrong with them."""

import json
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from webhooks.read.bodies import Unparseable
from webhooks.read.json_bodies import parse_json, replace_broken


def complaint(raw: bytes) -> str:
    """Parse a body that is invalid, and return the sentence for the sender."""
    with pytest.raises(Unparseable) as error:
        parse_json(raw)
    return str(error.value)


@pytest.mark.parametrize(
    ("raw", "document"),
    [
        (b"{}", {}),
        (b" [1, -2]\r\n\t", [1, -2]),
        (b"true", True),
        (b'""', ""),
        ("\ufeff{}".encode(), {}),  # a byte order mark, as .NET and PowerShell send it
        ('"naïve \U0001f600"'.encode(), "naïve \U0001f600"),
        (rb'"na\u00efve \ud83d\ude00 \" \\ \/ \n \\u0000"', 'naïve \U0001f600 " \\ / \n \\u0000'),  # the last is no NUL
        (rb'"\\ud800"', r"\ud800"),  # nor a surrogate
        (b'["NaN", "Infinity", "1e9999"]', ["NaN", "Infinity", "1e9999"]),
        (b'"' + b"9" * 100 + b'"', "9" * 100),
        (b"9" * 64, 10**64 - 1),
        (b"-" + b"9" * 64, 1 - 10**64),
        (b'{"a": {"a": 1}, "b": [{"a": 1}, {"a": 1}], "A": 1}', {"a": {"a": 1}, "b": [{"a": 1}, {"a": 1}], "A": 1}),
        (rb'{"a": "\u0061", "b": "a", "c": ["a", "a"]}', {"a": "a", "b": "a", "c": ["a", "a"]}),  # a value is no key
        (rb'{"\u0061": 1, "b\\": {"\u0061": 1}, "b": 1}', {"a": 1, "b\\": {"a": 1}, "b": 1}),
    ],
)
def test_documents_are_read(raw: bytes, document: object) -> None:
    """Valid JSON that can be stored is returned unchanged."""
    assert parse_json(raw) == document


@pytest.mark.parametrize(
    ("raw", "mended"),
    [
        (rb'"\u0000"', "\ufffd"),
        (rb'"a\ud83d"', "a\ufffd"),
        (rb'"\uD83Db"', "\ufffdb"),
        (rb'"\ude00\ud83d\uDE00\ud83d"', "\ufffd\U0001f600\ufffd"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"\\ud83d \\\ud83d \\\\u0000"', "\\ud83d \\\ufffd \\\\u0000"),
        (rb'{"\udbff": "\ud7ff\ue000\u00000"}', {"\ufffd": "\ud7ff\ue000\ufffd0"}),
    ],
)
def test_broken_characters_are_mended(raw: bytes, mended: object) -> None:
    """A replacement character replaces what text cannot hold; an escaped backslash begins no escape."""
    assert parse_json(replace_broken(raw)) == mended


@given(st.text(st.sampled_from('\\ud83e0c"a9ffé') | st.characters(), max_size=60))
def test_only_what_is_broken_is_mended(text: str) -> None:
    """Python reads the corrected text with the same result, except for those characters; other bytes stay unchanged."""
    raw = f'"{text}"'.encode("utf-8", "replace")
    with suppress(ValueError):
        read = json.loads(raw)
        expected = "".join(
            "\ufffd" if character == "\0" or "\ud800" <= character <= "\udfff" else character for character in read
        )
        assert json.loads(replace_broken(raw)) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"0.1", "0.1"),
        (b"-0.0", "-0.0"),
        (b"87.50", "87.50"),
        (b"12345678901234567890.000000001", "12345678901234567890.000000001"),
        (b"1e3", "1E+3"),
        (b"5E-324", "5E-324"),
        (b"1e-999", "1E-999"),
        (b"1." + b"0" * 64, "1." + "0" * 64),
    ],
)
def test_decimals_stay_as_written(raw: bytes, expected: str) -> None:
    """Decimals keep all their digits."""
    document = parse_json(b'{"value": ' + raw + b"}")

    assert isinstance(document, dict)
    assert isinstance(document["value"], Decimal)
    assert str(document["value"]) == expected


@pytest.mark.parametrize("raw", [b"0", b"87", b"-3"])
def test_integers_stay_integers(raw: bytes) -> None:
    """A number without a fraction is an *int*, not an equal *Decimal*."""
    assert type(parse_json(raw)) is int


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "expecting value (line 1, column 1)"),
        (b"email=ada%40example.com", "expecting value (line 1, column 1)"),
        (b"{'a': 1}", "expecting property name enclosed in double quotes (line 1, column 2)"),
        (b'{\n  "a": 1\n  "b": 2}', "expecting ',' delimiter (line 3, column 3)"),
        (b"{} {}", "extra data (line 1, column 4)"),
        (b'"\n"', "invalid control character at (line 1, column 2)"),
        (b'"\0"', "invalid control character at (line 1, column 2)"),
        (b'["a', "unterminated string starting at (line 1, column 2)"),
        (rb'{"\q": 1}', "invalid \\escape (line 1, column 3)"),
        (rb'["\u0061", "\q"]', "invalid \\escape (line 1, column 13)"),
        (b"]]]", "expecting value (line 1, column 1)"),
        (b"\xc2\xa0{}", "expecting value (line 1, column 1)"),  # a Unicode space that JSON does not allow
        ("\ufeff\ufeff{}".encode(), "expecting value (line 1, column 1)"),  # only one mark is allowed
        ("١".encode(), "expecting value (line 1, column 1)"),  # a digit, but not in JSON
    ],
)
def test_what_is_not_read_is_told_with_its_place(raw: bytes, message: str) -> None:
    """The sender reads one sentence, which ends with the position of the mistake."""
    assert complaint(raw) == f"The body cannot be read as JSON: {message}."


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"[NaN]", "`0` is NaN, which is not a number in JSON"),
        (b"NaN", "it is NaN, which is not a number in JSON"),
        (b'{"a":\n -Infinity}', "`a` is -Infinity, which is not a number in JSON"),
        (b'{"a":1,"a":1}', "it has the key `a` twice"),
        (b'[{"b":{"a":1},\n"a":1, "b" : 2}]', "`0` has the key `b` twice"),
        (rb'{"c":{"a":1,"b":1,"\u0061":1}}', "`c` has the key `a` twice"),
        (b'{"":1,"":1}', "it has the key `` twice"),
        (b'{"%s":1,"%s":1}' % (b"k" * 99, b"k" * 99), f"it has the key `{'k' * 40}` twice"),
        (b"[1, " + b"9" * 65 + b"]", "`1` is a number with more than 64 digits"),
        (b"-" + b"9" * 5000, "it is a number with more than 64 digits"),  # int() has a limit of its own
        (b"0." + b"0" * 65, "it is a number with more than 64 digits"),
        (b"[1e1000]", "`0` is a number with more than three digits in its exponent"),
        (b"[1E-99999999999999999999]", "`0` is a number with more than three digits in its exponent"),
        (b"[1e+1000]", "`0` is a number with more than three digits in its exponent"),
        (rb'["a\u0000"]', "`0` holds the character NUL"),
        (rb'{"\u0000": 1}', "a key in it holds the character NUL"),
        (rb'{"a":{"b\u0000": {"c\u0000": 1}}}', "a key in `a` holds the character NUL"),
        (rb'{"\u0000":1, "\u0000":2}', "it has the key `?` twice"),
        (rb'["\ud83d"]', "`0` holds half of a character (an unpaired surrogate)"),
        (rb'["\uDE00"]', "`0` holds half of a character (an unpaired surrogate)"),
        (rb'["\ude00\ud83d"]', "`0` holds half of a character (an unpaired surrogate)"),  # in the wrong order
        (rb'{"\udbff": 1}', "a key in it holds half of a character (an unpaired surrogate)"),
        # the first one is reported
        (rb'{"a": {"b": [1, "\u0000"]}, "c": "\ud83d"}', "`a.b.1` holds the character NUL"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_field(raw: bytes, message: str) -> None:
    """The sender reads one sentence with the field and the mistake."""
    assert complaint(raw) == f"The body cannot be used: {message}."


@pytest.mark.parametrize(
    ("raw", "byte"),
    [
        (b'"\xff"', 2),
        (b'"caf\xe9"', 5),  # Latin-1
        (b'"\xed\xa0\x80"', 2),  # a surrogate, encoded as if it were a character
        (b'"\xc0\x80"', 2),  # an overlong encoding of NUL
        (b"\xff\xfe{\0}\0", 1),  # UTF-16
        (b"\xef\xbb\xbf\xff", 4),  # counted from the first byte, with or without a mark
    ],
)
def test_only_utf8_is_read(raw: bytes, byte: int) -> None:
    """Any other encoding is refused with the position of the byte."""
    assert complaint(raw) == f"The body is not UTF-8: byte {byte} cannot be read."


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (b"[", b"]"),
        (b'{"a":', b"}"),
        (b'{"\\u0061":', b"}"),
        (b'["\\"",', b"]"),  # the quotes alone look as if every other bracket were in a string
        (b'["]",', b"]"),  # a bracket in a string closes nothing
    ],
)
def test_depth_is_bounded(start: bytes, end: bytes) -> None:
    """Sixty-four nested lists and objects are read; sixty-five and a hundred thousand are refused."""
    parse_json(start * 64 + b"1" + end * 64)

    for document in (start * 65 + b"1" + end * 65, start * 100_000 + b"1" + end * 100_000, start * 100_000):
        assert complaint(document) == "The body is nested more than 64 deep."


@pytest.mark.parametrize(
    "raw",
    [
        b'"' + b"[" * 100 + b'"',
        b'"\\"' + b"[{" * 100 + b'"',  # the quote before them ends no string
        b'"\\\\\\"' + b"[{" * 100 + b'"',
        b'["\\\\", "' + b"[{" * 100 + b'"]',  # nor does this backslash escape a quote
        b'["\\u0061", "\\"' + b"[{" * 100 + b'"]',
        b'{"' + b"[" * 100 + b'": 1}',
        b"[" + b"[]," * 100 + b"{}]",  # many, but side by side
        b"[" + b'[{"a":"\\u0061]"}],' * 100 + b"{}]",
    ],
)
def test_brackets_that_do_not_nest_do_not_count(raw: bytes) -> None:
    """Depth counts open brackets, and brackets in strings open nothing."""
    assert parse_json(raw) == json.loads(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'"' + b'\\"' * 500_000,  # each quote could begin a string without an end
        b"\\u" + b'"' + b'\\"' * 500_000,
        b'"' + b"\\" * 1_000_000,
        b"\\u" + b"\\" * 1_000_000,
        b'\\u"a"' + b" " * 1_000_000,
        b"\\u" + (b"9" * 64 + b"x") * 15_000,
        b"[" * 1_000_000,
        b"]" * 1_000_000,
        b"\\u" + b"]" * 1_000_000,
        b"{[" * 500_000,
    ],
    ids=range(10),
)
def test_malice_does_not_take_long(raw: bytes) -> None:
    """Input that would take a naive pattern or recursion hours is refused in normal time."""
    assert complaint(raw).startswith(("The body cannot be read as JSON: ", "The body is nested more than 64 deep."))


@given(st.binary())
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """Any bytes are parsed, or raise the one exception."""
    with suppress(Unparseable):
        parse_json(raw)


STORABLE = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NUMBERS = st.integers(1 - 10**64, 10**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | STORABLE,
    lambda inner: st.lists(inner) | st.dictionaries(STORABLE, inner),
    max_leaves=30,
)


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 1]))
def test_every_document_is_read(document: object, escaped: bool, indent: int | None) -> None:
    """JSON of another program is parsed unchanged, with escaped characters or not."""
    text = json.dumps(document, ensure_ascii=escaped, indent=indent)

    assert parse_json(text.encode()) == json.loads(text, parse_float=Decimal)


def judged_slowly(text: str) -> object:
    """Return the expected result of *parse_json*, computed slowly: a document or *ValueError*."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError
        return dict(pairs)

    def number(digits: str) -> Decimal:
        if "e" in digits and len(digits.split("e")[1].lstrip("+-")) > 3:
            raise ValueError
        return Decimal(digits)

    def constant(name: str) -> object:
        raise ValueError(name)

    def storable(value: object, depth: int) -> None:
        match value:
            case str():
                if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
                    raise ValueError
            case list() | dict():
                if depth == 64:
                    raise ValueError
                for item in [*value, *value.values()] if isinstance(value, dict) else value:
                    storable(item, depth + 1)

    document: object = json.loads(text, object_pairs_hook=once, parse_float=number, parse_constant=constant)
    storable(document, 0)
    return document


# Pieces of texts like JSON. Deep brackets come by the dozen, so that a depth of sixty-four is reached.
PIECES = r"""
{ } [ ] [[ ]] , : " \ "a" "a": "a":1, "b":[ "[" "\\" "\"" "\u0061" "\u0061": "\u0000" "\ud83d" "\ud83d\ude00"
1 1.5 1e5 1e4321 NaN -Infinity null
"""
LIKE_JSON = st.lists(st.sampled_from([*PIECES.split(), " ", "\n", "[" * 31, "]" * 31]), max_size=12).map("".join)
NESTED = st.builds(lambda deep, inside: "[" * deep + inside + "]" * deep, st.integers(60, 66), st.just("1") | STORABLE)
OBJECTS = st.lists(st.sampled_from(['"a":1', '"b":[]', '"\\u0061":{}', '"A":"\\n"', '"b":NaN', '"c":1e2']), max_size=4)


@given(LIKE_JSON | NESTED | OBJECTS.map(lambda members: "[{" + ",".join(members) + "}]"))
@example("[" * 62 + '["a",[1]]' + "]" * 62)
@example("[" * 63 + '["a",[1]]' + "]" * 63)
def test_short_cuts_change_no_verdict(text: str) -> None:
    """The fast parser accepts the same texts as the simple one, with the same documents."""
    try:
        expected = judged_slowly(text)
    except ValueError:
        complaint(text.encode())
    else:
        assert parse_json(text.encode()) == expected
