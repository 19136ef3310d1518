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
    return [(SNAPSHOT, one) for one in (document if isinstance(document, list) else [document])]


def read_flat_fields(event: Event) -> list[ItemRequest]:
    """Set the score of every mapped or type-named field, wherever of the usual places it stands."""
    said = require_object(event.body, "the item")
    person = objects(said.get("contact"))
    email = said.get("email") or person.get("email") or said.get("contact[email]") or said.get("contact.email")
    contact = event.contact(email=email, id=None if text(email) else _id(said, person))
    fields = dict(said)
    for nest in (person, *(objects(get_path(place, name)) for name in NESTS for place in (said, person))):
        fields |= {name: value for name, value in nest.items() if name not in fields}
    named = said.get("name") or person.get("name")
    return scores(
        event, fields, contact=contact, key=_key(event, said), occurred_at=moment(first(said, TIMES)),
        about=contact_fields(contact, name=named, company=said.get("company") or person.get("company")),
    )  # fmt: skip  # what and whose, when, and what is said besides


def _id(said: Mapping[str, object], person: Mapping[str, object]) -> object:
    return said.get("contact_id") or person.get("id") or said.get("lead_id")


def _key(event: Event, said: Mapping[str, object]) -> str:
    """Give what makes it unique: its own id, that of the request, or who and when; at worst the whole request."""
    own = text(first(said, IDS))
    if own is not None:
        return bounded_key(own)
    if event.headers.get("idempotency-key"):
        return event.key  # the request's, and which of its items it is
    who = text(said.get("email")) or text(get_path(said, "contact", "email"))
    return key_of(event.source.provider, who, first(said, TIMES)) or event.key
