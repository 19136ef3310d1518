"""Read follow-ups: who waits for somebody, what became of each, and where its message is."""

from collections.abc import Collection
from dataclasses import dataclass

from storage.db import database
from storage.db.database import Row
from storage.domain.errors import Refusal
from storage.domain.followups import NOBODYS, WAITING, FollowUpOutcome, FollowUpState, FollowUpStatus
from storage.domain.people import Workspace
from storage.domain.texts import match_key

#: the lane of what is not posted by itself
DIGEST = "digest"

#: a follow-up stays that of the contact it was asked for, and is *about* the one which that is one with now
READ = "SELECT f.*, coalesce(c.merged_into, c.id) AS about FROM follow_ups f JOIN contacts c ON c.id = f.contact_id"


class UnknownFollowUp(Refusal):
    """There is no such follow-up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """A follow-up and what became of it. Thousandths; times in µs UTC."""

    id: int
    rule: int
    contact: int
    score: str
    before: int | None
    after: int | None
    source: str
    actor: str | None
    reason: str | None
    why: str | None
    lane: str
    standing: FollowUpStatus
    until: int | None  #: when a snooze or a claim ends
    late_at: int | None  #: when it is overdue, while nobody has it
    escalate_to: str | None
    outcome: FollowUpOutcome | None
    asked_at: int
    changed_at: int
    posted_at: int | None
    message_channel: str | None
    message_ts: str | None
    in_list: bool  #: its message is a list of many


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of a follow-up's history."""

    move: str  #: `asked`, a move, or an outcome
    state: FollowUpState  #: after it
    by: str | None  #: Slack's id; none: time, or the score
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignee:
    """Somebody for whom follow-ups wait: what they have, what is escalated to them, and what nobody has of theirs."""

    id: str  #: Slack's
    address: str | None  #: by which contacts say who owns them


async def follow_up(workspace: Workspace, *, id: int) -> FollowUp:
    """Give a follow-up; raises UnknownFollowUp."""
    matches = await load_follow_ups(workspace, ids=[min(id, database.LARGEST_ID)])
    if not matches:
        raise UnknownFollowUp
    return matches[0]


async def load_follow_ups(workspace: Workspace, *, ids: Collection[int]) -> list[FollowUp]:
    """Give follow-ups, in the order they were asked for."""
    rows = await database.read(
        f"{READ} WHERE f.workspace_id = $2 AND f.id IN (SELECT id FROM given(id bigint)) ORDER BY f.id",
        [{"id": id} for id in ids],
        workspace.id,
    )
    return [_make_follow_up(row) for row in rows]


async def list_waiting(
    workspace: Workspace, *, assignee: Assignee | None = None, contact: int | None = None, after: int = 0, most: int
) -> list[FollowUp]:
    """Give what waits for somebody, the newest first: for one person, or of one contact, where that is asked.

    *after* is the id of the last one seen, 0 for the beginning.
    """
    where = (
        f"f.state IN ({states_sql(WAITING)})"
        " AND ($6 = 0 OR f.contact_id IN (SELECT id FROM contacts WHERE id = $6 OR merged_into = $6))"
    )
    return await _list_follow_ups(workspace, where, contact or 0, assignee=assignee, after=after, most=most)


async def list_overdue(
    workspace: Workspace, *, assignee: Assignee | None = None, after: int = 0, most: int, now: int
) -> list[FollowUp]:
    """Give what nobody claimed in the time its rule sets, the newest first."""
    where = f"f.state IN ({states_sql(NOBODYS)}) AND f.late_at <= $6"
    return await _list_follow_ups(workspace, where, now, assignee=assignee, after=after, most=most)


async def list_in_digest(workspace: Workspace, *, assignee: Assignee | None = None, most: int) -> list[FollowUp]:
    """Give what was asked for in the digest alone and nobody has, the newest first."""
    where = f"f.state IN ({states_sql(NOBODYS)}) AND f.lane = $6"
    return await _list_follow_ups(workspace, where, DIGEST, assignee=assignee, after=0, most=most)


