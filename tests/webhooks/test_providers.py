"""Every provider fulfills the same contract: it reads the events it declares, and no input makes it fail."""

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from storage.domain.contacts import Reference
from storage.domain.errors import BadTime
from storage.domain.facts import Deletion, Ignored, Item, ItemRequest, Merge, Op, Unusable
from storage.domain.people import Workspace
from storage.domain.sources import SetupStep, Source, SourceSettings
from tests.webhooks.events import EVENTS, SOAP, close, hubspot, mautic, pipedrive_one, pipedrive_two, segment
from webhooks.authentication.recipes import choose_authenticator
from webhooks.authentication.signatures import NotAuthentic, SignedRequest
from webhooks.providers import PROVIDERS
from webhooks.providers.contract import BadBody, Provider, ignore
from webhooks.read.bodies import FORM, JSON
from webhooks.read.extract import moment
from webhooks.read.parse_delivery import read_items

TEAM = Workspace(id=1, team="T0123", name="Acme")
MAPPING = {"email": "item.email", "property": "'lead_score'", "value": "item.score", "id": "item.id"}
KINDS = {provider: "text/xml" if provider == "salesforce" else JSON for provider in PROVIDERS}


def source(provider: str, **more: Any) -> Source:
    """Return a source with a property mapped to the score type `lead_score`."""
    more = {"map": {"points": "lead_score"}, "options": {"organization_id": "00D1I000003qqqE"}, **more}
    settings = SourceSettings(**more)
    return Source(
        id=1, workspace=TEAM, slug="crm", provider=provider, secrets=("whsec_" + "QUJD" * 8,), settings=settings,
        score_types=("score", "lead_score", "engagement"),
    )  # fmt: skip  # reference and fields


def reference_to(id: str) -> Reference:
    """Return a reference to a contact by its id in the source."""
    return Reference(source="crm", id=id)


def items(provider: str, body: Any, *, kind: str | None = None, headers: Any = None, **more: Any) -> list[ItemRequest]:
    """Read a body with its provider."""
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    request = SignedRequest(headers={"content-type": kind or KINDS[provider], **(headers or {})}, body=raw)
    return read_items(PROVIDERS[provider], request, source=source(provider, **more), key="d")


def setting(requests: list[ItemRequest]) -> list[Item]:
    """Return the items that change a score."""
    return [request for request in requests if isinstance(request, Item) and request.op is not None]


def test_what_is_declared_has_a_fixture_and_the_reverse() -> None:
    """Every declared event has a fixture, and every fixture is a declared event."""
    declared = {name: set(provider.events) for name, provider in PROVIDERS.items()}

    assert {name: set(bodies) for name, bodies in EVENTS.items()} == declared
    print(f"providers: {len(declared)}, events: {sum(map(len, declared.values()))}")


@pytest.mark.parametrize(("provider", "event"), [(p, e) for p, bodies in EVENTS.items() for e in bodies])
def test_a_fixture_is_the_event_it_is_named_by(provider: str, event: str) -> None:
    """The body of a fixture has only the named event, which its handler reads into the expected number of scores."""
    body, count = EVENTS[provider][event]
    settings: dict[str, Any] = {"mapping": MAPPING} if event == "item" and provider == "custom" else {}
    requests = items(provider, body, **settings)
    raw = body if isinstance(body, str) else json.dumps(body)
    request = SignedRequest(headers={"content-type": KINDS[provider]}, body=raw.encode())
    arrived = PROVIDERS[provider].arrived(request, source=source(provider, **settings), key="d")

    assert {name for name, _ in PROVIDERS[provider].split(arrived)} == {event}
    assert not [request for request in requests if isinstance(request, Unusable)]
    assert not [
        request
        for request in requests
        if isinstance(request, Ignored) and "not an event that is read" in request.reason
    ]
    assert len(setting(requests)) + sum(isinstance(request, Merge | Deletion) for request in requests) == count
    assert all(request.score == "lead_score" for request in setting(requests))


