"""The provider for the service's own format: any document gives items, each with its index, or BadBody."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage.domain.contacts import Reference
from storage.domain.facts import Deletion, Ignored, Item, ItemRequest, Merge, Op, Unusable
from storage.domain.people import Workspace
from storage.domain.sources import Source
from tests.webhooks.sender import SECRET, START, encoded, item, signed
from webhooks.authentication.signatures import NotAuthentic, SignedRequest
from webhooks.providers import PROVIDERS
from webhooks.providers.contract import BadBody
from webhooks.read.parse_delivery import ReadRequest, read_request

GENERIC = PROVIDERS["generic"]
CRM = Source(id=1, workspace=Workspace(id=1, team="T1", name="Acme"), slug="crm", provider="generic", secrets=(SECRET,))
KINDS = ["score.set", "score.add", "score.clear", "contact.upsert", "activity", "contact.merge", "contact.delete"]
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
LEAVES: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-(10**63), 10**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.sampled_from([*KINDS, "ada@example.com", "", " ", "2026-01-31T09:30:00Z", "1e999", 10**60])
    | st.datetimes(timezones=st.just(None) | st.timezones()).map(lambda moment: moment.isoformat())
)
DOCUMENTS = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4))
CONTACTS = st.dictionaries(
    st.sampled_from(["email", "id", "name", "company", "owner", "tags", "attributes"]), DOCUMENTS, max_size=4
)
ITEMS = st.dictionaries(
    st.sampled_from(["type", "contact", "score", "value", "id", "occurred_at", "reason"]), DOCUMENTS | CONTACTS
) | st.builds(
    lambda kind, contact, more: item(kind) | {"contact": contact} | more,
    st.sampled_from(KINDS),
    CONTACTS,
    st.dictionaries(st.sampled_from(["score", "value", "id", "occurred_at", "reason"]), LEAVES, max_size=2),
)


def read(document: object) -> list[ItemRequest]:
    """Read the items of a document, or of bytes, of the delivery `d`."""
    return read_whole(document).items


def read_whole(document: object) -> ReadRequest:
    """Read a document, or bytes, of the delivery `d`."""
    request = SignedRequest(headers={"content-type": "application/json"}, body=encoded(document))
    return read_request(GENERIC, request, source=CRM, key="d")


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS | ITEMS | st.builds(lambda items: {"items": items}, DOCUMENTS | st.lists(ITEMS)))
@example({"items": [], "type": "score.set"})
@example({"items": [item(contact={"email": "a@b.c", "attributes": {"a": 1e308, "b": 10**60, "c": None}})]})
@example(item(occurred_at="0001-01-01T00:00:00+23:59"))
@example(item(value=10**63))
def test_any_document_gives_items_or_one_exception(document: Any) -> None:
    """Any document gives one item for each of its items, in order and complete, or raises BadBody."""
    given_items = document.get("items", [document]) if isinstance(document, dict) else None
    if not isinstance(given_items, list) or not {"items", "type"} & set(document):
        with pytest.raises(BadBody):
            read(document)
        return
    read_items = read(document)

    assert len(read_items) == len(given_items)
    for index, (read_item, raw) in enumerate(zip(read_items, given_items, strict=True)):
        own = raw.get("id") if isinstance(raw, dict) else None
        own = str(own) if isinstance(own, int) and not isinstance(own, bool) else own
        expected = own if isinstance(own, str) and 1 <= len(own) <= 255 else f"d/{index:04d}"
        assert read_item.key == expected
        assert has_point(raw) or json.loads(read_item.raw) == raw
        if isinstance(read_item, Unusable):
            assert read_item.reason


def has_point(document: object) -> bool:
    """Return whether a document contains a decimal number, which another test covers."""
    match document:
        case dict():
            return any(has_point(value) for value in document.values())
        case list():
            return any(has_point(value) for value in document)
        case _:
            return isinstance(document, float)


@given(st.binary())
def test_any_bytes_give_items_or_one_exception(body: bytes) -> None:
    """Bytes that are no document raise BadBody too."""
    with suppress(BadBody):
        read(body)


REFUSED_CONTACTS: list[tuple[object, str]] = [
    *[({name: 5}, f"`contact.{name}` must be text") for name in ("email", "name", "company", "owner")],
    *[
        ({name: "x" * 256}, f"`contact.{name}` is longer than 255")
        for name in ("email", "id", "name", "company", "owner")
    ],
    ({"id": True}, "`contact.id` must be text"),
    ({"id": 1.0}, "`contact.id` must be text"),
    ({"tags": "vip"}, "`contact.tags` must be a list"),
    ({"tags": [""]}, "`contact.tags.0` is blank"),
    ({"tags": ["x" * 101]}, "`contact.tags.0` is longer than 100"),
    ({"tags": ["x"] * 101}, "`contact.tags` is longer than 100"),
    ({"attributes": []}, "`contact.attributes` must be an object"),
    ([], "`contact` must be an object"),
    (None, "`contact` must be an object"),
]


@pytest.mark.parametrize(("contact", "reason"), REFUSED_CONTACTS)
def test_a_contact_that_cannot_be_used_is_refused(contact: object, reason: str) -> None:
    """Each field of a contact has its type and its limit, and the reason names the field."""
    own = {"email": "ada@example.com"} | contact if isinstance(contact, dict) else contact
    (read_item,) = read(item("contact.upsert") | {"contact": own})

    assert isinstance(read_item, Unusable)
    assert read_item.reason == reason


@pytest.mark.parametrize(
    "contact", [{"name": "x" * 255}, {"tags": ["x" * 100] * 100}, {"attributes": {"a": "x" * 9000}}]
)
def test_a_contact_may_be_as_long_as_its_limits(contact: dict[str, object]) -> None:
    """A value of exactly its limit is read; texts of attributes may be longer than other texts."""
    (read_item,) = read(item("contact.upsert") | {"contact": {"email": "ada@example.com"} | contact})

    assert isinstance(read_item, Item)


def test_an_item_is_read_whole() -> None:
    """All fields of an item are read; references are stripped of surrounding spaces and otherwise unchanged."""
    contact = {
        "email": " Ada@Example.com ",
        "id": 7,
        "name": " Ada ",
        "company": "",
        "owner": None,
        "tags": ["b", "a", "b"],
        "attributes": {"size": 5, "share": 0.5},
    }
    document = item(contact=contact, value=8.5, id="e", occurred_at="2026-01-31T10:00:00+01:00", reason="because")
    (read_item,) = read(document)

    assert isinstance(read_item, Item)
    assert (read_item.key, read_item.score, read_item.op, read_item.amount, read_item.reason) == (
        "e",
        "score",
        Op.SET,
        8500,
        "because",
    )
    assert read_item.occurred_at == START
    assert not isinstance(read_item.contact, int)
    assert (read_item.contact.email, read_item.contact.source, read_item.contact.id) == ("Ada@Example.com", "crm", "7")
    assert read_item.fields == {
        "email": "Ada@Example.com",  # beside an id the address may be new
        "name": "Ada",
        "company": None,  # a blank clears the field; null leaves it unchanged
        "tags": ["b", "a"],
        "attributes.size": 5,
        "attributes.share": 0.5,
    }


@pytest.mark.parametrize(
    ("kind", "op"), [("score.set", Op.SET), ("score.add", Op.ADD), ("score.clear", Op.CLEAR), ("contact.upsert", None)]
)
def test_every_type_becomes_its_operation(kind: str, op: Op | None) -> None:
    """A clear has no amount and an upsert no score, whatever else the item contains."""
    (read_item,) = read(item(kind, score="fit", value=3))

    assert isinstance(read_item, Item)
    assert (read_item.op, read_item.score) == (op, "fit" if op else None)
    assert read_item.amount == (3000 if op in (Op.SET, Op.ADD) else 0)
    assert read_item.fields == ({} if op else {"email": "ada@example.com"})


def test_an_item_with_id_alone_names_nobody_else() -> None:
    """An item may refer to a contact by the source's id alone; then it says nothing about the address."""
    (read_item,) = read(item(contact={"id": "p-1"}))

    assert isinstance(read_item, Item)
    assert not isinstance(read_item.contact, int)
    assert (read_item.contact.email, read_item.contact.id, read_item.fields) == (None, "p-1", {})


