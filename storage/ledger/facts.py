"""Insert facts into the ledger, deduplicated by a unique constraint, and load them.

Facts belong to contact rows. A contact that others were merged into is their *root*: where a function takes contacts,
the facts of the rows merged into them are included, unless its docstring says otherwise.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

from storage.db import database
from storage.db.database import Row, Session
from storage.domain.contacts import Json
from storage.domain.facts import (
    SPLIT,
    Activity,
    Change,
    Deleted,
    Fact,
    FieldValue,
    Merged,
    Op,
    SplitOff,
    Undo,
    resolve_merges,
    undone_batches,
)
from storage.domain.fold import is_relevant_to
from storage.domain.past_contacts import RecordedFact
from storage.domain.people import Workspace
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

_IS_SPLIT = f"f.subject = '{SPLIT}' AND f.kind = 'merge'"


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


async def load_links(session: Session, workspace: int, rows: Collection[int]) -> list[tuple[int, int, int | None]]:
    """Return the links in force between these contact rows and others: (row, other row, row merged into).

    Linked rows are one contact. A merge links its rows unless it is undone; a split links its rows only if it is
    undone. The links are in the order of their facts.
    """
    links = await session.rows(
        "SELECT contact_id, other_id, amount, subject, batch FROM facts WHERE kind = 'merge'"
        " AND contact_id IN (SELECT id FROM given(id bigint))"
        ' ORDER BY occurred_at, source COLLATE "C", dedupe_key COLLATE "C", id',
        [{"id": id} for id in sorted(rows)],
    )
    undone = await load_undone_batches(session, workspace, {row["batch"] for row in links})
    return [
        (row["contact_id"], row["other_id"], row["amount"])
        for row in links
        if (row["batch"] in undone) == (row["subject"] == SPLIT)
    ]


async def load_linked_rows(session: Session, contacts: Collection[int]) -> dict[int, list[int]]:
    """Return, for each contact, its own row and all rows that merges or splits, undone or not, connect it with.

    Rows that were connected only through a deleted row are left out: a deletion redacts its merges and splits.
    """
    rows, links = set(contacts), set[tuple[int, int]]()
    unread = rows
    while unread:
        link_rows = await session.rows(
            "SELECT contact_id, other_id FROM facts WHERE kind = 'merge'"
            " AND contact_id IN (SELECT id FROM given(id bigint))"
            " UNION SELECT contact_id, other_id FROM facts WHERE kind = 'merge'"
            " AND other_id IN (SELECT id FROM given(id bigint))",
            [{"id": row} for row in sorted(unread)],
        )
        links |= {(row["contact_id"], row["other_id"]) for row in link_rows}
        unread = {row for link in links for row in link} - rows
        rows |= unread
    root = resolve_merges(rows, links)
    return {contact: sorted(row for row in rows if root[row] == root[contact]) for contact in contacts}


async def load_splits(session: Session, contacts: Collection[int]) -> set[frozenset[int]]:
    """Return pairs of contacts that splits separated: one of *contacts*, and a contact that an id of it was split to.

    If the id was split again from the second contact, there is a further pair with the first contact and the contact
    that the id moved to next. A pair is a set with a single contact if its rows are one contact again, because the
    split was undone or the contacts were merged.
    """
    members = await session.rows(
        "SELECT c.id, given.id AS root FROM given(id bigint) JOIN contacts c ON c.id = given.id"
        f" OR c.merged_into = given.id WHERE EXISTS (SELECT 1 FROM facts f WHERE {_IS_SPLIT} AND f.contact_id = c.id)",
        [{"id": id} for id in sorted(contacts)],
    )
    pairs: set[frozenset[int]] = set()
    unread = [{"root": row["root"], "row": row["id"], "id": None} for row in members]
    while unread:
        rows = await session.rows(
            "SELECT given.root, f.other_id AS row, f.named_id AS id, coalesce(o.merged_into, o.id) AS other"
            " FROM given(root bigint, row bigint, id text)"
            f" JOIN facts f ON f.contact_id = given.row AND {_IS_SPLIT} AND coalesce(given.id, f.named_id) = f.named_id"
            " JOIN contacts o ON o.id = f.other_id",
            unread,
        )
        pairs |= {frozenset((row["root"], row["other"])) for row in rows}
        unread = [{"root": row["root"], "row": row["row"], "id": row["id"]} for row in rows]
    return pairs


async def move_facts(session: Session, rows: Collection[int], named_ids: Collection[str], *, target: int) -> None:
    """Move facts from contact rows to the row *target*: the facts that identified their contact by a named id."""
    await session.rows(
        "UPDATE facts SET contact_id = $2 WHERE kind <> 'merge' AND contact_id IN (SELECT id FROM given(id bigint))"
        f" AND named_id IN ({', '.join(f'${number}' for number in range(3, len(named_ids) + 3))})",
        [{"id": row} for row in sorted(rows)],
        target,
        *sorted(named_ids),
    )


async def load_undone_batches(session: Session, workspace: int, batches: Iterable[str]) -> frozenset[str]:
    """Return the batches among these that are undone. An undo that is itself undone does not count."""
    requested = frozenset(batches)
    return undone_batches(await load_undos(session, workspace, requested)) & requested


async def load_undos(session: Session, workspace: int, batches: Iterable[str]) -> list[Undo]:
    """Return the undos of these batches, the undos of those undos, and so on."""
    undos: dict[str, Undo] = {}
    unread = set(batches)
    checked: set[str] = set()
    while unread:
        rows = await session.rows(
            "SELECT * FROM facts WHERE workspace_id = $2 AND undoes IN (SELECT batch FROM given(batch text))",
            [{"batch": batch} for batch in sorted(unread)],
            workspace,
        )
        checked |= unread
        fetched = [fact for fact in map(parse_fact, rows) if isinstance(fact, Undo)]
        undos |= {undo.key: undo for undo in fetched}
        unread = {undo.batch for undo in fetched} - checked
    return list(undos.values())


async def find_undo_in_force(workspace: Workspace, *, batch: str) -> str | None:
    """Return the batch of the undo that is in force for *batch*, or None if the batch is not undone."""
    reader = database.current_database().reader
    if not await load_undone_batches(reader, workspace.id, [batch]):
        return None
    # An undone undo cannot be undone again, so the last undo of the batch is the one in force.
    rows = await reader.rows(
        "SELECT batch FROM facts WHERE workspace_id = $1 AND undoes = $2 ORDER BY id DESC LIMIT 1", workspace.id, batch
    )
    return str(rows[0]["batch"])


async def resolve_undo(session: Session, workspace: int, batch: str) -> tuple[str, bool] | None:
    """Return what an undo of *batch* would affect: (the batch of the facts, whether they are restored).

    If *batch* is an undo, this is the batch that it undoes, and so on. Only a batch in force can be undone, so every
    second undo restores the facts. Returns None if a batch has no facts.
    """
    restores = False
    while rows := await session.rows(
        "SELECT kind, undoes FROM facts WHERE workspace_id = $1 AND batch = $2 AND actor IS NOT NULL LIMIT 1",
        workspace,
        batch,
    ):
        if rows[0]["kind"] != "undo":
            return batch, restores
        batch, restores = str(rows[0]["undoes"]), not restores
    return None


async def find_gone_contacts(session: Session, workspace: int, contacts: Collection[int]) -> set[int]:
    """Return the contacts among these that are gone: they have changes, activities or field values, all undone."""
    rows = await session.rows(
        "SELECT DISTINCT given.id, f.batch FROM given(id bigint)"
        " JOIN contacts m ON m.id = given.id OR m.merged_into = given.id"
        " JOIN facts f ON f.contact_id = m.id AND f.kind IN ('change', 'activity', 'fields')",
        [{"id": id} for id in sorted(contacts)],
    )
    undone = await load_undone_batches(session, workspace, {row["batch"] for row in rows})
    return {row["id"] for row in rows} - {row["id"] for row in rows if row["batch"] not in undone}


async def is_recorded(workspace: Workspace, *, batch: str) -> bool:
    """Return whether the ledger has a person's batch."""
    return bool(await list_batch_facts(database.current_database().reader, workspace.id, batch))


