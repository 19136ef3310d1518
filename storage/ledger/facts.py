"""Append to the ledger, deduplicated by its constraint, and read it back."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

from storage.db import database
from storage.db.database import Row, Session
from storage.domain.contacts import Json
from storage.domain.facts import Activity, Change, Deleted, Fact, FieldValue, Merged, Op, Undo, undone_batches
from storage.domain.fold import bears_on
from storage.domain.people import Workspace
from storage.domain.rules import compile_rules
from storage.domain.score_types import ScoreType

#: (workspace id, source, dedupe key, subject): unique in the ledger
FactKey: TypeAlias = tuple[int, str, str, str]
#: (the contact that a fact was written for, received at, fact)
Stored: TypeAlias = tuple[int | None, int, Fact]
#: (contact id, key of a score type)
Scored: TypeAlias = tuple[int, str]

_COLUMNS = (
    "workspace_id, contact_id, other_id, kind, source, dedupe_key, subject, op, amount, said, undoes,"
    " occurred_at, received_at, batch, actor, reason, activity"
)
_GIVEN = (
    "given(workspace_id bigint, contact_id bigint, other_id bigint, kind text, source text, dedupe_key text,"
    " subject text, op text, amount bigint, said text, undoes text, occurred_at bigint, received_at bigint,"
    " batch text, actor text, reason text, activity text)"
)


def fact_key(workspace: int, fact: Fact) -> FactKey:
    """Give what makes a fact unique."""
    return (workspace, fact.source, fact.key, fact.subject)


async def append(
    session: Session, facts: Mapping[FactKey, tuple[int | None, Fact]], *, received_at: Mapping[FactKey, int]
) -> dict[FactKey, int]:
    """Append the facts that are new, each with its contact; answer the row ids of those."""
    rows = [_make_row(key, contact, fact, received_at[key]) for key, (contact, fact) in sorted(facts.items())]
    written = await session.rows(
        f"INSERT INTO facts ({_COLUMNS}) SELECT {_COLUMNS} FROM {_GIVEN}"
        ' WHERE true ORDER BY workspace_id, source COLLATE "C", dedupe_key COLLATE "C", subject COLLATE "C"'
        " ON CONFLICT DO NOTHING RETURNING id, workspace_id, source, dedupe_key, subject",
        rows,
    )
    return {_make_key(row): row["id"] for row in written}


def _make_row(key: FactKey, contact: int | None, fact: Fact, received_at: int) -> Row:
    workspace, source, dedupe_key, subject = key
    change = fact if isinstance(fact, Change) else None
    activity = fact if isinstance(fact, Activity) else None
    merged = fact if isinstance(fact, Merged) else None
    return {
        "workspace_id": workspace,
        "contact_id": contact,
        "other_id": merged.other if merged else None,
        "kind": next((kind for fact_type, kind in _KINDS.items() if isinstance(fact, fact_type)), "fields"),
        "source": source,
        "dedupe_key": dedupe_key,
        "subject": subject,
        "op": change.op if change else None,
        "amount": change.amount if change else activity.quantity if activity else merged.into if merged else None,
        "said": json.dumps(dict(fact.fields), ensure_ascii=False, sort_keys=True),
        "undoes": fact.undoes if isinstance(fact, Undo) else None,
        "occurred_at": fact.occurred_at,
        "received_at": received_at,
        "batch": fact.batch,
        "actor": fact.actor,
        "reason": fact.reason,
        "activity": activity.activity if activity else None,
    }


_KINDS: Mapping[type[Fact], str] = {
    Change: "change", Activity: "activity", Merged: "merge", Undo: "undo", Deleted: "deleted",
}  # fmt: skip  # what is none of these says something of a contact, and no more


def _make_key(row: Row) -> FactKey:
    return (row["workspace_id"], row["source"], row["dedupe_key"], row["subject"])


async def load_stored(session: Session, keys: Iterable[FactKey]) -> dict[FactKey, Stored]:
    """Give the facts in the ledger under these keys."""
    rows = await session.rows(
        "SELECT f.* FROM given(workspace bigint, source text, key text, subject text)"
        " JOIN facts f ON f.workspace_id = given.workspace AND f.source = given.source"
        " AND f.dedupe_key = given.key AND f.subject = given.subject",
        [
            {"workspace": workspace, "source": source, "key": key, "subject": subject}
            for workspace, source, key, subject in sorted(keys)
        ],
    )
    return {_make_key(row): (row["contact_id"], row["received_at"], _parse_fact(row)) for row in rows}


async def changes(session: Session, scored: Iterable[Scored]) -> dict[Scored, dict[int, Change]]:
    """Give every change of these scores, by row id of the fact; those of all that are one with the contact."""
    pairs = sorted(set(scored))
    rows = await session.rows(
        "SELECT f.*, given.contact AS root FROM given(contact bigint, subject text)"
        " JOIN contacts m ON m.id = given.contact OR m.merged_into = given.contact"
        " JOIN facts f ON f.contact_id = m.id AND f.subject = given.subject WHERE f.kind = 'change'",
        [{"contact": contact, "subject": subject} for contact, subject in pairs],
    )
    by_score: dict[Scored, dict[int, Change]] = {pair: {} for pair in pairs}
    for row in rows:
        fact = _parse_fact(row)
        assert isinstance(fact, Change)
        by_score[row["root"], row["subject"]][row["id"]] = fact
    return by_score


async def ledgers(session: Session, types: Mapping[Scored, ScoreType]) -> dict[Scored, dict[int, Fact]]:
    """Return every fact that bears on these scores, undone or not, by row id of the fact."""
    by_score: dict[Scored, dict[int, Fact]] = {
        pair: dict(score_changes) for pair, score_changes in (await changes(session, types)).items()
    }
    ruled = sorted(pair for pair, score_type in types.items() if score_type.rules)
    if ruled:
        every = {pair[0] for pair in ruled if compile_rules(types[pair].rules).holds_from_first_fact}
        others = await _load_other_facts(session, {contact for contact, _ in ruled}, every=every)
        for pair in ruled:
            by_score[pair] |= {id: fact for id, fact in others[pair[0]].items() if bears_on(fact, types[pair])}
    return by_score


async def _load_other_facts(
    session: Session, contacts: Collection[int], *, every: Collection[int]
) -> dict[int, dict[int, Fact]]:
    """Return the activities of contacts and the facts that state their fields; of those in *every* all their facts."""
    rows = await session.rows(
        "SELECT f.*, given.id AS root FROM given(id bigint, every boolean)"
        " JOIN contacts m ON m.id = given.id OR m.merged_into = given.id"
        " JOIN facts f ON f.contact_id = m.id"
        " WHERE f.kind = 'activity' OR f.said <> '{}' OR (given.every AND f.kind IN ('change', 'fields'))",
        [{"id": id, "every": id in every} for id in sorted(contacts)],
    )
    by_contact: dict[int, dict[int, Fact]] = {id: {} for id in contacts}
    for row in rows:
        by_contact[row["root"]][row["id"]] = _parse_fact(row)
    return by_contact


async def activities_since(session: Session, instants: Mapping[int, int]) -> list[tuple[int, int, str]]:
    """Return what contacts did at or after an instant, undone or not: (contact, row id of the fact, activity)."""
    rows = await session.rows(
        "SELECT given.contact, f.id, f.activity FROM given(contact bigint, since bigint)"
        " JOIN contacts m ON m.id = given.contact OR m.merged_into = given.contact"
        " JOIN facts f ON f.contact_id = m.id AND f.subject = '' AND f.occurred_at >= given.since"
        " WHERE f.kind = 'activity'",
        [{"contact": contact, "since": at} for contact, at in sorted(instants.items())],
    )
    return [(row["contact"], row["id"], row["activity"]) for row in rows]


async def load_merge_links(session: Session, rows: Collection[int]) -> list[tuple[int, int, str]]:
    """Give every word that one of these contacts is one with another: (contact, contact, batch)."""
    links = await session.rows(
        "SELECT contact_id, other_id, batch FROM facts WHERE kind = 'merge'"
        " AND contact_id IN (SELECT id FROM given(id bigint)) ORDER BY id",
        [{"id": id} for id in sorted(rows)],
    )
    return [(row["contact_id"], row["other_id"], row["batch"]) for row in links]


async def load_merge_directions(session: Session, rows: Collection[int]) -> list[tuple[int, int, int | None, str]]:
    """Return the links of contact rows in the order of their facts: (row, row, the one merged into, batch)."""
    links = await session.rows(
        "SELECT contact_id, other_id, amount, batch FROM facts WHERE kind = 'merge'"
        " AND contact_id IN (SELECT id FROM given(id bigint))"
        ' ORDER BY occurred_at, source COLLATE "C", dedupe_key COLLATE "C", id',
        [{"id": id} for id in sorted(rows)],
    )
    return [(row["contact_id"], row["other_id"], row["amount"], row["batch"]) for row in links]


async def load_row_field_facts(session: Session, rows: Collection[int]) -> dict[int, list[Fact]]:
    """Return every fact that says something of these contact rows themselves, by row."""
    records = await session.rows(
        "SELECT * FROM facts WHERE said <> '{}' AND contact_id IN (SELECT id FROM given(id bigint))",
        [{"id": row} for row in sorted(rows)],
    )
    by_row: dict[int, list[Fact]] = {}
    for record in records:
        by_row.setdefault(record["contact_id"], []).append(_parse_fact(record))
    return by_row


async def redact_facts(session: Session, rows: Collection[int], *, until: int) -> None:
    """Take everything out of the facts of contacts up to an instant, but that they were there."""
    await session.rows(
        "UPDATE facts SET kind = 'deleted', contact_id = NULL, other_id = NULL, op = NULL, amount = NULL, said = '{}',"
        " actor = NULL, reason = NULL, activity = NULL WHERE occurred_at <= $2"
        " AND (contact_id IN (SELECT id FROM given(id bigint)) OR other_id IN (SELECT id FROM given(id bigint)))",
        [{"id": row} for row in sorted(rows)],
        until,
    )


async def contacts_with_facts(session: Session, rows: Collection[int]) -> set[int]:
    """Give those of these contacts that any fact is about."""
    matches = await session.rows(
        "SELECT given.id FROM given(id bigint) WHERE EXISTS (SELECT 1 FROM facts f WHERE f.contact_id = given.id)"
        " OR EXISTS (SELECT 1 FROM facts f WHERE f.other_id = given.id)",
        [{"id": row} for row in sorted(rows)],
    )
    return {row["id"] for row in matches}


async def latest(session: Session, rows: Collection[int]) -> int:
    """Give when the last fact of these contacts happened, before 1970 where there is none."""
    (row,) = await session.rows(
        "SELECT max(occurred_at) AS at FROM facts WHERE contact_id IN (SELECT id FROM given(id bigint))",
        [{"id": row} for row in sorted(rows)],
    )
    return -1 if row["at"] is None else int(row["at"])


async def load_field_facts(session: Session, contacts: Collection[int]) -> dict[int, list[Fact]]:
    """Give every fact that says something of these contacts themselves, or of those that are one with them."""
    rows = await session.rows(
        "SELECT f.*, given.id AS root FROM given(id bigint)"
        " JOIN contacts m ON m.id = given.id OR m.merged_into = given.id"
        " JOIN facts f ON f.contact_id = m.id WHERE f.said <> '{}'",
        [{"id": id} for id in sorted(contacts)],
    )
    by_contact: dict[int, list[Fact]] = {id: [] for id in contacts}
    for row in rows:
        by_contact[row["root"]].append(_parse_fact(row))
    return by_contact


async def undone_of(session: Session, workspace: int, batches: Iterable[str]) -> frozenset[str]:
    """Name those of *batches* that are undone, following undos of undos."""
    undos: dict[str, Undo] = {}
    requested = frozenset(batches)
    pending = set(requested)
    checked: set[str] = set()
    while pending:
        rows = await session.rows(
            "SELECT * FROM facts WHERE workspace_id = $2 AND undoes IN (SELECT batch FROM given(batch text))",
            [{"batch": batch} for batch in sorted(pending)],
            workspace,
        )
        checked |= pending
        fetched = [fact for fact in map(_parse_fact, rows) if isinstance(fact, Undo)]
        undos |= {undo.key: undo for undo in fetched}
        pending = {undo.batch for undo in fetched} - checked
    return undone_batches(undos.values()) & requested


async def undo_in_force(workspace: Workspace, *, batch: str) -> str | None:
    """Name the undo that keeps a batch out of every fold, or none where nothing does."""
    reader = database.current_database().reader
    if not await undone_of(reader, workspace.id, [batch]):
        return None
    # What is undone is not undone again, so that the last undo which names it is the one.
    rows = await reader.rows(
        "SELECT batch FROM facts WHERE workspace_id = $1 AND undoes = $2 ORDER BY id DESC LIMIT 1", workspace.id, batch
    )
    return str(rows[0]["batch"])


async def load_undone_batch(session: Session, workspace: int, batch: str) -> str | None:
    """Return the batch whose facts an undo of *batch* bears on, following undos of undos; None if it has no facts."""
    while rows := await session.rows(
        "SELECT kind, undoes FROM facts WHERE workspace_id = $1 AND batch = $2 AND actor IS NOT NULL LIMIT 1",
        workspace,
        batch,
    ):
        if rows[0]["kind"] != "undo":
            return batch
        batch = str(rows[0]["undoes"])
    return None


async def count_contacts(session: Session, workspace: int, batch: str, *, most: int) -> int:
    """Count the contacts of a person's batch, up to *most*."""
    (row,) = await session.rows(
        "SELECT count(*) AS number FROM (SELECT DISTINCT contact_id FROM facts"
        " WHERE workspace_id = $1 AND batch = $2 AND actor IS NOT NULL LIMIT $3) AS few",
        workspace,
        batch,
        most,
    )
    return int(row["number"])


