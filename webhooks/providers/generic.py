"""Read this product's own body format, signed by Standard Webhooks, which scripts and automations send.

https://www.standardwebhooks.com"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError
from pydantic.dataclasses import dataclass

from storage.domain.contacts import (
    MOST_CHARACTERS,
    MOST_IN_ATTRIBUTE_NAME,
    MOST_IN_TAG,
    MOST_TAGS,
    TEXT_FIELDS,
    ContactFields,
    Json,
    Reference,
    clean_address,
    clean_fields,
)
from storage.domain.errors import BadItem, Refusal
from storage.domain.facts import Deletion, Item, ItemRequest, Merge, Op, Unusable
from storage.domain.numbers import THOUSAND, from_json
from storage.domain.sources import SetupStep
from webhooks.authentication.credentials import Signature
from webhooks.authentication.recipes import RECIPES
from webhooks.limits import MAX_ITEMS
from webhooks.providers.contract import Arrived, BadBody, Provider
from webhooks.read.attributes import read_attributes
from webhooks.read.extract import SenderEvent, find_address_problem, get_path, text
from webhooks.read.json_bodies import Rejected

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)((?::60)|:\d\d(?:\.\d+)?)(Z|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OPS = {"score.set": Op.SET, "score.add": Op.ADD, "score.clear": Op.CLEAR}

Named = Annotated[str, Field(min_length=1, max_length=MOST_IN_ATTRIBUTE_NAME)]
Tag = Annotated[str, Field(min_length=1, max_length=MOST_IN_TAG)]
ITEM = "item"
MOST_IGNORED = 20  #: ignored fields that an answer names
#: what to send for a field that an item must have
_EXPECTED = {
    "type": "send one of score.set, score.add, score.clear, activity, contact.upsert, contact.merge, contact.delete",
    "contact": "send its `email`, or the `id` that it has in your system",
}


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(str_max_length=MOST_CHARACTERS))
class _Contact(ContactFields):
    """The contact that an item is about. Strings without a limit of their own have at most MOST_CHARACTERS."""

    id: str | StrictInt | None = None
    tags: Annotated[list[Tag], Field(max_length=MOST_TAGS)] | None = None
    attributes: dict[Named, object] | None = None


class _Item(BaseModel):
    """One item of a body."""

    model_config = ConfigDict(strict=True)

    type: Literal[
        "score.set", "score.add", "score.clear", "activity", "contact.upsert", "contact.merge", "contact.delete"
    ]
    contact: _Contact
    into: _Contact | None = None
    activity: Named | None = None
    score: str | None = None
    value: object = None
    id: Annotated[str, Field(min_length=1, max_length=255)] | int | None = None
    occurred_at: str | None = None
    reason: Annotated[str, Field(max_length=1000)] | None = None


_ITEM_FIELDS = frozenset(_Item.model_fields)
_CONTACT_FIELDS = frozenset(contact_field.name for contact_field in fields(_Contact))


def _split_items(arrived: Arrived) -> Iterable[tuple[str, object]]:
    """Return the single item, or the items of the list in `items`; raises BadBody."""
    document = arrived.document
    if isinstance(document, Rejected):
        return [(ITEM, document)]
    if not isinstance(document, dict) or not ({"items", "type"} & document.keys()):
        missing = f" `type` is missing: {_EXPECTED['type']}." if isinstance(document, dict) and document else ""
        raise BadBody(f'The body must be one item, {{"type": …, "contact": …}}, or {{"items": […]}}.{missing}')
    if "items" in document and {"contact", "score", "value", "activity"} & document.keys():
        raise BadBody("The body must be one item, or a list of them in `items`; this one is both.")
    items = document.get("items", [document])
    if not isinstance(items, list):
        raise BadBody("`items` must be a list.")
    if len(items) > MAX_ITEMS:
        raise BadBody(f"A body holds at most {MAX_ITEMS:,} items; this one has {len(items):,}. Send several.")
    # An element that is not an item is passed on too, so that the handler reports what is wrong with it.
    return ((ITEM, item) for item in items)


def _list_ignored_fields(document: object) -> list[str]:
    """Return the names of the fields of a body that are not read, as `contact.emial`: the first MOST_IGNORED."""
    if not isinstance(document, dict):
        return []
    return list(islice(dict.fromkeys(_iterate_ignored_fields(document)), MOST_IGNORED))


def _iterate_ignored_fields(document: Mapping[str, object]) -> Iterator[str]:
    if "items" not in document:
        yield from _iterate_unknown_names(document, _ITEM_FIELDS)
        return
    for name, value in document.items():
        if name != "items":
            yield name[:MOST_IN_ATTRIBUTE_NAME]
        elif isinstance(value, list):
            for item in value:
                yield from _iterate_unknown_names(item, _ITEM_FIELDS)


def _iterate_unknown_names(document: object, known: Collection[str], *, prefix: str = "") -> Iterator[str]:
    for name, value in document.items() if isinstance(document, dict) else ():
        if name not in known:
            yield prefix + name[:MOST_IN_ATTRIBUTE_NAME]
        elif name in ("contact", "into") and not prefix:
            yield from _iterate_unknown_names(value, _CONTACT_FIELDS, prefix=f"{name}.")


def _read_event(event: SenderEvent) -> list[ItemRequest]:
    for part in ("contact", "into"):
        contact = get_path(event.body, part)
        if contact is not None:
            with suppress(BadItem):  # _read_item reports what is wrong with the contact
                event.contact(id=get_path(contact, "id"), email=get_path(contact, "email"))
    return [_read_item(event.body, key=event.key, source=event.source.slug, raw=event.raw)]


def _read_item(document: object, *, key: str, source: str, raw: str) -> ItemRequest:
    try:
        item = _Item.model_validate(document)
    except ValidationError as exc:
        return Unusable(key=_read_own_key(document) or key, reason=_describe_error(exc), raw=raw)
    key = str(item.id) if item.id is not None else key
    note = find_address_problem(item.contact.email) if item.contact.id not in (None, "") else None
    if item.contact.email is not None and (note is not None or not text(item.contact.email)):
        item.contact = replace(item.contact, email=None)
    try:
        built = _build_item(item, key=key, source=source, raw=raw)
        return replace(built, note=note) if isinstance(built, Item) and note is not None else built
    except Refusal as exc:
        return Unusable(key=key, reason=str(exc), raw=raw)


def _build_item(item: _Item, *, key: str, source: str, raw: str) -> ItemRequest:
    """Return the change that an item describes; raises a Refusal with the reason if it is unusable."""
    op, contact, at = _OPS.get(item.type), _build_reference(item.contact, source=source), _parse_time(item.occurred_at)
    if item.type == "contact.merge":
        duplicate, into = _find_merge_pair(item, contact, source=source)
        return Merge(key=key, contact=duplicate, into=into, occurred_at=at, raw=raw)
    if item.type == "contact.delete":
        return Deletion(key=key, contact=contact, occurred_at=at, raw=raw)
    if op in (Op.SET, Op.ADD) and item.value is None:
        raise Refusal("`value` is missing: send a number, for example 87")
    if op is not None and item.score is None:
        raise Refusal("`score` is missing: name the score type, for example fit")
    if item.type == "activity" and item.activity is None:
        raise Refusal("`activity` is missing: name what the contact did, for example demo_booked")
    amount = from_json(item.value) if op in (Op.SET, Op.ADD) else 0
    if item.type == "activity":
        amount = from_json(item.value) if item.value is not None else THOUSAND
    return Item(
        key=key,
        contact=contact,
        score=item.score if op is not None else None,
        op=op,
        amount=amount,
        occurred_at=at,
        activity=item.activity if item.type == "activity" else None,
        reason=item.reason,
        fields=_read_contact_fields(item.contact, upsert=item.type == "contact.upsert"),
        raw=raw,
    )


def _find_merge_pair(item: _Item, contact: Reference, *, source: str) -> tuple[Reference, Reference]:
    """Return the duplicate and the contact to merge it into: `into`, or else the id's contact into the address's."""
    if item.into is not None:
        return contact, _build_reference(item.into, source=source)
    if contact.email is None or contact.id is None:
        raise Refusal('`into` is missing: name the contact to merge into, for example {"email": "ada@example.com"}')
    return replace(contact, email=None), replace(contact, id=None)


def _read_own_key(document: object) -> str | None:
    id = document.get("id") if isinstance(document, dict) else None
    id = str(id) if isinstance(id, int) and not isinstance(id, bool) else id
    return id if isinstance(id, str) and 1 <= len(id) <= 255 else None


def _describe_error(exc: ValidationError) -> str:
    """Return a sentence about the fields that are missing, or else about the first field that is invalid."""
    errors = exc.errors(include_url=False, include_input=False)
    missing = [str(error["loc"][0]) for error in errors if error["type"] == "missing"]
    if missing:
        return "; ".join(f"`{name}` is missing: {_EXPECTED[name]}" for name in missing)
    error = errors[0]
    # pydantic's path includes the types of a union that it tried, which are not part of the sender's document.
    path = [part for part in error["loc"] if isinstance(part, int) or part.isidentifier()]
    location = ".".join(str(part) for part in path if part not in ("str", "int"))
    limits = error.get("ctx", {})
    match error["type"]:
        case "string_type" | "int_type":
            problem = "must be text" + (", like 2026-01-31T09:30:00Z" if location == "occurred_at" else "")
        case "list_type":
            problem = "must be a list"
        case "dict_type" | "model_type" | "dataclass_type":
            problem = "must be an object"
        case "literal_error":
            problem = f"must be {limits['expected']}"
        case "string_too_short":
            problem = "is blank"
        case "string_too_long" | "too_long":
            problem = f"is longer than {limits['max_length']}"
        case _:
            problem = f"cannot be used: {error['msg']}"
    return f"`{location}` {problem}" if location else "the item must be a JSON object"


def _build_reference(contact: _Contact, *, source: str) -> Reference:
    own_id, email = text(contact.id), clean_address(contact.email or "") or None
    if email is None and own_id is None:
        raise Refusal('`contact` has neither `email` nor `id`: send one of them, such as "email": "ada@example.com"')
    return Reference(email=email, source=source, id=own_id)


def _read_contact_fields(contact: _Contact, *, upsert: bool) -> Mapping[str, Json]:
    """Return the contact's fields: null leaves a field unchanged, a blank clears it."""
    fields: dict[str, Json] = {
        name: value for name in TEXT_FIELDS if name != "email" and (value := getattr(contact, name)) is not None
    }
    # An address beside an id may be a new address of the contact with that id.
    if clean_address(contact.email or "") and (upsert or contact.id not in (None, "")):
        fields["email"] = contact.email
    if contact.tags is not None:
        fields["tags"] = list[Json](contact.tags)
    return clean_fields(fields | read_attributes(contact.attributes or {}, name="contact.attributes"))


