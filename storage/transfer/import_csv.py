"""Take contacts and scores from a CSV file: chunk by chunk, so that it can be large, stopped and begun again."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from storage.db import database
from storage.domain.contacts import (
    ATTRIBUTE,
    FIELDS,
    ID,
    MOST_ATTRIBUTES,
    SLUG,
    Contact,
    Json,
    Reference,
    address_key,
    looks_like_address,
)
from storage.domain.csv_cells import guard_formula, join_tags, read_cell, split_tags, write_cell
from storage.domain.errors import NothingToUndo, Refusal, TwoContacts
from storage.domain.facts import Item, Op
from storage.domain.numbers import parse
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Moved, Recorded, Status, Submission
from storage.ledger import contacts, projection
from storage.ledger.committer import Committer
from storage.ledger.contacts import Identity
from storage.ledger.facts import keys_of_batch, undo_in_force
from storage.ledger.refold_job import fold_pending
from storage.scoring.definitions import score_types
from storage.transfer.csv_files import NOTES, BadFile, CsvFile, Row

SOURCE = "import"
CHUNK = 500
FIRST = 10  # of those who come into a top band
MOST_CHARACTERS, MOST_IN_ATTRIBUTE, MOST_IN_TAG, MOST_TAGS = 255, 10_000, 100, 100
MOST_COLUMNS = 16_384  # the columns of a sheet in a spreadsheet program
MOST_NAMED = 20  # of the columns that a message lists
_ATTRIBUTE = re.compile(r"attributes\..{1,100}", re.DOTALL)
#: What a column is called beside the field's own name.
_ALSO = {"e-mail": "email", "e-mail address": "email", "email address": "email"}


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What the columns of a file are, by their place; *unused* names those that are nothing of ours."""

    header: tuple[str, ...]
    fields: Mapping[int, str]  #: a field of the contact, or `attributes.…`
    scores: Mapping[int, ScoreType]
    ids: Mapping[int, str]  #: the source whose ids they are
    email: int | None
    unused: tuple[str, ...] = ()

    @cached_property
    def signature(self) -> str:
        """Tell one choice of columns from another: what a row says of its contact hangs on it."""
        return hashlib.sha256(repr(sorted(self.fields.items())).encode()).hexdigest()[:8]


