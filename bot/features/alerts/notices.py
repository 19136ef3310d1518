"""Send the makers of alert rules messages about broken rules, and about changes by other people."""

from collections.abc import Iterable
from dataclasses import replace

from bot.blocks.alert_notices import (
    broken_rules_blocks,
    broken_rules_notice,
    destination_changed_notice,
    rule_changed_notice,
    segment_changed_notice,
)
from bot.blocks.elements import context
from bot.slack.access import Need, Verdict
from bot.slack.handling import Block, Reply, Request
from bot.slack.job_handling import NOTICE, JobTools
from storage.alerts.broken import (
    ADMIN,
    UNUSABLE,
    find_breakages,
    get_channel,
    report_breakages,
    rules_reported_at,
)
from storage.alerts.maker_notices import get_reader
from storage.alerts.rules import AlertRule, alert_rules, load_rule
from storage.audit import AuditAction, AuditEntry, load_entry
from storage.domain.backoff import PACE, SECOND
from storage.domain.facts import DAY
from storage.job_runner import JobResult
from storage.jobs import Job
from storage.notices import clear_notice, is_noticed, record_notice
from storage.reading.segments import dependent_rules
from storage.scoring.definitions import score_types
from storage.workspaces import load_choices

CHECK_EVERY = 300 * SECOND


async def tell_maker(tools: JobTools, job: Job) -> JobResult:
    """Notify the maker of alert rules of changes by another person; an admin if the maker has left."""
    entry, maker = await load_entry(tools.workspace, id=job.subject), get_reader(job.key)
    reply = None if entry is None else await _render_change(tools, entry, maker)
    if reply is None:  # the maker has no such rule any more
        return JobResult()
    if await tools.people.colleague(maker, now=tools.clock()) is None:
        note = context(f"<@{maker}>, who made it, is not an active member here, so this message comes to you.")
        reply = replace(reply, blocks=[*reply.blocks, note])
        await tools.post_to_admin(job, reply, job.key, event=NOTICE, since=tools.clock() - DAY)
        return JobResult(pace=PACE)
    channel = await tools.poster.direct(maker)
    await tools.poster.post_once(job, channel, reply, job.key, event=NOTICE, since=tools.clock() - DAY)
    return JobResult(pace=PACE)


async def _render_change(tools: JobTools, entry: AuditEntry, maker: str) -> Reply | None:
    match AuditAction(entry.what):
        case AuditAction.SEGMENT_SAVED:
            rules = _list_made_by(maker, await dependent_rules(tools.workspace, name=entry.subject or ""))
            return segment_changed_notice(entry, rules) if rules else None
        case AuditAction.CHANNEL_SET:
            rules = _list_made_by(maker, await alert_rules(tools.workspace))
            rules = [rule for rule in rules if rule.follows_workspace]
            return destination_changed_notice(entry, rules) if rules else None
        case _:
            state = entry.before or entry.after or {}
            rule = await load_rule(tools.workspace, rule=int(state["id"]))
            types, choices = await score_types(tools.workspace), await load_choices(tools.workspace)
            return None if rule is None else rule_changed_notice(entry, replace(rule, paused_at=None), types, choices)


def _list_made_by(maker: str, rules: Iterable[AlertRule]) -> list[AlertRule]:
    return [rule for rule in rules if rule.made_by == maker]


async def check_rules(tools: JobTools, job: Job) -> JobResult:
    """Look for rules that broke, and queue messages about them; again in five minutes."""
    now = tools.clock()
    await _check_channels(tools)
    await report_breakages(tools.workspace, now=now)
    return JobResult(repeat_at=now + CHECK_EVERY)


async def _check_channels(tools: JobTools) -> None:
    """Record which channels of rules cannot be used, and clear the notices about those that can be used again.

    The members of a channel are looked up only after a problem: until then, each post checks them.
    """
    now, choices = tools.clock(), await load_choices(tools.workspace)
    rules = [rule for rule in await alert_rules(tools.workspace) if rule.paused_at is None]
    for channel in sorted({channel for rule in rules if (channel := get_channel(rule, choices))}):
        is_unusable = await is_noticed(tools.workspace, notice=UNUSABLE + channel)
        has_failed = await is_noticed(tools.workspace, notice=channel)  # a follow-up went to an admin instead
        look_up = tools.people.may_post if is_unusable or has_failed else tools.people.may_reach
        verdict = await look_up(channel, now=now)
        if verdict is not Verdict.ALLOWED and not is_unusable:
            await record_notice(tools.workspace, notice=UNUSABLE + channel, now=now)
        elif verdict is Verdict.ALLOWED and is_unusable:
            await clear_notice(tools.workspace, notice=UNUSABLE + channel)
            await clear_notice(tools.workspace, notice=channel)


async def tell_broken(tools: JobTools, job: Job) -> JobResult:
    """Notify a maker, or an admin, of the rules that broke. An admin is not notified of their own rules."""
    now, to = tools.clock(), get_reader(job.key)
    if to == ADMIN:
        reader = await tools.find_admin()
    else:
        reader = to if await tools.people.colleague(to, now=now) else None
    if reader is None:  # an admin is told about the rules of makers who left
        return JobResult()
    reported = await rules_reported_at(tools.workspace, at=job.subject)
    rules = [rule for rule in reported if (rule.made_by == reader) is (to != ADMIN)]
    types, choices = await score_types(tools.workspace), await load_choices(tools.workspace)
    breakages = await find_breakages(tools.workspace, rules=rules, types=types)
    broken = [rule for rule in rules if rule.id in breakages]
    if broken:
        reply = broken_rules_notice(broken, types, choices, breakages, reader=reader)
        channel = await tools.poster.direct(reader)
        await tools.poster.post_once(job, channel, reply, job.key, event=NOTICE, since=job.subject)
    return JobResult(pace=PACE)


async def list_broken_at_home(request: Request) -> list[Block]:
    """Return the section of the Home tab about broken rules: a maker's own, and for admins all."""
    is_admin = Need.ADMINISTER in request.rights
    rules = [
        rule
        for rule in await alert_rules(request.workspace)
        if rule.paused_at is None and (is_admin or rule.made_by == request.person.id)
    ]
    breakages = await find_breakages(request.workspace, rules=rules, types=request.types)
    broken = [rule for rule in rules if rule.id in breakages]
    return broken_rules_blocks(broken, request.types, request.choices, breakages) if broken else []
