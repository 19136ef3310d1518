"""Files as spreadsheets and CRMs write them: encodings, separators, headers, numbers and footers."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.domain.contacts import Json, Reference, clean_field
from storage.domain.csv_cells import (
    find_decimal_sign,
    guard_formula,
    join_tags,
    read_attribute,
    read_cell,
    read_number,
    split_tags,
    write_attribute,
)
from storage.domain.errors import BadNumber
from storage.domain.facts import Item
from storage.domain.numbers import LARGEST, show_unambiguous
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Submission
from storage.scoring.definitions import score_types
from storage.transfer.csv_files import BadFile, recognize
from storage.transfer.import_batch import batch_of
from storage.transfer.import_columns import match_columns
from tests.storage.teams import NOW, Team
from tests.storage.transfer.test_import_csv import ADA, BOB, Desk

FIT = ScoreType(id=1, definition=1, number=1, key="fit", label="Fit", minimum=0, maximum=100_000, step=1000, start=0)


def read(path: Path, content: bytes) -> list[tuple[int, tuple[str, ...], str | None]]:
    """Recognize a file. Return its rows: line, cells and problem."""
    path.write_bytes(content)
    return [(row.line, row.cells, row.wrong) for row in recognize(path).rows()]


ENCODED = st.lists(st.sampled_from(["Zo\u00eb M\u00fcller", "\u674e", "Ann", "\u20ac 5"]), min_size=2, max_size=6)


@settings(max_examples=50)
@given(names=ENCODED, wrong=st.sampled_from([b"Ren\xe9", b"Zo\xc3", b"\x80uro", b"M\xfc\xfc\xfc"]), data=st.data())
def test_wrong_bytes_cost_their_own_line(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], wrong: bytes, data: st.DataObject
) -> None:
    """A UTF-8 file with a few bytes of another encoding is read as UTF-8, and lines with these bytes are reported."""
    lines = [f"{name}".encode() for name in ["Zo\u00eb", *names]]
    place = data.draw(st.integers(0, len(lines)))
    lines.insert(place, wrong)
    mark = data.draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    rows = read(
        tmp_path_factory.getbasetemp() / "wrong.csv", mark + b"name,fit\r\n" + b"".join(b"%b,1\r\n" % x for x in lines)
    )

    assert [row[2] is not None for row in rows] == [index == place for index in range(len(lines))]
    assert [row[1][0] for row in rows if row[2] is None] == ["Zo\u00eb", *names]


def test_other_encodings_are_still_what_they_are(tmp_path: Path) -> None:
    """A file with few valid UTF-8 characters is Windows-1252, and a file cut within its last character is UTF-8."""
    windows = "name\r\nRen\u00e9\r\nZo\u00eb\r\n\u201cGROSS\u201d\r\nMÜLLER\r\n".encode("cp1252")
    assert [row[1][0] for row in read(tmp_path / "w.csv", windows)] == [
        "Ren\u00e9",
        "Zo\u00eb",
        "\u201cGROSS\u201d",
        "MÜLLER",
    ]
    assert [row[1][0] for row in read(tmp_path / "w.csv", "name\r\nRen\u00e9".encode("cp1252"))] == ["Ren\u00e9"]
    by_chance = [*[f"Ren\u00e9 {n}" for n in range(20)], "\u00abSpa\u00df\u00bb"]  # the last two are also valid UTF-8
    rows = read(tmp_path / "c.csv", "\r\n".join(["name", *by_chance]).encode("cp1252"))
    assert [row[1][0] for row in rows] == by_chance
    cut = read(tmp_path / "u.csv", "name\r\nZo\u00eb\r\nZo\u00eb".encode()[:-1])
    assert cut[0] == (2, ("Zo\u00eb",), None)
    assert cut[1][2] == "it has a byte that is not UTF-8: type the text again"
    assert [row[1][0] for row in read(tmp_path / "x.csv", "name\r\nZo\u00eb\r\n".encode("utf-16"))] == ["Zo\u00eb"]
    with pytest.raises(BadFile, match=r"`h\.csv` has a byte in the name of a column"):
        read(tmp_path / "h.csv", "Zo\u00eb,".encode() + b"N\xe9\r\n1,2\r\n")


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "sep=;;;", "\ufeffsep=;"])
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_the_separator_that_a_file_names(tmp_path: Path, first: str, end: str) -> None:
    """Excel's separator line is not a header, and line numbers are those of the file."""
    content = f"{first}{end}email;a,b{end}ada@example.com;1{end}".encode()

    assert read(tmp_path / "sep.csv", content) == [(3, ("ada@example.com", "1"), None)]
    assert recognize(tmp_path / "sep.csv").header == ("email", "a,b")


