"""Properties of sender input: generated variants of reported problems give the right scores."""

import random
import string
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.domain.contacts import id_key
from storage.domain.errors import Refusal
from storage.domain.facts import Ignored, Item, Unusable, stamp
from storage.ledger.former_keys import SAME_TIME
from storage.scoring.definitions import score_type
from storage.scoring.drafts import apply, create_draft
from storage.sources.config import set_source
from tests.conftest import on_both
from tests.webhooks.events import EVENTS, SOAP
from tests.webhooks.receiving import Receiving
from tests.webhooks.sender import START
from tests.webhooks.test_providers import TEAM, items, reference_to, setting, source
from tests.webhooks.test_reported import soap
from tests.webhooks.test_senders import connect, encoded, send
from webhooks.read.parse_delivery import dry_run, load_request_file
from webhooks.read.xml_bodies import parse_xml
from webhooks.source_settings import SourceOptions, configure

SENT = "2025-12-31T23:59:00+00:00"
RECEIVED = 1_767_225_540_400_000  # in the second in which it was sent: its time is cut to the second


def points(old: int, new: int) -> dict[str, Any]:
    """Return a change of points, as Mautic sends it."""
    return {"contact": {"id": 52, "points": new}, "points": {"old_points": old, "new_points": new}, "timestamp": SENT}


def fold(*deliveries: list[dict[str, Any]]) -> int:
    """Return the last value in the order in which the values are folded."""
    read = [item for events in deliveries for item in setting(items("mautic", {"mautic.lead_points_change": events}))]
    folded = sorted(
        read, key=lambda item: (stamp(item.occurred_at, received=RECEIVED, place=item.place), item.key.encode())
    )
    return folded[-1].amount // 1000


VALUES = st.lists(st.integers(-1_000_000, 1_000_000), min_size=3, max_size=8, unique=True)


# --- A: several changes in one second


@given(values=VALUES, falls=st.booleans(), seed=st.integers(0, 1000))
def test_changes_of_one_second_fold_by_their_values(values: list[int], falls: bool, seed: int) -> None:
    """Several rises, or several falls, end at the last value, however they are distributed and mixed."""
    steps = sorted(values, reverse=falls)
    events = [points(old, new) for old, new in pairwise(steps)]
    dice = random.Random(seed)
    dice.shuffle(events)
    cut = dice.randint(0, len(events))

    assert fold(events) == fold(*([event] for event in events)) == fold(events[:cut], events[cut:]) == steps[-1]


@given(values=VALUES, seed=st.integers(0, 1000))
def test_a_chain_inside_one_delivery_decides(values: list[int], seed: int) -> None:
    """Within one delivery each change starts at the previous value, so any order ends at the last value."""
    events = [points(old, new) for old, new in pairwise(values)]
    mixed = random.Random(seed).sample(events, k=len(events))

    assert fold(events) == fold(events[::-1]) == fold(mixed) == fold([*mixed, mixed[0]]) == values[-1]


@given(values=st.lists(st.integers(0, 3), min_size=2, max_size=9))
def test_a_chain_that_comes_back_is_followed_in_the_order_of_the_delivery(values: list[int]) -> None:
    """If values repeat, several chains are possible, and the order of the delivery decides."""
    events = [points(old, new) for old, new in pairwise(values) if old != new]
    keys = [(event["points"]["old_points"], event["points"]["new_points"]) for event in events]
    if events and len(set(keys)) == len(keys):  # the same change twice in a second is one event
        assert fold(events) == values[-1]


@given(values=st.lists(st.integers(0, 50), min_size=1, max_size=12))
def test_of_one_millisecond_the_later_place_wins(values: list[int]) -> None:
    """Of several HubSpot values with one time the last in the delivery wins; repeats keep their position."""
    events = [{**EVENTS["hubspot"]["contact.propertyChange"][0][0], "propertyValue": str(value)} for value in values]
    read = setting(items("hubspot", events))
    order = {
        item.key: (stamp(item.occurred_at, received=RECEIVED + 10**9, place=item.place), item.key) for item in read
    }

    assert [item.amount for item in read] == [value * 1000 for value in values]
    last = list(dict.fromkeys(values))[-1]
    assert max(order, key=lambda key: order[key]) == next(item.key for item in read if item.amount == last * 1000)
    assert {item.place for item in read} == set(range(len(set(values))))


# --- B: an unusable address beside a usable id

