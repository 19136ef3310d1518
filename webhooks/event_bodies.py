"""Render events as JSON, for subscriptions and for the feed of the API."""

from collections.abc import Sequence
from typing import Any

from storage.domain.events import BARE
from storage.domain.people import Workspace
from storage.events.deliveries import StoredEvent
from storage.reading import documents as render
from storage.reading.current_scores import cards_of


async def render_events(workspace: Workspace, events: Sequence[StoredEvent], *, now: int) -> list[dict[str, Any]]:
    """Return the documents of events. A contact is shown as it is now, so that no event shows a deleted contact.

    Of a deleted contact only the id is left, and nothing of what the event said.
    """
    shown = sorted({event.contact for event in events if event.data is not None and event.type not in BARE})
    cards = {card.contact.id: render.contact(card) for card in await cards_of(workspace, ids=shown, now=now)}
    documents = []
    for event in events:
        contact = cards.get(event.contact) if event.data is not None and event.type not in BARE else None
        data = {"contact": contact or {"id": event.contact}, **(event.data or {})}
        if event.cause is not None:
            data["cause"] = event.cause
        documents.append({"type": event.type, "timestamp": render.moment(event.at), "data": data})
    return documents