def test_every_provider_tells_how_to_connect_it() -> None:
    """The setup steps name the URL, and their placeholders can be filled in; a generated secret is valid."""
    for name, provider in PROVIDERS.items():
        steps = [step.in_terminal.format(url="URL", secret="SECRET") for step in provider.steps]
        assert any("URL" in step for step in steps), name
        assert not any("{url}" in step or "{secret}" in step for step in steps), name
        proof = provider.proof(source(name, token_in="bearer"))
        first, second = proof.new_secret(), proof.new_secret()
        assert first != second
        proof.check_secret(first)
        with pytest.raises(ValueError, match=r"^Give the "):
            proof.check_secret("")


def test_a_sender_is_added_by_one_row() -> None:
    """A custom provider that replaces an entry of the table is read by the same code."""

    def polls(arrived: Any) -> list[tuple[str, object]]:
        return [(vote["kind"], vote) for vote in arrived.document]

    planted = Provider(
        steps=(SetupStep("Post to {url}"),), proof=choose_authenticator, split=polls,
        events={"vote": lambda event: event.ignored("noted"), "test": ignore("a test")},
    )  # fmt: skip  # a row
    request = SignedRequest(headers={"content-type": JSON}, body=b'[{"kind":"vote"},{"kind":"test"},{"kind":"spam"}]')
    requests = read_items(planted, request, source=source("custom"), key="d")

    reasons = [request.reason for request in requests if isinstance(request, Ignored)]
    assert reasons == ["noted", "a test", "`spam` is not an event that is read"]


# --- any input

WORDS = [
    *("type", "topic", "event", "events", "event_type", "meta", "action", "object", "entity", "current", "previous"),
    *("data", "item", "items", "id", "email", "emails", "value", "lead_score", "points", "contact", "fields", "core"),
    *("subscriptionType", "objectId", "propertyName", "propertyValue", "occurredAt", "mergedObjectIds", "properties"),
    *("vid", "versions", "timestamp", "userId", "messageId", "traits", "custom_fields", "custom_attributes"),
    *("object_type", "changed_fields", "previous_data", "lead_id", "old_points", "new_points", "primaryObjectId"),
    *("mautic.lead_points_change", "at", "occurred_at", "updated_at", "name", "score", "score_type"),
]
EVENT_NAMES = sorted(
    {event for bodies in EVENTS.values() for event in bodies} | {"person", "updated", "change", "lead"}
)
LEAVES: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**60, -1, 0, 1767225587655, 1.5, 1e300, -0.0])
    | st.text(max_size=12)
    | st.sampled_from([*EVENT_NAMES, *WORDS, "2026-01-31T09:30:00Z", "0000-00-00", "9" * 40, "x" * 300, "1e999"])
)
ANY = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner),
    max_leaves=12,
)
GOOD = [body for bodies in EVENTS.values() for body, _ in bodies.values() if not isinstance(body, str)]


def spoiled(document: Any, wrong: Any, place: int) -> Any:
    """Return the document with one part, by its index, replaced by something invalid."""
    count = 0

    def walk(part: Any) -> Any:
        nonlocal count
        count += 1
        if count == place:
            return wrong
        if isinstance(part, dict):
            return {name: walk(value) for name, value in part.items()}
        return [walk(value) for value in part] if isinstance(part, list) else part

    return walk(document)


BODIES = ANY | st.builds(spoiled, st.sampled_from(GOOD), ANY, st.integers(1, 25))
MAPPINGS = st.none() | st.just(MAPPING) | st.just({**MAPPING, "items": "body[]"}) | st.just({"items": "body.*"})


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(provider=st.sampled_from(sorted(PROVIDERS)), body=BODIES, mapping=MAPPINGS, form=st.booleans())
@example(provider="segment", body=[], mapping=None, form=False)
@example(provider="hubspot", body={"id": {}, "properties": {"lead_score": {"value": {}}}}, mapping=None, form=False)
def test_nothing_that_arrives_makes_a_provider_fail(
    provider: str, body: Any, mapping: dict[str, str] | None, form: bool
) -> None:
    """Any authentic body is read into items with keys and raw text, or raises BadBody."""
    settings = {"mapping": mapping} if provider == "custom" else {}
    kind, raw = JSON, json.dumps(body).encode()
    if form and isinstance(body, dict) and FORM in PROVIDERS[provider].content_types:
        kind, raw = (
            FORM,
            "&".join(f"{quote(str(k))}={quote(str(v))}" for k, v in body.items()).encode("utf-8", "replace"),
        )
    if provider == "salesforce":
        kind = "text/xml"
        raw = SOAP.replace("83.0", str(body).replace("<", "").replace("&", "")[:200]).encode("utf-8", "replace")
    requests: list[ItemRequest] = []
    with suppress(BadBody):
        requests = items(provider, raw, kind=kind, **settings)
    for request in requests:
        assert 1 <= len(request.key) <= 300
        assert isinstance(request.raw, str)
        if isinstance(request, Ignored | Unusable):
            assert request.reason
        if isinstance(request, Item) and request.op is not None:
            assert request.score