@dataclass(slots=True)
class Movement:
    """What an import does to the scores of one type; *first* are those who come into its top band, in thousandths."""

    score_type: ScoreType
    changed: int = 0
    entering: int = 0
    leaving: int = 0
    first: list[tuple[str, int | None, int | None]] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What became of the rows of an import."""

    new: int = 0
    changed: int = 0
    same: int = 0
    wrong: int = 0
    unasked: int = 0  #: follow-ups that were not asked for, because nobody wants them of an import
    restored: bool = False  #: it had been taken back, and is in force again
    unused: tuple[str, ...] = ()  #: columns
    scores: dict[str, Movement] = field(default_factory=dict)  #: by the type's key


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoneImport:
    """What the undo of an import changed."""

    scores: int
    contacts: int


async def undo_import(
    workspace: Workspace,
    *,
    file: CsvFile,
    committer: Committer,
    progress: Callable[[int, int], None] = lambda _, __: None,
    clock: Callable[[], int],
) -> UndoneImport:
    """Undo the import of a file, and fold the scores in a job of this process.

    *progress* is told how many contacts of how many are folded. Raises NothingToUndo.
    """
    if await undo_in_force(workspace, batch=batch_of(file)) is not None:
        raise NothingToUndo(f"the import of {file.path.name} was taken back already")
    now = clock()
    undo = _build_undo(workspace, batch_of(file), defers=True, now=now)
    try:
        recorded = await committer.record(undo, now=now)
    except NothingToUndo as exc:
        raise NothingToUndo(f"nothing was imported from {file.path.name}, as it is now") from exc
    scores, folded = len(recorded.moved), 0

    def count(slice: Recorded) -> None:
        nonlocal scores, folded
        scores += len(slice.moved)
        folded += len(slice.undone)
        progress(folded, recorded.pending)

    if recorded.pending:
        await fold_pending(workspace, undo=undo.batch, committer=committer, on_slice=count, clock=clock)
    return UndoneImport(scores=scores, contacts=len(recorded.undone) or recorded.pending)


async def import_file(
    workspace: Workspace,
    *,
    file: CsvFile,
    mapping: Mapping[str, str],
    committer: Committer,
    progress: Callable[[int], None],
    wrong: Callable[[Row, str], None],
    dry_run: bool = False,
    now: int,
) -> Report:
    """Import a file, or with *dry_run* do the same and keep nothing of it; raises BadFile.

    A blank cell changes nothing, and neither does one that says what is known already.
    Every fact is keyed by the file's digest, its line and column, so that the same file again goes on where it stopped.
    A dry run forgets each chunk before the next one: who stands in two of them is counted in both.
    *progress* is told the bytes done so far, *wrong* every row that cannot be taken, and why.
    """
    columns = match_columns(file.header, await score_types(workspace), mapping=mapping)
    _check_attributes(file, columns)
    key = file.digest[:16]
    report, offset, rows = Report(unused=columns.unused), 0, file.rows()
    undo = await undo_in_force(workspace, batch=batch_of(file))
    if undo is not None:
        report.restored = True
        restoring = _build_undo(workspace, undo, defers=not dry_run, now=now)
        await _record_and_report(restoring, report, committer=committer, dry_run=dry_run, now=now)
    while chunk := list(islice(rows, CHUNK)):
        import_rows = [_parse_row(row, columns) for row in chunk]
        valid_rows = [import_row for import_row in import_rows if not import_row.complaints]
        people = await _load_people(workspace, valid_rows, columns, batch=batch_of(file), now=now)
        for import_row in import_rows:
            if not import_row.complaints:
                _compare_row(import_row, people, workspace, key=f"{key}/{import_row.row.line}", columns=columns)
        items = [item for import_row in import_rows for item in import_row.items]
        if items:
            # Later rows are later facts, whatever their place in their chunk.
            submission = Submission(
                workspace=workspace, source=SOURCE, batch=batch_of(file), received_at=now + offset, items=items,
                actor=SOURCE, muted=True,
            )  # fmt: skip  # whose, when and what
            recorded = await _record_and_report(submission, report, committer=committer, dry_run=dry_run, now=now)
            _apply_outcomes(import_rows, recorded)
        offset += len(items)
        _count_rows(report, import_rows, wrong)
        progress(chunk[-1].end)
    return report


def batch_of(file: CsvFile) -> str:
    """Name the import of a file, for its undo."""
    return f"{SOURCE}/{file.digest[:16]}"


def _build_undo(workspace: Workspace, batch: str, *, defers: bool, now: int) -> Submission:
    """Return the submission that undoes the import with this batch, or an undo of it."""
    return Submission(
        workspace=workspace, source=SOURCE, batch=f"{SOURCE}/undo/{now}", received_at=now, actor=SOURCE,
        all_or_none=True, undoes=batch, muted=True, defers=defers,
    )  # fmt: skip  # whose, when and what


async def _record_and_report(
    submission: Submission, report: Report, *, committer: Committer, dry_run: bool, now: int
) -> Recorded:
    """Record a submission, or rehearse it, and report what it does to the scores."""

    async def load_entering(session: database.Session, recorded: Recorded) -> tuple[Recorded, dict[int, Contact]]:
        ids = [move.contact for move in recorded.moved if _is_entering(move)][:FIRST]
        return recorded, {
            contact.id: contact for contact in await contacts.load_contacts(session, submission.workspace, ids=ids)
        }

    if dry_run:
        recorded, contacts_by_id = await committer.rehearse(submission, look=load_entering, now=now)
        _report_moves(report, recorded, contacts_by_id)
        return recorded
    recorded = await committer.record(submission, now=now)
    slices = [recorded]
    if recorded.pending:
        await fold_pending(
            submission.workspace, undo=submission.batch, committer=committer, on_slice=slices.append, clock=lambda: now
        )
    for moved in slices:
        _report_moves(report, *await load_entering(database.current_database().reader, moved))
    return recorded


def _report_moves(report: Report, recorded: Recorded, contacts_by_id: Mapping[int, Contact]) -> None:
    report.unasked += recorded.unasked
    for move in recorded.moved:
        movement = report.scores.setdefault(move.score_type.key, Movement(move.score_type))
        movement.changed += move.before != move.after
        movement.leaving += move.score_type.is_top(move.before) and not move.score_type.is_top(move.after)
        movement.entering += _is_entering(move)
        if move.contact in contacts_by_id and _is_entering(move) and len(movement.first) < FIRST:
            movement.first.append((contacts_by_id[move.contact].shown, move.before, move.after))


def _is_entering(moved: Moved) -> bool:
    return moved.score_type.is_top(moved.after) and not moved.score_type.is_top(moved.before)


def _check_attributes(file: CsvFile, columns: Columns) -> None:
    """Raise BadFile for the first row with more attributes than a contact may have.

    The columns alone do not tell: an export has a column for every attribute that any contact has.
    """
    indexes = [index for index, target in columns.fields.items() if target.startswith(ATTRIBUTE)]
    if len(indexes) <= MOST_ATTRIBUTES:
        return
    for row in file.rows():
        count = sum(index < len(row.cells) and bool(row.cells[index].strip()) for index in indexes)
        if count > MOST_ATTRIBUTES and not row.wrong:
            raise BadFile(
                f"line {row.line} of {file.path.name} has {count:,} attributes, and a contact has at most"
                f" {MOST_ATTRIBUTES}: remove the `{ATTRIBUTE}…` columns that you do not need, and import it again"
            )


def match_columns(header: Sequence[str], types: Sequence[ScoreType], *, mapping: Mapping[str, str]) -> Columns:
    """Decide what each column is: the address, a field, an attribute, an id or a score; raises BadFile.

    *mapping* is what the person said, by column, and goes before what the names of the columns say.
    """
    if len(header) > MOST_COLUMNS:
        raise BadFile(f"the file has more than {MOST_COLUMNS:,} columns: remove those that you do not need")
    keys = {score_type.key: score_type for score_type in types}
    own_names = {name: name for name in FIELDS} | _ALSO
    targets = (
        {score_type.label.casefold(): score_type.key for score_type in types} | {key: key for key in keys} | own_names
    )
    mapped_targets = _apply_mapping(header, mapping, targets=(*FIELDS, *keys))
    mapped_values = set(mapped_targets.values())
    columns: dict[int, str] = {}
    for index, name in enumerate(header):
        target = (
            mapped_targets.get(index) or targets.get(name.strip().casefold()) or (name if _is_named(name) else None)
        )
        if target and name not in NOTES and (index in mapped_targets or target not in mapped_values):
            columns[index] = target
    duplicate = next((target for target, count in Counter(columns.values()).items() if count > 1), None)
    if duplicate:
        raise BadFile(f"two columns are `{duplicate}`; say which one is meant: --map COLUMN={duplicate}")
    if not any(target == "email" or target.startswith(ID) for target in columns.values()):
        raise BadFile(f"no column is the e-mail address; say which one is: --map '{header[0].strip()}=email'")
    return Columns(
        header=tuple(header),
        fields={
            index: target for index, target in columns.items() if target in FIELDS[1:] or target.startswith(ATTRIBUTE)
        },
        scores={index: keys[target] for index, target in columns.items() if target in keys},
        ids={index: target.removeprefix(ID) for index, target in columns.items() if target.startswith(ID)},
        email=next((index for index, target in columns.items() if target == "email"), None),
        unused=tuple(
            name.strip()
            for index, name in enumerate(header)
            if index not in columns and name.strip() and name not in NOTES
        ),
    )


def _apply_mapping(header: Sequence[str], mapping: Mapping[str, str], *, targets: Sequence[str]) -> dict[int, str]:
    mapped_targets: dict[int, str] = {}
    indexes: dict[str, int] = {}
    for index, name in enumerate(header):
        indexes.setdefault(name.strip().casefold(), index)
    for column, target in mapping.items():
        column_index = indexes.get(column.strip().casefold())
        if column_index is None:
            existing = format_columns([name.strip() for name in header if name.strip()])
            raise BadFile(f"there is no column `{column}`; there is {existing}")
        if target not in targets and not _is_named(target):
            raise BadFile(f"`{target}` is no field; use {', '.join(targets)}, attributes.NAME or {ID}SOURCE")
        mapped_targets[column_index] = target
    return mapped_targets


def format_columns(columns: Sequence[str]) -> str:
    """Return the names of columns as one text, the first few where there are many."""
    remaining = len(columns) - MOST_NAMED
    return ", ".join(columns[:MOST_NAMED]) + (f" and {remaining:,} more" if remaining > 0 else "")


def _is_named(name: str) -> bool:
    """Tell whether a column is an attribute, or an id in a source's system, by its name."""
    return bool(_ATTRIBUTE.fullmatch(name) or (name.startswith(ID) and SLUG.fullmatch(name.removeprefix(ID))))


