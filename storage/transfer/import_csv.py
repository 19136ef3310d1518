"""Import contacts and scores from a CSV file, in chunks, so that the import of a large file can be resumed."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from storage.db import database
from storage.domain.contacts import Contact
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Recorded, ScoreChanged, Status, Submission
from storage.ledger import contacts
from storage.ledger.batches import find_undo_in_force
from storage.ledger.committer import record, rehearse
from storage.ledger.refold_job import refold_pending
from storage.transfer.csv_files import CsvFile, Row
from storage.transfer.import_activities import ActivityReader
from storage.transfer.import_batch import SOURCE, batch_of, build_undo, record_import
from storage.transfer.import_columns import Columns, check_attributes
from storage.transfer.import_compare import compare_row, load_stored_contacts, replace_undone_keys
from storage.transfer.import_numbers import NO_ADJUSTMENT, NumberReader, ScoreOptions
from storage.transfer.import_rows import ImportRow, parse_row

CONFLICT = "conflict"  #: the reason of an item with a recorded key but different content
CHUNK = 500  # the number of rows in a submission
MOST_REASONS = 100  # the most kinds of reasons that a report counts
_VARYING_PARTS = re.compile(r"`[^`]*`|[+-]?\d[\d.,]*")  # values and numbers in a reason
MOST_NAMED = 10  # the most contacts that a report lists by name


@dataclass(slots=True)
class ScoreEffect:
    """The effect of an import on the scores of one type: how many change, and enter or leave the top band.

    *first* are the first contacts that enter the top band: (name, score before, score after), in thousandths.
    """

    score_type: ScoreType
    changed: int = 0
    entering: int = 0
    leaving: int = 0
    first: list[tuple[str, int | None, int | None]] = field(default_factory=list)


@dataclass(slots=True)
class Reason:
    """Why rows, or cells of rows, were not imported: as it reads for the first of these rows, and their number."""

    text: str
    line: int  #: of the first row
    count: int = 0


@dataclass(slots=True)
class Report:
    """The result of an import. The numbers are numbers of rows if not noted otherwise."""

    new: int = 0
    changed: int = 0
    same: int = 0
    wrong: int = 0
    lost: int = 0  #: imported rows with a cell that was not imported
    unasked: int = 0  #: follow-ups that were not opened, because an import is muted
    restored: bool = False  #: whether the import had been undone, and is now in force again
    unused: tuple[str, ...] = ()  #: names of the columns that were not imported
    scores: dict[str, ScoreEffect] = field(default_factory=dict)  #: by the key of the score type
    reasons: dict[str, Reason] = field(default_factory=dict)  #: by the text without what differs from row to row
    adjustable: Counter[str] = field(default_factory=Counter)  #: rows that a field of ScoreOptions would accept

    def count_reasons(self, import_row: ImportRow) -> None:
        """Count why a row, or cells of it, are not imported. After MOST_REASONS, further reasons are not listed."""
        self.adjustable.update(import_row.adjustable)
        for text in dict.fromkeys([*import_row.complaints, *import_row.lost]):
            kind = _VARYING_PARTS.sub("…", text)
            if kind in self.reasons or len(self.reasons) < MOST_REASONS:
                self.reasons.setdefault(kind, Reason(text, import_row.row.line)).count += 1


async def import_file(
    workspace: Workspace,
    *,
    file: CsvFile,
    columns: Columns,
    progress: Callable[[int], None],
    wrong: Callable[[Row, str], None],
    options: ScoreOptions = NO_ADJUSTMENT,
    dry_run: bool = False,
    by: str,
    now: int,
) -> Report:
    """Import a file and return a report; raises BadFile. With *dry_run* nothing is saved.

    *columns* are the meanings of the file's columns, from `choose_columns`.
    A blank cell changes nothing, and neither does a cell with the current value.
    The dedupe key of every fact contains the digest of the file, the line and the column. An import of the same file
    therefore resumes where the last one stopped. A dry run rolls back each chunk before the next, so a contact in two
    chunks is counted in both.
    *progress* is called with the number of bytes done so far. *wrong* is called with each row that has a cell which
    cannot be imported, and with the reason.
    """
    check_attributes(file, columns)
    numbers = NumberReader(file, columns, options)
    activities = ActivityReader(columns, numbers, now=now)
    key, batch = file.digest[:16], batch_of(file)
    report, offset, rows = Report(unused=columns.unused), 0, file.rows()
    if not dry_run:
        await record_import(workspace, file=file, by=by, now=now)
    undo = await find_undo_in_force(workspace, batch=batch)
    if undo is not None:
        report.restored = True
        undo_of_undo = build_undo(undo, defers=not dry_run, by=by, now=now)
        await _record_and_report(workspace, undo_of_undo, report, dry_run=dry_run, now=now)
    while chunk := list(islice(rows, CHUNK)):
        import_rows = [parse_row(row, columns, numbers, activities) for row in chunk]
        valid_rows = [import_row for import_row in import_rows if not import_row.complaints]
        await replace_undone_keys(workspace, import_rows=valid_rows, batch=batch)
        stored = await load_stored_contacts(workspace, import_rows=valid_rows, columns=columns, batch=batch, now=now)
        for import_row in import_rows:
            if not import_row.complaints:
                compare_row(import_row, stored, workspace, key=f"{key}/{import_row.row.line}", columns=columns)
        items = [item for import_row in import_rows for item in import_row.items]
        if items:
            # Every item has its own time, in the order of the rows, whatever the chunks are.
            submission = Submission(
                source=SOURCE, batch=batch, received_at=now + offset, items=items, actor=SOURCE, muted=True
            )
            recorded = await _record_and_report(workspace, submission, report, dry_run=dry_run, now=now)
            _apply_outcomes(import_rows, recorded)
        offset += len(items)
        _count_rows(report, import_rows, wrong)
        progress(chunk[-1].end)
    return report


async def _record_and_report(
    workspace: Workspace, submission: Submission, report: Report, *, dry_run: bool, now: int
) -> Recorded:
    """Record a submission, or rehearse it if *dry_run*, and add its effect on the scores to the report."""

    async def load_entering(session: database.Session, recorded: Recorded) -> tuple[Recorded, dict[int, Contact]]:
        ids = [move.contact for move in recorded.score_changes if _is_entering(move)][:MOST_NAMED]
        return recorded, {contact.id: contact for contact in await contacts.load_contacts(session, workspace, ids=ids)}

    if dry_run:
        recorded, contacts_by_id = await rehearse(workspace, submission, look=load_entering, now=now)
        _report_moves(report, recorded, contacts_by_id)
        return recorded
    recorded = await record(workspace, submission, now=now)
    slices = [recorded]
    if recorded.pending:
        await refold_pending(workspace, undo=submission.batch, on_slice=slices.append, clock=lambda: now)
    for part in slices:
        _report_moves(report, *await load_entering(database.current_database().reader, part))
    return recorded


def _report_moves(report: Report, recorded: Recorded, contacts_by_id: Mapping[int, Contact]) -> None:
    report.unasked += recorded.muted_follow_ups
    for move in recorded.score_changes:
        effect = report.scores.setdefault(move.score_type.key, ScoreEffect(move.score_type))
        effect.changed += move.before != move.after
        effect.leaving += move.score_type.is_top(move.before) and not move.score_type.is_top(move.after)
        effect.entering += _is_entering(move)
        if move.contact in contacts_by_id and _is_entering(move) and len(effect.first) < MOST_NAMED:
            effect.first.append((contacts_by_id[move.contact].shown, move.before, move.after))


def _is_entering(move: ScoreChanged) -> bool:
    return move.score_type.is_top(move.after) and not move.score_type.is_top(move.before)


def _apply_outcomes(import_rows: Sequence[ImportRow], recorded: Recorded) -> None:
    outcomes = iter(recorded.outcomes)
    for import_row in import_rows:
        row_outcomes = list(islice(outcomes, len(import_row.items)))
        import_row.changed = any(outcome.status is Status.APPLIED for outcome in row_outcomes)
        # A conflict is not reported: an earlier version parsed the same cell differently.
        reasons = (outcome.reason for outcome in row_outcomes if outcome.reason != CONFLICT)
        import_row.complaints += dict.fromkeys(reason for reason in reasons if reason)


def _count_rows(report: Report, import_rows: Sequence[ImportRow], wrong: Callable[[Row, str], None]) -> None:
    for import_row in import_rows:
        report.count_reasons(import_row)
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