@settings(max_examples=300, deadline=None)
@given(
    provider=st.sampled_from(sorted(PROVIDERS)),
    raw=st.binary(max_size=200),
    kind=st.sampled_from([JSON, FORM, "text/xml"]),
)
@example(provider="salesforce", raw=b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', kind="text/xml")
@example(provider="salesforce", raw=b"<a>" * 2000 + b"</a>" * 2000, kind="text/xml")
@example(provider="custom", raw=b'<?xml version="1.0" encoding="klingon"?><a/>', kind="text/xml")
def test_any_bytes_are_read_or_bad(provider: str, raw: bytes, kind: str) -> None:
    """Bytes that are not a document raise BadBody, and a stranger's signature is invalid."""
    request = SignedRequest(headers={"content-type": kind, "authorization": "Basic \udcff"}, body=raw)
    proof = PROVIDERS[provider].proof(source(provider))
    with pytest.raises(NotAuthentic):
        proof.authenticate(request, secrets=[proof.new_secret()], now=0)
    with suppress(BadBody):
        items(provider, raw, kind=kind)


# --- the meaning of events


def test_hubspot_names_the_property_that_is_no_score() -> None:
    """An event about a property without a mapping is ignored, and the reason names the property."""
    change = {
        "objectId": 123, "eventId": 1, "portalId": 5, "subscriptionType": "contact.propertyChange",
        "propertyName": "unmapped_score", "propertyValue": "88", "occurredAt": 1764500000000,
    }  # fmt: skip  # one event
    requests = items("hubspot", [change])

    assert [request.reason for request in requests if isinstance(request, Ignored)] == [
        "none of its properties is mapped to a score type, or named like one: `unmapped_score`"
    ]


def test_hubspot_tells_its_events_apart_by_what_changed() -> None:
    """Event ids are shared and retries differ, so neither is part of the key; a blank value clears."""
    change = {"propertyName": "lead_score", "propertyValue": "", "attemptNumber": 0}
    (cleared,) = setting(items("hubspot", hubspot("contact.propertyChange", **change)))
    (again,) = setting(items("hubspot", hubspot("contact.propertyChange", **change, eventId=9)))
    (other,) = setting(items("hubspot", hubspot("contact.propertyChange", **change, objectId=8)))
    retried = setting(items("hubspot", hubspot("contact.propertyChange", **{**change, "attemptNumber": 3})))[0]

    assert cleared.op is Op.CLEAR
    assert cleared.key == again.key == retried.key != other.key
    assert items("hubspot", hubspot("object.propertyChange", **change, objectTypeId="0-2"))[0].key == "d/0000"
    assert [type(item) for item in items("hubspot", hubspot("object.merge", objectTypeId="0-2"))] == [Ignored]
    first, second = (
        item for item in items("hubspot", EVENTS["hubspot"]["contact.merge"][0]) if isinstance(item, Merge)
    )
    assert [(merge.contact, merge.into) for merge in (first, second)] == [
        (reference_to("8"), reference_to("7")),
        (reference_to("9"), reference_to("7")),
    ]
    untimed = hubspot("contact.merge", primaryObjectId=7, mergedObjectIds=[8, 9], occurredAt=None)
    assert len({item.key for item in items("hubspot", untimed)}) == 2
    (gone,) = items("hubspot", hubspot("contact.privacyDeletion"))
    assert isinstance(gone, Deletion)
    assert (gone.contact, gone.occurred_at) == (reference_to("7"), 1767225587655000)


def test_a_contact_that_a_workflow_of_hubspot_sends_again_may_be_called_otherwise() -> None:
    """The same version of a score is the same event, unless a field of the contact changed with it."""
    keys = []
    for more in ({}, {"lifecyclestage": {"value": "lead"}}, {"firstname": {"value": "Ada"}}):
        version = {"value": "91", "versions": [{"value": "91", "timestamp": 1767225596000}]}
        body = {"vid": 7, "portal-id": 3, "properties": {"lead_score": version, "company": {"value": "Acme"}, **more}}
        (setting_item,) = setting(items("hubspot", body))
        keys.append(setting_item.key)

    assert keys[0] == keys[1] != keys[2]
    other = {"objectId": 7, "objectTypeId": "0-2", "properties": {"lead_score": "5"}}
    assert [type(item) for item in items("hubspot", other)] == [Ignored]


def test_leads_that_are_one_in_close_are_one_here() -> None:
    """A merge of leads becomes a merge of contacts; the deletion sent with it is ignored."""
    (merged,) = items("close", EVENTS["close"]["lead.merged"][0])
    assert isinstance(merged, Merge)
    assert (merged.contact, merged.into, merged.key) == (
        reference_to("lead_2"),
        reference_to("lead_1"),
        "ev_lead_merged",
    )
    assert [type(item) for item in items("close", EVENTS["close"]["lead.deleted"][0])] == [Ignored]
    body: Any = close("lead", "merged")
    body["event"]["meta"] = {}
    assert [type(item) for item in items("close", body)] == [Unusable]


@pytest.mark.parametrize(
    ("kind", "email", "is_item"),
    [
        ("sf:Contact", "", True),
        ("sf:Lead", "", True),
        ("ns1:Candidate__c", "", True),  # custom objects, which may be people
        ("", "", True),
        ("sf:Account", "<sf:PersonEmail>ada@example.com</sf:PersonEmail>", True),  # a person
        ("sf:Account", "<sf:Email>ada@example.com</sf:Email>", True),
        ("sf:Account", "", False),
        ("sf:Opportunity", "", False),
    ],
)
def test_salesforce_may_send_what_is_nobody(kind: str, email: str, is_item: bool) -> None:
    """A company or a deal with a score is no contact, unless it has an email address."""
    attributes = f' xsi:type="{kind}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"' if kind else ""
    requests = items(
        "salesforce", SOAP.replace("<sObject", f"<sObject{attributes}").replace("</sObject>", f"{email}</sObject>")
    )

    assert [isinstance(request, Item) for request in requests] == [is_item]
    if email:
        assert [
            request.contact.email
            for request in requests
            if isinstance(request, Item) and isinstance(request.contact, Reference)
        ] == ["ada@example.com"]
    if not is_item:
        assert [request.reason for request in requests if isinstance(request, Ignored)] == [
            f"it is of the kind {kind[3:]}, which is not a contact"
        ]


def test_pipedrive_takes_what_changed_alone() -> None:
    """A person with another changed field gives no item; a removed value clears."""
    same = pipedrive_one("updated")
    same["previous"] = same["current"]
    assert [type(item) for item in items("pipedrive", same)] == [Ignored]
    without = pipedrive_two("change")
    without["data"] = {"id": 11, "custom_fields": {"lead_score": None}}
    (cleared,) = setting(items("pipedrive", without))
    assert (cleared.op, cleared.key) == (Op.CLEAR, "m1")
    quiet = pipedrive_two("change")
    quiet["previous"] = {"phone": "1"}
    assert [type(item) for item in items("pipedrive", quiet)] == [Ignored]
    without["data"] = {"id": 11, "custom_fields": {}}
    assert [request.op for request in setting(items("pipedrive", without))] == [Op.CLEAR]
    for silent in ("{}", "null"):  # the event does not contain the previous values
        (request,) = setting(items("pipedrive", pipedrive_two("change") | {"previous": json.loads(silent)}))
        assert request.amount == 73_000
    (merged,) = items("pipedrive", EVENTS["pipedrive"]["delete.person"][0])
    assert isinstance(merged, Merge)
    assert (merged.contact, merged.into) == (reference_to("11"), reference_to("12"))
    assert [type(item) for item in items("pipedrive", pipedrive_two("delete"))] == [Ignored]  # without a target


def test_a_field_that_changed_to_nothing_in_close_was_cleared() -> None:
    """A value changed to null clears, with or without the previous value; null in a new lead means nothing."""
    for before in ({}, {"lead_score": 58}):
        body: Any = close("lead", "updated")
        body["event"] |= {"data": {"lead_score": None}, "previous_data": before}
        assert [request.op for request in setting(items("close", body))] == [Op.CLEAR]
    body = close("lead", "created")
    body["event"] |= {"data": {"lead_score": None}}
    assert [type(item) for item in items("close", body)] == [Ignored]


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        ("hubspot", [{}, 5, None, "contact.propertyChange"]),
        ("pipedrive", {}),
        ("pipedrive", {"meta": None, "data": {"id": 11}}),
        ("pipedrive", {"meta": {"action": "change"}}),
        ("intercom", {}),
        ("intercom", {"topic": None, "data": {"item": {}}}),
        ("close", {"event": {"data": {"lead_score": 58}}}),
        ("segment", {"userId": "u1", "properties": {"lead_score": 5}}),
        ("segment", 7),
    ],
)
def test_what_names_no_event_is_set_aside(provider: str, body: Any) -> None:
    """A body without an event is quarantined, not ignored, because somebody has to look at it."""
    requests = items(provider, body)

    assert [type(request) for request in requests] == [Unusable] * (len(body) if isinstance(body, list) else 1)
    assert {request.reason for request in requests if isinstance(request, Unusable)} == {
        "it does not say which event it is"
    }


