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
from storage.domain.csv_headers import FIRST_NAME, HEADERS, LAST_NAME, SCORE, find_header
from storage.domain.errors import NothingToUndo, Refusal, TwoContacts
from storage.domain.facts import Item, Op
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Moved, Recorded, Status, Submission
from storage.ledger import contacts, projection
from storage.ledger.committer import record, rehearse
from storage.ledger.contacts import Identity
from storage.ledger.facts import keys_of_batch, undo_in_force
from storage.scoring.definitions import score_types
from storage.transfer.csv_files import NOTES, BadFile, CsvFile, Row

SOURCE = "import"
CONFLICT = "conflict"  #: the reason of an item whose key is in the ledger with other content
CHUNK = 500
FIRST = 10  # of those who come into a top band
MOST_COLUMNS = 16_384  # the columns of a sheet in a spreadsheet program
MOST_NAMED = 20  # of the columns that a message lists
_ATTRIBUTE = re.compile(rf"attributes\..{{1,{MOST_IN_ATTRIBUTE_NAME}}}", re.DOTALL)
#: The other spellings of a header that versions before migration 0010 knew.
_FORMER_HEADERS = {"email": ("e-mail", "e-mail address", "email address")}
#: What stands under the ids in a line of totals.
_TOTAL = re.compile(r"(?:grand |sub-?)?totals?\b.*|sums?|counts?|averages?|avg|records?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What the columns of a file are, by their place; *unused* names those that are nothing of ours."""

    header: tuple[str, ...]
    fields: Mapping[int, str]  #: a field of the contact, or `attributes.…`
    scores: Mapping[int, ScoreType]
    ids: Mapping[int, str]  #: the source whose ids they are
    email: int | None
    last_name: int | None = None  #: belongs behind the name, which is a first name
    unused: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[tuple[str, str], ...]:
        """What each used column is taken for: (its name, the field)."""
        targets = dict(self.fields) | {index: score_type.key for index, score_type in self.scores.items()}
        targets |= {index: ID + source for index, source in self.ids.items()}
        targets |= {
            index: name for index, name in ((self.email, "email"), (self.last_name, "name")) if index is not None
        }
        return tuple((self.header[index].strip(), targets[index]) for index in sorted(targets))

    @cached_property
    def signature(self) -> str:
        """Tell one choice of columns from another: what a row says of its contact hangs on it."""
        columns: list[tuple[int, str]] = sorted(self.fields.items())
        columns += [(self.last_name, "last name")] if self.last_name is not None else []
        return hashlib.sha256(repr(columns).encode()).hexdigest()[:8]


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
    lost: int = 0  #: lines of which a cell was left out, beside the wrong ones
    unasked: int = 0  #: follow-ups that were not asked for, because nobody wants them of an import
    restored: bool = False  #: it had been taken back, and is in force again
    unused: tuple[str, ...] = ()  #: columns
    scores: dict[str, Movement] = field(default_factory=dict)  #: by the type's key


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOptions:
    """What is done with a score that its type does not take; otherwise its line is refused."""

    rounds: bool = False  #: off the step: to the nearest step
    clamps: bool = False  #: outside the range: to its end


async def import_file(
    workspace: Workspace,
    *,
    file: CsvFile,
    mapping: Mapping[str, str],
    progress: Callable[[int], None],
    wrong: Callable[[Row, str], None],
    options: ScoreOptions = ScoreOptions(),
    dry_run: bool = False,
    now: int,
) -> Report:
    """Import a file, or with *dry_run* do the same and keep nothing of it; raises BadFile.

    A blank cell changes nothing, and neither does one that says what is known already.
    Every fact is keyed by the file's digest, its line and column, so that the same file again goes on where it stopped.
    A dry run forgets each chunk before the next one: a contact that stands in two of them is counted in both.
    *progress* gets the bytes done so far, *wrong* every row of which something cannot be taken, and why.
    """
    columns = await choose_columns(workspace, file=file, mapping=mapping)
    _check_attributes(file, columns)
    scores = _ScoreReader(file, columns, options)
    key = file.digest[:16]
    report, offset, rows = Report(unused=columns.unused), 0, file.rows()
    undo = await undo_in_force(workspace, batch=batch_of(file))
    if undo is not None:
        report.restored = True
        await _record_and_report(workspace, _build_undo(undo, now=now), report, dry_run=dry_run, now=now)
    while chunk := list(islice(rows, CHUNK)):
        import_rows = [_parse_row(row, columns, scores) for row in chunk]
        valid_rows = [import_row for import_row in import_rows if not import_row.complaints]
        people = await _load_people(workspace, valid_rows, columns, batch=batch_of(file), now=now)
        for import_row in import_rows:
            if not import_row.complaints:
                _compare_row(import_row, people, workspace, key=f"{key}/{import_row.row.line}", columns=columns)
        items = [item for import_row in import_rows for item in import_row.items]
        if items:
            # Later rows are later facts, whatever their place in their chunk.
            submission = Submission(
                source=SOURCE, batch=batch_of(file), received_at=now + offset, items=items, actor=SOURCE, muted=True,
            )  # fmt: skip  # whose, when and what
            recorded = await _record_and_report(workspace, submission, report, dry_run=dry_run, now=now)
            _apply_outcomes(import_rows, recorded)
        offset += len(items)
        _count_rows(report, import_rows, wrong)
        progress(chunk[-1].end)
    return report


async def choose_columns(workspace: Workspace, *, file: CsvFile, mapping: Mapping[str, str]) -> Columns:
    """Decide what each column of a file is, as when the same file was imported by an earlier version; raises BadFile.

    That version recognized fewer headers: what it left out of a file is not taken from the same file later.
    """
    types = await score_types(workspace)
    columns = match_columns(file.header, types, mapping=mapping)
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


async def undo_import(workspace: Workspace, *, file: CsvFile, now: int) -> Recorded:
    """Take back the import of a file, whatever came later; raises NothingToUndo."""
    if await undo_in_force(workspace, batch=batch_of(file)) is not None:
        raise NothingToUndo(f"the import of {file.path.name} was taken back already")
    try:
        return await record(workspace, _build_undo(batch_of(file), now=now), now=now)
    except NothingToUndo as exc:
        raise NothingToUndo(f"nothing was imported from {file.path.name}, as it is now") from exc


def batch_of(file: CsvFile) -> str:
    """Name the import of a file, for its undo."""
    return f"{SOURCE}/{file.digest[:16]}"


def _build_undo(batch: str, *, now: int) -> Submission:
    return Submission(
        source=SOURCE, batch=f"{SOURCE}/undo/{now}", received_at=now, actor=SOURCE, all_or_none=True, undoes=batch,
        muted=True,
    )  # fmt: skip  # whose, when and what


async def _record_and_report(
    workspace: Workspace, submission: Submission, report: Report, *, dry_run: bool, now: int
) -> Recorded:
    """Record a submission, or rehearse it, and report what it does to the scores."""

    async def load_moved_contacts(session: database.Session, recorded: Recorded) -> tuple[Recorded, dict[int, Contact]]:
        ids = [move.contact for move in recorded.moved if _is_entering(move)][:FIRST]
        return recorded, {contact.id: contact for contact in await contacts.load_contacts(session, workspace, ids=ids)}

    if dry_run:
        recorded, contacts_by_id = await rehearse(workspace, submission, look=load_moved_contacts, now=now)
    else:
        recorded, contacts_by_id = await load_moved_contacts(
            database.current_database().reader, await record(workspace, submission, now=now)
        )
    report.unasked += recorded.unasked
    for move in recorded.moved:
        movement = report.scores.setdefault(move.score_type.key, Movement(move.score_type))
        movement.changed += move.before != move.after
        movement.leaving += move.score_type.is_top(move.before) and not move.score_type.is_top(move.after)
        movement.entering += _is_entering(move)
        if move.contact in contacts_by_id and _is_entering(move) and len(movement.first) < FIRST:
            movement.first.append((contacts_by_id[move.contact].shown, move.before, move.after))
    return recorded


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


def match_columns(
    header: Sequence[str], types: Sequence[ScoreType], *, mapping: Mapping[str, str], former: bool = False
) -> Columns:
    """Decide what each column is: the address, a field, an attribute, an id or a score; raises BadFile.

    *mapping* is what the person said, by column, and goes before what the names of the columns say. A column that is
    called like a field goes before one that another program calls so. *former*: as versions before migration 0010 did.
    """
    if len(header) > MOST_COLUMNS:
        raise BadFile(f"the file has more than {MOST_COLUMNS:,} columns: remove those that you do not need")
    keys = {score_type.key: score_type for score_type in types}
    own_names = {name: name for name in FIELDS}
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
    default = types[0].key if types else None
    last_name = _recognize_headers(header, columns, _FORMER_HEADERS if former else HEADERS, default=default)
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
        last_name=last_name,
        unused=tuple(
            name.strip()
            for index, name in enumerate(header)
            if index not in columns and index != last_name and name.strip() and name not in NOTES
        ),
    )


