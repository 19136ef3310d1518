"""List the events of a workspace, for programs that poll."""

import base64
import binascii
import json

from aiohttp import web

from storage.domain.facts import DAY
from storage.events.outbox import KEPT_FOR
from storage.events.publish import read_feed
from webhooks.api.access import ApiRequest, Mistake
from webhooks.api.answers import answer, read_flag
from webhooks.api.contacts import limit_of
from webhooks.event_bodies import render_events


async def list_events(call: ApiRequest) -> web.Response:
    """Answer `GET /events?cursor=&limit=&imports=`, oldest first.

    `next_cursor` is never null: the next request with it returns the events that happened since. A cursor is valid for
    as long as events are kept, so that no event is missed in silence.
    """
    after = _read_cursor(call.request.query.get("cursor"), now=call.now)
    with_imports = read_flag(call, "imports")
    page = await read_feed(call.workspace, after=after, limit=limit_of(call), with_imports=with_imports, now=call.now)
    documents = await render_events(call.workspace, page.events, now=call.now)
    items = [{"id": event.uid, **document} for event, document in zip(page.events, documents, strict=True)]
    return answer(call, {"items": items, "next_cursor": _write_cursor(page.position, now=call.now)})


def _write_cursor(position: int, *, now: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([position, now]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str | None, *, now: int) -> int:
    """Return the position of a cursor; 0 without one, or if it is empty. Raises Mistake if it cannot be used."""
    if not cursor:
        return 0
    try:
        position, at = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, TypeError, RecursionError, binascii.Error) as exc:
        raise Mistake(400, "That cursor is not one of this list: start again without it.") from exc
    if type(position) is not int or type(at) is not int or position < 0 or not 0 <= at <= now + DAY:
        raise Mistake(400, "That cursor is not one of this list: start again without it.")
    if at < now - KEPT_FOR:
        days = KEPT_FOR // DAY
        raise Mistake(400, f"That cursor is older than {days} days, and older events are deleted: start without it.")
    return position
