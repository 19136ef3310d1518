"""Contacts and scores are imported from CSV files, repeatedly, and exported again."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from storage.alerts.enroll import choose_channel
from storage.domain.contacts import MOST_ATTRIBUTES, Reference
from storage.domain.errors import NothingToUndo
from storage.domain.filters import parse
from storage.scoring.definitions import add_score_type, score_types
from storage.transfer.csv_files import LONGEST_LINE, BadFile, Row, recognize
from storage.transfer.export import export
from storage.transfer.import_batch import undo_import
from storage.transfer.import_columns import MOST_COLUMNS, choose_columns, match_columns
from storage.transfer.import_csv import MOST_REASONS, Report, import_file
from storage.transfer.import_rows import ImportRow
from tests.storage import raw
from tests.storage.teams import NOW, SECOND, Team, field_item, set_to

ADA, BOB, ZOE = "ada@example.com", "bob@example.com", "zoe@example.com"


class Desk:
    """Import files for a team, one second apart."""

    def __init__(self, team: Team, folder: Path) -> None:
        self.team = team
        self.folder = folder
        self.now = NOW + SECOND
        self.wrong: list[tuple[int, str]] = []
        self.bytes = 0

    def save(self, text: str, name: str = "contacts.csv") -> Path:
        """Write a file."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8", newline="")
        return path

    async def take(
        self, text: str, *, mapping: Mapping[str, str] | None = None, all_columns: bool = False, dry: bool = False
    ) -> list[int]:
        """Import a text. Return the number of new, changed, equal and wrong rows."""
        report = await self.report(text, mapping=mapping, all_columns=all_columns, dry=dry)
        return [report.new, report.changed, report.same, report.wrong]

    async def report(
        self, text: str, *, mapping: Mapping[str, str] | None = None, all_columns: bool = False, dry: bool = False
    ) -> Report:
        """Import a text. Return its report."""
        self.now += SECOND
        self.wrong, self.bytes = [], 0
        path = self.save(text)

        def wrong(row: Row, reason: str) -> None:
            self.wrong.append((row.line, reason))

        def progress(position: int) -> None:
            assert self.bytes <= position <= path.stat().st_size
            self.bytes = position

        file = recognize(path)
        columns = await choose_columns(self.team.workspace, file=file, mapping=mapping or {}, all_columns=all_columns)
        return await import_file(
            self.team.workspace,
            file=file,
            columns=columns,
            progress=progress,
            wrong=wrong,
            dry_run=dry,
            by="U0ADMIN",
            now=self.now,
        )

    async def undo(self, text: str) -> tuple[int, int]:
        """Undo an import. Return the number of scores that moved, and of their contacts."""
        self.now += SECOND
        undone = await undo_import(
            self.team.workspace, file=recognize(self.save(text)), by="U0ADMIN", clock=lambda: self.now
        )
        return undone.scores, undone.contacts

    async def seen(self) -> dict[str, dict[str, Any]]:
        """Return the fields and scores of each contact, by email or id, without blank ones."""
        types = await score_types(self.team.workspace)
        cards = export(self.team.workspace, query=parse("", types), text="", by="U0ADMIN", now=self.now)
        return {
            card.contact.typed: {
                name: value
                for name, value in {
                    **{name: getattr(card.contact, name) for name in ("name", "company", "owner")},
                    "tags": list(card.contact.tags),
                    **card.contact.attributes,
                    **{standing.score_type.key: standing.value / 1000 for standing in card.standings},
                }.items()
                if value
            }
            async for card in cards
        }


