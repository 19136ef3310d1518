"""Write everything that scores are made of as JSON Lines, and read it into an empty workspace.

The file has the score types with their rules, the contacts with their addresses and ids, merged ones too, and every
fact: changes, activities, fields, merges, splits and undos. Scores and effects are not in it: they are calculated from
the facts, and must come out as in the first workspace. Numbers stand for row ids, which differ in another database.
Not in it: sources, alert rules, follow-ups, segments, and what keeps deleted contacts deleted.
"""

import json
from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from storage.alerts.rules import load_rules
from storage.audit import AuditAction, record_change
from storage.db import database, models
from storage.db.database import Row, Session
from storage.db.errors import is_row_error
from storage.db.snapshot import ReadRows, open_snapshot
from storage.domain.contacts import TEXT_FIELDS, contact_keys
from storage.domain.errors import Refusal
from storage.domain.facts import SPLIT
from storage.domain.people import Workspace
from storage.ledger import contact_fields, contacts
from storage.ledger.contacts import DELETED_CONTACT
from storage.ledger.verify import compare_contacts
from storage.ledger.words import save_words
from storage.scoring.definitions import live
from storage.scoring.draft_jobs import restart_enrollment
from storage.scoring.draft_scores import fold_contacts

FORMAT = "ledger/1"
HEADER = "contact_score"  #: the key of the first line
PAGE = 500
LONGEST_LINE = 10_000_000  #: characters
_TYPE_ACTIONS = (
    AuditAction.TYPE_ADDED, AuditAction.TYPE_CHANGED, AuditAction.TYPE_REMOVED, AuditAction.DEFAULT_TYPE_SET,
)  # fmt: skip  # names
_DEFINITION = (
    "number", "label", "minimum", "maximum", "step", "start", "bands", "half_life", "rules", "applied_by", "applied_at",
    "created_at",
)  # fmt: skip  # names
_CONTACT = (
    "first_email",
    *TEXT_FIELDS,
    "tags",
    "attributes",
    "stamps",
    "split_at",
    "is_gone",
    "created_at",
    "updated_at",
)
_FACT = (
    "kind", "source", "dedupe_key", "subject", "op", "said", "undoes", "occurred_at", "received_at", "batch", "actor",
    "reason", "activity", "named_id",
)  # fmt: skip  # names
_JSON = ("bands", "rules", "tags", "attributes", "stamps", "said", "before", "after")  # columns of texts that are JSON
_TYPES = {"number": "bigint", "is_gone": "boolean"} | dict.fromkeys(
    ("minimum", "maximum", "step", "start", "half_life", "applied_at", "created_at", "updated_at", "split_at",
     "occurred_at", "received_at"), "bigint",
)  # fmt: skip  # columns that are not text


class BadLedgerFile(Refusal):
    """That file is not a whole ledger of Contact Score."""


class WorkspaceNotEmpty(Refusal):
    """The workspace has contacts already: import a ledger into an empty one, see `contact-score workspace add`."""


def is_ledger_file(path: Path) -> bool:
    """Return whether a file begins like a ledger."""
    with path.open("rb") as file:
        return file.readline(1024).lstrip().startswith(f'{{"{HEADER}"'.encode())


async def ledger_lines(workspace: Workspace, *, by: str, now: int) -> AsyncIterator[str]:
    """Yield the lines of a workspace's ledger, as it was at one instant. The export is recorded first."""
    await database.write(
        partial(
            record_change, workspace=workspace, who=by, what=AuditAction.EXPORTED, subject="whole ledger", before=None,
            after={}, now=now,
        )
    )  # fmt: skip  # who and what, then the states
    async with open_snapshot(database.current_database()) as read_rows:
        (row,) = await read_rows("SELECT default_type FROM workspaces WHERE id = $1", workspace.id)
        if await read_rows("SELECT id FROM pending_refolds WHERE workspace_id = $1 LIMIT 1", workspace.id):
            raise Refusal("a large undo is being applied: export again in a minute")
        yield _dump({HEADER: FORMAT, "default_type": row["default_type"]})
        async for line in _type_lines(workspace, read_rows):
            yield line
        numbers = array("q")  # the ids of the contacts so far, ascending: a contact's number is its place, from 1
        async for line in _contact_lines(workspace, read_rows, numbers):
            yield line
        count = 0
        async for line in _fact_lines(workspace, read_rows, numbers):
            count += 1
            yield line
        yield _dump({"end": {"contacts": len(numbers), "facts": count}})


