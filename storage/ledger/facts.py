"""Insert facts into the ledger, deduplicated by a unique constraint, and load them.

Facts belong to contact rows. A contact that others were merged into is their *root*: where a function takes contacts,
the facts of the rows merged into them are included, unless its docstring says otherwise.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from storage.db import database
from storage.db.database import Row, Session
from storage.domain.contacts import Json
from storage.domain.facts import SPLIT, Activity, Change, Deleted, Fact, FieldValue, Merged, Op, SplitOff, Undo
from storage.domain.fold import is_relevant_to
from storage.domain.past_contacts import RecordedFact
from storage.domain.rules import compile_rules
from storage.domain.score_types import ScoreType
from storage.sources.named_contacts import make_name

#: (workspace id, source, dedupe key, subject): unique in the ledger
FactKey: TypeAlias = tuple[int, str, str, str]
#: (contact row that the fact was written for, time of receipt, fact)
StoredFact: TypeAlias = tuple[int | None, int, Fact]
#: (contact id, key of a score type)
ScoreId: TypeAlias = tuple[int, str]

_COLUMN_TYPES = {
    "workspace_id": "bigint", "contact_id": "bigint", "other_id": "bigint", "kind": "text", "source": "text",
    "dedupe_key": "text", "subject": "text", "op": "text", "amount": "bigint", "said": "text", "undoes": "text",
    "occurred_at": "bigint", "received_at": "bigint", "batch": "text", "actor": "text", "reason": "text",
    "activity": "text", "named_id": "text",
}  # fmt: skip  # a column a line would hide their order
_COLUMNS = ", ".join(_COLUMN_TYPES)
_ROW_SET = f"given({', '.join(f'{name} {type}' for name, type in _COLUMN_TYPES.items())})"
FEWEST_TO_RESERVE = 20  # from so many facts on, reserving the row ids in a statement of its own costs less


def make_fact_key(workspace: int, fact: Fact) -> FactKey:
    """Return the unique key of a fact."""
    return (workspace, fact.source, fact.key, fact.subject)


async def insert_facts(
    session: Session,
    facts: Mapping[FactKey, tuple[int | None, Fact]],
    *,
    received_at: Mapping[FactKey, int],
    named_ids: Mapping[FactKey, tuple[str, str]] | None = None,
) -> dict[FactKey, int]:
    """Insert facts, each with its contact row. Facts with keys that are stored already are left out.

    Returns the row ids of the inserted facts. *named_ids* are the ids by which the facts identified their contacts, as
    (source, id). Raises StartAgain if FEWEST_TO_RESERVE or more facts are inserted, and another transaction has just
    inserted one of their keys.
    """
    names = {key: make_name(*named_id) for key, named_id in (named_ids or {}).items()}
    keys = sorted(facts)
    rows = [_make_row(key, *facts[key], received_at[key], names.get(key)) for key in keys]
    if len(rows) >= FEWEST_TO_RESERVE:
        ids = await database.current_database().next_ids(session, "facts", len(rows))
        await session.insert("facts", ("id", *_COLUMN_TYPES), [(id, *row) for id, row in zip(ids, rows, strict=True)])
        return dict(zip(keys, ids, strict=True))
    written = await session.rows(
        f"INSERT INTO facts ({_COLUMNS}) SELECT {_COLUMNS} FROM {_ROW_SET}"
        ' WHERE true ORDER BY workspace_id, source COLLATE "C", dedupe_key COLLATE "C", subject COLLATE "C"'
        " ON CONFLICT DO NOTHING RETURNING id, workspace_id, source, dedupe_key, subject",
        [dict(zip(_COLUMN_TYPES, row, strict=True)) for row in rows],
    )
    return {_make_key(row): row["id"] for row in written}


def _make_row(
    key: FactKey, contact: int | None, fact: Fact, received_at: int, named_id: str | None
) -> tuple[object, ...]:
    """Return the values of a fact's row, in the order of _COLUMN_TYPES."""
    workspace, source, dedupe_key, subject = key
    op: str | None = None
    amount: int | None = None
    other: int | None = None
    undoes: str | None = None
    activity: str | None = None
    match fact:
        case Change():
            op, amount = fact.op.value, fact.amount
        case Activity():
            activity, amount = fact.activity, fact.quantity
        case Merged():
            other, amount = fact.other, fact.into
        case SplitOff():
            other = fact.other
        case Undo():
            undoes = fact.undoes
    stated_fields = json.dumps(dict(fact.fields), ensure_ascii=False, sort_keys=True) if fact.fields else "{}"
    return (
        workspace, contact, other, _KINDS.get(type(fact), "fields"), source, dedupe_key, subject, op, amount,
        stated_fields, undoes, fact.occurred_at, received_at, fact.batch, fact.actor, fact.reason, activity, named_id,
    )  # fmt: skip  # in the lines of _COLUMN_TYPES


