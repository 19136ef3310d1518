"""Send events to subscriptions, signed as Standard Webhooks says, and send again what was not accepted.

Jobs send the events: one for each slot of a subscription at a time, so that the events of a contact arrive in order.
Events are sent at least once; a receiver recognizes a repeat by its `webhook-id`.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network

import structlog
from aiohttp import ClientError
from yarl import URL

from storage.domain.backoff import EVENT_WAITS, SECOND, pause_event
from storage.domain.errors import UnknownSubscription
from storage.domain.people import Workspace
from storage.events.deliveries import (
    DELIVER,
    DeliveryState,
    EventDelivery,
    Failure,
    next_delivery,
    parse_slot,
    postpone_delivery,
    record_failure,
    record_success,
)
from storage.job_runner import Handler, JobResult
from storage.jobs import Job, list_due_in_lane
from storage.sources.subscriptions import Subscription, find_with_secrets
from webhooks.authentication.signatures import SignedRequest, sign
from webhooks.event_bodies import render_events
from webhooks.outgoing_sessions import PATIENCE, OutgoingSessions
from webhooks.signing_secrets import STANDARD

log = structlog.get_logger(__name__)

MOST_IN_A_ROW = 50  # events that one job sends before other jobs get their turn
MOST_READ = 1024  # bytes of an answer that are read, so that its connection can be used again


class EventSender:
    """The handler of the jobs that send events, for every workspace."""

    def __init__(
        self,
        *,
        clock: Callable[[], int],
        allowed_networks: Sequence[IPv4Network | IPv6Network] = (),
        patience: float = PATIENCE,
    ) -> None:
        self._clock = clock
        self._sessions = OutgoingSessions(allowed_networks, patience=patience)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The handlers by the kind of their jobs."""
        return {DELIVER: self._run_job}

    async def close(self) -> None:
        """Close all connections."""
        await self._sessions.close()

    async def _run_job(self, workspace: Workspace, job: Job) -> JobResult:
        """Send the events of a slot in order, until one fails or none is left."""
        for _ in range(MOST_IN_A_ROW):
            # Listed before the events are read: an event that is published later has a job of its own.
            due = await list_due_in_lane(workspace, lane=job.lane, kind=DELIVER, now=self._clock())
            try:
                subscription = await find_with_secrets(workspace, id=job.subject, now=self._clock())
            except UnknownSubscription:
                return JobResult(also_done=due)
            delivery = await next_delivery(workspace, subscription=job.subject, slot=parse_slot(job.lane))
            now = self._clock()
            if delivery is None or subscription.disabled_at is not None:
                return JobResult(also_done=due)
            if delivery.due_at > now:
                return JobResult(also_done=due)  # the job of the failed attempt continues then
            if subscription.paused_until > now:
                await postpone_delivery(workspace, delivery=delivery, until=subscription.paused_until, now=now)
                return JobResult(repeat_at=subscription.paused_until)
            failure = await self._send(workspace, subscription, delivery)
            if failure is not None and await self._record_failure(workspace, subscription, delivery, failure):
                return JobResult(repeat_at=failure.retry_at)
        return JobResult(next_position=job.position + MOST_IN_A_ROW)

    async def _send(self, workspace: Workspace, subscription: Subscription, delivery: EventDelivery) -> Failure | None:
        """Send an event once and record a success. Return the failure, or None."""
        (document,) = await render_events(workspace, [delivery.event], now=self._clock())
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        headers = sign_event(body, uid=delivery.event.uid, secrets=subscription.secrets, now=self._clock())
        url = URL(subscription.url, encoded=True)
        wait = pause_event(delivery.attempts + 1, jitter=random.random())  # noqa: S311  # spreads retries
        try:
            async with self._sessions.open(url.scheme).post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                await response.content.read(MOST_READ)
                status, retry_after = response.status, response.headers.get("retry-after", "")
        except (ClientError, OSError, TimeoutError) as exc:
            return Failure(problem=self._sessions.describe_error(exc), retry_at=self._clock() + wait)
        now = self._clock()
        if 200 <= status < 300:
            await record_success(workspace, delivery=delivery, subscription=subscription, status=status, now=now)
            return None
        pause = read_retry_after(retry_after, now=now)
        return Failure(
            problem=f"it answered {status} {_name_status(status)}".rstrip(),
            status=status,
            retry_at=now + (wait if pause is None else pause),
            resumes_at=None if pause is None else now + pause,
            is_gone=status == HTTPStatus.GONE,
        )

    async def _record_failure(
        self, workspace: Workspace, subscription: Subscription, delivery: EventDelivery, failure: Failure
    ) -> bool:
        """Record a failed attempt. Return whether the event is sent again before the others of its slot."""
        now = self._clock()
        log.warning("event not delivered", subscription=subscription.id, because=failure.problem)
        state = await record_failure(workspace, delivery=delivery, subscription=subscription, failure=failure, now=now)
        return state is DeliveryState.WAITING


def sign_event(body: bytes, *, uid: str, secrets: Sequence[str], now: int) -> dict[str, str]:
    """Return the headers of a request, signed with each secret."""
    request = SignedRequest(headers={"content-type": "application/json", "user-agent": "Contact-Score"}, body=body)
    signed = [sign(request, recipe=STANDARD, delivery=uid, secret=secret, now=now) for secret in secrets]
    signatures = " ".join(signed_request.headers[STANDARD.header] for signed_request in signed)
    return {**signed[0].headers, STANDARD.header: signatures}


def read_retry_after(text: str, *, now: int) -> int | None:
    """Return the µs to wait that a `Retry-After` header asks for, within EVENT_WAITS; None if it cannot be read."""
    shortest, longest = EVENT_WAITS
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return min(max(int(text) * SECOND, shortest), longest)
    try:
        at = round(parsedate_to_datetime(text).timestamp() * SECOND)
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(at - now, shortest), longest)


def _name_status(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
