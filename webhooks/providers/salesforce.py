"""Read Salesforce's Outbound Messages: up to 100 notifications in one SOAP envelope, answered with an Ack.

https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_om_outboundmessaging_notifications.htm
They are not signed: the organization's id and, if configured, a token in the URL authenticate them."""

from collections.abc import Iterable, Mapping

from storage.domain.facts import ItemRequest
from storage.domain.sources import SetupStep, Source
from webhooks.authentication.credentials import Authenticator, Organization, TokenCredential
from webhooks.providers.contract import Arrived, Handler, Provider
from webhooks.read.bodies import XML
from webhooks.read.extract import (
    SenderEvent,
    contact_fields,
    digest,
    first,
    get_path,
    key_of,
    objects,
    require_object,
    scores,
)

NOTIFICATION = "Notification"
ADDRESS = ("Email", "PersonEmail")  # of a contact, and of a person account
#: kinds of records that are not contacts if they have no address
OTHERS = frozenset(
    {"Account", "Asset", "Campaign", "Case", "Contract", "Event", "Opportunity", "Order", "Quote", "Task"}
)
ACK = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    '<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse>'
    "</soapenv:Body></soapenv:Envelope>"
)


def _build_authenticator(source: Source) -> Authenticator:
    token = TokenCredential(source.settings.token_in) if source.settings.token_in else None
    return Organization(source.settings.options.get("organization_id", ""), token)


def _split_notifications(arrived: Arrived) -> Iterable[tuple[str, object]]:
    notifications = get_path(arrived.document, "Envelope", "Body", "notifications", NOTIFICATION)
    return [
        (NOTIFICATION, notification)
        for notification in (notifications if isinstance(notifications, list) else [notifications])
    ]


def _read_notification(event: SenderEvent) -> list[ItemRequest]:
    """Return the scores of a record. A repeated notification keeps its id, but has the record's current values."""
    notification = require_object(event.body, "the notification")
    record = {name: value for name, value in objects(notification.get("sObject")).items() if value not in (None, "")}
    if not any(name for name in record if name != "Id" and not name.startswith("@")):
        return event.ignored("its record is empty: it was deleted in Salesforce, or the message sends no field")
    kind = str(record.get("@type", "")).rpartition(":")[2]
    address = first(record, ADDRESS)
    if kind in OTHERS and not address:
        return event.ignored(f"it is of the kind {kind}, which is not a contact")
    contact = event.contact(id=record.get("Id"), email=address)
    full_name = first(record, ("Name",)) or " ".join(
        str(record[part]) for part in ("FirstName", "LastName") if isinstance(record.get(part), str)
    )
    about = contact_fields(contact, name=full_name, company=record.get("Company"))
    changed = first(record, ("LastModifiedDate", "SystemModstamp"))
    scored = {name: value for name, value in record.items() if event.source.score_type(name) is not None}
    id = key_of(notification.get("Id"))
    return scores(
        event, scored, contact=contact, key=key_of(id, digest([scored, about, changed])), former_key=id,
        occurred_at=event.moment(changed), about=about,
    )  # fmt: skip  # content and owner, time, other fields


EVENTS: Mapping[str, Handler] = {NOTIFICATION: _read_notification}

PROVIDER = Provider(
    steps=(
        SetupStep(
            "In Salesforce Setup, under Outbound Messages, make one for Contact or Lead, with the endpoint URL {url}"
        ),
        SetupStep(
            "Have it send Id, Email, LastModifiedDate and each score field, and start it from a flow or workflow rule"
        ),
        SetupStep(
            "A token in the address makes it safer, with ?token=TOKEN at the end of the endpoint URL",
            {"token": "TOKEN", "token-in": "query:token"},
        ),
        SetupStep("Say which field is which score", {"map": "Lead_Score__c=score"}),
    ),
    reads=(
        "mapped fields, `Id` (15 or 18 characters), `Email` or `PersonEmail`, `Name` or `FirstName` and"
        " `LastName`, `Company`, `LastModifiedDate` or `SystemModstamp`"
    ),
    leaves="blank fields, records emptied by a deletion, and accounts, cases and the like without an address",
    proof=_build_authenticator,
    events=EVENTS,
    split=_split_notifications,
    content_types=XML,
    options={"organization_id": ()},
    takes=frozenset({"map", "token"}),
    ack=("text/xml", ACK),
)