JUNK = st.sampled_from(
    ["none", "n/a", "-", "ada at example.com", "ada@", "@example.com", "ada@localhost", "a@b@c.example", "unknown",
     "x" * 300 + "@example.com", "ada@exa mple.com", 42, "ada\ufffd@example.com"]
)  # fmt: skip  # what people and programs write in place of an address
BOTH: dict[str, Any] = {
    "intercom": lambda id, email: {
        "topic": "contact.user.updated", "id": "n1",
        "data": {"item": {"id": id, "email": email, "custom_attributes": {"lead_score": 5}}},
    },
    "mautic": lambda id, email: {
        "mautic.lead_points_change": [
            {**points(1, 5), "contact": {"id": id, "points": 5, "fields": {"core": {"email": {"value": email}}}}}
        ]
    },
    "pipedrive": lambda id, email: {
        "meta": {"action": "change", "entity": "person", "entity_id": id, "id": "m1"},
        "data": {"id": id, "emails": [{"value": email, "primary": True}], "lead_score": 5},
        "previous": {"lead_score": 1},
    },
    "segment": lambda id, email: {
        "type": "identify", "userId": id, "messageId": "s1", "traits": {"email": email, "lead_score": 5},
    },
    "close": lambda id, email: {
        "event": {"id": "e1", "object_type": "contact", "object_id": id, "action": "updated",
                  "changed_fields": ["lead_score"], "data": {"lead_score": 5, "emails": [{"email": email}]}}
    },
    "hubspot": lambda id, email: {"vid": id, "properties": {"email": email, "lead_score": "5"}},
    "zapier": lambda id, email: {"id": id, "email": email, "lead_score": 5},
    "activecampaign": lambda id, email: {"contact": {"id": id, "email": email, "lead_score": 5}},
    "generic": lambda id, email: {
        "type": "score.set", "contact": {"id": id, "email": email}, "score": "lead_score", "value": 5
    },
    "custom": lambda id, email: {"id": id, "email": email, "score": 5},
}  # fmt: skip  # a body a sender
MAPPING = {"email": "item.email", "contact_id": "item.id", "property": "'lead_score'", "value": "item.score"}


@pytest.mark.parametrize("provider", BOTH)
@given(junk=JUNK)
def test_an_unusable_address_is_left_out_beside_an_id(provider: str, junk: object) -> None:
    """With an id, an unusable address is dropped with a note, and a usable address is kept."""
    if provider == "generic" and not (isinstance(junk, str) and len(junk) <= 255):
        return  # the service's own format has a schema, and its sender can correct mistakes
    more: dict[str, Any] = {"mapping": MAPPING} if provider == "custom" else {}
    (item,) = setting(items(provider, BOTH[provider]("7", junk), **more))
    (whole,) = setting(items(provider, BOTH[provider]("7", "ada@example.com"), **more))

    assert (item.contact, item.amount) == (reference_to("7"), 5000)
    assert item.note is not None
    assert item.note.endswith("is not an e-mail address and was left out")
    assert "email" not in item.fields
    assert whole.note is None


def test_a_usable_address_is_taken_before_one_that_is_not() -> None:
    """The first usable address of several counts, and the primary one before others."""
    body = BOTH["pipedrive"]("7", "p3 at example.com")
    body["data"]["emails"] += [{"value": "ada@example.com"}, {"value": "other@example.com"}]
    (item,) = setting(items("pipedrive", body))

    assert item.contact.email == "ada@example.com"  # type: ignore[union-attr]  # it is a reference


def test_a_trial_shows_the_notes() -> None:
    """`source try` shows the notes that the delivery would get."""
    body = encoded({"id": 7, "email": "n/a", "lead_score": 5, "updated_at": "soon"})
    raw = load_request_file(body, kind="application/json")

    assert dry_run(source("zapier"), raw, key="d").warnings == [
        "`n/a` is not an e-mail address and was left out; `soon` is not a time, like 2026-01-31T09:30:00Z;"
        " the time of receipt is used"
    ]


@given(junk=JUNK)
def test_an_unusable_address_alone_identifies_no_contact(junk: object) -> None:
    """Without an id the item is quarantined."""
    (item,) = items("zapier", {"email": junk, "lead_score": 5})
    assert isinstance(item, Unusable) or (isinstance(item, Item) and item.note is None)


# --- times that cannot be read


