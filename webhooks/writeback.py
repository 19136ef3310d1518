"""Write scores to the contacts of CRMs, through their APIs, within their rate limits.

Each source's contacts are written one request at a time. A request that fails is repeated with the scores of then, so a
CRM that was unavailable for hours gets only the latest. Writing stops, and an admin is told, if the CRM rejects the
token, or refuses two contacts in a row.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network

import structlog
from aiohttp import ClientError
from yarl import URL

from storage.domain.errors import UnknownSource
from storage.domain.people import Workspace
from storage.domain.sources import Source
from storage.job_runner import Handler, JobResult, RetryLater
from storage.jobs import Job, drop_repeated
from storage.sources import writeback_queue
from storage.sources.config import find_source
from storage.sources.writeback_queue import LANE_PREFIX, WRITE_BACK, ContactWrite
from webhooks.limits import MAX_BODY, TooLarge, read_body
from webhooks.outgoing import read_retry_after
from webhooks.outgoing_sessions import PATIENCE, OutgoingSessions
from webhooks.providers import PROVIDERS
from webhooks.providers.contract import Writeback
from webhooks.read.bodies import JSON

log = structlog.get_logger(__name__)

LONGEST_PROBLEM = 200  # characters of a CRM's message that are stored
REJECTED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
MISSING = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)


class _Paused(Exception):
    """Writing must stop until an admin changes the source."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    document: object
    wait: int | None  #: µs that the CRM asked to wait


class Writer:
    """The handler of the jobs that write scores, for every workspace."""

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
        return {WRITE_BACK: self._run_job}

    async def close(self) -> None:
        """Close all connections."""
        await self._sessions.close()

    async def _run_job(self, workspace: Workspace, job: Job) -> JobResult:
        """Write the next contacts of a source's queue."""
        try:
            source = await find_source(workspace.team, slug=job.lane.removeprefix(LANE_PREFIX))
        except UnknownSource:
            return JobResult()
        writeback, token = (
            PROVIDERS[source.provider].writeback,
            await writeback_queue.load_api_token(workspace, source=source),
        )
        if writeback is None or token is None:
            return JobResult()
        batch = await writeback_queue.load_next_batch(
            workspace, source=source, job=job, most=writeback.most, now=self._clock()
        )
        if not batch.writes:
            return JobResult(also_done=batch.jobs)
        try:
            await self._write_all(workspace, source, writeback, batch.writes, token=token)
        except _Paused as exc:
            log.warning("writing scores stopped", source=source.slug, because=str(exc))
            await writeback_queue.pause_write_backs(workspace, source=source, because=str(exc), now=self._clock())
        except RetryLater as exc:
            log.warning("scores not written yet", source=source.slug, because=str(exc))
            await drop_repeated(workspace, job=job)
            raise
        return JobResult(also_done=batch.jobs, pace=writeback.pace)

    async def _write_all(
        self, workspace: Workspace, source: Source, writeback: Writeback, writes: Sequence[ContactWrite], *, token: str
    ) -> None:
        """Write contacts, at most `writeback.most` in one request. Raises RetryLater and _Paused.

        A request that is refused is halved, so that a contact that the CRM refuses does not hold up the others.
        """
        size = writeback.most
        waiting = [writes[start : start + size] for start in range(0, len(writes), size)]
        while waiting:
            part = waiting.pop(0)
            answer = await self._send(source, writeback, part, token=token)
            if 200 <= answer.status < 300:
                await self._record_answer(workspace, source, writeback, part, answer)
            elif len(part) > 1:
                half = len(part) // 2
                waiting = [part[:half], part[half:], *waiting]
            else:
                await self._refuse(workspace, source, writeback, part[0], answer)

    async def _send(
        self, source: Source, writeback: Writeback, writes: Sequence[ContactWrite], *, token: str
    ) -> _Answer:
        """Return the answer to a request. Raises RetryLater to repeat the request, _Paused if the token is rejected."""
        call = writeback.call([(write.id, write.values) for write in writes])
        url = URL((source.settings.api_url or writeback.base).rstrip("/") + call.path, encoded=True)
        headers = {
            "content-type": JSON, "accept": JSON, "accept-encoding": "identity", "user-agent": "Contact-Score",
            **writeback.authorize(token),
        }  # fmt: skip  # what is sent and accepted, then who sends it
        try:
            async with self._sessions.open(url.scheme).request(
                call.method, url, data=json.dumps(call.body).encode(), headers=headers, allow_redirects=False
            ) as response:
                answer = _Answer(
                    response.status,
                    _parse(await read_body(response, limit=MAX_BODY)),
                    read_retry_after(response.headers.get("retry-after", ""), now=self._clock()),
                )
        except TooLarge as exc:
            raise RetryLater(f"it answered more than {exc.limit:,} bytes", is_outage=True) from exc
        except (ClientError, OSError, TimeoutError) as exc:
            raise RetryLater(self._sessions.describe_error(exc), is_outage=True) from exc
        if answer.status in REJECTED:
            raise _Paused(_describe(writeback, answer))
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise RetryLater(_describe(writeback, answer), wait=answer.wait, is_outage=True)
        return answer

    async def _record_answer(
        self,
        workspace: Workspace,
        source: Source,
        writeback: Writeback,
        writes: Sequence[ContactWrite],
        answer: _Answer,
    ) -> None:
        """Record what a CRM accepted, and why it did not accept the other contacts of the request."""
        refused = writeback.refused(answer.document, [(write.id, write.values) for write in writes])
        accepted = [write for write in writes if write.id not in refused]
        if accepted:
            await writeback_queue.record_written(workspace, source=source, writes=accepted)
            await writeback_queue.clear_problem(workspace, source=source)
        for id, reason in refused.items():
            log.warning("scores not written", source=source.slug, because=reason[:LONGEST_PROBLEM])
            await writeback_queue.record_problem(
                workspace, source=source, because=f"{source.slug}:{id}: {reason}"[:LONGEST_PROBLEM], now=self._clock()
            )

    async def _refuse(
        self, workspace: Workspace, source: Source, writeback: Writeback, write: ContactWrite, answer: _Answer
    ) -> None:
        """Record why a CRM refused one contact. Raises _Paused if it refused the contact before in the same way.

        A contact that the CRM does not have says nothing about the others.
        """
        reason = _describe(writeback, answer)
        log.warning("scores not written", source=source.slug, because=reason)
        before = await writeback_queue.record_problem(
            workspace, source=source, because=f"{source.slug}:{write.id}: {reason}", now=self._clock()
        )
        is_missing = writeback.most == 1 and answer.status in MISSING
        if not is_missing and before is not None and f" it answered {answer.status}" in before:
            raise _Paused(reason)


def _parse(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _describe(writeback: Writeback, answer: _Answer) -> str:
    message = " ".join(writeback.problem(answer.document).split())[:LONGEST_PROBLEM]
    return f"it answered {answer.status}: {message}" if message else f"it answered {answer.status}"
