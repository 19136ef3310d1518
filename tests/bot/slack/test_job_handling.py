"""The errors of Slack become retries: of an outage, of one job, or of a message that may have been posted."""

from typing import Any, cast

import pytest
from slack_sdk.errors import SlackApiError

from bot.slack.access import Verdict
from bot.slack.job_handling import JobTools, bind_handlers
from bot.slack.poster import NotShown, Unheard
from storage.domain.people import Workspace
from storage.job_runner import JobResult, RetryLater
from storage.jobs import Job

WORKSPACE = Workspace(id=1, team="T0ACME", name="Acme")
TOOLS, JOB = cast(JobTools, None), cast(Job, None)  # the handlers below use neither


async def outcome(error: Exception) -> dict[str, Any]:
    """Return the fields of the retry that follows when a handler raises this error."""

    async def fail(_: JobTools, __: Job) -> JobResult:
        raise error

    with pytest.raises(RetryLater) as raised:
        await bind_handlers({"greet": fail}, TOOLS)["greet"](WORKSPACE, JOB)
    return {"reason": str(raised.value), "away": raised.value.is_outage, "doubtful": raised.value.is_doubtful}


@pytest.mark.parametrize(
    ("error", "reason", "away", "doubtful"),
    [
        (Unheard(), "Slack did not answer", True, True),
        (NotShown(Verdict.MIXED), "MIXED", False, False),
        (ConnectionRefusedError(), "Slack does not answer", True, False),
        (SlackApiError("", {"error": "ratelimited"}), "Slack says ratelimited", True, False),  # type: ignore[no-untyped-call]  # slack_sdk
        (SlackApiError("", {"error": "msg_too_long"}), "Slack says msg_too_long", False, False),  # type: ignore[no-untyped-call]  # slack_sdk
    ],
)
async def test_an_error_of_slack_is_a_retry(error: Exception, reason: str, away: bool, doubtful: bool) -> None:
    """A retry says whether every other job would fail too, and whether the message may have been posted."""
    assert await outcome(error) == {"reason": reason, "away": away, "doubtful": doubtful}


async def test_an_error_of_ours_is_not_hidden() -> None:
    """A programming error reaches the job runner as it is, which logs it with its traceback."""

    async def fail(_: JobTools, __: Job) -> JobResult:
        raise KeyError("typo")

    with pytest.raises(KeyError, match="typo"):
        await bind_handlers({"greet": fail}, TOOLS)["greet"](WORKSPACE, JOB)
