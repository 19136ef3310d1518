"""The statements that are run most find their rows through an index, however many there are."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import pytest

from storage.database import SERVER_SETTINGS
from storage.definitions import add_score_type, score_types
from storage.domain.filters import parse
from storage.exporting import export
from storage.opening import open_storage
from storage.past import history, why
from storage.queries import count, page
from storage.scores import cards_of, top
from storage.workspaces import add_workspace, find_workspace
from tests.conftest import KEY
from tests.storage import raw
from tests.storage.teams import DAY, NOW, Team, set_to

CONTACTS = 100_000


async def plan(url: str, record: logging.LogRecord) -> str:
    """Ask the database how it would run a statement that it was given."""
    assert isinstance(record.args, tuple)
    sql, values = str(record.args[0]), list(record.args[1])  # type: ignore[call-overload]  # as Tortoise logs them
    if raw.is_sqlite(url):
        rows = await raw.rows(url, f"EXPLAIN QUERY PLAN {sql}", *values)
        return "\n".join(str(row["detail"]) for row in rows)
    connection = await raw.connect(url)
    try:
        for name, value in SERVER_SETTINGS.items():  # as our own connections have them
            await connection.execute(f"SET {name} = {value}")
        return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {sql}", *values))
    finally:
        await connection.close()


@pytest.fixture(scope="module")
async def crowd(lasting_database_url: str) -> str:
    """Give a filled database: filled once, as that takes longer than asking; no test here changes what is there."""
    await fill(lasting_database_url)
    return lasting_database_url


async def fill(url: str) -> None:
    """Make a hundred thousand contacts, each scored in a type that keeps its value and in one that fades."""
    storage = await open_storage(url, secret_keys=[KEY])
    team = Team(await add_workspace("T0ACME", name="Acme", now=NOW), storage.committer)
    await add_score_type(
        team.workspace, key="heat", label="Heat", minimum=0, maximum=100_000, step=1_000, start=None, bands=(),
        half_life=30 * DAY, is_default=False, now=NOW,
    )  # fmt: skip  # one definition
    await team.deliver(set_to("first", "ada@example.com", 50))
    await storage.close()
    (row,) = await raw.rows(url, "SELECT * FROM contacts")
    same = ", ".join(name for name in row if name not in ("id", "email", "email_key"))
    many = f"(WITH RECURSIVE g(n) AS (SELECT 10 UNION ALL SELECT n + 1 FROM g WHERE n < {CONTACTS}) SELECT n FROM g) g"
    state = "own, own_at, base, rank, last_at, last_source, last_key"
    rank, apart = "(g.n * 7919) % 100000", f"CAST({DAY // 90} AS BIGINT)"
    for sql in (
        f"INSERT INTO contacts (id, email, email_key, {same})"
        f" SELECT g.n, 'x', 'p' || g.n || '@example.com', {same} FROM contacts, {many} WHERE contacts.id = 1",
        "INSERT INTO identities (workspace_id, contact_id, namespace, value)"
        f" SELECT 1, g.n, 'crm', 'k' || g.n FROM {many}",
        f"INSERT INTO scores (workspace_id, contact_id, definition_id, {state})"
        f" SELECT 1, g.n, d.id, 0, 0, 0, CASE WHEN half_life IS NULL THEN {rank} ELSE {NOW} + {rank} * {apart} END,"
        f" 0, 'crm', 'k' || g.n FROM definitions d, {many}",
        "INSERT INTO facts (workspace_id, contact_id, kind, source, dedupe_key, subject, op, amount, said,"
        " occurred_at, received_at, batch)"
        f" SELECT 1, g.n, 'change', 'crm', 'k' || g.n, 'score', 'set', 0, '{{}}', g.n, g.n, 'b' FROM {many}",
        "INSERT INTO effects"
        " (workspace_id, contact_id, definition_id, fact_id, at, asked, effective, rank_after, capped)"
        " SELECT 1, f.contact_id, 1, f.id, f.occurred_at, 0, 0, 0, 0 FROM facts f WHERE f.contact_id > 1",
    ):
        await raw.rows(url, sql)
    # PostgreSQL does this by itself: it knows then how much there is, and that an index alone is enough.
    # SQLite does not, and nobody does it there: its plans must do without.
    if not raw.is_sqlite(url):
        await raw.rows(url, "VACUUM ANALYZE")


@pytest.fixture
async def crowded(crowd: str) -> AsyncIterator[Team]:
    """Give the team of the filled database."""
    storage = await open_storage(crowd, secret_keys=[KEY])
    yield Team(await find_workspace("T0ACME"), storage.committer)
    await storage.close()


def statements(caplog: pytest.LogCaptureFixture, about: str) -> list[logging.LogRecord]:
    """Pick the statements that mention something."""
    found = [one for one in caplog.records if isinstance(one.args, tuple) and about in str(one.args[0])]
    assert found, f"no statement mentions {about}"
    return found


@pytest.mark.slow
async def test_the_top_is_read_from_its_index(crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture) -> None:
    """Not by sorting a hundred thousand scores."""
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        _, cards = await top(crowded.workspace, score="score", count=5, now=NOW)

    assert len(cards) == 5
    (statement,) = statements(caplog, "ORDER BY k.rank DESC")
    how = await plan(crowd, statement)
    assert "scores_rank" in how
    assert "Seq Scan" not in how
    assert "SCAN k" not in how


@pytest.mark.slow
async def test_what_is_known_of_a_delivery_is_found_by_its_keys(
    crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A repeated fact by its unique constraint, a contact by that of its identity, a score by its own."""
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        await asyncio.gather(
            crowded.deliver(set_to("first", "ada@example.com", 50)),
            crowded.deliver(set_to("second", "ada@example.com", 60), batch="d2"),
        )

    for about, constraint, columns in (
        ("JOIN facts f ON f.workspace_id", "facts_key", "workspace_id=? AND source=? AND dedupe_key=? AND subject=?"),
        ("JOIN identities i", "identities_value", "workspace_id=? AND namespace=? AND value=?"),
        ("JOIN scores k", "scores_contact", "contact_id=? AND definition_id=?"),
    ):
        how = await plan(crowd, statements(caplog, about)[0])
        assert (columns if raw.is_sqlite(crowd) else constraint) in how, json.dumps(how)
        assert "Seq Scan on facts" not in how
        assert "SCAN f" not in how


