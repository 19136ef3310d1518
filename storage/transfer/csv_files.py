"""Parse CSV files in the dialects that spreadsheet programs write, and write the rows that cannot be imported."""

import codecs
import csv
import hashlib
import io
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from storage.domain.errors import Refusal
from storage.vault import open_private

DELIMITERS = ",;\t"
LONGEST_LINE = 1_000_000  # characters; a longer line is cut, so that no file fills the memory
_PART = 1 << 20
#: The columns that a file of rejected rows has before the columns of the imported file.
NOTES = ("error_line", "error_reason")
#: A first line that tells Excel the delimiter, such as `sep=;`; further delimiters may follow.
_SEPARATOR = re.compile(r"\"?sep=([^\w\s\"]|\t)\"?[,;\t]*", re.IGNORECASE)
_EXCEL = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # how files of Excel begin, new and old
_NOT_DECODED = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of a byte that is not UTF-8
#: A UTF-8 file has at most this many invalid bytes for each non-ASCII character; a file with more has another encoding.
_MOST_WRONG = 8


class BadFile(Refusal):
    """That file cannot be imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row that is not blank. *line* is the number of its first line.

    *end* is the file position after the row in bytes, or a little further, because the file is read ahead.
    *wrong* says why the row cannot be read; its cells are then a guess.
    """

    line: int
    cells: tuple[str, ...]
    end: int
    wrong: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvFile:
    """A CSV file, with its encoding, delimiter and header as they were recognized."""

    path: Path
    encoding: str
    delimiter: str
    header: tuple[str, ...]
    names_separator: bool  #: whether its first line is `sep=;` and the header follows
    digest: str  #: SHA-256 of its bytes, in hexadecimal; a file with the same digest is the same import
    size: int

    @property
    def errors(self) -> str:
        """The error handler for invalid bytes. In UTF-8 the bytes are kept, and reported with their line."""
        return "surrogateescape" if self.encoding.startswith("utf-8") else "replace"

    def rows(self) -> Iterator[Row]:
        """Yield every row after the header. A quote that is never closed makes only its own line unreadable."""
        with (
            self.path.open("rb") as file,
            io.TextIOWrapper(file, encoding=self.encoding, errors=self.errors, newline="") as text,
        ):
            lines, line, header_line = _Lines(text), 1, 2 if self.names_separator else 1
            while True:
                cells, problem = _read_row(lines, self.delimiter, width=len(self.header))
                if not lines.taken:
                    return
                if any(map(_NOT_DECODED.search, lines.taken)):
                    problem = "it has a byte that is not UTF-8: type the text again"
                if line > header_line and (problem or any(cell.strip() for cell in cells)):
                    yield Row(line=line, cells=cells, end=file.tell(), wrong=problem)
                line += max(1, sum(part.endswith(("\n", "\r")) for part in lines.taken))


class _Lines:
    """Iterate over lines for the CSV parser, and return to the queue the lines that the parser should not have read."""

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
        """Return all lines but the first to the queue."""
        self._returned.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


def _read_row(lines: _Lines, delimiter: str, *, width: int | None) -> tuple[tuple[str, ...], str | None]:
    """Return the cells of the next row, and the reason that the row cannot be read or None.

    *width* is the expected number of cells; None accepts any. Blank cells beyond the width are dropped.
    *lines.taken* is empty afterwards if the file has no further row.
    """
    lines.taken.clear()
    try:
        cells = _drop_blank(tuple(next(csv.reader(lines, delimiter=delimiter, strict=True), ())), width=width)
    except csv.Error:
        cells = None
    # A row of several lines with a wrong number of cells: its quote was opened by mistake.
    if cells is None or (len(lines.taken) > 1 and width is not None and len(cells) != width):
        lines.keep_first()
        guess = lines.taken[0].rstrip("\r\n").split(delimiter)
        return _drop_blank(
            tuple(guess), width=width
        ), 'a quote is not closed, or stands inside of a cell: write "" for a quote in quotes'
    if width is not None and len(cells) > width:
        return cells, f"it has {len(cells)} cells, the header {width}: put quotes around a cell with a `{delimiter}`"
    if width is not None and len(cells) == 1 < width and cells[0].count(delimiter) >= width - 1:
        return cells, f"it is one cell, the header has {width}: remove the quotes around the whole line"
    return cells, None


def _drop_blank(cells: tuple[str, ...], *, width: int | None) -> tuple[str, ...]:
    while width is not None and len(cells) > width and not cells[-1].strip():
        cells = cells[:-1]
    return cells


def recognize(path: Path) -> CsvFile:
    """Return a file with its encoding, delimiter and header; raises BadFile."""
    digest, size, encoding = _scan_file(path)
    separator = _read_separator(path, encoding)
    delimiter, header = max(
        (
            _read_header(path, encoding, candidate, skip_first=separator is not None)
            for candidate in separator or DELIMITERS
        ),
        key=lambda parsed: len(parsed[1]),
    )
    if not any(name.strip() for name in header):
        raise BadFile(f"`{path.name}` has no header: its first line must name the columns, one of them email")
    if any("\0" in name for name in header):
        raise BadFile(f"`{path.name}` has the character NUL in the name of a column; remove it")
    if any(map(_NOT_DECODED.search, header)):
        raise BadFile(f"`{path.name}` has a byte in the name of a column that is not UTF-8: save it as “CSV UTF-8”")
    return CsvFile(
        path=path, encoding=encoding, delimiter=delimiter, header=header, names_separator=separator is not None,
        digest=digest, size=size,
    )  # fmt: skip  # the dialect, then the file