def _recognize_headers(
    header: Sequence[str], columns: dict[int, str], spellings: Mapping[str, Sequence[str]], *, default: str | None
) -> int | None:
    """Add the columns that other programs call otherwise to those of *columns*; return the place of a last name.

    *default* is the key of the default score type.
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


class _ScoreReader:
    """Read the cells of scores as their column is written."""

    def __init__(self, file: CsvFile, columns: Columns, options: ScoreOptions) -> None:
        self._file, self._columns, self._options = file, columns, options

    @cached_property
    def _decimal_signs(self) -> Mapping[int, str | None]:
        """The sign before fractions, by column: found in the whole file, once a cell leaves it open."""
        return {
            index: find_decimal_sign(row.cells[index] for row in self._file.rows() if index < len(row.cells))
            for index in self._columns.scores
        }

    def read(self, index: int, cell: str) -> tuple[ScoreType, int]:
        """Return the score type of a column, and the value of a cell; raises BadNumber, OutOfRange, OffStep."""
        score_type, options = self._columns.scores[index], self._options
        value = read_number(
            cell, comma=self._file.delimiter == ";", decimal=lambda: self._decimal_signs[index], rounded=options.rounds
        )
        if options.clamps:
            value = score_type.clamp(value)
        if options.rounds and score_type.clamp(value) == value:
            value = score_type.round_to_step(value)
        score_type.check_set(value)
        return score_type, value


@dataclass(slots=True)
class _ImportRow:
    """One row on its way: the contact that it names, what it says, and what is new of that."""

    row: Row
    complaints: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  #: why cells were left out; the others are taken
    references: list[Reference] = field(default_factory=list)
    fields: dict[str, Json] = field(default_factory=dict)
    values: dict[int, tuple[ScoreType, int]] = field(default_factory=dict)  #: by column, thousandths
    items: list[Item] = field(default_factory=list)
    former: dict[Identity, Identity] = field(default_factory=dict)  #: identities that are known as they were written
    is_new: bool = False
    changed: bool = False

    def identities(self, workspace: Workspace, reference: Reference | None = None) -> list[Identity]:
        """Return every address and id that the row, or one of its references, names its contact by, each once."""
        references = self.references if reference is None else [reference]
        identities = [(workspace.id, *identity) for reference in references for identity in reference.identities()]
        return list(dict.fromkeys(self.former.get(identity, identity) for identity in identities))


def _parse_row(row: Row, columns: Columns, scores: _ScoreReader) -> _ImportRow:
    """Read a row. A cell that cannot be read is left out, unless it is a score or all that names the contact."""
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
                import_row.values[index] = scores.read(index, cell)
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
    return import_row


def _join_names(cells: dict[int, str], columns: Columns) -> None:
    """Join a first and a last name that stand in two columns."""
    if columns.last_name is not None and (last := cells.pop(columns.last_name, None)):
        index = next(index for index, name in columns.fields.items() if name == "name")
        cells[index] = f"{cells.get(index, '')} {last}".strip()


def _parse_field(name: str, cell: str, *, is_exported: bool) -> Json:
    """Read a field; an attribute of a column that is called as an export calls it may be more than a text."""
    value: Json = list[Json](split_tags(cell)) if name == "tags" else read_attribute(cell) if is_exported else cell
    value = clean_field(name, value)
    check_field(name, value)
    return value


def _name_contact(import_row: _ImportRow, cells: Mapping[int, str], columns: Columns) -> None:
    """Name the contact by its address and one id, and by the address and each further id."""
    email = cells.get(columns.email) if columns.email is not None else None
    ids = {index: cells[index] for index in columns.ids if index in cells}
    if email is not None and not looks_like_address(email):
        problem = f"`{email[:80]}` is not an e-mail address"
        (import_row.lost if ids else import_row.complaints).insert(0, problem)
        email = None
    elif email is None and not ids:
        import_row.complaints.insert(0, "it names nobody: give the e-mail address")
    if any(len(id) > MOST_CHARACTERS for id in ids.values()):
        import_row.complaints.insert(0, f"an id has at most {MOST_CHARACTERS} characters")
    is_alone = email is None and not import_row.fields and not import_row.values
    for index, id in ids.items() if email is None else ():
        is_exported = columns.header[index].strip().startswith(ID)
        if not is_exported and (_TOTAL.fullmatch(id) or (is_alone and not _may_be_id(id))):
            import_row.complaints.insert(0, f"`{id[:80]}` looks like the footer of a report, not like an id")
    if not import_row.complaints:
        references = [Reference(email=email, source=columns.ids[index], id=id) for index, id in ids.items()]
        import_row.references = references or [Reference(email=email)]


def _may_be_id(text: str) -> bool:
    """Return whether a text that stands alone in its line may be an id: it has a digit, and no blank."""
    return not any(character.isspace() for character in text) and any(character.isdigit() for character in text)


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
        _, line, *column = key.split("/")
        lines = people[id].lines
        lines["".join(column)] = max(lines.get("".join(column), 0), int(line))
    return {identity: people[id] for identity, id in ids.items() if id in people}


async def _find_former(reader: database.Session, import_rows: Sequence[_ImportRow], workspace: Workspace) -> None:
    """Find the addresses of rows that an earlier version wrote otherwise, and that are still known so."""
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
    """Write the value of a field so that two that a spreadsheet shows alike are the same."""
    if name == "tags" and isinstance(value, list):
        return join_tags([str(tag) for tag in value])
    return write_cell(clean_field(name, value))


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
    texts = {name: _write_text(name, value) for name, value in import_row.fields.items()}
    is_differing = any(person.texts.get(name) != text for name, text in texts.items())
    if import_row.complaints:
        return
    import_row.is_new = person.is_new
    reference = import_row.references[0]
    line = import_row.row.line  # one before a line that was imported already has had its say
    if is_differing and person.lines.get(columns.signature, 0) <= line:
        import_row.items.append(Item(key=f"{key}/{columns.signature}", contact=reference, fields=import_row.fields))
    for index, (score_type, value) in import_row.values.items():
        if person.values.get(score_type.key) != value and person.lines.get(str(index), 0) <= line:
            import_row.items.append(
                Item(key=f"{key}/{index}", contact=reference, score=score_type.key, op=Op.SET, amount=value)
            )
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
        # What has the same file, line and column says the same: an earlier version may have read it otherwise.
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