def test_activities_merges_and_deletions_are_read() -> None:
    """Activities, merges and deletions are read; an activity counts once unless it has a value."""
    once, twice, empty = read(
        {
            "items": [
                item("activity", activity="demo_booked"),
                item("activity", activity="seats", value=2.5),
                item("activity"),
            ]
        }
    )
    assert isinstance(once, Item)
    assert (once.activity, once.amount, once.score, once.op) == ("demo_booked", 1000, None, None)
    assert isinstance(twice, Item)
    assert twice.amount == 2500
    assert isinstance(empty, Unusable)

    merge, both, lonely, deletion = read(
        {
            "items": [
                item("contact.merge", id="m", into={"id": "7"}),
                item("contact.merge", contact={"email": "ada@example.com", "id": 7}),
                item("contact.merge"),
                item("contact.delete", occurred_at="2026-01-31T09:00:00Z"),
            ]
        }
    )
    assert isinstance(merge, Merge)
    assert (merge.key, merge.contact, merge.into) == (
        "m",
        Reference(email="ada@example.com", source="crm"),
        Reference(source="crm", id="7"),
    )
    assert isinstance(both, Merge)
    assert (both.contact, both.into) == (
        Reference(source="crm", id="7"),
        Reference(email="ada@example.com", source="crm"),
    )
    assert isinstance(lonely, Unusable)
    assert isinstance(deletion, Deletion)
    assert (deletion.contact, deletion.occurred_at) == (Reference(email="ada@example.com", source="crm"), START)
    assert not isinstance(deletion, Ignored)