def _read_separator(path: Path, encoding: str) -> str | None:
    """Return the separator that the first line names, as Excel has it: `sep=;`."""
    with path.open(encoding=encoding, errors="replace", newline="") as text:
        match = _SEPARATOR.fullmatch(text.readline(20).rstrip("\r\n "))
    return match[1] if match else None


def _scan_file(path: Path) -> tuple[str, int, str]:
    """Return the SHA-256 digest of a file, its size in bytes and its encoding; raises BadFile."""
    digest, size, utf_8 = hashlib.sha256(), 0, _Utf8Counter()
    decoders: dict[str, codecs.IncrementalDecoder] = {}
    with path.open("rb") as file:
        while part := file.read(_PART):
            if not size and part.startswith(_EXCEL):
                raise BadFile(f"`{path.name}` is an Excel file: save it as “CSV UTF-8”, and import that")
            if not size:
                decoders = {name: codecs.getincrementaldecoder(name)() for name in _list_encodings(part)}
            digest.update(part)
            size += len(part)
            utf_8.count(part)
            decoders = {name: decoder for name, decoder in decoders.items() if _is_decodable(decoder, part)}
    for name, decoder in decoders.items():
        if name == "cp1252" and utf_8.is_likely():
            break
        if _is_decodable(decoder, b"", final=True):
            return digest.hexdigest(), size, name
    if not size:
        raise BadFile(f"`{path.name}` is empty")
    if utf_8.is_likely():
        return digest.hexdigest(), size, "utf-8-sig" if utf_8.has_mark else "utf-8"
    raise BadFile(f"`{path.name}` is not text in UTF-8, UTF-16 or Windows-1252: save it as “CSV UTF-8”")


class _Utf8Counter:
    """Count the non-ASCII characters of a file that are UTF-8, and the bytes that are not UTF-8."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
        self.has_mark = False
        self._right = self._wrong = self._size = 0

    def count(self, part: bytes) -> None:
        """Count one part of the file; the parts must come in order."""
        self.has_mark = self.has_mark or (not self._size and part.startswith(codecs.BOM_UTF8))
        self._size += len(part)
        if self._size == len(part) and b"\0" in part:
            self._wrong = 1 << 62  # UTF-16, or not a text
        if part.isascii():
            return
        text = self._decoder.decode(part)
        wrong = len(_NOT_DECODED.findall(text))
        self._wrong += wrong
        self._right += len(text) - len(text.encode("ascii", "ignore")) - wrong

    def is_likely(self) -> bool:
        """Return whether the file is UTF-8 with a few wrong bytes, rather than in another encoding."""
        return self.has_mark or (self._right > 0 and self._wrong <= _MOST_WRONG * self._right)


def _list_encodings(start: bytes) -> tuple[str, ...]:
    """Return the possible encodings of a file that begins with these bytes, the most likely first."""
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


def _read_header(path: Path, encoding: str, delimiter: str, *, skip_first: bool) -> tuple[str, tuple[str, ...]]:
    with path.open(encoding=encoding, errors="surrogateescape", newline="") as text:
        if skip_first:
            text.readline()
        lines = _Lines(text)
        cells, problem = _read_row(lines, delimiter, width=None)
    if any(len(line) == LONGEST_LINE for line in lines.taken):
        raise BadFile(f"the first line of `{path.name}` is longer than {LONGEST_LINE:,} characters")
    return delimiter, () if problem else cells


class Mending:
    """Write the rows that could not be imported to a file beside the imported file, in the same dialect."""

    def __init__(self, file: CsvFile) -> None:
        self.path = file.path.with_suffix(".errors.csv")
        self._file = file
        self._columns = [index for index, name in enumerate(file.header) if name not in NOTES]
        self._open: TextIO | None = None

    def add(self, row: Row, reason: str) -> None:
        """Write a row, with its line number and the reason that it could not be imported."""
        if self._open is None:
            # Windows-1252 may lack characters of the reason, but never characters of the row.
            self._open = open(  # noqa: SIM115  # closed by close
                self.path, "w", encoding=self._file.encoding, errors=self._file.errors, newline="", opener=open_private
            )
            if self._file.names_separator:
                self._open.write(f"sep={self._file.delimiter}\r\n")
            self._write(*NOTES, *(self._file.header[index] for index in self._columns))
        beyond = range(len(self._file.header), len(row.cells))
        cells = [row.cells[index] for index in (*self._columns, *beyond) if index < len(row.cells)]
        self._write(str(row.line), reason, *cells)

    def close(self) -> bool:
        """Close the file, and return whether any row was written."""
        if self._open is not None:
            self._open.close()
        return self._open is not None

    def _write(self, *cells: str) -> None:
        assert self._open is not None
        csv.writer(self._open, delimiter=self._file.delimiter).writerow(cells)
