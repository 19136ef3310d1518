"""What forms and XML become, and expressions over them that cost no more than they may."""

import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.bodies import Unparseable, first_element, parse_form, parse_xml
from webhooks.mapping import BadMapping, check_mapping, compiled, exact, found_items, plain


def test_forms_are_read_as_php_reads_them() -> None:
    """Brackets nest, empty ones make lists, and what contradicts itself keeps its flat name."""
    raw = (
        b"a=1&a=2&contact%5Bemail%5D=x%40y.z&contact[fields][lead_score]=68&tags[]=u&tags[]=v&b=&c[=5&contact=no&a[b]=3"
    )
    nested, flat = parse_form(raw)

    assert nested == {
        "a": ["1", "2"],
        "contact": {"email": "x@y.z", "fields": {"lead_score": "68"}},
        "tags": ["u", "v"],
        "b": "",
        "c[": "5",
        "a[b]": "3",
    }
    assert flat["contact"] == "no"
    assert flat["contact[email]"] == "x@y.z"
    assert flat["tags[]"] == ["u", "v"]
    for bad in (b"\xff=1", b"a=%00", b"a" + b"[b]" * 100 + b"=1", b"&".join([b"a=1"] * 10_001)):
        with pytest.raises(Unparseable):
            parse_form(bad)


def test_fields_that_are_counted_are_a_list() -> None:
    """As PHP writes lists and reads them: from nought, without a gap; numbers that are names stay names."""
    raw = (
        b"l[1][n]=v&l[0][n]=u&l[0][t][0]=x&gap[0]=a&gap[2]=b&one[1]=a&zero[00]=a&0[n]=1&c[f][7]=68"
        b"&mixed[0]=a&mixed[x]=b"
    )
    nested, flat = parse_form(raw)

    assert nested == {
        "l": [{"n": "u", "t": ["x"]}, {"n": "v"}],
        "gap": {"0": "a", "2": "b"},
        "one": {"1": "a"},
        "zero": {"00": "a"},
        "0": {"n": "1"},
        "c": {"f": {"7": "68"}},
        "mixed": {"0": "a", "x": "b"},
    }
    assert flat["l[1][n]"] == "v"


def test_xml_is_read_by_local_names() -> None:
    """Namespaces say nothing here; nil is null; several of one name are a list; nothing is fetched or expanded."""
    raw = (
        b'<a:x xmlns:a="u" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">'
        b'<a:y>1</a:y><y>2</y><z i:nil="true"/><w/><v> t </v></a:x>'
    )
    assert parse_xml(raw) == {"x": {"y": ["1", "2"], "z": None, "w": "", "v": "t"}}
    told = (
        b'<x xmlns:i="urn:i" a="1" i:type="i:X"><lead id="7" mail="m"/>'
        b'<y b="2">t</y><z i:type="i:Y"/><w c="3"> </w></x>'
    )
    assert parse_xml(told) == {
        "x": {
            "@a": "1", "@type": "i:X", "lead": {"@id": "7", "@mail": "m"},
            "y": "t",  # a text stays one, whatever is said of its kind
            "z": "", "w": {"@c": "3"},
        }
    }  # fmt: skip  # as it stands there
    for bad in (b"", b"<a>", b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', b"<a>" * 70 + b"</a>" * 70):
        with pytest.raises(Unparseable):
            parse_xml(bad)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_document_or_unparseable(raw: bytes) -> None:
    """And the first element of no list is none."""
    for parse in (parse_form, parse_xml):
        try:
            parse(raw)
        except Unparseable as exc:
            assert str(exc).endswith(".")  # noqa: PT017 (whether it is raised is not the question)
    found = first_element(raw)
    assert found is None or found in raw


def test_numbers_keep_their_digits() -> None:
    """The language computes with floats where they say the same, and never otherwise."""
    document = plain({"a": Decimal("12.345"), "b": Decimal("0.1000000000000000055511151231257827"), "c": [Decimal(5)]})

    assert exact(compiled("a").search(document)) == Decimal("12.345")
    assert exact(compiled("b").search(document)) == Decimal("0.1000000000000000055511151231257827")
    assert compiled("c[?@ > `4`]").search(document) == [5]


def test_what_is_no_mapping_is_refused_with_what_to_say() -> None:
    """Unknown places, other than text, what does not compile, what is too long, too deep or too wide."""
    cases: list[tuple[object, str]] = [
        ([], "A mapping is a JSON object"),
        ({"mail": "x"}, "A mapping has no `mail`; it has items, email"),
        ({"email": 5}, "`email` must be text"),
        ({"email": "item."}, "`email` cannot be used: it is no JMESPath expression"),
        ({"email": "a" * 1025}, "longer than 1,024"),
        ({"email": "!" * 40 + "a"}, "nested more than 32 deep"),
        ({"items": "|".join(["[@,@]"] * 20)}, "copy what was sent more than 64 times"),
        ({"items": "(" * 500 + "a" + ")" * 500}, "cannot be used"),
    ]
    for mapping, complaint in cases[:-1]:
        with pytest.raises(BadMapping, match=complaint.replace("(", r"\(")):
            check_mapping(mapping)
    assert check_mapping({"items": "body[]", "email": 'item."a.b"'})
    with pytest.raises(BadMapping, match="must find a list"):
        found_items({})
    with pytest.raises(BadMapping, match=r"finds nothing.*write \[body\.lead\]\[\]"):
        found_items(None)
    assert found_items([]) == []
    with pytest.raises(BadMapping, match="at most 1,000"):
        found_items([0] * 1001)


HOSTILE = [
    "[@,@,@,@,@,@,@,@][] | [@,@,@,@,@,@,@,@][]",
    "body[*].[@,@,@,@,@,@,@,@,@,@,@,@][][]",
    "sort(body[*].to_string(@))",
    "map(&length(to_string(@)), [body, body, body])",
    "body[?contains(to_string(@), 'x')]",
    "max_by(body, &a)",
    "join('', body)",
    "abs(body)",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_expression_takes_long(text: str) -> None:
    """Over the largest body there is, an expression ends within seconds, or is stopped."""
    document = {"body": list(range(170_000))}
    before = time.monotonic()
    try:
        compiled(text).search(document)
    except BadMapping as exc:
        assert str(exc)  # noqa: PT017 (whether it is raised is not the question)

    assert time.monotonic() - before < 8
