"""Open, move and close follow-ups, and enqueue the jobs that post and update their messages.

Of two people who move a follow-up at the same time, the first wins; the second gets TooLate."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from storage import jobs
from storage.alerts.followups import DIGEST, READ, FollowUp, UnknownFollowUp, follow_up, states_sql, status_of_row
from storage.audit import AuditAction, AuditEntry, ChangedMeanwhile, NewEntry, record_changes
from storage.db import database
from storage.db.database import Row, Session
from storage.domain.followups import (
    BY_TIME,
    CLAIM_LASTS,
    LETS_GO,
    WAITING,
    FollowUpMove,
    FollowUpOutcome,
    FollowUpState,
    FollowUpStatus,
    move_status,
)
from storage.domain.people import Workspace
from storage.jobs import NewJob

#: kinds of jobs: post a new follow-up, update its message, and make the moves that time causes
ASK, EDIT, WAKE, RELEASE, ESCALATE = "ask", "edit", "wake", "release", "escalate"
UNDO = "undo"  #: the step of a follow-up's history by which a person took a move back
_JOB_KINDS = ", ".join(f"'{kind}'" for kind in (ASK, EDIT, WAKE, RELEASE, ESCALATE))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFollowUp:
    """A follow-up to open. Values in thousandths, times in µs."""

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
    sla: int | None = None  #: the time within which it should be claimed
    escalate_to: str | None = None  #: the Slack user id to escalate to after *sla*


async def open_follow_ups(session: Session, new_follow_ups: Sequence[NewFollowUp], *, now: int) -> None:
    """Insert follow-ups with their first history entries, and enqueue the jobs that post and escalate them."""
    if not new_follow_ups:
        return
    ids = await database.current_database().next_ids(session, "follow_ups", len(new_follow_ups))
    rows: list[Row] = []
    for id, new in zip(ids, new_follow_ups, strict=True):
        row: Row = {
            "id": id,
            "workspace": new.workspace,
            "rule": new.rule,
            "contact": new.contact,
            "score": new.score,
            "before": new.before,
        }
        row |= {
            "after": new.after,
            "source": new.source,
            "actor": new.actor,
            "reason": new.reason,
            "why": new.why,
            "lane": new.lane,
        }
        late_at = None if new.sla is None else new.at + new.sla
        rows.append(row | {"at": new.at, "sla": new.sla, "late_at": late_at, "escalate_to": new.escalate_to})
    await session.rows(
        "INSERT INTO follow_ups (id, workspace_id, rule_id, contact_id, score, before, after, source, actor, reason,"
        " why, lane, state, sla, late_at, escalate_to, asked_at, changed_at, in_list)"
        " SELECT id, workspace, rule, contact, score, before, after, source, actor, reason,"
        " why, lane, $2, sla, late_at, escalate_to, at, at, false"
        " FROM given(id bigint, workspace bigint, rule bigint, contact bigint, score text, before bigint, after bigint,"
        " source text, actor text, reason text, why text, lane text, at bigint, sla bigint, late_at bigint,"
        " escalate_to text) ORDER BY id",
        rows,
        FollowUpState.OPEN.value,
    )
    await _write_steps(
        session,
        [
            _make_step(row, "asked", FollowUpState.OPEN, by=None, at=row["at"], workspace=row["workspace"])
            for row in rows
        ],
    )
    posting = [row for row in rows if row["lane"] != DIGEST]
    await jobs.enqueue(
        session,
        [
            NewJob(
                workspace=row["workspace"],
                kind=ASK,
                lane=row["lane"],
                key=str(row["id"]),
                subject=row["id"],
                due_at=row["at"],
            )
            for row in posting
        ]
        + [
            NewJob(
                workspace=row["workspace"],
                kind=ESCALATE,
                lane=row["lane"],
                key=f"{row['id']}/{row['late_at']}",
                subject=row["id"],
                due_at=row["late_at"],
            )
            for row in rows
            if row["late_at"] is not None and row["escalate_to"] is not None
        ],
        now=now,
    )


async def count_opened(session: Session, contacts: Collection[int], *, score: str, at: int) -> int:
    """Return how many follow-ups about a score were opened for newcomers among these contact rows at an instant."""
    rows = await session.rows(
        "SELECT count(*) AS number FROM given(id bigint) JOIN follow_ups f ON f.contact_id = given.id"
        " WHERE f.score = $2 AND f.asked_at = $3 AND f.source = '' AND f.before IS NULL",
        [{"id": contact} for contact in sorted(contacts)],
        score,
        at,
    )
    return int(rows[0]["number"])


async def close_fallen_back(session: Session, pairs: Mapping[tuple[int, int], int], *, now: int) -> None:
    """Close the open, escalated and snoozed follow-ups of these (rule, contact) pairs, because the score fell back.

    *pairs* maps each pair to the instant at which the score fell back. The caller holds the locks of the contacts.
    """
    if not pairs:
        return
    rows = await _load_moving(session, pairs, LETS_GO)
    if not rows:
        return
    await session.rows(
        "UPDATE follow_ups SET state = $2, holder = NULL, until = NULL, late_at = NULL,"
        " changed_at = (SELECT at FROM given(id bigint, at bigint) WHERE given.id = follow_ups.id)"
        " WHERE id IN (SELECT id FROM given(id bigint, at bigint))",
        [{"id": row["id"], "at": row["at"]} for row in rows],
        FollowUpState.CLOSED.value,
    )
    await _write_steps(
        session,
        [
            _make_step(
                row, FollowUpMove.FALL_BACK, FollowUpState.CLOSED, by=None, at=row["at"], workspace=row["workspace_id"]
            )
            for row in rows
        ],
    )
    await jobs.enqueue(session, [_make_job(row, EDIT, at=row["at"]) for row in rows], now=now)


async def take_back(session: Session, pairs: Mapping[tuple[int, int], int], *, now: int) -> None:
    """Close the waiting follow-ups of these (rule, contact) pairs, because the change that they are about was undone.

    A claimed follow-up stays with its holder, with a note. *pairs* and locks are as in `close_fallen_back`.
    """
    if not pairs:
        return
    rows = await _load_moving(session, pairs, WAITING)
    if not rows:
        return
    states = [FollowUpState.CLAIMED if row["state"] == FollowUpState.CLAIMED else FollowUpState.CLOSED for row in rows]
    reset = ", ".join(
        f"{column} = CASE WHEN given.state = '{FollowUpState.CLOSED.value}' THEN {value} ELSE follow_ups.{column} END"
        for column, value in (("holder", "NULL"), ("until", "NULL"), ("late_at", "NULL"), ("changed_at", "given.at"))
    )
    await session.rows(
        f"UPDATE follow_ups SET state = given.state, taken_back_at = given.at, {reset}"
        " FROM given(id bigint, at bigint, state text) WHERE follow_ups.id = given.id",
        [{"id": row["id"], "at": row["at"], "state": state.value} for row, state in zip(rows, states, strict=True)],
    )
    steps = [
        _make_step(row, FollowUpMove.TAKE_BACK, state, by=None, at=row["at"], workspace=row["workspace_id"])
        for row, state in zip(rows, states, strict=True)
    ]
    await _write_steps(session, steps)
    await jobs.enqueue(session, [_make_job(row, EDIT, at=row["at"]) for row in rows], now=now)


async def _load_moving(
    session: Session, pairs: Mapping[tuple[int, int], int], states: Collection[FollowUpState]
) -> list[Row]:
    """Return the follow-ups of (rule, contact) pairs in one of *states*, each with the instant *at* of its pair."""
    return await session.rows(
        "SELECT f.id, f.workspace_id, f.lane, f.state, given.at FROM given(rule bigint, contact bigint, at bigint)"
        " JOIN contacts m ON m.id = given.contact OR m.merged_into = given.contact"
        f" JOIN follow_ups f ON f.contact_id = m.id AND f.rule_id = given.rule AND f.state IN ({states_sql(states)})"
        " ORDER BY f.id",
        [{"rule": rule, "contact": contact, "at": at} for (rule, contact), at in sorted(pairs.items())],
    )


def _make_step(row: Row, move: str, state: FollowUpState, *, by: str | None, at: int, workspace: int) -> Row:
    return {"follow_up": row["id"], "workspace": workspace, "move": str(move), "state": state.value, "by": by, "at": at}


async def _write_steps(session: Session, steps: list[Row]) -> None:
    await session.rows(
        "INSERT INTO follow_up_moves (workspace_id, follow_up_id, move, state, by, at)"
        " SELECT workspace, follow_up, move, state, by, at FROM given(follow_up bigint, workspace bigint, move text,"
        " state text, by text, at bigint) WHERE true ORDER BY follow_up",
        steps,
    )


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
    await session.rows(
        "DELETE FROM follow_up_moves WHERE follow_up_id IN"
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
    workspace: Workspace, *, id: int, move: FollowUpMove, by: str | None, until: int | None = None, now: int
) -> FollowUp:
    """Make a move and return the follow-up. *by* is the Slack user id, None for a timer; *until* ends a snooze.

    A move in BY_TIME changes nothing if its instant has not come, as after a new snooze.
    Raises UnknownFollowUp, or TooLate if the move is not possible any more.
    """

    async def body(session: Session) -> bool:
        unlocked_rows = await session.rows(
            f"{READ} WHERE f.workspace_id = $1 AND f.id = $2", workspace.id, min(id, database.LARGEST_ID)
        )
        if not unlocked_rows:
            raise UnknownFollowUp
        row = await _lock_follow_up(session, unlocked_rows[0])
        if row is None:
            return False
        due = row["late_at"] if move is FollowUpMove.ESCALATE else row["until"]
        if move in BY_TIME and (due is None or due > now):
            return True  # the follow-up was snoozed or claimed again meanwhile
        after = move_status(status_of_row(row), move, by=by)
        updated = await _write_move(session, row, move, after, by=by, until=until, now=now)
        if by is not None:
            await _record(session, workspace, row, updated, by=by, now=now)
        return True

    while not await database.write(body):
        continue
    return await follow_up(workspace, id=id)


async def _lock_follow_up(session: Session, row: Row) -> Row | None:
    """Lock the contact of a follow-up, and return the follow-up as it is now.

    The contact is locked before its follow-up, in the same order as a change of its score, to avoid a deadlock. Return
    None if the contact was merged or split before the lock was taken: lock the other contact. Raises UnknownFollowUp if
    the follow-up was deleted.
    """
    await session.rows("SELECT id FROM contacts WHERE id = $1 FOR NO KEY UPDATE", row["about"])
    rows = await session.rows(f"{READ} WHERE f.id = $1", row["id"])
    if not rows:
        raise UnknownFollowUp
    return rows[0] if rows[0]["about"] == row["about"] else None


#: the columns that a person's move changes
_MOVED = ("state", "holder", "until", "late_at", "outcome")


async def _record(
    session: Session, workspace: Workspace, row: Row, updated: Row, *, by: str, undoes: int | None = None, now: int
) -> int:
    """Record what a person changed in a follow-up, from the row before to the row after. Return the entry's id."""
    (contact,) = await session.rows(
        "SELECT r.id, coalesce(r.name, r.email) AS name FROM contacts c"
        " JOIN contacts r ON r.id = coalesce(c.merged_into, c.id) WHERE c.id = $1",
        row["contact_id"],
    )
    before, after = ({"id": state["id"], **{name: state[name] for name in _MOVED}} for state in (row, updated))
    entry = NewEntry(
        what=AuditAction.FOLLOW_UP_CHANGED, subject=contact["name"], before=before, after=after,
        contacts=[contact["id"]], undoes=undoes,
    )  # fmt: skip  # what, then whose
    (id,) = await record_changes(session, workspace, [entry], who=by, now=now)
    return id