async def _type_lines(workspace: Workspace, read_rows: ReadRows) -> AsyncIterator[str]:
    types = await read_rows("SELECT * FROM score_types WHERE workspace_id = $1 ORDER BY id", workspace.id)
    for score_type in types:
        rows = await read_rows(
            f"SELECT {', '.join(_DEFINITION)} FROM definitions"
            " WHERE score_type_id = $1 AND NOT is_draft ORDER BY number",
            score_type["id"],
        )
        definitions = [_parse(row) for row in rows]
        yield _dump({"type": {**_pick(score_type, ("key", "live", "created_at")), "definitions": definitions}})
    for entry in await read_rows(
        "SELECT at, who, what, subject, before, after FROM audit_entries WHERE workspace_id = $1"
        f" AND what IN ({', '.join(repr(action.value) for action in _TYPE_ACTIONS)}) ORDER BY id",
        workspace.id,
    ):
        yield _dump({"change": _parse(entry)})


async def _contact_lines(workspace: Workspace, read_rows: ReadRows, numbers: "array[int]") -> AsyncIterator[str]:
    columns = ", ".join(("id", "merged_into", *_CONTACT))
    last = 0
    while rows := await read_rows(
        f"SELECT {columns} FROM contacts WHERE workspace_id = $1 AND id > $2"
        f" AND (merged_into IS NULL OR merged_into <> {DELETED_CONTACT}) ORDER BY id LIMIT {PAGE}",
        workspace.id,
        last,
    ):
        numbers.extend(row["id"] for row in rows)
        for row in rows:
            document = _parse(_pick(row, _CONTACT)) | {"is_gone": bool(row["is_gone"])}
            into = row["merged_into"] and _number(numbers, row["merged_into"])
            yield _dump({"contact": {**document, "merged_into": into}})
        last = rows[-1]["id"]
    last = 0  # the addresses and ids of all contacts, in their order: of several ids of a source, the first is shown
    while rows := await read_rows(
        "SELECT id, contact_id, namespace, value FROM identities WHERE workspace_id = $1 AND id > $2"
        f" ORDER BY id LIMIT {PAGE}",
        workspace.id,
        last,
    ):
        for row in rows:
            contact = _number(numbers, row["contact_id"])
            yield _dump({"identity": {"contact": contact, **_pick(row, ("namespace", "value"))}})
        last = rows[-1]["id"]


async def _fact_lines(workspace: Workspace, read_rows: ReadRows, numbers: "array[int]") -> AsyncIterator[str]:
    columns = ", ".join(("id", "contact_id", "other_id", "amount", *_FACT))
    last = 0
    while rows := await read_rows(
        f"SELECT {columns} FROM facts WHERE workspace_id = $1 AND id > $2 ORDER BY id LIMIT {PAGE}", workspace.id, last
    ):
        for row in rows:
            links = {name: row[f"{name}_id"] and _number(numbers, row[f"{name}_id"]) for name in ("contact", "other")}
            amount = row["amount"]
            if row["kind"] == "merge" and row["subject"] != SPLIT and amount is not None:
                amount = _number(numbers, amount)  # the contact that survives
            yield _dump({"fact": {**links, "amount": amount, **_parse(_pick(row, _FACT))}})
        last = rows[-1]["id"]


def _number(numbers: "array[int]", id: int) -> int | None:
    """Return the number of a contact, or None if it was deleted."""
    place = bisect_left(numbers, id)
    return place + 1 if place < len(numbers) and numbers[place] == id else None


def _pick(row: Row, names: Sequence[str]) -> Row:
    return {name: row[name] for name in names}


def _parse(row: Row) -> Row:
    """Return a row with the JSON of its texts parsed."""
    return {name: json.loads(value) if name in _JSON and value is not None else value for name, value in row.items()}


def _dump(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False) + "\n"


