"""Open, move and close follow-ups, and enqueue the jobs that post and update their messages.

Of two people who move a follow-up at the same time, the first wins; the second gets TooLate.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from storage import jobs
from storage.alerts.followups import DIGEST, READ, FollowUp, UnknownFollowUp, follow_up, states_sql, status_of_row
from storage.alerts.hours import load_working_hours
from storage.audit import AuditAction, AuditEntry, ChangedMeanwhile, NewEntry, record_changes
from storage.db import database
from storage.db.database import Row, Session
from storage.domain.errors import Refusal
from storage.domain.followups import (
    BY_TIME,
    CLAIM_LASTS,
    LETS_GO,
    WAITING,
    FollowUpMove,
    FollowUpOutcome,
    FollowUpState,
    FollowUpStatus,
    check_note,
    move_status,
)
from storage.domain.people import Workspace
from storage.domain.texts import match_key
from storage.events.outbox import emit_follow_up_events
from storage.jobs import NewJob

#: kinds of jobs: post a new follow-up, update its message, and make the moves that time causes
ASK, EDIT, WAKE, RELEASE, ESCALATE = "ask", "edit", "wake", "release", "escalate"
#: the kind of the job that notifies a person that a follow-up was assigned to them, or taken over from them
HAND_OVER = "hand_over"
#: history entries other than moves: the first rule fired, a further rule fired, one of several rules no longer applies
OPENED, JOINED, LEFT = "asked", "joined", "left"
UNDO = "undo"  #: the history entry of the undo of a move
#: the columns that a person's move changes, besides late_at
_MOVED_COLUMNS = ("state", "holder", "until", "outcome", "note")
_JOB_KINDS = ", ".join(f"'{kind}'" for kind in (ASK, EDIT, WAKE, RELEASE, ESCALATE, HAND_OVER))


class AlreadyOpen(Refusal):
    """A newer follow-up for the contact is open in the same place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFollowUp:
    """A rule that fired for a contact. Values in thousandths, times in µs."""

    workspace: int
    rule: int
    contact: int
    score: str
    before: int | None
    after: int | None
    source: str
    actor: str | None
    reason: str | None
    lane: str  #: the lane of the jobs that post its messages; DIGEST: it is not posted
    at: int  #: when the rule fired
    why: str | None = None  #: the trigger of its rule as text, if the score does not explain itself
    words: str | None = None  #: the rule as text: its trigger and condition
    sla: int | None = None  #: the time within which it should be claimed
    escalate_to: str | None = None  #: the Slack user id to escalate to after *sla*


async def open_follow_ups(session: Session, new_follow_ups: Sequence[NewFollowUp], *, now: int) -> None:
    """Open follow-ups, with their first history entries and the jobs that post and escalate them.

    There is one unfinished follow-up per contact and lane: a rule that fires for a contact with such a follow-up joins
    the oldest one, and its message is updated. The caller holds the locks of the contacts.
    """
    if not new_follow_ups:
        return
    existing = await load_unfinished(session, new_follow_ups)
    hours = await load_working_hours(session, {new.workspace for new in new_follow_ups})
    places = dict.fromkeys((new.contact, new.lane) for new in new_follow_ups)
    opening = [place for place in places if place not in existing]
    ids = await database.current_database().next_ids(session, "follow_ups", len(opening)) if opening else []
    id_of = {place: row["id"] for place, row in existing.items()} | dict(zip(opening, ids, strict=True))
    rows: dict[int, Row] = {}  #: the follow-ups to open, by id
    rule_rows: dict[tuple[int, int], Row] = {}
    joined: list[Row] = []
    for new in new_follow_ups:
        id = id_of[new.contact, new.lane]
        late_at = None if new.sla is None else hours[new.workspace].add(new.at, new.sla)
        row = _make_row(new, late_at=late_at) | {"id": id}
        if (new.contact, new.lane) in existing or id in rows:
            joined.append({**row, "state": existing.get((new.contact, new.lane), {}).get("state", "open")})
        else:
            rows[id] = row
        rule_rows[id, new.rule] = row
    await _insert_follow_ups(session, list(rows.values()))
    await _save_rules(session, list(rule_rows.values()))
    steps = [_make_step(row, OPENED, FollowUpState.OPEN, at=row["at"]) for row in rows.values()]
    steps += [
        _make_step(row, JOINED, FollowUpState(row["state"]), at=row["at"], detail=str(row["rule_id"])) for row in joined
    ]
    await _write_steps(session, steps)
    await jobs.enqueue(
        session,
        [
            NewJob(
                workspace=row["workspace_id"],
                kind=ASK,
                lane=row["lane"],
                key=str(row["id"]),
                subject=row["id"],
                due_at=row["at"],
            )
            for row in rows.values()
            if row["lane"] != DIGEST
        ]
        + [_make_job(row, EDIT, at=row["at"]) for row in joined if row["id"] not in rows],
        now=now,
    )
    await _apply_first_deadline(session, id_of.values(), now=now)


