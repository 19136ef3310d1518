"""Receive deliveries: find the source, check headers, signature and type, record the items durably, answer."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from storage.domain.errors import OutcomeUnknown, SourceChanged, StorageUnavailable, UnknownSource
from storage.domain.facts import Item, ItemRequest
from storage.domain.sources import Source
from storage.domain.submissions import Delivered, ItemOutcome, Recorded, Status, Submission
from storage.ledger.committer import check_room, record
from storage.sources.config import find_source
from storage.sources.deliveries import count_refusal
from webhooks.authentication.signatures import NotAuthentic, SignedRequest
from webhooks.limits import MAX_BODY, FailureRate, SourceRate, TooLarge, read_body
from webhooks.metrics import Metrics
from webhooks.problems import problem
from webhooks.providers import PROVIDERS
from webhooks.providers.contract import BadBody
from webhooks.read.bodies import kind_of
from webhooks.read.parse_delivery import delivery_key, prepare_items, quarantine_body, read_request, redact_request

log = structlog.get_logger(__name__)

LARGE_BODY = 32 * 1024  # bytes; while storage is busy, a larger body is refused before it is parsed
IDENTITY = "identity"  # the Content-Encoding of a body without an encoding
MOST_TRIES = 8  # of a delivery if its source changes while it is received
BODY = web.RequestKey("body", bytes)


class Receiver:
    """Handles the HTTP requests of senders."""

    def __init__(self, *, clock: Callable[[], int], metrics: Metrics, public_url: str | None = None) -> None:
        self._clock = clock
        self._metrics = metrics
        self._public_url = public_url
        self._failures = FailureRate()
        self._rates = SourceRate()
        #: (team, slug) → the source as it was loaded last; another process may have changed or removed it
        self._sources: dict[tuple[str, str], Source] = {}

    async def receive(self, request: web.Request) -> web.Response:
        """Answer a delivery. An authentic delivery that can be parsed is answered 200, even if no item can be used."""
        try:
            return await self._receive(request)
        except TooLarge as exc:
            return problem(413, str(exc), headers={"Connection": "close"})
        except UnknownSource:
            return problem(404)
        except StorageUnavailable as exc:
            log.warning("delivery not stored", because=str(exc))
            return problem(503, _explain_outage(exc), headers={"Retry-After": "5"})

    async def confirm_url(self, request: web.Request) -> web.Response:
        """Answer a sender that checks with GET or HEAD whether the URL exists."""
        try:
            await find_source(request.match_info["workspace"], slug=request.match_info["source"])
        except UnknownSource:
            return problem(404)
        except StorageUnavailable:
            return problem(503, headers={"Retry-After": "5"})
        return web.Response(status=HTTPStatus.OK)

    async def _receive(self, request: web.Request) -> web.Response:
        now = self._clock()
        name = (request.match_info["workspace"], request.match_info["source"])
        source = self._sources.get(name) or await self._load_source(*name)
        for attempt in range(MOST_TRIES):
            items: Counter[str] = Counter()
            status: int | None = None
            try:
                answer = await self._answer(request, source.at(now), items=items, is_repeat=attempt > 0, now=now)
                status = answer.status
                return answer
            except SourceChanged:
                pass
            except TooLarge:
                status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                raise
            except StorageUnavailable:
                status = HTTPStatus.SERVICE_UNAVAILABLE
                raise
            except Exception:
                if BODY in request:  # otherwise the sender went away
                    status = HTTPStatus.INTERNAL_SERVER_ERROR
                raise
            finally:
                if status is not None:
                    self._metrics.delivered(source.workspace.team, source.slug, status=status, items=items)
            source = await self._load_source(*name)
        raise StorageUnavailable

    async def _load_source(self, team: str, slug: str) -> Source:
        """Load a source, and remember it for the next delivery. Raises UnknownSource."""
        self._sources.pop((team, slug), None)
        source = await find_source(team, slug=slug)
        if source.version is not None:
            self._sources[team, slug] = source
        return source

    async def _check_current(self, source: Source) -> None:
        """Raise SourceChanged if the source, or its workspace, has other settings by now.

        Call this before an answer that depends on the source but is not recorded: recording checks the same.
        """
        stored = await self._load_source(source.workspace.team, source.slug)
        if stored.version != source.version:
            raise SourceChanged

    async def _answer(
        self, request: web.Request, source: Source, *, items: Counter[str], is_repeat: bool, now: int
    ) -> web.Response:
        """Authenticate, parse and record a delivery. Return the answer, and count the outcomes in *items*.

        *is_repeat*: this was called before for the same request. Raises SourceChanged.
        """
        if source.is_locked:  # the sender is not at fault: it must keep the delivery and send it again
            await self._check_current(source)
            log.warning("delivery not checked", source=source.slug, because="its secret cannot be opened")
            return problem(503, headers={"Retry-After": "300"})
        provider = PROVIDERS[source.provider]
        proof = provider.proof(source)
        head = self._build_head(request, source)
        try:
            proof.check_headers(head, secrets=source.secrets, now=now)
            if BODY not in request:
                request[BODY] = await read_body(request, limit=MAX_BODY)
            signed_request = replace(head, body=request[BODY])
            delivery_id = proof.authenticate(signed_request, secrets=source.secrets, now=now)
        except NotAuthentic as refusal:
            await self._check_current(source)
            return await self._refuse_delivery(request, source, refusal, now=now)
        if refused := self._refuse_authentic(source, signed_request, is_repeat=is_repeat, now=now):
            await self._check_current(source)
            return refused
        if len(signed_request.body) > LARGE_BODY:
            check_room()
        key = delivery_key(signed_request, proof_id=delivery_id)
        parse_error: BadBody | None = None
        ignored_fields: Sequence[str] = ()
        try:
            content = read_request(provider, signed_request, source=source, key=key)
            item_requests, ignored_fields = await prepare_items(source, content.items), content.ignored_fields
        except BadBody as exc:
            parse_error, item_requests = exc, quarantine_body(key, str(exc))
        submission = Submission(
            source=source.slug,
            batch=f"{source.slug}/{key}",
            received_at=now,
            items=item_requests,
            delivered=Delivered(
                source=source.id,
                key=key,
                raw=redact_request(signed_request, proof=proof),
                reads=source.reads and provider.readback is not None,
                version=source.version,
            ),
            muted=source.settings.muted,
        )
        recorded = await record(source.workspace, submission, now=now)
        items.update(str(outcome.status) for outcome in recorded.outcomes)
        if parse_error is not None:
            return problem(400, str(parse_error))
        if provider.ack is not None:
            return web.Response(text=provider.ack[1], content_type=provider.ack[0], charset="utf-8")
        return web.json_response(_render_answer(recorded, item_requests, ignored_fields))

    def _refuse_authentic(
        self, source: Source, signed_request: SignedRequest, *, is_repeat: bool, now: int
    ) -> web.Response | None:
        """Return the answer to an authentic request that is not read, or None if it is read."""
        provider = PROVIDERS[source.provider]
        if source.settings.paused:
            return problem(503, "This source is paused. Keep it, and send it again.", headers={"Retry-After": "3600"})
        wait = 0 if is_repeat else self._rates.wait(source.id, rate=source.settings.rate, now=now)
        if wait:
            return problem(429, "This source sends more than its rate allows.", headers={"Retry-After": str(wait)})
        if (
            not provider.takes_kind(kind_of(signed_request.headers))
            or (signed_request.headers.get("content-encoding") or IDENTITY).lower() != IDENTITY
        ):
            return problem(415, f"Send {' or '.join(provider.content_types)}, without a Content-Encoding.")
        return None

    def _build_head(self, request: web.Request, source: Source) -> SignedRequest:
        """Return the request without its body. The URL is the address that the sender signs, with the query as sent."""
        lines: dict[str, list[str]] = {}
        for name, value in request.headers.items():
            lines.setdefault(name.lower(), []).append(value)
        headers = {name: first for name, (first, *_) in lines.items()}
        sent_url = urlsplit(request.raw_path)
        public_url = urlsplit(source.settings.public_url) if source.settings.public_url else None
        if public_url is not None:
            address = f"{public_url.scheme}://{public_url.netloc}{public_url.path}"
        else:
            address = (self._public_url or f"{request.scheme}://{request.host}").rstrip("/") + sent_url.path
        url = f"{address}?{sent_url.query}" if sent_url.query else address
        return SignedRequest(
            method=request.method, url=url, query=sent_url.query, headers=headers, lines=lines, body=b""
        )

    async def _refuse_delivery(
        self, request: web.Request, source: Source, refusal: NotAuthentic, *, now: int
    ) -> web.Response:
        # Only refused requests are limited, so a sender that shares an address with a stranger is not affected.
        wait = self._failures.failed(request.remote or "", now=now)
        if wait:
            return problem(429, headers={"Retry-After": str(wait)})
        log.info("delivery refused", source=source.slug, reason=refusal.reason, hint=refusal.hint)
        await count_refusal(source.workspace, source=source.id, reason=refusal.reason, hint=refusal.hint, now=now)
        return problem(401)


def _explain_outage(exc: StorageUnavailable) -> str:
    if isinstance(exc, OutcomeUnknown):
        return "This may have been recorded. Send it again with the same id: a repeat is recorded once."
    return "Nothing was recorded. Send it again."


def _render_answer(
    recorded: Recorded, items: Sequence[ItemRequest], ignored_fields: Sequence[str]
) -> dict[str, object]:
    """Return the number of items by status, the status and reason of each item, and the ignored fields if any."""
    counts: dict[str, object] = {status.value: recorded.count(status) for status in Status}
    outcomes = [
        {"status": outcome.status, "reason": _find_reason(outcome, item)}
        for outcome, item in zip(recorded.outcomes, items, strict=True)
    ]
    return {**counts, "items": outcomes} | ({"ignored_fields": list(ignored_fields)} if ignored_fields else {})


def _find_reason(outcome: ItemOutcome, item: ItemRequest) -> str | None:
    note = item.note if outcome.status is Status.APPLIED and isinstance(item, Item) else None
    return "; ".join(filter(None, [note, outcome.reason])) or None
