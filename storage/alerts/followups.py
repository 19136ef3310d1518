"""Read follow-ups: open, overdue and snoozed ones, their history, and their messages. Record the messages."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from storage.db import database, models
from storage.db.database import Row
from storage.domain.errors import Refusal
from storage.domain.followups import NOBODYS, WAITING, FollowUpOutcome, FollowUpState, FollowUpStatus
from storage.domain.people import Workspace
from storage.domain.texts import match_key

#: the lane of follow-ups that are listed in the digest only
DIGEST = "digest"
#: the lanes of follow-ups without a channel: of an owner (a prefix), and of the admins
OWNERS, ADMINS = "owner:", "admins"

#: contact_id is the contact when the rule fired; *about* is the contact it is merged into today
READ = "SELECT f.*, coalesce(c.merged_into, c.id) AS about FROM follow_ups f JOIN contacts c ON c.id = f.contact_id"


class UnknownFollowUp(Refusal):
    """There is no such follow-up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FiredRule:
    """A rule that fired for a follow-up, and the change of the score that made it fire."""

    rule: int
    words: str | None  #: the rule as text when it fired; None: an earlier version did not store it
    score: str
    before: int | None
    after: int | None
    source: str
    actor: str | None
    reason: str | None
    fired_at: int
    let_go_at: int | None  #: when the score left what the rule watches; None: the rule holds the follow-up open
    is_taken_back: bool  #: the change was undone


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """A follow-up. Values in thousandths, times in µs UTC."""

    id: int
    rule: int
    contact: int
    score: str  #: the key of the score type
    before: int | None
    after: int | None
    source: str  #: the source of the change that made the rule fire, blank if time alone did
    actor: str | None
    reason: str | None
    why: str | None  #: the trigger of its rule as text, if the score does not explain itself
    lane: str  #: the lane of the jobs that post its messages, or DIGEST
    standing: FollowUpStatus
    until: int | None  #: when the snooze or the claim ends
    late_at: int | None  #: when it becomes overdue; None: it is claimed, snoozed or finished, or its rule sets no time
    escalate_to: str | None  #: the Slack user id to escalate to when it is overdue
    outcome: FollowUpOutcome | None
    note: str | None  #: what was written about the outcome
    rules: tuple[FiredRule, ...]  #: the first opened the follow-up, later ones joined it
    asked_at: int  #: when the rule fired
    changed_at: int
    posted_at: int | None
    message_channel: str | None
    message_ts: str | None
    in_list: bool  #: whether its message is a list of many follow-ups


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An entry of a follow-up's history."""

    move: str  #: `asked` for the first entry, `joined`, `left`, else a FollowUpMove or a FollowUpOutcome
    state: FollowUpState  #: the state after the move
    by: str | None  #: the Slack user id; None: a timer or a change of the score
    detail: str | None  #: the person assigned, the note of an outcome, or the id of the rule that joined or left
    token: str | None  #: the name of the token of a program that acted for the person
    at: int  #: in µs UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignee:
    """A person who works on follow-ups.

    Their follow-ups are those they hold, those escalated to them, and those without a holder for contacts they own.
    """

    id: str  #: the Slack user id
    address: str | None  #: the address that contacts have as their owner


async def follow_up(workspace: Workspace, *, id: int) -> FollowUp:
    """Load a follow-up. Raises UnknownFollowUp."""
    matches = await load_follow_ups(workspace, ids=[min(id, database.LARGEST_ID)])
    if not matches:
        raise UnknownFollowUp
    return matches[0]


async def load_follow_ups(workspace: Workspace, *, ids: Collection[int]) -> list[FollowUp]:
    """Load follow-ups, oldest first. Unknown ids are left out."""
    rows = await database.read(
        f"{READ} WHERE f.workspace_id = $2 AND f.id IN (SELECT id FROM given(id bigint)) ORDER BY f.id",
        [{"id": id} for id in ids],
        workspace.id,
    )
    return await _make_follow_ups(rows)


