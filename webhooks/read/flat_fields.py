"""Read bodies that somebody laid out by hand: an object with an address and fields, flat or in the usual nests."""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from storage.domain.errors import BadItem
from storage.domain.facts import ItemRequest
from webhooks.providers.contract import Arrived
from webhooks.read.bodies import FORM, kind_of
from webhooks.read.extract import (
    Event,
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
#: objects of further fields; Freshsales calls its own `custom_field`
NESTS = ("fields", "properties", "custom_field", "custom_fields")


def split_objects(arrived: Arrived) -> Iterable[tuple[str, object]]:
    """Give the objects of a list, or the one object."""
    document = arrived.document
    return [(SNAPSHOT, item) for item in (document if isinstance(document, list) else [document])]


def read_flat_fields(event: Event) -> list[ItemRequest]:
    """Set the score of every mapped or type-named field, wherever of the usual places it stands."""
    body = require_object(event.body, "the item")
    person = objects(body.get("contact"))
    email = body.get("email") or person.get("email") or body.get("contact[email]") or body.get("contact.email")
    is_named = find_address_problem(email) is None and text(email) is not None
    contact = event.contact(email=email, id=None if is_named else _find_contact_id(body, person))
    fields = _collect_fields(body, person)
    if kind_of(event.headers) == FORM:  # which has no other way to say that there is nothing
        fields = {name: None if value == "" else value for name, value in fields.items()}
    full_name = body.get("name") or person.get("name")
    own_key = _find_own_key(event, body)
    key = own_key or key_of(event.source.provider, contact.email or contact.id, first(body, TIMES))
    return scores(
        event, fields, contact=contact, key=key, by_value=own_key is None and key is not None,
        former_key=_build_former_key(event, body), occurred_at=event.moment(first(body, TIMES)),
        about=contact_fields(contact, name=full_name, company=body.get("company") or person.get("company")),
    )  # fmt: skip  # what and whose, when, and what is said besides


def _collect_fields(body: Mapping[str, object], person: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of the usual places by name; those of a nest also as `nest.name`, which may be mapped too."""
    fields = dict(body)
    nests = [(name, objects(get_path(container, name))) for name in NESTS for container in (body, person)]
    for nest in (person, *(nest for _, nest in nests)):
        fields |= {name: value for name, value in nest.items() if name not in fields}
    for prefix, nest in nests:
        fields |= {f"{prefix}.{name}": value for name, value in nest.items() if f"{prefix}.{name}" not in fields}
    return fields


def _find_contact_id(body: Mapping[str, object], person: Mapping[str, object]) -> object:
    return body.get("contact_id") or person.get("id") or body.get("lead_id") or body.get("id")


def _find_own_key(event: Event, body: Mapping[str, object]) -> str | None:
    """Return the key that the sender gives the event; `id` is the record's, which can change more than once."""
    event_id = text(body.get("event_id"))
    if event_id is not None:
        return bounded_key(event_id)
    return event.key if event.headers.get("idempotency-key") else None


def _build_former_key(event: Event, body: Mapping[str, object]) -> str:
    """Return the key as earlier versions made it, which took `id` for the event's."""
    own_id = text(first(body, ("event_id", "id")))
    if own_id is not None:
        return bounded_key(own_id)
    if event.headers.get("idempotency-key"):
        return event.key  # the request's, and which of its items it is
    with suppress(BadItem):
        contact_key = text(body.get("email")) or text(get_path(body, "contact", "email"))
        return key_of(event.source.provider, contact_key, first(body, TIMES)) or event.key
    return event.key
