"""The tools that job handlers of the bot use, and the translation of Slack errors into retries."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import structlog
from slack_sdk.errors import SlackApiError

from bot.blocks.refusals import plain_reply
from bot.slack.client import is_outage
from bot.slack.directory import People
from bot.slack.errors import error_code
from bot.slack.handling import Reply
from bot.slack.poster import NO_PLACE, NotShown, Poster, Unheard, retry_after
from bot.slack.text import UNUSABLE_CHANNEL
from storage.domain.facts import DAY
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.job_runner import Handler, JobResult, RetryLater
from storage.jobs import Job
from storage.notices import NO_ADMIN, clear_notice, is_noticed, record_notice
from storage.scoring.definitions import score_types

log = structlog.get_logger(__name__)

#: the event type in the metadata of messages to admins about problems
NOTICE = "notice"
#: the reason of a job that is given up because it has nobody to notify
NO_ADMIN_FOUND = "no admin can be reached"


class AnswerLate(Protocol):
    """Answers an earlier request of a person."""

    async def __call__(self, *, user: str, answer_to: str | None, reply: Reply) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTools:
    """The workspace of a job, its people, and the ways to reach them."""

    workspace: Workspace
    people: People
    poster: Poster
    answer_late: AnswerLate
    clock: Callable[[], int]

    async def find_admin(self) -> str | None:
        """Return the id of an admin, or None. Record or clear the notice NO_ADMIN, which the Home tab shows."""
        now = self.clock()
        admin = await self.people.an_admin(now=now)
        if admin is None:
            remedy = f"contact-score workspace set {self.workspace.team} --add-admin U…"
            log.error("no admin could be reached", remedy=remedy)
            await record_notice(self.workspace, notice=NO_ADMIN, now=now)
        else:
            await clear_notice(self.workspace, notice=NO_ADMIN)
        return admin

    async def post_to_admin(self, job: Job, reply: Reply, id: int | str, *, event: str, since: int) -> bool:
        """Send a direct message to an admin, once even if the job is retried. Return whether there is an admin."""
        admin = await self.find_admin()
        if admin is None:
            return False
        await self.poster.post_once(job, await self.poster.direct(admin), reply, id, event=event, since=since)
        return True

    async def load_types(self) -> dict[str, ScoreType]:
        """Return the score types by key."""
        return {score_type.key: score_type for score_type in await score_types(self.workspace)}

    async def notify_admin_once(self, job: Job, notice: str, text: str) -> None:
        """Notify an admin of a problem, once until a caller clears the notice because the problem ended."""
        now = self.clock()
        if await is_noticed(self.workspace, notice=notice):
            return
        if await self.post_to_admin(job, plain_reply(text), notice, event=NOTICE, since=now - DAY):
            await record_notice(self.workspace, notice=notice, now=now)


JobHandler: TypeAlias = Callable[[JobTools, Job], Awaitable[JobResult]]


def bind_handlers(handlers: Mapping[str, JobHandler], tools: JobTools) -> dict[str, Handler]:
    """Return the handlers of one workspace for the job runner, by kind of job."""
    return {kind: _translate_errors(handler, tools) for kind, handler in handlers.items()}


def _translate_errors(handler: JobHandler, tools: JobTools) -> Handler:
    """Wrap a handler so that Slack errors become RetryLater. *is_outage* is set if other jobs would fail as well."""

    async def run(_: Workspace, job: Job) -> JobResult:
        try:
            return await handler(tools, job)
        except Unheard as exc:
            raise RetryLater("Slack did not answer", is_outage=True, is_doubtful=True) from exc
        except NotShown as exc:
            raise RetryLater(exc.verdict.name) from exc
        except Exception as exc:
            code, is_away = error_code(exc), is_outage(exc)
            if not is_away and code is None:
                raise
            reason = f"Slack says {code}" if code else "Slack does not answer"
            raise RetryLater(reason, wait=retry_after(exc), is_outage=is_away) from exc

    return run


def explain_refusal(exc: NotShown | SlackApiError, channel: str) -> str:
    """Return why the app cannot post in a channel. Raises *exc* again if a retry may help."""
    if isinstance(exc, NotShown):
        return UNUSABLE_CHANNEL.format(channel)
    if error_code(exc) not in NO_PLACE:
        raise exc
    return f"Slack says `{error_code(exc)}` of <#{channel}>"