async def list_waiting(
    workspace: Workspace, *, assignee: Assignee | None = None, contact: int | None = None, after: int = 0, most: int
) -> list[FollowUp]:
    """Return up to *most* unfinished follow-ups, newest first; optionally of one assignee, or of one contact.

    *after* is the id of the last follow-up of the previous page, 0 for the first page.
    """
    where = (
        f"f.state IN ({states_sql(WAITING)})"
        " AND ($6 = 0 OR f.contact_id IN (SELECT id FROM contacts WHERE id = $6 OR merged_into = $6))"
    )
    return await _list_follow_ups(workspace, where, contact or 0, assignee=assignee, after=after, most=most)


async def list_waiting_of(workspace: Workspace, *, contacts: Collection[int]) -> list[FollowUp]:
    """Return the unfinished follow-ups of contacts, newest first."""
    rows = await database.read(
        f"{READ} WHERE f.workspace_id = $2 AND f.state IN ({states_sql(WAITING)}) AND f.contact_id IN"
        " (SELECT m.id FROM given(id bigint) JOIN contacts m ON m.id = given.id OR m.merged_into = given.id)"
        " ORDER BY f.id DESC",
        [{"id": contact} for contact in contacts],
        workspace.id,
    )
    return await _make_follow_ups(rows)


async def load_last_done(workspace: Workspace, *, contact: int) -> FollowUp | None:
    """Return the follow-up of a contact that was marked done last, or None."""
    rows = await database.read(
        f"{READ} WHERE f.workspace_id = $1 AND f.state = '{FollowUpState.DONE.value}'"
        " AND f.contact_id IN (SELECT id FROM contacts WHERE id = $2 OR merged_into = $2)"
        " ORDER BY f.changed_at DESC, f.id DESC LIMIT 1",
        workspace.id,
        contact,
    )
    return next(iter(await _make_follow_ups(rows)), None)


async def list_in_states(
    workspace: Workspace, *, states: Collection[FollowUpState], owner: str | None, after: int = 0, most: int
) -> list[FollowUp]:
    """Return up to *most* follow-ups in these states, newest first; with *owner*, only for contacts of this owner.

    *owner* is the owner's address. *after* is the id of the last follow-up of the previous page, 0 for the first page.
    """
    rows = await database.read(
        f"{READ} WHERE f.workspace_id = $1 AND f.state IN ({states_sql(states)}) AND ($2 = 0 OR f.id < $2)"
        " AND ($3 = '' OR EXISTS"
        " (SELECT 1 FROM contacts r WHERE r.id = coalesce(c.merged_into, c.id) AND r.owner_key = $3))"
        " ORDER BY f.id DESC LIMIT $4",
        workspace.id,
        min(after, database.LARGEST_ID),
        match_key(owner or ""),
        most,
    )
    return await _make_follow_ups(rows)


async def list_overdue(
    workspace: Workspace, *, assignee: Assignee | None = None, after: int = 0, most: int, now: int
) -> list[FollowUp]:
    """Return up to *most* follow-ups that were not claimed in the time set by their rule, newest first.

    *after* is the id of the last follow-up of the previous page, 0 for the first page.
    """
    where = f"f.state IN ({states_sql(NOBODYS)}) AND f.late_at <= $6"
    return await _list_follow_ups(workspace, where, now, assignee=assignee, after=after, most=most)


async def list_in_digest(workspace: Workspace, *, assignee: Assignee | None = None, most: int) -> list[FollowUp]:
    """Return up to *most* follow-ups without a holder that are listed in the digest only, newest first."""
    where = f"f.state IN ({states_sql(NOBODYS)}) AND f.lane = $6"
    return await _list_follow_ups(workspace, where, DIGEST, assignee=assignee, after=0, most=most)


async def list_waking(
    workspace: Workspace, *, assignee: Assignee | None = None, before: int, most: int
) -> list[FollowUp]:
    """Return up to *most* follow-ups with a snooze that ends at *before* or earlier, newest first."""
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
    return await _make_follow_ups(rows)