@pytest.mark.parametrize("separator", ["|", ",", "\t", ":"])
def test_any_separator_that_a_file_names_is_believed(tmp_path: Path, separator: str) -> None:
    """A separator that the file names is used, even if it is not tried otherwise."""
    content = f"sep={separator}\nemail{separator}fit\nada@example.com{separator}1\n".encode()

    assert read(tmp_path / "sep.csv", content) == [(3, ("ada@example.com", "1"), None)]


@given(blanks=st.lists(st.sampled_from(["", " ", "\t", "\u00a0", '" "']), max_size=5))
def test_blank_cells_beyond_the_header_are_ignored(tmp_path_factory: pytest.TempPathFactory, blanks: list[str]) -> None:
    """Any number of blank cells beyond the header is ignored, and a filled one is a problem."""
    path = tmp_path_factory.getbasetemp() / "beyond.csv"
    line = ",".join(["ada@example.com", "5", *blanks])

    assert read(path, f"email,fit\n{line}\n".encode()) == [(2, ("ada@example.com", "5"), None)]
    ((_, _, wrong),) = read(path, f"email,fit\n{line},x\n".encode())
    assert wrong is not None


TAG = st.text(st.sampled_from("ab;,\"' :-=*\u2019"), min_size=1, max_size=8).map(str.strip).filter(bool)


@given(tags=st.lists(TAG, unique=True, max_size=5))
def test_tags_come_back_from_their_cell(tags: list[str]) -> None:
    """Any tag is unchanged after an export and an import."""
    clean = clean_field("tags", list[Json](tags))
    assert split_tags(read_cell(guard_formula(join_tags(tags)))) == clean


ATTRIBUTES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.sampled_from("1.5e-nulltrue\"'[]{}=+ N/A\u2014"), max_size=6).map(str.strip),
    lambda values: st.lists(values, max_size=2) | st.dictionaries(st.sampled_from("ab"), values, max_size=2),
    max_leaves=3,
)  # fmt: skip  # one strategy


@given(value=ATTRIBUTES)
def test_attributes_come_back_from_their_cell(value: Json) -> None:
    """Numbers are still numbers after an export and an import, and texts that look like numbers are still texts."""
    returned = read_attribute(read_cell(guard_formula(write_attribute(value))))

    assert (returned, type(returned)) == (value, type(value))


@pytest.mark.parametrize("text", ["1.50", "1e5", "007", "+5", "NaN", "Infinity", "0x10", "1_000", "True", "[1,2]", "{"])
def test_texts_of_others_stay_texts(text: str) -> None:
    """A number, list or object is parsed only in files that the product exported."""
    assert read_attribute(text) == text


@given(
    amount=st.integers(-LARGEST, LARGEST) | st.integers(-10_000, 10_000),
    comma=st.booleans(),
    percent=st.sampled_from(["", "%", " %"]),
    sign=st.sampled_from([None, ".", ","]),
)
def test_numbers_come_back_from_their_cell(amount: int, comma: bool, percent: str, sign: str | None) -> None:
    """Exported numbers are read unchanged in either kind of file, whatever else is in the column."""
    cell = f"\u00a0{show_unambiguous(amount)}{percent}\t"
    assert read_number(cell, comma=comma, decimal=lambda: sign) == amount


@given(whole=st.integers(1, 999), rest=st.integers(0, 999), sign=st.sampled_from([".", ","]))
def test_a_thousand_is_told_from_one(whole: int, rest: int, sign: str) -> None:
    """A number with three digits after its only sign is refused with both readings, unless the column decides."""
    cell = f"{whole}{sign}{rest:03d}"
    for comma in (False, True):
        with pytest.raises(BadNumber) as error:
            read_number(cell, comma=comma, decimal=lambda: None)
        assert f"may mean {whole}{rest:03d} or {whole}" in str(error.value)
        assert "Use a point" not in str(error.value)
    other = "," if sign == "." else "."
    assert read_number(cell, comma=False, decimal=lambda: other) == (whole * 1000 + rest) * 1000
    assert read_number(cell, comma=False, decimal=lambda: sign) == whole * 1000 + rest


@pytest.mark.parametrize(
    ("cells", "sign"),
    [
        (["1,000", "8,5"], ","), (["1.000", "8,5"], ","), (["1,000", "8.5"], "."), (["1.234.567"], ","),
        (["1,234,567"], "."), (["1.234,5"], ","), (["0,125"], ","), (["12,50%"], ","), (["1,000", "2,000"], None),
        (["8,5", "8.5"], None), (["7"], None), ([], None),
    ],
)  # fmt: skip  # cells and their values
def test_what_the_other_cells_of_a_column_say(cells: list[str], sign: str | None) -> None:
    """A cell with only one reading determines the decimal sign of its column."""
    assert find_decimal_sign(cells) == sign


