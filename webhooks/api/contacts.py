"""List, show, create, change, delete and merge contacts."""

from dataclasses import replace
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, create_model

from storage.domain.contacts import (
    MOST_CHARACTERS,
    TEXT_FIELDS,
    Contact,
    Json,
    Reference,
    clean_address,
    clean_fields,
)
from storage.domain.errors import ContactChanged, ContactExists, UnknownContact
from storage.domain.facts import Deletion, Item, Merge
from storage.domain.filters import BadFilter, Filter, parse
from storage.domain.submissions import NEW_CONTACT, Recorded, Submission
from storage.ledger import committer
from storage.reading import documents
from storage.reading.current_scores import Card, card
from storage.reading.pages import page_within_limit
from storage.reading.search import find_by_key
from storage.reading.segments import segments
from storage.scoring.definitions import score_types
from webhooks.api.access import ApiRequest, Mistake
from webhooks.api.answers import answer, is_match, parse_body
from webhooks.problems import problem
from webhooks.read.attributes import read_attributes

DEFAULT, MOST = 50, 1000
SOURCE = "api"
_OPTIONAL = ", ".join(f"`{name}`" for name in (*TEXT_FIELDS, "tags", "attributes") if name != "email")


class MergeBody(BaseModel):
    """The contact to merge into."""

    model_config = ConfigDict(strict=True, extra="forbid")

    into: str = Field(description="An id, an address, or `source:id`.", examples=["ada@example.com"])


class _Fields(BaseModel):
    """The fields of a contact that are not texts."""

    model_config = ConfigDict(strict=True, extra="forbid")

    tags: list[str] | None = None
    attributes: dict[str, Any] | None = Field(default=None, description="Any names with any JSON values.")


_TEXTS: dict[str, Any] = {
    name: (Annotated[str | None, Field(max_length=MOST_CHARACTERS)], None) for name in TEXT_FIELDS if name != "email"
}
#: the fields to change, as a JSON merge patch: null clears a field, and what is left out stays
ContactPatch: type[_Fields] = create_model("ContactPatch", __base__=_Fields, **_TEXTS)


class NewContact(ContactPatch):
    """A contact to create."""

    email: str = Field(max_length=MOST_CHARACTERS, examples=["ada@example.com"], json_schema_extra={"format": "email"})


async def list_contacts(call: ApiRequest) -> web.Response:
    """Answer `GET /contacts?q=&limit=&cursor=`."""
    return await answer_page(call, call.request.query.get("q", ""))


async def answer_page(call: ApiRequest, text: str) -> web.Response:
    """Answer with a page of the contacts that match the filter *text*; raises Mistake if the text is not a filter."""
    limit, cursor = limit_of(call), call.request.query.get("cursor")
    query = await parse_filter(call, text)
    listing = await page_within_limit(call.workspace, query=query, limit=limit, cursor=cursor, now=call.now)
    items = [documents.contact(contact_card) for contact_card in listing.cards]
    return answer(call, {"items": items, "next_cursor": listing.next_cursor})


async def parse_filter(call: ApiRequest, text: str) -> Filter:
    """Parse the text of a filter; raises Mistake."""
    try:
        return parse(text, await score_types(call.workspace), segments=await segments(call.workspace))
    except BadFilter as exc:
        raise Mistake(400, f"{exc.sentence[:1].upper()}{exc.sentence[1:]} (column {exc.column + 1}).") from exc


def limit_of(call: ApiRequest) -> int:
    """Return the parameter `limit`; raises Mistake."""
    limit = call.request.query.get("limit", str(DEFAULT))
    if not limit.isdecimal() or not limit.isascii() or len(limit) > 4 or not 1 <= int(limit) <= MOST:
        raise Mistake(400, f"`limit` is a whole number from 1 to {MOST}.")
    return int(limit)


async def show_contact(call: ApiRequest) -> web.Response:
    """Answer `GET /contacts/{key}`."""
    return _render_answer(call, await contact_of(call))


