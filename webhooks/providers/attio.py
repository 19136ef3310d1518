"""Read Attio's webhooks, which name records without their values, and fetch the values through Attio's API.

https://docs.attio.com/rest-api/guides/webhooks"""

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from storage.domain.errors import BadItem
from storage.domain.facts import Item, ItemRequest, Merge
from storage.domain.sources import SetupStep, Source
from webhooks.authentication.credentials import Signature
from webhooks.authentication.recipes import RECIPES
from webhooks.providers.contract import Arrived, Handler, Provider, Readback, ignore
from webhooks.read.extract import (
    SenderEvent,
    bounded_key,
    choose_address,
    contact_fields,
    get_path,
    key_of,
    lists,
    objects,
    require_list,
    require_object,
    scores,
    text,
)

PEOPLE = "people"  # the slug of the contacts' object, if the source does not set another
#: the key of an attribute's value, by the kind of attribute
_VALUES = ("value", "currency_value")


def _split_events(arrived: Arrived) -> Iterable[tuple[str, object]]:
    events = require_list(get_path(arrived.document, "events"), "its list of events")
    return [(str(get_path(event, "event_type")), event) for event in events]


def _get_object_name(source: Source) -> str:
    return source.settings.options.get("object", PEOPLE)


def _is_other(event: SenderEvent) -> bool:
    """Return whether the event is about another object than contacts. The event has only the object's id."""
    object_name = _get_object_name(event.source)
    return "-" in object_name and get_path(event.body, "id", "object_id") not in (None, object_name)


def _read_reference(event: SenderEvent) -> list[ItemRequest]:
    """Return an item that names the contact by the record's id. Attio's webhook has neither fields nor scores."""
    if _is_other(event):
        return event.ignored(f"it is about another object than {_get_object_name(event.source)}")
    return [Item(key=event.key, contact=event.contact(id=get_path(event.body, "id", "record_id")), raw=event.raw)]


def _read_merge(event: SenderEvent) -> list[ItemRequest]:
    if _is_other(event):
        return event.ignored(f"it is about another object than {_get_object_name(event.source)}")
    into, duplicate = get_path(event.body, "id", "record_id"), get_path(event.body, "duplicate_record_id")
    key = key_of("attio", "merge", into, duplicate) or event.key
    return [Merge(key=key, contact=event.contact(id=duplicate), into=event.contact(id=into), raw=event.raw)]


def _build_path(source: Source, id: str) -> str:
    """Return the path of a record: https://docs.attio.com/rest-api/endpoint-reference/records/get-a-record"""
    return f"/v2/objects/{quote(_get_object_name(source), safe='')}/records/{quote(id, safe='')}"


def _read_answer(event: SenderEvent) -> list[ItemRequest]:
    """Return the contact's fields and scores. Each value has its start time; an empty list clears a score."""
    values = require_object(get_path(event.body, "data", "values"), "the record's `values`")
    id, email = (
        text(event.around["id"]),
        choose_address(get_path(entry, "email_address") for entry in lists(values.get("email_addresses"))),
    )
    contact = event.contact(id=id, email=email)
    items: list[ItemRequest] = []
    if about := contact_fields(contact, name=get_path(values.get("name"), 0, "full_name")):
        times = [event.time(get_path(values.get(name), 0, "active_from")) for name in ("email_addresses", "name")]
        at = max((time for time in times if time is not None), default=None)
        items.append(Item(key=event.key, contact=contact, fields=about, occurred_at=at, raw=event.raw))
    for name, attribute in values.items():
        if event.source.score_type(name) is not None:
            items += _read_score(event, name, attribute)
    return items or event.ignored("none of its attributes is an address, a name or a score")


def _read_score(event: SenderEvent, name: str, attribute: object) -> list[ItemRequest]:
    contact = event.contact(id=event.around["id"])
    if attribute == []:
        key = bounded_key(f"{event.key}/{name}")
        return scores(event, {name: None}, contact=contact, key=key, cleared=(name,))
    current = objects(get_path(attribute, 0))
    value = next((current[key] for key in _VALUES if key in current), None)
    if value is None:
        raise BadItem(f"the attribute `{name[:80]}` is not a number")
    since = current.get("active_from")
    key = key_of("attio", event.around["id"], name, since) or bounded_key(f"{event.key}/{name}")
    return scores(event, {name: value}, contact=contact, key=key, occurred_at=event.moment(since))


EVENTS: Mapping[str, Handler] = {
    "record.created": _read_reference,
    "record.updated": _read_reference,
    "record.merged": _read_merge,
    "record.deleted": ignore("a record deleted in Attio stays here"),
}

PROVIDER = Provider(
    steps=(
        SetupStep(
            "In Attio, under Workspace settings, Developers, add to your integration a webhook with the target URL"
            " {url} and the events record.created, record.updated and record.merged"
        ),
        SetupStep("Attio shows a signing secret", {"secret": "SIGNING_SECRET"}),
        SetupStep(
            "Attio names records without their values; for addresses, names and scores give it an API token with"
            " the scopes record_permission:read and object_configuration:read",
            {"api-token": "TOKEN"},
        ),
        SetupStep("Say which attribute is which score, by its slug", {"map": "lead_score=score"}),
        SetupStep(
            "Contacts are the records of people, or of the object you name; by its id, records of others are left"
            " alone",
            {"option": "object=OBJECT_ID"},
        ),
    ),
    reads="the ids of records and merges; with an API token also address, name and mapped attributes",
    leaves="records of other objects",
    signed_with="the signing secret of the webhook",
    proof=lambda source: Signature(RECIPES["attio"]),
    events=EVENTS,
    split=_split_events,
    options={"object": ()},
    readback=Readback(base="https://api.attio.com", path=_build_path, handler=_read_answer),
)
