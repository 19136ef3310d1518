"""Read Pipedrive's webhooks, versions 1 and 2. They are not signed, so a password authenticates them.

https://pipedrive.readme.io/docs/guide-for-webhooks-v2"""

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from storage.domain.backoff import SECOND
from storage.domain.contacts import Reference
from storage.domain.facts import ItemRequest, Merge
from storage.domain.moments import Moment
from storage.domain.numbers import to_json
from storage.domain.sources import SetupStep
from webhooks.authentication.credentials import Basic
from webhooks.providers.contract import ApiCall, Arrived, Handler, Provider, Writeback, Writes, ignore
from webhooks.read.extract import (
    SenderEvent,
    choose_address,
    contact_fields,
    event_name,
    get_path,
    key_of,
    objects,
    require_object,
    scores,
)

GONE = "a person deleted in Pipedrive stays here"


def _split_events(arrived: Arrived) -> Iterable[tuple[str, object]]:
    """Return the event with its version's name: `updated.person` in version 1, `change.person` in version 2."""
    body = require_object(arrived.document, "the body")
    meta = objects(body.get("meta"))
    return [(event_name(meta.get("action"), meta.get("entity" if "entity" in meta else "object")), body)]


def _read_version_1(event: SenderEvent) -> list[ItemRequest]:
    """Return the items of version 1: the whole person before and after; the key is webhook, person and time in µs."""
    meta, current, previous = (objects(get_path(event.body, name)) for name in ("meta", "current", "previous"))
    key = key_of("pipedrive", meta.get("webhook_id"), meta.get("id"), meta.get("timestamp_micro"))
    at = event.moment(meta.get("timestamp_micro") or meta.get("timestamp"))
    return _read_scores(
        event,
        current,
        previous,
        contact=_read_person(event, current, meta.get("id"), current.get("email")),
        key=key,
        at=at,
    )


def _read_version_2(event: SenderEvent) -> list[ItemRequest]:
    """Return the items of version 2: the person, with only the changed fields before, and separate custom fields."""
    meta, data = objects(get_path(event.body, "meta")), objects(get_path(event.body, "data"))
    person = _read_person(event, data, meta.get("entity_id"), data.get("emails"))
    previous = objects(get_path(event.body, "previous"))
    fields = {**data, **objects(data.get("custom_fields"))}
    changed = {**previous, **objects(previous.get("custom_fields"))}
    if meta.get("action") == "change" and changed:
        fields = {name: fields.get(name) for name in changed}
    return _read_scores(
        event, fields, changed, contact=person, key=key_of(meta.get("id")), at=event.moment(meta.get("timestamp"))
    )


def _read_scores(
    event: SenderEvent,
    fields: Mapping[str, object],
    before: Mapping[str, object],
    *,
    contact: Reference,
    key: str | None,
    at: Moment | None,
) -> list[ItemRequest]:
    """Return the properties that changed. A property that had a value and now has none is cleared."""
    current = {name: _unwrap_value(value) for name, value in fields.items()}
    previous = {name: _unwrap_value(value) for name, value in before.items()}
    changed = {name: value for name, value in current.items() if name not in previous or previous[name] != value}
    cleared = {name for name, value in changed.items() if value is None and previous.get(name) is not None}
    name = get_path(event.body, "data", "name") or get_path(event.body, "current", "name")
    about = contact_fields(contact, name=name)
    if not changed and current:
        return event.ignored("none of its properties changed")
    return scores(event, changed, contact=contact, key=key, occurred_at=at, cleared=cleared, about=about)


def _unwrap_value(value: object) -> object:
    """Return a custom field's value. Version 2 wraps the value in an object with its type."""
    return value.get("value") if isinstance(value, dict) else value


def _read_person(event: SenderEvent, fields: Mapping[str, object], id: object, emails: object) -> Reference:
    addresses = emails if isinstance(emails, list) else [{"value": emails}]
    entries = sorted(addresses, key=lambda address: get_path(address, "primary") is not True)
    email = choose_address(get_path(address, "value") for address in entries)
    return event.contact(id=fields.get("id") or id, email=email)


def _read_deletion(event: SenderEvent) -> list[ItemRequest]:
    """Return a merge if the deleted person was merged into another, or else an ignored item."""
    meta = objects(get_path(event.body, "meta"))
    if meta.get("merged_to_id") is None:
        return event.ignored(GONE)
    duplicate, into = event.contact(id=meta.get("entity_id")), event.contact(id=meta.get("merged_to_id"))
    key = key_of(meta.get("id")) or event.key
    return [Merge(key=key, contact=duplicate, into=into, occurred_at=event.time(meta.get("timestamp")), raw=event.raw)]


def _build_write(writes: Writes) -> ApiCall:
    """Return the request that updates one person: https://developers.pipedrive.com/docs/api/v1/Persons#updatePerson"""
    ((id, values),) = writes
    fields = {name: None if value is None else to_json(value) for name, value in values.items()}
    return ApiCall(method="PATCH", path=f"/api/v2/persons/{quote(id, safe='')}", body={"custom_fields": fields})


EVENTS: Mapping[str, Handler] = {
    "added.person": _read_version_1,
    "updated.person": _read_version_1,
    "deleted.person": ignore(GONE),
    "create.person": _read_version_2,
    "change.person": _read_version_2,
    "delete.person": _read_deletion,
}

PROVIDER = Provider(
    steps=(
        SetupStep("In Pipedrive, under Tools and apps, Webhooks, choose Create new webhook"),
        SetupStep("Set the event action to *, the event object to person, and the endpoint URL to {url}"),
        SetupStep("Set HTTP Auth to the user name of the source and the password {secret}"),
        SetupStep(
            "Say which field is which score, by the field's API key (40 characters, under Data fields)",
            {"map": "API_KEY=score"},
        ),
        SetupStep(
            "To write scores to Pipedrive, create a numerical field for persons, and name its API key; your API token"
            " is under Personal preferences, API",
            {"write-back": "score=API_KEY", "api-token": "TOKEN"},
        ),
    ),
    reads=(
        "the mapped fields of a person that changed (a field that became empty is cleared), `name`, the first"
        " valid address, the primary first, and merges"
    ),
    leaves="organizations and deals, and fields that did not change",
    proof=lambda source: Basic(source.settings.username or source.slug),
    events=EVENTS,
    split=_split_events,
    takes=frozenset({"map", "username"}),
    username=True,
    writeback=Writeback(
        base="https://api.pipedrive.com",
        most=1,
        pace=SECOND // 5,  # half of the 20 requests in 2 seconds that the smallest plan allows
        call=_build_write,
        authorize=lambda token: {"x-api-token": token},
        refused=lambda answer, writes: {},
        problem=lambda answer: str(get_path(answer, "error") or ""),
    ),
)
