"""Add alert rules, and enroll the contacts that are already in a rule's region without opening follow-ups.

A rule enrolls a contact when it evaluates it for the first time, as of the instant at which it began to watch. That
costs nothing when a rule is added or a definition is applied, however many contacts there are."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from storage.alerts import memory as alert_memory
from storage.alerts import rules as alert_rules
from storage.alerts.maker_notices import enqueue_maker_notices
from storage.alerts.rules import AlertRule, RuleThere
from storage.audit import AuditAction, AuditEntry, record_change
from storage.db import database
from storage.db.database import Session
from storage.domain.alerts.kinds import Watch
from storage.domain.alerts.memory import AlertMemory
from storage.domain.alerts.syntax import read_alert
from storage.domain.filters import parse, with_addresses
from storage.domain.fold import make_initial_state
from storage.domain.people import Workspace
from storage.job_runner import Handler, JobResult, run_here
from storage.jobs import Job, NewJob, enqueue
from storage.ledger import projection
from storage.reading import segments
from storage.scoring import definitions

ENROLL = "enroll"  #: the kind of the job that enrolls contacts in a rule; with the rule's row id its lane
SLICE = 500  #: contacts in one statement
PATIENCE = 2.0  #: seconds for which adding a rule waits for its job


async def add_alert_rule(
    workspace: Workspace, *, words: str, made_by: str, owners: dict[str, str | None], now: int
) -> AlertRule:
    """Parse and add a rule, and enroll the contacts that are already in its region.

    *owners* maps the names in `owner:` terms of the condition to addresses, see `filters.with_addresses`. Segments
    that the condition uses may contain `owner:me`: it means the maker of the rule.
    Raises BadAlert, UnknownScoreType, BadFilter, RuleThere.
    """

    async def body(session: Session) -> AlertRule:
        # Lock the workspace, so that the second of two equal rules added at once sees the first one.
        (row,) = await session.rows(
            "SELECT alert_channel FROM workspaces WHERE id = $1 FOR NO KEY UPDATE", workspace.id
        )
        types = tuple((await definitions.live(session, {workspace.id}))[workspace.id].values())
        parsed = read_alert(words, types)
        condition = with_addresses(parsed.condition, owners)
        saved, me = await segments.load_segments(session, workspace), owners.get("me")
        parse(condition, types, owners={"me": me}, segments=saved)
        is_mine = not segments.is_readable(condition, types, saved, owners={})
        for existing in (await alert_rules.load_rules(session, [workspace.id])).get(workspace.id, []):
            if existing.does(
                parsed, condition, types, default_channel=row["alert_channel"], me=me if is_mine else None
            ):
                raise RuleThere(existing)
        rule = await alert_rules.insert_rule(
            session, workspace, words=parsed, condition=condition, made_by=made_by, maker_address=me, now=now
        )
        await record_change(
            session, workspace, who=made_by, what=AuditAction.ALERT_ADDED, subject=alert_rules.name_rule(rule.id),
            before=None, after=alert_rules.describe_rule(rule), now=now,
        )  # fmt: skip  # who and what, then the states
        await begin_to_watch(session, workspace, [rule], now=now)
        return rule

    rule = await database.write(body)
    await fill_memory(workspace, rules=[rule], clock=lambda: now, patience=PATIENCE)
    return rule


async def restore_rule(workspace: Workspace, *, change: AuditEntry, by: str, now: int) -> int:
    """Undo a recorded change of a rule. Return the id of the undo's entry.

    A removed rule that is back asks nobody for what happened meanwhile. Raises ChangedMeanwhile.
    """

    async def body(session: Session) -> tuple[int, list[AlertRule]]:
        entry, rule = await alert_rules.write_back(session, workspace, change=change, by=by, now=now)
        if rule is None:
            return entry, []
        await alert_rules.restart_enrollment(session, [rule.id], now=now)
        enrolled = replace(rule, enrollment=rule.enrollment + 1, enrolled_at=now)
        await begin_to_watch(session, workspace, [enrolled], now=now)
        return entry, [enrolled]

    entry, rules = await database.write(body)
    await fill_memory(workspace, rules=rules, clock=lambda: now, patience=PATIENCE)
    return entry


async def choose_channel(workspace: Workspace, *, channel: str | None, by: str, now: int) -> None:
    """Set the channel for follow-ups, mark the workspace as set up, and resume the default rule.

    *channel* is the Slack channel id; None: follow-ups go to the contact's owner, else to an admin. The makers of the
    rules that this sends elsewhere are told, except *by*.
    """

    async def body(session: Session) -> None:
        (before,) = await session.rows(
            "SELECT alert_channel FROM workspaces WHERE id = $1 FOR NO KEY UPDATE", workspace.id
        )
        await session.rows(
            "UPDATE workspaces SET alert_channel = $2, set_up_at = coalesce(set_up_at, $3) WHERE id = $1",
            workspace.id,
            channel,
            now,
        )
        resumed = await session.rows(
            "UPDATE alert_rules SET paused_at = NULL WHERE workspace_id = $1 AND score IS NULL"
            " AND paused_at IS NOT NULL RETURNING id",
            workspace.id,
        )
        entry = await record_change(
            session, workspace, who=by, what=AuditAction.CHANNEL_SET, subject=workspace.team,
            before={"alert_channel": before["alert_channel"], "default_rule": "paused" if resumed else "on"},
            after={"alert_channel": channel, "default_rule": "on"}, now=now,
        )  # fmt: skip  # who and what, then the states
        if before["alert_channel"] != channel:
            rules = (await alert_rules.load_rules(session, [workspace.id])).get(workspace.id, [])
            makers = [rule.made_by for rule in rules if rule.follows_workspace]
            await enqueue_maker_notices(session, workspace, makers, entry=entry, by=by, now=now)

    await database.write(body)


async def begin_to_watch(session: Session, workspace: Workspace, rules: Collection[AlertRule], *, now: int) -> None:
    """Enqueue the job that enrolls contacts in rules that time decides alone; other rules enroll on the way."""
    await enqueue(session, [make_job(workspace, rule, now=now) for rule in rules if _needs_rows(rule)], now=now)


async def fill_memory(
    workspace: Workspace, *, rules: Collection[AlertRule], clock: Callable[[], int], patience: float | None = None
) -> None:
    """Run the jobs that `begin_to_watch` enqueued in this process; the service goes on after *patience* seconds."""
    for rule in rules:
        if _needs_rows(rule):
            job = make_job(workspace, rule, now=clock())
            await run_here(workspace, job=job, handler=_enroll_slice, clock=clock, patience=patience)


def make_job(workspace: Workspace, rule: AlertRule, *, now: int) -> NewJob:
    """Return the job that enrolls contacts in a rule."""
    return NewJob(
        workspace=workspace.id, kind=ENROLL, lane=f"{ENROLL}/{rule.id}", key=f"{rule.id}/{rule.enrollment}",
        subject=rule.id, due_at=now,
    )  # fmt: skip  # where, what and when


def _needs_rows(rule: AlertRule) -> bool:
    """Return whether sweeps find the contacts of a rule by its memory alone: no score says when it was touched."""
    return rule.kind.needs_memory


async def _enroll_slice(workspace: Workspace, job: Job) -> JobResult:
    """Enroll the next contacts in a rule for untouched scores. A contact that it remembers already stays as it is."""
    rule = next((rule for rule in await alert_rules.alert_rules(workspace) if rule.id == job.subject), None)
    watch = rule.watch(await definitions.score_types(workspace)) if rule is not None else None
    if rule is None or watch is None or job.key != f"{rule.id}/{rule.enrollment}":
        return JobResult()  # it was removed, or its enrollment started again
    rows = await database.read(
        "SELECT max(id) AS last FROM (SELECT id FROM contacts WHERE workspace_id = $1 AND id > $2 ORDER BY id LIMIT $3)"
        " AS slice",
        workspace.id,
        job.position,
        SLICE,
    )
    if rows[0]["last"] is None:
        return JobResult()
    await database.current_database().writer.rows(
        "INSERT INTO alert_memory (rule_id, contact_id, taken, pending_until, seen_at, spent, enrollment)"
        " SELECT CAST($1 AS BIGINT), s.contact_id, s.last_at <= $4,"
        " CASE WHEN s.last_at <= $4 THEN NULL ELSE s.last_at + CAST($5 AS BIGINT) END, CAST($3 AS BIGINT), 0,"
        " CAST($9 AS BIGINT) FROM contacts c JOIN scores s ON s.contact_id = c.id AND s.definition_id = $2"
        " WHERE c.workspace_id = $6 AND c.id > $7 AND c.id <= $8 AND s.rank IS NOT NULL ON CONFLICT DO NOTHING",
        rule.id,
        watch.score_type.definition,
        rule.enrolled_at,
        rule.enrolled_at - watch.span,
        watch.span,
        workspace.id,
        job.position,
        rows[0]["last"],
        rule.enrollment,
    )
    return JobResult(next_position=rows[0]["last"])


#: the handler of the job, by its kind
HANDLERS: Mapping[str, Handler] = {ENROLL: _enroll_slice}


async def load_enrolled_memory(
    session: Session, rule: AlertRule, watch: Watch | None, contacts: Collection[int]
) -> dict[int, AlertMemory]:
    """Return what a rule remembers of contacts; *watch* is what it watches, None where that is nothing."""
    loaded = await alert_memory.load_memory(session, {(rule.id, contact) for contact in contacts})
    memory = {contact: loaded.get((rule.id, contact), AlertMemory()) for contact in contacts}
    stale = [contact for contact in contacts if memory[contact].enrollment != rule.enrollment]
    if watch is None or not stale:
        return memory
    score_type = watch.score_type
    states = await projection.load_states(
        session, {(contact, score_type.key): score_type.definition for contact in stale}
    )
    return memory | {
        contact: watch.enroll(
            memory[contact],
            states.get((contact, score_type.key), make_initial_state(score_type)),
            since=rule.enrolled_at,
        )
        for contact in stale
    }