async def batch_members(
    session: Session, workspace: int, batch: str, *, contacts: Collection[int] = ()
) -> Sequence[Row]:
    """Return what a person's batch says, of all contacts or of these.

    Rows of contact_id, other_id, subject, kind, actor, undoes, reason, activity, said.
    """
    columns = "f.contact_id, f.other_id, f.subject, f.kind, f.actor, f.undoes, f.reason, f.activity, f.said"
    if contacts:
        rows = await session.rows(
            # By contact and not by batch, which may be larger than anything: its index asks for an actor.
            f"SELECT {columns} FROM given(id bigint) JOIN facts f ON f.contact_id = given.id"
            " WHERE f.workspace_id = $2 AND f.batch = $3 ORDER BY f.id",
            [{"id": id} for id in sorted(contacts)],
            workspace,
            batch,
        )
        return [row for row in rows if row["actor"] is not None]
    return await session.rows(
        f"SELECT {columns} FROM facts f WHERE f.workspace_id = $1 AND f.batch = $2 AND f.actor IS NOT NULL"
        " ORDER BY f.id",
        workspace,
        batch,
    )


def _parse_fact(row: Row) -> Fact:
    fields: dict[str, Json] = json.loads(row["said"])
    common = {name: row[name] for name in ("source", "occurred_at", "batch", "actor", "reason")}
    common |= {"key": row["dedupe_key"], "fields": fields}
    match row["kind"]:
        case "change":
            return Change(**common, score=row["subject"], op=Op(row["op"]), amount=row["amount"])
        case "activity":
            return Activity(**common, activity=row["activity"], quantity=row["amount"])
        case "merge":
            _, _, place = row["subject"].partition("/")
            one, other = row["contact_id"], row["other_id"]
            return Merged(**common, one=one, other=other, place=int(place or 1), into=row["amount"])
        case "deleted":
            return Deleted(**common)
        case "undo":
            return Undo(**common, undoes=row["undoes"])
        case _:
            return FieldValue(**common)


