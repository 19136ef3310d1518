"""Import contacts and scores from a CSV file, in chunks, so that a large file can be stopped and resumed."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any

from storage.db import database
from storage.domain.attributes import read_instant
from storage.domain.contacts import (
    ATTRIBUTE,
    FIELDS,
    ID,
    MOST_ATTRIBUTES,
    MOST_CHARACTERS,
    MOST_IN_ATTRIBUTE_NAME,
    SLUG,
    Contact,
    Json,
    Reference,
    check_field,
    check_text,
    clean_field,
    looks_like_address,
)
from storage.domain.csv_cells import (
    find_decimal_sign,
    join_tags,
    read_attribute,
    read_cell,
    read_number,
    split_tags,
    write_cell,
)
from storage.domain.csv_headers import (
    FIRST_NAME,
    HEADERS,
    LAST_NAME,
    SCORE,
    find_header,
    looks_like_id_header,
    name_attributes,
)
from storage.domain.errors import BadItem, BadTime, NothingToUndo, Refusal, TwoContacts
from storage.domain.facts import DAY, Item, Op
from storage.domain.numbers import THOUSAND
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Moved, Recorded, Status, Submission
from storage.domain.texts import clean_text
from storage.ledger import contacts, projection
from storage.ledger.committer import record, rehearse
from storage.ledger.contacts import Identity
from storage.ledger.facts import keys_of_batch, load_stored, undo_in_force, undone_of
from storage.ledger.refold_job import fold_pending
from storage.scoring.definitions import score_types
from storage.transfer.csv_files import NOTES, BadFile, CsvFile, Row

SOURCE = "import"
CONFLICT = "conflict"  #: the reason of an item with a recorded key but other content
CHUNK = 500
FIRST = 10  # of the contacts that enter a top band
MOST_COLUMNS = 16_384  # as many as a sheet of a spreadsheet program has
ACTIVITY_KEY = "csv:"  #: how the dedupe key of an activity begins
MOST_IN_ACTIVITY = 100  # characters, as many as a request may have
MOST_NAMED = 20  # of the columns that a message lists
SAMPLE = 20  # rows that are searched for an e-mail address
_ATTRIBUTE = re.compile(rf"attributes\..{{1,{MOST_IN_ATTRIBUTE_NAME}}}", re.DOTALL)
#: The columns of a file of activities; a file without the first two has none.
ACTIVITY, OCCURRED_AT, QUANTITY = "activity", "occurred_at", "quantity"
#: The other spellings of a header that versions before migration 0010 recognized.
_FORMER_HEADERS = {"email": ("e-mail", "e-mail address", "email address")}
#: What a line of totals has in the column of the ids.
_TOTAL = re.compile(r"(?:grand |sub-?)?totals?\b.*|sums?|counts?|averages?|avg|records?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The meaning of each column of a file, by its index. *unused* are the names of columns that are not imported."""

    header: tuple[str, ...]
    fields: Mapping[int, str]  #: a field of the contact, or `attributes.…`
    scores: Mapping[int, ScoreType]
    ids: Mapping[int, str]  #: the source that the ids belong to
    email: int | None
    activity: Mapping[str, int] = field(default_factory=dict)  #: the indexes of ACTIVITY, OCCURRED_AT and QUANTITY
    last_name: int | None = None  #: the column to append to the name, which is then a first name
    unused: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[tuple[str, str], ...]:
        """The used columns, as (header, field) pairs."""
        targets = dict(self.fields) | {index: score_type.key for index, score_type in self.scores.items()}
        targets |= {index: ID + source for index, source in self.ids.items()}
        targets |= {index: name for name, index in self.activity.items()}
        targets |= {
            index: name for index, name in ((self.email, "email"), (self.last_name, "name")) if index is not None
        }
        return tuple((self.header[index].strip(), targets[index]) for index in sorted(targets))

    @cached_property
    def signature(self) -> str:
        """A short hash of the columns that are imported as fields. It is part of the dedupe key of a row's fields."""
        columns: list[tuple[int, str]] = sorted(self.fields.items())
        columns += [(self.last_name, "last name")] if self.last_name is not None else []
        return hashlib.sha256(repr(columns).encode()).hexdigest()[:8]