@pytest.mark.parametrize(
    ("cell", "amount"),
    [("8,5", 8500), ("1.234,5", 1_234_500), ("1.234.567,25", 1_234_567_250), ("0,125", 125), ("-3,25", -3250)],
)
def test_decimal_commas(cell: str, amount: int) -> None:
    """Decimal commas are read if semicolons separate the cells."""
    assert read_number(cell, comma=True, decimal=lambda: None) == amount


#: program, its header, and the resulting columns
EXPORTS: list[tuple[str, str, dict[str, str]]] = [
    ("HubSpot", "Record ID,First Name,Last Name,Email,Contact owner,Company name,HubSpot Score",
     {"First Name": "name", "Last Name": "name", "Email": "email", "Contact owner": "owner", "Company name": "company",
      "HubSpot Score": "fit"}),
    ("Salesforce", "First Name,Last Name,Title,Account Name,Email,Contact Owner,Lead Score",
     {"First Name": "name", "Last Name": "name", "Account Name": "company", "Email": "email", "Contact Owner": "owner",
      "Lead Score": "fit"}),
    ("Pipedrive", "Person - ID,Person - Name,Person - Organization,Person - Email - Work,Person - Email - Home,"
     "Person - Owner,Person - Label",
     {"Person - Name": "name", "Person - Organization": "company", "Person - Email - Work": "email",
      "Person - Owner": "owner", "Person - Label": "tags"}),
    ("Mailchimp", "Email Address,First Name,Last Name,MEMBER_RATING,TAGS",
     {"Email Address": "email", "First Name": "name", "Last Name": "name", "TAGS": "tags"}),
    ("Mailchimp's merge tags", "EMAIL,FNAME,LNAME", {"EMAIL": "email", "FNAME": "name", "LNAME": "name"}),
    ("Google", "First Name,Middle Name,Last Name,Organization Name,Labels,E-mail 1 - Value,E-mail 2 - Value",
     {"First Name": "name", "Last Name": "name", "Organization Name": "company", "Labels": "tags",
      "E-mail 1 - Value": "email"}),
    ("Apollo", "First Name,Last Name,Title,Company,Company Name for Emails,Email,Email Status,Contact Owner,Lists",
     {"First Name": "name", "Last Name": "name", "Company": "company", "Email": "email", "Contact Owner": "owner",
      "Lists": "tags"}),
    ("ours", "email,name,company,owner,tags,fit,ids.crm,attributes.plan",
     {name: name for name in ["email", "name", "company", "owner", "tags", "fit", "ids.crm", "attributes.plan"]}),
]  # fmt: skip  # a table of words


@pytest.mark.parametrize(
    ("header", "taken"), [(header, taken) for _, header, taken in EXPORTS], ids=[row[0] for row in EXPORTS]
)
def test_usual_headers_are_recognized(header: str, taken: dict[str, str]) -> None:
    """The usual headers of each program are recognized in any case."""
    for names in (header.split(","), header.upper().split(",") if "ids." not in header else header.split(",")):
        shown = {name.casefold(): target for name, target in match_columns(names, [FIT], mapping={}).shown}
        assert shown == {name.casefold(): target for name, target in taken.items()}


async def test_names_in_two_columns_are_one(team: Team, tmp_path: Path) -> None:
    """First and last name in two columns are joined, and either may be missing."""
    desk = Desk(team, tmp_path)
    text = (
        "First name,Last name,E-mail\nAda,Lovelace,ada@example.com\n,Byron,bob@example.com\nZoe,n/a,zoe@example.com\n"
    )
    assert await desk.take(text) == [3, 0, 0, 0]
    names = {address: known["name"] for address, known in (await desk.seen()).items()}
    assert names == {ADA: "Ada Lovelace", BOB: "Byron", "zoe@example.com": "Zoe"}


async def test_two_columns_mapped_to_the_name_are_one(team: Team, tmp_path: Path) -> None:
    """Headers that are not recognized can be joined too, in the order in which they are mapped; a third is refused."""
    desk = Desk(team, tmp_path)
    text = "Nachname,Vorname,Titel,E-mail\nLovelace,Ada,Dr.,ada@example.com\nByron,,,bob@example.com\n"
    names = {"Vorname": "name", "Nachname": "name"}
    assert await desk.take(text, mapping=names) == [2, 0, 0, 0]
    assert {address: known["name"] for address, known in (await desk.seen()).items()} == {
        ADA: "Ada Lovelace",
        BOB: "Byron",
    }
    with pytest.raises(BadFile, match="two columns are `name`; choose one: --map COLUMN=name"):
        await desk.take(text, mapping=names | {"Titel": "name"})


