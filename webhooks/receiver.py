"""Receive one delivery: size, source, signature, kind, items; record them; answer once they are durable."""

from collections.abc import Callable
from http import HTTPStatus

import structlog
from aiohttp import web

from storage.committer import Committer
from storage.deliveries import count_refusal
from storage.domain.errors import StorageUnavailable, UnknownSource
from storage.domain.submissions import Delivered, Recorded, Status, Submission
from storage.sources import Source, find_source
from webhooks.limits import MAX_BODY, FailureRate, TooLarge, read_body
from webhooks.problems import problem
from webhooks.providers import PROVIDERS
from webhooks.providers.contract import BadBody, NotAuthentic, Request

log = structlog.get_logger(__name__)


class Receiver:
    """The door for deliveries."""

    def __init__(self, *, committer: Committer, clock: Callable[[], int]) -> None:
        self._committer = committer
        self._clock = clock
        self._failures = FailureRate()

    async def receive(self, request: web.Request) -> web.Response:
        """Answer a delivery; whatever is authentic and can be read is 200, whatever its items are worth."""
        try:
            return await self._receive(request)
        except TooLarge as exc:
            return problem(413, str(exc), headers={"Connection": "close"})
        except UnknownSource:
            return problem(404)
        except BadBody as exc:
            return problem(400, str(exc))
        except StorageUnavailable:
            log.warning("delivery not kept", because="the database does not answer")
            return problem(503, "Try again: nothing of this is known to be kept.", headers={"Retry-After": "5"})

    async def look(self, request: web.Request) -> web.Response:
        """Answer a sender that checks whether the address exists."""
        try:
            await find_source(request.match_info["workspace"], slug=request.match_info["source"])
        except UnknownSource:
            return problem(404)
        except StorageUnavailable:
            return problem(503, headers={"Retry-After": "5"})
        return web.Response(status=HTTPStatus.OK)

    async def _receive(self, request: web.Request) -> web.Response:
        now = self._clock()
        body = await read_body(request, limit=MAX_BODY)
        source = await find_source(request.match_info["workspace"], slug=request.match_info["source"])
        provider = PROVIDERS[source.provider]
        arrived = Request(headers={name.lower(): value for name, value in request.headers.items()}, body=body)
        try:
            delivery = provider.authenticate(arrived, secrets=source.secrets, now=now)
        except NotAuthentic as refusal:
            return await self._refuse(request, source, refusal, now=now)
        if (
            request.content_type not in provider.content_types
            or arrived.headers.get("content-encoding", "identity") != "identity"
        ):
            return problem(415, f"Send {' or '.join(provider.content_types)}, without a Content-Encoding.")
        items = provider.items(body, delivery=delivery, source=source.slug)
        submission = Submission(
            workspace=source.workspace,
            source=source.slug,
            batch=f"{source.slug}/{delivery}",
            received_at=now,
            items=items,
            delivered=Delivered(source=source.id, key=delivery),
        )
        recorded = await self._committer.record(submission, now=now)
        return web.json_response(_answer(recorded))

    async def _refuse(self, request: web.Request, source: Source, refusal: NotAuthentic, *, now: int) -> web.Response:
        # Only failures are turned away: who shares an address with a stranger is still heard.
        wait = self._failures.failed(request.remote or "", now=now)
        if wait:
            return problem(429, headers={"Retry-After": str(wait)})
        log.info("delivery refused", source=source.slug, reason=refusal.reason, hint=refusal.hint)
        await count_refusal(source.workspace, source=source.id, reason=refusal.reason, hint=refusal.hint, now=now)
        return problem(401)


def _answer(recorded: Recorded) -> dict[str, object]:
    counts: dict[str, object] = {status.value: recorded.count(status) for status in Status}
    return {**counts, "items": [{"status": one.status, "reason": one.reason} for one in recorded.outcomes]}