async def list_waking(
    workspace: Workspace, *, assignee: Assignee | None = None, before: int, most: int
) -> list[FollowUp]:
    """Give what is snoozed until then at the latest, the newest first."""
    where = f"f.state IN ({states_sql((FollowUpState.SNOOZED,))}) AND f.until <= $6"
    return await _list_follow_ups(workspace, where, before, assignee=assignee, after=0, most=most)


async def _list_follow_ups(
    workspace: Workspace, where: str, value: int | str, *, assignee: Assignee | None, after: int, most: int
) -> list[FollowUp]:
    rows = await database.read(
        f"{READ} WHERE f.workspace_id = $1 AND ($2 = 0 OR f.id < $2)"
        " AND ($3 = '' OR f.holder = $3 OR (f.state = 'escalated' AND f.escalate_to = $3)"
        " OR (f.holder IS NULL AND EXISTS"
        " (SELECT 1 FROM contacts r WHERE r.id = coalesce(c.merged_into, c.id) AND r.owner_key = $4)))"
        f" AND {where} ORDER BY f.id DESC LIMIT $5",
        workspace.id,
        after,
        assignee.id if assignee else "",
        match_key(assignee.address) if assignee and assignee.address else "",
        most,
        value,
    )
    return [_make_follow_up(row) for row in rows]


def states_sql(states: Collection[FollowUpState]) -> str:
    """Write a list of states in SQL."""
    return ", ".join(f"'{state.value}'" for state in states)


async def list_steps(workspace: Workspace, *, id: int) -> list[Step]:
    """Give the history of a follow-up, from its beginning."""
    rows = await database.read(
        "SELECT move, state, by, at FROM follow_up_moves WHERE workspace_id = $1 AND follow_up_id = $2 ORDER BY id",
        workspace.id,
        min(id, database.LARGEST_ID),
    )
    return [Step(**{**row, "state": FollowUpState(row["state"])}) for row in rows]


async def list_posted_since(workspace: Workspace, *, lane: str, since: int) -> list[FollowUp]:
    """Give what was posted in a lane since then, in the order it was."""
    rows = await database.read(
        f"{READ} WHERE f.workspace_id = $1 AND f.lane = $2 AND f.posted_at >= $3 ORDER BY f.posted_at, f.id",
        workspace.id,
        lane,
        since,
    )
    return [_make_follow_up(row) for row in rows]


async def list_sharing_message(workspace: Workspace, *, channel: str, ts: str) -> list[FollowUp]:
    """Give the follow-ups that a message lists."""
    rows = await database.read(
        f"{READ} WHERE f.workspace_id = $1 AND f.message_channel = $2 AND f.message_ts = $3 ORDER BY f.id",
        workspace.id,
        channel,
        ts,
    )
    return [_make_follow_up(row) for row in rows]


async def count_by_rule(workspace: Workspace) -> dict[int, dict[str, int]]:
    """Count the follow-ups of each rule by what became of them."""
    rows = await database.read(
        "SELECT rule_id, coalesce(outcome, state) AS result, count(*) AS count FROM follow_ups WHERE workspace_id = $1"
        " GROUP BY rule_id, coalesce(outcome, state)",
        workspace.id,
    )
    counts_of: dict[int, dict[str, int]] = {}
    for row in rows:
        counts_of.setdefault(row["rule_id"], {})[row["result"]] = row["count"]
    return counts_of


def status_of_row(row: Row) -> FollowUpStatus:
    """Say where the follow-up of a row stands."""
    return FollowUpStatus(state=FollowUpState(row["state"]), holder=row["holder"])


def _make_follow_up(row: Row) -> FollowUp:
    names = ("id", "score", "before", "after", "source", "actor", "reason", "why", "lane", "until", "asked_at")
    more = ("late_at", "escalate_to", "changed_at", "posted_at", "message_channel", "message_ts")
    return FollowUp(
        **{name: row[name] for name in (*names, *more)},
        rule=row["rule_id"],
        contact=row["about"],
        standing=status_of_row(row),
        outcome=FollowUpOutcome(row["outcome"]) if row["outcome"] else None,
        in_list=bool(row["in_list"]),
    )
