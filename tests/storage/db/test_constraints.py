"""The database itself refuses rows that must not exist, whoever writes them."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

import asyncpg
import pytest
from tortoise.exceptions import IntegrityError

from storage.bootstrap import open_storage
from storage.db.database import current_database
from tests.storage import raw
from tests.storage.worlds import KEYS as SECRETS
from tests.storage.worlds import everything, fill, tables

# name → table, its columns, and changes that make a copy of a row valid
UNIQUE: dict[str, tuple[str, str, dict[str, object]]] = {
    "workspaces_team": ("workspaces", "team", {"team": "T0OTHER"}),
    "config_versions_workspace": ("config_versions", "workspace_id", {"workspace_id": 2}),
    "roles_subject": ("roles", "workspace_id, subject", {"subject": "U0OTHER"}),
    "score_types_key": ("score_types", "workspace_id, key", {"key": "other"}),
    "definitions_number": ("definitions", "score_type_id, number", {"number": 2}),
    "identities_value": ("identities", "workspace_id, namespace, value", {"value": "other@example.com"}),
    "attribute_values_contact": ("attribute_values", "contact_id, name, key", {"key": "other"}),
    "word_trigrams_trigram": ("word_trigrams", "workspace_id, trigram, word_id", {"trigram": 1}),
    "contact_words_word": ("contact_words", "word_id, contact_id", {"contact_id": 99}),
    "facts_key": ("facts", "workspace_id, source, dedupe_key, subject", {"dedupe_key": "other"}),
    "effects_fact": ("effects", "fact_id, definition_id", {"fact_id": 3}),
    "scores_contact": ("scores", "contact_id, definition_id", {"definition_id": 2}),
    "sources_slug": ("sources", "workspace_id, slug", {"slug": "other"}),
    "refusals_source": ("refusals", "source_id", {"source_id": 2}),
    "raw_deliveries_delivery": ("raw_deliveries", "delivery_id", {"delivery_id": 2}),
    "quarantine_item": ("quarantine", "delivery_id, position", {"position": 99}),
    "segments_name": ("segments", "workspace_id, name", {"name": "other"}),
    "tokens_hash": ("tokens", "hash", {"hash": "other"}),
    "alert_memory_contact": ("alert_memory", "rule_id, contact_id", {"contact_id": 2}),
    "followup_rules_pair": ("followup_rules", "follow_up_id, rule_id", {"rule_id": 2}),
    "digests_place": ("digests", "workspace_id, place", {"place": "other"}),
    "notices_what": ("notices", "workspace_id, what", {"what": "other"}),
    "posted_messages_ts": ("posted_messages", "workspace_id, channel, ts", {"ts": "other"}),
    "message_contacts_pair": ("message_contacts", "message_id, contact_id", {"contact_id": 2}),
    "jobs_key": ("jobs", "workspace_id, kind, job_key", {"job_key": "other"}),
    "lanes_name": ("lanes", "workspace_id, name", {"name": "other"}),
    "pending_refolds_contact": ("pending_refolds", "contact_id, undo", {"undo": "other"}),
    "event_deliveries_event": ("event_deliveries", "subscription_id, event_id", {"subscription_id": 2}),
    "imports_key": ("imports", "workspace_id, request_key", {"request_key": "other"}),
    "import_parts_position": ("import_parts", "file_id, position", {"position": 99}),
    "bulk_changes_batch": ("bulk_changes", "workspace_id, batch", {"batch": "other"}),
    "segment_members_contact": ("segment_members", "workspace_id, segment, contact_id", {"contact_id": 2}),
    "write_backs_identity": ("write_backs", "identity_id", {"identity_id": 2}),
    "tombstones_hash": ("tombstones", "workspace_id, hash", {"hash": "other"}),
}
# name → table of another parent that the valid copy needs, and the changes that make the parent
PARENTS: dict[str, tuple[str, dict[str, object]]] = {
    "config_versions_workspace": ("workspaces", {"team": "T0OTHER"}),
    "scores_contact": ("definitions", {"number": 2}),
    "refusals_source": ("sources", {"slug": "other"}),
    "raw_deliveries_delivery": ("deliveries", {}),
    "event_deliveries_event": ("subscriptions", {}),
    "followup_rules_pair": ("alert_rules", {}),
}
# name → table, changes that break the constraint, and changes that keep it
CHECKS: dict[str, tuple[str, dict[str, object], dict[str, object]]] = {
    "facts_kind": ("facts", {"kind": "other", "op": None}, {}),
    "facts_op": ("facts", {"op": None}, {"kind": "fields", "op": None}),
    "facts_activity": ("facts", {"activity": "a"}, {"kind": "activity", "op": None, "activity": "a"}),
    "facts_undoes": ("facts", {"undoes": "b"}, {"kind": "undo", "op": None, "undoes": "b", "contact_id": None}),
    "facts_other": ("facts", {"other_id": 1}, {"kind": "merge", "op": None, "subject": "merge", "other_id": 1}),
    "facts_contact": ("facts", {"contact_id": None}, {}),
    "definitions_range": (
        "definitions",
        {"minimum": 5, "maximum": 5, "start": 5},
        {"minimum": 5, "maximum": 6, "start": 5},
    ),
    "definitions_step": ("definitions", {"step": 0}, {"step": 1}),
    "definitions_start": ("definitions", {"start": 100_001}, {"start": 100_000}),
    "definitions_half_life": ("definitions", {"half_life": 3_599_999_999}, {"half_life": 3_600_000_000}),
}
# (table, column): foreign keys
KEYS = [
    ("contacts", "workspace_id"), ("score_types", "workspace_id"), ("definitions", "score_type_id"),
    ("identities", "contact_id"), ("facts", "contact_id"), ("effects", "contact_id"), ("effects", "definition_id"),
    ("effects", "fact_id"), ("scores", "contact_id"), ("scores", "definition_id"), ("sources", "workspace_id"),
    ("deliveries", "source_id"), ("quarantine", "delivery_id"), ("raw_deliveries", "delivery_id"),
    ("refusals", "source_id"), ("tokens", "workspace_id"),
    ("alert_rules", "workspace_id"), ("alert_memory", "rule_id"), ("alert_memory", "contact_id"),
    ("follow_ups", "rule_id"), ("follow_ups", "contact_id"), ("jobs", "workspace_id"), ("lanes", "workspace_id"),
    ("roles", "workspace_id"), ("segments", "workspace_id"), ("follow_up_moves", "follow_up_id"),
    ("followup_rules", "follow_up_id"), ("followup_rules", "rule_id"), ("digests", "workspace_id"),
    ("notices", "workspace_id"), ("posted_messages", "workspace_id"), ("message_contacts", "message_id"),
    ("subscriptions", "workspace_id"), ("events", "workspace_id"), ("event_deliveries", "subscription_id"),
    ("event_deliveries", "event_id"), ("segment_members", "workspace_id"),
    ("write_backs", "source_id"), ("write_backs", "identity_id"),
    ("bulk_changes", "workspace_id"), ("imports", "workspace_id"), ("import_parts", "file_id"),
    ("late_answers", "workspace_id"), ("pending_refolds", "contact_id"),
    ("config_versions", "workspace_id"),
    ("tombstones", "workspace_id"), ("attribute_values", "contact_id"), ("audit_entries", "workspace_id"),
]  # fmt: skip  # a table of pairs
#: An index of words; its rows are written and deleted together; checks of each row would cost as much as the rows.
WITHOUT_KEYS = ("words", "word_trigrams", "contact_words")
INDEXES = {
    "contacts_name_key", "contacts_owner_key", "contacts_company_key", "effects_definition",
    "facts_contact_subject", "identities_contact", "effects_contact", "scores_rank",
    "deliveries_source", "deliveries_received", "raw_deliveries_source", "facts_actor", "facts_batch",
    "facts_undoes", "facts_other", "contacts_merged",
    "alert_rules_workspace", "follow_ups_state", "follow_ups_contact", "follow_ups_lane", "jobs_lane",
    "follow_up_moves_of", "alert_memory_due", "alert_memory_merging", "follow_ups_message", "late_answers_workspace",
    "message_contacts_contact", "pending_refolds_undo",
    "audit_entries_workspace", "audit_entries_what", "audit_entries_contact", "audit_entries_other",
    "contact_words_contact", "words_word",
    "attribute_values_key", "attribute_values_number", "attribute_values_instant",
}  # fmt: skip  # names


@pytest.fixture(scope="module")
async def filled(lasting_database_url: str) -> str:
    """Return the URL of a database in which every table has rows; a test that adds rows deletes them again."""
    await fill(lasting_database_url)
    assert [name for name, rows in (await everything(lasting_database_url)).items() if not rows] == []
    return lasting_database_url


@asynccontextmanager
async def copied(url: str, table: str, other: dict[str, object]) -> AsyncIterator[None]:
    """Write a copy of the first row of a table with other values in some columns, and delete the copy at the end."""
    (row,) = await raw.rows(url, f"SELECT * FROM {table} ORDER BY id LIMIT 1")
    (last,) = await raw.rows(url, f"SELECT max(id) AS id FROM {table}")
    row |= {"id": int(str(last["id"])) + 1, **other}
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await raw.rows(url, f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", *row.values())
    yield
    await raw.rows(url, f"DELETE FROM {table} WHERE id = $1", row["id"])


async def refusal(url: str, table: str, other: dict[str, object]) -> str:
    """Write such a copy, and return the words of the database's refusal."""
    with pytest.raises((sqlite3.IntegrityError, asyncpg.IntegrityConstraintViolationError)) as error:
        async with copied(url, table, other):
            pass
    return str(error.value).partition("\n")[0]


