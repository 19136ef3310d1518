"""Read Close's event log: the changed fields of a lead or contact. Names of fields may have dots.

https://developer.close.com/resources/webhook-subscriptions/"""

from collections.abc import Iterable, Mapping

from storage.domain.facts import ItemRequest, Merge
from storage.domain.sources import SetupStep
from webhooks.authentication.credentials import Signature
from webhooks.authentication.recipes import RECIPES
from webhooks.providers.contract import Arrived, Handler, Provider, ignore
from webhooks.read.extract import (
    SenderEvent,
    choose_address,
    contact_fields,
    event_name,
    get_path,
    key_of,
    lists,
    objects,
    require_object,
    scores,
)

GONE = "a record deleted in Close stays here"


def _split_events(arrived: Arrived) -> Iterable[tuple[str, object]]:
    body = require_object(get_path(arrived.document, "event"), "its event")
    kind = body.get("object_type") or get_path(body, "data", "object_type")
    action = body.get("action") or get_path(body, "data", "action")
    return [(event_name(kind, action), body)]


def _read_change(event: SenderEvent) -> list[ItemRequest]:
    """Return the changed fields; a field that changed to null is cleared. Times without a zone are UTC."""
    body = require_object(event.body, "its event")
    data, before = objects(body.get("data")), objects(body.get("previous_data"))
    names = body.get("changed_fields") if body.get("action") == "updated" else None
    if isinstance(names, list):
        fields = {name: data.get(name) for name in names if isinstance(name, str)}
        cleared = {name for name, value in fields.items() if value is None}
    else:
        fields = data
        cleared = {name for name, value in fields.items() if value is None and before.get(name) is not None}
    is_lead = body.get("object_type") == "lead"
    contact = event.contact(
        id=body.get("lead_id") or body.get("object_id") if is_lead else body.get("object_id"),
        email=None if is_lead else choose_address(get_path(entry, "email") for entry in lists(data.get("emails"))),
    )
    return scores(
        event, fields, contact=contact, key=key_of(body.get("id")),
        occurred_at=event.moment(body.get("date_created")),
        cleared=cleared, about=contact_fields(contact, name=data.get("display_name") or data.get("name")),
    )  # fmt: skip  # content and owner, time, other fields


def _read_merge(event: SenderEvent) -> list[ItemRequest]:
    """Return the merge of two leads. Close sends separate events for the deleted and the changed lead."""
    body = require_object(event.body, "its event")
    duplicate, into = (get_path(body, "meta", f"merge_{end}_lead_id") for end in ("source", "destination"))
    return [
        Merge(
            key=key_of(body.get("id")) or event.key, contact=event.contact(id=duplicate), into=event.contact(id=into),
            occurred_at=event.time(body.get("date_created")), raw=event.raw,
        )
    ]  # fmt: skip  # the key and the two contacts, then the time


EVENTS: Mapping[str, Handler] = {
    "lead.created": _read_change,
    "lead.updated": _read_change,
    "lead.deleted": ignore(GONE),
    "lead.merged": _read_merge,
    "contact.created": _read_change,
    "contact.updated": _read_change,
    "contact.deleted": ignore(GONE),
}

PROVIDER = Provider(
    steps=(
        SetupStep(
            "In Close, by its API, make a webhook subscription with the url {url} and the events lead.updated,"
            " lead.merged and contact.updated"
        ),
        SetupStep("Close answers with a signature_key", {"secret": "SIGNATURE_KEY"}),
        SetupStep("Say which field is which score", {"map": "custom.cf_…=score"}),
    ),
    reads=(
        "the mapped fields of a lead or contact that changed (a field that became empty is cleared), its name,"
        " the first valid address of a contact, and merges of leads"
    ),
    leaves="opportunities, activities and tasks",
    signed_with="the signature_key of the webhook subscription",
    proof=lambda source: Signature(RECIPES["close"]),
    events=EVENTS,
    split=_split_events,
)
