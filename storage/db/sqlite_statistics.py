"""Tell SQLite how a large database is made up, so that its plans are those of one from the first row on.

PostgreSQL finds out by itself. SQLite knows nothing until somebody runs ANALYZE, and takes it then that a workspace
has ten contacts: it reads all there are to find one. https://www.sqlite.org/fileformat2.html#stat1tab"""

from typing import Final

from storage.db.database import Session

#: index → (its table, how many rows there are, how many share the first column, the first two, …)
EXPECTED: Final = {
    "contacts_email_key": ("contacts", "100000 100000 1 1"),
    "contacts_name_key": ("contacts", "100000 100000 2"),
    "contacts_merged": ("contacts", "1000 2"),
    "identities_value": ("identities", "200000 200000 100000 1"),
    "identities_contact": ("identities", "200000 2"),
    "facts_key": ("facts", "1000000 1000000 200000 2 1"),
    "facts_contact_subject": ("facts", "1000000 10 5 1"),
    "facts_actor": ("facts", "100000 100000 1000 1"),
    "facts_batch": ("facts", "100000 100000 2"),
    "facts_undoes": ("facts", "1000 1000 1"),
    "facts_other": ("facts", "1000 2"),
    "effects_fact": ("effects", "1000000 2 1"),
    "effects_contact": ("effects", "1000000 10 5 1"),
    "effects_definition": ("effects", "1000000 500000"),
    "scores_contact": ("scores", "200000 2 1"),
    "scores_rank": ("scores", "200000 100000 2 1"),
}


async def write_statistics(session: Session) -> None:
    """Write what is expected, where it does not stand there yet; connections that are opened later plan by it."""
    table_query = "SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'"
    if not await session.rows(table_query):
        await session.rows("ANALYZE workspaces")  # a table of a few rows: what is wanted is the table of the numbers
    current = await session.rows("SELECT idx, tbl, stat FROM sqlite_stat1")
    if {row["idx"]: (row["tbl"], row["stat"]) for row in current if row["idx"] in EXPECTED} == EXPECTED:
        return
    rows = [{"index_name": index, "table_name": table, "stat": stat} for index, (table, stat) in EXPECTED.items()]
    await session.rows(
        "DELETE FROM sqlite_stat1 WHERE tbl IN"
        " (SELECT table_name FROM given(index_name text, table_name text, stat text))",
        rows,
    )
    await session.rows(
        "INSERT INTO sqlite_stat1 (tbl, idx, stat) SELECT table_name, index_name, stat"
        " FROM given(index_name text, table_name text, stat text)",
        rows,
    )
    await session.rows("ANALYZE sqlite_schema")  # read by this connection too
