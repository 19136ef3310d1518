"""Import contacts and scores from a CSV file, and export them."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer

from bot.cli import output
from bot.cli.finding import read_filter
from bot.cli.run import AsJson, Team, run, terminal_user, the_workspace
from bot.clock import system_clock
from bot.settings import Settings
from storage.bootstrap import Storage
from storage.domain.contacts import ATTRIBUTE
from storage.domain.csv_headers import name_attribute
from storage.domain.errors import NothingToUndo, Refusal
from storage.domain.people import Workspace
from storage.ledger.erase_many import delete_contacts, list_gone
from storage.limits import DEFAULT_LIMITS, MAINTENANCE
from storage.reading.current_scores import Card
from storage.reading.pages import count
from storage.transfer.csv_files import CsvFile, Mending, Row, recognize
from storage.transfer.export import create_file, export, render_json, write_csv
from storage.transfer.import_batch import UndoneImport, batch_of, undo_import
from storage.transfer.import_columns import Columns, choose_columns, format_columns
from storage.transfer.import_csv import Reason, Report, import_file
from storage.transfer.import_numbers import ScoreOptions
from storage.transfer.ledger_file import import_ledger, is_ledger_file, ledger_lines

#: value of `--option` → field of ScoreOptions
OPTIONS = {"off_step=round": "rounds", "out_of_range=clamp": "clamps"}
SHOWN = 10  # reasons to print; the file of rejected lines has every line with its reason
#: what each field of ScoreOptions does with a score that its type does not accept
ADJUSTING = {
    "rounds": "round scores that are off the step",
    "clamps": "bring scores outside the range to its nearest end",
}


class Form(StrEnum):
    """The file format of an export."""

    CSV = "csv"
    JSONL = "jsonl"


def import_contacts(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", exists=True, dir_okay=False)],
    map_column: Annotated[
        list[str] | None, typer.Option("--map", metavar="COLUMN=FIELD", help="The field of a column; repeatable.")
    ] = None,
    all_columns: Annotated[
        bool, typer.Option("--all-columns", help="Import every other column as an attribute.")
    ] = False,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="off_step=round, out_of_range=clamp")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Import without asking, also where most columns are left out.")] = (
        False
    ),
    undo: Annotated[bool, typer.Option("--undo", help="Undo the import of this file.")] = False,
    erase: Annotated[
        bool, typer.Option("--erase", help="With --undo: delete for good the contacts that only this import made.")
    ] = False,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Import contacts, scores and activities. A blank cell changes nothing. A file imported twice counts once.

    Columns: email, name, company, owner, tags, a score type, attributes.NAME, ids.SOURCE.

    Activities also have activity, occurred_at and quantity.
    """
    if undo and (dry_run or map_column or all_columns or option):
        raise typer.BadParameter("--undo undoes a whole import, and takes no other options but --erase and --yes")
    if erase and not undo:
        raise typer.BadParameter("--erase goes with --undo: it deletes the contacts that only an undone import made")
    if unknown := [text for text in option or () if text not in OPTIONS]:
        raise typer.BadParameter(f"`{unknown[0]}` is not an option; choose from {' and '.join(OPTIONS)}")

    async def body(storage: Storage, _: Settings) -> bool:
        workspace = await the_workspace(team)
        if is_ledger_file(file):
            if undo or dry_run or map_column or all_columns or option:
                raise Refusal("a whole ledger is imported as it is, into an empty workspace, and takes no options")
            await _import_whole(workspace, file, as_json=as_json)
            return True
        csv_file = recognize(file)
        if undo:
            if erase and not (yes or (not as_json and output.confirm("Undo, and delete its contacts for good?"))):
                raise Refusal("nothing was undone; add --yes to undo the import and delete its contacts for good")
            with output.progress_bar(file.name, total=100) as on_percent:
                undone = UndoneImport(scores=0, contacts=0)
                with suppress(NothingToUndo) if erase else nullcontext():  # it may have been undone before
                    undone = await undo_import(
                        workspace,
                        file=csv_file,
                        progress=lambda done, total: on_percent(100 * done // total),
                        by=terminal_user(),
                        clock=system_clock,
                    )
            erased = await _erase_gone(workspace, csv_file) if erase else None
            _print_undone(file, undone, erased=erased, as_json=as_json)
            return True
        mapping = dict(_parse_pair(text) for text in map_column or ())
        columns = await choose_columns(workspace, file=csv_file, mapping=mapping, all_columns=all_columns)
        if not dry_run and not yes:
            _confirm_columns(columns, file, asks=not as_json and output.is_interactive())
        mending = Mending(csv_file)

        def record_wrong_line(row: Row, reason: str) -> None:
            if not dry_run:
                mending.add(row, reason)

        try:
            with output.progress_bar(file.name, total=csv_file.size) as on_progress:
                report = await import_file(
                    workspace,
                    file=csv_file,
                    columns=columns,
                    progress=on_progress,
                    wrong=record_wrong_line,
                    options=ScoreOptions(**{OPTIONS[text]: True for text in option or ()}),
                    dry_run=dry_run,
                    by=terminal_user(),
                    now=system_clock(),
                )
        finally:
            has_lines = mending.close()
        _print_report(
            report, csv_file, columns, mending.path if has_lines else None,
            dry_run=dry_run, as_json=as_json,
        )  # fmt: skip  # what was done, and how it is shown
        return not report.wrong and not report.lost

    if not run(
        body, limits=MAINTENANCE if undo or is_ledger_file(file) else DEFAULT_LIMITS
    ):  # an undo marks all contacts of the import in one transaction
        raise typer.Exit(1)


async def _import_whole(workspace: Workspace, file: Path, *, as_json: bool) -> None:
    """Import a ledger into an empty workspace."""
    with output.progress_bar(file.name, total=_measure(file)) as on_progress:
        contacts, facts = await import_ledger(
            workspace, path=file, progress=on_progress, by=terminal_user(), now=system_clock()
        )
    if as_json:
        output.document({"file": file.name, "contacts": contacts, "facts": facts})
        return
    output.lines(
        f"Imported {file.name}: {output.count(contacts, 'contact')} with {output.count(facts, 'fact')}."
        " Every score was calculated again and verified; no follow-up was created."
    )


def _measure(file: Path) -> int:
    return file.stat().st_size


def _parse_pair(text: str) -> tuple[str, str]:
    column, _, field = text.rpartition("=")
    if not column or not field:
        raise Refusal(f"`{text}` is not a column and a field: write --map 'Column name=field'")
    return column, field


def _confirm_columns(columns: Columns, file: Path, *, asks: bool) -> None:
    """Show the detected columns and ask for confirmation if *asks*.

    Raises Refusal if the person declines, or, without confirmation, if most columns would be ignored.
    """
    if asks:
        output.note(_describe_columns(columns))
        if columns.unused:
            output.note(f"Left out: {format_columns(columns.unused)}")
        if not typer.confirm(f"Import {file.name} like this?", err=True):
            raise Refusal(
                "Nothing was imported. Map a column with --map 'Column name=field', import all of them with"
                " --all-columns, or see first what would happen with --dry-run"
            )
        return
    number_used = len(columns.shown)
    if len(columns.unused) > number_used:
        raise Refusal(
            f"only {number_used} of {number_used + len(columns.unused)} columns would be imported"
            f" ({_describe_columns(columns)}). Map the others with --map 'Column name=field', import them as"
            " attributes with --all-columns, or leave them out with --yes"
        )


def _describe_columns(columns: Columns) -> str:
    return "Columns: " + ", ".join(f"{name} → {target}" for name, target in columns.shown)


async def _erase_gone(workspace: Workspace, file: CsvFile) -> int:
    """Delete the contacts that only the undone import of a file made. Return their number."""
    ids = await list_gone(workspace, batch=batch_of(file))
    with output.progress_bar("Deleting", total=len(ids)) as on_progress:
        return await delete_contacts(workspace, ids=ids, progress=on_progress, by=terminal_user(), clock=system_clock)


def _print_undone(file: Path, undone: UndoneImport, *, erased: int | None, as_json: bool) -> None:
    if as_json:
        counts = {"scores": undone.scores, "contacts": undone.contacts}
        output.document({"undone": file.name, **counts, **({} if erased is None else {"erased": erased})})
        return
    made = "are no longer listed; --undo --erase deletes them for good"
    if erased is not None:
        made = f"were deleted for good: {output.count(erased, 'contact')}"
    output.lines(
        f"Undid the import of {file.name}: {output.count(undone.scores, 'score')} of"
        f" {output.count(undone.contacts, 'contact')} are as they would be without it."
        f" Contacts that only it made {made}.",
        f"Import it again: contact-score import {file}",
    )


def _print_report(
    report: Report,
    file: CsvFile,
    columns: Columns,
    mend_path: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    if as_json:
        counts = {name: getattr(report, name) for name in ("new", "changed", "same", "wrong", "lost", "unasked")}
        scores = [
            {"type": key, "changed": moves.changed, "entering": moves.entering, "leaving": moves.leaving}
            for key, moves in report.scores.items()
        ]
        extra = {
            "scores": scores,
            "reasons": [
                {"reason": reason.text, "line": reason.line, "count": reason.count} for reason in _sort_reasons(report)
            ],
            "errors": str(mend_path) if mend_path else None,
            "columns": dict(columns.shown),
            "unused_columns": list(report.unused),
        }
        output.document({"file": file.path.name, "dry_run": dry_run, "batch": batch_of(file), **counts, **extra})
        return
    verb = ("Would import" if dry_run else "Imported") + f" {file.path.name}"
    output.lines(
        f"{verb}: {output.count(report.new, 'new contact')}, {report.changed:,} changed, {report.same:,} as they were,"
        f" {output.count(report.wrong, 'line')} not imported."
    )
    if report.lost:
        output.lines(f"Of {output.count(report.lost, 'line')} a cell was left out; the rest of the line was imported.")
    if any(name.casefold() != target for name, target in columns.shown):
        output.lines(f"{_describe_columns(columns)}.")
    for moved in report.scores.values():
        output.moved(
            moved.score_type, changed=moved.changed, entering=moved.entering, leaving=moved.leaving,
            first=moved.first, dry_run=dry_run,
        )  # fmt: skip  # what moved, and how far
    _print_reasons(report)
    if mend_path is not None:
        output.lines(f"They are in {mend_path}: fix them there, then run contact-score import {mend_path}")
    if report.restored:
        output.lines("It had been undone, and is in force again.")
    if report.unused:
        column = report.unused[0]
        output.lines(
            f"Left out: {format_columns(report.unused)}."
            f" Import one with --map '{column}={ATTRIBUTE}{name_attribute(column)}', or all with --all-columns"
        )
    if report.unasked:
        output.lines(f"It would have created {output.count(report.unasked, 'follow-up')}; an import creates none.")
    if not dry_run and report.new + report.changed:
        output.lines(f"Undo it: contact-score import {file.path} --undo (in Slack: /score undo {batch_of(file)})")


def _sort_reasons(report: Report) -> list[Reason]:
    """Return the reasons, the most frequent first."""
    return sorted(report.reasons.values(), key=lambda reason: (-reason.count, reason.line))


def _print_reasons(report: Report) -> None:
    """Print why lines and cells were left out: each reason with its first line, and what would import them."""
    reasons = _sort_reasons(report)
    for reason in reasons[:SHOWN]:
        others = f" and {reason.count - 1:,} more" if reason.count > 1 else ""
        output.lines(f"  Line {reason.line}{others}: {reason.text}")
    if len(reasons) > SHOWN:
        output.lines(f"  … and {output.count(len(reasons) - SHOWN, 'other reason')}")
    for text, name in OPTIONS.items():
        if number := report.adjustable[name]:
            output.lines(f"To {ADJUSTING[name]} ({output.count(number, 'line')}), add --option {text}")


def export_contacts(
    filter_text: Annotated[str, typer.Option("--filter", help="A filter as in Slack: 'score>=80 owner:…'")] = "",
    form: Annotated[Form | None, typer.Option("--format", help="csv by default.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", dir_okay=False)] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Everything that scores are made of, as JSON Lines for `import`.")
    ] = False,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Export contacts with their scores, a page at a time, however many there are.

    With --full, score types with their rules, and every fact, merge and undo: imported into an empty workspace, they
    give the same scores and histories.
    """
    if full and (filter_text or form is not None or as_json):
        raise typer.BadParameter("--full exports a whole workspace in a format of its own, and takes -o alone")
    if as_json and form is not None:
        raise typer.BadParameter("--json is a format of its own: leave out --format")

    async def body(_: Storage, __: Settings) -> None:
        workspace = await the_workspace(team)
        now = system_clock()
        if full:
            await _export_whole(workspace, out, now=now)
            return
        contact_filter = await read_filter(workspace, filter_text)
        total = await count(workspace, query=contact_filter, now=now) if out else 0
        target = create_file(out) if out else nullcontext(sys.stdout)
        progress = output.progress_bar(out.name, total=total) if out else nullcontext(_ignore_progress)
        with target as file, progress as on_progress:
            if as_json or form is Form.JSONL:
                cards = export(workspace, query=contact_filter, text=filter_text, by=terminal_user(), now=now)
                number_written = await _write_json(file, cards, on_progress, as_document=as_json)
            else:
                number_written = await write_csv(
                    workspace,
                    query=contact_filter,
                    text=filter_text,
                    file=file,
                    progress=on_progress,
                    by=terminal_user(),
                    now=now,
                )
        if out:
            output.note(f"Wrote {output.count(number_written, 'contact')} to {out}.")

    run(body, limits=MAINTENANCE)


async def _export_whole(workspace: Workspace, out: Path | None, *, now: int) -> None:
    """Write the ledger of a workspace to a file, or to the terminal."""
    number = 0
    with create_file(out) if out else nullcontext(sys.stdout) as file:
        async for line in ledger_lines(workspace, by=terminal_user(), now=now):
            file.write(line)
            number += 1
    if out:
        output.note(f"Wrote {output.count(number, 'line')} to {out}.")


def _ignore_progress(done: int) -> None:
    """Ignore progress: the output itself goes to the terminal, and a progress bar would disturb it."""


async def _write_json(
    file: TextIO, cards: AsyncIterator[Card], on_progress: Callable[[int], None], *, as_document: bool
) -> int:
    """Write the contacts and return their number: as one JSON document, or as one document per line."""
    number = 0
    file.write('{"contacts": [\n' if as_document else "")
    async for card in cards:
        file.write(",\n" if as_document and number else "")
        file.write(render_json(card) + ("" if as_document else "\n"))
        number += 1
        on_progress(number)
    file.write("\n]}\n" if as_document else "")
    return number
