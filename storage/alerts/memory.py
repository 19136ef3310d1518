"""Store the memory of each alert rule about each contact: its last decision, a pending hold, the last follow-up."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from storage.db import database
from storage.db.database import Session
from storage.domain.alerts.memory import AlertMemory
from storage.domain.followups import WAITING
from storage.domain.people import Workspace

#: (rule id, contact id)
MemoryKey = tuple[int, int]


async def load_memory(session: Session, keys: Collection[MemoryKey]) -> dict[MemoryKey, AlertMemory]:
    """Return the memory of rules about contacts. Keys without a row, which were never evaluated, are left out.

    Earlier versions set *taken* along with a pending hold when a score type changed. Then *taken* is ignored: the hold
    continues, and the follow-up is opened when it ends.
    """
    # Usually the keys are each rule with each contact. Listing rules and contacts takes a third of the time of listing
    # all keys.
    row_set = "FROM given(rule bigint, contact bigint) WHERE"
    rules, contacts = ({key[index] for key in keys} for index in (0, 1))
    rows = await session.rows(
        "SELECT m.rule_id, m.contact_id, m.taken, m.pending_until, m.fired_at, m.seen_at, m.spent,"
        f" m.enrollment, m.cause, m.found FROM (SELECT contact {row_set} rule IS NULL OFFSET 0) AS c"
        f" CROSS JOIN (SELECT rule {row_set} contact IS NULL OFFSET 0) AS r"
        " JOIN alert_memory m ON m.rule_id = r.rule AND m.contact_id = c.contact",
        [*({"rule": rule} for rule in sorted(rules)), *({"contact": contact} for contact in sorted(contacts))],
    )
    return {
        (row["rule_id"], row["contact_id"]): AlertMemory(
            taken=bool(row["taken"]) and row["pending_until"] is None, pending_until=row["pending_until"],
            fired_at=row["fired_at"], seen_at=row["seen_at"], spent=row["spent"], enrollment=row["enrollment"],
            cause=row["cause"], found=None if row["found"] is None else _parse_found(json.loads(row["found"])),
        )
        for row in rows
        if (row["rule_id"], row["contact_id"]) in keys
    }  # fmt: skip  # columns grouped by meaning


def _parse_found(document: Mapping[str, Any]) -> AlertMemory:
    found = document.get("found")
    return AlertMemory(**{**document, "found": None if found is None else _parse_found(found)})


def _dump_found(found: AlertMemory | None) -> str | None:
    return None if found is None else json.dumps(asdict(found))


async def save_memory(session: Session, memory: Mapping[MemoryKey, AlertMemory]) -> None:
    """Insert or replace the memory of rules about contacts."""
    if memory:
        await session.rows(
            "INSERT INTO alert_memory"
            " (rule_id, contact_id, taken, pending_until, fired_at, seen_at, spent, enrollment, cause, found)"
            " SELECT rule, contact, taken, pending_until, fired_at, seen_at, spent, enrollment, cause, found"
            " FROM given(rule bigint, contact bigint, taken boolean, pending_until bigint, fired_at bigint,"
            " seen_at bigint, spent bigint, enrollment bigint, cause text, found text)"
            " WHERE true ORDER BY rule, contact ON CONFLICT (rule_id, contact_id) DO UPDATE"
            " SET taken = excluded.taken, pending_until = excluded.pending_until, fired_at = excluded.fired_at,"
            " seen_at = excluded.seen_at, spent = excluded.spent, enrollment = excluded.enrollment,"
            " cause = excluded.cause, found = excluded.found",
            [
                {
                    "rule": rule,
                    "contact": contact,
                    "taken": state.taken,
                    "pending_until": state.pending_until,
                    "fired_at": state.fired_at,
                    "seen_at": state.seen_at,
                    "spent": state.spent,
                    "enrollment": state.enrollment,
                    "cause": state.cause,
                    "found": _dump_found(state.found),
                }
                for (rule, contact), state in sorted(memory.items(), key=lambda item: item[0])
            ],
        )


async def regroup_memory(session: Session, roots: Mapping[int, int]) -> None:
    """Update the memory about contacts that were merged or split. *roots*: row → contact that it belongs to now.

    The contact that others were merged into takes over only the time of their last follow-up. The memory about a
    contact that a split separated is derived from its own follow-ups: the time of the last one, and whether one is
    pending. The contacts must be locked.
    """
    merged = [{"id": row, "root": root} for row, root in sorted(roots.items()) if root != row]
    await session.rows(
        "INSERT INTO alert_memory (rule_id, contact_id, taken, fired_at, seen_at, spent)"
        " SELECT m.rule_id, given.root, false, max(m.fired_at), 0, 0 FROM given(id bigint, root bigint)"
        " JOIN alert_memory m ON m.contact_id = given.id WHERE m.fired_at IS NOT NULL"
        " GROUP BY m.rule_id, given.root ORDER BY m.rule_id, given.root ON CONFLICT (rule_id, contact_id) DO UPDATE"
        " SET fired_at = CASE WHEN alert_memory.fired_at > excluded.fired_at"
        " THEN alert_memory.fired_at ELSE excluded.fired_at END, cause = NULL, found = NULL",
        merged,
    )
    await session.rows(
        "DELETE FROM alert_memory WHERE contact_id IN (SELECT id FROM given(id bigint, root bigint))", merged
    )
    split = [{"id": row, "root": root} for row, root in sorted(roots.items()) if roots.get(root) == root]
    states = ", ".join(f"'{state.value}'" for state in WAITING)
    await session.rows(
        "INSERT INTO alert_memory (rule_id, contact_id, taken, fired_at, seen_at, spent, enrollment)"
        f" SELECT p.rule_id, given.root, count(CASE WHEN f.state IN ({states}) THEN 1 END) > 0, max(p.fired_at), 0, 0,"
        " max(r.enrollment) FROM given(id bigint, root bigint) JOIN follow_ups f ON f.contact_id = given.id"
        " JOIN followup_rules p ON p.follow_up_id = f.id JOIN alert_rules r ON r.id = p.rule_id"
        " GROUP BY p.rule_id, given.root"
        " ORDER BY p.rule_id, given.root ON CONFLICT (rule_id, contact_id) DO NOTHING",
        split,
    )


async def count_suppressed(workspace: Workspace) -> dict[int, int]:
    """Return how many follow-ups the cool-down of each rule has suppressed. Rules without any are left out."""
    rows = await database.read(
        "SELECT m.rule_id, sum(m.spent) AS count FROM alert_rules r JOIN alert_memory m ON m.rule_id = r.id"
        " WHERE r.workspace_id = $1 AND m.spent > 0 GROUP BY m.rule_id",
        workspace.id,
    )
    return {row["rule_id"]: int(row["count"]) for row in rows}


async def delete_memory(session: Session, contacts: Collection[int]) -> None:
    """Delete the memory of all rules about contacts."""
    await session.rows(
        "DELETE FROM alert_memory WHERE contact_id IN (SELECT id FROM given(id bigint))",
        [{"id": contact} for contact in sorted(contacts)],
    )