@pytest.mark.parametrize("name", UNIQUE)
async def test_what_is_unique_cannot_be_there_twice(filled: str, name: str) -> None:
    """A copy of a row is refused, and a copy that differs in the unique column is accepted."""
    table, columns, other = UNIQUE[name]
    async with copied(filled, *PARENTS[name]) if name in PARENTS else nullcontext():
        complaint = await refusal(filled, table, {})
        async with copied(filled, table, other):
            pass

    expected = f"UNIQUE constraint failed: {', '.join(f'{table}.{column}' for column in columns.split(', '))}"
    if not raw.is_sqlite(filled):
        expected = f'duplicate key value violates unique constraint "{name}"'
    assert complaint == expected


@pytest.mark.parametrize("name", CHECKS)
async def test_what_cannot_be_is_refused(filled: str, name: str) -> None:
    """A row that breaks a check is refused with the name of the check, and a valid row is accepted."""
    table, wrong, right = CHECKS[name]
    fresh: dict[str, object] = {"dedupe_key": "other"} if table == "facts" else {"number": 2}

    complaint = await refusal(filled, table, fresh | wrong)
    async with copied(filled, table, fresh | right):
        pass

    expected = f"CHECK constraint failed: {name}"
    if not raw.is_sqlite(filled):
        expected = f'new row for relation "{table}" violates check constraint "{name}"'
    assert complaint == expected