def test_numbers_count_time_up_to_the_last_year() -> None:
    """Seconds, milliseconds and microseconds are told apart by their size, up to the year 9999."""
    last = 253_402_300_799  # 9999-12-31T23:59:59Z
    seconds = 1_767_225_587
    for unit in (1, 1000, 1_000_000):
        assert moment(seconds * unit) == moment(str(seconds * unit)) == seconds * 1_000_000
        assert moment(last * unit) == moment(str(last * unit)) == last * 1_000_000
    with pytest.raises(BadTime):
        moment((last + 1) * 1_000_000)


def test_segment_refuses_lists_unless_asked_and_names_the_score_type() -> None:
    """Only the first call of a batch is signed, so batches need an option; the call names its score type."""
    with pytest.raises(BadBody, match="Switch batching off"):
        items("segment", [segment("track")])
    call = segment("track") | {"properties": {"score_type": "engagement", "score": 71}}
    (request,) = setting(items("segment", call))
    assert (request.score, request.amount) == ("engagement", 71_000)
    # The call names a score, so it is not ignored.
    (lost,) = items("segment", call | {"properties": {"score_type": "renewal", "score": 71}})
    assert isinstance(lost, Unusable)
    assert lost.reason == "there is no score type `renewal`; existing: score, lead_score, engagement"
    assert [type(item) for item in items("segment", call | {"properties": {"score_type": "renewal"}})] == [Ignored]