@dataclass(slots=True)
class _ImportRow:
    """One row on its way: whom it names, what it says, and what is new of that."""

    row: Row
    complaints: list[str] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)  #: field → the cell
    fields: dict[str, Json] = field(default_factory=dict)
    values: dict[int, tuple[ScoreType, int]] = field(default_factory=dict)  #: by column, thousandths
    items: list[Item] = field(default_factory=list)
    is_new: bool = False
    changed: bool = False

    def identities(self, workspace: Workspace) -> list[Identity]:
        """Give every address and id that the row names its contact by, each once."""
        identities = [(workspace.id, *identity) for reference in self.references for identity in reference.identities()]
        return list(dict.fromkeys(identities))


def _parse_row(row: Row, columns: Columns) -> _ImportRow:
    """Read a row; what is wrong with it is told by column."""
    import_row = _ImportRow(row)
    if row.wrong:
        import_row.complaints.append(row.wrong)
        return import_row
    cells = {index: read_cell(cell) for index, cell in enumerate(row.cells)}
    filled = {index: cell for index, cell in cells.items() if cell}
    for index, cell in filled.items():
        try:
            _parse_cell(import_row, index, cell, columns)
        except Refusal as refusal:
            import_row.complaints.append(f"{columns.header[index].strip()}: {refusal}")
    try:
        import_row.references = _build_references(filled, columns)
    except Refusal as refusal:
        import_row.complaints.insert(0, str(refusal))
    return import_row