async def keys_of_batch(session: Session, workspace: int, batch: str, contacts: Iterable[int]) -> list[tuple[int, str]]:
    """Give the facts of a batch that are about these contacts: (contact, dedupe key)."""
    rows = await session.rows(
        # By contact and not by batch, which may be larger than anything: its index asks for an actor.
        "SELECT given.contact, f.dedupe_key FROM given(contact bigint)"
        " JOIN contacts m ON m.id = given.contact OR m.merged_into = given.contact JOIN facts f ON f.contact_id = m.id"
        " WHERE f.workspace_id = $2 AND f.batch = $3",
        [{"contact": contact} for contact in sorted(set(contacts))],
        workspace,
        batch,
    )
    return [(row["contact"], row["dedupe_key"]) for row in rows]


async def is_recorded(workspace: Workspace, *, batch: str) -> bool:
    """Tell whether a person's batch is in the ledger already."""
    return bool(await batch_members(database.current_database().reader, workspace.id, batch))


async def last_command(workspace: Workspace, *, actor: str) -> str | None:
    """Name the last batch of a person's changes that is not undone yet, or none among the last hundred."""
    rows = await database.read(
        "SELECT batch, max(id) AS latest FROM (SELECT batch, id FROM facts"
        " WHERE workspace_id = $1 AND actor = $2 AND kind <> 'undo' ORDER BY id DESC LIMIT $3) AS recent"
        " GROUP BY batch ORDER BY latest DESC",
        workspace.id,
        actor,
        100,
    )
    left_out = await undone_of(database.current_database().reader, workspace.id, [row["batch"] for row in rows])
    return next((row["batch"] for row in rows if row["batch"] not in left_out), None)
