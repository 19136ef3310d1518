"""Import and export on the command line: messages, files and exit codes."""

import asyncio
import json
import os
import pty
import stat
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path

import pytest

from tests.bot.cli.program import PROGRAM, Ended, environment, run
from tests.conftest import on_both
from tests.processes import start

# The output does not depend on the database, so most commands run on one database only.
FILE = (
    "Email;Name;Company;Owner;Score;Fit;Phone\r\n"
    "ada@example.com;Ada Lovelace;Engines;rep@acme.com;62;7.5;1\r\n"
    "bob@example.com;=Bob;;;;8,3;2\r\n"
    "nobody;;;;5;;3\r\n"
    "eve@example.com;Eve;;;101;;4\r\n"
    "zoë@example.com;Zoë;;;85;;5\r\n"
)


class Terminal:
    """Runs commands in a directory of its own, on a database with one workspace."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        self.env = env
        self.folder = folder

    async def run(self, *words: str) -> Ended:
        """Run one command, given as its arguments."""
        return await run(*words, env=self.env, cwd=self.folder)

    def save(self, text: str, name: str = "contacts.csv", *, encoding: str = "cp1252") -> None:
        """Write a file, as a spreadsheet does."""
        (self.folder / name).write_bytes(text.encode(encoding))

    def read(self, name: str, *, encoding: str = "utf-8") -> str:
        """Read a file."""
        return (self.folder / name).read_bytes().decode(encoding)

    def mode(self, name: str) -> int:
        """Return the permission bits of a file."""
        return stat.S_IMODE((self.folder / name).stat().st_mode)


@pytest.fixture
async def terminal(database_url: str, tmp_path: Path) -> Terminal:
    """Return a terminal on a database with a workspace and a second score type."""
    folder = tmp_path / "folder"
    folder.mkdir()
    terminal = Terminal(environment(database_url), folder)
    await terminal.run("workspace", "add", "T0123", "--name", "Acme")
    await terminal.run("type", "add", "fit", "--min", "1", "--max", "10", "--step", "0.5")
    return terminal


@on_both
@pytest.mark.slow
async def test_a_file_with_bad_lines_is_imported_mended_and_taken_back(terminal: Terminal) -> None:
    """Good lines are imported, bad lines are printed and written to a file to correct; one undo reverts the import."""
    terminal.save(FILE)
    trial = await terminal.run("import", "contacts.csv", "--dry-run")
    assert (trial.code, trial.out.splitlines()[0]) == (
        1,
        "Would import contacts.csv: 2 new contacts, 0 changed, 0 as they were, 3 lines not imported.",
    )
    assert not (terminal.folder / "contacts.errors.csv").exists()
    assert (await terminal.run("export", "--json")).document == {"contacts": []}

    imported = await terminal.run("import", "contacts.csv")
    batch = imported.out.partition("/score undo ")[2].rstrip(")\n")
    assert (imported.code, imported.err, imported.out.splitlines()) == (
        1,
        "",
        [
            "Imported contacts.csv: 2 new contacts, 0 changed, 0 as they were, 3 lines not imported.",
            "Score: 2 contacts changed; 1 into hot, 0 out of it.",
            "  Zoë: — → 85",
            "Fit: 1 contact changed.",
            "  Line 3: Fit: Fit goes in steps of 0.5; use 8 or 8.5",
            "  Line 4: `nobody` is not an e-mail address",
            "  Line 5: Score: Score runs from 0 to 100; 101 is outside it",
            "To round scores that are off the step (1 line), add --option off_step=round",
            "To bring scores outside the range to its nearest end (1 line), add --option out_of_range=clamp",
            "They are in contacts.errors.csv: fix them there, then run contact-score import contacts.errors.csv",
            "Left out: Phone. Import one with --map 'Phone=attributes.phone', or all with --all-columns",
            f"Undo it: contact-score import contacts.csv --undo (in Slack: /score undo {batch})",
        ],
    )
    assert batch.startswith("import/")

    assert terminal.mode("contacts.errors.csv") == 0o600
    mended = terminal.read("contacts.errors.csv", encoding="cp1252")
    assert mended.splitlines()[1] == '3;"Fit: Fit goes in steps of 0.5; use 8 or 8.5";bob@example.com;=Bob;;;;8,3;2'
    for wrong, right in ((";8,3;", ";8,5;"), ("nobody;", "noa@example.com;"), (";101;", ";100;")):
        assert mended.count(wrong) == 1
        mended = mended.replace(wrong, right)
    terminal.save(mended, "contacts.errors.csv")
    again = (await terminal.run("import", "contacts.errors.csv", "--json")).document
    assert {name: again[name] for name in ("new", "changed", "same", "wrong", "errors", "unused_columns")} == {
        "new": 3, "changed": 0, "same": 0, "wrong": 0, "errors": None, "unused_columns": ["Phone"],
    }  # fmt: skip  # counts

    exported = (await terminal.run("export")).out
    assert exported.splitlines() == [
        "email,name,company,owner,tags,score,fit",
        "ada@example.com,Ada Lovelace,Engines,rep@acme.com,,62,7.5",
        "bob@example.com,'=Bob,,,,,8.5",
        "eve@example.com,Eve,,,,100,",
        "noa@example.com,,,,,5,",
        "zoë@example.com,Zoë,,,,85,",
    ]
    undone = await terminal.run("import", "contacts.csv", "--undo")
    assert (undone.code, undone.out.splitlines()) == (
        0,
        [
            "Undid the import of contacts.csv: 3 scores of 2 contacts are as they would be without it."
            " Contacts that only it made are no longer listed; --undo --erase deletes them for good.",
            "Import it again: contact-score import contacts.csv",
        ],
    )
    (await terminal.run("import", "contacts.csv", "--undo")).check_refused(
        "The import of contacts.csv was undone already"
    )
    back = await terminal.run("import", "contacts.csv")
    assert "It had been undone, and is in force again." in back.out.splitlines()
    assert (await terminal.run("export")).out == exported

    (await terminal.run("import", "contacts.csv", "--undo", "--erase")).check_refused(
        "Nothing was undone; add --yes to undo the import and delete its contacts for good"
    )
    erased = (await terminal.run("import", "contacts.csv", "--undo", "--erase", "--yes", "--json")).document
    assert {**erased, "scores": 3, "contacts": 2} == erased
    assert erased["erased"] > 0
    again = (await terminal.run("import", "contacts.csv", "--undo", "--erase", "--yes", "--json")).document
    assert again["erased"] == 0


@on_both
@pytest.mark.slow
async def test_an_export_in_every_form(terminal: Terminal) -> None:
    """Contacts are exported as CSV, JSON Lines and JSON, filtered or not; importing the export changes nothing."""
    terminal.save("email,name,tags,score,fit\nbob@example.com,Bob,,5,\nada@example.com,Ada,vip;beta,62,7.5\n")
    await terminal.run("import", "contacts.csv")
    contacts = (await terminal.run("export", "--json")).document["contacts"]
    for contact in contacts:
        assert contact["scores"]["score"].pop("as_of").endswith("Z")
        contact["scores"].get("fit", {"as_of": ""}).pop("as_of")
    empty: dict[str, object] = {"company": None, "owner": None, "ids": {}, "attributes": {}}
    assert contacts == [
        {
            **empty,
            "email": "ada@example.com",
            "name": "Ada",
            "tags": ["vip", "beta"],
            "scores": {
                "score": {"value": 62, "band": "warm", "trend_30d": None},
                "fit": {"value": 7.5, "band": None, "trend_30d": None},
            },
        },
        {
            **empty,
            "email": "bob@example.com",
            "name": "Bob",
            "tags": [],
            "scores": {"score": {"value": 5, "band": "cold", "trend_30d": None}},
        },
    ]

    as_lines = await terminal.run("export", "--format", "jsonl", "--filter", "score>=50")
    assert [json.loads(line)["email"] for line in as_lines.out.splitlines()] == ["ada@example.com"]
    result = await terminal.run("export", "-o", "all.csv", "--filter", "sort:-email")
    assert (result.code, result.out, result.err) == (0, "", "Wrote 2 contacts to all.csv.\n")
    assert terminal.mode("all.csv") == 0o600
    assert terminal.read("all.csv").split("\r\n") == [
        "email,name,company,owner,tags,score,fit",
        "bob@example.com,Bob,,,,5,",
        "ada@example.com,Ada,,,vip; beta,62,7.5",
        "",
    ]
    (terminal.folder / "all.csv").chmod(0o644)
    assert (await terminal.run("export", "-o", "all.csv")).code == 0
    # an existing file keeps its permissions, because its owner wants others to read it
    assert terminal.mode("all.csv") == 0o644
    again = (await terminal.run("import", "all.csv", "--json")).document
    assert (again["new"], again["changed"], again["same"], again["wrong"]) == (0, 0, 2, 0)


@pytest.mark.slow
async def test_an_export_comes_back_as_it_was(terminal: Terminal) -> None:
    """An export reads back unchanged: tags with separators, names of owners, numbers, ids, texts like formulas."""
    text = (
        "email,name,company,owner,tags,score,fit,ids.crm,attributes.plan,attributes.seats\n"
        'ada@example.com,"\'=Ada","L\u2019Or\u00e9al, SA",Rita Rep,"""Smith, John""; vip",12,7.5,,pro,50\n'
        'bob@example.com,\'N/A,,,,,,,"""50""",true\n'
        ',,,,,,,79,"""""",\n'
        ',Ida,,,,,3.5,abc,"[1, 2]",null\n'
    )
    terminal.save(text, encoding="utf-8")
    imported = await terminal.run("import", "contacts.csv")
    assert imported.code == 0, imported
    first = (await terminal.run("export", "--json")).document["contacts"]
    assert [contact["attributes"] for contact in first] == [
        {"plan": "pro", "seats": 50},
        {"plan": "50", "seats": True},
        {"plan": ""},
        {"plan": [1, 2], "seats": None},
    ]
    assert [(contact["owner"], contact["tags"]) for contact in first[:1]] == [("Rita Rep", ["Smith, John", "vip"])]

    await terminal.run("export", "-o", "all.csv")
    await terminal.run("workspace", "add", "T0OTHER", "--name", "Other")
    await terminal.run("type", "add", "fit", "--min", "1", "--max", "10", "--step", "0.5", "--workspace", "T0OTHER")
    again = await terminal.run("import", "all.csv", "--workspace", "T0OTHER")
    assert again.code == 0, again
    second = (await terminal.run("export", "--json", "--workspace", "T0OTHER")).document["contacts"]
    for contact in (*first, *second):
        for score in contact["scores"].values():
            score.pop("as_of")
            score.pop("trend_30d")
    assert second == first