@pytest.mark.slow
async def test_what_a_score_did_is_looked_up_by_contact(
    crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody reads the whole ledger: the effects of a score, and the facts of a contact, come from their indexes."""
    types = await score_types(crowded.workspace)
    for text, about, index in (
        ("score rising 10 in 7d", "rank_then", "effects_contact"),
        ("score crossed above 50 in 7d", "rank_then", "effects_contact"),
        ("score stale 7d", "max(e.at)", "effects_contact"),
        ("score>=99.5", "rank >=", "scores_rank"),
        ("heat>=80", "rank >=", "scores_rank"),
        ("updated<1d", "FROM facts f WHERE f.contact_id", "facts_contact_subject"),
    ):
        caplog.clear()
        with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
            await count(crowded.workspace, asked=parse(text, types), now=NOW)
        how = await plan(crowd, statements(caplog, about)[0])
        assert index in how, (text, how)
        for whole in ("Seq Scan on effects", "Seq Scan on facts", "SCAN e", "SCAN g", "SCAN f"):
            assert whole not in how, (text, how)


@pytest.mark.slow
async def test_a_card_is_looked_up_by_contact(crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture) -> None:
    """Who somebody is, by which ids, and every score with its last change: nothing of it by reading all there are."""
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        (seen,) = await cards_of(crowded.workspace, ids=[77], now=NOW)

    assert (dict(seen.contact.ids), len(seen.standings)) == ({"crm": "k77"}, 1)
    for about, index in (
        ("FROM contacts WHERE workspace_id", "contacts_pkey"),
        ("JOIN identities i ON i.contact_id", "identities_contact"),
        ("FROM scores k JOIN facts f", "scores_contact"),
    ):
        how = await plan(crowd, statements(caplog, about)[0])
        assert ("INTEGER PRIMARY KEY" if raw.is_sqlite(crowd) and index == "contacts_pkey" else index) in how, how
        for whole in ("Seq Scan on", "(workspace_id=?)", "SCAN m", "SCAN i", "SCAN k", "SCAN contacts"):
            assert whole not in how, (about, how)


@pytest.mark.slow
async def test_what_a_score_is_made_of_is_looked_up_by_contact(
    crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its facts, for why and for its history."""
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        _, told = await why(crowded.workspace, contact=77, score="score", most=9, now=NOW)
        _, lines = await history(crowded.workspace, contact=77, score="score", most=9)

    assert told is not None
    assert (len(told.contributions), len(lines)) == (1, 1)
    for about in ("JOIN facts f ON f.contact_id", "ORDER BY f.occurred_at DESC"):
        how = await plan(crowd, statements(caplog, about)[0])
        assert "facts_contact_subject" in how, how
        for whole in ("Seq Scan on facts", "SCAN f", "Seq Scan on contacts", "SCAN m", "(workspace_id=?)"):
            assert whole not in how, how


@pytest.mark.slow
async def test_pages_of_a_fading_score_come_from_its_index(
    crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At any moment a threshold is one number, and the order that of the ranks."""
    asked = parse("heat>=80 sort:-heat", await score_types(crowded.workspace))
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        first = await page(crowded.workspace, asked=asked, limit=10, now=NOW)
        second = await page(crowded.workspace, asked=asked, limit=10, cursor=first.next_cursor, now=NOW + DAY)

    assert len({card.contact.id for card in (*first.cards, *second.cards)}) == 20
    for statement in statements(caplog, "ORDER BY s0.rank"):
        how = await plan(crowd, statement)
        assert "scores_rank" in how
        for whole in ("Seq Scan on scores", "SCAN s0", "SCAN scores", "Seq Scan on contacts", "SCAN c"):
            assert whole not in how, how


@pytest.mark.slow
async def test_the_next_page_of_an_export_is_found_by_its_address(
    crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It begins where the last one ended, without sorting everybody again."""
    cards = export(crowded.workspace, asked=parse("", await score_types(crowded.workspace)), now=NOW)
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        for _ in range(1500):
            await anext(cards)

    second = statements(caplog, "c.email_key IS NOT NULL")[1]
    how = await plan(crowd, second)
    assert "contacts_email_key" in how, how