async def import_ledger(
    workspace: Workspace, *, path: Path, progress: Callable[[int], None], by: str, now: int
) -> tuple[int, int]:
    """Read a ledger into an empty workspace, in one transaction. Return the numbers of contacts and of facts.

    All scores are calculated and verified. *progress* is called with the number of bytes read. Raises
    WorkspaceNotEmpty, and BadLedgerFile if the file is incomplete or contradicts itself; nothing is imported then.
    """

    async def body(session: Session) -> tuple[int, int]:
        for model in (models.Contact, models.Fact):
            if await session.load(model.filter(workspace_id=workspace.id).limit(1), "id"):
                raise WorkspaceNotEmpty
        with path.open(encoding="utf-8") as file:
            reader = _Reader(file, progress)
            await _insert_types(session, workspace, reader, now=now)
            ids = await _insert_contacts(session, workspace, reader)
            count = await _insert_facts(session, workspace, reader, ids)
            reader.check_end(contacts=len(ids), facts=count)
        await record_change(
            session, workspace, who=by, what=AuditAction.IMPORT_BEGUN, subject=path.name, before=None,
            after={"contacts": len(ids), "facts": count}, now=now,
        )  # fmt: skip  # who and what, then the states
        await _fold_all(session, workspace, ids)
        rules = (await load_rules(session, [workspace.id])).get(workspace.id, [])
        await restart_enrollment(session, workspace, [rule.id for rule in rules], now=now)
        return len(ids), count

    try:
        return await database.write(body)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as exc:
        raise BadLedgerFile from exc
    except Exception as exc:
        if is_row_error(exc):
            raise BadLedgerFile from exc
        raise


class _Reader:
    """Read the lines of a ledger, one kind after the other."""

    def __init__(self, file: TextIO, progress: Callable[[int], None]) -> None:
        self._file, self._progress = file, progress
        self._next: dict[str, Any] | None = None
        self._done = 0

    def read(self, kind: str) -> Iterator[dict[str, Any]]:
        """Yield the documents of the next lines that are of a kind."""
        while True:
            if self._next is None:
                line = self._file.readline(LONGEST_LINE)
                if not line:
                    raise BadLedgerFile("the file ends too early: export it again")
                self._done += len(line)
                self._progress(self._done)
                self._next = json.loads(line)
            if kind not in self._next:
                return
            document, self._next = self._next, None
            yield document if kind == HEADER else document[kind]

    def check_end(self, *, contacts: int, facts: int) -> None:
        """Raise BadLedgerFile unless the file ends here, and has these numbers of contacts and facts."""
        end = next(self.read("end"), None)
        if end != {"contacts": contacts, "facts": facts} or self._file.read(1):
            raise BadLedgerFile("the file does not have as many contacts and facts as it says: export it again")


def _write(row: Mapping[str, Any], names: Sequence[str]) -> Row:
    """Return the columns of a document, with JSON as text, as the tables have it."""
    return {
        name: json.dumps(row[name], ensure_ascii=False, sort_keys=name in ("attributes", "said"))
        if name in _JSON
        else row[name]
        for name in names
    }


def _given(names: Sequence[str], **more: str) -> str:
    columns = {**{name: _TYPES.get(name, "text") for name in names}, **more}
    return f"given({', '.join(f'{name} {kind}' for name, kind in columns.items())})"


async def _insert_types(session: Session, workspace: Workspace, reader: _Reader, *, now: int) -> None:
    """Replace the score types of the workspace, which no contact uses, by those of the file."""
    header = next(reader.read(HEADER), None)
    if header is None or header[HEADER] != FORMAT:
        raise BadLedgerFile("the file is of another version of Contact Score")
    types = list(reader.read("type"))
    if header["default_type"] not in [score_type["key"] for score_type in types]:
        raise BadLedgerFile
    await session.rows(
        "DELETE FROM definitions WHERE score_type_id IN (SELECT id FROM score_types WHERE workspace_id = $1)",
        workspace.id,
    )
    await session.delete(models.ScoreType.filter(workspace_id=workspace.id))
    await session.update(models.Workspace.filter(id=workspace.id), default_type=str(header["default_type"]))
    for score_type in types:
        (row,) = await session.rows(
            "INSERT INTO score_types (workspace_id, key, live, created_at) VALUES ($1, $2, $3, $4) RETURNING id",
            workspace.id,
            score_type["key"],
            score_type["live"],
            score_type["created_at"],
        )
        await session.rows(
            f"INSERT INTO definitions (score_type_id, is_draft, {', '.join(_DEFINITION)})"
            f" SELECT $2, false, {', '.join(_DEFINITION)} FROM {_given(_DEFINITION)} ORDER BY number",
            [_write(definition, _DEFINITION) for definition in score_type["definitions"]],
            row["id"],
        )
    for change in reader.read("change"):
        states = [None if change[name] is None else _write(change, [name])[name] for name in ("before", "after")]
        await session.rows(
            "INSERT INTO audit_entries (workspace_id, at, who, what, subject, before, after)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)",
            workspace.id,
            change["at"],
            change["who"],
            AuditAction(change["what"]).value,
            change["subject"],
            *states,
        )