@pytest.mark.slow
async def test_columns_are_shown_and_asked_about(terminal: Terminal) -> None:
    """Usual headers are recognized; if most columns would be ignored, nothing is imported without --yes."""
    header = "Email Address,First Name,Last Name,MEMBER_RATING,OPTIN_TIME,LEID,EUID,NOTES,TAGS"
    terminal.save(f"{header}\nann@example.com,Ann,Bee,4,x,1,2,y,vip\n", "list.csv")
    (await terminal.run("import", "list.csv")).check_refused(
        "Only 4 of 9 columns would be imported (Columns: Email Address → email, First Name → name, Last Name → name,"
        " TAGS → tags). Map the others with --map 'Column name=field', import them as attributes with"
        " --all-columns, or leave them out with --yes"
    )
    assert (await terminal.run("export", "--json")).document == {"contacts": []}
    report = (await terminal.run("import", "list.csv", "--yes", "--json")).document
    columns = {"Email Address": "email", "First Name": "name", "Last Name": "name", "TAGS": "tags"}
    assert (report["new"], report["columns"]) == (1, columns)
    (ann,) = (await terminal.run("export", "--json")).document["contacts"]
    assert (ann["name"], ann["tags"], ann["attributes"]) == ("Ann Bee", ["vip"], {})
    report = (await terminal.run("import", "list.csv", "--all-columns", "--json")).document
    assert (report["changed"], report["columns"]["MEMBER_RATING"]) == (1, "attributes.member_rating")
    (ann,) = (await terminal.run("export", "--json")).document["contacts"]
    assert ann["attributes"] == {"member_rating": "4", "optin_time": "x", "leid": "1", "euid": "2", "notes": "y"}

    terminal.save("email,fit\nann@example.com,7.3\nbob@example.com,12\nzoe@example.com,85%\n", "off.csv")
    refused = json.loads((await terminal.run("import", "off.csv", "--json")).out)
    assert (
        refused["reasons"]
        == [
            {"reason": "fit: Fit goes in steps of 0.5; use 7 or 7.5", "line": 2, "count": 1},
            {"reason": "fit: Fit runs from 1 to 10; 12 is outside it", "line": 3, "count": 2},
        ][::-1]
    )
    options = ("--option", "off_step=round", "--option", "out_of_range=clamp")
    mended = (await terminal.run("import", "off.csv", *options, "--json")).document
    assert (mended["new"], mended["changed"], mended["wrong"]) == (2, 1, 0)
    exported = (await terminal.run("export")).out.splitlines()[1:]
    assert [line.split(",")[6] for line in exported] == ["7.5", "10", "10"]
    assert (await terminal.run("import", "off.csv", "--option", "off_step=cut")).code == 2


