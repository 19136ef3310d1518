"""Show, set, adjust and clear the scores of a contact."""

from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from storage.domain.contacts import Contact, Reference, looks_like_address
from storage.domain.errors import BadNumber, UnknownContact
from storage.domain.facts import Item, Op
from storage.domain.numbers import from_json
from storage.domain.score_types import ScoreType
from storage.reading import documents
from storage.reading.current_scores import CurrentScore, card
from storage.scoring.definitions import score_type, score_types
from webhooks.api.access import ApiRequest, Mistake
from webhooks.api.answers import answer, is_match, parse_body
from webhooks.api.contacts import contact_of, record

_LIMIT = "as JSON; a reason has 1,000 characters at most"
NEVER = -(2**63)  # earlier than any fact, and than the time of a score without facts


class ScoreBody(BaseModel):
    """The value to set a score to, and the reason."""

    model_config = ConfigDict(strict=True, extra="forbid")

    value: object
    reason: Annotated[str, Field(max_length=1000)] | None = None


class Adjustment(BaseModel):
    """The amount to add to a score, and the reason."""

    model_config = ConfigDict(strict=True, extra="forbid")

    delta: object
    reason: Annotated[str, Field(max_length=1000)] | None = None


async def list_types(call: ApiRequest) -> web.Response:
    """Answer `GET /score-types`."""
    items = [documents.score_type(score_type) for score_type in await score_types(call.workspace)]
    return answer(call, {"items": items, "next_cursor": None})


async def show_score(call: ApiRequest) -> web.Response:
    """Answer `GET …/scores/{type}`; a missing score is 404."""
    score_type = await _load_score_type(call)
    return _render_answer(call, await _load_current_score(call, (await contact_of(call)).contact.id, score_type))


async def put_score(call: ApiRequest) -> web.Response:
    """Answer `PUT …/scores/{type}`; an unknown address creates a contact."""
    score_type = await _load_score_type(call)
    body = await parse_body(call, ScoreBody, f'{{"value": 87, "reason": "optional"}}, {_LIMIT}')
    amount = _parse_amount(body.value, "value")
    score_type.check_set(amount)
    contact, current_score = await _find_or_name_contact(call, score_type)
    item = Item(key=call.key, contact=contact, score=score_type.key, op=Op.SET, amount=amount, reason=body.reason)
    is_new = isinstance(contact, Reference) and contact.id is None
    recorded = await record(call, item, unless_later=_read_precondition(call, current_score), creates=is_new)
    if not recorded.score_changes:
        raise UnknownContact("that contact was deleted just now: send it again")
    return _render_answer(call, await _load_current_score(call, recorded.score_changes[0].contact, score_type))


async def adjust_score(call: ApiRequest) -> web.Response:
    """Answer `POST …/scores/{type}/adjustments`; a repeated Idempotency-Key is applied once."""
    key = call.request.headers.get("Idempotency-Key", "")
    if not 1 <= len(key) <= 255 or not key.isprintable():
        raise Mistake(400, "Send an Idempotency-Key of 1 to 255 characters, a new one for each adjustment.")
    score_type = await _load_score_type(call)
    body = await parse_body(call, Adjustment, f'{{"delta": 5, "reason": "optional"}}, {_LIMIT}')
    amount = _parse_amount(body.delta, "delta")
    contact, current_score = await _find_contact(call, score_type)
    key = f"{call.token}/{key}"
    item = Item(key=key, contact=contact.reference, score=score_type.key, op=Op.ADD, amount=amount, reason=body.reason)
    await record(call, item, unless_later=_read_precondition(call, current_score), creates=False)
    return _render_answer(call, await _load_current_score(call, contact.id, score_type))


async def clear_score(call: ApiRequest) -> web.Response:
    """Answer `DELETE …/scores/{type}`; a missing score is 404."""
    score_type = await _load_score_type(call)
    contact, current_score = await _find_contact(call, score_type)
    if current_score is None and "If-Match" not in call.request.headers:
        raise _build_missing_error(score_type)
    item = Item(key=call.key, contact=contact.reference, score=score_type.key, op=Op.CLEAR)
    await record(call, item, unless_later=_read_precondition(call, current_score), creates=False)
    return web.Response(status=204)


def _read_precondition(call: ApiRequest, current_score: CurrentScore | None) -> int | None:
    """Return the time of the latest fact that the score may have, by If-Match: None for any, NEVER for no match.

    If the score has a later fact, nothing is recorded. A repeat of a recorded request is still answered as a repeat."""
    if_match = call.request.headers.get("If-Match")
    if if_match is None:
        return None
    if current_score is None or not is_match(if_match, documents.score_version(current_score)):
        return NEVER
    return current_score.seen


async def _load_score_type(call: ApiRequest) -> ScoreType:
    return await score_type(call.workspace, key=call.request.match_info["type"])


def _parse_amount(value: object, name: str) -> int:
    try:
        return from_json(value)
    except BadNumber as exc:
        raise Mistake(422, f"`{name}`: {exc}.") from exc


async def _find_or_name_contact(call: ApiRequest, score_type: ScoreType) -> tuple[Reference | int, CurrentScore | None]:
    """Return the contact in the URL with its score, or a reference that creates a contact for an unknown address."""
    key = call.request.match_info["key"]
    try:
        contact, current_score = await _find_contact(call, score_type)
    except UnknownContact:
        if not looks_like_address(key):
            raise
        return Reference(email=key), None
    return contact.reference, current_score


async def _find_contact(call: ApiRequest, score_type: ScoreType) -> tuple[Contact, CurrentScore | None]:
    contact_card = await contact_of(call)
    current_score = next(
        (candidate for candidate in contact_card.standings if candidate.score_type.key == score_type.key), None
    )
    return contact_card.contact, current_score


async def _load_current_score(call: ApiRequest, contact: int, score_type: ScoreType) -> CurrentScore:
    contact_card = await card(call.workspace, contact=contact, now=call.now)
    scores = contact_card.standings if contact_card else ()
    current_score = next((candidate for candidate in scores if candidate.score_type.key == score_type.key), None)
    if current_score is None:
        raise _build_missing_error(score_type)
    return current_score


def _build_missing_error(score_type: ScoreType) -> UnknownContact:
    return UnknownContact(f"this contact has no value of {score_type.label}")


def _render_answer(call: ApiRequest, current_score: CurrentScore) -> web.Response:
    return answer(call, documents.score(current_score), version=documents.score_version(current_score))