@dataclass(slots=True)
class Movement:
    """What an import does to the scores of one type.

    *first* are the first contacts that enter its top band: (name, score before, score after), in thousandths.
    """

    score_type: ScoreType
    changed: int = 0
    entering: int = 0
    leaving: int = 0
    first: list[tuple[str, int | None, int | None]] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """The result of an import, in numbers of rows if not noted otherwise."""

    new: int = 0
    changed: int = 0
    same: int = 0
    wrong: int = 0
    lost: int = 0  #: imported rows with a cell that was left out
    unasked: int = 0  #: follow-ups that were not opened, because an import is muted
    restored: bool = False  #: whether the import had been undone, and is now in force again
    unused: tuple[str, ...] = ()  #: names of the columns that were not imported
    scores: dict[str, Movement] = field(default_factory=dict)  #: by the key of the score type


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOptions:
    """How to adjust a score that its type does not accept. Without an option, the row is rejected."""

    rounds: bool = False  #: round a value that is off the step to the nearest step
    clamps: bool = False  #: clamp a value outside the range to the nearest end


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoneImport:
    """What the undo of an import changed."""

    scores: int
    contacts: int


async def undo_import(
    workspace: Workspace,
    *,
    file: CsvFile,
    progress: Callable[[int, int], None] = lambda _, __: None,
    clock: Callable[[], int],
) -> UndoneImport:
    """Undo the import of a file, and fold the scores in a job of this process.

    *progress* is called with the number of recalculated contacts and their total. Raises NothingToUndo.
    """
    if await undo_in_force(workspace, batch=batch_of(file)) is not None:
        raise NothingToUndo(f"the import of {file.path.name} was undone already")
    now = clock()
    undo = _build_undo(batch_of(file), defers=True, now=now)
    try:
        recorded = await record(workspace, undo, now=now)
    except NothingToUndo as exc:
        raise NothingToUndo(f"nothing was imported from {file.path.name}, as it is now") from exc
    scores, folded = len(recorded.moved), 0

    def count(slice: Recorded) -> None:
        nonlocal scores, folded
        scores += len(slice.moved)
        folded += len(slice.undone)
        progress(folded, recorded.pending)

    if recorded.pending:
        await fold_pending(workspace, undo=undo.batch, on_slice=count, clock=clock)
    return UndoneImport(scores=scores, contacts=len(recorded.undone) or recorded.pending)


async def import_file(
    workspace: Workspace,
    *,
    file: CsvFile,
    mapping: Mapping[str, str],
    all_columns: bool = False,
    progress: Callable[[int], None],
    wrong: Callable[[Row, str], None],
    options: ScoreOptions = ScoreOptions(),
    dry_run: bool = False,
    now: int,
) -> Report:
    """Import a file and return a report; raises BadFile. With *dry_run* nothing is saved.

    A blank cell changes nothing, and neither does a cell with the current value.
    Every fact's dedupe key has the file's digest, line and column, so importing the same file again resumes where it
    stopped. A dry run rolls each chunk back before the next, so a contact in two chunks is counted in both.
    *progress* is called with the number of bytes done so far, *wrong* with every row that has a cell which cannot be
    imported, and the reason.
    """
    columns = await choose_columns(workspace, file=file, mapping=mapping, all_columns=all_columns)
    _check_attributes(file, columns)
    reader = _ValueReader(file, columns, options, now=now)
    key = file.digest[:16]
    report, offset, rows = Report(unused=columns.unused), 0, file.rows()
    undo = await undo_in_force(workspace, batch=batch_of(file))
    if undo is not None:
        report.restored = True
        restoring = _build_undo(undo, defers=not dry_run, now=now)
        await _record_and_report(workspace, restoring, report, dry_run=dry_run, now=now)
    while chunk := list(islice(rows, CHUNK)):
        import_rows = [_parse_row(row, columns, reader) for row in chunk]
        valid_rows = [import_row for import_row in import_rows if not import_row.complaints]
        await _replace_undone_keys(workspace, valid_rows, batch=batch_of(file))
        people = await _load_people(workspace, valid_rows, columns, batch=batch_of(file), now=now)
        for import_row in import_rows:
            if not import_row.complaints:
                _compare_row(import_row, people, workspace, key=f"{key}/{import_row.row.line}", columns=columns)
        items = [item for import_row in import_rows for item in import_row.items]
        if items:
            # Later rows are later facts, regardless of their position in a chunk.
            submission = Submission(
                source=SOURCE, batch=batch_of(file), received_at=now + offset, items=items, actor=SOURCE, muted=True,
            )  # fmt: skip  # owner, time, content
            recorded = await _record_and_report(workspace, submission, report, dry_run=dry_run, now=now)
            _apply_outcomes(import_rows, recorded)
        offset += len(items)
        _count_rows(report, import_rows, wrong)
        progress(chunk[-1].end)
    return report


