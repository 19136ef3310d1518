"""Deliveries are applied, recognized as repeats or quarantined, and stored before they are answered."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from multidict import CIMultiDict

from storage.domain.facts import Unusable
from storage.domain.people import Workspace
from storage.domain.submissions import Status
from storage.ledger.verify import verify_next
from storage.reading.current_scores import top
from storage.sources.config import add_source
from storage.sources.deliveries import delivery
from storage.vault import Vault
from storage.workspaces import add_workspace
from tests.conftest import on_both
from tests.storage import raw
from tests.webhooks.receiving import SLUG, Receiving, check_problem, furnish
from tests.webhooks.sender import DAY, OTHER_SECRET, SECOND, SECRET, START, Sender, encoded, item, signed
from tests.webhooks.test_generic import read
from webhooks.read.parse_delivery import replay

APPLIED, DUPLICATE = ("applied", None), ("duplicate", None)


def written(at: int, *, zone: str = "Z") -> str:
    """Format a time in µs as senders do."""
    moment = datetime.fromtimestamp(at // SECOND, UTC) + timedelta(microseconds=at % SECOND)
    return moment.isoformat().replace("+00:00", zone)


async def test_a_mixed_batch_is_answered_item_by_item(service: Receiving) -> None:
    """The answer has the counts, and one entry per item in the order of the items."""
    answer = await service.sender.push(
        {
            "items": [
                item(value=62, id="a"),
                item(value=62, id="a"),
                item(value=101),
                item("contact.upsert", name="Ada"),
                item("score.add", value=5),
                item(score="renewal"),
                item("score.clear", email="bob@example.com"),
            ]
        }
    )

    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.document == {
        "applied": 4,
        "duplicate": 1,
        "ignored": 0,
        "quarantined": 2,
        "items": [
            {"status": "applied", "reason": None},
            {"status": "duplicate", "reason": None},
            {"status": "quarantined", "reason": "Score runs from 0 to 100; 101 is outside it"},
            {"status": "applied", "reason": None},
            {"status": "applied", "reason": None},
            {"status": "quarantined", "reason": "there is no score type `renewal`; existing: score, fit, points"},
            {"status": "applied", "reason": None},
        ],
        "ignored_fields": ["name"],  # it belongs into the contact
    }
    assert await service.scores("ada@example.com") == {"score": 67_000}
    assert await service.scores("bob@example.com") == {}


async def test_one_item_needs_no_list(service: Receiving) -> None:
    """A body may be a single item."""
    answer = await service.sender.push(item(value=87, reason="great demo"))

    assert answer.document == {
        "applied": 1,
        "duplicate": 0,
        "ignored": 0,
        "quarantined": 0,
        "items": [{"status": "applied", "reason": None}],
    }
    assert await service.scores("ada@example.com") == {"score": 87_000}


async def test_every_operation_does_what_it_says(service: Receiving) -> None:
    """Set, add (from 0, within the range) and clear work, and score types are independent."""

    async def after(*items: dict[str, Any]) -> dict[str, int]:
        assert (await service.sender.push({"items": items})).counts == (len(items), 0, 0, 0)
        return await service.scores("ada@example.com")

    assert await after(item(value=40), item(score="fit", value=8.5)) == {"score": 40_000, "fit": 8500}
    assert await after(item("score.add", value=-7)) == {"score": 33_000, "fit": 8500}
    assert await after(item("score.add", value=1000)) == {"score": 100_000, "fit": 8500}
    assert await after(item("score.clear")) == {"fit": 8500}
    assert await after(item("score.add", value=3)) == {"score": 3000, "fit": 8500}
    assert await after(item("score.clear", value="whatever")) == {"fit": 8500}


async def test_contacts_are_described(service: Receiving) -> None:
    """An upsert stores fields; a later one replaces its fields, a blank clears, and null changes nothing."""
    everything = {
        "email": " Ada@Example.com ",
        "id": "p-1",
        "name": "Ada Lovelace",
        "company": "Analytical",
        "owner": "rep@example.com",
        "tags": ["vip", "beta", "vip"],
        "attributes": {"size": 5, "share": 0.25, "trial": True, "city": "London", "none": None},
    }
    await service.sender.push({"type": "contact.upsert", "contact": everything})
    contact = await service.contact("crm:p-1")
    assert contact is not None
    assert (contact.email, contact.name, contact.company, contact.owner) == (
        "Ada@Example.com",
        "Ada Lovelace",
        "Analytical",
        "rep@example.com",
    )
    assert contact.tags == ("vip", "beta")
    assert contact.attributes == {"size": 5, "share": 0.25, "trial": True, "city": "London", "none": None}

    service.clock.now += SECOND
    less: dict[str, Any] = {"id": "p-1", "name": None, "company": " ", "tags": [], "attributes": {"size": 6}}
    await service.sender.push({"type": "contact.upsert", "contact": less})
    contact = await service.contact("ada@example.com")
    assert contact is not None
    assert (contact.name, contact.company, contact.tags) == ("Ada Lovelace", None, ())
    assert contact.attributes["size"] == 6
    assert contact.attributes["city"] == "London"


async def test_ids_and_addresses_name_one_person(service: Receiving) -> None:
    """An id as a number or a text, with an address or alone, identifies the same contact."""
    first = item(value=10) | {"contact": {"email": "ada@example.com", "id": 1246965}}
    later = [item("score.add", value=1) | {"contact": {"id": contact_id}} for contact_id in ("1246965", 1246965)]
    assert (await service.sender.push({"items": [first, *later]})).counts == (3, 0, 0, 0)

    contact = await service.contact("ADA@example.com")
    assert contact is not None
    assert contact.ids == {SLUG: "1246965"}
    assert await service.scores("crm:1246965") == {"score": 12_000}

    other = item(value=10) | {"contact": {"email": "bob@example.com", "id": "7"}}
    torn = item(value=20) | {"contact": {"email": "ada@example.com", "id": "7"}}
    assert (await service.sender.push({"items": [other, torn]})).outcomes == [
        APPLIED,
        APPLIED,  # which shows that both keys are the same contact
    ]
    bob = await service.contact("bob@example.com")
    assert bob is not None
    assert bob.id == contact.id
    assert await service.scores("ada@example.com") == {"score": 20_000}


NUMBERS: list[tuple[str, int]] = [  # as written in the body
    ("87", 87_000),
    ("87.0", 87_000),
    ("8.7e1", 87_000),
    ("-0", 0),
    ('"87"', 87_000),  # numbers as strings
    ('" 87 "', 87_000),
    ('"87.0"', 87_000),
    ('"8.7E1"', 87_000),
    ('"+5"', 5000),
]


@on_both
async def test_numbers_are_read_exactly(service: Receiving) -> None:
    """Numbers, and numbers in strings, are read exactly."""
    items = [
        json.dumps(item(email=f"n{index}@example.com", value="HERE")).replace('"HERE"', written_so)
        for index, (written_so, _) in enumerate(NUMBERS)
    ]
    answer = await service.sender.push(f'{{"items": [{",".join(items)}]}}'.encode())

    assert answer.outcomes == [APPLIED] * len(NUMBERS)
    assert [await service.scores(f"n{index}@example.com") for index in range(len(NUMBERS))] == [
        {"score": thousandths} for _, thousandths in NUMBERS
    ]


LONG = "50." + "0" * 36 + "1"  # more digits than Python's default decimal precision
NAMELESS = '`contact` has neither `email` nor `id`: send one of them, such as "email": "ada@example.com"'
MISSING_TYPE = (
    "`type` is missing: send one of score.set, score.add, score.clear, activity, contact.upsert, contact.merge,"
    " contact.delete"
)
BAD: list[tuple[Any, str]] = [
    (item(value=None), "`value` is missing: send a number, for example 87"),
    (item(value=True), "true is not a number"),  # in Python a bool is an int
    (item(value=""), "the value is blank, so there is no number to take"),
    (item(value="NaN"), "`NaN` is not a number"),
    (item(value="0x10"), "`0x10` is not a number"),
    (item(value="1_000"), "`1_000` is not a number"),
    (item(value="8,5"), "`8,5` has a comma. Use a point: 8.5"),
    (item(value=[1]), "the value is not a number"),
    (item(value="1e10"), "`1e10` is larger than a score can be (1,000,000,000)"),
    (item(score="points", value=0.0001), "`0.0001` has more than three digits after the point"),
    (item(value=101), "Score runs from 0 to 100; 101 is outside it"),
    (item(value=-1), "Score runs from 0 to 100; -1 is outside it"),
    (item(value=8.5), "Score goes in steps of 1; use 8 or 9"),
    (item(score="fit", value=7.25), "Fit goes in steps of 0.5; use 7 or 7.5"),
    (item("score.add", value=0.5), "Score goes in steps of 1; 0.5 is not a multiple of that"),
    (item(score=None), "`score` is missing: name the score type, for example fit"),
    (item("score.clear", score="Fit"), "there is no score type `Fit`; existing: score, fit, points"),
    (item(email=None), NAMELESS),
    (item(contact={"email": "", "id": ""}), NAMELESS),
    ({"contact": {"email": "ada@example.com"}, "value": 9}, MISSING_TYPE),
    ({"value": 9}, f"{MISSING_TYPE}; `contact` is missing: send its `email`, or the `id` that it has in your system"),
    (item(email="ada"), "`ada` is not an e-mail address"),
    (item(email="ada@localhost"), "`ada@localhost` is not an e-mail address"),
    (
        item(contact={"email": "ada@example.com", "attributes": {f"a{n}": n for n in range(201)}}),
        "the item has 201 attributes, and a contact has at most 200",
    ),
    (item(id=""), "`id` is blank"),
    (
        item(occurred_at="yesterday"),
        "`occurred_at` 'yesterday' is not a time with a zone, like 2026-01-31T09:30:00Z",
    ),
    (
        item(occurred_at="2026-01-31T09:00:00"),
        "`occurred_at` '2026-01-31T09:00:00' is not a time with a zone, like 2026-01-31T09:30:00Z",
    ),
    (
        item(occurred_at="2026-W05-6T09:00:00Z"),  # valid ISO 8601, but nobody sends it
        "`occurred_at` '2026-W05-6T09:00:00Z' is not a time with a zone, like 2026-01-31T09:30:00Z",
    ),
    (
        item(occurred_at="2026-02-30T09:00:00Z"),
        "`occurred_at` '2026-02-30T09:00:00Z' is a time that does not exist",
    ),
    (item(occurred_at="1969-12-31T23:59:59Z"), "the time lies before 1970: check the sender's clock"),
    (item(occurred_at="0001-01-01T00:00:00+23:59"), "the time lies before 1970: check the sender's clock"),
    (item(occurred_at=written(START + DAY + 1)), "sent from the future: check the sender's clock"),
    (item(occurred_at="9999-12-31T23:59:59-23:59"), "sent from the future: check the sender's clock"),
    ("not an object", "the item must be a JSON object"),
    (None, "the item must be a JSON object"),
]


async def test_what_cannot_be_used_is_set_aside_and_harms_nobody(service: Receiving) -> None:
    """Valid items are applied; each invalid one is quarantined with its index and its reason."""
    items = [entry for bad, _ in BAD for entry in (bad, item("score.add", value=1))]
    answer = await service.sender.push({"items": items})

    assert answer.outcomes == [outcome for _, reason in BAD for outcome in (("quarantined", reason), APPLIED)]
    assert await service.scores("ada@example.com") == {"score": len(BAD) * 1000}
    (stored_delivery,) = await service.kept_deliveries()
    assert (
        stored_delivery.applied,
        stored_delivery.duplicate,
        stored_delivery.ignored,
        stored_delivery.quarantined,
    ) == (len(BAD), 0, 0, len(BAD))
    _, quarantined = await delivery(service.workspace, id=stored_delivery.id)
    assert [(item.position, item.reason) for item in quarantined] == [
        (index * 2, reason) for index, (_, reason) in enumerate(BAD)
    ]


@pytest.mark.parametrize(
    "bad",
    [
        {"type": "score.guess"},  # unknown type
        {"type": None},
        {"contact": None},
        {"contact": "ada@example.com"},
        {"contact": {"email": 5}},
        {"contact": {"email": "a" * 256}},
        {"contact": {"email": "ada@example.com", "id": True}},
        {"contact": {"email": "ada@example.com", "tags": "vip"}},
        {"contact": {"email": "ada@example.com", "tags": [""]}},
        {"contact": {"email": "ada@example.com", "attributes": []}},
        {"contact": {"email": "ada@example.com", "attributes": {"a": "x" * 10_000}}},
        {"contact": {"email": "ada@example.com", "attributes": {"": 1}}},
        {"id": True},
        {"id": ""},
        {"id": "e" * 256},
        {"occurred_at": 1_769_850_000},
        {"reason": "r" * 1001},
    ],
    ids=lambda bad: repr(bad)[:60],
)
def test_the_wrong_shape_is_named(bad: dict[str, Any]) -> None:
    """The reason begins with the path of the invalid part."""
    (read_item,) = read({"items": [item() | bad]})
    (name,) = bad

    assert isinstance(read_item, Unusable)
    assert read_item.reason.startswith(f"`{name}")
    assert json.loads(read_item.raw) == item() | bad


@pytest.mark.parametrize("written_so", [LONG, f'"{LONG}"'], ids=["number", "string"])
async def test_digits_beyond_any_arithmetic_are_not_rounded_away(service: Receiving, written_so: str) -> None:
    """A value with a digit far behind the decimal point is not an integer."""
    body = json.dumps(item(value="HERE")).replace('"HERE"', written_so).encode()

    assert (await service.sender.push(body)).outcomes == [
        ("quarantined", f"`{LONG}` has more than three digits after the point")
    ]


@pytest.mark.parametrize("value", [1000, 1000.5], ids=["whole", "with a point"])
@on_both
async def test_what_is_set_aside_is_kept_as_it_came(service: Receiving, value: float) -> None:
    """A quarantined item is stored as it was sent, with its numbers, for inspection and replay."""
    bad = item(value=value) | {"contact": {"email": "ada@example.com", "attributes": {"share": value}}}
    await service.sender.push(bad)

    (stored_delivery,) = await service.kept_deliveries()
    _, (quarantined,) = await delivery(service.workspace, id=stored_delivery.id)
    assert json.loads(quarantined.item) == bad


@on_both
async def test_one_bad_text_never_rejects_its_neighbours(service: Receiving) -> None:
    """Items with half an emoji, NUL, NaN, deep nesting, duplicate keys or endless digits are quarantined alone."""
    bad = {
        3: (r'{"type":"score.set","contact":{"id":"7","name":"Ada \ud83d"},"score":"score","value":5}', "half of"),
        200: (r'{"type":"score.set","contact":{"id":"a\u0000b"},"score":"score","value":5}', "NUL"),
        500: ('{"type":"score.set","contact":{"id":"7"},"score":"score","value":NaN}', "NaN"),
        501: ('{"type":"score.set","contact":{"id":"7"},"id":' + "[" * 5000 + "]" * 5000 + "}", "nested"),
        700: ('{"type":"score.set","contact":{"id":"7","id":"8"},"score":"score","value":5}', "twice"),
        999: ('{"type":"score.set","contact":{"id":"7"},"score":"score","value":' + "1" * 70 + "}", "digits"),
    }  # fmt: skip  # the item and its reason
    items = [item(contact={"email": f"p{place}@example.com"}) for place in range(1000)]
    texts = [bad[place][0] if place in bad else encoded(item).decode() for place, item in enumerate(items)]
    answer = await service.sender.push(f'{{"items": [{", ".join(texts)}]}}'.encode())

    assert answer.counts == (1000 - len(bad), 0, 0, len(bad))
    reasons = {place: reason for place, (status, reason) in enumerate(answer.outcomes) if status == "quarantined"}
    assert reasons.keys() == bad.keys()
    assert all(bad[place][1] in (reason or "") for place, reason in reasons.items())
    stored_delivery = (await service.kept_deliveries())[0]
    _, quarantined = await delivery(service.workspace, id=stored_delivery.id)
    assert {item.position: item.item for item in quarantined} == {place: text for place, (text, _) in bad.items()}
    assert {item.position: item.reason for item in quarantined} == reasons
    assert (await service.scores("p998@example.com"))["score"] == 50_000
    assert await service.contact("crm:7") is None

    again = await replay(service.workspace, id=stored_delivery.id, by="U0ADMIN", now=service.clock())
    assert (again.count(Status.DUPLICATE), again.count(Status.QUARANTINED)) == (1000 - len(bad), len(bad))
    assert (await verify_next(service.workspace, most=2000)).differences == ()


async def test_attributes_stay_json(service: Receiving) -> None:
    """A number too large for a float is not stored as Infinity, which is not valid JSON."""
    body = json.dumps(item("contact.upsert") | {"contact": {"email": "ada@example.com", "attributes": {"size": 7}}})
    answer = await service.sender.push(body.encode().replace(b"7}", b"7e400}"))

    assert answer.status == 200
    contact = await service.contact("ada@example.com")
    json.dumps(contact.attributes if contact else {}, allow_nan=False)


@on_both
async def test_a_thousand_items_are_taken(service: Receiving) -> None:
    """A batch of the maximum size is one delivery in order; of equal times the last item wins."""
    at = written(START - SECOND)
    items = [item(value=index % 100, occurred_at=at) for index in range(1000)]
    answer = await service.sender.push({"items": items})

    assert answer.counts == (1000, 0, 0, 0)
    assert len(answer.outcomes) == 1000
    assert await service.scores("ada@example.com") == {"score": 99_000}


async def test_no_items_are_no_mistake(service: Receiving) -> None:
    """An empty list is a valid delivery without items."""
    answer = await service.sender.push({"items": []})

    assert answer.document == {"applied": 0, "duplicate": 0, "ignored": 0, "quarantined": 0, "items": []}


async def test_misspelled_fields_are_named_in_the_answer(service: Receiving) -> None:
    """The answer lists the fields that are not read, in the order of the body; without any it has no such list."""
    misspelled = item(value=9) | {"occured_at": "2026-01-31T09:00:00Z"}
    answer = await service.sender.push(misspelled)

    assert (answer.outcomes, answer.document["ignored_fields"]) == ([APPLIED], ["occured_at"])
    assert "ignored_fields" not in (await service.sender.push(item(value=8))).document


@on_both
async def test_late_items_apply_and_change_only_what_they_should(service: Receiving) -> None:
    """A late item is recorded at its own time, and is counted as applied."""
    hour = 3600 * SECOND
    await service.sender.push(item(value=50, occurred_at=written(START - 3 * hour)))
    await service.sender.push(item("score.add", value=5, occurred_at=written(START - hour)))
    answer = await service.sender.push(
        {
            "items": [
                item(value=10, occurred_at=written(START - 2 * hour)),  # between the two
                item(value=99, occurred_at=written(START - 4 * hour, zone="+00:00")),  # before both
            ]
        }
    )

    assert answer.outcomes == [APPLIED, APPLIED]
    assert await service.scores("ada@example.com") == {"score": 15_000}
    assert await service.history("ada@example.com") == [
        ("add", 5000, START - hour),
        ("set", 10_000, START - 2 * hour),
        ("set", 50_000, START - 3 * hour),
        ("set", 99_000, START - 4 * hour),
    ]


TIMES = [
    ("2026-01-31T09:30:00.123456+01:00", START - 1800 * SECOND + 123_456),
    ("2026-01-31t08:30:00z", START - 1800 * SECOND),
    ("2026-01-31 03:00:00-05:30", START - 1800 * SECOND),
    ("2026-01-31T08:30:00.1234569Z", START - 1800 * SECOND + 123_456),  # truncated, not rounded
    ("2016-12-31T23:59:60Z", 1_483_228_799_999_999),  # a leap second: the end of the second before
    ("1970-01-01T00:00:00Z", 0),
]


async def test_times_are_understood_to_the_microsecond(service: Receiving) -> None:
    """Different notations of an instant are read as the same time, to the microsecond."""
    items = [item(email=f"t{index}@example.com", occurred_at=text) for index, (text, _) in enumerate(TIMES)]

    assert (await service.sender.push({"items": items})).counts == (len(TIMES), 0, 0, 0)
    for index, (_, at) in enumerate(TIMES):
        assert await service.history(f"t{index}@example.com") == [("set", 50_000, at)]


@pytest.mark.parametrize("ahead", [1, SECOND, DAY])
async def test_a_fast_clock_does_not_win(service: Receiving, ahead: int) -> None:
    """A time up to a day ahead becomes the time of receipt, and a later repeat is recognized."""
    fast = item(value=70, occurred_at=written(START + ahead))

    assert (await service.sender.push(fast, delivery="fast")).outcomes == [APPLIED]
    assert await service.history("ada@example.com") == [("set", 70_000, START)]
    service.clock.now += 60 * SECOND
    assert (await service.sender.push(fast, delivery="fast")).outcomes == [DUPLICATE]
    assert (await service.sender.push(item(value=71), delivery="after")).outcomes == [APPLIED]
    assert await service.scores("ada@example.com") == {"score": 71_000}


async def test_items_without_a_time_happen_in_their_order(service: Receiving) -> None:
    """Items without a time have the time of receipt, and are ordered by their index."""
    await service.sender.push({"items": [item(value=value) for value in (3, 1, 2)]})

    assert await service.history("ada@example.com") == [
        ("set", 2000, START + 2),
        ("set", 1000, START + 1),
        ("set", 3000, START),
    ]


@on_both
async def test_a_repeat_changes_nothing(service: Receiving) -> None:
    """The same delivery, later or signed again, is a duplicate as a whole."""
    document = {
        "items": [
            item("score.add", value=5),
            item("score.add", value=6, occurred_at=written(START - DAY)),
            item("score.add", value=7, id="own"),
            item("score.clear", email="bob@example.com"),
            item("contact.upsert", email="eve@example.com"),
        ]
    }
    assert (await service.sender.push(document, delivery="d")).counts == (5, 0, 0, 0)
    before = await service.history("ada@example.com")
    for later in (0, 3600 * SECOND):
        service.clock.now += later
        answer = await service.sender.push(document, delivery="d")

        assert answer.counts == (0, 5, 0, 0)
        assert answer.outcomes == [DUPLICATE] * 5
    assert await service.history("ada@example.com") == before
    assert await service.scores("ada@example.com") == {"score": 18_000}


async def test_items_without_an_id_are_told_apart_by_delivery_and_place(service: Receiving) -> None:
    """Without an id equal items are two facts, in one delivery or two; with an id they are one fact."""
    plus = item("score.add", value=1)
    assert (await service.sender.push({"items": [plus, plus]}, delivery="one")).counts == (2, 0, 0, 0)
    assert (await service.sender.push({"items": [plus, plus, plus]}, delivery="one")).counts == (1, 2, 0, 0)
    assert (await service.sender.push(plus, delivery="two")).counts == (1, 0, 0, 0)
    assert (await service.sender.push({"items": [plus]}, delivery="two")).counts == (0, 1, 0, 0)
    assert (await service.sender.push(plus | {"id": "one/0002"}, delivery="three")).counts == (0, 1, 0, 0)
    assert (await service.sender.push(plus | {"id": "own"}, delivery="four")).counts == (1, 0, 0, 0)
    assert (await service.sender.push(plus | {"id": "own"}, delivery="five")).counts == (0, 1, 0, 0)
    assert await service.scores("ada@example.com") == {"score": 5000}


CHANGES: list[dict[str, Any]] = [
    {"value": 51},
    {"type": "score.add"},
    {"contact": {"email": "bob@example.com"}},
    {"occurred_at": "2026-01-30T08:00:00.000001Z"},
    {"reason": "another"},
    {"contact": {"email": "ada@example.com", "name": "Ada"}},
]


async def test_the_same_id_with_other_content_is_a_conflict(service: Receiving) -> None:
    """A conflict is quarantined and reported; its neighbors apply."""
    first = item(value=50, id="e1", occurred_at="2026-01-30T08:00:00Z", reason="because")
    await service.sender.push(first)
    await service.sender.push(item(email="bob@example.com", value=7))
    answer = await service.sender.push(
        {"items": [first, *(first | change for change in CHANGES), item(score="fit", value=5)]}
    )

    assert answer.outcomes == [DUPLICATE, *[("quarantined", "conflict")] * len(CHANGES), APPLIED]
    assert await service.scores("ada@example.com") == {"score": 50_000, "fit": 5000}
    assert await service.scores("bob@example.com") == {"score": 7000}
    contact = await service.contact("ada@example.com")
    assert contact is not None
    assert contact.name is None


async def test_nobody_is_made_for_a_conflict(service: Receiving) -> None:
    """A conflict for an unknown contact creates no contact."""
    await service.sender.push(item(id="e1"))

    assert (await service.sender.push(item(id="e1", email="bob@example.com"))).outcomes == [("quarantined", "conflict")]
    assert await service.contact("bob@example.com") is None


async def test_an_id_may_be_a_number(service: Receiving) -> None:
    """An item's id is equal as a number and as a text; spaces around a contact's id are stripped."""
    first, again = item(id=7, contact={"id": " 12 "}), item(id="7", contact={"id": 12})

    assert (await service.sender.push(first)).counts == (1, 0, 0, 0)
    assert (await service.sender.push(again)).counts == (0, 1, 0, 0)
    assert await service.scores("crm:12") == {"score": 50_000}


async def test_an_id_may_be_used_once_for_each_score_type(service: Receiving) -> None:
    """A fact is unique by source, key and score type; fields have no score type."""
    items = [item(id="e"), item(id="e", score="fit", value=5), item("contact.upsert", id="e")]

    assert (await service.sender.push({"items": items})).counts == (3, 0, 0, 0)


async def test_a_conflict_inside_one_delivery_is_told_too(service: Receiving) -> None:
    """Of two contradictory items in one delivery the first applies."""
    answer = await service.sender.push({"items": [item(value=1, id="e"), item(value=2, id="e")]})

    assert answer.outcomes == [APPLIED, ("quarantined", "conflict")]
    assert await service.scores("ada@example.com") == {"score": 1000}


@on_both
async def test_concurrent_repeats_apply_once(service: Receiving) -> None:
    """Of twenty simultaneous copies of a delivery one applies, and nineteen are repeats."""
    document = {"items": [item("score.add", value=1), item("score.add", email="bob@example.com", value=1)]}
    answers = await asyncio.gather(*(service.sender.push(document, delivery="same") for _ in range(20)))

    assert sorted(answer.counts for answer in answers) == [(0, 2, 0, 0)] * 19 + [(2, 0, 0, 0)]
    assert await service.scores("ada@example.com") == {"score": 1000}
    assert await service.scores("bob@example.com") == {"score": 1000}


@on_both
async def test_concurrent_senders_lose_nothing(service: Receiving) -> None:
    """Forty simultaneous deliveries to the same five contacts are all recorded."""
    people = [f"p{index}@example.com" for index in range(5)]

    async def push(number: int) -> tuple[int, int, int, int]:
        rotated = people[number % 5 :] + people[: number % 5]  # each delivery names the contacts in another order
        items = [item("score.add", email=email, score="points", value=number) for email in rotated]
        return (await service.sender.push({"items": items}, delivery=f"c{number}")).counts

    assert set(await asyncio.gather(*(push(number) for number in range(40)))) == {(5, 0, 0, 0)}
    for email in people:
        assert await service.scores(email) == {"points": sum(range(40)) * 1000}


@on_both
async def test_deliveries_are_listed_with_their_counts(service: Receiving) -> None:
    """Each authentic delivery is listed, including repeats, newest first."""
    await service.sender.push(item(), delivery="first")
    service.clock.now += SECOND
    await service.sender.push({"items": [item(), item(value=-1)]}, delivery="second")
    await service.sender.push(item(), delivery="first")

    assert [
        (
            stored_delivery.source,
            stored_delivery.key,
            stored_delivery.received_at,
            stored_delivery.applied,
            stored_delivery.duplicate,
            stored_delivery.ignored,
            stored_delivery.quarantined,
        )
        for stored_delivery in await service.kept_deliveries()
    ] == [
        (SLUG, "first", START + SECOND, 0, 1, 0, 0),
        (SLUG, "second", START + SECOND, 1, 0, 0, 1),
        (SLUG, "first", START, 1, 0, 0, 0),
    ]


async def test_every_delivery_shows_what_was_set_aside_of_it(service: Receiving) -> None:
    """A repeat of an invalid item is counted and shown again, with its delivery."""
    for value in (-1, -1, -2):
        answer = await service.sender.push(item(value=value, id="e"))
        assert answer.counts == (0, 0, 0, 1)

    asides = [
        await delivery(service.workspace, id=stored_delivery.id) for stored_delivery in await service.kept_deliveries()
    ]
    assert [[json.loads(item.item)["value"] for item in items] for _, items in asides] == [[-2], [-1], [-1]]


async def test_either_secret_fits_while_rotating(service: Receiving) -> None:
    """During a rotation a source accepts signatures with either secret."""
    secrets = [SECRET, OTHER_SECRET]
    await add_source(service.workspace, slug="rotating", provider="generic", secrets=secrets, by="U0ADMIN", now=START)
    for secret in secrets:
        sender = service.sending(slug="rotating", secret=secret)
        assert (await sender.push(item("score.add", value=1), delivery=secret)).counts == (1, 0, 0, 0)

    assert await service.scores("ada@example.com") == {"score": 2000}
    assert (await service.sending(secret=OTHER_SECRET).push(item())).status == 401  # the other source has one secret


async def test_a_signature_may_stand_in_any_of_several_lines(service: Receiving) -> None:
    """Signatures may be in one header line or several; a request with only invalid ones is refused."""
    body = encoded(item())
    own, other = (signed(body, delivery="d", at=START, secret=secret) for secret in (SECRET, OTHER_SECRET))
    kind = {"content-type": "application/json"}
    twice = CIMultiDict([*(kind | other).items(), ("webhook-signature", own["webhook-signature"])])
    wrong = CIMultiDict([*(kind | other).items(), ("webhook-signature", other["webhook-signature"])])

    assert (await service.sender.post(body, headers=wrong)).status == 401
    assert (await service.sender.post(body, headers=twice)).counts == (1, 0, 0, 0)


async def test_workspaces_and_sources_are_apart(service: Receiving) -> None:
    """Equal addresses and ids in another workspace are other facts of another contact."""
    other = await furnish(service.clock, secrets=(OTHER_SECRET,), team="T0999")
    empty = await add_workspace("T0555", name="Empty", by="U0ADMIN", now=START)
    await add_source(service.workspace, slug="billing", provider="generic", secrets=[SECRET], by="U0ADMIN", now=START)
    other_sender = service.sending(team="T0999", secret=OTHER_SECRET)
    document = item(value=10, id="e") | {"contact": {"email": "ada@example.com", "id": "7"}}

    async def sent(sender: Sender, value: int) -> tuple[int, int, int, int]:
        return (await sender.push(document | {"value": value}, delivery="d")).counts

    assert await sent(service.sender, 10) == (1, 0, 0, 0)
    assert await sent(other_sender, 90) == (1, 0, 0, 0)
    assert await sent(service.sending(slug="billing"), 20) == (1, 0, 0, 0)
    assert await service.scores("ada@example.com") == {"score": 20_000}
    own_contact, other_cards = await service.contact("ada@example.com"), (await cards(other))
    assert own_contact is not None
    assert own_contact.ids == {SLUG: "7", "billing": "7"}
    assert other_cards == [("ada@example.com", 90_000)]
    assert (await service.sending(team="T0999").push(item())).status == 401
    assert (await service.sending(team=empty.team).push(item())).status == 404


async def test_batches_over_the_bound_are_refused_at_once(service: Receiving, database_url: str) -> None:
    """Batches beyond the limit are answered 503 at once; waiting batches and single pushes are recorded."""
    await add_source(service.workspace, slug="form", provider="generic", secrets=[SECRET], by="U0ADMIN", now=START)
    batch = {"items": [item(id=f"k{number}", email=f"p{number}@example.com") for number in range(1_000)]}
    async with raw.write_locked(database_url):
        pushes = [asyncio.create_task(service.sender.push(batch)) for _ in range(14)]
        refused, waiting = await asyncio.wait(pushes, return_when=asyncio.FIRST_COMPLETED)
        for push in refused:
            check_problem(push.result(), 503, "Service Unavailable", detail=True)
            assert push.result().headers["Retry-After"] == "5"
        single = asyncio.create_task(service.sending(slug="form").push(item(email="zoe@example.com")))
        while len(waiting) > 11:  # one is being recorded, and ten wait
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert [push.result().status for push in done] == [503] * len(done)
        assert (await service.sender.push(b"[" * 40_000)).status == 503  # a large body is not even read
        assert not single.done()

    assert (await single).counts == (1, 0, 0, 0)
    counts = [(await push).counts for push in waiting]
    assert sorted(counts) == [(0, 1_000, 0, 0)] * 10 + [(1_000, 0, 0, 0)]


async def cards(workspace: Workspace) -> list[tuple[str | None, int]]:
    """Return the address and the first score of every contact of a workspace."""
    _, cards = await top(workspace, score=None, count=10, now=START)
    return [(card.contact.email, card.standings[0].value) for card in cards]


@on_both
async def test_a_sender_that_hangs_up_keeps_nothing_waiting(service: Receiving) -> None:
    """A body that never ends is no delivery, and the next one is accepted."""
    port = int(service.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /webhooks/T0123/crm HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    del reader

    assert (await service.sender.push(item())).counts == (1, 0, 0, 0)
    assert len(await service.kept_deliveries()) == 1


async def test_deliveries_wait_while_the_secret_of_their_source_cannot_be_opened(
    service: Receiving, database_url: str
) -> None:
    """With another key the answer is 503 with Retry-After, signed or not; when the key is back, they apply."""
    (row,) = await raw.rows(database_url, "SELECT secrets FROM sources")
    other = Vault([Fernet.generate_key().decode()]).seal("[]")
    await raw.rows(database_url, "UPDATE sources SET secrets = $1", other)

    answers = [
        await service.sender.push(item(value=5, id="a")),
        await service.sending(secret=OTHER_SECRET).push(item()),
    ]

    for answer in answers:
        check_problem(answer, 503, "Service Unavailable")
        assert answer.headers["Retry-After"] == "300"
    assert await service.kept_deliveries() == []
    await raw.rows(database_url, "UPDATE sources SET secrets = $1", row["secrets"])
    assert (await service.sender.push(item(value=5, id="a"))).counts == (1, 0, 0, 0)