def _parse_cell(import_row: _ImportRow, index: int, cell: str, columns: Columns) -> None:
    if "\0" in cell:
        raise Refusal("no text holds a NUL; take it out")
    if index in columns.scores:
        score_type, value = columns.scores[index], parse(cell)
        score_type.check_set(value)
        import_row.values[index] = (score_type, value)
    elif index in columns.fields:
        name = columns.fields[index]
        import_row.texts[name], import_row.fields[name] = cell, _parse_field(name, cell)


def _parse_field(name: str, cell: str) -> Json:
    if name == "tags":
        tags = split_tags(cell)
        if len(tags) > MOST_TAGS or any(len(tag) > MOST_IN_TAG for tag in tags):
            raise Refusal(f"a contact has at most {MOST_TAGS} tags, each of at most {MOST_IN_TAG} characters")
        return list[Json](tags)
    limit = MOST_IN_ATTRIBUTE if name.startswith(ATTRIBUTE) else MOST_CHARACTERS
    if len(cell) > limit:
        raise Refusal(f"it has {len(cell):,} characters; cut it to {limit:,}")
    return cell


def _build_references(filled: Mapping[int, str], columns: Columns) -> list[Reference]:
    """Name the contact by its address and one id, and by the address and each further id."""
    email = filled.get(columns.email) if columns.email is not None else None
    ids = [(source, filled[index]) for index, source in columns.ids.items() if index in filled]
    if email is None and not ids:
        raise Refusal("it names nobody: give the e-mail address")
    if email is not None:
        address_key(email)
    if any(len(id) > MOST_CHARACTERS for _, id in ids):
        raise Refusal(f"an id has at most {MOST_CHARACTERS} characters")
    return [Reference(email=email, source=source, id=id) for source, id in ids] or [Reference(email=email)]


@dataclass(slots=True)
class _Person:
    """What is known of somebody, as cells and as thousandths; rows that are gone through add to it."""

    is_new: bool
    texts: dict[str, str] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)  #: by column, the last line that was imported before