def test_a_null_says_nothing_and_a_boolean_is_no_number() -> None:
    """A null means nothing and a boolean is no number; the other values are used."""
    requests = items(
        "zapier", {"email": "ada@example.com", "score": None, "points": True, "lead_score": "8,5", "engagement": 7}
    )

    assert [type(request) for request in requests] == [Ignored, Unusable, Unusable, Item]
    assert [request.reason for request in requests if isinstance(request, Unusable)] == [
        "`points`: true is not a number",
        "`lead_score`: `8,5` has a comma. Use a point: 8.5",
    ]


def test_presets_know_a_repeat_by_what_the_sender_gives() -> None:
    """The key of a repeat is the event id, else the request id, else contact, property and time, else the bytes."""
    ada = {"email": "ada@example.com", "lead_score": 1}
    cases = [
        (ada | {"event_id": "e7", "id": 5}, {}, "e7", "e7"),
        (ada | {"id": "r7"}, {"idempotency-key": "k"}, "d/0000", "r7"),
        (ada | {"at": 1767225597, "id": 5}, {}, "zapier:ada@example.com:1767225597/lead_score=6b86b273ff34fce1", "5"),
        (ada | {"id": "r7"}, {}, "d/0000", "r7"),
    ]
    for body, headers, key, former_key in cases:
        (request,) = setting(items("zapier", body, headers=headers))
        assert (request.key, request.former_keys) == (key, (former_key,))
    two = setting(items("zapier", ada | {"event_id": "e7", "points": 5}))
    assert (
        len({(request.key, request.score) for request in two}) == 2
    )  # both are mapped to lead_score, and still are two facts


