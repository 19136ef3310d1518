"""Read Mautic's webhooks: lists of events by type. Queue mode sends several events, newest first if set so.

https://docs.mautic.org/en/latest/webhooks
Mautic never sends a delivery again after any answer, even a 500, so every authentic delivery is stored."""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from storage.domain.errors import BadNumber
from storage.domain.facts import ItemRequest
from storage.domain.numbers import from_json
from storage.domain.sources import SetupStep
from webhooks.authentication.credentials import Signature
from webhooks.authentication.recipes import RECIPES
from webhooks.providers.contract import Arrived, Handler, Provider, ignore
from webhooks.read.extract import SenderEvent, contact_fields, get_path, key_of, require_object, scores, text
from webhooks.read.simultaneous import sortable

POINTS = "mautic.lead_points_change"


def _split_events(arrived: Arrived) -> Iterable[tuple[str, object]]:
    body = require_object(arrived.document, "the body")
    return [
        (kind, event)
        for kind, events in body.items()
        for event in (events if isinstance(events, list) else [events])
        if kind != "timestamp"
    ]


def _read_points(event: SenderEvent) -> list[ItemRequest]:
    """Return the new points of a contact. The key includes the old points, so that each change is unique."""
    body = require_object(event.body, "the event")
    person = require_object(body.get("contact") or body.get("lead"), "its contact")
    core = get_path(person, "fields", "core")
    old, new = get_path(body, "points", "old_points"), get_path(body, "points", "new_points")
    contact = event.contact(id=person.get("id"), email=get_path(core, "email", "value"))
    names = [text(get_path(core, part, "value")) for part in ("firstname", "lastname")]
    change = None if old is None or new is None else f"{old}>{new}"
    was, key = None, key_of("mautic", person.get("id"), "points", change, body.get("timestamp"))
    former_key = key
    with suppress(BadNumber):
        was, is_now = from_json(old), from_json(new)
        # Times are whole seconds, and points may change several times in one second.
        key = key_of("mautic", person.get("id"), "points", sortable(was, is_now), change, body.get("timestamp"))
    return scores(
        event, {"points": person.get("points") if new is None else new}, contact=contact, key=key,
        former_key=former_key, was=was, occurred_at=event.moment(body.get("timestamp")),
        about=contact_fields(
            contact, name=" ".join(name for name in names if name), company=get_path(core, "company", "value")
        ),
    )  # fmt: skip  # content and owner, time, other fields


NOTHING = "points are read from mautic.lead_points_change alone"
EVENTS: Mapping[str, Handler] = {
    POINTS: _read_points,
    "mautic.lead_post_save_new": ignore(NOTHING),
    "mautic.lead_post_save_update": ignore(NOTHING),
    "mautic.lead_post_delete": ignore("a contact deleted in Mautic stays here"),
}

PROVIDER = Provider(
    steps=(
        SetupStep(
            "In Mautic, under Settings, Webhooks, make one with the Webhook POST Url {url} and the secret {secret}"
        ),
        SetupStep("Choose the event Contact Points Changed Event"),
        SetupStep("Say which score the points are", {"map": "points=score"}),
    ),
    reads=(
        "the points after the change, the contact's id, address, name and company; several changes of one"
        " second count in the order of their values"
    ),
    leaves="other fields and events",
    proof=lambda source: Signature(RECIPES["mautic"]),
    events=EVENTS,
    split=_split_events,
)
