"""Read Pipedrive's webhooks, version 1 and version 2; they are not signed, so a password vouches for them.

https://pipedrive.readme.io/docs/guide-for-webhooks-v2"""

from collections.abc import Iterable, Mapping

from storage.domain.contacts import Reference
from storage.domain.facts import ItemRequest, Merge
from webhooks.authentication.credentials import Basic
from webhooks.providers.contract import Arrived, Handler, Provider, ignore
from webhooks.read.extract import (
    Event,
    contact_fields,
    event_name,
    get_path,
    key_of,
    moment,
    objects,
    require_object,
    scores,
)

GONE = "a person deleted in Pipedrive stays here"


def _split(arrived: Arrived) -> Iterable[tuple[str, object]]:
    """Name the event as its version does: `updated.person` in the first, `change.person` in the second."""
    body = require_object(arrived.document, "the body")
    meta = objects(body.get("meta"))
    return [(event_name(meta.get("action"), meta.get("entity" if "entity" in meta else "object")), body)]


def _one(event: Event) -> list[ItemRequest]:
    """Read version 1: the whole person before and after, known by webhook, person and time in µs."""
    meta, now, before = (objects(get_path(event.body, name)) for name in ("meta", "current", "previous"))
    key = key_of("pipedrive", meta.get("webhook_id"), meta.get("id"), meta.get("timestamp_micro"))
    at = moment(meta.get("timestamp_micro") or meta.get("timestamp"))
    return _scores(event, now, before, contact=_person(event, now, meta.get("id"), now.get("email")), key=key, at=at)


def _two(event: Event) -> list[ItemRequest]:
    """Read version 2: the person, and of what was before the changed fields alone; custom fields stand apart."""
    meta, data = objects(get_path(event.body, "meta")), objects(get_path(event.body, "data"))
    person = _person(event, data, meta.get("entity_id"), data.get("emails"))
    previous = objects(get_path(event.body, "previous"))
    said = {**data, **objects(data.get("custom_fields"))}
    changed = {**previous, **objects(previous.get("custom_fields"))}
    if meta.get("action") == "change" and changed:
        said = {name: said.get(name) for name in changed}
    return _scores(event, said, changed, contact=person, key=key_of(meta.get("id")), at=moment(meta.get("timestamp")))


def _scores(
    event: Event,
    said: Mapping[str, object],
    before: Mapping[str, object],
    *,
    contact: Reference,
    key: str | None,
    at: int | None,
) -> list[ItemRequest]:
    """Take the properties that changed; one that had a value and has none was cleared."""
    bare = {name: _bare(value) for name, value in said.items()}
    was = {name: _bare(value) for name, value in before.items()}
    changed = {name: value for name, value in bare.items() if name not in was or was[name] != value}
    cleared = {name for name, value in changed.items() if value is None and was.get(name) is not None}
    name = get_path(event.body, "data", "name") or get_path(event.body, "current", "name")
    about = contact_fields(contact, name=name)
    if not changed and bare:
        return event.ignored("none of its properties changed")
    return scores(event, changed, contact=contact, key=key, occurred_at=at, cleared=cleared, about=about)


def _bare(value: object) -> object:
    """Give a custom field's value, which version 2 wraps together with its type."""
    return value.get("value") if isinstance(value, dict) else value


def _person(event: Event, said: Mapping[str, object], id: object, emails: object) -> Reference:
    listed = emails if isinstance(emails, list) else [{"value": emails}]
    filled = [one for one in listed if get_path(one, "value")]
    chosen = next((one for one in filled if get_path(one, "primary") is True), filled[0] if filled else None)
    return event.contact(id=said.get("id") or id, email=get_path(chosen, "value"))


def _deleted(event: Event) -> list[ItemRequest]:
    """Read the end of a person, who may have been merged into another."""
    meta = objects(get_path(event.body, "meta"))
    if meta.get("merged_to_id") is None:
        return event.ignored(GONE)
    gone, into = event.contact(id=meta.get("entity_id")), event.contact(id=meta.get("merged_to_id"))
    key = key_of(meta.get("id")) or event.key
    return [Merge(key=key, contact=gone, into=into, occurred_at=moment(meta.get("timestamp")), raw=event.raw)]


EVENTS: Mapping[str, Handler] = {
    "added.person": _one,
    "updated.person": _one,
    "deleted.person": ignore(GONE),
    "create.person": _two,
    "change.person": _two,
    "delete.person": _deleted,
}

PROVIDER = Provider(
    steps=(
        "In Pipedrive, under Tools and apps, Webhooks, choose Create new webhook",
        "Set the event action to *, the event object to person, and the endpoint URL to {url}",
        "Set HTTP Auth to the user name of the source and the password {secret}",
        "Say which field is which score, by the field's API key (40 characters, under Data fields):"
        " contact-score source set SLUG --map API_KEY=score",
    ),
    proof=lambda source: Basic(source.settings.username or source.slug),
    events=EVENTS,
    split=_split,
    takes=frozenset({"map", "username"}),
    username=True,
)