@given(time=st.sampled_from(["soon", "0000-00-00 00:00:00", "31.12.2025", "2025-13-01", "-", "9" * 25]))
def test_a_time_that_cannot_be_read_is_replaced_by_the_receipt(time: str) -> None:
    """An unreadable time becomes the time of receipt, and the item's key contains the text of the time."""
    for provider, body in (
        ("zapier", {"email": "ada@example.com", "lead_score": 5, "updated_at": time}),
        ("hubspot", [{**EVENTS["hubspot"]["contact.propertyChange"][0][0], "occurredAt": time}]),
        ("mautic", {"mautic.lead_points_change": [{**points(1, 5), "timestamp": time}]}),
    ):
        (item,) = setting(items(provider, body))
        assert (item.occurred_at, item.amount) == (None, 5000)
        assert item.note is not None
        assert "the time of receipt is used" in item.note
        assert time in item.key


# --- P: a record's id is not the event's id

UPDATES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from(["lead_score", "score"])), min_size=1, max_size=8
)


@settings(max_examples=60)
@given(
    updates=UPDATES, provider=st.sampled_from(["zapier", "n8n", "make", "freshsales", "zoho", "marketo", "customerio"])
)
def test_a_record_can_change_as_often_as_it_likes(updates: list[tuple[int, int, str]], provider: str) -> None:
    """Without an event id, record, property, time and value form the key, so repeats are recognized."""
    keys = []
    for second, value, name in updates:
        body = {"id": 12345, "email": "z1@example.com", name: value, "updated_at": f"2025-12-31T23:00:0{second}Z"}
        (item,) = setting(items(provider, body))
        keys.append((item.key, item.score))

    assert [keys.index(key) for key in keys] == [updates.index(update) for update in updates]


# --- S: characters that XML does not allow

FORBIDDEN = st.sampled_from(
    ["&#x1F;", "&#x0B;", "&#0;", "&#xFFFE;", "&#xD83D;", "&#99999999999;", "\x0b", "\x1f", "\x00", "\ufffe", "&",
     "& co", "&nbsp;", "&x", "AT&T"]
)  # fmt: skip  # as references, as characters, and as text that looks like a reference


@given(forbidden=FORBIDDEN, name=st.sampled_from(["LastName", "Title", "Company"]), first=st.booleans())
def test_a_forbidden_character_is_replaced(forbidden: str, name: str, first: bool) -> None:
    """An invalid character is replaced, and both notifications of the message are read."""
    bad = ("04l1", {"Id": "003A", "lead_score": "70.0", name: f"a{forbidden}b"})
    good = ("04l2", {"Id": "003B", "lead_score": "71.0", "Name": "Ada &amp; Bob <![CDATA[& Co]]>"})
    body = soap([bad, good] if first else [good, bad]).replace(b"00D000000000001EAA", b"00D1I000003qqqE")
    read = {item.contact.id: item for item in setting(items("salesforce", body))}  # type: ignore[union-attr]  # references

    assert {id: item.amount for id, item in read.items()} == {"003A": 70_000, "003B": 71_000}
    assert read["003B"].fields == {"name": "Ada & Bob & Co"}


def test_bytes_of_another_encoding_are_replaced() -> None:
    """Invalid bytes do not lose the rest of the body, whatever encoding is declared."""
    assert parse_xml(b"<a><b>x\xe9y</b><c>1</c></a>") == {"a": {"b": "x\ufffdy", "c": "1"}}
    declared = b"<?xml version='1.0' encoding='ISO-8859-1'?><a><b>x\xe9&#1;</b></a>"
    assert parse_xml(declared) == {"a": {"b": "xé\ufffd"}}


# --- T: Salesforce's two spellings of an id

PAIRS = ["0031I0000081tbPQAQ", "0031I0000081tb0QAA", "003000000000001AAA", "0035500000VpHGfAAN", "00Q1I00000abcDEUAY"]


@pytest.mark.parametrize("id", PAIRS)
def test_both_spellings_are_one_id(id: str) -> None:
    """The case-sensitive id of fifteen characters and the form with eighteen are one id."""
    assert id_key(id[:15]) == id_key(id) == id


@given(tail=st.text(string.ascii_letters + string.digits, min_size=12, max_size=12))
def test_other_capitals_are_another_id(tail: str) -> None:
    """The three last characters tell ids apart that differ only in case; other ids stay unchanged."""
    id, other = f"003{tail}", f"003{tail.swapcase()}"

    assert id_key(id)[:15] == id
    assert id_key(id_key(id)) == id_key(id)
    assert (id_key(id).casefold() == id_key(other).casefold()) == (id == other)
    for key in (f"123{tail}", id[:14], f"{id}A", f"42-{tail}"):
        assert id_key(key) == key


