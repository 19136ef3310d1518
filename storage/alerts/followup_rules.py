"""Open follow-ups when rules fire, join and withdraw rules, and enqueue the jobs that post and update messages.

A rule that fires opens a follow-up, or joins one that is open; a follow-up closes when its last rule is withdrawn.
`followup_moves` makes the moves of people and timers.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from storage import jobs
from storage.alerts.followups import DIGEST, states_sql
from storage.alerts.hours import load_working_hours
from storage.db import database
from storage.db.database import Row, Session
from storage.domain.followups import (
    CLOSES_BY_ITSELF,
    WAITING,
    FollowUpMove,
    FollowUpState,
)
from storage.events.outbox import emit_follow_up_events
from storage.jobs import NewJob

#: kinds of jobs: post a new follow-up, update its message, and make the moves that time causes
ASK, EDIT, WAKE, RELEASE, ESCALATE = "ask", "edit", "wake", "release", "escalate"
#: the kind of the job that notifies a person that a follow-up was assigned to them, or taken over from them
HAND_OVER = "hand_over"
#: history entries other than moves: the first rule fired, a further rule fired, one of several rules no longer applies
OPENED, JOINED, LEFT = "asked", "joined", "left"
_JOB_KINDS = ", ".join(f"'{kind}'" for kind in (ASK, EDIT, WAKE, RELEASE, ESCALATE, HAND_OVER))


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
    steps = [make_step(row, OPENED, FollowUpState.OPEN, at=row["at"]) for row in rows.values()]
    steps += [
        make_step(row, JOINED, FollowUpState(row["state"]), at=row["at"], detail=str(row["rule_id"])) for row in joined
    ]
    await write_steps(session, steps)
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
        + [make_job(row, EDIT, at=row["at"]) for row in joined if row["id"] not in rows],
        now=now,
    )
    await apply_first_deadline(session, id_of.values(), now=now)


async def load_unfinished(session: Session, new_follow_ups: Sequence[NewFollowUp]) -> dict[tuple[int, str], Row]:
    """Return the oldest unfinished follow-up for each place of new ones: (contact, lane) → row with id and state."""
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


async def apply_first_deadline(session: Session, ids: Collection[int], *, now: int) -> None:
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
        make_job(row, ESCALATE, at=row["late_at"])
        for row in rows
        if row["late_at"] is not None and row["escalate_to"] is not None
    ]
    await jobs.enqueue(session, escalations, now=now)


async def withdraw_rules(
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
    closed = [
        row for id, row in last_of.items() if id not in held_ids and FollowUpState(row["state"]) in CLOSES_BY_ITSELF
    ]
    await session.rows(
        "UPDATE follow_ups SET state = $2, holder = NULL, until = NULL, late_at = NULL,"
        " changed_at = (SELECT at FROM given(id bigint, at bigint) WHERE given.id = follow_ups.id)"
        " WHERE id IN (SELECT id FROM given(id bigint, at bigint))",
        [{"id": row["id"], "at": row["at"]} for row in closed],
        FollowUpState.CLOSED.value,
    )
    closed_ids = {row["id"] for row in closed}
    steps = [make_step(row, move, FollowUpState.CLOSED, at=row["at"]) for row in closed]
    steps += [
        make_step({**row, "id": row["follow_up"]}, LEFT, FollowUpState(row["state"]), at=row["at"],
                   detail=str(row["rule_id"]))
        for row in rows if row["follow_up"] not in closed_ids
    ]  # fmt: skip  # where, what and when
    await write_steps(session, steps)
    await jobs.enqueue(session, [make_job(row, EDIT, at=row["at"]) for row in last_of.values()], now=now)
    await apply_first_deadline(session, last_of.keys() - closed_ids, now=now)


def make_step(
    row: Row,
    move: str,
    state: FollowUpState,
    *,
    by: str | None = None,
    at: int,
    detail: str | None = None,
    token: str | None = None,
) -> Row:
    """Return an entry of a follow-up's history. *row* is the follow-up, *state* its state after the move.

    *detail* is the person assigned, the note of an outcome, or the id of the rule that joined or left.
    """
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


async def write_steps(session: Session, steps: list[Row]) -> None:
    """Add entries to the history of follow-ups, and write their events to the outbox."""
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


def make_job(row: Row, kind: str, *, at: int) -> NewJob:
    """Return a job of a kind for a follow-up, due at *at*; an EDIT is due at once."""
    workspace, lane, id = row["workspace_id"], row["lane"], row["id"]
    due_at = 0 if kind == EDIT else at  # an edit runs before the rest of the lane is posted
    return NewJob(workspace=workspace, kind=kind, lane=lane, key=f"{id}/{at}", subject=id, due_at=due_at)