def states_sql(states: Collection[FollowUpState]) -> str:
    """Return a list of states as SQL literals, for `IN (…)`."""
    return ", ".join(f"'{state.value}'" for state in states)


async def list_steps(workspace: Workspace, *, id: int) -> list[Step]:
    """Load the history of a follow-up, oldest entry first."""
    moves = models.FollowUpMove.filter(workspace_id=workspace.id, follow_up_id=min(id, database.LARGEST_ID))
    rows = await database.load(moves.order_by("id"), "move", "state", "by", "at", "detail", "token")
    return [Step(**{**row, "state": FollowUpState(row["state"])}) for row in rows]


async def list_posted_since(workspace: Workspace, *, lane: str, since: int) -> list[FollowUp]:
    """Load the follow-ups of a lane that were posted at *since* or later, in the order they were posted."""
    rows = await database.read(
        f"{READ} WHERE f.workspace_id = $1 AND f.lane = $2 AND f.posted_at >= $3 ORDER BY f.posted_at, f.id",
        workspace.id,
        lane,
        since,
    )
    return await _make_follow_ups(rows)


async def list_sharing_message(workspace: Workspace, *, channel: str, ts: str) -> list[FollowUp]:
    """Load the follow-ups that a message shows."""
    rows = await database.read(
        f"{READ} WHERE f.workspace_id = $1 AND f.message_channel = $2 AND f.message_ts = $3 ORDER BY f.id",
        workspace.id,
        channel,
        ts,
    )
    return await _make_follow_ups(rows)


async def count_by_rule(workspace: Workspace) -> dict[int, dict[str, int]]:
    """Return the number of follow-ups by rule id, then by outcome, or by state if there is no outcome.

    A follow-up of several rules counts for each of them.
    """
    rows = await database.read(
        "SELECT r.rule_id, coalesce(f.outcome, f.state) AS result, count(*) AS count FROM follow_ups f"
        " JOIN followup_rules r ON r.follow_up_id = f.id WHERE f.workspace_id = $1"
        " GROUP BY r.rule_id, coalesce(f.outcome, f.state)",
        workspace.id,
    )
    counts_of: dict[int, dict[str, int]] = {}
    for row in rows:
        counts_of.setdefault(row["rule_id"], {})[row["result"]] = row["count"]
    return counts_of


def status_of_row(row: Row) -> FollowUpStatus:
    """Return the status of the follow-up in a row."""
    return FollowUpStatus(state=FollowUpState(row["state"]), holder=row["holder"])


async def _make_follow_ups(rows: Sequence[Row]) -> list[FollowUp]:
    """Return the follow-ups of rows, in the same order, with the rules that fired for them."""
    if not rows:
        return []
    rule_rows = await database.read(
        "SELECT r.* FROM given(id bigint) JOIN followup_rules r ON r.follow_up_id = given.id ORDER BY r.id",
        [{"id": row["id"]} for row in rows],
    )
    rules_of: dict[int, list[FiredRule]] = {}
    for row in rule_rows:
        rules_of.setdefault(row["follow_up_id"], []).append(_make_rule(row))
    return [_make_follow_up(row, tuple(rules_of.get(row["id"], ()))) for row in rows]


def _make_rule(row: Row) -> FiredRule:
    names = ("words", "score", "before", "after", "source", "actor", "reason", "fired_at", "let_go_at")
    return FiredRule(**{name: row[name] for name in names}, rule=row["rule_id"], is_taken_back=bool(row["taken_back"]))


def _make_follow_up(row: Row, rules: tuple[FiredRule, ...]) -> FollowUp:
    names = ("id", "score", "before", "after", "source", "actor", "reason", "why", "lane", "until", "asked_at", "note")
    more = ("late_at", "escalate_to", "changed_at", "posted_at", "message_channel", "message_ts")
    return FollowUp(
        **{name: row[name] for name in (*names, *more)},
        rule=row["rule_id"],
        contact=row["about"],
        standing=status_of_row(row),
        outcome=FollowUpOutcome(row["outcome"]) if row["outcome"] else None,
        rules=rules,
        in_list=bool(row["in_list"]),
    )


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
