"""Read CSV files as people's programs write them, and tell the lines that cannot be read."""

import codecs
import csv
import hashlib
import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from storage.domain.errors import Refusal
from storage.vault import open_private

DELIMITERS = ",;\t"
LONGEST_LINE = 1_000_000  # characters; a longer one is cut, so that no file fills the memory
_PART = 1 << 20
#: The columns that a file of lines to mend has before those of the file that they are from.
NOTES = ("error_line", "error_reason")


class BadFile(Refusal):
    """That file cannot be imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row that is not blank: the line it begins on, and where it ends in the file, in bytes or a little further.

    *wrong*: why it cannot be read; its cells are then a guess.
    """

    line: int
    cells: tuple[str, ...]
    end: int
    wrong: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvFile:
    """A CSV file as it was recognised."""

    path: Path
    encoding: str
    delimiter: str
    header: tuple[str, ...]
    digest: str  #: of its bytes: the same file again is the same import
    size: int

    def rows(self) -> Iterator[Row]:
        """Give every row after the header; of a quote that is never closed only the line it stands on is lost."""
        with self.path.open("rb") as file, io.TextIOWrapper(file, encoding=self.encoding, newline="") as text:
            lines, line = _Lines(text), 1
            while True:
                cells, problem = _read_row(lines, self.delimiter, width=len(self.header))
                if not lines.taken:
                    return
                if line > 1 and (problem or any(cell.strip() for cell in cells)):
                    yield Row(line=line, cells=cells, end=file.tell(), wrong=problem)
                line += max(1, sum(part.endswith(("\n", "\r")) for part in lines.taken))


class _Lines:
    """Hand lines to the parser, and take back those that it should not have taken."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._returned: deque[str] = deque()
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else self._text.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        self.taken.append(line)
        return line

    def keep_first(self) -> None:
        """Take back all lines but the first."""
        self._returned.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


def _read_row(lines: _Lines, delimiter: str, *, width: int | None) -> tuple[tuple[str, ...], str | None]:
    """Read a row of *width* cells (none: any), and why it cannot be read; at the end no line was taken for it."""
    lines.taken.clear()
    try:
        cells = tuple(next(csv.reader(lines, delimiter=delimiter, strict=True), ()))
    except csv.Error:
        cells = None
    # Another number of cells on several lines: a quote was opened and never meant to be closed there.
    if cells is None or (len(lines.taken) > 1 and width is not None and len(cells) != width):
        lines.keep_first()
        guess = lines.taken[0].rstrip("\r\n").split(delimiter)
        return tuple(guess), 'a quote is not closed, or stands inside of a cell: write "" for a quote in quotes'
    if width is not None and len(cells) > width:
        return cells, f"it has {len(cells)} cells, the header {width}: put quotes around a cell with a `{delimiter}`"
    return cells, None


def recognize(path: Path) -> CsvFile:
    """Find out how a file is written: its encoding, what parts its cells, and its header; raises BadFile."""
    digest, size, encoding = _scan_file(path)
    delimiter, header = max(
        (_read_header(path, encoding, candidate) for candidate in DELIMITERS), key=lambda parsed: len(parsed[1])
    )
    if not any(name.strip() for name in header):
        raise BadFile(f"{path.name} has no header: its first line must name the columns, one of them email")
    if any("\0" in name for name in header):
        raise BadFile(f"{path.name} has the character NUL in the name of a column; take it out")
    return CsvFile(path=path, encoding=encoding, delimiter=delimiter, header=header, digest=digest, size=size)


def _scan_file(path: Path) -> tuple[str, int, str]:
    """Give the digest of a file, its size and its encoding."""
    digest, size = hashlib.sha256(), 0
    decoders: dict[str, codecs.IncrementalDecoder] = {}
    with path.open("rb") as file:
        while part := file.read(_PART):
            if not size:
                decoders = {name: codecs.getincrementaldecoder(name)() for name in _list_encodings(part)}
            digest.update(part)
            size += len(part)
            decoders = {name: decoder for name, decoder in decoders.items() if _is_decodable(decoder, part)}
    for name, decoder in decoders.items():
        if _is_decodable(decoder, b"", final=True):
            return digest.hexdigest(), size, name
    if not size:
        raise BadFile(f"{path.name} is empty")
    raise BadFile(f"{path.name} is no text in UTF-8, UTF-16 or Windows-1252: save it as “CSV UTF-8”")


def _list_encodings(start: bytes) -> tuple[str, ...]:
    """Name the encodings that a file which begins like this may have, the likeliest first."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ("utf-16",)
    if start[1:2] == b"\0":
        return ("utf-16-le",)
    if start[:1] == b"\0":
        return ("utf-16-be",)
    return ("utf-8-sig" if start.startswith(codecs.BOM_UTF8) else "utf-8", "cp1252")


def _is_decodable(decoder: codecs.IncrementalDecoder, part: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(part, final)
    except UnicodeDecodeError:
        return False
    return True


def _read_header(path: Path, encoding: str, delimiter: str) -> tuple[str, tuple[str, ...]]:
    with path.open(encoding=encoding, newline="") as text:
        lines = _Lines(text)
        cells, problem = _read_row(lines, delimiter, width=None)
    if any(len(line) == LONGEST_LINE for line in lines.taken):
        raise BadFile(f"the first line of {path.name} is longer than {LONGEST_LINE:,} characters")
    return delimiter, () if problem else cells


class Mending:
    """Write the lines that could not be taken beside the file they are from, as that file is written."""

    def __init__(self, file: CsvFile) -> None:
        self.path = file.path.with_suffix(".errors.csv")
        self._file = file
        self._columns = [index for index, name in enumerate(file.header) if name not in NOTES]
        self._open: TextIO | None = None

    def add(self, row: Row, reason: str) -> None:
        """Write a row with its line and what is wrong with it."""
        if self._open is None:
            # What Windows-1252 has no sign for is in our reason alone.
            self._open = open(  # noqa: SIM115  # closed by close
                self.path, "w", encoding=self._file.encoding, errors="replace", newline="", opener=open_private
            )
            self._write(*NOTES, *(self._file.header[index] for index in self._columns))
        beyond = range(len(self._file.header), len(row.cells))
        cells = [row.cells[index] for index in (*self._columns, *beyond) if index < len(row.cells)]
        self._write(str(row.line), reason, *cells)

    def close(self) -> bool:
        """Close the file, and tell whether there was anything to write."""
        if self._open is not None:
            self._open.close()
        return self._open is not None

    def _write(self, *cells: str) -> None:
        assert self._open is not None
        csv.writer(self._open, delimiter=self._file.delimiter).writerow(cells)