_KINDS: Mapping[type[Fact], str] = {
    Change: "change", Activity: "activity", Merged: "merge", SplitOff: "merge", Undo: "undo", Deleted: "deleted",
}  # fmt: skip  # all other facts are "fields"; a split has the kind of a merge, and the subject SPLIT


def parse_fact(row: Row) -> Fact:
    """Build a fact from its row."""
    fields: dict[str, Json] = json.loads(row["said"])
    common = {name: row[name] for name in ("source", "occurred_at", "batch", "actor", "reason")}
    common |= {"key": row["dedupe_key"], "fields": fields}
    match row["kind"]:
        case "change":
            return Change(**common, score=row["subject"], op=Op(row["op"]), amount=row["amount"])
        case "activity":
            return Activity(**common, activity=row["activity"], quantity=row["amount"])
        case "merge" if row["subject"] == SPLIT:
            return SplitOff(**common, row=row["contact_id"], other=row["other_id"])
        case "merge":
            _, _, place = row["subject"].partition("/")
            return Merged(
                **common, row=row["contact_id"], other=row["other_id"], place=int(place or 1), into=row["amount"]
            )
        case "deleted":
            return Deleted(**common)
        case "undo":
            return Undo(**common, undoes=row["undoes"])
        case _:
            return FieldValue(**common)


def _make_key(row: Row) -> FactKey:
    return (row["workspace_id"], row["source"], row["dedupe_key"], row["subject"])


async def load_stored(session: Session, keys: Iterable[FactKey]) -> dict[FactKey, StoredFact]:
    """Return the stored facts with these keys. Keys without a fact are left out."""
    rows = await session.rows(
        "SELECT f.* FROM given(workspace bigint, source text, key text, subject text)"
        " JOIN facts f ON f.workspace_id = given.workspace AND f.source = given.source"
        " AND f.dedupe_key = given.key AND f.subject = given.subject",
        [
            {"workspace": workspace, "source": source, "key": key, "subject": subject}
            for workspace, source, key, subject in sorted(keys)
        ],
    )
    return {_make_key(row): (row["contact_id"], row["received_at"], parse_fact(row)) for row in rows}


async def load_named_ids(session: Session, keys: Iterable[FactKey]) -> dict[FactKey, str]:
    """Return the ids by which the facts with these keys identified their contacts, as `source:id`."""
    rows = await session.rows(
        "SELECT f.workspace_id, f.source, f.dedupe_key, f.subject, f.named_id"
        " FROM given(workspace bigint, source text, key text, subject text)"
        " JOIN facts f ON f.workspace_id = given.workspace AND f.source = given.source"
        " AND f.dedupe_key = given.key AND f.subject = given.subject WHERE f.named_id IS NOT NULL",
        [
            {"workspace": workspace, "source": source, "key": key, "subject": subject}
            for workspace, source, key, subject in sorted(keys)
        ],
    )
    return {_make_key(row): row["named_id"] for row in rows}


