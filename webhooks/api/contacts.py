"""List, show, delete and merge contacts."""

from dataclasses import replace

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from storage.domain.errors import UnknownContact
from storage.domain.facts import Deletion, Item, Merge
from storage.domain.filters import BadFilter, parse
from storage.domain.submissions import Recorded, Submission
from storage.ledger import committer
from storage.reading.current_scores import Card, card
from storage.reading.pages import BadCursor, page
from storage.reading.search import find_by_key
from storage.reading.segments import segments
from storage.scoring.definitions import score_types
from webhooks.api import schemas
from webhooks.api.access import ApiRequest, Mistake
from webhooks.read.bodies import Unparseable
from webhooks.read.json_bodies import parse_json

DEFAULT, MOST = 50, 1000
SOURCE = "api"


class _Merge(BaseModel):
    """The contact to merge into."""

    model_config = ConfigDict(strict=True, extra="forbid")

    into: str


async def list_contacts(call: ApiRequest) -> web.Response:
    """Answer `GET /contacts?q=&limit=&cursor=`."""
    query, limit, cursor = call.request.query, limit_of(call), call.request.query.get("cursor")
    try:
        contact_filter = parse(
            query.get("q", ""), await score_types(call.workspace), segments=await segments(call.workspace)
        )
        remaining, cursor = _read_remaining(contact_filter.limit, cursor)
        page_size = limit if remaining is None else min(limit, remaining)
        listing = await page(call.workspace, query=contact_filter, limit=page_size, cursor=cursor, now=call.now)
    except BadFilter as exc:
        raise Mistake(400, f"{exc.sentence[:1].upper()}{exc.sentence[1:]} (column {exc.column + 1}).") from exc
    except BadCursor as exc:
        raise Mistake(400, str(exc)) from exc
    next_cursor = listing.next_cursor
    if remaining is not None and next_cursor is not None:
        next_cursor = f"{remaining - page_size}.{next_cursor}" if remaining > page_size else None
    return web.json_response(
        {"items": [schemas.contact(contact_card) for contact_card in listing.cards], "next_cursor": next_cursor}
    )


def _read_remaining(limit: int | None, cursor: str | None) -> tuple[int | None, str | None]:
    """Return the remaining limit of a filter and the page's cursor, from `7.CURSOR`; raises BadCursor."""
    if limit is None or cursor is None:
        return limit, cursor
    remaining, dot, rest = cursor.partition(".")
    if (
        not dot
        or not remaining.isdecimal()
        or not remaining.isascii()
        or len(remaining) > 4
        or not 1 <= int(remaining) < limit
    ):
        raise BadCursor
    return int(remaining), rest


def limit_of(call: ApiRequest) -> int:
    """Return the parameter `limit`; raises Mistake."""
    limit = call.request.query.get("limit", str(DEFAULT))
    if not limit.isdecimal() or not limit.isascii() or len(limit) > 4 or not 1 <= int(limit) <= MOST:
        raise Mistake(400, f"`limit` is a whole number from 1 to {MOST}.")
    return int(limit)


async def show_contact(call: ApiRequest) -> web.Response:
    """Answer `GET /contacts/{key}`."""
    return web.json_response(schemas.contact(await contact_of(call)))


async def delete_contact(call: ApiRequest) -> web.Response:
    """Answer `DELETE /contacts/{key}`: all data of the contact is erased, also of one that is gone by an undo."""
    contact_card = await _load_card(call, call.request.match_info["key"], include_gone=True)
    await record(call, Deletion(key=call.key, contact=contact_card.contact.id))
    return web.Response(status=204)


async def merge_contact(call: ApiRequest) -> web.Response:
    """Answer `POST …/merge`: the contact is merged into another."""
    contact_card = await contact_of(call)
    try:
        body = _Merge.model_validate(parse_json(await call.body()))
    except (Unparseable, ValidationError) as exc:
        raise Mistake(
            400, 'The body must be {"into": "ada@example.com"}, as JSON: an id, an address, or source:id.'
        ) from exc
    into = await _load_card(call, body.into)
    await record(call, Merge(key=call.key, contact=contact_card.contact.id, into=into.contact.id))
    return web.json_response(schemas.contact(await contact_of(call)))


async def record(
    call: ApiRequest, item: Item | Merge | Deletion, *, unless_later: int | None = None, creates: bool = True
) -> Recorded:
    """Record the change of one request, unless the score has a fact later than *unless_later* (µs UTC).

    With *creates* the request creates a contact that does not exist.
    """
    submission = Submission(
        source=SOURCE,
        batch=f"{SOURCE}/{call.key}",
        received_at=call.now,
        items=[item],
        actor=call.actor,
        all_or_none=True,
        creates=creates,
        unless_later=unless_later,
    )
    return await committer.record(call.workspace, submission, now=call.now)


async def contact_of(call: ApiRequest) -> Card:
    """Return the contact in the URL: a contact's row id, an address, or `source:id`; raises UnknownContact."""
    return await _load_card(call, call.request.match_info["key"])


async def _load_card(call: ApiRequest, key: str, *, include_gone: bool = False) -> Card:
    contact = await find_by_key(call.workspace, key=key, include_gone=include_gone)
    contact_card = await card(call.workspace, contact=contact.id, now=call.now) if contact is not None else None
    if contact is None or contact_card is None:
        raise UnknownContact(f"there is no contact `{key[:80]}`")
    return replace(contact_card, contact=contact)
