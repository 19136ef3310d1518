"""CSV files of many programs are read, and a broken line costs only itself."""

import csv
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.transfer.csv_files import BadFile, CsvFile, Mending, recognize

HEADER, ZOE = ["email", "name"], ["zoe@example.com", "Zoë – Ω"]


def saved(folder: Path, content: bytes, name: str = "contacts.csv") -> Path:
    """Write a file."""
    (folder / name).write_bytes(content)
    return folder / name


def lines(file: CsvFile) -> list[tuple[int, tuple[str, ...], str | None]]:
    """Read a file. Return for each line its number, cells and problem."""
    return [(row.line, row.cells, row.wrong) for row in file.rows()]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-8", "Zoë – Ω"),
        ("utf-8-sig", "Zoë – Ω"),
        ("utf-16", "Zoë – Ω"),
        ("utf-16-le", "Zoë – Ω"),
        ("utf-16-be", "Zoë – Ω"),
        ("cp1252", "Zoë – €"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_is_recognised(tmp_path: Path, encoding: str, name: str, delimiter: str, end: str) -> None:
    """Encodings, delimiters and line ends are recognized, even if quoted cells contain delimiters and line ends."""
    quoted = f'"{name},;\t{end}x"'
    text = end.join([delimiter.join(["email", "name"]), delimiter.join(["zoe@example.com", quoted]), ""])
    file = recognize(saved(tmp_path, text.encode(encoding)))

    assert (file.header, file.delimiter) == (("email", "name"), delimiter)
    assert lines(file) == [(2, ("zoe@example.com", f"{name},;\t{end}x"), None)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "`contacts.csv` is empty"),
        (b"PK\x03\x04\x14\x00\x06\x00", "`contacts.csv` is an Excel file: save it as “CSV UTF-8”, and import that"),
        (b"\n\n", "`contacts.csv` has no header: its first line must name the columns, one of them email"),
        (b'"email,name\n', "`contacts.csv` has no header: its first line must name the columns, one of them email"),
        (
            b"email\n\x81\x8d\n",  # in none of the three encodings
            "`contacts.csv` is not text in UTF-8, UTF-16 or Windows-1252: save it as “CSV UTF-8”",
        ),
        (
            b"\xff\xfee\0m\0a\0i\0l\0\n",  # half a character at the end
            "`contacts.csv` is not text in UTF-8, UTF-16 or Windows-1252: save it as “CSV UTF-8”",
        ),
    ],
)
def test_what_is_no_csv_file(tmp_path: Path, content: bytes, reason: str) -> None:
    """An unreadable file is refused as a whole, with how to fix it."""
    with pytest.raises(BadFile) as error:
        recognize(saved(tmp_path, content))

    assert str(error.value) == reason


def test_a_broken_line_costs_itself_alone(tmp_path: Path) -> None:
    """An open quote, a quote within a cell or an extra cell costs one line, and other lines keep their numbers."""
    content = (
        'email,name,fit\na@x.de,"Ada\nLovelace",1\nb@x.de,"Bob,2\nc@x.de,"Cy",3\n\n'
        'd@x.de,"D"an,4\ne@x.de,Eve, the 5th,5\nf@x.de,Fay\ng@x.de,"Gil,7\nh@x.de,Hal,8\n'
    )
    quote = 'a quote is not closed, or stands inside of a cell: write "" for a quote in quotes'
    complaint = "it has 4 cells, the header 3: put quotes around a cell with a `,`"

    assert lines(recognize(saved(tmp_path, content.encode()))) == [
        (2, ("a@x.de", "Ada\nLovelace", "1"), None),
        (4, ("b@x.de", '"Bob', "2"), quote),
        (5, ("c@x.de", "Cy", "3"), None),
        (7, ("d@x.de", '"D"an', "4"), quote),
        (8, ("e@x.de", "Eve", " the 5th", "5"), complaint),
        (9, ("f@x.de", "Fay"), None),  # trailing blank cells may be left out
        (10, ("g@x.de", '"Gil', "7"), quote),
        (11, ("h@x.de", "Hal", "8"), None),
    ]


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=8))
def test_whatever_python_writes_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    """Any texts that Python's CSV writer writes are read unchanged."""
    rows = [tuple(text.replace("\0", "").encode("utf-8", "ignore").decode() for text in row) for row in rows]  # type: ignore[misc]  # the tuples keep their length
    path = tmp_path_factory.mktemp("csv") / "any.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *rows])
    expected = [row for row in rows if any(cell.strip() for cell in row)]

    assert [(row.cells, row.wrong) for row in recognize(path).rows()] == [(row, None) for row in expected]


def test_a_large_file_does_not_fill_the_memory(tmp_path: Path) -> None:
    """Eleven megabytes with a line of eight and a quote that is never closed are read in a few megabytes of memory."""
    path = tmp_path / "large.csv"
    with path.open("w") as file:
        file.write('email,name\nopen@x.de,"never closed\n')
        for number in range(50_000):
            file.write(f"p{number}@example.com,Somebody with a name of some length\n")
        file.write(f"long@x.de,{'x' * 8_000_000}\nlast@x.de,Last\n")
    tracemalloc.start()
    read = wrong = 0
    for row in recognize(path).rows():
        read, wrong, last = read + 1, wrong + bool(row.wrong), row
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (wrong >= 2, last.cells) == (True, ("last@x.de", "Last"))
    assert read >= 50_003
    assert peak < 6_000_000
    assert last.end == path.stat().st_size


def test_lines_to_mend_stand_beside_their_file(tmp_path: Path) -> None:
    """Wrong lines are written to a file in the format of the import, with new columns for line and reason first."""
    path = saved(tmp_path, "error_line;email;error_reason\n7;zoë@x.de;old\n".encode("cp1252"))
    file = recognize(path)
    mending = Mending(file)
    assert not (tmp_path / "contacts.errors.csv").exists()
    for row in file.rows():
        mending.add(row, "nobody – Ω")
    assert mending.close()

    assert mending.path == tmp_path / "contacts.errors.csv"
    assert mending.path.read_bytes().decode("cp1252") == ("error_line;error_reason;email\r\n2;nobody – ?;zoë@x.de\r\n")
