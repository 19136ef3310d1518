"""Read HubSpot: property changes and other webhooks of an app, and what workflows send.

https://developers.hubspot.com/docs/api/webhooks
Event ids are not unique and a retry changes the body, so an event is known by what changed and when."""

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from storage.domain.contacts import Json, Reference
from storage.domain.facts import Deletion, Item, ItemRequest, Merge
from storage.domain.sources import Source
from webhooks.authentication.credentials import Authenticator, Signature
from webhooks.authentication.recipes import RECIPES
from webhooks.providers.contract import Arrived, Handler, Provider, Readback, ignore
from webhooks.read.extract import (
    Event,
    bounded_key,
    contact_fields,
    get_path,
    key_of,
    moment,
    objects,
    require_list,
    require_object,
    scores,
    text,
)

CONTACT = "0-1"  # the objectTypeId of contacts
WORKFLOW, OBJECT = "workflow", "workflow.other"
OTHER = "it is about other objects than contacts"
GONE = "a contact deleted in HubSpot stays here; a privacy deletion removes it"


def _proof(source: Source) -> Authenticator:
    return Signature(RECIPES[f"hubspot-{source.settings.options.get('signature', 'v3')}"])


def _split(arrived: Arrived) -> Iterable[tuple[str, object]]:
    """Tell the list of an app's webhooks from the one object that a workflow sends."""
    if isinstance(arrived.document, dict):
        is_contact = (
            any(name in arrived.document for name in ("vid", "objectId", "id"))
            and isinstance(arrived.document.get("properties"), dict)
            and not _is_other(arrived.document)
        )
        return [(WORKFLOW if is_contact else OBJECT, arrived.document)]
    events = require_list(arrived.document, "the body")
    return [(str(get_path(one, "subscriptionType") or get_path(one, "eventType") or ""), one) for one in events]


def _is_other(said: Mapping[str, object]) -> bool:
    """Tell whether it is about another kind of objects than contacts."""
    return said.get("objectTypeId") not in (None, CONTACT)


def _changed(event: Event) -> list[ItemRequest]:
    """Read a property change; a blank value says that the property was cleared."""
    said = require_object(event.body, "the event")
    if _is_other(said):
        return event.ignored(OTHER)
    name, value = text(said.get("propertyName")) or "", said.get("propertyValue")
    parts = (said.get(part) for part in ("portalId", "subscriptionId", "objectId", "propertyName", "occurredAt"))
    is_blank = value is None or (isinstance(value, str) and not value.strip())
    return scores(
        event, {name: value}, contact=event.contact(id=said.get("objectId")), key=key_of("hubspot", *parts),
        occurred_at=moment(said.get("occurredAt")), cleared={name} if is_blank else (),
    )  # fmt: skip  # what and whose, when and how


def _merged(event: Event) -> list[ItemRequest]:
    said = require_object(event.body, "the event")
    if _is_other(said):
        return event.ignored(OTHER)
    survivor = text(said.get("newObjectId")) or text(said.get("primaryObjectId"))
    others = [text(one) for one in require_list(said.get("mergedObjectIds"), "`mergedObjectIds`")]
    into, at = event.contact(id=survivor), moment(said.get("occurredAt"))
    gone = [one for one in dict.fromkeys([*others, text(said.get("primaryObjectId"))]) if one not in (None, survivor)]
    return [
        Merge(
            key=key_of("hubspot", said.get("portalId"), "merge", survivor, one, said.get("occurredAt"))
            or bounded_key(f"{event.key}/{one}"),
            contact=event.contact(id=one), into=into, occurred_at=at, raw=event.raw,
        )
        for one in gone
    ] or event.ignored("it names no contact that was merged")  # fmt: skip  # the key, then the two


def _forgotten(event: Event) -> list[ItemRequest]:
    said = require_object(event.body, "the event")
    key = key_of("hubspot", said.get("portalId"), "privacyDeletion", said.get("objectId"), said.get("occurredAt"))
    contact = event.contact(id=said.get("objectId"))
    return [Deletion(key=key or event.key, contact=contact, occurred_at=moment(said.get("occurredAt")), raw=event.raw)]