async def create_contact(call: ApiRequest) -> web.Response:
    """Answer `POST /contacts`: 201, or 409 with the id of the contact that has the address."""
    expected = f'{{"email": "ada@example.com"}}, as JSON; it may also have {_OPTIONAL}'
    body: Any = await parse_body(call, NewContact, expected)
    reference = Reference(email=clean_address(body.email))
    item = Item(key=call.key, contact=reference, fields=_read_fields(body, known=None))
    try:
        await record(call, item, expects=NEW_CONTACT)
    except ContactExists as exc:
        return problem(409, f"The contact {exc.id} has this address: change it with PATCH.", members={"id": exc.id})
    contact_card = await _load_card(call, clean_address(body.email))
    return _render_answer(call, contact_card, status=201, location=f"/api/v1/contacts/{contact_card.contact.id}")


async def change_contact(call: ApiRequest) -> web.Response:
    """Answer `PATCH /contacts/{key}`, a JSON merge patch of the contact's fields."""
    body = await parse_body(call, ContactPatch, f'{{"company": "Acme"}}, as JSON, with any of {_OPTIONAL}')
    contact = (await contact_of(call)).contact
    fields = _read_fields(body, known=contact)
    if fields or "If-Match" in call.request.headers:
        item = Item(key=call.key, contact=contact.reference, fields=fields)
        await record(call, item, expects=_read_precondition(call, contact), creates=False)
    return _render_answer(call, await contact_of(call))


def _read_fields(body: _Fields, *, known: Contact | None) -> dict[str, Json]:
    """Return the fields that a body states; raises BadItem. `"attributes": null` clears those that the contact has."""
    stated: dict[str, Json] = {name: getattr(body, name) for name in body.model_fields_set - {"email", "attributes"}}
    if "tags" in stated and stated["tags"] is None:
        stated["tags"] = []
    if "attributes" in body.model_fields_set:
        attributes = body.attributes
        if attributes is None:
            attributes = dict.fromkeys(known.attributes) if known is not None else {}
        stated |= read_attributes(attributes, name="attributes")
    return clean_fields(stated)


async def delete_contact(call: ApiRequest) -> web.Response:
    """Answer `DELETE /contacts/{key}`: all data of the contact is erased, also of one that is gone by an undo."""
    contact = (await _load_card(call, call.request.match_info["key"], include_gone=True)).contact
    await record(call, Deletion(key=call.key, contact=contact.id), expects=_read_precondition(call, contact))
    return web.Response(status=204)


async def merge_contact(call: ApiRequest) -> web.Response:
    """Answer `POST …/merge`: the contact is merged into another."""
    contact_card = await contact_of(call)
    expected = '{"into": "ada@example.com"}, as JSON: an id, an address, or source:id'
    body = await parse_body(call, MergeBody, expected)
    into = await _load_card(call, body.into)
    await record(call, Merge(key=call.key, contact=contact_card.contact.id, into=into.contact.id))
    return _render_answer(call, await contact_of(call))


def _render_answer(call: ApiRequest, card: Card, *, status: int = 200, location: str | None = None) -> web.Response:
    headers = {} if location is None else {"Location": location}
    return answer(call, documents.contact(card), version=card.contact.version, status=status, headers=headers)


def _read_precondition(call: ApiRequest, contact: Contact) -> str | None:
    """Return the version that the contact must still have, by If-Match: None for any. Raises ContactChanged."""
    if_match = call.request.headers.get("If-Match")
    if if_match is None:
        return None
    if not is_match(if_match, contact.version):
        raise ContactChanged
    return contact.version


async def record(
    call: ApiRequest,
    item: Item | Merge | Deletion,
    *,
    unless_later: int | None = None,
    expects: str | None = None,
    creates: bool = True,
) -> Recorded:
    """Record the change of one request.

    Nothing is recorded if the score has a fact later than *unless_later* (µs UTC), or the contact is not as *expects*
    says. With *creates* the request creates a contact that does not exist.
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
        expects=expects,
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