async def restore_follow_up(workspace: Workspace, *, change: AuditEntry, by: str, now: int) -> int:
    """Undo a recorded change of a follow-up: it is as before the change. Return the id of the undo's entry.

    Raises ChangedMeanwhile if the follow-up is not as the change left it, UnknownFollowUp if it was deleted.
    """
    before, after = change.before, change.after
    assert before is not None
    assert after is not None

    async def body(session: Session) -> int | None:
        rows = await session.rows(f"{READ} WHERE f.workspace_id = $1 AND f.id = $2", workspace.id, after["id"])
        if not rows:
            raise UnknownFollowUp
        row = await _lock_follow_up(session, rows[0])
        if row is None:
            return None
        if {name: row[name] for name in _MOVED} != {name: after[name] for name in _MOVED}:
            raise ChangedMeanwhile(f"the follow-up is {row['state']} now, so that change cannot be undone")
        (updated,) = await session.rows(
            "UPDATE follow_ups SET state = $2, holder = $3, until = $4, late_at = $5, outcome = $6, changed_at = $7"
            " WHERE id = $1 RETURNING *",
            row["id"],
            *(before[name] for name in _MOVED),
            now,
        )
        state = FollowUpState(before["state"])
        await _write_steps(session, [_make_step(row, UNDO, state, by=by, at=now, workspace=workspace.id)])
        await _enqueue_jobs(session, updated, now=now)
        return await _record(session, workspace, row, updated, by=by, undoes=change.id, now=now)

    while (entry := await database.write(body)) is None:
        continue
    return entry


