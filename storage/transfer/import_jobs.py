"""Import files that were sent, each in a job. CSV is imported as it is, JSON Lines of an export by way of CSV."""

import asyncio
import csv
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage.domain.contacts import ATTRIBUTE, FIELDS, ID
from storage.domain.csv_cells import guard_formula, join_tags, write_attribute, write_cell
from storage.domain.errors import Refusal
from storage.domain.numbers import parse, show_unambiguous
from storage.domain.people import Workspace
from storage.job_runner import Handler, JobResult
from storage.jobs import Job
from storage.sent_files import (
    IMPORT,
    ImportSettings,
    ImportState,
    create_private,
    load_file,
    load_part,
    record_end,
    record_start,
)
from storage.transfer.csv_files import BadFile, CsvFile, Row, recognize
from storage.transfer.import_batch import batch_of
from storage.transfer.import_columns import Columns, choose_columns
from storage.transfer.import_csv import Report, import_file
from storage.vault import open_private

MOST_ERRORS = 20  #: lines that a result lists
LONGEST_LINE = 1_000_000  #: characters of a line of JSON


async def recognize_sent(workspace: Workspace, *, path: Path, settings: ImportSettings) -> tuple[CsvFile, Columns]:
    """Return a file with the meaning of its columns; raises BadFile. JSON Lines are converted beside the file."""

    def read() -> CsvFile:
        return recognize(convert_json_lines(path) if is_json(path) else path)

    file = await asyncio.to_thread(read)
    columns = await choose_columns(workspace, file=file, mapping=settings.mapping, all_columns=settings.all_columns)
    return file, columns


def make_handlers(clock: Callable[[], int]) -> dict[str, Handler]:
    """Return the handler that imports a file. An import that was interrupted continues where it stopped."""

    async def run_import(workspace: Workspace, job: Job) -> JobResult:
        sent = await load_file(workspace, id=job.subject)
        if sent is None or sent.state not in (ImportState.QUEUED, ImportState.RUNNING):
            return JobResult()
        await record_start(workspace, id=sent.id)
        errors: list[tuple[int, str]] = []

        def note_error(row: Row, reason: str) -> None:
            if len(errors) < MOST_ERRORS:  # the converted file has a header more
                errors.append((row.line - is_converted, reason))

        with tempfile.TemporaryDirectory(prefix="contact-score-") as folder:
            path = Path(folder) / (Path(sent.name).name or "file.csv")
            await _write_content(workspace, sent.id, path)
            is_converted = is_json(path)
            try:
                file, columns = await recognize_sent(workspace, path=path, settings=sent.settings)
                report = await import_file(
                    workspace, file=file, columns=columns, progress=lambda _: None, wrong=note_error,
                    by=sent.made_by, now=clock(),
                )  # fmt: skip  # what, then who and when
            except BadFile as exc:
                await record_end(workspace, id=sent.id, problem=str(exc), now=clock())
                return JobResult()
        summary = summarize(report, file, columns)
        await record_end(workspace, id=sent.id, summary=summary, errors=errors, now=clock())
        return JobResult()

    return {IMPORT: run_import}


async def _write_content(workspace: Workspace, id: int, path: Path) -> None:
    position = 0
    with create_private(path) as file:
        while (part := await load_part(workspace, id=id, position=position)) is not None:
            file.write(part)
            position += 1


def summarize(report: Report, file: CsvFile, columns: Columns) -> dict[str, Any]:
    """Return the result of an import as a JSON document."""
    return {
        **{name: getattr(report, name) for name in ("new", "changed", "same", "wrong", "lost", "unasked")},
        "batch": batch_of(file),
        "columns": dict(columns.shown),
        "unused_columns": list(report.unused),
    }


def is_json(path: Path) -> bool:
    """Return whether a file begins like JSON Lines."""
    with path.open("rb") as file:
        return file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def convert_json_lines(path: Path) -> Path:
    """Write the contacts of JSON Lines, as an export has them, as CSV beside the file. Raises BadFile.

    The file is read twice: first for its columns.
    """
    ids: dict[str, None] = {}
    attributes: dict[str, None] = {}
    scores: dict[str, None] = {}
    for contact in _read_contacts(path):
        ids |= dict.fromkeys(contact["ids"])
        attributes |= dict.fromkeys(contact["attributes"])
        scores |= dict.fromkeys(contact["scores"])
    target = path.with_suffix(".converted.csv")
    with open(target, "w", encoding="utf-8", newline="", opener=open_private) as text:
        writer = csv.writer(text)
        extra_names = [*(ID + source for source in ids), *(ATTRIBUTE + name for name in attributes)]
        writer.writerow([*FIELDS, *scores, *extra_names])
        for contact in _read_contacts(path):
            cells = [guard_formula(contact[name]) for name in FIELDS]
            cells += [contact["scores"].get(key, "") for key in scores]
            cells += [guard_formula(contact["ids"].get(source, "")) for source in ids]
            values = contact["attributes"]
            cells += [guard_formula(write_attribute(values[name])) if name in values else "" for name in attributes]
            writer.writerow(cells)
    return target


def _read_contacts(path: Path) -> Any:
    """Yield each contact of JSON Lines with its texts as cells; raises BadFile."""
    with path.open(encoding="utf-8-sig", errors="strict") as file:
        number = 0
        while line := _read_line(file, number + 1):
            number += 1
            if line.strip():
                yield _parse_contact(line, number)


def _read_line(file: Any, number: int) -> str:
    try:
        line = str(file.readline(LONGEST_LINE))
    except UnicodeDecodeError as exc:
        raise BadFile(f"line {number} is not UTF-8") from exc
    if len(line) == LONGEST_LINE:
        raise BadFile(f"line {number} is longer than {LONGEST_LINE:,} characters")
    return line


def _parse_contact(line: str, number: int) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise BadFile(f"line {number} is not JSON") from exc
    if not isinstance(document, dict):
        raise BadFile(f'line {number} is not a contact, such as {{"email": "ada@example.com"}}')
    parts = {name: document.get(name) or {} for name in ("ids", "attributes", "scores")}
    tags = document.get("tags") or []
    wrong = next((name for name, part in parts.items() if not isinstance(part, dict)), None)
    wrong = wrong or (None if isinstance(tags, list) else "tags")
    if wrong is not None:
        raise BadFile(f"line {number}: `{wrong}` must be {'a list' if wrong == 'tags' else 'an object'}")
    try:
        scores = {key: _write_score(value) for key, value in parts["scores"].items()}
    except Refusal as exc:
        raise BadFile(f"line {number}: {exc}") from exc
    texts = {name: write_cell(document.get(name)) for name in FIELDS if name != "tags"}
    return {
        **texts,
        "tags": join_tags([str(tag) for tag in tags]),
        "ids": {source: str(id) for source, id in parts["ids"].items()},
        "attributes": parts["attributes"],
        "scores": scores,
    }


def _write_score(value: Any) -> str:
    """Return a score as a cell: a number, or an object with its value, as an export has it."""
    number = value.get("value") if isinstance(value, dict) else value
    if isinstance(number, bool) or not isinstance(number, int | float | str):
        raise BadFile("a score is a number")
    return show_unambiguous(parse(str(number)))
