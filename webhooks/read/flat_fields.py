"""Read bodies that somebody laid out by hand: an object with an address and fields, flat or in the usual nests."""

from collections.abc import Iterable, Mapping

from storage.domain.facts import ItemRequest
from webhooks.providers.contract import Arrived
from webhooks.read.extract import (
    Event,
    bounded_key,
    contact_fields,
    first,
    get_path,
    key_of,
    moment,
    objects,
    require_object,
    scores,
    text,
)

SNAPSHOT = "fields of a contact"
TIMES = ("occurred_at", "updated_at", "modified", "timestamp", "at")
IDS = ("event_id", "id")
NESTS = ("fields", "properties")


def split_objects(arrived: Arrived) -> Iterable[tuple[str, object]]:
    """Give the objects of a list, or the one object."""
    document = arrived.document
    return [(SNAPSHOT, item) for item in (document if isinstance(document, list) else [document])]


def read_flat_fields(event: Event) -> list[ItemRequest]:
    """Set the score of every mapped or type-named field, wherever of the usual places it stands."""
    body = require_object(event.body, "the item")
    person = objects(body.get("contact"))
    email = body.get("email") or person.get("email") or body.get("contact[email]") or body.get("contact.email")
    contact = event.contact(email=email, id=None if text(email) else _find_contact_id(body, person))
    fields = dict(body)
    for nest in (person, *(objects(get_path(container, name)) for name in NESTS for container in (body, person))):
        fields |= {name: value for name, value in nest.items() if name not in fields}
    full_name = body.get("name") or person.get("name")
    return scores(
        event, fields, contact=contact, key=_build_key(event, body), occurred_at=moment(first(body, TIMES)),
        about=contact_fields(contact, name=full_name, company=body.get("company") or person.get("company")),
    )  # fmt: skip  # what and whose, when, and what is said besides


def _find_contact_id(body: Mapping[str, object], person: Mapping[str, object]) -> object:
    return body.get("contact_id") or person.get("id") or body.get("lead_id")


def _build_key(event: Event, body: Mapping[str, object]) -> str:
    """Give what makes it unique: its own id, that of the request, or who and when; at worst the whole request."""
    own_id = text(first(body, IDS))
    if own_id is not None:
        return bounded_key(own_id)
    if event.headers.get("idempotency-key"):
        return event.key  # the request's, and which of its items it is
    contact_key = text(body.get("email")) or text(get_path(body, "contact", "email"))
    return key_of(event.source.provider, contact_key, first(body, TIMES)) or event.key