async def count_contacts(session: Session, workspace: int, batch: str, *, most: int) -> int:
    """Return the number of contacts that a person's batch affects, at most *most*."""
    (row,) = await session.rows(
        "SELECT count(*) AS number FROM (SELECT DISTINCT contact_id FROM facts"
        " WHERE workspace_id = $1 AND batch = $2 AND actor IS NOT NULL LIMIT $3) AS few",
        workspace,
        batch,
        most,
    )
    return int(row["number"])


async def list_batch_facts(
    session: Session, workspace: int, batch: str, *, contacts: Collection[int] = ()
) -> Sequence[Row]:
    """Return the facts of a person's batch, all or only those of the rows *contacts*, in the order of their row ids.

    The rows have contact_id, other_id, subject, kind, actor, undoes, reason, activity and said (the fields as JSON).
    """
    columns = "f.contact_id, f.other_id, f.subject, f.kind, f.actor, f.undoes, f.reason, f.activity, f.said"
    if contacts:
        rows = await session.rows(
            # Look facts up by contact: the index on batches covers only facts with an actor, and the batch may be huge.
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


async def list_batch_keys(
    session: Session, workspace: int, batch: str, contacts: Iterable[int]
) -> list[tuple[int, str]]:
    """Return (contact, dedupe key) of the facts of a batch about these contacts."""
    rows = await session.rows(
        # Look facts up by contact: the index on batches covers only facts with an actor, and the batch may be huge.
        "SELECT given.contact, f.dedupe_key FROM given(contact bigint)"
        " JOIN contacts m ON m.id = given.contact OR m.merged_into = given.contact JOIN facts f ON f.contact_id = m.id"
        " WHERE f.workspace_id = $2 AND f.batch = $3",
        [{"contact": contact} for contact in sorted(set(contacts))],
        workspace,
        batch,
    )
    return [(row["contact"], row["dedupe_key"]) for row in rows]


async def load_batch_origin(workspace: Workspace, *, batch: str) -> tuple[str, int] | None:
    """Return the author of a person's batch, and when it was received (µs); None if there is no such batch."""
    rows = await database.read(
        "SELECT actor, received_at FROM facts WHERE workspace_id = $1 AND batch = $2 AND actor IS NOT NULL"
        " ORDER BY id DESC LIMIT 1",
        workspace.id,
        batch,
    )
    return (str(rows[0]["actor"]), int(rows[0]["received_at"])) if rows else None


async def load_batch_subjects(workspace: Workspace, *, batch: str) -> list[tuple[int, str]]:
    """Return (contact, subject) of the facts of a person's batch, at most three.

    The subject is a score type, a merge or split, or blank for activities and fields.
    """
    rows = await database.read(
        "SELECT DISTINCT coalesce(c.merged_into, c.id) AS contact, f.subject FROM facts f"
        " JOIN contacts c ON c.id = f.contact_id WHERE f.workspace_id = $1 AND f.batch = $2 AND f.actor IS NOT NULL"
        " ORDER BY contact, f.subject LIMIT 3",
        workspace.id,
        batch,
    )
    return [(row["contact"], row["subject"]) for row in rows]


async def find_last_command(workspace: Workspace, *, actor: str) -> str | None:
    """Return a person's last batch that is not undone, or None if all of the person's last 100 facts are undone."""
    rows = await database.read(
        "SELECT batch, max(id) AS latest FROM (SELECT batch, id FROM facts"
        " WHERE workspace_id = $1 AND actor = $2 AND kind <> 'undo' ORDER BY id DESC LIMIT $3) AS recent"
        " GROUP BY batch ORDER BY latest DESC",
        workspace.id,
        actor,
        100,
    )
    undone = await load_undone_batches(database.current_database().reader, workspace.id, [row["batch"] for row in rows])
    return next((row["batch"] for row in rows if row["batch"] not in undone), None)
