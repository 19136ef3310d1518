"""The statements that are run most find their rows through an index, however many there are."""

import asyncio
import json
import logging

import pytest

from storage.definitions import score_types
from storage.domain.filters import parse
from storage.exporting import export
from storage.queries import count, page
from storage.scores import top
from tests.storage import raw
from tests.storage.teams import NOW, Team, set_to

CONTACTS = 60_000


async def plan(url: str, record: logging.LogRecord) -> str:
    """Ask the database how it would run a statement that it was given."""
    assert isinstance(record.args, tuple)
    sql, values = str(record.args[0]), list(record.args[1])  # type: ignore[call-overload]  # as Tortoise logs them
    if raw.is_sqlite(url):
        rows = await raw.rows(url, f"EXPLAIN QUERY PLAN {sql}", *values)
        return "\n".join(str(row["detail"]) for row in rows)
    connection = await raw.connect(url)
    try:
        await connection.execute("SET plan_cache_mode = force_generic_plan")  # as our own connections have it
        return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {sql}", *values))
    finally:
        await connection.close()


@pytest.fixture
async def crowded(database_url: str, team: Team) -> Team:
    """Give a team with very many scored contacts, beside another type that has as many."""
    await team.deliver(set_to("first", "ada@example.com", 50))
    (row,) = await raw.rows(database_url, "SELECT * FROM contacts")
    same = ", ".join(name for name in row if name not in ("id", "email", "email_key"))
    many = f"(WITH RECURSIVE g(n) AS (SELECT 10 UNION ALL SELECT n + 1 FROM g WHERE n < {CONTACTS}) SELECT n FROM g) g"
    for sql in (
        f"INSERT INTO contacts (id, {same}) SELECT g.n, {same} FROM contacts, {many} WHERE contacts.id = 1",
        "INSERT INTO identities (workspace_id, contact_id, namespace, value)"
        f" SELECT 1, g.n, 'crm', 'k' || g.n FROM {many}",
        "INSERT INTO scores"
        " (workspace_id, contact_id, definition_id, own, own_at, base, rank, last_at, last_source, last_key)"
        f" SELECT 1, g.n, 1, 0, 0, 0, (g.n * 7919) % 100000, 0, 'crm', 'k' || g.n FROM {many}",
        "INSERT INTO facts (workspace_id, contact_id, kind, source, dedupe_key, subject, op, amount, said,"
        " occurred_at, received_at, batch)"
        f" SELECT 1, g.n, 'change', 'crm', 'k' || g.n, 'score', 'set', 0, '{{}}', g.n, g.n, 'b' FROM {many}",
        "ANALYZE",
    ):
        await raw.rows(database_url, sql)
    return team


def statements(caplog: pytest.LogCaptureFixture, about: str) -> list[logging.LogRecord]:
    """Pick the statements that mention something."""
    found = [one for one in caplog.records if isinstance(one.args, tuple) and about in str(one.args[0])]
    assert found, f"no statement mentions {about}"
    return found


@pytest.mark.slow
async def test_the_top_is_read_from_its_index(
    crowded: Team, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not by sorting sixty thousand scores."""
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        _, cards = await top(crowded.workspace, score="score", count=5, now=NOW)

    assert len(cards) == 5
    (statement,) = statements(caplog, "ORDER BY k.rank DESC")
    how = await plan(database_url, statement)
    assert "scores_rank" in how
    assert "Seq Scan" not in how
    assert "SCAN k" not in how


@pytest.mark.slow
async def test_what_is_known_of_a_delivery_is_found_by_its_keys(
    crowded: Team, database_url: str, caplog: pytest.LogCaptureFixture
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
        how = await plan(database_url, statements(caplog, about)[0])
        assert (columns if raw.is_sqlite(database_url) else constraint) in how, json.dumps(how)
        assert "Seq Scan on facts" not in how
        assert "SCAN f" not in how


@pytest.mark.slow
async def test_what_a_score_did_is_looked_up_by_contact(
    crowded: Team, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody reads the whole ledger: the effects of a score, and the facts of a contact, come from their indexes."""
    await raw.rows(
        database_url,
        "INSERT INTO effects"
        " (workspace_id, contact_id, definition_id, fact_id, at, asked, effective, rank_after, capped)"
        " SELECT 1, f.contact_id, 1, f.id, f.occurred_at, 0, 0, 0, 0 FROM facts f"
        " WHERE NOT EXISTS (SELECT 1 FROM effects e WHERE e.fact_id = f.id)",
    )
    await raw.rows(database_url, "ANALYZE")
    types = await score_types(crowded.workspace)
    for text, about, index in (
        ("score rising 10 in 7d", "rank_then", "effects_contact"),
        ("score crossed above 50 in 7d", "rank_then", "effects_contact"),
        ("score stale 7d", "max(e.at)", "effects_contact"),
        ("score>=99.5", "rank >=", "scores_rank"),
        ("updated<1d", "FROM facts f WHERE f.contact_id", "facts_contact_subject"),
    ):
        caplog.clear()
        with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
            await count(crowded.workspace, asked=parse(text, types), now=NOW)
        how = await plan(database_url, statements(caplog, about)[0])
        assert index in how, (text, how)
        for whole in ("Seq Scan on effects", "Seq Scan on facts", "SCAN e", "SCAN g", "SCAN f"):
            assert whole not in how, (text, how)


@pytest.mark.slow
async def test_pages_of_a_fading_score_come_from_its_index(
    crowded: Team, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At any moment a threshold is one number, and the order that of the ranks."""
    await raw.rows(database_url, f"UPDATE definitions SET half_life = {30 * 86_400_000_000}")
    await raw.rows(database_url, f"UPDATE scores SET rank = {NOW} + rank * 1000000000")
    await raw.rows(database_url, "ANALYZE")
    asked = parse("score>=80 sort:-score", await score_types(crowded.workspace))
    caplog.clear()
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        found = await page(crowded.workspace, asked=asked, limit=10, now=NOW)

    assert len(found.cards) == 10
    how = await plan(database_url, statements(caplog, "ORDER BY s0.rank")[0])
    assert "scores_rank" in how
    assert "Seq Scan on scores" not in how
    assert "SCAN s0" not in how


@pytest.mark.slow
async def test_the_next_page_of_an_export_is_found_by_its_address(
    crowded: Team, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It begins where the last one ended, without sorting everybody again."""
    await raw.rows(database_url, "UPDATE contacts SET email_key = 'p' || id || '@example.com', email = 'x'")
    await raw.rows(database_url, "ANALYZE")
    cards = export(crowded.workspace, asked=parse("", await score_types(crowded.workspace)), now=NOW)
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        for _ in range(1500):
            await anext(cards)

    second = statements(caplog, "c.email_key IS NOT NULL")[1]
    how = await plan(database_url, second)
    assert "contacts_email_key" in how, how
