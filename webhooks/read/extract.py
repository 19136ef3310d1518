"""Extract the contact, the time and the scores from the events that CRMs send.

Events may have any shape, so these functions check the type of every value that they extract."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal

from storage.domain.contacts import Json, Reference, find_broken_text, looks_like_address
from storage.domain.errors import BadItem, BadNumber, BadTime, Refusal
from storage.domain.facts import Ignored, Item, ItemRequest, Op, Unusable
from storage.domain.moments import Moment, read_moment
from storage.domain.numbers import from_json, show
from storage.domain.sources import Source
from webhooks.read.bodies import BROKEN

MOST_PROPERTIES = 5  # names of properties in the reason why an event has no score
LONGEST = 255
WRITTEN = "we write this property"
_encoder = json.JSONEncoder(ensure_ascii=False, default=float)


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderEvent:
    """
    One event of a delivery: its name, its body, and the key that identifies it if the body has no id of its own.

    *notes* are remarks for the sender about an event that is used nevertheless.
    """

    name: str
    body: object
    source: Source
    key: str
    raw: str
    headers: Mapping[str, str] = field(default_factory=dict)
    around: Mapping[str, object] = field(default_factory=dict)  #: the provider's data for its handlers
    notes: list[str] = field(default_factory=list, compare=False)
    named: list[Reference] = field(default_factory=list, compare=False)  #: contacts that it names, found so far

    def contact(self, *, id: object = None, email: object = None) -> Reference:
        """
        Return a reference to a contact by the sender's id, by an address, or by both.

        Raises BadItem if both are missing. An invalid address beside an id is left out with a note.
        """
        own_id = text(id)
        if own_id is not None and (problem := find_address_problem(email)):
            self.notes.append(problem)
            email = None
        address = text(email)
        if own_id is None and address is None:
            raise BadItem("it names no contact: neither an address nor an id is in it")
        for identifier in (own_id, address):
            # Identifiers that lost different characters would look alike.
            if identifier is not None and BROKEN in identifier:
                raise BadItem(f"`{identifier[:80]}` holds a character that cannot be read")
        contact = Reference(email=address, source=self.source.slug, id=own_id)
        self.named.append(contact)
        return contact

    def number(self, value: object) -> int:
        """Return a value in thousandths; further digits are rounded half-even with a note. Raises BadNumber."""
        try:
            return from_json(value)
        except BadNumber:
            amount = from_json(value, rounded=True)
            self.notes.append(f"`{str(value).strip()[:40]}` was rounded to {show(amount)}")
            return amount

    def moment(self, value: object) -> Moment | None:
        """Parse a time. A time that cannot be parsed returns None with a note, and the time of receipt is used."""
        try:
            return read_moment(value)
        except BadTime as exc:
            self.notes.append(f"{exc}; the time of receipt is used")
            return None

    def time(self, value: object) -> int | None:
        """Return a time in µs since 1970, parsed as *moment* does."""
        moment = self.moment(value)
        return None if moment is None else moment.at

    def ignored(self, reason: str) -> list[ItemRequest]:
        """Return the event as an ignored item, with the reason."""
        return [Ignored(key=self.key, reason=reason, raw=self.raw)]


def scores(
    event: SenderEvent,
    properties: Mapping[str, object],
    *,
    contact: Reference,
    key: str | None = None,
    former_key: str | None = None,
    by_value: bool = False,
    occurred_at: Moment | None = None,
    cleared: Iterable[str] = (),
    was: int | None = None,
    about: Mapping[str, Json] | None = None,
) -> list[ItemRequest]:
    """
    Return an item that sets the score for every property that is mapped to a score type, or named like one.

    The item of an invalid number is quarantined; the item of a null, or of a property that scores are written to, is
    ignored. A property among those *cleared* clears its score instead. If no property is a score, the event is ignored.
    *about* are fields of the contact itself.
    *was* is the score before the change in thousandths, if the sender includes it and the key sorts by it.
    With *by_value* the key includes the property and its value. *former_key* is the key that earlier versions used.
    """
    items: list[ItemRequest] = []
    base = key or event.key
    used_keys: set[tuple[str, str]] = set()
    used_former_keys: set[tuple[str, str]] = set()
    for name, value in properties.items():
        if event.source.writes(name):
            items += event.ignored(WRITTEN)
            continue
        score = event.source.score_type(name)
        if score is None:
            continue
        if by_value:
            item_key = bounded_key(f"{base}/{name}={digest(None if name in cleared else value)}")
        else:
            item_key = _make_key(base, name, score, used_keys)
        former_keys = () if former_key is None else (_make_key(former_key, name, score, used_former_keys),)
        if value is None and name not in cleared:
            items.append(Ignored(key=item_key, reason=f"`{name[:80]}` is null, which says nothing", raw=event.raw))
            continue
        try:
            amount = 0 if name in cleared else event.number(value)
        except Refusal as exc:
            items.append(Unusable(key=item_key, reason=f"`{name[:80]}`: {exc}", raw=event.raw))
            continue
        op = Op.CLEAR if name in cleared else Op.SET
        items.append(
            Item(
                key=item_key, contact=contact, score=score, op=op, amount=amount,
                occurred_at=None if occurred_at is None else occurred_at.at,
                resolution=1 if occurred_at is None else occurred_at.resolution,
                was=was, fields=about or {}, raw=event.raw, former_keys=former_keys,
            )
        )  # fmt: skip  # the change, then what it comes from
    names = ", ".join(f"`{name[:80]}`" for name in list(properties)[:MOST_PROPERTIES])
    reason = "none of its properties is mapped to a score type, or named like one"
    return items or event.ignored(f"{reason}: {names}" if names else reason)


def _make_key(base: str, name: str, score: str, used_keys: set[tuple[str, str]]) -> str:
    """Return the key of a property. If two properties of an event are mapped to one score type, their keys differ."""
    key = bounded_key(base if (base, score) not in used_keys else f"{base}/{name}")
    used_keys.add((key, score))
    return key


def digest(value: object) -> str:
    """Return a short hash of a value, to be part of a key."""
    return hashlib.sha256(as_text(value).encode()).hexdigest()[:16]


def contact_fields(contact: Reference, **values: object) -> dict[str, Json]:
    """Return the fields of a contact that are not blank. An address beside an id is a field, as it may have changed."""
    fields: dict[str, Json] = {}
    for name, raw_value in values.items():
        with suppress(BadItem):  # a name that is too long does not invalidate the score
            if (value := text(raw_value)) is not None:
                fields[name] = value
    if contact.email is not None and contact.id is not None:
        fields["email"] = contact.email
    return fields


def require_object(value: object, label: str) -> dict[str, object]:
    """Return *value*; raises BadItem if it is not an object."""
    if not isinstance(value, dict):
        raise BadItem(f"{label} is not an object")
    return value


def require_list(value: object, label: str) -> list[object]:
    """Return *value*; raises BadItem if it is not a list."""
    if not isinstance(value, list):
        raise BadItem(f"{label} is not a list")
    return value


def get_path(value: object, *path: str | int) -> object:
    """Return the value at a path of keys and positions in a document, or None if the path leads nowhere."""
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def event_name(*parts: object) -> str:
    """Return an event's name from its parts, or a blank if a part is missing."""
    names = [part for part in parts if isinstance(part, str) and part]
    return ".".join(names) if len(names) == len(parts) else ""