@pytest.fixture
async def desk(team: Team, tmp_path: Path) -> Desk:
    """Return a desk with a second score type `fit`, from 1 to 10 in steps of 0.5."""
    await add_score_type(
        team.workspace, key="fit", label="Good fit", minimum=1000, maximum=10_000, step=500,
        bands=[], start=None, is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # the numbers of one definition stand together
    return Desk(team, tmp_path)


FIRST = (
    "E-Mail,Name,Company,Owner,Tags,Score,Good fit,attributes.plan,Phone\n"
    "Ada@Example.com,Ada Lovelace,Engines,rep@acme.com,vip; beta,62,7.5,pro,1\n"
    "bob@example.com,Bob,,,,,,,2\n"
    "zoe@example.com,'=Zoë,,,,0,,,3\n"
)


async def test_rows_become_contacts_and_scores(desk: Desk) -> None:
    """Rows become contacts and scores; columns are recognized by name in any case, score types also by label."""
    report = await desk.report(FIRST)

    assert (report.new, report.changed, report.same, report.wrong) == (3, 0, 0, 0)
    assert report.unused == ("Phone",)
    assert desk.bytes > 0
    ada = {"name": "Ada Lovelace", "company": "Engines", "owner": "rep@acme.com", "tags": ["vip", "beta"]}
    assert await desk.seen() == {
        "Ada@Example.com": {**ada, "plan": "pro", "score": 62, "fit": 7.5},
        BOB: {"name": "Bob"},
        ZOE: {"name": "=Zoë"},  # the score 0 exists, but `seen` leaves it out
    }
    assert await desk.team.value(ZOE) == 0
    assert [(line.source, line.actor) for line in await desk.team.lines(ADA)] == [("import", "import")]


async def test_a_blank_never_overwrites_and_an_equal_cell_changes_nothing(desk: Desk, database_url: str) -> None:
    """A blank cell overwrites nothing, and only a different cell becomes a fact."""
    await desk.take(FIRST)
    before = await desk.seen()
    (facts,) = await raw.rows(database_url, "SELECT count(*) AS n FROM facts")

    assert await desk.take("email,name,score,fit\nADA@example.com,,,\nbob@example.com,Bob,,\n") == [0, 0, 2, 0]
    assert await raw.rows(database_url, "SELECT count(*) AS n FROM facts") == [facts]
    assert await desk.take("email,name,score,fit\nADA@example.com,,62,8\nbob@example.com,Bob,,\n") == [0, 1, 1, 0]
    assert await desk.seen() == before | {"Ada@Example.com": before["Ada@Example.com"] | {"fit": 8}}
    (more,) = await raw.rows(database_url, "SELECT count(*) AS n FROM facts")
    assert more == {"n": int(str(facts["n"])) + 1}


async def test_tags_are_compared_one_by_one(desk: Desk) -> None:
    """Tags are compared as sets, whatever their order and separators."""
    await desk.take("email,tags\nada@example.com,vip; beta\n")

    for cell in ("vip;beta", "beta ; vip", '"vip,beta"', "vip;beta;vip"):
        assert await desk.take(f"email,tags\nada@example.com,{cell}\n") == [0, 0, 1, 0]
    assert await desk.take("email,tags\nada@example.com,vip\n") == [0, 1, 0, 0]
    assert (await desk.seen())[ADA]["tags"] == ["vip"]


async def test_only_the_cells_that_differ_are_recorded(desk: Desk) -> None:
    """An equal cell states nothing, so an older fact of its field that arrives late still counts."""
    await desk.team.deliver(field_item("f", ADA, at=NOW - 9 * SECOND, name="Ada", company="Acme"))
    text = "email,name,company\nada@example.com,Ada,Engines\n"
    assert await desk.take(text) == [0, 1, 0, 0]

    late = field_item("g", ADA, at=NOW - SECOND, name="Ada King", company="Late")
    await desk.team.deliver(late, received=desk.now, batch="late")
    assert (await desk.seen())[ADA] == {"name": "Ada King", "company": "Engines"}
    assert await desk.take(text) == [0, 0, 1, 0]  # the same file is the same import
    assert (await desk.seen())[ADA] == {"name": "Ada King", "company": "Engines"}
    assert await desk.undo(text) == (0, 1)
    assert (await desk.seen())[ADA] == {"name": "Ada King", "company": "Late"}


async def test_later_rows_are_later_facts(desk: Desk) -> None:
    """Of several rows of a contact the last one counts, within and across chunks, also when imported again."""
    await desk.team.deliver(set_to("k", ADA, 8, at=NOW, fields={"name": "Ada"}))
    others = [f"p{number}@example.com,," for number in range(497)]
    rows = [f"{ADA},Ada,8", f"{ADA},Eve,9", f"{ADA},Ada,8"]  # the last three rows of the first chunk
    text, longer = ("\n".join(["email,name,score", *others, *rows, *more]) for more in ([], [f"{ADA},Ida,7"]))
    for _ in range(2):
        await desk.take(text)
        assert (await desk.seen())[ADA] == {"name": "Ada", "score": 8}
    for _ in range(2):
        await desk.take(longer)
        assert (await desk.seen())[ADA] == {"name": "Ida", "score": 7}
    assert [line.amount for line in await desk.team.lines(ADA)] == [7_000, 8_000, 9_000, 8_000, 9_000, 8_000]


async def test_the_same_file_is_the_same_import(desk: Desk, database_url: str) -> None:
    """An import that stops anywhere and is repeated has the same result, and keeps what people changed since."""
    rows = [f"p{n}@example.com,P{n},Acme,{n % 100}" for n in range(1200)]
    text = "\n".join(["email,name,company,score", *rows])
    path = desk.save(text)
    stopped = 0

    def stop(position: int) -> None:
        nonlocal stopped
        stopped += 1
        if stopped == 2:
            raise KeyboardInterrupt

    file = recognize(path)
    columns = await choose_columns(desk.team.workspace, file=file, mapping={})
    with pytest.raises(KeyboardInterrupt):
        await import_file(
            desk.team.workspace, file=file, columns=columns,
            progress=stop, wrong=lambda row, reason: None, by="U0ADMIN", now=NOW,
        )  # fmt: skip  # the same as `desk`, but stopped
    assert len(await desk.seen()) == 1000
    await desk.team.ask(set_to("by hand", "p7@example.com", 99), batch="h", received=NOW + SECOND)
    await desk.team.ask(field_item("by hand", "p8@example.com", name="Penelope"), batch="h2", received=NOW + SECOND)

    assert await desk.take(text, dry=True) == [200, 0, 1000, 0]
    assert await desk.take(text) == [200, 0, 1000, 0]
    (count,) = await raw.rows(database_url, "SELECT count(*) AS n FROM facts WHERE source = 'import'")
    assert count["n"] == 2400
    contact_cards = await desk.seen()
    assert len(contact_cards) == 1200
    assert (contact_cards["p7@example.com"]["score"], contact_cards["p8@example.com"]["name"]) == (99, "Penelope")


async def test_another_choice_of_columns_of_the_same_file(desk: Desk) -> None:
    """A column with a wrong meaning can be mapped differently in a second import of the file."""
    text = "email,one,two\nada@example.com,3,Engines\n"
    assert await desk.take(text, mapping={"One": "score", "two": "name"}) == [1, 0, 0, 0]
    assert await desk.take(text, mapping={"One": "fit", "two": "company"}) == [0, 1, 0, 0]
    assert (await desk.seen())[ADA] == {"score": 3, "fit": 3, "name": "Engines", "company": "Engines"}

    assert await desk.take(text, mapping={"one": "score", "two": "name"}) == [0, 0, 1, 0]
    assert await desk.undo(text) == (2, 1)
    assert await desk.seen() == {}


async def test_nul_in_the_name_of_a_column_is_refused(desk: Desk) -> None:
    """A column name with NUL is refused, because an attribute of that name could not be stored."""
    with pytest.raises(BadFile, match="has the character NUL in the name of a column; remove it"):
        await desk.take("email,attributes.a\0b\nada@example.com,5\n")


async def test_wrong_rows_are_told_and_the_others_taken(desk: Desk) -> None:
    """All problems of a row are reported with line and column; an unusable score costs only its cell."""
    await desk.team.deliver(field_item("k", Reference(email=ADA, source="crm", id="1")), field_item("l", ("crm", "2")))
    text = (
        "email,score,fit,owner,name,tags,ids.crm\n"
        "ada@example.com,8,,,,,\n"
        'bob@example.com,"8,5",11,,,,\n'
        "nobody,5,,,,,\n"
        ",5,,,,,\n"
        "zoe@example.com,0.5,1.25,jane,,,\n"
        f"zoe@example.com,,,,{'n' * 256},{'t' * 101},\n"
        "zoe@example.com,ten,,rep@acme.com,\0,,\n"
        'zoe@example.com,"5,,,,,\n'
        "ada@example.com,9,,,,,2\n"
        "zoe@example.com,1,,,,,3\n"
    )

    assert await desk.take(text) == [1, 2, 0, 7]
    assert desk.wrong == [
        (3, "score: `8,5` has a comma. Use a point: 8.5; fit: Good fit runs from 1 to 10; 11 is outside it"),
        (4, "`nobody` is not an e-mail address"),
        (5, "the row names no contact: add an e-mail address"),
        (6, "score: Score goes in steps of 1; use 0 or 1; fit: Good fit goes in steps of 0.5; use 1 or 1.5"),
        (
            7,
            "left out: name: it has 256 characters; cut it to 255;"
            " tags: a contact has at most 100 tags, each of at most 100 characters",
        ),
        (8, "score: `ten` is not a number; name: it holds the character NUL: remove it"),
        (9, 'a quote is not closed, or stands inside of a cell: write "" for a quote in quotes'),
        (10, "The address and the id given belong to two different contacts."),
    ]
    assert await desk.seen() == {ADA: {"score": 8}, ZOE: {"score": 1}, "crm:2": {}}
    assert await desk.take("email,owner\nzoe@example.com,jane\n") == [0, 1, 0, 0]


async def test_a_dry_run_writes_nothing(desk: Desk, database_url: str) -> None:
    """A dry run writes nothing, and predicts the result."""
    await desk.take("email,name,score\nada@example.com,Ada,5\n")
    before = [await raw.rows(database_url, f"SELECT count(*) AS n FROM {table}") for table in ("facts", "contacts")]
    text = "email,name,score\nada@example.com,Ada,6\nbob@example.com,,\nzoe@example.com,Zoe,x\nada@example.com,Ada,6\n"

    assert await desk.take(text, dry=True) == [1, 1, 1, 1]
    after = [await raw.rows(database_url, f"SELECT count(*) AS n FROM {table}") for table in ("facts", "contacts")]
    assert after == before
    assert await desk.take(text) == [1, 1, 1, 1]
    assert await desk.take(text, dry=True) == [0, 0, 3, 1]


async def test_a_dry_run_predicts_the_scores(desk: Desk) -> None:
    """A dry run predicts the changes, the entries and exits of the top band, and the follow-ups not created."""
    await choose_channel(desk.team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await desk.team.deliver(
        set_to("a", ADA, 50, at=NOW), set_to("b", BOB, 95, at=NOW), field_item("z", ZOE, at=NOW, name="Zoe")
    )
    text = (
        f"email,score,fit\n{ADA},88,\n{BOB},20,9\n{ZOE},81,2\n"
        "new@example.com,80,1\nlow@example.com,79,\nbad,99,\n" + f"{ADA},90,\n"
    )
    before = await desk.seen()
    foreseen = await desk.report(text, dry=True)
    assert await desk.seen() == before

    assert await desk.report(text) == foreseen
    assert [foreseen.new, foreseen.changed, foreseen.same, foreseen.wrong, foreseen.unasked] == [2, 4, 0, 1, 3]
    score, fit = foreseen.scores["score"], foreseen.scores["fit"]
    assert (score.changed, score.entering, score.leaving) == (5, 3, 1)
    assert sorted(score.first) == [
        ("Zoe", None, 81_000),
        (ADA, 50_000, 90_000),
        ("new@example.com", None, 80_000),
    ]
    assert (fit.changed, fit.entering, fit.leaving, fit.first) == (3, 0, 0, [])
    contact_cards = await desk.seen()
    assert {name: values["score"] for name, values in contact_cards.items() if values.get("score", 0) >= 80} == {
        ADA: 90, ZOE: 81, "new@example.com": 80,
    }  # fmt: skip  # contacts in the top band now

    await desk.undo(text)
    assert (await desk.report(text, dry=True)).scores["score"] == score  # as a restored import would do
    assert await desk.seen() == before


async def test_one_undo_takes_a_whole_import_back(desk: Desk) -> None:
    """One undo reverts a whole import but nothing later, and the same file restores it with any missing rows."""
    await desk.team.deliver(set_to("k", ADA, 50, at=NOW), field_item("f", ADA, at=NOW, name="Ada King"))
    await desk.take(FIRST)
    imported = await desk.seen()
    await desk.team.ask(set_to("by hand", ADA, 70), batch="h", received=desk.now + SECOND)
    with pytest.raises(NothingToUndo) as error:
        await desk.undo("email\nsomebody@example.com\n")
    assert str(error.value) == "nothing was imported from contacts.csv, as it is now"

    assert await desk.undo(FIRST) == (3, 3)
    assert await desk.seen() == {ADA: {"name": "Ada King", "score": 70}}
    foreseen = await desk.take(f"email\n{BOB}\n{ADA}\n", dry=True)
    assert foreseen == [1, 0, 1, 0]  # another file makes a contact that is gone anew
    with pytest.raises(NothingToUndo) as error:
        await desk.undo(FIRST)
    assert str(error.value) == "the import of contacts.csv was undone already"

    for _ in range(2):
        report = await desk.report(FIRST)
        assert (report.restored, report.same, report.wrong) == (True, 3, 0)
        contact_cards = await desk.seen()
        assert contact_cards == imported | {ADA: imported[ADA] | {"score": 70}}
        assert (await desk.report(FIRST)).restored is False
        await desk.undo(FIRST)


async def test_ids_of_sources_come_in_too(desk: Desk) -> None:
    """A contact without email is identified by an id, and an id beside an email is added to the contact."""
    text = "email,ids.crm,ids.shop,name\nada@example.com,4711,A 1,Ada\n,4712,,Ida\n"
    assert await desk.take(text) == [2, 0, 0, 0]
    assert await desk.take(text.replace("Ida", "Ida Rhodes")) == [0, 1, 1, 0]
    contacts = {text: await desk.team.contact(text) for text in ("crm:4711", "shop:A 1", "crm:4712")}

    assert [(contact.email, contact.name) for contact in contacts.values()] == [
        (ADA, "Ada"),
        (ADA, "Ada"),
        (None, "Ida Rhodes"),
    ]


async def test_a_file_with_too_many_attributes_of_a_contact_is_refused(desk: Desk) -> None:
    """A file with too many attributes for a contact is refused; the columns of an export may be more."""
    names = ["email", *(f"attributes.a{number}" for number in range(MOST_ATTRIBUTES + 1))]
    sparse = [[ADA, "x", *[""] * MOST_ATTRIBUTES], [BOB, " ", *["y"] * MOST_ATTRIBUTES]]
    full = [ZOE, *["z"] * (MOST_ATTRIBUTES + 1)]
    sparse_file, full_file = ("\n".join(map(",".join, [names, *rows])) for rows in (sparse, [*sparse, full]))

    assert await desk.take(sparse_file) == [2, 0, 0, 0]
    with pytest.raises(BadFile) as error:
        await desk.take(full_file)

    assert str(error.value) == (
        "line 4 of contacts.csv has 201 attributes, and a contact has at most 200:"
        " remove the columns of attributes that you do not need, and import it again"
    )
    contact_cards = await desk.seen()
    assert (len(contact_cards), contact_cards[ADA], len(contact_cards[BOB])) == (2, {"a0": "x"}, MOST_ATTRIBUTES)


async def test_a_file_with_more_columns_than_a_sheet_is_refused(desk: Desk) -> None:
    """A file with more columns than a spreadsheet is refused, even if its first line is longer than the read limit."""
    header = "email," + ",".join(f"c{number}" for number in range(MOST_COLUMNS - 1))
    report = await desk.report(f"{header}\n{ADA}\n")
    assert (report.new, len(report.unused)) == (1, MOST_COLUMNS - 1)

    with pytest.raises(BadFile) as error:
        await desk.take(f"{header},more\n{ADA}\n")
    assert str(error.value) == "the file has more than 16,384 columns: remove those that you do not need"
    with pytest.raises(BadFile) as error:
        await desk.take(f"email,{'n' * LONGEST_LINE}\n{ADA}\n")
    assert str(error.value) == "the first line of `contacts.csv` is longer than 1,000,000 characters"
    with pytest.raises(BadFile) as error:
        await desk.take(header, mapping={"x": "score"})
    assert str(error.value).endswith("c17, c18 and 16,364 more")


class Compared(str):
    """A text that counts its comparisons."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Compared.compared += 1
        return str.__eq__(self, other)


def test_columns_are_matched_in_linear_time() -> None:
    """Twice as many columns need twice as many comparisons, and each column gets a meaning."""

    def compared(count: int) -> int:
        Compared.compared = 0
        header = [Compared(f"attributes.a{number}") for number in range(count)]
        columns = match_columns([*header, "email"], [], mapping={f"attributes.a{count - 1}": "name"})
        assert len(columns.fields) == count
        return Compared.compared

    for_few, for_many = compared(500), compared(1000)
    assert for_few <= for_many <= 2.1 * for_few


@pytest.mark.parametrize(
    ("header", "mapping", "reason"),
    [
        (
            "name,score",
            {},
            "no column names the contact; choose one: --map COLUMN=email, or --map COLUMN=ids.crm for an id",
        ),
        (
            "Lead Number,Prospect ID,score",
            {},
            "no column is an e-mail address; choose a column of ids: --map 'Prospect ID=ids.crm'",
        ),
        ("Id,Mail", {}, "no column is the e-mail address; choose one: --map 'Mail=email'"),
        ("email,Score,score", {}, "two columns are `score`; choose one: --map COLUMN=score"),
        ("email,a", {"b": "score"}, "there is no column `b`; the columns: email, a"),
        (
            "email,a",
            {"a": "fti"},
            "`fti` is not a field; use email, name, company, owner, tags, score, fit, activity, occurred_at, quantity,"
            " attributes.NAME or ids.SOURCE",
        ),
        ("email,a", {"a": "ids.No Slug"}, None),
    ],
)
async def test_columns_that_cannot_be_taken(
    desk: Desk, header: str, mapping: dict[str, str], reason: str | None
) -> None:
    """A file with too few or contradictory columns is refused as a whole."""
    with pytest.raises(BadFile) as error:
        await desk.take(f"{header}\n", mapping=mapping)

    assert reason is None or str(error.value) == reason


async def test_an_address_column_is_found_by_its_cells(desk: Desk) -> None:
    """Without a telling header the column with emails is proposed as contact, but not the owner's emails."""
    with pytest.raises(BadFile) as error:
        await desk.take("Owner,ID,Person\nrep@acme.com,1,\nrep@acme.com,2,ada@example.com\n")

    assert str(error.value) == "no column is the e-mail address; choose one: --map 'Person=email'"


async def test_all_columns_become_attributes_that_rules_can_name(desk: Desk) -> None:
    """Other columns become attributes in lowercase, with `_` for other characters and a number for duplicates."""
    text = (
        "Prospect ID,Full name,Lead Number,Lead  number, Total (EUR) ,Größe,attributes.lead_number_3,lead-number,##,\n"
        "p1,Ada Lovelace,7,8,9.5,L,own,10,x,nameless\n"
    )
    mapping = {"Prospect ID": "ids.crm"}
    assert await desk.take(text, mapping=mapping) == [1, 0, 0, 0]
    assert await desk.take(text, mapping=mapping, all_columns=True) == [0, 1, 0, 0]
    assert await desk.take(text, mapping=mapping, all_columns=True) == [0, 0, 1, 0]

    contact = await desk.team.contact("crm:p1")
    assert contact.name == "Ada Lovelace"
    assert contact.attributes == {
        "lead_number": "7", "lead_number_2": "8", "total_eur": "9.5", "größe": "L", "lead_number_3": "own",
        "lead_number_4": "10", "column": "x",
    }  # fmt: skip  # values by column
    for name in contact.attributes:
        assert parse(f"attributes.{name}:x", (), about_fields=True)


async def test_all_columns_are_at_most_200_of_a_contact(desk: Desk) -> None:
    """Equal long names stay distinct within the length limit, and a row with too many attributes refuses the file."""
    header = ",".join(["email", *["h" * 120] * 201])
    assert await desk.take(f"{header}\n{ADA}{',x' * 200}\n", all_columns=True) == [1, 0, 0, 0]
    names = (await desk.team.contact(ADA)).attributes
    assert len(names) == 200
    assert {"h" * 100, "h" * 98 + "_2", "h" * 96 + "_200"} <= set(names)
    with pytest.raises(BadFile, match=r"line 2 of contacts\.csv has 201 attributes"):
        await desk.take(f"{header}\n{ADA}{',x' * 201}\n", all_columns=True)


async def test_a_line_in_one_pair_of_quotes_is_told(desk: Desk) -> None:
    """For a line in one pair of quotes the problem is the quotes, not the first column."""
    assert await desk.take('email,name,score\n"ada@example.com,Ada,5"\n') == [0, 0, 0, 1]
    assert desk.wrong == [(2, "it is one cell, the header has 3: remove the quotes around the whole line")]


async def test_what_a_person_says_of_a_column_goes_first(desk: Desk) -> None:
    """A person's mapping of a column takes precedence, even over a column with the name of the field."""
    types = await score_types(desk.team.workspace)
    columns = match_columns(["Mail", "email", "Score", "x"], types, mapping={"mail": "email", "X": "score"})

    assert (columns.email, list(columns.scores), columns.unused) == (0, [3], ("email", "Score"))


async def test_the_reasons_of_what_is_left_out_are_counted(desk: Desk) -> None:
    """Rows that are left out for one reason count together, whatever their values; the options that help count too."""
    rows = ("ada@example.com,101", "bob@example.com,-7", "nobody,5", "no one,6", "zoe@example.com,92.5", "kay@x.org,1")
    report = await desk.report(
        "email,score,Owner\n" + "\n".join(f"{row},{'x' * (300 * (row[0] == 'k'))}" for row in rows)
    )

    assert [(reason.text, reason.line, reason.count) for reason in report.reasons.values()] == [
        ("score: Score runs from 0 to 100; 101 is outside it", 2, 2),
        ("`nobody` is not an e-mail address", 4, 2),
        ("score: Score goes in steps of 1; use 92 or 93", 6, 1),
        ("Owner: it has 300 characters; cut it to 255", 7, 1),
    ]
    assert dict(report.adjustable) == {"clamps": 2, "rounds": 1}


def test_only_so_many_reasons_are_counted() -> None:
    """The reasons of a file take bounded memory; those counted already are counted on."""
    report, words = Report(), ["".join(letters) for letters in product("abcde", repeat=3)]
    for word in [*words, words[0]]:
        report.count_reasons(ImportRow(Row(line=2, cells=(), end=0), complaints=[word]))

    assert len(words) > len(report.reasons) == MOST_REASONS
    assert report.reasons[words[0]].count == 2