# --- missing values in Salesforce, forms and Freshsales


@pytest.mark.parametrize(
    "record",
    ["<sObject><Id>0031</Id></sObject>", "<sObject/>", "", "<sObject><Id>0031</Id><lead_score></lead_score></sObject>"],
)
def test_an_emptied_record_is_ignored(record: str) -> None:
    """A record with only its id was deleted meanwhile; it is reported as ignored and not quarantined."""
    start, end = SOAP.index("<sObject"), SOAP.index("</Notification>")
    (item,) = items("salesforce", SOAP[:start] + record + SOAP[end:])

    assert isinstance(item, Ignored)
    assert item.reason.startswith("its record is empty")


def test_a_notification_that_has_other_content_when_it_is_repeated_is_another_fact() -> None:
    """A retry of Salesforce with other content is another fact, because Salesforce reads the record again."""
    first, same, other = (
        setting(items("salesforce", SOAP.replace("83.0", value)))[0] for value in ("83.0", "83.0", "84.0")
    )
    assert first.key == same.key != other.key
    assert first.former_keys == other.former_keys == ("04l1",)


def test_a_blank_in_a_form_says_nothing() -> None:
    """A blank form field means nothing, because forms have no null; a blank in JSON is no number."""
    (blank,) = items("zoho", b"email=ada%40example.com&lead_score=", kind="application/x-www-form-urlencoded")
    assert isinstance(blank, Ignored)
    (wrong,) = items("zoho", {"email": "ada@example.com", "lead_score": ""})
    assert isinstance(wrong, Unusable)


@pytest.mark.parametrize("name", ["lead_score", "points", "custom_field.cf_fit"])
def test_custom_fields_of_freshsales_are_read(name: str) -> None:
    """Custom fields are read by their own name or the full name, mapped or not."""
    field = name.rpartition(".")[2]
    body = {"contact": {"email": "ada@example.com", "custom_field": {field: 72}}, "cf_other": None}
    (item,) = setting(items("freshsales", body, map={"points": "lead_score", "custom_field.cf_fit": "lead_score"}))

    assert (item.score, item.amount) == ("lead_score", 72_000)


# --- numbers


@given(whole=st.integers(-1000, 1000), digits=st.text("0123456789", min_size=4, max_size=12), typed=st.booleans())
def test_more_digits_are_rounded_half_even(whole: int, digits: str, typed: bool) -> None:
    """The digits of a CRM's numbers are rounded half to even; in the service's own format they are refused."""
    written = f"{whole}.{digits}"
    value = written if typed else float(written)
    expected = round(Fraction(written if typed else repr(value)) * 1000)
    (item,) = setting(items("zapier", {"email": "ada@example.com", "lead_score": value}))

    assert item.amount == expected
    assert (item.note is not None) == (Fraction(written if typed else repr(value)) * 1000 != expected)
    own = {"type": "score.set", "contact": {"email": "ada@example.com"}, "score": "lead_score", "value": value}
    (kept,) = items("generic", own)
    assert isinstance(kept, Unusable) == (item.note is not None)


VALUES_TO_ADJUST = [  # value, option, score in points or None, reason or note
    (7.25, (), None, "Fit goes in steps of 0.5; use 7 or 7.5"),
    (12, (), None, "Fit runs from 1 to 10; 12 is outside it"),
    (7.25, ("off_step=round",), 7, "7.25 was recorded as 7"),  # of two equally near steps, the even one
    (7.75, ("off_step=round",), 8, "7.75 was recorded as 8"),
    (7.5, ("off_step=round",), 7.5, None),
    (12.3, ("off_step=round",), None, "Fit runs from 1 to 10; 12.3 is outside it"),
    (12.3, ("out_of_range=clamp",), 10, "12.3 was recorded as 10"),
    (-3, ("out_of_range=clamp", "off_step=round"), 1, "-3 was recorded as 1"),
    (7.25, ("out_of_range=clamp",), None, "Fit goes in steps of 0.5; use 7 or 7.5"),
    (7.26666, ("off_step=round",), 7.5, "`7.26666` was rounded to 7.267; 7.267 was recorded as 7.5"),
    (7.25, ("off_step=round", "off_step=quarantine"), None, "Fit goes in steps of 0.5; use 7 or 7.5"),
]