async def load_unfinished(session: Session, new_follow_ups: Sequence[NewFollowUp]) -> dict[tuple[int, str], Row]:
    """Return the id and state of the oldest unfinished follow-up by contact and lane."""
    places = sorted({(new.contact, new.lane) for new in new_follow_ups})
    rows = await session.rows(
        "SELECT given.contact, f.id, f.lane, f.state FROM given(contact bigint, lane text)"
        " JOIN contacts m ON m.id = given.contact OR m.merged_into = given.contact"
        f" JOIN follow_ups f ON f.contact_id = m.id AND f.lane = given.lane AND f.state IN ({states_sql(WAITING)})"
        " ORDER BY f.id DESC",
        [{"contact": contact, "lane": lane} for contact, lane in places],
    )
    return {(row["contact"], row["lane"]): row for row in rows}


def _make_row(new: NewFollowUp, *, late_at: int | None) -> Row:
    return {
        "workspace_id": new.workspace,
        "rule_id": new.rule,
        "contact": new.contact,
        "score": new.score,
        "before": new.before,
        "after": new.after,
        "source": new.source,
        "actor": new.actor,
        "reason": new.reason,
        "why": new.why,
        "words": new.words,
        "lane": new.lane,
        "at": new.at,
        "sla": new.sla,
        "late_at": late_at,
        "escalate_to": new.escalate_to,
    }


async def _insert_follow_ups(session: Session, rows: Sequence[Row]) -> None:
    await session.rows(
        "INSERT INTO follow_ups (id, workspace_id, rule_id, contact_id, score, before, after, source, actor, reason,"
        " why, lane, state, asked_at, changed_at, in_list)"
        " SELECT id, workspace_id, rule_id, contact, score, before, after, source, actor, reason,"
        " why, lane, $2, at, at, false"
        " FROM given(id bigint, workspace_id bigint, rule_id bigint, contact bigint, score text, before bigint,"
        " after bigint, source text, actor text, reason text, why text, lane text, at bigint) ORDER BY id",
        list(rows),
        FollowUpState.OPEN.value,
    )


async def count_opened_since(session: Session, contacts: Collection[int], *, at: int) -> int:
    """Return how many follow-ups of these contacts were opened at an instant or later."""
    rows = await session.rows(
        "SELECT count(*) AS number FROM given(id bigint) JOIN follow_ups f ON f.contact_id = given.id"
        " WHERE f.asked_at >= $2",
        [{"id": contact} for contact in sorted(contacts)],
        at,
    )
    return int(rows[0]["number"])


async def count_opened(session: Session, contacts: Collection[int], *, score: str, at: int) -> int:
    """Return how many follow-ups rules about a score opened for newcomers among these contact rows at an instant."""
    rows = await session.rows(
        "SELECT count(DISTINCT f.id) AS number FROM given(id bigint) JOIN follow_ups f ON f.contact_id = given.id"
        " JOIN followup_rules r ON r.follow_up_id = f.id AND r.fired_at = f.asked_at"
        " WHERE r.score = $2 AND r.fired_at = $3 AND r.source = '' AND r.before IS NULL",
        [{"id": contact} for contact in sorted(contacts)],
        score,
        at,
    )
    return int(rows[0]["number"])


