"""API handlers: the explanation and the history of a score."""

from aiohttp import web

from storage.domain.errors import UnknownContact
from storage.reading import documents
from storage.reading.history import history_page, why
from webhooks.api.access import ApiRequest
from webhooks.api.answers import answer
from webhooks.api.contacts import contact_of, limit_of


async def show_explanation(call: ApiRequest) -> web.Response:
    """Handle `GET …/scores/{type}/explanation`. The effects add up to the value; a missing score is 404."""
    contact_card, key = await contact_of(call), call.request.match_info["type"]
    score_type, explanation = await why(
        call.workspace, contact=contact_card.contact.id, score=key, most=documents.MOST_CONTRIBUTIONS, now=call.now
    )
    if explanation is None:
        raise UnknownContact(f"this contact has no score `{score_type.key}`")
    return answer(call, documents.explanation(explanation))


async def show_history(call: ApiRequest) -> web.Response:
    """Handle `GET …/scores/{type}/history?limit=&cursor=`: return a page of changes, newest first."""
    contact_card, key = await contact_of(call), call.request.match_info["type"]
    _, entries, next_cursor = await history_page(
        call.workspace,
        contact=contact_card.contact.id,
        score=key,
        limit=limit_of(call),
        cursor=call.request.query.get("cursor"),
    )
    items = [documents.history_entry(entry) for entry in entries]
    return answer(call, {"items": items, "next_cursor": next_cursor})