def test_a_mapping_is_applied_to_everything_that_arrived() -> None:
    """A mapping reads body, headers, form and query; numbers keep their written digits."""
    mapping = {
        "items": "body.list", "email": "item.who", "property": "headers.\"x-type\"", "value": "item.n",
        "delta": "item.by", "occurred_at": "item.t", "activity": "item.did", "reason": "query.why", "id": "item.id",
    }  # fmt: skip  # expressions
    body = {
        "list": [
            {"who": "ada@example.com", "n": 12.345, "t": 1767225597, "id": 7},
            {"who": "ada@example.com", "by": "-2", "id": "b"},
            {"who": "ada@example.com", "did": "demo_booked"},
            {"who": "ada@example.com"},
            {"n": 5},
        ]
    }
    requests = items("custom", body, headers={"x-type": "lead_score"}, mapping=mapping)

    setting_, adding, doing, *bad = requests
    assert isinstance(setting_, Item)
    assert (setting_.op, setting_.amount, setting_.score, setting_.key) == (Op.SET, 12_345, "lead_score", "7")
    assert setting_.occurred_at == 1767225597000000
    assert isinstance(adding, Item)
    assert (adding.op, adding.amount, adding.key) == (Op.ADD, -2000, "b")
    assert isinstance(doing, Item)
    assert (doing.activity, doing.amount, doing.score, doing.key) == ("demo_booked", 1000, None, "d/0002")
    assert [request.reason for request in bad if isinstance(request, Unusable)] == [
        "it has no value, no delta and no activity",
        "it names no contact: neither an address nor an id is in it",
    ]
    (ignored,) = items("custom", body)
    assert isinstance(ignored, Ignored)
    talked = {"email": "item.who", "property": "'lead_score'", "value": "item.n", "reason": "item.why"}
    (long,) = setting(items("custom", {"who": "ada@example.com", "n": 5, "why": "y" * 1001}, mapping=talked))
    assert long.reason == "y" * 1000  # whatever its length, the score is kept
    with_form = items(
        "custom",
        "a[b]=1&who=ada%40example.com",
        kind=FORM,
        mapping={"email": "form.who", "property": "'lead_score'", "value": "body.a.b"},
    )
    assert [request.amount for request in setting(with_form)] == [1000]
    nested = {"email": "form.contact.email", "property": "'lead_score'", "value": 'form."contact[n]"'}
    (request,) = setting(items("custom", "contact[email]=a%40b.co&contact[n]=5", kind=FORM, mapping=nested))
    assert (request.contact, request.amount) == (Reference(email="a@b.co", source="crm"), 5000)
    xml = {"items": "body.leads.lead[]", "email": "item.mail", "property": "'lead_score'", "value": "item.n"}
    lead = "<lead><mail>a@b.co</mail><n>5</n></lead>"
    assert len(setting(items("custom", f"<leads>{lead * 2}</leads>", kind="text/xml", mapping=xml))) == 2
    (lost,) = items("custom", f"<leads>{lead}</leads>", kind="text/xml", mapping=xml)
    assert isinstance(lost, Unusable)
    either = xml | {"items": "[body.leads.lead][]"}
    for number in (1, 2):
        requests = items("custom", f"<leads>{lead * number}</leads>", kind="text/xml", mapping=either)
        assert len(setting(requests)) == number


def test_more_events_than_a_delivery_holds_are_set_aside_whole() -> None:
    """A delivery with too many events is quarantined whole; a 400 would only make the CRM send it again."""
    (request,) = items("hubspot", hubspot("contact.creation") * 1001)

    assert isinstance(request, Unusable)
    assert "more than 1,000 events" in request.reason


def test_mautic_keeps_the_time_of_each_event() -> None:
    """In queue mode events may arrive newest first; each keeps its own time, so the fold orders them."""
    (request,) = setting(items("mautic", mautic("mautic.lead_points_change")))

    assert (request.key, request.amount) == ("mautic:52:points:r01000000025000:5>25:2025-12-31T23:59:00+00:00", 25_000)
    assert replace(request, raw="").occurred_at == 1767225540000000
