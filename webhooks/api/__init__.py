"""Define the routes of the API."""

from collections.abc import Callable

from aiohttp import web

from webhooks.api.access import Api
from webhooks.api.contacts import delete_contact, list_contacts, merge_contact, show_contact
from webhooks.api.events import list_events
from webhooks.api.explaining import show_explanation, show_history
from webhooks.api.scores import adjust_score, clear_score, list_types, put_score, show_score
from webhooks.api.segments import list_segments

CONTACT = "/api/v1/contacts/{key}"
SCORE = f"{CONTACT}/scores/{{type}}"


def api_routes(*, clock: Callable[[], int]) -> list[web.RouteDef]:
    """Return the routes of the API, each with the scope that it requires."""
    api = Api(clock=clock)
    return [
        web.get("/api/v1/contacts", api.needs("read", list_contacts)),
        web.get(CONTACT, api.needs("read", show_contact)),
        web.delete(CONTACT, api.needs("write", delete_contact)),
        web.post(f"{CONTACT}/merge", api.needs("write", merge_contact)),
        web.get(SCORE, api.needs("read", show_score)),
        web.put(SCORE, api.needs("write", put_score)),
        web.delete(SCORE, api.needs("write", clear_score)),
        web.post(f"{SCORE}/adjustments", api.needs("write", adjust_score)),
        web.get(f"{SCORE}/history", api.needs("read", show_history)),
        web.get(f"{SCORE}/explanation", api.needs("read", show_explanation)),
        web.get("/api/v1/score-types", api.needs("read", list_types)),
        web.get("/api/v1/segments", api.needs("read", list_segments)),
        web.get("/api/v1/events", api.needs("read", list_events)),
    ]