@pytest.mark.slow
async def test_refusals_of_import_and_export(terminal: Terminal) -> None:
    """Import and export are refused in one line that says what to type instead; nothing is written."""
    terminal.save("name,email address 2\nAda,5\n")
    (terminal.folder / "kept.csv").write_text("kept")
    for words, *complaint in (
        ("import contacts.csv", "No column is the e-mail address; choose one: --map 'email address 2=email'"),
        ("import contacts.csv --map name", "`name` is not a column and a field: write --map 'Column name=field'"),
        ("import contacts.csv --undo", "Nothing was imported from contacts.csv, as it is now"),
        (
            "export --filter scroe>5 -o kept.csv",
            "There is no field `scroe`. Did you mean `score`?",
            "scroe>5",
            "^^^^^",
        ),
    ):
        (await terminal.run(*words.split())).check_refused(*complaint)
    assert terminal.read("kept.csv") == "kept"
    for words in ("import none.csv", "import contacts.csv --undo --dry-run", "export --json --format csv"):
        assert (await terminal.run(*words.split())).code == 2


def all_shown(terminal: int) -> str:
    """Read the output of a terminal until it is closed, because a full buffer would block the program."""
    output = b""
    with open(terminal, "rb", buffering=0) as reading, suppress(OSError):  # reading a closed terminal raises an error
        while read := reading.read(65_536):
            output += read
    return output.decode()