async def _write_move(
    session: Session,
    row: Row,
    move: FollowUpMove,
    after: FollowUpStatus,
    *,
    by: str | None,
    until: int | None,
    now: int,
) -> Row:
    """Save the status of a follow-up after a move, add the move to its history, and enqueue its jobs.

    Return the row after the move.
    """
    late_at = now + row["sla"] if after.state is FollowUpState.OPEN and row["sla"] is not None else None
    if move is FollowUpMove.ESCALATE:
        late_at = row["late_at"]  # an escalated follow-up stays overdue
    ends_at = {FollowUpState.SNOOZED: until, FollowUpState.CLAIMED: now + CLAIM_LASTS}.get(after.state)
    (updated,) = await session.rows(
        "UPDATE follow_ups SET state = $2, holder = $3, until = $4, late_at = $5, changed_at = $6 WHERE id = $1"
        " RETURNING *",
        row["id"],
        after.state.value,
        after.holder,
        ends_at,
        late_at,
        now,
    )
    await _write_steps(session, [_make_step(row, move, after.state, by=by, at=now, workspace=row["workspace_id"])])
    await _enqueue_jobs(session, updated, now=now)
    return updated


async def _enqueue_jobs(session: Session, row: Row, *, now: int) -> None:
    """Enqueue the update of a follow-up's message, and the move that time causes next."""
    new_jobs = [_make_job(row, EDIT, at=now)]
    if row["until"] is not None:
        new_jobs.append(_make_job(row, WAKE if row["state"] == FollowUpState.SNOOZED else RELEASE, at=row["until"]))
    if row["late_at"] is not None and row["state"] == FollowUpState.OPEN and row["escalate_to"] is not None:
        new_jobs.append(_make_job(row, ESCALATE, at=row["late_at"]))
    await jobs.enqueue(session, new_jobs, now=now)