async def choose_columns(
    workspace: Workspace, *, file: CsvFile, mapping: Mapping[str, str], all_columns: bool = False
) -> Columns:
    """Return the meaning of each column, the same as in an earlier import of the same file; raises BadFile.

    With *all_columns* the columns without another meaning become attributes.
    Versions before migration 0010 recognized fewer headers. Columns that such a version left out of a file stay left
    out when the same file is imported again, unless *all_columns*.
    """
    types = await score_types(workspace)
    columns = match_columns(file.header, types, mapping=mapping, all_columns=all_columns, rows=file.rows())
    if all_columns:
        return columns
    try:
        former = match_columns(file.header, types, mapping=mapping, former=True)
    except BadFile:
        return columns
    if former == columns:
        return columns
    rows = await database.read(
        "SELECT dedupe_key FROM facts WHERE workspace_id = $1 AND batch = $2 AND actor IS NOT NULL",
        workspace.id,
        batch_of(file),
    )
    parts = {part for row in rows for part in row["dedupe_key"].split("/")[2:] if not part.startswith("id")}
    is_former = parts <= {former.signature, *map(str, former.scores)}
    return former if rows and is_former else columns


def batch_of(file: CsvFile) -> str:
    """Return the batch name of a file's import, which its undo refers to."""
    return f"{SOURCE}/{file.digest[:16]}"


def _build_undo(batch: str, *, defers: bool, now: int) -> Submission:
    """Return the submission that undoes the import with this batch, or an undo of it."""
    return Submission(
        source=SOURCE, batch=f"{SOURCE}/undo/{now}", received_at=now, actor=SOURCE, all_or_none=True, undoes=batch,
        muted=True, defers=defers,
    )  # fmt: skip  # when and what


