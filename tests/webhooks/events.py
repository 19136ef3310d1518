"""One body for every event that a provider declares, by provider and event."""

from collections.abc import Mapping
from typing import Any

CONTACT = {"id": "0031", "email": "ada@example.com", "custom_attributes": {"lead_score": 64}}


def hubspot(kind: str, **more: object) -> list[dict[str, object]]:
    """Return a request of a HubSpot app."""
    base = {"eventId": 1, "subscriptionId": 2, "portalId": 3, "occurredAt": 1767225587655, "subscriptionType": kind}
    return [base | {"objectId": 7} | more]


def intercom(topic: str, item: Mapping[str, object]) -> dict[str, object]:
    """Return a notification of Intercom."""
    return {"type": "notification_event", "topic": topic, "id": "n1", "data": {"item": item}}


def pipedrive_one(action: str) -> dict[str, object]:
    """Return an event of Pipedrive's version 1."""
    meta = {"action": action, "object": "person", "id": 11, "webhook_id": "1", "timestamp_micro": 1767225580595189}
    person = {"id": 11, "email": [{"value": "ada@example.com", "primary": True}]}
    before, now = person | {"lead_score": 73}, person | {"lead_score": 74}
    return {"meta": meta, "current": None if action == "deleted" else now, "previous": before}


def pipedrive_two(action: str, **more: object) -> dict[str, object]:
    """Return an event of Pipedrive's version 2."""
    meta = {"action": action, "entity": "person", "entity_id": "11", "id": "m1", "timestamp": "2025-12-31T23:59:30Z"}
    fields = {"lead_score": {"type": "double", "value": 73}}
    before = {"custom_fields": {"lead_score": {"type": "double", "value": 61}}}
    return {"meta": meta | more, "data": {"id": 11, "custom_fields": fields}, "previous": before}


def close(kind: str, action: str) -> dict[str, object]:
    """Return an event of Close."""
    data = {"id": "x", "lead_score": 58, "emails": [{"email": "ada@example.com"}]}
    event = {
        "id": f"ev_{kind}_{action}",
        "object_type": kind,
        "object_id": "x",
        "lead_id": "lead_1",
        "action": action,
        "data": data,
        "meta": {"merge_source_lead_id": "lead_2", "merge_destination_lead_id": "lead_1"} if action == "merged" else {},
    }
    return {"event": event | {"date_created": "2025-12-31T23:58:23.395000", "changed_fields": ["lead_score"]}}


def segment(kind: str) -> dict[str, object]:
    """Return a call of Segment."""
    fields = {"traits" if kind == "identify" else "properties": {"lead_score": 71}}
    return {"type": kind, "userId": "u1", "messageId": "s1", "timestamp": "2025-12-31T23:59:50.276Z", **fields}


def mautic(kind: str) -> dict[str, object]:
    """Return an event of Mautic."""
    event = {"contact": {"id": 52, "points": 25}, "points": {"old_points": 5, "new_points": 25}}
    return {kind: [event | {"timestamp": "2025-12-31T23:59:00+00:00"}]}


SOAP = (
    '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>'
    '<notifications xmlns="http://soap.sforce.com/2005/09/outbound"><OrganizationId>00D1I000003qqqE</OrganizationId>'
    '<Notification><Id>04l1</Id><sObject xmlns:sf="urn:sobject"><sf:Id>0031</sf:Id>'
    "<sf:lead_score>83.0</sf:lead_score></sObject></Notification></notifications></e:Body></e:Envelope>"
)
FIELDS = {"email": "ada@example.com", "lead_score": 77, "event_id": "e1", "at": 1767225597}
SNAPSHOT = {"fields of a contact": FIELDS}
#: provider → event → (body, number of scores that it sets)
EVENTS: dict[str, dict[str, tuple[Any, int]]] = {
    "generic": {
        "item": ({"type": "score.set", "contact": {"email": "a@b.example"}, "score": "lead_score", "value": 1}, 1)
    },
    "custom": {"item": ({"email": "ada@example.com", "score": 5}, 1), "kept": ({"any": "thing"}, 0)},
    "hubspot": {
        "contact.propertyChange": (
            hubspot("contact.propertyChange", propertyName="lead_score", propertyValue="5"), 1,
        ),
        "object.propertyChange": (
            hubspot("object.propertyChange", propertyName="lead_score", propertyValue="5", objectTypeId="0-1"), 1,
        ),
        "contact.merge": (hubspot("contact.merge", primaryObjectId=7, mergedObjectIds=[8, 9]), 2),
        "object.merge": (
            hubspot("object.merge", primaryObjectId=7, mergedObjectIds=[8, 9], newObjectId=10, objectTypeId="0-1"), 3,
        ),
        "contact.privacyDeletion": (hubspot("contact.privacyDeletion"), 1),
        "contact.creation": (hubspot("contact.creation"), 0),
        "contact.deletion": (hubspot("contact.deletion"), 0),
        "contact.restore": (hubspot("contact.restore"), 0),
        "workflow": ({"vid": 7, "portal-id": 3, "properties": {"lead_score": {"value": "91", "versions": []}}}, 1),
        "workflow.other": ({"example_field": "example_value"}, 0),
    },
    "pipedrive": {
        "added.person": (pipedrive_one("added"), 1),
        "updated.person": (pipedrive_one("updated"), 1),
        "deleted.person": (pipedrive_one("deleted"), 0),
        "create.person": (pipedrive_two("create"), 1),
        "change.person": (pipedrive_two("change"), 1),
        "delete.person": (pipedrive_two("delete", merged_to_id="12"), 1),
    },
    "salesforce": {"Notification": (SOAP, 1)},
    "intercom": {
        **{
            f"contact.{kind}": (intercom(f"contact.{kind}", CONTACT), 1)
            for kind in ("user.updated", "lead.updated", "user.created", "lead.created", "lead.signed_up")
        },
        "contact.deleted": (intercom("contact.deleted", {"id": "0031"}), 0),
        "ping": (intercom("ping", {"type": "ping"}) | {"id": None}, 0),
    },
    "close": {
        f"{kind}.{action}": (close(kind, action), int(action != "deleted"))
        for kind in ("lead", "contact")
        for action in ("created", "updated", "deleted")
    } | {"lead.merged": (close("lead", "merged"), 1)},
    "customerio": {
        "fields of a contact": (FIELDS, 1),
        "reporting": ({"event_id": "r", "object_type": "customer", "metric": "subscribed", "data": {}}, 0),
    },
    "segment": {
        kind: (segment(kind), int(kind in ("track", "identify")))
        for kind in ("track", "identify", "page", "screen", "group", "alias")
    },
    "mautic": {
        "mautic.lead_points_change": (mautic("mautic.lead_points_change"), 1),
        "mautic.lead_post_save_new": (mautic("mautic.lead_post_save_new"), 0),
        "mautic.lead_post_save_update": (mautic("mautic.lead_post_save_update"), 0),
        "mautic.lead_post_delete": (mautic("mautic.lead_post_delete"), 0),
    },
    "attio": {
        kind: ({"events": [{"event_type": kind, "id": {"record_id": "r1"}, "duplicate_record_id": "r2"}]}, count)
        for kind, count in (
            ("record.created", 0), ("record.updated", 0), ("record.merged", 1), ("record.deleted", 0),
        )
    },
    **{
        name: {"fields of a contact": (FIELDS, 1)}
        for name in ("activecampaign", "zoho", "freshsales", "marketo", "zapier", "n8n", "make")
    },
}  # fmt: skip  # a line an event
