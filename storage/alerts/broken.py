"""Find the alert rules that are broken: what they refer to is gone, or the app cannot post in their channel."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from storage.alerts import rules as alert_rules
from storage.alerts.digests import digests
from storage.alerts.rules import AlertRule
from storage.db import database
from storage.db.database import Session
from storage.domain.errors import Refusal
from storage.domain.filters import parse
from storage.domain.people import Choices, Workspace
from storage.domain.score_types import ScoreType
from storage.jobs import NewJob, enqueue
from storage.notices import delete_notices, insert_notices, list_notices, noticed
from storage.reading.segments import segments
from storage.scoring.definitions import score_types
from storage.workspaces import load_choices

CHECK_RULES = "check_alert_rules"  #: the kind, lane and key of the job that looks for broken rules
TELL_BROKEN = "tell_broken_rules"  #: the kind of the jobs that tell a maker, or an admin, about broken rules
ADMIN = "admin"  #: the reader in the key of the job that tells an admin
BROKEN = "broken/"  #: prefix of the notice that a rule is broken; the rule's id follows
UNUSABLE = "unusable/"  #: prefix of the notice that the app cannot post in a channel; the id of the channel follows


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakage:
    """Why a rule is broken: a clause, or the id of the channel in which the app cannot post."""

    reason: str = ""
    channel: str | None = None


async def find_breakages(
    workspace: Workspace, *, rules: Sequence[AlertRule], types: Sequence[ScoreType] | None = None
) -> dict[int, Breakage]:
    """Return why each broken rule among *rules* is broken, by rule id. *types*: instead of the live score types."""
    if not rules:
        return {}
    types = await score_types(workspace) if types is None else types
    saved, has_digest = await segments(workspace), bool(await digests(workspace))
    choices = await load_choices(workspace)
    channels = {channel for rule in rules if (channel := get_channel(rule, choices))}
    notices = await noticed(workspace, notices={*channels, *(UNUSABLE + channel for channel in channels)})
    breakages = dict[int, Breakage]()
    for rule in rules:
        channel = get_channel(rule, choices)
        if reason := _find_reason(rule, types, saved, has_digest=has_digest):
            breakages[rule.id] = Breakage(reason=reason)
        elif channel is not None and notices & {channel, UNUSABLE + channel}:
            breakages[rule.id] = Breakage(channel=channel)
    return breakages


def get_channel(rule: AlertRule, choices: Choices) -> str | None:
    """Return the channel in which the follow-ups of a rule are posted, or None."""
    return None if rule.in_digest else rule.channel or choices.alert_channel


def _find_reason(
    rule: AlertRule, types: Collection[ScoreType], saved: Mapping[str, str], *, has_digest: bool
) -> str | None:
    """Return why a rule cannot be evaluated, or nobody sees its follow-ups; None if it can."""
    watch = rule.watch(types)
    if watch is None:
        default = next(score_type for score_type in types if score_type.is_default)
        if rule.is_default:
            return f"{default.label} has fewer than two bands, so there is no top band"
        return f"there is no score type `{rule.score}`"
    if watch.problem is not None:
        return watch.problem
    try:
        parse(rule.condition, tuple(types), owners=rule.owners, segments=saved)
    except Refusal as refusal:
        return str(refusal)
    if rule.in_digest and not has_digest:
        return "no digest is scheduled, see `/score alerts digest 9:00`"
    return None


async def report_breakages(workspace: Workspace, *, now: int) -> None:
    """Queue messages to the makers of rules that broke since the last call, and to an admin.

    A rule that works again is forgotten, so that its maker is told if it breaks again. Paused rules are left out.
    """
    rules = [rule for rule in await alert_rules.alert_rules(workspace) if rule.paused_at is None]
    broken = (await find_breakages(workspace, rules=rules)).keys()
    working = {BROKEN + str(rule.id) for rule in rules} - {BROKEN + str(id) for id in broken}
    recorded = await noticed(workspace, notices={BROKEN + str(rule.id) for rule in rules})
    if recorded == {BROKEN + str(id) for id in broken}:
        return  # the usual case: nothing to write

    async def body(session: Session) -> None:
        await delete_notices(session, workspace, working)
        new = await insert_notices(session, workspace, {BROKEN + str(id) for id in broken}, now=now)
        makers = {rule.made_by for rule in rules if rule.made_by is not None and BROKEN + str(rule.id) in new}
        readers = [*sorted(makers), ADMIN] if new else []
        await enqueue(session, [_make_job(workspace, reader, now=now) for reader in readers], now=now)

    await database.write(body)


def _make_job(workspace: Workspace, reader: str, *, now: int) -> NewJob:
    return NewJob(workspace=workspace.id, kind=TELL_BROKEN, lane=reader, key=f"{now}/{reader}", subject=now, due_at=now)


async def rules_reported_at(workspace: Workspace, *, at: int) -> list[AlertRule]:
    """Return the rules that a call of `report_breakages` reported at *at* (µs UTC) and that did not work since."""
    recorded = {int(notice) for notice in await list_notices(workspace, prefix=BROKEN, since=at - 1, until=at)}
    return [rule for rule in await alert_rules.alert_rules(workspace) if rule.id in recorded]
