"""Read HubSpot: an app's webhooks for property changes and other events, and the webhooks of workflows.

https://developers.hubspot.com/docs/api/webhooks
Event ids are not unique and a retry changes the body, so the key of an event is what changed and when."""

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from storage.domain.backoff import SECOND
from storage.domain.contacts import Json, Reference
from storage.domain.facts import Deletion, Item, ItemRequest, Merge
from storage.domain.numbers import show
from storage.domain.sources import SetupStep, Source
from webhooks.authentication.credentials import Authenticator, Signature
from webhooks.authentication.recipes import RECIPES
from webhooks.providers.contract import ApiCall, Arrived, Handler, Provider, Readback, Writeback, Writes, ignore
from webhooks.read.extract import (
    SenderEvent,
    bounded_key,
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

API = "https://api.hubapi.com"
CONTACT = "0-1"  # the objectTypeId of contacts
WORKFLOW, OBJECT = "workflow", "workflow.other"
OTHER = "it is about other objects than contacts"
GONE = "a contact deleted in HubSpot stays here; a privacy deletion removes it"


def _build_authenticator(source: Source) -> Authenticator:
    return Signature(RECIPES[f"hubspot-{source.settings.options.get('signature', 'v3')}"])


def _split_events(arrived: Arrived) -> Iterable[tuple[str, object]]:
    """Return the events of an app's list, or the single object that a workflow sends."""
    if isinstance(arrived.document, dict):
        is_contact = (
            any(name in arrived.document for name in ("vid", "objectId", "id"))
            and isinstance(arrived.document.get("properties"), dict)
            and not _is_other(arrived.document)
        )
        return [(WORKFLOW if is_contact else OBJECT, arrived.document)]
    events = require_list(arrived.document, "the body")
    return [(str(get_path(event, "subscriptionType") or get_path(event, "eventType") or ""), event) for event in events]


def _is_other(body: Mapping[str, object]) -> bool:
    """Return whether an event is about another kind of object than contacts."""
    return body.get("objectTypeId") not in (None, CONTACT)


def _read_change(event: SenderEvent) -> list[ItemRequest]:
    """Return the change of a property. A blank value clears the property."""
    body = require_object(event.body, "the event")
    if _is_other(body):
        return event.ignored(OTHER)
    name, value = text(body.get("propertyName")) or "", body.get("propertyValue")
    parts = (body.get(part) for part in ("portalId", "subscriptionId", "objectId", "propertyName", "occurredAt"))
    key = key_of("hubspot", *parts)
    is_blank = value is None or (isinstance(value, str) and not value.strip())
    # A property may have two values in one millisecond: https://developers.hubspot.com/docs/api/webhooks
    return scores(
        event, {name: value}, contact=event.contact(id=body.get("objectId")), key=key, former_key=key,
        by_value=key is not None, occurred_at=event.moment(body.get("occurredAt")), cleared={name} if is_blank else (),
    )  # fmt: skip  # content and owner, time and kind


def _read_merge(event: SenderEvent) -> list[ItemRequest]:
    body = require_object(event.body, "the event")
    if _is_other(body):
        return event.ignored(OTHER)
    survivor = text(body.get("newObjectId")) or text(body.get("primaryObjectId"))
    others = [text(id) for id in require_list(body.get("mergedObjectIds"), "`mergedObjectIds`")]
    into, at = event.contact(id=survivor), event.time(body.get("occurredAt"))
    duplicates = [
        id for id in dict.fromkeys([*others, text(body.get("primaryObjectId"))]) if id not in (None, survivor)
    ]
    return [
        Merge(
            key=key_of("hubspot", body.get("portalId"), "merge", survivor, id, body.get("occurredAt"))
            or bounded_key(f"{event.key}/{id}"),
            contact=event.contact(id=id), into=into, occurred_at=at, raw=event.raw,
        )
        for id in duplicates
    ] or event.ignored("it names no contact that was merged")  # fmt: skip  # the key, then the two contacts


def _read_privacy_deletion(event: SenderEvent) -> list[ItemRequest]:
    body = require_object(event.body, "the event")
    key = key_of("hubspot", body.get("portalId"), "privacyDeletion", body.get("objectId"), body.get("occurredAt"))
    contact = event.contact(id=body.get("objectId"))
    return [
        Deletion(key=key or event.key, contact=contact, occurred_at=event.time(body.get("occurredAt")), raw=event.raw)
    ]


def _read_workflow(event: SenderEvent) -> list[ItemRequest]:
    """Return the scores of the contact that a workflow sends. In the older format every property has versions."""
    body = require_object(event.body, "the body")
    properties = objects(body.get("properties"))
    values = {name: entry.get("value") if isinstance(entry, dict) else entry for name, entry in properties.items()}
    id = next((body[name] for name in ("vid", "objectId", "id") if body.get(name) is not None), None)
    contact = event.contact(id=id, email=values.get("email"))
    items: list[ItemRequest] = []
    about = _read_contact_fields(contact, values)
    for name, value in values.items():
        if event.source.score_type(name) is None and not event.source.writes(name):
            continue
        changed = get_path(properties[name], "versions", 0, "timestamp") or body.get("updatedAt")
        is_blank = isinstance(value, str) and not value.strip()
        # The same version of a score arrives whenever the workflow runs, possibly with changed fields of the contact.
        key = key_of("hubspot-wf", body.get("portal-id") or 0, id, name, changed, *about.values())
        items += scores(
            event, {name: value}, contact=contact, key=key, occurred_at=event.moment(changed),
            cleared={name} if is_blank else (), about=about,
        )  # fmt: skip  # content and owner, time and kind
    return items or event.ignored("none of its properties is mapped to a score type, or named like one")


def _read_contact_fields(contact: Reference, values: Mapping[str, object]) -> dict[str, Json]:
    full_name = " ".join(part for part in (text(values.get("firstname")), text(values.get("lastname"))) if part)
    return contact_fields(contact, name=full_name, company=values.get("company"))


def _build_path(_: Source, id: str) -> str:
    """Return the path of a contact: https://developers.hubspot.com/docs/api/crm/contacts"""
    return f"/crm/v3/objects/contacts/{quote(id, safe='')}?properties=email,firstname,lastname,company"


def _read_answer(event: SenderEvent) -> list[ItemRequest]:
    """Return the contact's fields, under the requested id: for a merged contact HubSpot answers with the survivor's."""
    body = require_object(event.body, "the answer")
    values = require_object(body.get("properties"), "the contact's `properties`")
    contact = event.contact(id=event.around["id"], email=values.get("email"))
    about, at = _read_contact_fields(contact, values), event.time(body.get("updatedAt"))
    if not about:
        return event.ignored("HubSpot knows neither an address nor a name of it")
    return [Item(key=event.key, contact=contact, fields=about, occurred_at=at, raw=event.raw)]


def _build_write(writes: Writes) -> ApiCall:
    """Return the request that updates up to 100 contacts; a blank clears a property.

    https://developers.hubspot.com/docs/api-reference/legacy/crm/objects/contacts/batch/update-contacts
    """
    inputs = [
        {"id": id, "properties": {name: "" if value is None else show(value) for name, value in values.items()}}
        for id, values in writes
    ]
    return ApiCall(method="POST", path="/crm/v3/objects/contacts/batch/update", body={"inputs": inputs})


def _find_refused(answer: object, writes: Writes) -> dict[str, str]:
    """Return the contacts that the errors in an answer are about; an error without ids is about all of them."""
    refused: dict[str, str] = {}
    for error in lists(get_path(answer, "errors")):
        ids = [str(id) for id in lists(get_path(error, "context", "ids"))] or [id for id, _ in writes]
        refused |= dict.fromkeys(ids, str(get_path(error, "message") or get_path(error, "category") or "refused"))
    return refused


EVENTS: Mapping[str, Handler] = {
    "contact.propertyChange": _read_change,
    "object.propertyChange": _read_change,
    "contact.merge": _read_merge,
    "object.merge": _read_merge,
    "contact.privacyDeletion": _read_privacy_deletion,
    "contact.creation": ignore("a new contact has no score yet"),
    "contact.deletion": ignore(GONE),
    "contact.restore": ignore("a restored contact brings no score"),
    WORKFLOW: _read_workflow,
    OBJECT: ignore("it is not a contact: use a contact workflow, and send all properties"),
}

PROVIDER = Provider(
    steps=(
        SetupStep("In your HubSpot app, under Webhooks, set the target URL to {url}"),
        SetupStep(
            "Subscribe to contact.propertyChange for each score property, and to contact.merge and"
            " contact.privacyDeletion"
        ),
        SetupStep("HubSpot signs with the app's client secret", {"secret": "CLIENT_SECRET"}),
        SetupStep("Say which property is which score", {"map": "hubspotscore=score"}),
        SetupStep(
            "HubSpot names contacts by their ids alone; for their addresses and names give it the token of a"
            " private app with the scope crm.objects.contacts.read",
            {"api-token": "TOKEN"},
        ),
        SetupStep(
            "To write scores to HubSpot, create a number property for contacts, give the private app the scope"
            " crm.objects.contacts.write too, and name the property",
            {"write-back": "score=PROPERTY"},
        ),
        SetupStep("Where a proxy changes the address, say which one HubSpot calls", {"public-url": "URL"}),
        SetupStep(
            "For the action Send a webhook of a workflow add a second source with --option signature=v2",
            in_slack="For the action Send a webhook of a workflow add a second source with the option `signature=v2`",
        ),
    ),
    reads=(
        "mapped properties (a blank property is cleared), merges, privacy deletions; of a workflow's contact"
        " also `email`, `firstname`, `lastname` and `company`"
    ),
    leaves="objects other than contacts, and properties without a mapping",
    signed_with="the client secret of your app",
    proof=_build_authenticator,
    events=EVENTS,
    split=_split_events,
    options={"signature": ("v3", "v2", "v1")},
    takes=frozenset({"map", "public_url"}),
    readback=Readback(base=API, path=_build_path, handler=_read_answer),
    writeback=Writeback(
        base=API,
        most=100,
        pace=SECOND // 2,  # with the read-backs, less than the 100 requests in 10 seconds that every app may make
        call=_build_write,
        authorize=lambda token: {"authorization": f"Bearer {token}"},
        refused=_find_refused,
        problem=lambda answer: str(get_path(answer, "message") or ""),
    ),
)