async def _save_rules(session: Session, rows: Sequence[Row]) -> None:
    """Save the rules that fired for follow-ups. A rule that fires again for the same follow-up holds it open again.

    If the rule still held the follow-up open, its deadline stays.
    """
    columns = ("score", "before", "after", "source", "actor", "reason", "words", "sla", "late_at", "escalate_to")
    await session.rows(
        f"INSERT INTO followup_rules (follow_up_id, rule_id, {', '.join(columns)}, fired_at, let_go_at, taken_back)"
        f" SELECT id, rule_id, {', '.join(columns)}, at, NULL, false"
        " FROM given(id bigint, rule_id bigint, score text, before bigint, after bigint, source text, actor text,"
        " reason text, words text, sla bigint, late_at bigint, escalate_to text, at bigint)"
        " WHERE true ORDER BY id, rule_id ON CONFLICT (follow_up_id, rule_id) DO UPDATE SET"
        f" {', '.join(f'{name} = excluded.{name}' for name in columns if name != 'late_at')},"
        " late_at = CASE WHEN followup_rules.let_go_at IS NULL THEN followup_rules.late_at ELSE excluded.late_at END,"
        " fired_at = excluded.fired_at, let_go_at = NULL, taken_back = false",
        list(rows),
    )


async def _apply_first_deadline(session: Session, ids: Collection[int], *, now: int) -> None:
    """Set the SLA and the escalation of follow-ups to those of the rule that is due first, and enqueue escalations.

    An escalated follow-up stays escalated to the same person. A follow-up has a deadline only while it is open.
    """
    first = (
        "(SELECT r.{} FROM followup_rules r WHERE r.follow_up_id = follow_ups.id AND r.let_go_at IS NULL"
        " AND r.late_at IS NOT NULL ORDER BY r.late_at, r.id LIMIT 1)"
    )
    rows = await session.rows(
        f"UPDATE follow_ups SET sla = {first.format('sla')}, escalate_to = {first.format('escalate_to')},"
        f" late_at = CASE WHEN state = $2 THEN {first.format('late_at')} END"
        " WHERE id IN (SELECT id FROM given(id bigint)) AND state <> $3"
        " RETURNING id, workspace_id, lane, late_at, escalate_to",
        [{"id": id} for id in sorted(ids)],
        FollowUpState.OPEN.value,
        FollowUpState.ESCALATED.value,
    )
    escalations = [
        _make_job(row, ESCALATE, at=row["late_at"])
        for row in rows
        if row["late_at"] is not None and row["escalate_to"] is not None
    ]
    await jobs.enqueue(session, escalations, now=now)


