"""API handlers: the explanation and the history of a score."""

import base64
import binascii
import json
from typing import Any

from aiohttp import web

from storage.domain.errors import UnknownContact
from storage.domain.explain import Contribution, Explanation
from storage.domain.facts import FieldOrder
from storage.domain.numbers import to_json
from storage.reading.history import HistoryEntry, history, why
from webhooks.api import schemas
from webhooks.api.access import ApiRequest, Mistake
from webhooks.api.contacts import contact_of, limit_of

MOST_CONTRIBUTIONS = 200


async def show_explanation(call: ApiRequest) -> web.Response:
    """Handle `GET …/scores/{type}/explanation`. The effects add up to the value; a missing score is 404."""
    contact_card, key = await contact_of(call), call.request.match_info["type"]
    score_type, explanation = await why(
        call.workspace, contact=contact_card.contact.id, score=key, most=MOST_CONTRIBUTIONS, now=call.now
    )
    if explanation is None:
        raise UnknownContact(f"this contact has no score `{score_type.key}`")
    return web.json_response(render_explanation(explanation))


async def show_history(call: ApiRequest) -> web.Response:
    """Handle `GET …/scores/{type}/history?limit=&cursor=`: return a page of changes, newest first."""
    contact_card, key, limit = await contact_of(call), call.request.match_info["type"], limit_of(call)
    before = _read_cursor(call.request.query.get("cursor"))
    _, entries = await history(
        call.workspace, contact=contact_card.contact.id, score=key, most=limit + 1, before=before
    )
    next_cursor = _write_cursor(entries[limit - 1].order) if len(entries) > limit else None
    return web.json_response({"items": [_render_entry(entry) for entry in entries[:limit]], "next_cursor": next_cursor})


def render_explanation(explanation: Explanation) -> dict[str, Any]:
    """Return an explanation as JSON; the terminal prints the same document."""
    contributions = [_render_contribution(contribution) for contribution in explanation.contributions]
    return {"value": to_json(explanation.value), "contributions": contributions}


def _render_contribution(contribution: Contribution) -> dict[str, Any]:
    return {
        "occurred_at": None if contribution.occurred_at is None else schemas.moment(contribution.occurred_at),
        "effect": to_json(contribution.effect),
        "op": contribution.op,
        "asked": to_json(contribution.asked),
        "cut": to_json(contribution.cut),
        "cut_by_cap": to_json(contribution.cut_by_cap),
        "cut_by_range": to_json(contribution.cut_by_range),
        "rounded": to_json(contribution.rounded),
        "faded": to_json(contribution.faded),
        "source": contribution.source,
        "actor": contribution.actor,
        "rule": contribution.rule,
        "ended": contribution.ended,
        "reason": contribution.reason,
        "count": contribution.count,
    }


def _render_entry(entry: HistoryEntry) -> dict[str, Any]:
    return {
        "occurred_at": schemas.moment(entry.occurred_at),
        "op": entry.op.value,
        "amount": to_json(entry.amount),
        "effective": None if entry.effective is None else to_json(entry.effective),
        "source": entry.source,
        "actor": entry.actor,
        "reason": entry.reason,
        "undone": entry.undone,
    }


def _write_cursor(order: FieldOrder) -> str:
    at, *texts = order
    document = json.dumps([at, *(text.decode() for text in texts)])
    return base64.urlsafe_b64encode(document.encode()).decode().rstrip("=")


def _read_cursor(cursor: str | None) -> FieldOrder | None:
    if cursor is None:
        return None
    try:
        at, source, key, subject = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if type(at) is not int or not 0 <= at < 2**63 or "\0" in source + key + subject:
            raise ValueError
        return (at, source.encode(), key.encode(), subject.encode())
    except (ValueError, TypeError, AttributeError, binascii.Error) as exc:
        raise Mistake(400, "That cursor does not belong to this history: start again without it.") from exc