async def test_a_cell_that_looks_blank_is_blank(team: Team, tmp_path: Path) -> None:
    """Invisible characters and other programs' words for nothing count as blank, and overwrite nothing."""
    desk = Desk(team, tmp_path)
    await desk.take("email,name,score,attributes.plan\nada@example.com,Ada,5,pro\n")
    for cell in ("\u200b", "\ufeff \u00ad", "\u00a0", "N/A", "n/a", "#N/A", "-", "\u2013", "\u2014"):
        assert await desk.take(f"email,name,score,attributes.plan\nada@example.com,{cell},{cell},{cell}\n") == [
            0,
            0,
            1,
            0,
        ]
    assert await desk.seen() == {ADA: {"name": "Ada", "score": 5, "plan": "pro"}}
    assert await desk.take("email,name,company\nada@example.com,'-,'N/A\n") == [0, 1, 0, 0]
    assert await desk.seen() == {ADA: {"name": "-", "company": "N/A", "score": 5, "plan": "pro"}}


async def test_footers_are_no_contacts(team: Team, tmp_path: Path) -> None:
    """A report's footer below the ids is not a contact; a single id in the product's export is one."""
    desk = Desk(team, tmp_path)
    footer = (
        'Total,,5\nGrand Total,,160\n"Copyright (c) 2026 Acme, Inc.",,\nConfidential Information\nExample,,\nSum,,3\n'
    )
    report = f"Contact ID,Email,score\n7,ada@example.com,5\n8,,\nbob,,6\n{footer}"
    assert await desk.take(report, mapping={"Contact ID": "ids.crm"}) == [3, 0, 0, 6]
    assert set(await desk.seen()) == {ADA, "crm:8", "crm:bob"}
    assert await desk.take("email,ids.crm\n,carol\n") == [1, 0, 0, 0]


async def test_the_column_decides_about_a_thousand(team: Team, tmp_path: Path) -> None:
    """An ambiguous cell is decided by other cells of its column, anywhere in the file."""
    desk = Desk(team, tmp_path)
    assert await desk.take("email;score\nada@example.com;1.000\n") == [0, 0, 0, 1]
    assert desk.wrong == [(2, "score: `1.000` may mean 1000 or 1: write one of these")]
    assert await desk.take("email;score\nada@example.com;3,000\nbob@example.com;7,0\n") == [2, 0, 0, 0]
    assert await desk.seen() == {ADA: {"score": 3}, BOB: {"score": 7}}


async def test_what_an_earlier_version_left_out_stays_out(team: Team, tmp_path: Path) -> None:
    """A file of an earlier import applies nothing, although more of its headers are recognized now."""
    desk = Desk(team, tmp_path)
    text = "email,First Name,Lead Score,company\nada@example.com,Ada,5,Engines\n"
    file = recognize(desk.save(text))
    former = match_columns(file.header, await score_types(team.workspace), mapping={}, former=True)
    assert former.unused == ("First Name", "Lead Score")
    key = f"{file.digest[:16]}/2/{former.signature}"
    item = Item(key=key, contact=Reference(email=ADA), fields={"company": "Engines"})
    imported = Submission(source="import", batch=batch_of(file), received_at=NOW, items=[item], actor="import")
    await team.record(imported)

    assert await desk.take(text) == [0, 0, 1, 0]
    assert await desk.seen() == {ADA: {"company": "Engines"}}
    assert await desk.take(f"{text}\n") == [0, 1, 0, 0]  # another file
    assert await desk.seen() == {ADA: {"company": "Engines", "name": "Ada", "score": 5}}


async def test_what_an_earlier_version_read_otherwise_is_the_same(team: Team, tmp_path: Path) -> None:
    """A row with a cell or email that an earlier version read differently is a repeat, even if it was undone."""
    desk = Desk(team, tmp_path)
    text = 'email,tags\n"zw\u00ad@example.com","""VIP"""\nada@example.com,"""VIP"""\n'
    file = recognize(desk.save(text))
    signature = match_columns(file.header, await score_types(team.workspace), mapping={}).signature
    items = [
        Item(key=f"{file.digest[:16]}/{line}/{signature}", contact=Reference(email=email), fields={"tags": ['"VIP"']})
        for line, email in ((2, "zw@example.com"), (3, ADA))
    ]
    imported = Submission(source="import", batch=batch_of(file), received_at=NOW, items=items, actor="import")
    await team.record(imported)
    before = await desk.seen()
    await team.undo(imported.batch, batch="undo")
    assert await desk.seen() == {}

    assert await desk.take(text) == [0, 0, 2, 0]  # in force again
    assert (await desk.seen()).keys() == before.keys()
