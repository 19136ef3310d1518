"""Complete contacts that were named by an id alone: read them through the API of their source, and record what it says.

One contact of a source is read at a time, no faster than *PACE*; what cannot be read holds up no other."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout
from yarl import URL

from storage import jobs
from storage.domain.backoff import MOST_ATTEMPTS, SECOND, pause
from storage.domain.errors import UnknownSource
from storage.domain.facts import Item, ItemRequest, Op
from storage.domain.people import Workspace
from storage.domain.sources import Source
from storage.domain.submissions import Delivered, Submission
from storage.jobs import Job
from storage.ledger.committer import record
from storage.ledger.contacts import find_by_key
from storage.ledger.erase import NAME_REQUESTS
from storage.reading.current_scores import card
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

PACE = SECOND // 5  #: between two contacts of a source: no API that is read allows less than twice of that
PATIENCE = 10.0  #: seconds that an answer may take


class _TemporaryFailure(Exception):
    """It may be read later: *wait* µs from now, as we were asked to, or as usual where nobody said."""

    def __init__(self, reason: str, *, wait: int | None = None, all_wait: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.all_wait = all_wait


class _PermanentFailure(Exception):
    """It cannot be read."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    retry_after: str
    body: bytes


class Reader:
    """Carry out the jobs of all workspaces that read contacts."""

    def __init__(self, *, clock: Callable[[], int], patience: float = PATIENCE) -> None:
        self._clock = clock
        self._patience = patience

    async def work(self) -> bool:
        """Take one job that is due and do it; false where there was none."""
        now = self._clock()
        kinds = (READ, NAME_REQUESTS)
        for workspace in await jobs.workspaces_with_due_jobs(kinds=kinds, now=now):
            job = await jobs.claim(workspace, kinds=kinds, now=now)
            if job is not None and job.kind == NAME_REQUESTS:
                await name_earlier_requests(workspace)
                await jobs.settle(workspace, job=job, pace=0, now=self._clock())
                return True
            if job is not None:
                await self._run_job(workspace, job)
                return True
        return False

    async def _run_job(self, workspace: Workspace, job: Job) -> None:
        request = await readback_queue.load_request(workspace, job=job)
        problem = await self._try_read(workspace, request) if request is not None else None
        if isinstance(problem, _TemporaryFailure) and (problem.all_wait or job.attempts < MOST_ATTEMPTS):
            await self._postpone(workspace, job, problem)
            return
        if problem is not None and request is not None:
            attempts = f", {job.attempts} times" if isinstance(problem, _TemporaryFailure) else ""
            description = f"{request.source}:{request.id} {problem}{attempts}"
            log.warning("contact not read", source=request.source, because=str(problem))
            await readback_queue.record_failure(
                workspace, source=request.source, because=description, now=self._clock()
            )
        await jobs.settle(workspace, job=job, pace=PACE, now=self._clock())

    async def _try_read(self, workspace: Workspace, request: Wanted) -> _TemporaryFailure | _PermanentFailure | None:
        try:
            await self._read_contact(workspace, request)
        except (_TemporaryFailure, _PermanentFailure) as exc:
            return exc
        except Exception as exc:  # whatever it was, no other contact waits for it
            log.exception("contact not recorded", source=request.source)
            return _TemporaryFailure(f"could not be recorded: {type(exc).__name__}")
        return None

    async def _postpone(self, workspace: Workspace, job: Job, exc: _TemporaryFailure) -> None:
        now = self._clock()
        log.warning("contact not read yet", lane=job.lane, because=str(exc))
        await jobs.postpone(
            workspace,
            job=job,
            until=now + (pause(job.attempts) if exc.wait is None else exc.wait),
            holds_lane=exc.all_wait,
            is_doubtful=False,
            because=str(exc),
            pace=PACE,
            now=now,
        )

    async def _read_contact(self, workspace: Workspace, request: Wanted) -> None:
        """Read a contact and record what is said of it; raises _TemporaryFailure, _PermanentFailure."""
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
            raise _PermanentFailure(f"was answered what cannot be read: {exc}") from exc
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
        """Leave out that a score has no value which has none here either."""
        clears = [item for item in items if isinstance(item, Item) and item.op is Op.CLEAR]
        contact = await find_by_key(workspace, key=f"{request.source}:{request.id}") if clears else None
        contact_card = await card(workspace, contact=contact, now=self._clock()) if contact is not None else None
        scored_keys = (
            {current_score.score_type.key for current_score in contact_card.standings}
            if contact_card is not None
            else set()
        )
        return [item for item in items if item not in clears or (isinstance(item, Item) and item.score in scored_keys)]


def _build_url(readback: Readback, source: Source, id: str) -> str:
    return (source.settings.api_url or readback.base).rstrip("/") + readback.path(source, id)


async def _fetch(url: str, *, token: str, patience: float) -> _Answer:
    """Fetch a URL. Raises _TemporaryFailure for no answer, _PermanentFailure for one that is too long."""
    headers = {"accept": JSON, "authorization": f"Bearer {token}"}
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=patience)) as session,
            # Whoever sends us elsewhere is not to hear the token there.
            session.get(URL(url, encoded=True), headers=headers, allow_redirects=False) as response,
        ):
            body = await read_body(response, limit=MAX_BODY)
            return _Answer(response.status, response.headers.get("retry-after", ""), body)
    except TooLarge as exc:
        raise _PermanentFailure(f"was answered more than {exc.limit:,} bytes") from exc
    except TimeoutError as exc:
        raise _TemporaryFailure(f"was not answered within {patience:g} seconds") from exc
    except (ClientError, OSError) as exc:
        raise _TemporaryFailure(f"was not answered: {type(exc).__name__}") from exc


def _check_status(answer: _Answer) -> None:
    """Raise _TemporaryFailure or _PermanentFailure for an answer without a contact, with what an admin can do."""
    status, retry_after = answer.status, answer.retry_after
    wait = (
        min(int(retry_after) * SECOND, HOUR)
        if retry_after.isascii() and retry_after.isdecimal() and len(retry_after) < 10
        else None
    )
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise _TemporaryFailure("is asked for too often", wait=wait, all_wait=True)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _TemporaryFailure(f"was answered {status}", wait=wait)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise _PermanentFailure(
            f"was answered {status}: the API token is not taken, or may not read contacts; give it another"
        )
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise _PermanentFailure(f"was answered {status}: there is no such contact, or the API token may not see it")
    if status != HTTPStatus.OK:
        raise _PermanentFailure(f"was answered {status}")