async def _load_people(
    workspace: Workspace, import_rows: Sequence[_ImportRow], columns: Columns, *, batch: str, now: int
) -> dict[Identity, _Person]:
    """Give what is known of those that the rows name."""
    reader = database.current_database().reader
    ids = await contacts.load_known(
        reader, {identity for import_row in import_rows for identity in import_row.identities(workspace)}
    )
    contact_ids = sorted(set(ids.values()))
    people = {contact.id: _build_person(contact) for contact in await contacts.contacts(workspace, ids=contact_ids)}
    types = columns.scores.values()
    definitions = {(id, score_type.key): score_type.definition for id in contact_ids for score_type in types}
    by_key = {score_type.key: score_type for score_type in types}
    for (id, key), state in (await projection.load_states(reader, definitions)).items():
        value = state.value(by_key[key], now=now)
        if id in people and value is not None:
            people[id].values[key] = value
    for id, key in await keys_of_batch(reader, workspace.id, batch, people):
        _, line, *column = key.split("/")
        lines = people[id].lines
        lines["".join(column)] = max(lines.get("".join(column), 0), int(line))
    return {identity: people[id] for identity, id in ids.items() if id in people}


def _build_person(contact: Contact) -> _Person:
    texts = {name: write_cell(getattr(contact, name)) for name in FIELDS if name != "tags"}
    texts |= {ATTRIBUTE + name: write_cell(value) for name, value in contact.attributes.items()}
    texts["tags"] = join_tags(contact.tags)
    return _Person(is_new=False, texts={name: read_cell(guard_formula(text)) for name, text in texts.items()})


def _compare_row(
    import_row: _ImportRow, people: dict[Identity, _Person], workspace: Workspace, *, key: str, columns: Columns
) -> None:
    """Make items of what a row says that is not known already; what it says is known to the rows after it.

    What an item says hangs on the file and on what its columns are taken for, and on nothing else:
    the same item made again is then known for the same, whatever was known in between.
    """
    identities = import_row.identities(workspace)
    matches = {id(people[identity]): people[identity] for identity in identities if identity in people}
    person = next(iter(matches.values()), None) or _Person(is_new=True)
    if len(matches) > 1:
        import_row.complaints.append(str(TwoContacts()))
    differing = {name: text for name, text in import_row.texts.items() if person.texts.get(name, "") != text}
    if "owner" in differing and not looks_like_address(differing["owner"]):
        import_row.complaints.append(f"owner: `{differing['owner']}` is not an e-mail address")
    if import_row.complaints:
        return
    import_row.is_new = person.is_new
    reference = import_row.references[0]
    line = import_row.row.line  # one before a line that was imported already has had its say
    if differing and person.lines.get(columns.signature, 0) <= line:
        import_row.items.append(Item(key=f"{key}/{columns.signature}", contact=reference, fields=import_row.fields))
    for index, (score_type, value) in import_row.values.items():
        if person.values.get(score_type.key) != value and person.lines.get(str(index), 0) <= line:
            import_row.items.append(
                Item(key=f"{key}/{index}", contact=reference, score=score_type.key, op=Op.SET, amount=value)
            )
    if not import_row.items and any(identity not in people for identity in identities):
        import_row.items.append(Item(key=key, contact=reference))
    for number, extra in enumerate(import_row.references[1:], start=1):
        if any((workspace.id, *identity) not in people for identity in extra.identities()):
            import_row.items.append(Item(key=f"{key}/id{number}", contact=extra))
    person.is_new = False
    person.texts |= import_row.texts
    person.values |= {score_type.key: value for score_type, value in import_row.values.values()}
    people |= dict.fromkeys(identities, person)


def _apply_outcomes(import_rows: Sequence[_ImportRow], recorded: Recorded) -> None:
    outcomes = iter(recorded.outcomes)
    for import_row in import_rows:
        row_outcomes = list(islice(outcomes, len(import_row.items)))
        import_row.changed = any(outcome.status is Status.APPLIED for outcome in row_outcomes)
        import_row.complaints += dict.fromkeys(outcome.reason for outcome in row_outcomes if outcome.reason)


def _count_rows(report: Report, import_rows: Sequence[_ImportRow], wrong: Callable[[Row, str], None]) -> None:
    for import_row in import_rows:
        if import_row.complaints:
            report.wrong += 1
            wrong(import_row.row, "; ".join(import_row.complaints))
        elif not import_row.changed:
            report.same += 1
        elif import_row.is_new:
            report.new += 1
        else:
            report.changed += 1
