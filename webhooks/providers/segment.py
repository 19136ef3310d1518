"""Read Segment's calls. Segment signs only the first call of a batch, so lists are rejected by default.

https://segment.com/docs/connections/destinations/catalog/webhooks/"""

from collections.abc import Iterable, Mapping

from storage.domain.errors import UnknownScoreType
from storage.domain.facts import ItemRequest
from storage.domain.sources import SetupStep, Source
from webhooks.authentication.credentials import Authenticator, Signature
from webhooks.authentication.recipes import RECIPES
from webhooks.providers.contract import Arrived, BadBody, Handler, Provider, ignore
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
    text,
)

BATCH = "batch"


def _build_authenticator(source: Source) -> Authenticator:
    return Signature(RECIPES["segment-batch" if source.settings.options.get(BATCH) == "on" else "segment"])


def _split_calls(arrived: Arrived) -> Iterable[tuple[str, object]]:
    document = arrived.document
    if isinstance(document, list) and arrived.source.settings.options.get(BATCH) != "on":
        raise BadBody("Switch batching off: of a batch only the first call is signed.")
    calls = document if isinstance(document, list) else [document]
    return [(event_name(get_path(call, "type")), call) for call in calls]


def _read_call(event: SenderEvent) -> list[ItemRequest]:
    """Return the scores among properties and traits. `score` beside a `score_type` is the score of that type."""
    call = require_object(event.body, "the call")
    fields = {**objects(call.get("traits")), **objects(call.get("properties"))}
    kind = text(fields.get("score_type"))
    if kind is not None:
        fields = {kind: first(fields, ("score", "value"))}
        if fields[kind] is not None and event.source.score_type(kind) is None:
            raise UnknownScoreType(kind, known=event.source.score_types)
    traits = {**objects(get_path(call, "context", "traits")), **objects(call.get("traits"))}
    email = traits.get("email") or get_path(call, "properties", "email")
    contact = event.contact(id=call.get("userId"), email=email)
    at = event.moment(first(call, ("timestamp", "originalTimestamp", "sentAt")))
    about = contact_fields(contact, name=traits.get("name"))
    return scores(event, fields, contact=contact, key=key_of(call.get("messageId")), occurred_at=at, about=about)


NOTHING = "it says nothing about one contact's score"
EVENTS: Mapping[str, Handler] = {
    "track": _read_call,
    "identify": _read_call,
    "page": ignore(NOTHING),
    "screen": ignore(NOTHING),
    "group": ignore(NOTHING),
    "alias": ignore(NOTHING),
}

PROVIDER = Provider(
    steps=(
        SetupStep(
            "In Segment, add the destination Webhooks (Actions) with the URL {url} and the shared secret {secret}"
        ),
        SetupStep(
            "Switch batching off: of a batch Segment signs only the first call, so anybody could have written the"
            " others; to accept batches anyway",
            {"option": "batch=on"},
        ),
        SetupStep("Send the calls that carry a score: a property named like a score type, or score_type and score"),
        SetupStep("Other properties are mapped", {"map": "lead_score=score"}),
    ),
    reads=(
        "traits and properties that are mapped, `score` beside `score_type`, `userId`, `email`, `name`, `timestamp`"
    ),
    leaves="batches, unless the source has `--option batch=on`",
    proof=_build_authenticator,
    events=EVENTS,
    split=_split_calls,
    options={BATCH: ("on", "off")},
)
