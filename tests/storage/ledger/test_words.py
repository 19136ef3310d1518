"""The words of contacts are stored in the transaction that changes them, and none is left without a contact."""

import asyncio

import pytest

from storage.db.database import Session, current_database
from storage.domain.contacts import Reference
from storage.domain.facts import Deletion, Merge
from storage.domain.submissions import Status
from storage.ledger.committer import Committer
from storage.ledger.config_cache import ConfigCache
from storage.ledger.record import record_group
from storage.ledger.verify import verify_next
from storage.ledger.words import SLICE, fill_words
from storage.reading.search import find, find_similar
from storage.scoring.definitions import lock_names
from tests.storage import raw
from tests.storage.teams import NOW, SECOND, Team, field_item, set_to

ADA, BOB = "ada@example.com", "bob@example.com"
WAITING = (
    "SELECT count(*) AS number FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


async def words(url: str) -> list[str]:
    """Return all stored words, after checking that each trigram and each contact's word belongs to one of them."""
    for table in ("word_trigrams", "contact_words"):
        rows = await raw.rows(url, f"SELECT * FROM {table} WHERE word_id NOT IN (SELECT id FROM words)")
        assert rows == [], table
    return sorted(str(row["word"]) for row in await raw.rows(url, "SELECT word FROM words"))


async def forget_words(url: str) -> None:
    """Make all contacts such as an earlier version recorded, without words."""
    for table in ("contact_words", "word_trigrams", "words"):
        await raw.rows(url, f"DELETE FROM {table}")
    await raw.rows(url, "UPDATE workspaces SET words_after = 0")


async def test_a_word_is_stored_once_and_goes_with_its_last_contact(team: Team, database_url: str) -> None:
    """A word that two contacts have stays when one is renamed, and is deleted when the other is deleted."""
    await team.deliver(
        field_item("a", ADA, name="Ada Zweig"), field_item("b", BOB, name="Bob Zweig", company="Ada Ltd")
    )
    assert await words(database_url) == ["ada", "bob", "example.com", "ltd", "zweig"]

    await team.ask(field_item("c", ADA, name="Ada Lovelace"), batch="c", received=NOW + SECOND)
    assert await words(database_url) == ["ada", "bob", "example.com", "lovelace", "ltd", "zweig"]

    await team.deliver(Deletion(key="d", contact=Reference(email=BOB)), batch="d", received=NOW + 2 * SECOND)
    assert await words(database_url) == ["ada", "example.com", "lovelace"]
    await team.undo("c", batch="u", received=NOW + 3 * SECOND)
    assert await words(database_url) == ["ada", "example.com", "zweig"]
    await team.deliver(Deletion(key="e", contact=Reference(email=ADA)), batch="e", received=NOW + 4 * SECOND)
    assert await words(database_url) == []


async def test_what_changes_no_text_writes_no_word(team: Team, caplog: pytest.LogCaptureFixture) -> None:
    """A score or an attribute of a known contact causes no statement about words, a new contact six at most."""
    with caplog.at_level("DEBUG", logger="tortoise.db_client"):
        await team.deliver(field_item("a", ADA, name="Ada Lovelace"))
        for_new = [record for record in caplog.records if "words" in str(record.args)]
        caplog.clear()
        await team.deliver(set_to("b", ADA, 5, fields={"attributes.plan": "pro", "name": "Ada Lovelace"}), batch="b")
        for_known = [record for record in caplog.records if "words" in str(record.args)]

    assert 3 <= len(for_new) <= 6
    assert for_known == []


async def test_transactions_that_share_a_word_leave_none_behind(team: Team, database_url: str) -> None:
    """Deletions at the same time in two processes leave no word, and a contact added meanwhile keeps its words."""
    other = Team(team.workspace, Committer(current_database()))
    for turn in range(4):
        left, right, new = (f"{name}{turn}@zweig.example" for name in ("left", "right", "new"))
        people = [field_item(email, email, name="Nobody Else") for email in (left, right)]
        await team.deliver(*people, batch=f"a{turn}", received=NOW + turn * SECOND)
        deletions = [Deletion(key=f"d{email}", contact=Reference(email=email)) for email in (left, right)]
        await asyncio.gather(
            team.deliver(deletions[0], batch=f"l{turn}", received=NOW + turn * SECOND),
            other.deliver(deletions[1], batch=f"r{turn}", received=NOW + turn * SECOND),
            *([other.deliver(field_item(new, new, name="Else"), batch=f"n{turn}")] if turn % 2 else ()),
        )
        kept = {"else", "new", str(turn), "zweig.example"} if turn % 2 else set()
        assert set(await words(database_url)) == kept
        assert (await verify_next(team.workspace)).differences == ()
        if kept:
            gone = Deletion(key=f"g{turn}", contact=Reference(email=new))
            await team.deliver(gone, batch=f"g{turn}", received=NOW + (turn + 1) * SECOND)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_filling_waits_for_a_locked_workspace_without_words(team: Team, database_url: str) -> None:
    """Whoever has locked the workspace can record a contact with a word that is being filled: neither is refused."""
    await team.deliver(field_item("a", ADA, name="Ada Zweig"))
    await forget_words(database_url)
    begin = asyncio.Event()

    async def fill() -> int | None:
        await begin.wait()
        return await fill_words(team.workspace)

    filling = asyncio.create_task(fill())

    async def body(session: Session) -> None:
        await lock_names(session, team.workspace)
        begin.set()
        while not (await raw.rows(database_url, WAITING))[0]["number"]:
            pass
        submission = team.delivery(field_item("b", BOB, name="Bob Zweig"))
        await record_group(session, [(team.workspace, submission)], ConfigCache(), now=NOW)

    await current_database().transaction(body)
    assert await filling is None
    assert await words(database_url) == ["ada", "bob", "example.com", "zweig"]


async def test_words_are_of_every_row_of_a_merged_contact(team: Team, database_url: str) -> None:
    """A merged row keeps its words, so that a split needs no others, and searches find the contact by what it shows."""
    await team.deliver(field_item("a", ADA, name="Ada Lovelace"), field_item("b", BOB, name="Bob Zweig"))
    merge = Merge(key="m", contact=Reference(email=BOB), into=Reference(email=ADA))
    await team.ask(merge, batch="m", received=NOW + SECOND)
    assert (await verify_next(team.workspace)).differences == ()
    (merged,) = await find(team.workspace, text=ADA)
    assert [contact.id for contact in await find(team.workspace, text=str(merged.name))] == [merged.id]

    await team.undo("m", batch="u", received=NOW + 2 * SECOND)
    assert [contact.email for contact in await find(team.workspace, text="zweig")] == [BOB]
    assert (await verify_next(team.workspace)).differences == ()
    assert await words(database_url) == ["ada", "bob", "example.com", "lovelace", "zweig"]


async def test_verify_finds_words_that_are_stored_otherwise(team: Team, database_url: str) -> None:
    """Verification finds a word that a contact lacks, and one that is not its own."""
    await team.deliver(field_item("a", ADA, name="Ada Lovelace"), field_item("b", BOB, name="Bob"))
    for change in (
        "DELETE FROM contact_words WHERE word_id = (SELECT id FROM words WHERE word = 'lovelace')",
        "INSERT INTO contact_words (workspace_id, contact_id, word_id) SELECT 1, 1, id FROM words WHERE word = 'bob'",
    ):
        await raw.rows(database_url, change)
        differences = (await verify_next(team.workspace)).differences
        assert [(difference.contact, difference.what) for difference in differences] == [(1, "words")], change


async def test_contacts_of_an_earlier_version_are_found_while_their_words_are_filled(
    team: Team, database_url: str
) -> None:
    """Searches find contacts without words, before the filling, between two slices, and after it."""
    people = [field_item(f"k{n}", f"p{n}@example.com", name=f"Ada N{n:03}") for n in range(SLICE + 50)]
    await team.deliver(*people)
    await forget_words(database_url)
    await team.deliver(field_item("new", "new@example.com", name="New One"), batch="new")

    async def check_searches() -> None:
        assert (await verify_next(team.workspace)).differences == ()
        for text, number in (("n001", 1), ("n24", 10), ("007", 1), ("ada", 21), ("new", 1)):
            assert (text, len(await find(team.workspace, text=text))) == (text, number)

    await check_searches()
    last = await fill_words(team.workspace)
    await check_searches()
    await team.ask(field_item("r", "p0@example.com", name="Zoe"), batch="r", received=NOW + SECOND)
    assert (last, await fill_words(team.workspace)) == (SLICE, None)
    await check_searches()
    assert [contact.name for contact in await find_similar(team.workspace, text="ada n0077")] == [
        "Ada N007",
        "Ada N077",
    ]
    assert (await raw.rows(database_url, "SELECT words_after FROM workspaces")) == [{"words_after": None}]


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_change_that_was_in_a_deadlock_is_recorded(database_url: str, team: Team) -> None:
    """A transaction that PostgreSQL ends, because it and another one wait for each other, is repeated."""
    await team.deliver(field_item("a", ADA, name="Xu"), field_item("b", BOB, name="Yu"), batch="names")
    connection = await raw.connect(database_url)
    try:
        await connection.execute("SET deadlock_timeout = '1 min'")  # so that the recording is the one that is ended
        async with connection.transaction():
            await connection.fetch("SELECT id FROM words WHERE word = 'yu' FOR UPDATE")
            recording = asyncio.create_task(team.deliver(field_item("c", "c@example.com", name="Xu Yu"), batch="c"))
            while await connection.fetchval(WAITING) == 0:
                pass
            await connection.fetch("SELECT id FROM words WHERE word = 'xu' FOR UPDATE")
        recorded = await recording
        await connection.execute("SELECT pg_stat_clear_snapshot()")
        deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert await connection.fetchval(deadlocks) == 1
    finally:
        await connection.close()

    assert recorded.count(Status.APPLIED) == 1
    assert [contact.email for contact in await find(team.workspace, text="xu yu")] == ["c@example.com"]
