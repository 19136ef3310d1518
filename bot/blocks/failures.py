"""Render reports about failing background jobs, for an admin or else for the Home tab."""

from collections.abc import Collection

from bot.blocks.elements import section
from bot.slack.handling import Block, Reply
from bot.slack.text import escape
from storage.alerts.broken import CHECK_RULES, TELL_BROKEN
from storage.alerts.digests import DIGEST_JOB
from storage.alerts.followup_rules import ASK, EDIT, ESCALATE, HAND_OVER, RELEASE, WAKE
from storage.alerts.maker_notices import TELL_MAKER
from storage.alerts.sweep import SWEEP
from storage.events.deliveries import DELIVER
from storage.events.deliveries import TELL as TELL_DISABLED
from storage.events.outbox import PUBLISH
from storage.jobs import Failures
from storage.sources.health import TELL, WATCH
from storage.sources.readback_queue import READ
from storage.sources.writeback_queue import NOTIFY_PAUSED, REFRESH, WRITE_BACK

#: a description of each kind of job
_WORK = {
    ASK: "Posting a follow-up",
    EDIT: "Updating the message of a follow-up",
    WAKE: "Ending a snooze",
    RELEASE: "Releasing a claim",
    ESCALATE: "Escalating a follow-up",
    HAND_OVER: "Notifying a person of a follow-up",
    DIGEST_JOB: "Sending a digest",
    TELL: "Reporting a source that stopped working",
    TELL_MAKER: "Telling the maker of an alert rule about a change",
    TELL_BROKEN: "Telling somebody about broken alert rules",
    CHECK_RULES: "Checking the alert rules",
    SWEEP: "Evaluating alert rules over time",
    WATCH: "Checking the sources",
    READ: "Reading a contact at its source",
    PUBLISH: "Publishing events",
    DELIVER: "Sending events to a subscription",
    WRITE_BACK: "Writing scores to a source",
    REFRESH: "Looking for scores to write to sources",
    NOTIFY_PAUSED: "Reporting that scores are no longer written to a source",
    TELL_DISABLED: "Reporting a subscription that was turned off",
}
_NO_ADMIN = (
    "*No admin could be reached*, so the setup questions, and follow-ups that cannot be shown in their place, were sent"
    " to nobody. See them with `/score followups`. To name an admin, type"
    " `contact-score workspace set {} --add-admin U…` in a terminal, then start the service again."
)


def failures_reply(kind: str, failures: Failures) -> Reply:
    """Return the message that tells an admin that jobs of a kind fail."""
    if failures.given_up:
        times = f"{failures.given_up:,} times" if failures.given_up > 1 else "once"
        outcome = f"failed and was given up, {times}."
    else:
        outcome = "keeps failing. It is retried every hour."
    text = f"{name_work(kind)} {outcome} The last reason: {escape(failures.problem or 'unknown')}."
    return Reply(text=text, blocks=[section(text)])


def no_admin_blocks(team: str, kinds: Collection[str]) -> list[Block]:
    """Return the section of the Home tab for a workspace without an admin who can be reached.

    *kinds* are the kinds of failed jobs that could not be reported.
    """
    blocks = [section(_NO_ADMIN.format(team))]
    if kinds:
        names = ", ".join(name_work(kind).lower() for kind in sorted(kinds))
        text = f"*These jobs failed, and no admin could be notified*: {names}. The reasons are in the log."
        blocks.append(section(text))
    return blocks


def name_work(kind: str) -> str:
    """Return a description of a kind of job."""
    return _WORK.get(kind, f"A job of the kind `{kind}`")