async def test_values_are_adjusted_where_the_source_allows_it(service: Receiving) -> None:
    """Values are adjusted if the source allows it, with a note, and quarantined otherwise; a repeat stays a repeat."""
    for number, (value, options, score, reason) in enumerate(VALUES_TO_ADJUST):
        sender = await connect(service, f"s-{number}", "zapier", options=options[:1])
        for option in options[1:]:
            configured = configure(
                service.workspace, slug=sender.slug, provider="zapier", options=SourceOptions(options=[option]),
                before=sender,
            )  # fmt: skip  # as `source set` does
            sender = await set_source(
                service.workspace, slug=sender.slug, settings=configured.settings, by="U0ADMIN", now=service.clock()
            )
        body = encoded({"email": f"p{number}@example.com", "fit": value, "event_id": "e"})
        answer, again = await send(service, sender, body), await send(service, sender, body)

        assert answer.outcomes == [("quarantined" if score is None else "applied", reason)]
        if score is not None:
            assert again.outcomes == [("duplicate", None)]
            assert await service.scores(f"p{number}@example.com") == {"fit": score * 1000}


@on_both
async def test_what_was_taken_as_it_was_stays_a_repeat_where_it_is_adjusted_now(service: Receiving) -> None:
    """A repeat of a value recorded before the range became narrower stays a repeat, although the source clamps."""
    source = await connect(service, "z", "zapier", options=["out_of_range=clamp"])
    body = encoded({"email": "ada@example.com", "fit": 10, "event_id": "e"})
    assert (await send(service, source, body)).outcomes == [("applied", None)]
    fit = await score_type(service.workspace, key="fit")
    drafted = await create_draft(
        service.workspace, proposed=replace(fit, maximum=8_000, bands=()), by="U0ADMIN", now=service.clock()
    )
    assert drafted is not None
    await apply(service.workspace, draft=drafted, with_alerts=False, by="U0ADMIN", clock=service.clock)

    assert (await send(service, source, body)).outcomes == [("duplicate", None)]
    other = encoded({"email": "ada@example.com", "fit": 9, "event_id": "e"})
    assert (await send(service, source, other)).outcomes == [("quarantined", "conflict")]


def test_only_crms_have_their_values_adjusted() -> None:
    """Values in the service's own format are not adjusted, because programs can correct them."""
    with pytest.raises(Refusal, match=r"^`generic` has no option `off_step`; its options: none$"):
        configure(TEAM, slug="own", provider="generic", options=SourceOptions(options=["off_step=round"]))
    with pytest.raises(Refusal, match=r"^the option `off_step` is round or quarantine, not `up`$"):
        configure(TEAM, slug="own", provider="mautic", options=SourceOptions(options=["off_step=up"]))


async def test_hubspot_may_send_two_values_of_one_millisecond(service: Receiving) -> None:
    """Both values are facts, in any order and number; the note says that the key decides."""
    sender = await connect(service, "hub", "hubspot", map=["lead=score"], options=["signature=v1"])
    ends = []
    for contact, values in ((7, ("50", "60")), (8, ("60", "50"))):
        change = {"subscriptionType": "contact.propertyChange", "portalId": 1, "subscriptionId": 2, "objectId": contact}
        change |= {"propertyName": "lead", "occurredAt": START // 1000 - 5}
        bodies = [encoded([{**change, "propertyValue": value}]) for value in values]
        answers = [await send(service, sender, body) for body in (*bodies, *bodies)]

        assert [answer.outcomes[0] for answer in answers] == [
            ("applied", None), ("applied", SAME_TIME), ("duplicate", None), ("duplicate", None),
        ]  # fmt: skip  # each value and its repeat
        ends.append(await service.scores(f"hub:{contact}"))
        together = await send(service, sender, encoded([{**change, "propertyValue": value} for value in values]))
        assert together.counts == (0, 2, 0, 0)
    assert ends[0] == ends[1]
    both = [{**change, "objectId": 9, "propertyValue": value} for value in ("60", "50")]
    assert (await send(service, sender, encoded(both))).counts == (2, 0, 0, 0)
    assert await service.scores("hub:9") == {"score": 50_000}  # the later position
    for alone in both:
        assert (await send(service, sender, encoded([alone]))).counts == (0, 1, 0, 0)