async def let_rules_go(
    session: Session,
    pairs: Mapping[tuple[int, int], int],
    *,
    move: FollowUpMove = FollowUpMove.FALL_BACK,
    now: int,
) -> None:
    """Record that (rule, contact) pairs no longer hold their follow-ups open, and close those that no rule holds.

    *pairs* maps each pair to the instant of the change. *move* is FALL_BACK if the score left what the rule watches, or
    TAKE_BACK if the change that made it fire was undone. A claimed follow-up stays claimed. A removed rule holds no
    follow-up open. The caller holds the locks of the contacts.
    """
    if not pairs:
        return
    rows = await session.rows(
        "SELECT r.id, r.rule_id, f.id AS follow_up, f.workspace_id, f.lane, f.state, given.at"
        " FROM given(rule bigint, contact bigint, at bigint)"
        " JOIN contacts m ON m.id = given.contact OR m.merged_into = given.contact"
        f" JOIN follow_ups f ON f.contact_id = m.id AND f.state IN ({states_sql(WAITING)})"
        " JOIN followup_rules r ON r.follow_up_id = f.id AND r.rule_id = given.rule AND r.let_go_at IS NULL"
        " ORDER BY r.id",
        [{"rule": rule, "contact": contact, "at": at} for (rule, contact), at in sorted(pairs.items())],
    )
    if not rows:
        return
    await session.rows(
        "UPDATE followup_rules SET let_go_at ="
        " (SELECT given.at FROM given(id bigint, at bigint) WHERE given.id = followup_rules.id), taken_back = $2"
        " WHERE id IN (SELECT id FROM given(id bigint, at bigint))",
        [{"id": row["id"], "at": row["at"]} for row in rows],
        move is FollowUpMove.TAKE_BACK,
    )
    # If several rules of one follow-up no longer apply, the latest of them closes it.
    last_of = {row["follow_up"]: {**row, "id": row["follow_up"]} for row in sorted(rows, key=lambda row: row["at"])}
    held = await session.rows(
        "SELECT DISTINCT r.follow_up_id AS id FROM given(id bigint) JOIN followup_rules r ON r.follow_up_id = given.id"
        " JOIN alert_rules a ON a.id = r.rule_id AND a.removed_at IS NULL WHERE r.let_go_at IS NULL",
        [{"id": id} for id in sorted(last_of)],
    )
    held_ids = {row["id"] for row in held}
    closed = [row for id, row in last_of.items() if id not in held_ids and FollowUpState(row["state"]) in LETS_GO]
    await session.rows(
        "UPDATE follow_ups SET state = $2, holder = NULL, until = NULL, late_at = NULL,"
        " changed_at = (SELECT at FROM given(id bigint, at bigint) WHERE given.id = follow_ups.id)"
        " WHERE id IN (SELECT id FROM given(id bigint, at bigint))",
        [{"id": row["id"], "at": row["at"]} for row in closed],
        FollowUpState.CLOSED.value,
    )
    closed_ids = {row["id"] for row in closed}
    steps = [_make_step(row, move, FollowUpState.CLOSED, at=row["at"]) for row in closed]
    steps += [
        _make_step({**row, "id": row["follow_up"]}, LEFT, FollowUpState(row["state"]), at=row["at"],
                   detail=str(row["rule_id"]))
        for row in rows if row["follow_up"] not in closed_ids
    ]  # fmt: skip  # where, what and when
    await _write_steps(session, steps)
    await jobs.enqueue(session, [_make_job(row, EDIT, at=row["at"]) for row in last_of.values()], now=now)
    await _apply_first_deadline(session, last_of.keys() - closed_ids, now=now)


def _make_step(
    row: Row,
    move: str,
    state: FollowUpState,
    *,
    by: str | None = None,
    at: int,
    detail: str | None = None,
    token: str | None = None,
) -> Row:
    return {
        "follow_up": row["id"],
        "workspace": row["workspace_id"],
        "move": str(move),
        "state": state.value,
        "by": by,
        "at": at,
        "detail": detail,
        "token": token,
    }


async def _write_steps(session: Session, steps: list[Row]) -> None:
    await session.rows(
        "INSERT INTO follow_up_moves (workspace_id, follow_up_id, move, state, by, at, detail, token)"
        " SELECT workspace, follow_up, move, state, by, at, detail, token FROM given(follow_up bigint,"
        " workspace bigint, move text, state text, by text, at bigint, detail text, token text)"
        " WHERE true ORDER BY follow_up, at",
        steps,
    )
    await emit_follow_up_events(session, steps, now=max((step["at"] for step in steps), default=0))


async def delete_follow_ups(session: Session, contacts: Collection[int]) -> None:
    """Delete the follow-ups of contacts with their history and their jobs.

    The caller holds the locks of the contacts.
    """
    await session.rows(
        "DELETE FROM jobs WHERE id IN (SELECT j.id FROM given(id bigint) JOIN follow_ups f ON f.contact_id = given.id"
        " JOIN jobs j ON j.workspace_id = f.workspace_id AND j.lane = f.lane AND j.subject = f.id"
        f" AND j.kind IN ({_JOB_KINDS}) ORDER BY j.id FOR NO KEY UPDATE OF j)",
        [{"id": contact} for contact in sorted(contacts)],
    )
    for table in ("follow_up_moves", "followup_rules"):
        await session.rows(
            f"DELETE FROM {table} WHERE follow_up_id IN"
            " (SELECT f.id FROM given(id bigint) JOIN follow_ups f ON f.contact_id = given.id)",
            [{"id": contact} for contact in sorted(contacts)],
        )
    await session.rows(
        "DELETE FROM follow_ups WHERE id IN (SELECT f.id FROM given(id bigint)"
        " JOIN follow_ups f ON f.contact_id = given.id ORDER BY f.id FOR NO KEY UPDATE)",
        [{"id": contact} for contact in sorted(contacts)],
    )