async def _insert_contacts(session: Session, workspace: Workspace, reader: _Reader) -> "array[int]":
    """Insert the contacts of the file, and return their ids by number, from 1."""
    ids = array("q")
    keys = (*(f"{name}_key" for name in TEXT_FIELDS), "tags_key")
    documents = reader.read("contact")
    while batch := list(islice(documents, PAGE)):
        new = await database.current_database().next_ids(session, "contacts", len(batch))
        ids.extend(new)
        rows = [
            {
                "id": id,
                "merged_into": document["merged_into"] and ids[document["merged_into"] - 1],
                **_write(document, _CONTACT),
                **contact_keys(document),
            }
            for id, document in zip(new, batch, strict=True)
        ]
        columns = ", ".join(("id", "merged_into", *_CONTACT, *keys))
        row_set = _given((*_CONTACT, *keys), id="bigint", merged_into="bigint")
        await session.rows(
            f"INSERT INTO contacts (workspace_id, {columns}) SELECT $2, {columns} FROM {row_set} ORDER BY id",
            rows,
            workspace.id,
        )
        attributes = {id: document["attributes"] for id, document in zip(new, batch, strict=True)}
        await contact_fields.write_attribute_values(session, {}, attributes)
    names = reader.read("identity")
    while batch := list(islice(names, PAGE)):
        await session.rows(
            "INSERT INTO identities (workspace_id, contact_id, namespace, value) SELECT $2, id, namespace, value"
            " FROM given(position bigint, id bigint, namespace text, value text) ORDER BY position",
            [
                {**document, "position": position, "id": ids[document["contact"] - 1]}
                for position, document in enumerate(batch)
            ],
            workspace.id,
        )
    return ids


async def _insert_facts(session: Session, workspace: Workspace, reader: _Reader, ids: "array[int]") -> int:
    count = 0
    documents = reader.read("fact")
    columns = ", ".join(("contact_id", "other_id", "amount", *_FACT))
    row_set = _given(_FACT, position="bigint", contact_id="bigint", other_id="bigint", amount="bigint")
    while batch := list(islice(documents, PAGE)):
        rows = []
        for position, document in enumerate(batch):
            amount = document["amount"]
            if document["kind"] == "merge" and document["subject"] != SPLIT and amount is not None:
                amount = ids[amount - 1]
            links = {f"{name}_id": document[name] and ids[document[name] - 1] for name in ("contact", "other")}
            rows.append({"position": position, **links, "amount": amount, **_write(document, _FACT)})
        await session.rows(
            f"INSERT INTO facts (workspace_id, {columns}) SELECT $2, {columns} FROM {row_set} ORDER BY position",
            rows,
            workspace.id,
        )
        count += len(batch)
    return count


async def _fold_all(session: Session, workspace: Workspace, ids: "array[int]") -> None:
    """Calculate the scores of all contacts, and compare everything that is derived with the facts."""
    types = (await live(session, {workspace.id}))[workspace.id].values()
    for start in range(0, len(ids), PAGE):
        roots = await contacts.load_roots(session, ids[start : start + PAGE])
        whole = sorted(id for id, root in roots.items() if id == root)
        for score_type in types:
            await fold_contacts(session, workspace, score_type, whole)
        await save_words(session, ids[start : start + PAGE])
        _, differences = await compare_contacts(session, workspace, whole)
        if differences:
            what = differences[0]
            raise BadLedgerFile(
                f"the file contradicts itself: {what.what} of contact {bisect_left(ids, what.contact) + 1} is"
                f" {what.kept or 'missing'} in it, and {what.folded or 'missing'} by its facts"
            )
