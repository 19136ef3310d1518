"""Move follow-ups: claim, snooze, assign, finish and reopen them, undo such a move, and escalate in time.

Of two people who move a follow-up at the same time, the first wins; the second gets TooLate.
"""

from storage import jobs
from storage.alerts.followup_rules import (
    EDIT,
    HAND_OVER,
    RELEASE,
    WAKE,
    apply_first_deadline,
    make_job,
    make_step,
    write_steps,
)
from storage.alerts.followups import READ, FollowUp, UnknownFollowUp, follow_up, states_sql, status_of_row
from storage.alerts.hours import load_working_hours
from storage.audit import AuditAction, AuditEntry, ChangedMeanwhile, NewEntry, record_changes
from storage.db import database, models
from storage.db.database import Row, Session
from storage.domain.errors import Refusal
from storage.domain.followups import (
    BY_TIME,
    CLAIM_LASTS,
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

UNDO = "undo"  #: the history entry of the undo of a move
#: the columns that a person's move changes, besides late_at
_MOVED_COLUMNS = ("state", "holder", "until", "outcome", "note")


class AlreadyOpen(Refusal):
    """A newer follow-up for the contact is open in the same place."""


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
        step = make_step(row, move, after.state, by=by, at=now, detail=other, token=token)
        await _write_move(session, row, after, step, until=until, now=now)
        if other is not None and other != by:
            await jobs.enqueue(session, [make_job(row, HAND_OVER, at=now)], now=now)
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
        values = {name: before[name] for name in (*_MOVED_COLUMNS, "late_at")}
        await session.update(models.FollowUp.filter(id=row["id"]), **values, changed_at=now)
        await write_steps(session, [make_step(row, UNDO, state, by=by, at=now)])
        new_jobs = [make_job(row, EDIT, at=now)]
        if before["until"] is not None:
            new_jobs.append(make_job(row, WAKE if state is FollowUpState.SNOOZED else RELEASE, at=before["until"]))
        await jobs.enqueue(session, new_jobs, now=now)
        await apply_first_deadline(session, [row["id"]], now=now)
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
    await session.update(
        models.FollowUp.filter(id=row["id"]),
        state=after.state.value,
        holder=after.holder,
        until=ends_at,
        late_at=late_at,
        changed_at=now,
        outcome=None,
        note=None,
    )
    await write_steps(session, [step])
    new_jobs = [make_job(row, EDIT, at=now)]
    if ends_at is not None:
        new_jobs.append(make_job(row, WAKE if after.state is FollowUpState.SNOOZED else RELEASE, at=ends_at))
    await jobs.enqueue(session, new_jobs, now=now)
    if after.state is FollowUpState.OPEN:
        await _restart_sla(session, row, now=now)


async def _restart_sla(session: Session, row: Row, *, now: int) -> None:
    """Restart the SLA of each rule of a follow-up that is open again."""
    hours = (await load_working_hours(session, [row["workspace_id"]]))[row["workspace_id"]]
    with_sla = models.FollowUpRule.filter(follow_up_id=row["id"], sla__isnull=False).order_by("id")
    rules = await session.load(with_sla, "id", "sla")
    await session.rows(
        "UPDATE followup_rules SET late_at ="
        " (SELECT given.late_at FROM given(id bigint, late_at bigint) WHERE given.id = followup_rules.id)"
        " WHERE id IN (SELECT id FROM given(id bigint, late_at bigint))",
        [{"id": rule["id"], "late_at": hours.add(now, rule["sla"])} for rule in rules],
    )
    await apply_first_deadline(session, [row["id"]], now=now)


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
    """Save the outcome and the note of a follow-up that is done, and add them to its history."""
    await session.update(models.FollowUp.filter(id=row["id"]), outcome=outcome.value, note=note, changed_at=now)
    step = make_step(row, outcome, FollowUpState.DONE, by=by, at=now, detail=note, token=token)
    await write_steps(session, [step])
    await jobs.enqueue(session, [make_job(row, EDIT, at=now)], now=now)
