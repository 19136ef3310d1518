"""Read Intercom's notifications. Each has the whole contact, with the score among its custom attributes.

https://developers.intercom.com/docs/references/webhooks/webhook-models"""

from collections.abc import Iterable, Mapping

from storage.domain.facts import ItemRequest
from storage.domain.sources import SetupStep
from webhooks.authentication.credentials import Signature
from webhooks.authentication.recipes import RECIPES
from webhooks.providers.contract import Arrived, Handler, Provider, ignore
from webhooks.read.extract import (
    SenderEvent,
    contact_fields,
    event_name,
    first,
    get_path,
    key_of,
    objects,
    require_object,
    scores,
)

GONE = "a contact deleted in Intercom stays here"


def _split_events(arrived: Arrived) -> Iterable[tuple[str, object]]:
    body = require_object(arrived.document, "the body")
    return [(event_name(body.get("topic")), body)]


def _read_contact(event: SenderEvent) -> list[ItemRequest]:
    """Return the scores of the contact as it is now. A notification without an id is keyed by its delivery."""
    body = require_object(event.body, "the body")
    item = require_object(get_path(body, "data", "item"), "its data.item")
    contact = event.contact(id=item.get("id"), email=item.get("email"))
    return scores(
        event, {**item, **objects(item.get("custom_attributes"))}, contact=contact, key=key_of(body.get("id")),
        occurred_at=event.moment(first(item, ("updated_at", "created_at")) or body.get("created_at")),
        about=contact_fields(contact, name=item.get("name")),
    )  # fmt: skip  # content and owner, time, other fields


EVENTS: Mapping[str, Handler] = {
    "contact.user.updated": _read_contact,
    "contact.lead.updated": _read_contact,
    "contact.user.created": _read_contact,
    "contact.lead.created": _read_contact,
    "contact.lead.signed_up": _read_contact,
    "contact.deleted": ignore(GONE),
    "ping": ignore("Intercom tries whether the address answers"),
}

PROVIDER = Provider(
    steps=(
        SetupStep("In Intercom's Developer Hub, in your app under Webhooks, set the endpoint URL to {url}"),
        SetupStep("Subscribe to contact.user.updated and contact.lead.updated"),
        SetupStep("Intercom signs with the app's client secret", {"secret": "CLIENT_SECRET"}),
        SetupStep("Say which custom attribute is which score", {"map": "lead_score=score"}),
    ),
    reads="`id`, `email`, `name`, `updated_at` and mapped attributes, also custom ones",
    leaves="attributes without a mapping",
    signed_with="the client secret of your app",
    proof=lambda source: Signature(RECIPES["intercom"]),
    events=EVENTS,
    split=_split_events,
)
