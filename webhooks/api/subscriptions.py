"""Add, list, change and remove subscriptions to events, replace their secrets, and send events again."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from storage.domain.errors import BadCursor, UnknownSubscription
from storage.events.deliveries import DeliveryState, EventDelivery, list_deliveries, redeliver
from storage.reading.documents import moment
from storage.sources.subscriptions import (
    LONGEST_URL,
    Subscription,
    add_subscription,
    change_subscription,
    find_subscription,
    remove_subscription,
    rotate_subscription,
    subscriptions,
)
from webhooks.api.access import ApiRequest
from webhooks.api.answers import answer, parse_body
from webhooks.api.contacts import limit_of
from webhooks.signing_secrets import check_signing_secret, new_signing_secret

Url = Annotated[str, Field(max_length=LONGEST_URL, description="The address that receives events.")]
Events = Annotated[list[str], Field(description="Types of events.", examples=[["score.band_entered"]])]
Segments = Annotated[
    list[str],
    Field(description="The segments that it gets `segment.entered` and `segment.left` of.", examples=[["hot"]]),
]


class NewSubscription(BaseModel):
    """A subscription to add. Without events and segments it gets every event that needs no segment."""

    model_config = ConfigDict(strict=True, extra="forbid")

    url: Url
    events: Events = []
    segments: Segments = []
    imports: Annotated[bool, Field(description="Whether it gets what the import of a file changes.")] = False
    secret: Annotated[str | None, Field(description="The signing secret, `whsec_…`; without it a new one.")] = None


class SubscriptionPatch(BaseModel):
    """What to change of a subscription, as a JSON merge patch: what is left out stays."""

    model_config = ConfigDict(strict=True, extra="forbid")

    url: Url | None = None
    events: Events | None = None
    segments: Segments | None = None
    imports: bool | None = None


class Redelivery(BaseModel):
    """The deliveries to send again; without them all that failed or wait."""

    model_config = ConfigDict(strict=True, extra="forbid")

    deliveries: list[Annotated[int, Field(ge=1)]] | None = None


async def list_subscriptions(call: ApiRequest) -> web.Response:
    """Answer `GET /subscriptions`."""
    items = [_render(subscription) for subscription in await subscriptions(call.workspace)]
    return answer(call, {"items": items, "next_cursor": None})


async def show_subscription(call: ApiRequest) -> web.Response:
    """Answer `GET /subscriptions/{id}`."""
    return answer(call, _render(await find_subscription(call.workspace, id=_read_id(call))))


async def create_subscription(call: ApiRequest) -> web.Response:
    """Answer `POST /subscriptions`: the only answer with the signing secret."""
    body = await parse_body(call, NewSubscription, '{"url": "https://example.com/hook"}, as JSON')
    secret = new_signing_secret() if body.secret is None else check_signing_secret(body.secret)
    subscription = await add_subscription(
        call.workspace, url=body.url, events=body.events, segments=body.segments, imports=body.imports, secret=secret,
        by=call.actor, now=call.now,
    )  # fmt: skip  # what, then who and when
    return answer(call, {**_render(subscription), "secret": secret}, status=201)


async def patch_subscription(call: ApiRequest) -> web.Response:
    """Answer `PATCH /subscriptions/{id}`."""
    body = await parse_body(call, SubscriptionPatch, '{"events": ["score.changed"]}, as JSON')
    changed = await change_subscription(
        call.workspace, id=_read_id(call), url=body.url, events=body.events, segments=body.segments,
        imports=body.imports, by=call.actor, now=call.now,
    )  # fmt: skip  # what, then who and when
    return answer(call, _render(changed))


async def delete_subscription(call: ApiRequest) -> web.Response:
    """Answer `DELETE /subscriptions/{id}`."""
    await remove_subscription(call.workspace, id=_read_id(call), by=call.actor, now=call.now)
    return web.Response(status=204)


async def rotate_secret(call: ApiRequest) -> web.Response:
    """Answer `POST /subscriptions/{id}/rotate`: the new secret. The one before signs for one more day."""
    secret = new_signing_secret()
    rotated = await rotate_subscription(call.workspace, id=_read_id(call), secret=secret, by=call.actor, now=call.now)
    return answer(call, {**_render(rotated), "secret": secret})


async def list_event_deliveries(call: ApiRequest) -> web.Response:
    """Answer `GET /subscriptions/{id}/deliveries?limit=&cursor=`: newest first."""
    subscription = await find_subscription(call.workspace, id=_read_id(call))
    limit, cursor = limit_of(call), call.request.query.get("cursor")
    if cursor is not None and not _is_number(cursor):
        raise BadCursor("that cursor does not belong to this list: start again without it")
    listed = await list_deliveries(
        call.workspace,
        subscription=subscription.id,
        before=None if cursor is None else int(cursor),
        limit=limit + 1,
    )
    shown = listed[:limit]
    next_cursor = str(shown[-1].id) if len(listed) > limit else None
    return answer(call, {"items": [_render_delivery(delivery) for delivery in shown], "next_cursor": next_cursor})


async def redeliver_events(call: ApiRequest) -> web.Response:
    """Answer `POST /subscriptions/{id}/redeliver`. A subscription that was turned off is turned on."""
    body = await parse_body(call, Redelivery, '{} or {"deliveries": [7]}, as JSON')
    count = await redeliver(
        call.workspace, subscription=_read_id(call), deliveries=body.deliveries or None, by=call.actor, now=call.now
    )
    return answer(call, {"redelivered": count})


def _read_id(call: ApiRequest) -> int:
    id = call.request.match_info["id"]
    if not _is_number(id):
        raise UnknownSubscription
    return int(id)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18


def _render(subscription: Subscription) -> dict[str, Any]:
    state = "works" if subscription.failing_since is None else "failing"
    return {
        "id": subscription.id,
        "url": subscription.url,
        "events": list(subscription.events),
        "segments": list(subscription.segments),
        "imports": subscription.imports,
        "state": state if subscription.disabled_at is None else "off",
        "problem": subscription.problem,
        "created_at": moment(subscription.created_at),
    }


def _render_delivery(delivery: EventDelivery) -> dict[str, Any]:
    waits = delivery.state is DeliveryState.WAITING
    return {
        "id": delivery.id,
        "event": delivery.event.uid,
        "type": delivery.event.type,
        "contact": delivery.event.contact,
        "happened_at": moment(delivery.event.at),
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "last_attempt_at": None if delivery.last_at is None else moment(delivery.last_at),
        "next_attempt_at": moment(delivery.due_at) if waits and delivery.due_at else None,
        "status": delivery.status,
        "problem": delivery.problem,
    }