def _make_job(row: Row, kind: str, *, at: int) -> NewJob:
    """Return a job of a kind for a follow-up, due at *at*; an EDIT is due at once."""
    workspace, lane, id = row["workspace_id"], row["lane"], row["id"]
    due_at = 0 if kind == EDIT else at  # an edit runs before the rest of the lane is posted
    return NewJob(workspace=workspace, kind=kind, lane=lane, key=f"{id}/{at}", subject=id, due_at=due_at)


async def apply_move(
    workspace: Workspace,
    *,
    id: int,
    move: FollowUpMove,
    by: str | None,
    address: str | None = None,
    is_admin: bool = False,
    token: str | None = None,
    assignee: str | None = None,
    until: int | None = None,
    outcome: FollowUpOutcome | None = None,
    note: str | None = None,
    now: int,
) -> FollowUp:
    """Make a move and return the follow-up.

    *by* is the Slack user id of the person, None for a timer; *address* is the person's email address, which makes them
    the owner of contacts. *token* is the name of the token of a program that acts for the person. *assignee* is the
    person that ASSIGN assigns to, *until* ends a SNOOZE, *outcome* and *note* may come with DONE.
    A timer changes nothing if its instant has not come, as after a new snooze.
    Raises UnknownFollowUp; TooLate if the move is not possible any more; NotTheirs if only the contact's owner or an
    admin may make it; AlreadyOpen if a newer follow-up is open instead of the one to reopen; BadNote.
    """
    note = check_note(outcome, note) if outcome is not None else None

    async def body(session: Session) -> bool:
        row = await _lock_follow_up(session, workspace, id)
        if row is None:
            return False
        due = row["late_at"] if move is FollowUpMove.ESCALATE else row["until"]
        if by is None and move in BY_TIME and (due is None or due > now):
            return True  # the follow-up was snoozed or claimed again meanwhile
        if move is FollowUpMove.ESCALATE and row["escalate_to"] is None:
            return True  # another rule is due first now, and it escalates to nobody
        is_owner = bool(address) and row["owner_key"] == match_key(address or "")
        after = move_status(status_of_row(row), move, by=by, assignee=assignee, is_in_charge=is_admin or is_owner)
        if move is FollowUpMove.REOPEN:
            await _check_none_open(session, row)
        # The other person that the move is about, who is notified.
        other = {FollowUpMove.ASSIGN: assignee, FollowUpMove.TAKE_OVER: row["holder"]}.get(move)
        step = _make_step(row, move, after.state, by=by, at=now, detail=other, token=token)
        await _write_move(session, row, after, step, until=until, now=now)
        if other is not None and other != by:
            await jobs.enqueue(session, [_make_job(row, HAND_OVER, at=now)], now=now)
        if outcome is not None:
            await _write_outcome(session, row, outcome, note, by=by, token=token, now=now)
        if by is not None:
            await _record_change(session, workspace, row, by=by, now=now)
        return True

    while not await database.write(body):
        continue
    return await follow_up(workspace, id=id)


async def _lock_follow_up(session: Session, workspace: Workspace, id: int) -> Row | None:
    """Lock the contact of a follow-up, and return the row of the follow-up. Raises UnknownFollowUp.

    Return None if the contact was merged or split before the lock was acquired. The caller then starts again, to lock
    the other contact.
    """
    unlocked_rows = await session.rows(
        f"{READ} WHERE f.workspace_id = $1 AND f.id = $2", workspace.id, min(id, database.LARGEST_ID)
    )
    if not unlocked_rows:
        raise UnknownFollowUp
    # Lock the contact before its follow-up, in the same order as a change of its score, to avoid a deadlock.
    locked = await session.rows(
        "SELECT owner_key FROM contacts WHERE id = $1 FOR NO KEY UPDATE", unlocked_rows[0]["about"]
    )
    rows = await session.rows(f"{READ} WHERE f.id = $1", id)
    if not rows:
        raise UnknownFollowUp  # it was deleted with its contact before the lock was taken
    if rows[0]["about"] != unlocked_rows[0]["about"]:
        return None
    return {**rows[0], "owner_key": locked[0]["owner_key"]}