@pytest.mark.parametrize("lasting_database_url", ["postgres"], indirect=True)
async def test_every_constraint_has_its_test(filled: str) -> None:
    """The tables above name all constraints."""
    rows = await raw.rows(
        filled,
        "SELECT conname, contype::text AS kind FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid"
        " WHERE t.relnamespace = 'public'::regnamespace AND t.relname <> 'tortoise_migrations'"
        " AND contype IN ('u', 'c')",
    )

    assert {row["conname"] for row in rows if row["kind"] == "u"} == UNIQUE.keys()
    assert {row["conname"] for row in rows if row["kind"] == "c"} == CHECKS.keys()


async def test_rows_point_at_rows_that_are_there(filled: str) -> None:
    """The product's connection refuses a foreign key without a row."""
    opened_storage = await open_storage(filled, secret_keys=SECRETS)
    try:
        for table, column in KEYS:
            with pytest.raises(IntegrityError, match=r"FOREIGN KEY constraint failed|violates foreign key constraint"):
                await current_database().writer.rows(
                    f"UPDATE {table} SET {column} = 999999"
                    f" WHERE id = (SELECT max(id) FROM {table} WHERE {column} IS NOT NULL)"
                )
        others = {"workspaces", *WITHOUT_KEYS}
        assert not [name for name in await tables(filled) if name not in {table for table, _ in KEYS} | others]
    finally:
        await opened_storage.close()


async def test_the_indexes_are_there(filled: str) -> None:
    """Both databases have the same indexes."""
    sql = "SELECT name FROM sqlite_master WHERE type = 'index'"
    if not raw.is_sqlite(filled):
        sql = "SELECT indexname AS name FROM pg_indexes WHERE schemaname = 'public'"

    assert {str(row["name"]) for row in await raw.rows(filled, sql)} >= INDEXES
