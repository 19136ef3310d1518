"""Recognize what each column of a CSV file means."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from storage.db import database
from storage.domain.contacts import (
    ATTRIBUTE,
    FIELDS,
    ID,
    MOST_ATTRIBUTES,
    MOST_IN_ATTRIBUTE_NAME,
    SLUG,
    looks_like_address,
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
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.scoring.definitions import score_types
from storage.transfer.csv_files import NOTES, BadFile, CsvFile, Row
from storage.transfer.import_batch import batch_of

MOST_COLUMNS = 16_384  # the most columns that a spreadsheet program has
MOST_NAMED = 20  # the most columns that a message lists
SAMPLE = 20  # the number of rows that are searched for an e-mail address
_ATTRIBUTE = re.compile(rf"attributes\..{{1,{MOST_IN_ATTRIBUTE_NAME}}}", re.DOTALL)
#: The columns of an activity. A file without the first two contains no activities.
ACTIVITY, OCCURRED_AT, QUANTITY = "activity", "occurred_at", "quantity"
#: The headers that versions before migration 0010 recognized besides the names of fields.
_FORMER_HEADERS = {"email": ("e-mail", "e-mail address", "email address")}


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The meaning of each column of a file, by its index. *unused* are the names of columns that are not imported."""

    header: tuple[str, ...]
    fields: Mapping[int, str]  #: a field of the contact, or `attributes.…`
    scores: Mapping[int, ScoreType]
    ids: Mapping[int, str]  #: the source that the ids belong to
    email: int | None
    activity: Mapping[str, int] = field(default_factory=dict)  #: the indexes of ACTIVITY, OCCURRED_AT and QUANTITY
    last_name: int | None = None  #: the column to append to the name column, which then has first names
    unused: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[tuple[str, str], ...]:
        """The imported columns, as (header, field) pairs."""
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


async def choose_columns(
    workspace: Workspace, *, file: CsvFile, mapping: Mapping[str, str], all_columns: bool = False
) -> Columns:
    """Return the meaning of each column, the same as in an earlier import of the same file. Raises BadFile.

    With *all_columns*, the columns without another meaning become attributes.
    Versions before migration 0010 recognized fewer headers. If such a version imported the file, the columns that it
    left out are left out again, unless *all_columns*.
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
    # A dedupe key is digest/line/column, where the column is an index, a signature of the fields, or `id…`.
    parts = {part for row in rows for part in row["dedupe_key"].split("/")[2:] if not part.startswith("id")}
    is_former = parts <= {former.signature, *map(str, former.scores)}
    return former if rows and is_former else columns


def check_attributes(file: CsvFile, columns: Columns) -> None:
    """Raise BadFile for the first row with more attributes than a contact may have.

    The number of columns may be larger: an export has a column for every attribute of any contact.
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
    """Return the meaning of each column: the address, a field, an attribute, an id or a score. Raises BadFile.

    A column gets the meaning that *mapping*, the user's choice, has for it. Otherwise it gets the field or score type
    that its header names. A field still without a column gets one with a header that other programs use for the field.
    Two columns that *mapping* has for `name` are joined in the order of *mapping*, as first and last name.
    With *all_columns* the remaining columns become attributes. With *former* only the headers that versions before
    migration 0010 recognized are recognized. If no column identifies the contact, the first *rows* of the file are read
    to propose a column.
    """
    if len(header) > MOST_COLUMNS:
        raise BadFile(f"the file has more than {MOST_COLUMNS:,} columns: remove those that you do not need")
    keys = {score_type.key: score_type for score_type in types}
    activity_names = [name for name in (ACTIVITY, OCCURRED_AT, QUANTITY) if name not in keys]
    mapped = _apply_mapping(header, mapping, targets=(*FIELDS, *keys, *activity_names))
    columns = _match_exact_headers(header, types, mapped, activity_names)
    default = types[0].key if types else None
    last_name = _recognize_headers(header, columns, _FORMER_HEADERS if former else HEADERS, default=default)
    mapped_names = [index for index, target in mapped.items() if target == "name"]
    if len(mapped_names) == 2:
        last_name = mapped_names[1]
        del columns[last_name]
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


def _match_exact_headers(
    header: Sequence[str], types: Sequence[ScoreType], mapped: Mapping[int, str], activity_names: Sequence[str]
) -> dict[int, str]:
    """Return the targets of columns that are *mapped*, or that are named exactly like a target, by index."""
    targets = {name: name for name in activity_names}
    targets |= {score_type.label.casefold(): score_type.key for score_type in types}
    targets |= {name: name for name in (*(score_type.key for score_type in types), *FIELDS)}
    columns: dict[int, str] = {}
    for index, name in enumerate(header):
        if name in NOTES:
            continue
        own_target = targets.get(name.strip().casefold()) or (name if _is_prefixed(name) else None)
        if index in mapped:
            columns[index] = mapped[index]
        elif own_target is not None and own_target not in mapped.values():
            columns[index] = own_target
    if {ACTIVITY, OCCURRED_AT} <= set(columns.values()):
        return columns
    if set(mapped.values()).intersection(activity_names):
        raise BadFile(f"an activity needs its time: add --map COLUMN={ACTIVITY} and --map COLUMN={OCCURRED_AT}")
    return {index: target for index, target in columns.items() if target not in activity_names}


def _propose_identifier(header: Sequence[str], columns: Mapping[int, str], rows: Iterable[Row]) -> str:
    """Return the refusal of a file without a column that identifies the contact, with the `--map` that fixes it."""
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
    """Add every column with a header but no meaning yet to *columns*, as an attribute."""
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
    """Add the columns with headers that other programs use to *columns*. Return the index of a last name column.

    *spellings* are the possible headers of each field. *default* is the key of the default score type, which a column
    for `SCORE` is imported as.
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
    index = last if first is None else first
    if index is None:
        return None
    columns[index] = "name"
    return None if first is None else last


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
        if target not in targets and not _is_prefixed(target):
            raise BadFile(f"`{target}` is not a field; use {', '.join(targets)}, attributes.NAME or {ID}SOURCE")
        mapped_targets[column_index] = target
    return mapped_targets


def format_columns(columns: Sequence[str]) -> str:
    """Return the names of columns, separated by commas: the first MOST_NAMED, and the number of the others."""
    remaining = len(columns) - MOST_NAMED
    return ", ".join(columns[:MOST_NAMED]) + (f" and {remaining:,} more" if remaining > 0 else "")


def _is_prefixed(name: str) -> bool:
    """Return whether a name is `attributes.…`, or `ids.…` with the slug of a source."""
    return bool(_ATTRIBUTE.fullmatch(name) or (name.startswith(ID) and SLUG.fullmatch(name.removeprefix(ID))))
