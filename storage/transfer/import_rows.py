"""Parse the rows of a CSV file: the references of a row to its contact, and its values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from storage.domain.contacts import (
    ATTRIBUTE,
    ID,
    MOST_CHARACTERS,
    Json,
    Reference,
    check_field,
    check_text,
    clean_field,
    looks_like_address,
)
from storage.domain.csv_cells import read_attribute, read_cell, split_tags
from storage.domain.errors import OffStep, OutOfRange, Refusal
from storage.domain.facts import Item
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.ledger.identities import Identity
from storage.transfer.csv_files import Row
from storage.transfer.import_activities import ActivityReader
from storage.transfer.import_columns import Columns
from storage.transfer.import_numbers import NumberReader

#: What a line of totals contains in a column of ids.
_TOTAL = re.compile(r"(?:grand |sub-?)?totals?\b.*|sums?|counts?|averages?|avg|records?", re.IGNORECASE)


@dataclass(slots=True)
class ImportRow:
    """A row of the file: its references to a contact, its values, and the items for different values.

    A row with *complaints* is not imported.
    """

    row: Row
    complaints: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  #: why some cells are not imported, although the row is
    adjustable: set[str] = field(default_factory=set)  #: the names of the ScoreOptions that would accept its scores
    references: list[Reference] = field(default_factory=list)
    fields: dict[str, Json] = field(default_factory=dict)
    values: dict[int, tuple[ScoreType, int]] = field(default_factory=dict)  #: (score type, thousandths) by column
    activity: Item | None = None
    items: list[Item] = field(default_factory=list)
    former: dict[Identity, Identity] = field(default_factory=dict)  #: identity → its stored, older spelling
    is_new: bool = False
    changed: bool = False

    def list_identities(self, workspace: Workspace, reference: Reference | None = None) -> list[Identity]:
        """Return the distinct identities in all references of the row, or in *reference*, as they are stored."""
        references = self.references if reference is None else [reference]
        identities = [(workspace.id, *identity) for reference in references for identity in reference.identities()]
        return list(dict.fromkeys(self.former.get(identity, identity) for identity in identities))


def parse_row(row: Row, columns: Columns, numbers: NumberReader, activities: ActivityReader) -> ImportRow:
    """Parse a row. A cell that cannot be parsed is left out; a score or the only identity is a complaint instead."""
    import_row = ImportRow(row)
    if row.wrong:
        import_row.complaints.append(row.wrong)
        return import_row
    cells = {index: text for index, cell in enumerate(row.cells) if (text := read_cell(cell))}
    _join_names(cells, columns)
    for index, cell in cells.items():
        try:
            check_text(cell, "it")
            if index in columns.scores:
                import_row.values[index] = numbers.read_score(index, cell)
            elif index in columns.fields:
                name = columns.fields[index]
                is_exported = name.startswith(ATTRIBUTE) and columns.header[index].strip() == name
                value = _parse_field(name, cell, is_exported=is_exported)
                if is_exported or value not in (None, "", []):
                    import_row.fields[name] = value
        except Refusal as refusal:
            reasons = import_row.complaints if index in columns.scores else import_row.lost
            reasons.append(f"{columns.header[index].strip()}: {refusal}")
            if isinstance(refusal, OffStep | OutOfRange):
                import_row.adjustable.add("rounds" if isinstance(refusal, OffStep) else "clamps")
    _name_contact(import_row, cells, columns)
    if import_row.references:
        try:
            import_row.activity = activities.read_activity(cells, import_row.references[0])
        except Refusal as refusal:
            import_row.complaints.append(str(refusal))
    return import_row


def _join_names(cells: dict[int, str], columns: Columns) -> None:
    """Replace the cells of a first and a last name by one name, if they have two columns."""
    if columns.last_name is not None and (last := cells.pop(columns.last_name, None)):
        index = next(index for index, name in columns.fields.items() if name == "name")
        cells[index] = f"{cells.get(index, '')} {last}".strip()


def _parse_field(name: str, cell: str, *, is_exported: bool) -> Json:
    """Parse and validate a field. An attribute in the format of an export may be another type than a text."""
    value: Json = list[Json](split_tags(cell)) if name == "tags" else read_attribute(cell) if is_exported else cell
    value = clean_field(name, value)
    check_field(name, value)
    return value


def _name_contact(import_row: ImportRow, cells: Mapping[int, str], columns: Columns) -> None:
    """Add the references of a row to its contact, or complaints.

    A row with several ids has a reference for each id, all with the address.
    """
    email = cells.get(columns.email) if columns.email is not None else None
    ids = {index: cells[index] for index in columns.ids if index in cells}
    if email is not None and not looks_like_address(email):
        problem = f"`{email[:80]}` is not an e-mail address"
        (import_row.lost if ids else import_row.complaints).insert(0, problem)
        email = None
    elif email is None and not ids:
        import_row.complaints.insert(0, "the row names no contact: add an e-mail address")
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
    """Return whether a text that is alone in its row may be an id: it has a digit and no whitespace."""
    return not any(character.isspace() for character in text) and any(character.isdigit() for character in text)