async def _record_change(
    session: Session, workspace: Workspace, row: Row, *, by: str, undoes: int | None = None, now: int
) -> int:
    """Add a change that a person has just made to the record of changes. Return the id of the entry.

    *row* is the follow-up before the change.
    """
    (after,) = await session.rows(
        "SELECT f.*, coalesce(c.name, c.email) AS contact FROM follow_ups f JOIN contacts c ON c.id = $2"
        " WHERE f.id = $1",
        row["id"],
        row["about"],
    )
    before_state, after_state = (
        {name: state[name] for name in ("id", *_MOVED_COLUMNS, "late_at")} for state in (row, after)
    )
    entry = NewEntry(
        what=AuditAction.FOLLOW_UP_CHANGED, subject=after["contact"], before=before_state, after=after_state,
        contacts=[row["about"]], undoes=undoes,
    )  # fmt: skip  # the change, then its contacts
    (id,) = await record_changes(session, workspace, [entry], who=by, now=now)
    return id


async def restore_follow_up(workspace: Workspace, *, change: AuditEntry, by: str, now: int) -> int:
    """Undo a recorded change of a follow-up. Return the id of the undo's entry in the record of changes.

    Raises ChangedMeanwhile if the follow-up is not as the change left it, UnknownFollowUp if it was deleted, and
    AlreadyOpen if a newer follow-up is open instead of it.
    """
    before, after = change.before, change.after
    assert before is not None
    assert after is not None

    async def body(session: Session) -> int | None:
        row = await _lock_follow_up(session, workspace, after["id"])
        if row is None:
            return None
        if {name: row[name] for name in _MOVED_COLUMNS} != {name: after[name] for name in _MOVED_COLUMNS}:
            raise ChangedMeanwhile(f"the follow-up is {row['state']} now, so that change cannot be undone")
        state = FollowUpState(before["state"])
        if state in WAITING and FollowUpState(row["state"]) not in WAITING:
            await _check_none_open(session, row)
        await session.rows(
            "UPDATE follow_ups SET state = $2, holder = $3, until = $4, outcome = $5, note = $6, late_at = $7,"
            " changed_at = $8 WHERE id = $1",
            row["id"],
            *(before[name] for name in _MOVED_COLUMNS),
            before["late_at"],
            now,
        )
        await _write_steps(session, [_make_step(row, UNDO, state, by=by, at=now)])
        new_jobs = [_make_job(row, EDIT, at=now)]
        if before["until"] is not None:
            new_jobs.append(_make_job(row, WAKE if state is FollowUpState.SNOOZED else RELEASE, at=before["until"]))
        await jobs.enqueue(session, new_jobs, now=now)
        await _apply_first_deadline(session, [row["id"]], now=now)
        return await _record_change(session, workspace, row, by=by, undoes=change.id, now=now)

    while (entry := await database.write(body)) is None:
        continue
    return entry


async def _check_none_open(session: Session, row: Row) -> None:
    """Raise AlreadyOpen if the contact has an unfinished follow-up in the place of a finished one."""
    unfinished = await session.rows(
        "SELECT f.id FROM contacts m JOIN follow_ups f ON f.contact_id = m.id AND f.lane = $2"
        f" AND f.state IN ({states_sql(WAITING)}) WHERE m.id = $1 OR m.merged_into = $1",
        row["about"],
        row["lane"],
    )
    if unfinished:
        raise AlreadyOpen


async def _write_move(
    session: Session, row: Row, after: FollowUpStatus, step: Row, *, until: int | None, now: int
) -> None:
    """Save the status of a follow-up after a move, add the step to its history, and enqueue its jobs."""
    # An escalated follow-up stays overdue.
    late_at = row["late_at"] if after.state is FollowUpState.ESCALATED else None
    ends_at = {FollowUpState.SNOOZED: until, FollowUpState.CLAIMED: now + CLAIM_LASTS}.get(after.state)
    await session.rows(
        "UPDATE follow_ups SET state = $2, holder = $3, until = $4, late_at = $5, changed_at = $6,"
        " outcome = NULL, note = NULL WHERE id = $1",
        row["id"],
        after.state.value,
        after.holder,
        ends_at,
        late_at,
        now,
    )
    await _write_steps(session, [step])
    new_jobs = [_make_job(row, EDIT, at=now)]
    if ends_at is not None:
        new_jobs.append(_make_job(row, WAKE if after.state is FollowUpState.SNOOZED else RELEASE, at=ends_at))
    await jobs.enqueue(session, new_jobs, now=now)
    if after.state is FollowUpState.OPEN:
        await _restart_sla(session, row, now=now)