IGNORED_FIELDS: list[tuple[object, list[str]]] = [
    (item(), []),
    (item("contact.merge", into={"id": 7}, contact={"email": "a@b.example", "attributes": {"anything": 1}}), []),
    (item(occured_at="2026-01-31T09:00:00Z", valeu=9), ["occured_at", "valeu"]),
    (item(contact={"emial": "a@b.example", "id": 7}, into={"ID": 1}), ["contact.emial", "into.ID"]),
    ({"zeta": 1, "items": [item(b=1), item(a=1, b=2), 5], "alpha": 2}, ["zeta", "b", "a", "alpha"]),
    ({"items": [item() | {f"f{number}": 1} for number in range(30)]}, [f"f{number}" for number in range(20)]),
    (item() | {"x" * 5000: 1}, ["x" * 100]),
    (item(contact=[{"emial": 1}]), []),
]


@pytest.mark.parametrize(("document", "names"), IGNORED_FIELDS)
def test_fields_that_are_not_read_are_named(document: object, names: list[str]) -> None:
    """Unknown fields of the body, of items and of contacts are named once each, as sent, the first twenty of them."""
    assert read_whole(document).ignored_fields == names


HALF = "holds half of a character (an unpaired surrogate)"
#: (members of an item beside its type, the mistake)
FAULTY = [
    (r'"contact":{"email":"a@b.example","name":"Ada \ud83d"},"value":5', f"`contact.name` {HALF}"),
    (r'"contact":{"email":"a\u0000@b.example"},"value":5', "`contact.email` holds the character NUL"),
    (r'"contact":{"id":"7","attributes":{"a":[1,{"b":"\udc00"}]}}', f"`contact.attributes.a.1.b` {HALF}"),
    (r'"contact":{"id":"7","attributes":{"a\u0000":1}}', "a key in `contact.attributes` holds the character NUL"),
    ('"contact":{"id":"7"},"value":NaN', "`value` is NaN, which is not a number in JSON"),
    ('"contact":{"id":"7"},"value":-Infinity', "`value` is -Infinity, which is not a number in JSON"),
    (f'"contact":{{"id":{"9" * 65}}}', "`contact.id` is a number with more than 64 digits"),
    ('"value":1e1000', "`value` is a number with more than three digits in its exponent"),
    (r'"contact":{"id":1,"\u0069d":2}', "`contact` has the key `id` twice"),
    ('"type":"score.add"', "the item has the key `type` twice"),
    (f'"contact":{"[" * 64}{"]" * 64}', "the item is nested more than 64 deep"),
]


@pytest.mark.parametrize(("members", "reason"), FAULTY, ids=range(len(FAULTY)))
def test_what_cannot_be_used_costs_the_item_alone(members: str, reason: str) -> None:
    """An invalid item, in a list or alone, is quarantined as it was sent, and its neighbors are read."""
    good, faulty = json.dumps(item()), f'{{"type":"score.set",{members}}}'
    before, unusable, after = read(f'{{"items": [{good}, {faulty} ,{good}]}}'.encode())

    assert [type(before), type(after)] == [Item, Item]
    assert unusable == Unusable(key="d/0001", reason=reason, raw=faulty)
    assert read(faulty.encode()) == [Unusable(key="d/0000", reason=reason, raw=faulty)]


