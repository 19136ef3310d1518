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
from storage.ledger.committer import Committer
from storage.ledger.contacts import find_by_key
from storage.reading.current_scores import card
from storage.sources import readback_queue
from storage.sources.config import find_source
from storage.sources.readback_queue import READ, Wanted
from webhooks.limits import HOUR, MAX_BODY, TooLarge, read_body
from webhooks.providers import PROVIDERS
from webhooks.providers.contract import BadBody, Readback
from webhooks.read.bodies import JSON
from webhooks.read.parse_delivery import read_items, readback_request, serialize_request

log = structlog.get_logger(__name__)

PACE = SECOND // 5  #: between two contacts of a source: no API that is read allows less than twice of that
PATIENCE = 10.0  #: seconds that an answer may take


class _Later(Exception):
    """It may be read later: *wait* µs from now, as we were asked to, or as usual where nobody said."""

    def __init__(self, because: str, *, wait: int | None = None, all_wait: bool = False) -> None:
        super().__init__(because)
        self.wait = wait
        self.all_wait = all_wait


class _Never(Exception):
    """It cannot be read."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    retry_after: str
    body: bytes


class Reader:
    """Carry out the jobs of all workspaces that read contacts."""

    def __init__(self, *, committer: Committer, clock: Callable[[], int], patience: float = PATIENCE) -> None:
        self._committer = committer
        self._clock = clock
        self._patience = patience

    async def work(self) -> bool:
        """Take one job that is due and do it; false where there was none."""
        now = self._clock()
        for workspace in await jobs.workspaces_with_due_jobs(kinds=[READ], now=now):
            job = await jobs.claim(workspace, kinds=[READ], now=now)
            if job is not None:
                await self._carry_out(workspace, job)
                return True
        return False

    async def _carry_out(self, workspace: Workspace, job: Job) -> None:
        wanted = await readback_queue.load_request(workspace, job=job)
        problem = await self._tried(workspace, wanted) if wanted is not None else None
        if isinstance(problem, _Later) and (problem.all_wait or job.attempts < MOST_ATTEMPTS):
            await self._postpone(workspace, job, problem)
            return
        if problem is not None and wanted is not None:
            times = f", {job.attempts} times" if isinstance(problem, _Later) else ""
            said = f"{wanted.source}:{wanted.id} {problem}{times}"
            log.warning("contact not read", source=wanted.source, because=str(problem))
            await readback_queue.record_failure(workspace, source=wanted.source, because=said, now=self._clock())
        await jobs.settle(workspace, job=job, pace=PACE, now=self._clock())

    async def _tried(self, workspace: Workspace, wanted: Wanted) -> _Later | _Never | None:
        try:
            await self._read(workspace, wanted)
        except (_Later, _Never) as exc:
            return exc
        except Exception as exc:  # whatever it was, no other contact waits for it
            log.exception("contact not recorded", source=wanted.source)
            return _Later(f"could not be recorded: {type(exc).__name__}")
        return None

    async def _postpone(self, workspace: Workspace, job: Job, exc: _Later) -> None:
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

    async def _read(self, workspace: Workspace, wanted: Wanted) -> None:
        """Read a contact and record what is said of it; raises _Later, _Never."""
        try:
            source = await find_source(workspace.team, slug=wanted.source)
        except UnknownSource:
            return
        readback = PROVIDERS[source.provider].readback
        if readback is None:
            return
        address = _address(readback, source, wanted.id)
        answered = await _ask(address, token=wanted.api_token, patience=self._patience)
        _check(answered)
        request = readback_request(answered.body, id=wanted.id)
        key = f"read:{wanted.id}:{hashlib.sha256(answered.body).hexdigest()[:16]}"
        try:
            items = read_items(PROVIDERS[source.provider], request, source=source, key=key)
        except BadBody as exc:
            raise _Never(f"was answered what cannot be read: {exc}") from exc
        now = self._clock()
        submission = Submission(
            workspace=workspace,
            source=source.slug,
            batch=f"{source.slug}/{key}",
            received_at=now,
            items=await self._news(workspace, items, wanted),
            creates=False,
            delivered=Delivered(source=source.id, key=key, raw=serialize_request(request), was_read=True),
            muted=source.settings.muted,
        )
        await self._committer.record(submission, now=now)

    async def _news(self, workspace: Workspace, items: list[ItemRequest], wanted: Wanted) -> list[ItemRequest]:
        """Leave out that a score has no value which has none here either."""
        cleared = [one for one in items if isinstance(one, Item) and one.op is Op.CLEAR]
        contact = await find_by_key(workspace, key=f"{wanted.source}:{wanted.id}") if cleared else None
        known = await card(workspace, contact=contact, now=self._clock()) if contact is not None else None
        scored = {one.score_type.key for one in known.standings} if known is not None else set()
        return [one for one in items if one not in cleared or (isinstance(one, Item) and one.score in scored)]


def _address(readback: Readback, source: Source, id: str) -> str:
    return (source.settings.api_url or readback.base).rstrip("/") + readback.path(source, id)


async def _ask(address: str, *, token: str, patience: float) -> _Answer:
    """Ask for something; raises _Later where nobody answers, _Never where too much is answered."""
    headers = {"accept": JSON, "authorization": f"Bearer {token}"}
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=patience)) as session,
            # Whoever sends us elsewhere is not to hear the token there.
            session.get(URL(address, encoded=True), headers=headers, allow_redirects=False) as told,
        ):
            body = await read_body(told, limit=MAX_BODY)
            return _Answer(told.status, told.headers.get("retry-after", ""), body)
    except TooLarge as exc:
        raise _Never(f"was answered more than {exc.limit:,} bytes") from exc
    except TimeoutError as exc:
        raise _Later(f"was not answered within {patience:g} seconds") from exc
    except (ClientError, OSError) as exc:
        raise _Later(f"was not answered: {type(exc).__name__}") from exc


def _check(answered: _Answer) -> None:
    """Go on where it was answered; raises _Later, _Never, with what to do where somebody can do something."""
    status, told = answered.status, answered.retry_after
    wait = min(int(told) * SECOND, HOUR) if told.isascii() and told.isdecimal() and len(told) < 10 else None
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise _Later("is asked for too often", wait=wait, all_wait=True)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _Later(f"was answered {status}", wait=wait)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise _Never(f"was answered {status}: the API token is not taken, or may not read contacts; give it another")
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise _Never(f"was answered {status}: there is no such contact, or the API token may not see it")
    if status != HTTPStatus.OK:
        raise _Never(f"was answered {status}")
