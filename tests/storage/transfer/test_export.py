"""An export has one order, is loaded page by page, and changes nothing when imported again."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.domain.contacts import ATTRIBUTE, Json, Reference
from storage.domain.facts import Item, Op
from storage.domain.filters import parse
from storage.domain.submissions import Status
from storage.scoring.definitions import add_score_type, score_types
from storage.transfer.csv_files import recognize
from storage.transfer.export import export, write_csv
from storage.transfer.import_columns import choose_columns
from storage.transfer.import_csv import import_file
from tests.counts import LINES
from tests.storage import raw
from tests.storage.teams import NOW, SECOND, Team, field_item, set_to


async def exported(team: Team, text: str = "") -> list[str]:
    """Return the contacts of an export, as the command does."""
    contact_filter = parse(text, await score_types(team.workspace))
    return [
        card.contact.typed
        async for card in export(team.workspace, query=contact_filter, text="", by="U0ADMIN", now=NOW)
    ]


async def written(team: Team) -> str:
    """Return an export as CSV."""
    contact_filter, file = parse("", await score_types(team.workspace)), io.StringIO(newline="")
    counts: list[int] = []
    number = await write_csv(
        team.workspace, query=contact_filter, file=file, progress=counts.append, text="", by="U0ADMIN", now=NOW
    )
    assert counts == list(range(1, number + 1))
    return file.getvalue()


async def test_the_order_is_by_address_and_then_by_id(team: Team) -> None:
    """Contacts are ordered by email as bytes, and those without email by their first id, in any order of arrival."""
    await team.deliver(
        field_item("1", ("shop", "b")),
        field_item("2", "b.z@example.com"),
        field_item("3", ("crm", "10")),
        field_item("4", "ba@example.com"),
        field_item("5", Reference(email="Ada@example.com", source="crm", id="0")),
        field_item("6", ("crm", "9")),
        field_item("7", "Éa@example.com"),
        set_to("8", "ba@example.com", 5),
    )
    everybody = ["Ada@example.com", "b.z@example.com", "ba@example.com", "Éa@example.com", "crm:10", "crm:9", "shop:b"]

    assert await exported(team) == everybody
    assert await exported(team, "has:score") == ["ba@example.com"]
    assert (
        await exported(team, "-has:score limit:5") == [typed for typed in everybody if not typed.startswith("ba")][:5]
    )
    assert await exported(team, "sort:-email limit:2") == ["Éa@example.com", "ba@example.com"]
    assert await exported(team, "name~nobody") == []


async def test_many_go_out_page_by_page(team: Team) -> None:
    """Each of many contacts is exported once, with or without email, in any order, even if a page is just full."""
    for start in range(0, 2000, 1000):
        await team.deliver(
            *(set_to(f"{n}", f"p{n:04d}@example.com", n % 90) for n in range(start, start + 1000)),
            *(field_item(f"id{n}", ("crm", f"{n:04d}")) for n in range(start, min(start + 1000, 1500))),
            batch=f"d{start}",
        )
    addresses = [f"p{n:04d}@example.com" for n in range(2000)]
    ids = [f"crm:{n:04d}" for n in range(1500)]

    assert await exported(team) == addresses + ids
    assert await exported(team, "limit:1000") == addresses[:1000]
    assert await exported(team, "-has:score") == ids
    by_score = sorted(range(2000), key=lambda n: (-(n % 90), n))
    assert await exported(team, "has:score sort:-score") == [addresses[n] for n in by_score]
    assert len(await exported(team, "sort:-score")) == 3500


names = st.sampled_from(
    ["=1+1", "＝3", "＠x", "+49 30", "-", "@x", "'=x", "'t Hooft", "a;b, c", 'say "hi"', "two\nlines"]
)
words = names | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
values: st.SearchStrategy[Json] = words | st.integers(-(2**40), 2**40) | st.booleans() | st.none() | st.just([1, "a"])
people = st.fixed_dictionaries(
    {},
    optional={
        "name": words,
        "company": words,
        "owner": words,
        "tags": st.lists(words, max_size=3),
        ATTRIBUTE + "plan": values,
        ATTRIBUTE + "a b,c": values,
    },
)


@pytest.fixture
def came_in_again() -> Iterator[list[int]]:
    """Collect the numbers of rows that were imported again. Fail unless there were many."""
    counts: list[int] = []
    yield counts
    LINES.append(f"rows exported and imported again: {sum(counts):,}")
    assert sum(counts) >= 100  # by chance there are six hundred to a thousand


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(people, st.none() | st.integers(-20, 20)), min_size=1, max_size=5))
async def test_an_export_that_comes_in_again_changes_nothing(
    team: Team,
    database_url: str,
    tmp_path: Path,
    came_in_again: list[int],
    rows: list[tuple[Mapping[str, Json], int | None]],
) -> None:
    """An export that is imported again changes nothing, whatever the names, fields and ids of the contacts."""
    run = int(str((await raw.rows(database_url, "SELECT count(*) AS n FROM facts"))[0]["n"]))
    if "half" not in {score_type.key for score_type in await score_types(team.workspace)}:
        await add_score_type(
            team.workspace, key="half", label="Half", minimum=-10_000, maximum=10_000, step=500,
            bands=[], start=0, is_default=False, by="U0ADMIN", now=NOW,
        )  # fmt: skip  # the numbers of one definition stand together
    items: list[Item] = []
    for number, (fields, halves) in enumerate(rows):
        key = f"{run}/{number}"
        reference = [
            Reference(email=f"p{key}@example.com"),
            Reference(source="crm", id=f"={key}"),
            Reference(email=f"p{key}@example.com", source="shop", id=key),
        ][number % 3]
        items.append(Item(key=key, contact=reference, fields=fields))
        if halves is not None:
            items.append(Item(key=key, contact=reference, score="half", op=Op.SET, amount=halves * 500))
    recorded = await team.deliver(*items, batch=f"d{run}", received=NOW + run * SECOND)
    assert recorded.count(Status.APPLIED) == len(items)

    text = await written(team)
    facts = await raw.rows(database_url, "SELECT count(*) AS n FROM facts")
    path = tmp_path / "export.csv"
    path.write_text(text, newline="", encoding="utf-8")
    wrong: list[str] = []
    file = recognize(path)
    columns = await choose_columns(team.workspace, file=file, mapping={})
    report = await import_file(
        team.workspace, file=file, columns=columns, progress=lambda done: None,
        wrong=lambda row, reason: wrong.append(reason), by="U0ADMIN", now=NOW + run * SECOND + 1,
    )  # fmt: skip  # the rows of the import

    assert (report.new, report.changed, wrong) == (0, 0, [])
    assert report.same == len(list(csv.reader(io.StringIO(text, newline="")))) - 1
    assert await raw.rows(database_url, "SELECT count(*) AS n FROM facts") == facts
    assert await written(team) == text
    for cell in (cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row):
        assert cell[:1] not in list("=+@\t\r\n＝＋－＠")
        assert cell[:1] != "-" or float(cell) < 0  # a negative score, which needs no escape
    came_in_again.append(report.same)


async def test_the_columns_of_a_csv(team: Team) -> None:
    """A CSV has the columns that an import reads: fields, scores, ids and all existing attributes."""
    await team.deliver(
        set_to("1", Reference(email="ada@example.com", source="crm", id="4711"), 62,
               fields={"name": "=Ada", "tags": ["a", "b"], "attributes.plan": 5}),
        field_item("2", "bob@example.com", company="Engines, Ltd"),
    )  # fmt: skip  # contacts and their fields

    assert await written(team) == (
        "email,name,company,owner,tags,score,ids.crm,attributes.plan\r\n"
        "ada@example.com,'=Ada,,,a; b,62,4711,5\r\n"
        'bob@example.com,,"Engines, Ltd",,,,,\r\n'
    )