def _workflow(event: Event) -> list[ItemRequest]:
    """Read the contact that a workflow sends: in the older shape every property has its versions."""
    said = require_object(event.body, "the body")
    properties = objects(said.get("properties"))
    values = {name: one.get("value") if isinstance(one, dict) else one for name, one in properties.items()}
    id = next((said[name] for name in ("vid", "objectId", "id") if said.get(name) is not None), None)
    contact = event.contact(id=id, email=values.get("email"))
    made: list[ItemRequest] = []
    about = _about(contact, values)
    for name, value in values.items():
        if event.source.score_type(name) is None:
            continue
        changed = get_path(properties[name], "versions", 0, "timestamp") or said.get("updatedAt")
        is_blank = isinstance(value, str) and not value.strip()
        # The same version of a score comes again whenever the workflow runs, maybe with news of the contact itself.
        key = key_of("hubspot-wf", said.get("portal-id") or 0, id, name, changed, *about.values())
        made += scores(
            event, {name: value}, contact=contact, key=key, occurred_at=moment(changed),
            cleared={name} if is_blank else (), about=about,
        )  # fmt: skip  # what and whose, when and how
    return made or event.ignored("none of its properties is mapped to a score type, or named like one")


def _about(contact: Reference, values: Mapping[str, object]) -> dict[str, Json]:
    named = " ".join(one for one in (text(values.get("firstname")), text(values.get("lastname"))) if one)
    return contact_fields(contact, name=named, company=values.get("company"))


def _path(_: Source, id: str) -> str:
    """Read a contact: https://developers.hubspot.com/docs/api/crm/contacts"""
    return f"/crm/v3/objects/contacts/{quote(id, safe='')}?properties=email,firstname,lastname,company"


def _answered(event: Event) -> list[ItemRequest]:
    """Read who a contact is; one that was merged there is answered under the id of the one it is now."""
    said = require_object(event.body, "the answer")
    values = require_object(said.get("properties"), "the contact's `properties`")
    contact = event.contact(id=event.around["id"], email=values.get("email"))
    about, at = _about(contact, values), moment(said.get("updatedAt"))
    if not about:
        return event.ignored("HubSpot knows neither an address nor a name of it")
    return [Item(key=event.key, contact=contact, fields=about, occurred_at=at, raw=event.raw)]


EVENTS: Mapping[str, Handler] = {
    "contact.propertyChange": _changed,
    "object.propertyChange": _changed,
    "contact.merge": _merged,
    "object.merge": _merged,
    "contact.privacyDeletion": _forgotten,
    "contact.creation": ignore("a new contact has no score yet"),
    "contact.deletion": ignore(GONE),
    "contact.restore": ignore("a restored contact brings no score"),
    WORKFLOW: _workflow,
    OBJECT: ignore("it is no contact: let the workflow be one of contacts, and send all properties"),
}

PROVIDER = Provider(
    steps=(
        "In your HubSpot app, under Webhooks, set the target URL to {url}",
        "Subscribe to contact.propertyChange for each score property, and to contact.merge and contact.privacyDeletion",
        "HubSpot signs with the app's client secret: contact-score source set SLUG --secret CLIENT_SECRET",
        "Say which property is which score: contact-score source set SLUG --map hubspotscore=score",
        "HubSpot names contacts by their ids alone; for their addresses and names give it the token of a private app"
        " with the scope crm.objects.contacts.read: contact-score source set SLUG --api-token TOKEN",
        "Where a proxy changes the address, say which one HubSpot calls: --public-url URL",
        "For the action Send a webhook of a workflow make a second source with --option signature=v2",
    ),
    proof=_proof,
    events=EVENTS,
    split=_split,
    options={"signature": ("v3", "v2", "v1")},
    takes=frozenset({"map", "public_url"}),
    readback=Readback(base="https://api.hubapi.com", path=_path, handler=_answered),
)
