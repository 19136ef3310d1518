"""Complete contacts that a delivery identified by an id alone: read them through their source's API, and record them.

Each source's contacts are read one at a time, no faster than *PACE*. A contact that cannot be read delays no other."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout
from yarl import URL

from storage.domain.backoff import GIVE_UP_AFTER, SECOND
from storage.domain.errors import UnknownSource
from storage.domain.facts import Item, ItemRequest, Op
from storage.domain.people import Workspace
from storage.domain.sources import Source
from storage.domain.submissions import Delivered, Submission
from storage.job_runner import Handler, JobResult, RetryLater
from storage.jobs import Job
from storage.ledger.committer import record
from storage.ledger.erase import NAME_REQUESTS
from storage.reading.current_scores import card
from storage.reading.search import find_by_key
from storage.sources import readback_queue
from storage.sources.config import find_source
from storage.sources.readback_queue import READ, Wanted
from webhooks.limits import HOUR, MAX_BODY, TooLarge, read_body
from webhooks.providers import PROVIDERS
from webhooks.providers.contract import BadBody, Readback
from webhooks.read.bodies import JSON
from webhooks.read.parse_delivery import (
    name_earlier_requests,
    prepare_items,
    read_items,
    readback_request,
    serialize_request,
)

log = structlog.get_logger(__name__)

PACE = SECOND // 5  #: between two contacts of a source; every supported API allows at least twice that rate
PATIENCE = 10.0  #: seconds to wait for an answer


class _PermanentFailure(Exception):
    """The contact cannot be read, and a retry would not help."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    retry_after: str
    body: bytes


class ContactReader:
    """The handler of the jobs that read contacts back, for every workspace."""

    def __init__(self, *, clock: Callable[[], int], patience: float = PATIENCE) -> None:
        self._clock = clock
        self._patience = patience

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The handlers by the kind of their jobs."""
        return {READ: self._run_job, NAME_REQUESTS: _name_requests}

    async def _run_job(self, workspace: Workspace, job: Job) -> JobResult:
        request = await readback_queue.load_request(workspace, job=job)
        if request is None:
            return JobResult(pace=PACE)
        try:
            await self._read_contact(workspace, request)
        except _PermanentFailure as exc:
            await self._record_failure(workspace, request, str(exc))
        except RetryLater as exc:
            log.warning("contact not read yet", lane=job.lane, because=str(exc))
            if not exc.is_outage and job.failed_for >= GIVE_UP_AFTER:
                await self._record_failure(workspace, request, f"{exc}, {job.attempts} times")
            raise
        else:
            await readback_queue.clear_failure(workspace, source=request.source, id=request.id)
        return JobResult(pace=PACE)

    async def _record_failure(self, workspace: Workspace, request: Wanted, reason: str) -> None:
        """Store at the source why a contact could not be read."""
        log.warning("contact not read", source=request.source, because=reason)
        await readback_queue.record_failure(
            workspace, source=request.source, id=request.id, because=reason, now=self._clock()
        )

    async def _read_contact(self, workspace: Workspace, request: Wanted) -> None:
        """Read a contact and record the answer; raises RetryLater, _PermanentFailure."""
        try:
            source = await find_source(workspace.team, slug=request.source)
        except UnknownSource:
            return
        readback = PROVIDERS[source.provider].readback
        if readback is None:
            return
        url = _build_url(readback, source, request.id)
        answer = await _fetch(url, token=request.api_token, patience=self._patience)
        _check_status(answer)
        signed_request = readback_request(answer.body, id=request.id)
        key = f"read:{request.id}:{hashlib.sha256(answer.body).hexdigest()[:16]}"
        try:
            items = await prepare_items(
                source, read_items(PROVIDERS[source.provider], signed_request, source=source, key=key)
            )
        except BadBody as exc:
            raise _PermanentFailure(f"was answered with something that cannot be read: {exc}") from exc
        now = self._clock()
        submission = Submission(
            source=source.slug,
            batch=f"{source.slug}/{key}",
            received_at=now,
            items=await self._drop_redundant_clears(workspace, items, request),
            creates=False,
            delivered=Delivered(source=source.id, key=key, raw=serialize_request(signed_request), was_read=True),
            muted=source.settings.muted,
        )
        await record(workspace, submission, now=now)

    async def _drop_redundant_clears(
        self, workspace: Workspace, items: list[ItemRequest], request: Wanted
    ) -> list[ItemRequest]:
        """Return *items* without those that clear a score which the contact does not have."""
        clears = [item for item in items if isinstance(item, Item) and item.op is Op.CLEAR]
        contact = await find_by_key(workspace, key=f"{request.source}:{request.id}") if clears else None
        contact_card = await card(workspace, contact=contact.id, now=self._clock()) if contact is not None else None
        scored_keys = (
            {current_score.score_type.key for current_score in contact_card.standings}
            if contact_card is not None
            else set()
        )
        return [item for item in items if item not in clears or (isinstance(item, Item) and item.score in scored_keys)]


def _build_url(readback: Readback, source: Source, id: str) -> str:
    return (source.settings.api_url or readback.base).rstrip("/") + readback.path(source, id)


async def _fetch(url: str, *, token: str, patience: float) -> _Answer:
    """Return the answer of a URL; raises RetryLater for no answer, _PermanentFailure for an answer that is too long."""
    headers = {"accept": JSON, "authorization": f"Bearer {token}"}
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=patience)) as session,
            # No redirects: the target of a redirect must not receive the token.
            session.get(URL(url, encoded=True), headers=headers, allow_redirects=False) as response,
        ):
            body = await read_body(response, limit=MAX_BODY)
            return _Answer(response.status, response.headers.get("retry-after", ""), body)
    except TooLarge as exc:
        raise _PermanentFailure(f"was answered more than {exc.limit:,} bytes") from exc
    except TimeoutError as exc:
        raise RetryLater(f"was not answered within {patience:g} seconds", pace=PACE) from exc
    except (ClientError, OSError) as exc:
        raise RetryLater(f"was not answered: {type(exc).__name__}", pace=PACE) from exc


def _check_status(answer: _Answer) -> None:
    """Raise RetryLater or _PermanentFailure for an answer without a contact, with advice for an admin."""
    status, retry_after = answer.status, answer.retry_after
    wait = (
        min(int(retry_after) * SECOND, HOUR)
        if retry_after.isascii() and retry_after.isdecimal() and len(retry_after) < 10
        else None
    )
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise RetryLater("is asked for too often", wait=wait, is_outage=True)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise RetryLater(f"was answered {status}", wait=wait, pace=PACE)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise _PermanentFailure(
            f"was answered {status}: the API token is not taken, or may not read contacts; give it another"
        )
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise _PermanentFailure(f"was answered {status}: there is no such contact, or the API token may not see it")
    if status != HTTPStatus.OK:
        raise _PermanentFailure(f"was answered {status}")


async def _name_requests(workspace: Workspace, job: Job) -> JobResult:
    """Store the names of contacts in requests of earlier versions, and remove what names a deleted contact."""
    await name_earlier_requests(workspace)
    return JobResult()
