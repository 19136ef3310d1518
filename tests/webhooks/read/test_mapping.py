"""Parse forms and XML, and evaluate mapping expressions within their limits."""

import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.read.bodies import Unparseable
from webhooks.read.form_bodies import parse_form
from webhooks.read.json_bodies import first_element
from webhooks.read.mapping import (
    MOST_STEPS,
    BadMapping,
    Budget,
    TooCostly,
    check_mapping,
    compile_expression,
    require_items,
    to_exact_numbers,
    to_plain_numbers,
)
from webhooks.read.xml_bodies import parse_xml


def search(text: str, document: object) -> object:
    """Evaluate an expression as the only one of a delivery."""
    return compile_expression(text).search(document, name="email", budget=Budget())


def test_forms_are_read_as_php_reads_them() -> None:
    """Brackets nest, empty brackets make lists, and contradictory fields keep their flat names."""
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
    """Consecutive indexes from 0 make a list, as in PHP; other numbers are names."""
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
    """Namespaces are ignored, nil is null, equal names make a list, and nothing is fetched or expanded."""
    raw = (
        b'<a:x xmlns:a="u" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">'
        b'<a:y>1</a:y><y>2</y><z i:nil="true"/><w/><v> t </v></a:x>'
    )
    assert parse_xml(raw) == {"x": {"y": ["1", "2"], "z": None, "w": "", "v": "t"}}
    body = (
        b'<x xmlns:i="urn:i" a="1" i:type="i:X"><lead id="7" mail="m"/>'
        b'<y b="2">t</y><z i:type="i:Y"/><w c="3"> </w></x>'
    )
    assert parse_xml(body) == {
        "x": {
            "@a": "1", "@type": "i:X", "lead": {"@id": "7", "@mail": "m"},
            "y": "t",  # text stays text, whatever type is declared
            "z": "", "w": {"@c": "3"},
        }
    }  # fmt: skip  # as in the document
    for bad in (b"", b"<a>", b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', b"<a>" * 70 + b"</a>" * 70):
        with pytest.raises(Unparseable):
            parse_xml(bad)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_document_or_unparseable(raw: bytes) -> None:
    """Any bytes are parsed or raise Unparseable; a first element, if there is one, is a part of the bytes."""
    for parse in (parse_form, parse_xml):
        try:
            parse(raw)
        except Unparseable as exc:
            assert str(exc).endswith(".")  # noqa: PT017 (whether it is raised is not the question)
    element = first_element(raw)
    assert element is None or element in raw


def test_numbers_keep_their_digits() -> None:
    """Numbers are computed as floats only if that keeps their value."""
    document = to_plain_numbers(
        {"a": Decimal("12.345"), "b": Decimal("0.1000000000000000055511151231257827"), "c": [Decimal(5)]}
    )

    assert to_exact_numbers(search("a", document)) == Decimal("12.345")
    assert to_exact_numbers(search("b", document)) == Decimal("0.1000000000000000055511151231257827")
    assert search("c[?@ > `4`]", document) == [5]


def test_what_is_no_mapping_is_refused_with_what_to_say() -> None:
    """An expression with an unknown source, a wrong type, a syntax error or excessive size is refused."""
    cases: list[tuple[object, str]] = [
        ([], "A mapping is a JSON object"),
        ({"mail": "x"}, "A mapping has no `mail`; it has items, email"),
        ({"email": 5}, "`email` must be text"),
        ({"email": "item."}, "`email` cannot be used: it is not a JMESPath expression"),
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
        require_items({})
    with pytest.raises(BadMapping, match=r"finds nothing.*write \[body\.lead\]\[\]"):
        require_items(None)
    assert require_items([]) == []
    with pytest.raises(BadMapping, match="at most 1,000"):
        require_items([0] * 1001)


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
    """An expression over the largest body ends within seconds of CPU, or is aborted."""
    document = {"body": list(range(170_000))}
    before = time.process_time()
    try:
        search(text, document)
    except (BadMapping, TooCostly) as exc:
        assert str(exc)  # noqa: PT017 (whether it is raised is not the question)

    assert time.process_time() - before < 8


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("body.people[*].email", 1 + 4 + 4 + 3 + 4),  # body, its people, those of body, each address, all of them
        ("length(body.people)", 1 + 4 + 4 + 1),
        ("to_string(body.people)", 1 + 4 + 7 + 1),  # the list, three objects and three texts
        ("body.people == body.people", 2 * (1 + 4 + 7) + 1),
        ("body.text", 1 + 11 + 11),
    ],
)
def test_steps_are_counted_by_what_they_cost(text: str, steps: int) -> None:
    """A list costs its length and a text each hundred characters; comparing or serializing costs all of the content."""
    document = {"body": {"people": [{"email": "a"}, {"email": "b"}, {"email": "c"}], "text": "x" * 1000}}
    budget = Budget()
    compile_expression(text).search(document, name="email", budget=budget)

    assert budget.spent["email"] == MOST_STEPS - budget.left == steps


@pytest.mark.parametrize(
    "text",
    [
        "body.people[*].email",
        "body.people[?id == `7`].email | [0]",
        "length(sort(map(&to_string(@), body.numbers)))",
        "length(to_string(body))",
        "body.people == body.others",
        "contains(body.numbers, `-1`)",
        "contains(to_string(body), 'x')",
        "length(join('', body.texts))",
        "length(reverse(body.long))",
    ],
)
def test_one_budget_is_shared_by_all_items(text: str) -> None:
    """A thousand items share the steps of one delivery, so a cheap expression is aborted too."""
    people = [{"id": number, "email": f"p{number}@example.com"} for number in range(1000)]
    document = {
        "body": {
            "people": people, "others": [dict(person) for person in people], "numbers": list(range(1000)),
            "texts": ["x" * 1000] * 500, "long": "x" * 500_000,
        }
    }  # fmt: skip  # input for each expression
    budget, number = Budget(), 0

    def read_items() -> None:
        nonlocal number
        for _ in range(1000):
            compile_expression("item.id").search({"item": {"id": 7}}, name="id", budget=budget)
            compile_expression(text).search(document, name="email", budget=budget)
            number += 1

    with pytest.raises(TooCostly) as error:
        read_items()

    assert 1 <= number < 1000
    assert str(error.value) == (
        "the mapping takes more than 300,000 steps for this delivery, most of them for `email`: make `items` find"
        " everything that an item needs, so that `email` uses only `item`, or send fewer items at once"
    )
    assert budget.spent.total() <= MOST_STEPS + 20_000  # one step may exceed the budget
    with pytest.raises(TooCostly, match="most of them for `email`"):  # nothing is left
        compile_expression("item.id").search({"item": {"id": 7}}, name="id", budget=budget)