async def load_changes(session: Session, score_ids: Iterable[ScoreId]) -> dict[ScoreId, dict[int, Change]]:
    """Return all changes of these scores, undone or not, by id of the fact."""
    sorted_ids = sorted(set(score_ids))
    rows = await session.rows(
        "SELECT f.*, given.contact AS root FROM given(contact bigint, subject text)"
        " JOIN contacts m ON m.id = given.contact OR m.merged_into = given.contact"
        " JOIN facts f ON f.contact_id = m.id AND f.subject = given.subject WHERE f.kind = 'change'",
        [{"contact": contact, "subject": subject} for contact, subject in sorted_ids],
    )
    by_score: dict[ScoreId, dict[int, Change]] = {score_id: {} for score_id in sorted_ids}
    for row in rows:
        fact = parse_fact(row)
        assert isinstance(fact, Change)
        by_score[row["root"], row["subject"]][row["id"]] = fact
    return by_score


async def load_ledgers(session: Session, types: Mapping[ScoreId, ScoreType]) -> dict[ScoreId, dict[int, Fact]]:
    """Return all facts that affect these scores, undone or not, by id of the fact."""
    by_score: dict[ScoreId, dict[int, Fact]] = {
        score_id: dict(changes) for score_id, changes in (await load_changes(session, types)).items()
    }
    with_rules = sorted(score_id for score_id, score_type in types.items() if score_type.rules)
    if with_rules:
        with_all_facts = {id[0] for id in with_rules if compile_rules(types[id].rules).holds_from_first_fact}
        others = await _load_other_facts(session, {contact for contact, _ in with_rules}, with_all_facts=with_all_facts)
        for score_id in with_rules:
            score_type = types[score_id]
            by_score[score_id] |= {
                id: fact for id, fact in others[score_id[0]].items() if is_relevant_to(fact, score_type)
            }
    return by_score


async def _load_other_facts(
    session: Session, contacts: Collection[int], *, with_all_facts: Collection[int]
) -> dict[int, dict[int, Fact]]:
    """Return the activities of contacts and all facts that state fields, by id of the fact.

    For contacts in *with_all_facts*, changes of scores and facts without fields are included.
    """
    rows = await session.rows(
        "SELECT f.*, given.id AS root FROM given(id bigint, with_all_facts boolean)"
        " JOIN contacts m ON m.id = given.id OR m.merged_into = given.id"
        " JOIN facts f ON f.contact_id = m.id"
        " WHERE f.kind = 'activity' OR f.said <> '{}' OR (given.with_all_facts AND f.kind IN ('change', 'fields'))",
        [{"id": id, "with_all_facts": id in with_all_facts} for id in sorted(contacts)],
    )
    by_contact: dict[int, dict[int, Fact]] = {id: {} for id in contacts}
    for row in rows:
        by_contact[row["root"]][row["id"]] = parse_fact(row)
    return by_contact


async def list_activities_since(session: Session, instants: Mapping[int, int]) -> list[tuple[int, int, str]]:
    """Return the activities of contacts, undone or not: (contact, id of the fact, activity).

    *instants*: contact → the time from which on its activities are returned, in µs.
    """
    rows = await session.rows(
        "SELECT given.contact, f.id, f.activity FROM given(contact bigint, since bigint)"
        " JOIN contacts m ON m.id = given.contact OR m.merged_into = given.contact"
        " JOIN facts f ON f.contact_id = m.id AND f.subject = '' AND f.occurred_at >= given.since"
        " WHERE f.kind = 'activity'",
        [{"contact": contact, "since": at} for contact, at in sorted(instants.items())],
    )
    return [(row["contact"], row["id"], row["activity"]) for row in rows]


async def load_field_facts(session: Session, contacts: Collection[int]) -> dict[int, list[Fact]]:
    """Return all facts that state fields of these contacts, undone or not."""
    rows = await session.rows(
        "SELECT f.*, given.id AS root FROM given(id bigint)"
        " JOIN contacts m ON m.id = given.id OR m.merged_into = given.id"
        " JOIN facts f ON f.contact_id = m.id WHERE f.said <> '{}'",
        [{"id": id} for id in sorted(contacts)],
    )
    by_contact: dict[int, list[Fact]] = {id: [] for id in contacts}
    for row in rows:
        by_contact[row["root"]].append(parse_fact(row))
    return by_contact


