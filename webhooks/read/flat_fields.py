"""Read bodies that a person designed: an object with an address and fields, flat or in the usual nested objects."""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from storage.domain.errors import BadItem
from storage.domain.facts import ItemRequest
from webhooks.providers.contract import Arrived
from webhooks.read.bodies import FORM, kind_of
from webhooks.read.extract import (
    SenderEvent,
    bounded_key,
    contact_fields,
    find_address_problem,
    first,
    get_path,
    key_of,
    objects,
    require_object,
    scores,
    text,
)

SNAPSHOT = "fields of a contact"
TIMES = ("occurred_at", "updated_at", "modified", "timestamp", "at")
READS = (
    "the address (`email`, `contact[email]`, `contact.email`), else the id (`contact_id`, `contact.id`, `lead_id`,"
    " `id`); mapped fields, also those inside `contact`, `fields`, `properties` and `custom_field`; `name`, `company`;"
    " the time (`occurred_at`, `updated_at`, `modified`, `timestamp`, `at`); the event (`event_id`, `Idempotency-Key`)"
)
LEAVES = "fields without a mapping, null, and blanks of a form"
#: nested objects with further fields; Freshsales calls its own `custom_field`
NESTS = ("fields", "properties", "custom_field", "custom_fields")


def split_objects(arrived: Arrived) -> Iterable[tuple[str, object]]:
    """Return each object of a list, or the single object, as a (name, body) event."""
    document = arrived.document
    return [(SNAPSHOT, item) for item in (document if isinstance(document, list) else [document])]


def read_flat_fields(event: SenderEvent) -> list[ItemRequest]:
    """Return items that set the score of every field that is mapped or named like a score type, flat or nested."""
    body = require_object(event.body, "the item")
    person = objects(body.get("contact"))
    email = body.get("email") or person.get("email") or body.get("contact[email]") or body.get("contact.email")
    is_named = find_address_problem(email) is None and text(email) is not None
    contact = event.contact(email=email, id=None if is_named else _find_contact_id(body, person))
    fields = _collect_fields(body, person)
    if kind_of(event.headers) == FORM:  # a form cannot express null, so a blank stands for null
        fields = {name: None if value == "" else value for name, value in fields.items()}
    full_name = body.get("name") or person.get("name")
    own_key = _find_own_key(event, body)
    key = own_key or key_of(event.source.provider, contact.email or contact.id, first(body, TIMES))
    return scores(
        event, fields, contact=contact, key=key, by_value=own_key is None and key is not None,
        former_key=_build_former_key(event, body), occurred_at=event.moment(first(body, TIMES)),
        about=contact_fields(contact, name=full_name, company=body.get("company") or person.get("company")),
    )  # fmt: skip  # content and owner, time, other fields


def _collect_fields(body: Mapping[str, object], person: Mapping[str, object]) -> dict[str, object]:
    """Return the flat and nested fields by name. A nested field can also be mapped by the name `nest.name`."""
    fields = dict(body)
    nests = [(name, objects(get_path(container, name))) for name in NESTS for container in (body, person)]
    for nest in (person, *(nest for _, nest in nests)):
        fields |= {name: value for name, value in nest.items() if name not in fields}
    for prefix, nest in nests:
        fields |= {f"{prefix}.{name}": value for name, value in nest.items() if f"{prefix}.{name}" not in fields}
    return fields


def _find_contact_id(body: Mapping[str, object], person: Mapping[str, object]) -> object:
    return body.get("contact_id") or person.get("id") or body.get("lead_id") or body.get("id")


def _find_own_key(event: SenderEvent, body: Mapping[str, object]) -> str | None:
    """Return the sender's key of the event, or None. The field `id` is not a key: a record can change repeatedly."""
    event_id = text(body.get("event_id"))
    if event_id is not None:
        return bounded_key(event_id)
    return event.key if event.headers.get("idempotency-key") else None


def _build_former_key(event: SenderEvent, body: Mapping[str, object]) -> str:
    """Return the event's key in earlier versions, which treated `id` as the event's."""
    own_id = text(first(body, ("event_id", "id")))
    if own_id is not None:
        return bounded_key(own_id)
    if event.headers.get("idempotency-key"):
        return event.key  # the request's key with the item's position
    with suppress(BadItem):
        contact_key = text(body.get("email")) or text(get_path(body, "contact", "email"))
        return key_of(event.source.provider, contact_key, first(body, TIMES)) or event.key
    return event.key
