"""Read Attio's webhooks, which name records without their values.

https://docs.attio.com/rest-api/guides/webhooks"""

from collections.abc import Iterable, Mapping

from storage.domain.facts import Asked
from webhooks.proofs import Signature
from webhooks.providers.contract import Arrived, Handler, Provider
from webhooks.reading import Event, a_list, dig
from webhooks.recipes import RECIPES


def _split(arrived: Arrived) -> Iterable[tuple[str, object]]:
    events = a_list(dig(arrived.document, "events"), "its list of events")
    return [(str(dig(one, "event_type")), one) for one in events]


def _thin(event: Event) -> list[Asked]:
    """Say which record it was, and that its values are not in what was sent."""
    record = dig(event.body, "id", "record_id")
    return event.ignored(f"Attio sends no values: the record {str(record)[:60]} would have to be read back")


EVENTS: Mapping[str, Handler] = dict.fromkeys(("record.created", "record.updated", "record.deleted"), _thin)

PROVIDER = Provider(
    steps=(
        "In Attio, under Workspace settings, Developers, add to your integration a webhook with the target URL {url}"
        " and the event record.updated",
        "Attio shows a signing secret: contact-score source set SLUG --secret SIGNING_SECRET",
        "Attio's webhooks name records without their values; to send scores today let an Attio workflow post them"
        " to a source of the provider custom",
    ),
    proof=lambda source: Signature(RECIPES["attio"]),
    events=EVENTS,
    split=_split,
)