async def load_row_field_facts(session: Session, rows: Collection[int]) -> dict[int, list[Fact]]:
    """Return all facts that state fields, by contact row. Facts of merged rows are not included."""
    fact_rows = await session.rows(
        "SELECT * FROM facts WHERE said <> '{}' AND contact_id IN (SELECT id FROM given(id bigint))",
        [{"id": row} for row in sorted(rows)],
    )
    by_row: dict[int, list[Fact]] = {}
    for fact_row in fact_rows:
        by_row.setdefault(fact_row["contact_id"], []).append(parse_fact(fact_row))
    return by_row


async def load_row_facts(session: Session, rows: Collection[int]) -> dict[int, list[RecordedFact]]:
    """Return all facts, by contact row. Facts of merged rows are not included."""
    fact_rows = await session.rows(
        "SELECT * FROM facts WHERE contact_id IN (SELECT id FROM given(id bigint))",
        [{"id": row} for row in sorted(rows)],
    )
    by_row: dict[int, list[RecordedFact]] = {row: [] for row in rows}
    for fact_row in fact_rows:
        row = fact_row["contact_id"]
        by_row[row].append(RecordedFact(row=row, received_at=fact_row["received_at"], fact=parse_fact(fact_row)))
    return by_row


async def load_latest_instant(session: Session, rows: Collection[int]) -> int:
    """Return the time of the latest fact of these contact rows, in µs; -1 if there is none."""
    (row,) = await session.rows(
        "SELECT max(occurred_at) AS at FROM facts WHERE contact_id IN (SELECT id FROM given(id bigint))",
        [{"id": row} for row in sorted(rows)],
    )
    return -1 if row["at"] is None else int(row["at"])


async def list_contacts_with_facts(session: Session, rows: Collection[int]) -> set[int]:
    """Return the contact rows among these that any fact refers to."""
    matches = await session.rows(
        "SELECT given.id FROM given(id bigint) WHERE EXISTS (SELECT 1 FROM facts f WHERE f.contact_id = given.id)"
        " OR EXISTS (SELECT 1 FROM facts f WHERE f.other_id = given.id)",
        [{"id": row} for row in sorted(rows)],
    )
    return {row["id"] for row in matches}


async def count_facts(session: Session, contacts: Collection[int]) -> dict[int, tuple[int, dict[str, int]]]:
    """Return the number of facts of contacts, without merges and splits: contact → (total, number by source)."""
    rows = await session.rows(
        "SELECT given.id, f.source, count(*) AS number FROM given(id bigint)"
        " JOIN contacts m ON m.id = given.id OR m.merged_into = given.id"
        " JOIN facts f ON f.contact_id = m.id AND f.kind <> 'merge' GROUP BY given.id, f.source",
        [{"id": id} for id in sorted(contacts)],
    )
    by_source: dict[int, dict[str, int]] = {id: {} for id in contacts}
    for row in rows:
        by_source[row["id"]][row["source"]] = row["number"]
    return {id: (sum(numbers.values()), numbers) for id, numbers in by_source.items()}


async def redact_facts(session: Session, rows: Collection[int], *, until: int) -> None:
    """Redact the facts of contact rows up to the time *until*, in µs. Their keys, times and batches remain."""
    await session.rows(
        "UPDATE facts SET kind = 'deleted', contact_id = NULL, other_id = NULL, op = NULL, amount = NULL, said = '{}',"
        " actor = NULL, reason = NULL, activity = NULL, named_id = NULL WHERE occurred_at <= $2"
        " AND (contact_id IN (SELECT id FROM given(id bigint)) OR other_id IN (SELECT id FROM given(id bigint)))",
        [{"id": row} for row in sorted(rows)],
        until,
    )


async def move_facts(session: Session, rows: Collection[int], named_ids: Collection[str], *, target: int) -> None:
    """Move facts from contact rows to the row *target*: the facts that identified their contact by a named id."""
    await session.rows(
        "UPDATE facts SET contact_id = $2 WHERE kind <> 'merge' AND contact_id IN (SELECT id FROM given(id bigint))"
        f" AND named_id IN ({', '.join(f'${number}' for number in range(3, len(named_ids) + 3))})",
        [{"id": row} for row in sorted(rows)],
        target,
        *sorted(named_ids),
    )