async def _restart_sla(session: Session, row: Row, *, now: int) -> None:
    """Restart the SLA of each rule of a follow-up that is open again."""
    hours = (await load_working_hours(session, [row["workspace_id"]]))[row["workspace_id"]]
    rules = await session.rows(
        "SELECT id, sla FROM followup_rules WHERE follow_up_id = $1 AND sla IS NOT NULL ORDER BY id", row["id"]
    )
    await session.rows(
        "UPDATE followup_rules SET late_at ="
        " (SELECT given.late_at FROM given(id bigint, late_at bigint) WHERE given.id = followup_rules.id)"
        " WHERE id IN (SELECT id FROM given(id bigint, late_at bigint))",
        [{"id": rule["id"], "late_at": hours.add(now, rule["sla"])} for rule in rules],
    )
    await _apply_first_deadline(session, [row["id"]], now=now)


async def record_outcome(
    workspace: Workspace,
    *,
    id: int,
    outcome: FollowUpOutcome,
    note: str | None = None,
    by: str,
    token: str | None = None,
    now: int,
) -> FollowUp:
    """Save the outcome of a follow-up that is done, and return the follow-up. Raises UnknownFollowUp, BadNote.

    Nothing changes unless *by* is the person who completed the follow-up.
    """
    note = check_note(outcome, note)

    async def body(session: Session) -> bool:
        row = await _lock_follow_up(session, workspace, id)
        if row is not None and row["state"] == FollowUpState.DONE.value and row["holder"] == by:
            await _write_outcome(session, row, outcome, note, by=by, token=token, now=now)
            await _record_change(session, workspace, row, by=by, now=now)
        return row is not None

    while not await database.write(body):
        continue
    return await follow_up(workspace, id=id)


async def _write_outcome(
    session: Session,
    row: Row,
    outcome: FollowUpOutcome,
    note: str | None,
    *,
    by: str | None,
    token: str | None,
    now: int,
) -> None:
    await session.rows(
        "UPDATE follow_ups SET outcome = $2, note = $3, changed_at = $4 WHERE id = $1",
        row["id"],
        outcome.value,
        note,
        now,
    )
    step = _make_step(row, outcome, FollowUpState.DONE, by=by, at=now, detail=note, token=token)
    await _write_steps(session, [step])
    await jobs.enqueue(session, [_make_job(row, EDIT, at=now)], now=now)


async def record_message(
    workspace: Workspace, *, ids: Collection[int], channel: str, ts: str, in_list: bool, now: int
) -> None:
    """Record the Slack message that shows these follow-ups; *in_list*: the message is a list of many."""
    await database.current_database().writer.rows(
        "UPDATE follow_ups SET posted_at = $3, message_channel = $4, message_ts = $5, in_list = $6"
        " WHERE id IN (SELECT f.id FROM given(id bigint) JOIN follow_ups f ON f.id = given.id"
        " WHERE f.workspace_id = $2 ORDER BY f.id FOR NO KEY UPDATE)",
        [{"id": id} for id in sorted(ids)],
        workspace.id,
        now,
        channel,
        ts,
        in_list,
    )


async def move_message(workspace: Workspace, *, channel: str, ts: str, to_channel: str, to_ts: str) -> None:
    """Record that the follow-ups of one message are now shown in another message."""
    await database.current_database().writer.rows(
        "UPDATE follow_ups SET message_channel = $4, message_ts = $5 WHERE id IN"
        " (SELECT id FROM follow_ups WHERE workspace_id = $1 AND message_channel = $2 AND message_ts = $3"
        " ORDER BY id FOR NO KEY UPDATE)",
        workspace.id,
        channel,
        ts,
        to_channel,
        to_ts,
    )