async def _record_and_report(
    workspace: Workspace, submission: Submission, report: Report, *, dry_run: bool, now: int
) -> Recorded:
    """Record a submission, or rehearse it if *dry_run*, and add its effect on the scores to the report."""

    async def load_entering(session: database.Session, recorded: Recorded) -> tuple[Recorded, dict[int, Contact]]:
        ids = [move.contact for move in recorded.moved if _is_entering(move)][:FIRST]
        return recorded, {contact.id: contact for contact in await contacts.load_contacts(session, workspace, ids=ids)}

    if dry_run:
        recorded, contacts_by_id = await rehearse(workspace, submission, look=load_entering, now=now)
        _report_moves(report, recorded, contacts_by_id)
        return recorded
    recorded = await record(workspace, submission, now=now)
    slices = [recorded]
    if recorded.pending:
        await fold_pending(workspace, undo=submission.batch, on_slice=slices.append, clock=lambda: now)
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

    The number of columns is not decisive: an export has a column for every attribute that any contact has.
    """
    indexes = [index for index, target in columns.fields.items() if target.startswith(ATTRIBUTE)]
    if len(indexes) <= MOST_ATTRIBUTES:
        return
    for row in file.rows():
        count = sum(index < len(row.cells) and bool(row.cells[index].strip()) for index in indexes)
        if count > MOST_ATTRIBUTES and not row.wrong:
            raise BadFile(
                f"line {row.line} of {file.path.name} has {count:,} attributes, and a contact has at most"
                f" {MOST_ATTRIBUTES}: remove the columns of attributes that you do not need, and import it again"
            )


def match_columns(
    header: Sequence[str],
    types: Sequence[ScoreType],
    *,
    mapping: Mapping[str, str],
    all_columns: bool = False,
    former: bool = False,
    rows: Iterable[Row] = (),
) -> Columns:
    """Return the meaning of each column: the address, a field, an attribute, an id or a score; raises BadFile.

    *mapping* is the user's choice by column, and overrides the headers. A header that is the name of a field overrides
    a header that another program uses for the field. With *all_columns* the remaining columns become attributes.
    *former* recognizes only the headers that versions before migration 0010 recognized. *rows* are the rows of the
    file; the first of them are read if no column names the contact, to propose one.
    """
    if len(header) > MOST_COLUMNS:
        raise BadFile(f"the file has more than {MOST_COLUMNS:,} columns: remove those that you do not need")
    keys = {score_type.key: score_type for score_type in types}
    activity_names = [name for name in (ACTIVITY, OCCURRED_AT, QUANTITY) if name not in keys]
    targets = {name: name for name in activity_names}
    targets |= {score_type.label.casefold(): score_type.key for score_type in types}
    targets |= {name: name for name in (*keys, *FIELDS)}
    mapped_targets = _apply_mapping(header, mapping, targets=(*FIELDS, *keys, *activity_names))
    mapped_values = set(mapped_targets.values())
    columns: dict[int, str] = {}
    for index, name in enumerate(header):
        target = (
            mapped_targets.get(index) or targets.get(name.strip().casefold()) or (name if _is_named(name) else None)
        )
        if target and name not in NOTES and (index in mapped_targets or target not in mapped_values):
            columns[index] = target
    if not {ACTIVITY, OCCURRED_AT} <= set(columns.values()):
        if mapped_values.intersection(activity_names):
            raise BadFile(f"an activity needs its time: give --map COLUMN={ACTIVITY} and --map COLUMN={OCCURRED_AT}")
        columns = {index: target for index, target in columns.items() if target not in activity_names}
    default = types[0].key if types else None
    last_name = _recognize_headers(header, columns, _FORMER_HEADERS if former else HEADERS, default=default)
    duplicate = next((target for target, count in Counter(columns.values()).items() if count > 1), None)
    if duplicate:
        raise BadFile(f"two columns are `{duplicate}`; choose one: --map COLUMN={duplicate}")
    if not any(target == "email" or target.startswith(ID) for target in columns.values()):
        raise BadFile(_propose_identifier(header, columns, rows))
    if all_columns:
        _add_attributes(header, columns, last_name)
    return Columns(
        header=tuple(header),
        fields={
            index: target for index, target in columns.items() if target in FIELDS[1:] or target.startswith(ATTRIBUTE)
        },
        scores={index: keys[target] for index, target in columns.items() if target in keys},
        ids={index: target.removeprefix(ID) for index, target in columns.items() if target.startswith(ID)},
        email=next((index for index, target in columns.items() if target == "email"), None),
        activity={target: index for index, target in columns.items() if target in activity_names},
        last_name=last_name,
        unused=tuple(
            name.strip()
            for index, name in enumerate(header)
            if index not in columns and index != last_name and name.strip() and name not in NOTES
        ),
    )


def _propose_identifier(header: Sequence[str], columns: Mapping[int, str], rows: Iterable[Row]) -> str:
    """Return what is wrong with a file in which no column names the contact, and the `--map` that fixes it."""
    free = [index for index, name in enumerate(header) if name.strip() and index not in columns]
    cells = [row.cells for row in islice(rows, SAMPLE)]
    for index in free:
        if any(index < len(row) and looks_like_address(row[index]) for row in cells) or "mail" in header[index].lower():
            return f"no column is the e-mail address; choose one: --map '{header[index].strip()}=email'"
    for index in free:
        if looks_like_id_header(header[index]):
            option = f"--map '{header[index].strip()}={ID}crm'"
            return f"no column is an e-mail address; choose a column of ids: {option}"
    return f"no column names the contact; choose one: --map COLUMN=email, or --map COLUMN={ID}crm for an id"


def _add_attributes(header: Sequence[str], columns: dict[int, str], last_name: int | None) -> None:
    """Add every named column that has no meaning yet to *columns*, as an attribute."""
    free = [
        index
        for index, name in enumerate(header)
        if index not in columns and index != last_name and name.strip() and name not in NOTES
    ]
    taken = [target.removeprefix(ATTRIBUTE) for target in columns.values() if target.startswith(ATTRIBUTE)]
    names = name_attributes([header[index] for index in free], taken=taken)
    columns |= {index: ATTRIBUTE + name for index, name in zip(free, names, strict=True)}


def _recognize_headers(
    header: Sequence[str], columns: dict[int, str], spellings: Mapping[str, Sequence[str]], *, default: str | None
) -> int | None:
    """Add the columns with headers that other programs use to *columns*, and return the index of a last name column.

    *spellings* are the possible headers by field. *default* is the key of the default score type.
    """
    free = ["" if index in columns or name in NOTES else name for index, name in enumerate(header)]
    taken = set(columns.values())
    for field_name, names in spellings.items():
        target = default if field_name == SCORE else field_name
        index = find_header(free, names)
        if target is not None and target not in taken and index is not None:
            columns[index], free[index] = target, ""
    if "name" in columns.values() or "name" not in spellings:
        return None
    first, last = find_header(free, FIRST_NAME), find_header(free, LAST_NAME)
    place = last if first is None else first
    if place is None:
        return None
    columns[place] = "name"
    return last if place != last else None


def _apply_mapping(header: Sequence[str], mapping: Mapping[str, str], *, targets: Sequence[str]) -> dict[int, str]:
    mapped_targets: dict[int, str] = {}
    indexes: dict[str, int] = {}
    for index, name in enumerate(header):
        indexes.setdefault(name.strip().casefold(), index)
    for column, target in mapping.items():
        column_index = indexes.get(column.strip().casefold())
        if column_index is None:
            existing = format_columns([name.strip() for name in header if name.strip()])
            raise BadFile(f"there is no column `{column}`; the columns: {existing}")
        if target not in targets and not _is_named(target):
            raise BadFile(f"`{target}` is not a field; use {', '.join(targets)}, attributes.NAME or {ID}SOURCE")
        mapped_targets[column_index] = target
    return mapped_targets


def format_columns(columns: Sequence[str]) -> str:
    """Return the names of columns as one text, shortened to the first MOST_NAMED."""
    remaining = len(columns) - MOST_NAMED
    return ", ".join(columns[:MOST_NAMED]) + (f" and {remaining:,} more" if remaining > 0 else "")


def _is_named(name: str) -> bool:
    """Return whether the name of a column makes it an attribute, or an id of a source."""
    return bool(_ATTRIBUTE.fullmatch(name) or (name.startswith(ID) and SLUG.fullmatch(name.removeprefix(ID))))


class _ValueReader:
    """Parse the cells of scores and of activities."""

    def __init__(self, file: CsvFile, columns: Columns, options: ScoreOptions, *, now: int) -> None:
        self._file, self._columns, self._options, self._now = file, columns, options, now
        self._equal_lines = Counter[str]()

    @cached_property
    def _decimal_signs(self) -> Mapping[int, str | None]:
        """The decimal sign by column, or None. The whole file is searched when a cell is ambiguous."""
        quantity = self._columns.activity.get(QUANTITY)
        return {
            index: find_decimal_sign(row.cells[index] for row in self._file.rows() if index < len(row.cells))
            for index in (*self._columns.scores, *(() if quantity is None else (quantity,)))
        }

    def read_activity(self, cells: Mapping[int, str], contact: Reference) -> Item | None:
        """Return the activity of a row, or None if the row has none. Raises a Refusal.

        The dedupe key has the content of the line, so the same activity in another file is a duplicate. Equal lines of
        a file are as many activities.
        """
        indexes, header = self._columns.activity, self._columns.header
        texts = {name: cells[index] for name, index in indexes.items() if index in cells}
        if ACTIVITY not in texts and OCCURRED_AT not in texts:
            return None
        values: dict[str, Any] = {QUANTITY: THOUSAND}
        for name, example in ((ACTIVITY, "demo_booked"), (OCCURRED_AT, "2026-01-31 09:30"), (QUANTITY, None)):
            try:
                if name in texts:
                    values[name] = self._parse_activity_cell(name, texts[name])
                elif example:
                    raise BadItem(f"it is blank; write for example {example}")
            except Refusal as refusal:
                raise BadItem(f"{header[indexes[name]].strip()}: {refusal}") from refusal
        activity, at, quantity = values[ACTIVITY], values[OCCURRED_AT], values[QUANTITY]
        content = json.dumps([*contact.identities()[0], activity, at, quantity], ensure_ascii=False)
        self._equal_lines[content] += 1
        digest = hashlib.sha256(f"{content}{self._equal_lines[content]}".encode()).hexdigest()
        return Item(key=f"{ACTIVITY_KEY}{digest}", contact=contact, activity=activity, amount=quantity, occurred_at=at)

    def _parse_activity_cell(self, name: str, cell: str) -> str | int:
        if name == QUANTITY:
            return self._read_number(self._columns.activity[QUANTITY], cell)
        if name == OCCURRED_AT:
            at = read_instant(cell)
            if at is None:
                raise BadTime(f"`{cell[:40]}` is not a time like 2026-01-31 09:30 or 2026-01-31T09:30:00Z")
            if not 0 <= at <= self._now + DAY:
                raise BadTime(f"`{cell}` lies {'in the future' if at > 0 else 'before 1970'}")
            return at
        activity = clean_text(cell)
        if len(activity) > MOST_IN_ACTIVITY:
            raise BadItem(f"it has {len(activity):,} characters; cut it to {MOST_IN_ACTIVITY}")
        return activity

    def _read_number(self, index: int, cell: str) -> int:
        return read_number(
            cell,
            comma=self._file.delimiter == ";",
            decimal=lambda: self._decimal_signs[index],
            rounded=self._options.rounds,
        )

    def read_score(self, index: int, cell: str) -> tuple[ScoreType, int]:
        """Return the score type of a column and the value of a cell in thousandths.

        Raises BadNumber, OutOfRange, OffStep.
        """
        score_type, options = self._columns.scores[index], self._options
        value = self._read_number(index, cell)
        if options.clamps:
            value = score_type.clamp(value)
        if options.rounds and score_type.clamp(value) == value:
            value = score_type.round_to_step(value)
        score_type.check_set(value)
        return score_type, value


@dataclass(slots=True)
class _ImportRow:
    """A row of the file: the contact that it names, its values, and the items for new values."""

    row: Row
    complaints: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  #: why cells were left out; the other cells are imported
    references: list[Reference] = field(default_factory=list)
    fields: dict[str, Json] = field(default_factory=dict)
    values: dict[int, tuple[ScoreType, int]] = field(default_factory=dict)  #: (score type, thousandths) by column
    activity: Item | None = None
    items: list[Item] = field(default_factory=list)
    former: dict[Identity, Identity] = field(default_factory=dict)  #: identities stored in an older spelling
    is_new: bool = False
    changed: bool = False

    def identities(self, workspace: Workspace, reference: Reference | None = None) -> list[Identity]:
        """Return every address and id that the row, or one of its references, names its contact by, each once."""
        references = self.references if reference is None else [reference]
        identities = [(workspace.id, *identity) for reference in references for identity in reference.identities()]
        return list(dict.fromkeys(self.former.get(identity, identity) for identity in identities))


def _parse_row(row: Row, columns: Columns, reader: _ValueReader) -> _ImportRow:
    """Parse a row. A cell that cannot be parsed is left out, unless it is a score or all that names the contact."""
    import_row = _ImportRow(row)
    if row.wrong:
        import_row.complaints.append(row.wrong)
        return import_row
    cells = {index: text for index, cell in enumerate(row.cells) if (text := read_cell(cell))}
    _join_names(cells, columns)
    for index, cell in cells.items():
        try:
            check_text(cell, "it")
            if index in columns.scores:
                import_row.values[index] = reader.read_score(index, cell)
            elif index in columns.fields:
                name = columns.fields[index]
                is_exported = name.startswith(ATTRIBUTE) and columns.header[index].strip() == name
                value = _parse_field(name, cell, is_exported=is_exported)
                if is_exported or value not in (None, "", []):
                    import_row.fields[name] = value
        except Refusal as refusal:
            reasons = import_row.complaints if index in columns.scores else import_row.lost
            reasons.append(f"{columns.header[index].strip()}: {refusal}")
    _name_contact(import_row, cells, columns)
    if import_row.references:
        try:
            import_row.activity = reader.read_activity(cells, import_row.references[0])
        except Refusal as refusal:
            import_row.complaints.append(str(refusal))
    return import_row


def _join_names(cells: dict[int, str], columns: Columns) -> None:
    """Join a first and a last name from two columns into one name."""
    if columns.last_name is not None and (last := cells.pop(columns.last_name, None)):
        index = next(index for index, name in columns.fields.items() if name == "name")
        cells[index] = f"{cells.get(index, '')} {last}".strip()


def _parse_field(name: str, cell: str, *, is_exported: bool) -> Json:
    """Parse and validate a field. An attribute with the header of an export may be more than a text."""
    value: Json = list[Json](split_tags(cell)) if name == "tags" else read_attribute(cell) if is_exported else cell
    value = clean_field(name, value)
    check_field(name, value)
    return value


def _name_contact(import_row: _ImportRow, cells: Mapping[int, str], columns: Columns) -> None:
    """Add references to the contact: its address with one id, and with each further id; or complaints."""
    email = cells.get(columns.email) if columns.email is not None else None
    ids = {index: cells[index] for index in columns.ids if index in cells}
    if email is not None and not looks_like_address(email):
        problem = f"`{email[:80]}` is not an e-mail address"
        (import_row.lost if ids else import_row.complaints).insert(0, problem)
        email = None
    elif email is None and not ids:
        import_row.complaints.insert(0, "it names no contact: give the e-mail address")
    if any(len(id) > MOST_CHARACTERS for id in ids.values()):
        import_row.complaints.insert(0, f"an id has at most {MOST_CHARACTERS} characters")
    has_activity = any(index in cells for index in columns.activity.values())
    is_alone = email is None and not import_row.fields and not import_row.values and not has_activity
    for index, id in ids.items() if email is None else ():
        is_exported = columns.header[index].strip().startswith(ID)
        if not is_exported and (_TOTAL.fullmatch(id) or (is_alone and not _may_be_id(id))):
            import_row.complaints.insert(0, f"`{id[:80]}` looks like the footer of a report, not like an id")
    if not import_row.complaints:
        references = [Reference(email=email, source=columns.ids[index], id=id) for index, id in ids.items()]
        import_row.references = references or [Reference(email=email)]


def _may_be_id(text: str) -> bool:
    """Return whether the only text of a row may be an id: it has a digit and no whitespace."""
    return not any(character.isspace() for character in text) and any(character.isdigit() for character in text)


@dataclass(slots=True)
class _Person:
    """The stored fields of a contact as cells, and its scores in thousandths, updated as rows are compared."""

    is_new: bool
    texts: dict[str, str] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)  #: the last line that was imported before, by column


async def _load_people(
    workspace: Workspace, import_rows: Sequence[_ImportRow], columns: Columns, *, batch: str, now: int
) -> dict[Identity, _Person]:
    """Return the stored contacts that the rows name, by identity."""
    reader = database.current_database().reader
    await _find_former(reader, import_rows, workspace)
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
        if key.startswith(ACTIVITY_KEY):
            continue
        _, line, *column = key.split("/")
        lines = people[id].lines
        lines["".join(column)] = max(lines.get("".join(column), 0), int(line))
    return {identity: people[id] for identity, id in ids.items() if id in people}


async def _replace_undone_keys(workspace: Workspace, import_rows: Sequence[_ImportRow], *, batch: str) -> None:
    """Change the key of an activity if an import of another file recorded it and was undone.

    The activity would otherwise be a duplicate of a fact that does not count.
    """
    session, number = database.current_database().reader, 1
    pending = {row.activity.key: row for row in import_rows if row.activity is not None}
    while pending:
        stored = await load_stored(session, [(workspace.id, SOURCE, key, "") for key in pending])
        batches = {fact.batch for _, _, fact in stored.values()} - {batch}
        undone = await undone_of(session, workspace.id, batches)
        rows = [pending[key] for (_, _, key, _), (_, _, fact) in stored.items() if fact.batch in undone]
        number += 1
        pending = {}
        for row in rows:
            assert row.activity is not None
            row.activity = replace(row.activity, key=f"{row.activity.key.partition('/')[0]}/{number}")
            pending[row.activity.key] = row


async def _find_former(reader: database.Session, import_rows: Sequence[_ImportRow], workspace: Workspace) -> None:
    """Set *former* of each row: its identities that an earlier version stored in another spelling."""
    former_of = [
        {
            (workspace.id, *now): (workspace.id, *then)
            for reference in import_row.references
            for now, then in reference.former_identities().items()
        }
        for import_row in import_rows
    ]
    known = await contacts.load_known(reader, {then for former in former_of for then in former.values()})
    for import_row, former in zip(import_rows, former_of, strict=True):
        import_row.former = {now: then for now, then in former.items() if then in known}


def _build_person(contact: Contact) -> _Person:
    values: dict[str, Json] = {name: getattr(contact, name) for name in FIELDS if name != "tags"}
    values |= {ATTRIBUTE + name: value for name, value in contact.attributes.items()}
    values["tags"] = list[Json](contact.tags)
    return _Person(is_new=False, texts={name: _write_text(name, value) for name, value in values.items()})


def _write_text(name: str, value: Json) -> str:
    """Return the value of a field as a cell; values that look the same in a spreadsheet get the same text.

    Tags are sorted, because a contact has the same tags in any order.
    """
    if name == "tags" and isinstance(value, list):
        return join_tags(sorted(str(tag) for tag in value))
    return write_cell(clean_field(name, value))


def _compare_row(
    import_row: _ImportRow, people: dict[Identity, _Person], workspace: Workspace, *, key: str, columns: Columns
) -> None:
    """Add items for the values of a row that differ from the stored ones, and update *people* for the rows after it.

    One item states all fields that differ. If the row's fields were recorded before, they are not compared again:
    what changed since then is later than the import.
    """
    identities = import_row.identities(workspace)
    matches = {id(people[identity]): people[identity] for identity in identities if identity in people}
    person = next(iter(matches.values()), None) or _Person(is_new=True)
    if len(matches) > 1:
        import_row.complaints.append(str(TwoContacts()))
    texts = {name: _write_text(name, value) for name, value in import_row.fields.items()}
    differing = {name: value for name, value in import_row.fields.items() if person.texts.get(name) != texts[name]}
    if import_row.complaints:
        return
    import_row.is_new = person.is_new
    reference = import_row.references[0]
    line = import_row.row.line  # a value is skipped if a later line of its column was imported before
    if differing and person.lines.get(columns.signature, 0) < line:
        import_row.items.append(Item(key=f"{key}/{columns.signature}", contact=reference, fields=differing))
    for index, (score_type, value) in import_row.values.items():
        if person.values.get(score_type.key) != value and person.lines.get(str(index), 0) <= line:
            import_row.items.append(
                Item(key=f"{key}/{index}", contact=reference, score=score_type.key, op=Op.SET, amount=value)
            )
    if import_row.activity is not None:
        import_row.items.append(import_row.activity)
    if not import_row.items and any(identity not in people for identity in identities):
        import_row.items.append(Item(key=key, contact=reference))
    for number, extra in enumerate(import_row.references[1:], start=1):
        if any(identity not in people for identity in import_row.identities(workspace, extra)):
            import_row.items.append(Item(key=f"{key}/id{number}", contact=extra))
    person.is_new = False
    person.texts |= texts
    person.values |= {score_type.key: value for score_type, value in import_row.values.values()}
    people |= dict.fromkeys(identities, person)


def _apply_outcomes(import_rows: Sequence[_ImportRow], recorded: Recorded) -> None:
    outcomes = iter(recorded.outcomes)
    for import_row in import_rows:
        row_outcomes = list(islice(outcomes, len(import_row.items)))
        import_row.changed = any(outcome.status is Status.APPLIED for outcome in row_outcomes)
        # A conflict is not reported: the cell is the same, but an earlier version parsed it differently.
        reasons = (outcome.reason for outcome in row_outcomes if outcome.reason != CONFLICT)
        import_row.complaints += dict.fromkeys(reason for reason in reasons if reason)


def _count_rows(report: Report, import_rows: Sequence[_ImportRow], wrong: Callable[[Row, str], None]) -> None:
    for import_row in import_rows:
        if import_row.complaints:
            report.wrong += 1
            wrong(import_row.row, "; ".join([*import_row.complaints, *import_row.lost]))
            continue
        if import_row.lost:
            report.lost += 1
            wrong(import_row.row, f"left out: {'; '.join(import_row.lost)}")
        if not import_row.changed:
            report.same += 1
        elif import_row.is_new:
            report.new += 1
        else:
            report.changed += 1
