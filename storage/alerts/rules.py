"""Store the alert rules of each workspace."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from storage.alerts.maker_notices import enqueue_maker_notices
from storage.audit import AuditAction, AuditEntry, ChangedMeanwhile, Document, record_change
from storage.db import database, models
from storage.db.database import Row, Session
from storage.domain.alerts.kinds import KINDS, Crosses, Kind, Region, Watch
from storage.domain.alerts.syntax import AlertWords
from storage.domain.durations import write_span
from storage.domain.errors import Refusal
from storage.domain.facts import DAY
from storage.domain.numbers import to_json
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType

COOLDOWN = 14 * DAY  #: the default cool-down, in µs
MARGIN = 20  #: the default margin is the range divided by this


class UnknownRule(Refusal):
    """There is no such alert rule; `/score alerts` lists them."""


class RuleThere(Refusal):
    """The same rule already exists for the same place."""

    def __init__(self, rule: "AlertRule") -> None:
        super().__init__()
        self.rule = rule


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """A stored alert rule. Values in thousandths, times in µs. `Watch` explains the fields of the trigger."""

    id: int
    workspace_id: int
    score: str | None  #: the key of the score type; None: the default rule, for the top band of the default type
    kind: Kind
    region: Region
    amount: int
    span: int
    condition: str  #: the text of a filter, blank for all contacts
    channel: str | None  #: the Slack channel id; None: the workspace's channel for follow-ups
    in_digest: bool  #: follow-ups are listed in the digest only, and not posted
    hold: int
    margin: int | None  #: None: the range divided by MARGIN
    cooldown: int
    sla: int | None  #: the time within which a follow-up should be claimed
    escalate_to: str | None  #: the Slack user id to escalate to after *sla*
    swept_until: int  #: everything that time alone decided up to this instant is evaluated
    made_by: str | None
    maker_address: str | None  #: the maker's e-mail address: `owner:me` in a segment that the condition uses
    paused_at: int | None  #: None: the rule is on
    enrollment: int  #: how often the enrollment was restarted; memories with another number are outdated
    enrolled_at: int  #: when the enrollment was last restarted
    previous_enrolled_at: int | None  #: when it was restarted before that, while newcomers are asked for; else None
    created_at: int

    @property
    def is_asking(self) -> bool:
        """Whether newcomers are asked for, after a new definition was applied."""
        return self.previous_enrolled_at is not None

    @property
    def is_default(self) -> bool:
        """Whether this is the default rule, which every workspace has."""
        return self.score is None

    def is_about(self, score_type: ScoreType) -> bool:
        """Return whether the rule watches scores of a type."""
        return score_type.key == self.score or (self.score is None and score_type.is_default)

    def watch(self, types: Collection[ScoreType]) -> Watch | None:
        """Return the rule resolved for its score type, with the current range and bands.

        Returns None if *types* lacks its score type, or, for the default rule, if the default type has fewer than two
        bands.
        """
        score_type = next(filter(self.is_about, types), None)
        if score_type is None:
            return None
        region = self.region
        if self.is_default:
            if len(score_type.bands) < 2:
                return None
            region = Region(low=score_type.bands[-1].start)
        margin = (score_type.maximum - score_type.minimum) // MARGIN if self.margin is None else self.margin
        return self.kind(
            rule=self.id, score_type=score_type, region=region, amount=self.amount, span=self.span, margin=margin,
            hold=self.hold, cooldown=self.cooldown,
        )  # fmt: skip

    @property
    def follows_workspace(self) -> bool:
        """Whether the rule is on and posts where the workspace sends follow-ups."""
        return self.channel is None and not self.in_digest and self.paused_at is None

    @property
    def owners(self) -> Mapping[str, str | None]:
        """The meaning of `owner:me` in a segment that the condition uses, for `filters.parse`."""
        return {"me": self.maker_address}

    def does(
        self,
        words: AlertWords,
        condition: str,
        types: Collection[ScoreType],
        *,
        default_channel: str | None,
        me: str | None,
    ) -> bool:
        """Return whether this rule duplicates a new one: same trigger, condition, channel and escalation.

        *default_channel* is the channel of rules without a channel. *me* is the address of the new rule's maker if
        *condition* depends on it, else None. A paused default rule is not a duplicate: a person
        who adds the same rule wants follow-ups.
        """
        watch = None if self.is_default and self.paused_at is not None else self.watch(types)
        return (
            watch is not None
            and replace(watch, rule=0) == watch_for(words)
            and (self.channel or default_channel) == (words.channel or default_channel)
            and (self.condition, self.in_digest) == (condition, words.in_digest)
            and (me is None or self.maker_address == me)
            and (self.sla, self.escalate_to) == (words.sla, words.escalate_to)
        )


def watch_for(words: AlertWords) -> Watch:
    """Return what a parsed rule would watch; its rule id is 0."""
    score_type = words.score_type
    return words.kind(
        rule=0, score_type=score_type, region=words.region, amount=words.amount, span=words.span,
        margin=(score_type.maximum - score_type.minimum) // MARGIN if words.margin is None else words.margin,
        hold=words.hold, cooldown=COOLDOWN if words.cooldown is None else words.cooldown,
    )  # fmt: skip


async def insert_default(session: Session, workspace: Workspace, *, now: int) -> None:
    """Insert the default rule of a new workspace, paused until an admin chooses where follow-ups go."""
    await session.rows(
        "INSERT INTO alert_rules (workspace_id, kind, amount, span, condition, in_digest, hold, cooldown, swept_until,"
        " paused_at, created_at) VALUES ($1, $4, 0, 0, '', false, 0, $2, $3, $3, $3)",
        workspace.id,
        COOLDOWN,
        now,
        Crosses.name,
    )


async def insert_rule(
    session: Session,
    workspace: Workspace,
    *,
    words: AlertWords,
    condition: str,
    made_by: str,
    maker_address: str | None,
    now: int,
) -> AlertRule:
    """Insert a rule and return it. *condition* replaces the condition of *words*."""
    rows = await session.rows(
        "INSERT INTO alert_rules (workspace_id, score, kind, low, high, amount, span, condition, channel, in_digest,"
        " hold, margin, cooldown, sla, escalate_to, made_by, swept_until, created_at, enrollment, enrolled_at,"
        " maker_address) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $17, 1,"
        " $17, $18) RETURNING *",
        workspace.id,
        words.score_type.key,
        words.kind.name,
        words.region.low,
        words.region.high,
        words.amount,
        words.span,
        condition,
        words.channel,
        words.in_digest,
        words.hold,
        words.margin,
        COOLDOWN if words.cooldown is None else words.cooldown,
        words.sla,
        words.escalate_to,
        made_by,
        now,
        maker_address,
    )
    return _make_rule(rows[0])


async def load_rules(session: Session, workspaces: Collection[int]) -> dict[int, list[AlertRule]]:
    """Load the rules of workspaces, by workspace id, in the order they were added: the default rule first.

    Removed rules are left out.
    """
    rows = await session.rows(
        "SELECT r.* FROM given(id bigint) JOIN alert_rules r ON r.workspace_id = given.id"
        " WHERE r.removed_at IS NULL ORDER BY r.id",
        [{"id": id} for id in sorted(workspaces)],
    )
    rules_of: dict[int, list[AlertRule]] = {}
    for row in rows:
        rules_of.setdefault(row["workspace_id"], []).append(_make_rule(row))
    return rules_of


async def alert_rules(workspace: Workspace) -> list[AlertRule]:
    """Load the rules of a workspace, in the order they were added: the default rule first."""
    return (await load_rules(database.current_database().reader, [workspace.id])).get(workspace.id, [])


async def load_rule(workspace: Workspace, *, rule: int) -> AlertRule | None:
    """Return a rule by its id, also a removed one; None if there is no such rule."""
    rows = await database.load(models.AlertRule.filter(workspace_id=workspace.id, id=rule))
    return _make_rule(rows[0]) if rows else None


async def pause_rule(workspace: Workspace, *, rule: int, by: str, now: int) -> None:
    """Pause a rule: it opens no follow-ups until it is resumed. Raises UnknownRule."""
    values = {"paused_at": now, "previous_enrolled_at": None}
    await _update_rule(workspace, rule, values, what=AuditAction.ALERT_PAUSED, by=by, now=now)


async def resume_rule(workspace: Workspace, *, rule: int, by: str, now: int) -> None:
    """Resume a rule. It opens no follow-ups for what happened while it was paused. Raises UnknownRule."""
    await _update_rule(workspace, rule, {"paused_at": None}, what=AuditAction.ALERT_RESUMED, by=by, now=now)


async def remove_rule(workspace: Workspace, *, rule: int, by: str, now: int) -> None:
    """Remove a rule permanently. Its follow-ups stay. Raises UnknownRule."""
    values = {"removed_at": now, "previous_enrolled_at": None}
    await _update_rule(workspace, rule, values, what=AuditAction.ALERT_REMOVED, by=by, now=now)


async def write_back(
    session: Session, workspace: Workspace, *, change: AuditEntry, by: str, now: int
) -> tuple[int, AlertRule | None]:
    """Undo a recorded change of a rule: the rule is as before the change. Record the undo, and return its entry's id.

    Also return the rule, if it had been removed and is back: the caller must enroll contacts in it.
    Raises ChangedMeanwhile if the rule is not as the change left it.
    """
    target = change.before
    rows = await session.rows(
        "SELECT * FROM alert_rules WHERE workspace_id = $1 AND id = $2 FOR NO KEY UPDATE",
        workspace.id,
        (change.after or change.before or {})["id"],
    )
    current = describe_rule(_make_rule(rows[0])) if rows and rows[0]["removed_at"] is None else None
    if not rows or current != change.after:
        state = "changed" if current is not None else "removed"
        raise ChangedMeanwhile(f"{change.subject} was {state} meanwhile, so that change cannot be undone")
    id, paused_at = rows[0]["id"], rows[0]["paused_at"]
    what = AuditAction.ALERT_REMOVED
    if target is not None:
        paused_at = (paused_at or now) if target["paused"] else None
        what = AuditAction.ALERT_PAUSED if target["paused"] else AuditAction.ALERT_RESUMED
        what = AuditAction.ALERT_ADDED if current is None else what
    values = {"removed_at": None, "paused_at": paused_at}
    if target is None:
        values |= {"removed_at": now, "previous_enrolled_at": None}
    await session.update(models.AlertRule.filter(id=id), **values)
    entry = await record_change(
        session, workspace, who=by, what=what, subject=name_rule(id), before=current, after=target, undoes=change.id,
        now=now,
    )  # fmt: skip  # who and what, then the states
    await enqueue_maker_notices(session, workspace, [rows[0]["made_by"]], entry=entry, by=by, now=now)
    return entry, _make_rule({**rows[0], **values}) if current is None else None


async def restart_enrollment(session: Session, rules: Collection[int], *, asks: bool = False, now: int) -> None:
    """Restart the enrollment of rules: each contact is enrolled when the rule evaluates it the next time.

    With *asks*, newcomers are asked for until `end_asking`; see `decide.ask_next_newcomers`.
    """
    previous = "enrolled_at" if asks else "NULL"
    await session.rows(
        f"UPDATE alert_rules SET enrollment = enrollment + 1, previous_enrolled_at = {previous}, enrolled_at = $2"
        " WHERE id IN (SELECT id FROM given(id bigint))",
        [{"id": rule} for rule in sorted(rules)],
        now,
    )


async def end_asking(session: Session, rules: Collection[int]) -> None:
    """Record that every newcomer of these rules was asked for."""
    await session.rows(
        "UPDATE alert_rules SET previous_enrolled_at = NULL WHERE id IN (SELECT id FROM given(id bigint))",
        [{"id": rule} for rule in sorted(rules)],
    )


async def record_sweep(session: Session, rule: AlertRule, *, until: int) -> None:
    """Record that everything that time alone decided up to *until* was evaluated.

    A later instant that another sweep has recorded meanwhile is kept.
    """
    await session.rows(
        "UPDATE alert_rules SET swept_until = $2 WHERE id = $1 AND (swept_until < $2 OR swept_until = $3)",
        rule.id,
        until,
        rule.swept_until,
    )


async def _update_rule(
    workspace: Workspace, rule: int, values: Mapping[str, int | None], *, what: AuditAction, by: str, now: int
) -> None:
    id = min(rule, database.LARGEST_ID)

    async def body(session: Session) -> None:
        rows = await session.rows(
            "SELECT * FROM alert_rules WHERE workspace_id = $1 AND id = $2 AND removed_at IS NULL FOR NO KEY UPDATE",
            workspace.id,
            id,
        )
        if not rows:
            raise UnknownRule
        await session.update(models.AlertRule.filter(id=id), **values)
        before, after = (describe_rule(_make_rule(row)) for row in (rows[0], {**rows[0], **values}))
        entry = await record_change(
            session, workspace, who=by, what=what, subject=name_rule(id),
            before=before, after=None if what is AuditAction.ALERT_REMOVED else after, now=now,
        )  # fmt: skip  # who and what, then the states
        await enqueue_maker_notices(session, workspace, [rows[0]["made_by"]], entry=entry, by=by, now=now)

    await database.write(body)


def name_rule(id: int) -> str:
    """Return the name of a rule in the record of changes."""
    return f"rule {id}"


def describe_rule(rule: AlertRule) -> Document:
    """Return a rule for the record of changes: what people chose, with numbers as people write them."""
    return {
        "id": rule.id,
        "score": rule.score,
        "kind": rule.kind.name,
        "low": _write_number(rule.region.low),
        "high": _write_number(rule.region.high),
        "amount": _write_number(rule.amount or None),
        "span": _write_span(rule.span),
        "condition": rule.condition,
        "channel": rule.channel,
        "in_digest": rule.in_digest,
        "hold": _write_span(rule.hold),
        "margin": _write_number(rule.margin),
        "cooldown": _write_span(rule.cooldown),
        "sla": _write_span(rule.sla),
        "escalate_to": rule.escalate_to,
        "made_by": rule.made_by,
        "paused": rule.paused_at is not None,
    }


def _write_number(value: int | None) -> int | float | None:
    return None if value is None else to_json(value)


def _write_span(span: int | None) -> str | None:
    return write_span(span) if span else None


def _make_rule(row: Row) -> AlertRule:
    return AlertRule(
        id=row["id"],
        workspace_id=row["workspace_id"],
        score=row["score"],
        kind=KINDS[row["kind"]],
        region=Region(low=row["low"], high=row["high"]),
        amount=row["amount"],
        span=row["span"],
        condition=row["condition"],
        channel=row["channel"],
        in_digest=bool(row["in_digest"]),
        hold=row["hold"],
        margin=row["margin"],
        cooldown=row["cooldown"],
        sla=row["sla"],
        escalate_to=row["escalate_to"],
        swept_until=row["swept_until"],
        made_by=row["made_by"],
        maker_address=row["maker_address"],
        paused_at=row["paused_at"],
        enrollment=row["enrollment"],
        enrolled_at=row["enrolled_at"],
        previous_enrolled_at=row["previous_enrolled_at"],
        created_at=row["created_at"],
    )