@pytest.mark.slow
async def test_a_bar_on_a_terminal_and_none_in_a_pipe(terminal: Terminal) -> None:
    """Progress is shown on a terminal, apart from the output, and not in a pipe."""
    terminal.save("email,score\n" + "".join(f"p{n}@example.com,{n % 100}\n" for n in range(3000)))
    own_end, terminal_end = pty.openpty()
    process = await start(
        PROGRAM, "import", "contacts.csv", "--json", env={**terminal.env, "TERM": "xterm-256color"},
        cwd=terminal.folder, stdout=PIPE, stderr=terminal_end,
    )  # fmt: skip  # standard error alone is a terminal
    os.close(terminal_end)
    (out, _), progress = await asyncio.gather(process.communicate(), asyncio.to_thread(all_shown, own_end))

    assert json.loads(out)["new"] == 3000
    assert "contacts.csv" in progress
    assert "%" in progress
    assert (await terminal.run("import", "contacts.csv")).err == ""


@pytest.mark.slow
async def test_a_terminal_is_asked_first(terminal: Terminal) -> None:
    """On a terminal the columns are shown and confirmed; the answer "no" imports nothing and exits with 1."""
    terminal.save("E-mail,First name,Phone\nann@example.com,Ann,1\n", "list.csv")
    for answer, code, number in (b"n\n", 1, 0), (b"y\n", 0, 1):
        own_end, terminal_end = pty.openpty()
        process = await start(
            PROGRAM, "import", "list.csv", env={**terminal.env, "TERM": "dumb"}, cwd=terminal.folder,
            stdin=terminal_end, stdout=terminal_end, stderr=terminal_end,
        )  # fmt: skip  # all three are the terminal
        os.close(terminal_end)
        os.write(own_end, answer)
        shown, ended = await asyncio.gather(asyncio.to_thread(all_shown, own_end), process.wait())

        assert ended == code, shown
        assert "Columns: E-mail → email, First name → name\r\nLeft out: Phone\r\n" in shown
        assert ("Nothing was imported." in shown) is ("--dry-run" in shown) is (code == 1)
        assert len((await terminal.run("export", "--json")).document["contacts"]) == number


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_whole_ledger_moves_to_another_workspace(terminal: Terminal) -> None:
    """Exported with --full, imported into an empty workspace, and exported again, it is the same file."""
    terminal.save(FILE)
    await terminal.run("import", "contacts.csv", "--yes")
    written = await terminal.run("export", "--full", "-o", "ledger.jsonl", "--workspace", "T0123")
    assert (written.code, written.err.startswith("Wrote "), terminal.mode("ledger.jsonl")) == (0, True, 0o600)
    refused = await terminal.run("import", "ledger.jsonl", "--workspace", "T0123")
    assert (refused.code, "has contacts already" in refused.err) == (1, True)
    await terminal.run("workspace", "add", "T0OTHER", "--name", "Other")

    done = await terminal.run("import", "ledger.jsonl", "--workspace", "T0OTHER", "--json")

    assert (done.code, done.document["contacts"]) == (0, 2)
    again = await terminal.run("export", "--full", "--workspace", "T0OTHER")
    assert again.out == terminal.read("ledger.jsonl")