def _parse_time(timestamp: str | None) -> int | None:
    """Return a time of RFC 3339 in µs since 1970. A leap second becomes the end of the second before."""
    if timestamp is None:
        return None
    match = _RFC3339.fullmatch(timestamp.upper())
    if match is None:
        raise Refusal(f"`occurred_at` {timestamp[:40]!r} is not a time with a zone, like 2026-01-31T09:30:00Z")
    try:
        moment = datetime.fromisoformat(
            f"{match[1]}T{match[2]}{':59.999999' if match[3] == ':60' else match[3]}{match[4]}"
        )
    except ValueError as exc:
        raise Refusal(f"`occurred_at` {timestamp[:40]!r} is a time that does not exist") from exc
    return (moment - _EPOCH) // timedelta(microseconds=1)


PROVIDER = Provider(
    steps=(
        SetupStep("Send POST requests with a JSON body to {url}"),
        SetupStep("Sign them as Standard Webhooks does, with the secret {secret}"),
    ),
    reads="scores, activities, fields of contacts, merges and deletions, as *Push scores in* shows them",
    leaves="unknown fields; the answer lists them as `ignored_fields`",
    proof=lambda source: Signature(RECIPES["standard-webhooks"]),
    events={ITEM: _read_event},
    split=_split_items,
    takes=frozenset(),
    by_item=True,
    list_ignored_fields=_list_ignored_fields,
)