async def record_outcome(workspace: Workspace, *, id: int, outcome: FollowUpOutcome, by: str, now: int) -> FollowUp:
    """Save the outcome of a follow-up that is done, and return the follow-up. Raises UnknownFollowUp.

    Nothing changes unless *by* is the person who completed the follow-up.
    """

    async def body(session: Session) -> None:
        before = await session.rows(
            "SELECT * FROM follow_ups WHERE workspace_id = $1 AND id = $2 FOR NO KEY UPDATE",
            workspace.id,
            min(id, database.LARGEST_ID),
        )
        rows = await session.rows(
            "UPDATE follow_ups SET outcome = $4, changed_at = $5"
            " WHERE workspace_id = $1 AND id = $2 AND state = $6 AND holder = $3 RETURNING *",
            workspace.id,
            min(id, database.LARGEST_ID),
            by,
            outcome.value,
            now,
            FollowUpState.DONE.value,
        )
        steps = [
            _make_step(row, outcome, FollowUpState.DONE, by=by, at=now, workspace=row["workspace_id"]) for row in rows
        ]
        await _write_steps(session, steps)
        await jobs.enqueue(session, [_make_job(row, EDIT, at=now) for row in rows], now=now)
        for row in rows:
            await _record(session, workspace, before[0], row, by=by, now=now)

    await database.write(body)
    return await follow_up(workspace, id=id)


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
