"""Write planner statistics of a large database into SQLite, so that queries have the right plans from the start.

PostgreSQL collects statistics by itself. Without ANALYZE, SQLite assumes that ten rows match an indexed column, for
example that a workspace has ten contacts, and scans all of them. https://www.sqlite.org/fileformat2.html#stat1tab"""

from typing import Final

from storage.db.database import Session

#: index → (its table, statistics: the number of rows, the average number of rows with equal first column, first two, …)
EXPECTED: Final = {
    "contacts_email_key": ("contacts", "100000 100000 1 1"),
    "contacts_name_key": ("contacts", "100000 100000 2 1"),
    "contacts_owner_key": ("contacts", "100000 100000 2000 1"),
    "contacts_company_key": ("contacts", "100000 100000 20 1"),
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
    "effects_definition": ("effects", "1000000 500000 2 1"),
    "scores_contact": ("scores", "200000 2 1"),
    "words_word": ("words", "100000 100000 1"),
    "words_long": ("words", "10 10"),
    "word_trigrams_trigram": ("word_trigrams", "1000000 1000000 100 1"),
    "contact_words_word": ("contact_words", "1000000 10 1"),
    "contact_words_contact": ("contact_words", "1000000 5"),
    "scores_rank": ("scores", "200000 100000 2 1"),
}


async def write_statistics(session: Session) -> None:
    """Write EXPECTED into sqlite_stat1 unless it is there. This connection and later ones use it for their plans."""
    table_query = "SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'"
    if not await session.rows(table_query):
        await session.rows("ANALYZE workspaces")  # creates sqlite_stat1; a small table, so that it is fast
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
    await session.rows("ANALYZE sqlite_schema")  # makes this connection load the statistics