def objects(value: object) -> dict[str, object]:
    """Return *value* if it is an object, or else an empty object."""
    return value if isinstance(value, dict) else {}


def lists(value: object) -> list[object]:
    """Return *value* if it is a list, or else an empty list."""
    return value if isinstance(value, list) else []


def choose_address(values: Iterable[object]) -> object:
    """Return the first value that is an e-mail address, or else the first that is not blank."""
    addresses = [value for value in values if value]
    usable = (address for address in addresses if find_address_problem(address) is None)
    return next(usable, addresses[0] if addresses else None)


def text(value: object, *, max_length: int = LONGEST) -> str | None:
    """Return a text or an integer as stripped text; None for a blank or another type. Raises BadItem if too long."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    stripped = str(value).strip()
    if len(stripped) > max_length:
        raise BadItem(f"`{stripped[:20]}…` is longer than {max_length} characters")
    if broken := find_broken_text(stripped):
        raise BadItem(f"a text in it {broken}")
    return stripped or None


def first(fields: Mapping[str, object], names: Sequence[str]) -> object:
    """Return the first of several fields that is neither missing nor blank, or None."""
    return next((fields[name] for name in names if fields.get(name) not in (None, "")), None)


def find_address_problem(email: object) -> str | None:
    """Return a note on why an e-mail address cannot be used; None for a usable or missing address."""
    with suppress(BadItem):
        address = text(email)
        if address is None or (looks_like_address(address) and BROKEN not in address):
            return None
    return f"`{str(email).strip()[:80]}` is not an e-mail address and was left out"


def moment(value: object) -> int | None:
    """Return a time in µs since 1970, parsed as *read_moment* does."""
    parsed = read_moment(value)
    return None if parsed is None else parsed.at


def bounded_key(key: str) -> str:
    """Return a dedupe key of limited length; raises BadItem if it lost a character, because others may share it."""
    if BROKEN in key:
        raise BadItem(f"its id `{key[:80]}` holds a character that cannot be read")
    return key if len(key) <= LONGEST else "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def key_of(*parts: object) -> str | None:
    """Return a key that joins the parts which make an event unique, or None if a part is missing."""
    texts = [text(part) if not isinstance(part, Decimal) else str(part) for part in parts]
    return bounded_key(":".join(value for value in texts if value is not None)) if None not in texts else None


def as_text(value: object) -> str:
    """Return a part of a document as JSON text, for the quarantine."""
    return _encoder.encode(value)