@pytest.mark.parametrize("depth", [65, 900, 1000, 1100, 5000, 400_000])
def test_no_depth_is_too_much(depth: int) -> None:
    """An item nested at any depth, also deeper than the decoder can follow, is quarantined alone."""
    deep = "[" * depth + "]" * depth
    first, other, last = read(f'{{"items": [{deep}, {{"type":"x","a":{deep}}}, {json.dumps(item())}]}}'.encode())
    (alone,) = read(f'{{"type":"x","contact":{deep}}}'.encode())

    assert isinstance(last, Item)
    for unusable in (first, other, alone):
        assert isinstance(unusable, Unusable)
        assert unusable.reason in ("the item is nested more than 64 deep", "`contact` is nested more than 64 deep")
    assert read(f'{{"items": [{"[" * 64 + "]" * 64}, NaN]}}'.encode())[0] == Unusable(
        key="d/0000", reason="the item must be a JSON object", raw="[" * 64 + "]" * 64
    )


def test_what_is_not_read_harms_nobody() -> None:
    """Texts, numbers and depth beside the items are not checked."""
    good = json.dumps(item())
    for member in (r'"sent_by": "\ud83d"', '"version": NaN', f'"meta": {"[" * 5000}{"]" * 5000}', '"m": {"a":1,"a":2}'):
        read_items = read(f'{{ {member} , "items" : [ {good} , NaN ] , "more" : 1 }}'.encode())

        assert [type(read_item) for read_item in read_items] == [Item, Unusable], member


@settings(max_examples=50, deadline=None)
@given(st.lists(ITEMS, max_size=4), st.sampled_from([text for text, _ in FAULTY]), st.integers(0, 4))
def test_neighbours_are_read_as_without_it(items: list[Any], faulty: str, place: int) -> None:
    """The neighbors of an invalid item are read as if it were valid."""
    texts, faulty = [json.dumps(item) for item in items], f'{{"type":"score.set",{faulty}}}'
    place = min(place, len(texts))
    expected = read({"items": [*items[:place], {"type": "x"}, *items[place:]]})
    read_items = read(f'{{"items": [{",".join([*texts[:place], faulty, *texts[place:]])}]}}'.encode())

    assert isinstance(read_items[place], Unusable)
    assert read_items[:place] + read_items[place + 1 :] == expected[:place] + expected[place + 1 :]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"items":[' + (b"[" * 1000 + b"]" * 1000 + b",") * 500 + b"0]}", 501),
        (b'{"items":[' + b'"' + b'\\"' * 500_000, None),
        (b'{"items":[' + b"[" * 1_000_000, None),
        (b'{"items":[' + b"[" * 2000 + b'"' + b"]" * 900_000, None),  # the brackets are in a string without an end
        (b'{"items":[' + b"NaN," * 250_000 + b"0]}", None),
        (b'{"type":"x","a":' + b"[" * 500_000 + b"]" * 500_000 + b"}", 1),
        (b'{"type":"x","a":["\\ud800"' + b',{"a":1}' * 120_000 + b"]}", 1),
    ],
    ids=range(7),
)
def test_malice_does_not_take_long(body: bytes, expected: int | None) -> None:
    """A megabyte that would take quadratic time is read in normal time."""
    number: int | None = None
    with suppress(BadBody):
        number = sum(isinstance(read_item, Unusable) for read_item in read(body))

    assert number == expected


def test_a_provider_signs_and_knows_what_it_signed() -> None:
    """A test delivery is signed as the standard says, and another signature is refused."""
    body, proof = encoded(item()), GENERIC.proof(CRM)
    signed_request = proof.sign(SignedRequest(headers={}, body=body), delivery="d", secret=SECRET, now=START)

    assert signed_request.headers == signed(body, delivery="d", at=START)
    assert proof.authenticate(signed_request, secrets=[SECRET], now=START) == "d"
    with pytest.raises(NotAuthentic) as error:
        proof.authenticate(SignedRequest(headers=signed_request.headers, body=b"x"), secrets=[SECRET], now=START)
    assert error.value.reason == "wrong signature"
    assert "matches none of this source's secrets" in error.value.hint
