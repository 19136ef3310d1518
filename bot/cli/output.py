"""Print results of commands: a JSON document, a table, or lines of text.

Every command imports this module, so what takes a while to import is imported where it is used.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from bot.slack.text import strip_bidi

if TYPE_CHECKING:
    from storage.domain.score_types import ScoreType

_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def document(value: Mapping[str, object]) -> None:
    """Print a JSON document on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def lines(*text: str) -> None:
    """Print lines of text on standard output."""
    sys.stdout.write("".join(f"{_sanitize(line)}\n" for line in text))


def note(*text: str) -> None:
    """Print lines of text on standard error, apart from the result."""
    sys.stderr.write("".join(f"{_sanitize(line)}\n" for line in text))


def _sanitize(text: str) -> str:
    """Return the text without control and direction characters, because foreign text may contain them."""
    return strip_bidi(text).translate(_CONTROLS)


def table(rows: Sequence[Mapping[str, object]], *, none: str) -> None:
    """Print rows as a table, or the sentence *none* if there are no rows."""
    if not rows:
        lines(none)
        return
    from rich.console import Console
    from rich.table import Table

    rich_table = Table(*(name.replace("_", " ") for name in rows[0]), box=None, pad_edge=False, header_style="bold")
    for row in rows:
        rich_table.add_row(*("—" if value in (None, "") else _sanitize(str(value)) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 1000).print(rich_table, markup=False)


def is_interactive() -> bool:
    """Return whether a person can answer a question: input and output are a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def confirm(question: str) -> bool:
    """Ask a yes-or-no question on a terminal. Return False if the answer is no, or if nobody can be asked."""
    return is_interactive() and typer.confirm(question, err=True)


def ask(question: str) -> str | None:
    """Return what a person types after a question on a terminal, or None if nobody can be asked."""
    if not is_interactive():
        return None
    return str(typer.prompt(question, default="", show_default=False, err=True)).strip()


@contextmanager
def progress_bar(name: str, *, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal, and nothing in a pipe. It yields a function that moves it.

    *total* is its end, or None if the end is not known.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(name, total=total)
        yield lambda done: bar.update(task, completed=done)


def moment(at: int) -> str:
    """Return a time, given in µs, in RFC 3339 format."""
    return datetime.fromtimestamp(at / 1_000_000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def count(number: int, noun: str) -> str:
    """Return a number with its noun, such as "1 contact" or "2,000 contacts"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def moved(
    score_type: "ScoreType",
    *,
    changed: int,
    entering: int,
    leaving: int,
    first: Sequence[tuple[str, int | None, int | None]],
    dry_run: bool,
) -> None:
    """Print the number of changed scores of a type, and the first contacts that enter its top band."""
    from bot.blocks.elements import format_value

    verb = "would change" if dry_run else "changed"
    top = f"; {entering:,} into {score_type.bands[-1].name}, {leaving:,} out of it" if len(score_type.bands) > 1 else ""
    lines(f"{score_type.label}: {count(changed, 'contact')} {verb}{top}.")
    lines(*[f"  {name}: {format_value(before)} → {format_value(after)}" for name, before, after in first])
