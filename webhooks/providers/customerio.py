"""Read Customer.io: the body of a campaign's action Send webhook. Its reporting webhooks have no score.

https://docs.customer.io/journeys/webhooks-action/
After a 4xx answer Customer.io holds all deliveries back for an hour, so an unusable body is stored and answered 200."""

from collections.abc import Iterable, Mapping

from storage.domain.sources import SetupStep
from webhooks.authentication.credentials import Signature
from webhooks.authentication.recipes import RECIPES
from webhooks.providers.contract import Arrived, Handler, Provider, ignore
from webhooks.read import flat_fields

REPORT = "reporting"


def _split_events(arrived: Arrived) -> Iterable[tuple[str, object]]:
    """Return a report, recognized by its metric, or the objects that a person designed in a campaign."""
    if isinstance(arrived.document, dict) and {"metric", "object_type"} <= arrived.document.keys():
        return [(REPORT, arrived.document)]
    return flat_fields.split_objects(arrived)


EVENTS: Mapping[str, Handler] = {
    flat_fields.SNAPSHOT: flat_fields.read_flat_fields,
    REPORT: ignore("reporting webhooks are about messages, not scores"),
}

PROVIDER = Provider(
    steps=(
        SetupStep("In Customer.io, add to a campaign the action Send and receive data with POST to {url}"),
        SetupStep(
            'Have it send {{"email": "{{{{customer.email}}}}", "lead_score": {{{{customer.lead_score}}}},'
            ' "event_id": "{{{{event_id}}}}", "at": {{{{event_timestamp}}}}}}'
        ),
        SetupStep("Customer.io shows a webhook signing key", {"secret": "SIGNING_KEY"}),
        SetupStep("Say which field is which score", {"map": "lead_score=score"}),
    ),
    reads=flat_fields.READS,
    leaves=flat_fields.LEAVES,
    signed_with="the webhook signing key",
    proof=lambda source: Signature(RECIPES["customerio"]),
    events=EVENTS,
    split=_split_events,
)
