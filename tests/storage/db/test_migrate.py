"""One process at a time migrates the tables, and no row is lost."""

import asyncio
import json
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tortoise.context import TortoiseContext
from tortoise.migrations.executor import MigrationTarget

from storage.bootstrap import migrate, open_storage
from storage.db import database
from storage.db import migrate as migrating
from storage.domain.filters import parse
from storage.job_handlers import make_handlers as make_all_handlers
from storage.job_runner import run_here
from storage.jobs import NewJob
from storage.ledger.verify import Difference, verify_next
from storage.ledger.words import WORDS
from storage.limits import MIGRATION
from storage.reading.pages import count
from storage.reading.search import find
from storage.reading.segments import save_segment
from storage.scoring.definitions import score_types
from storage.scoring.draft_jobs import APPLY, make_handlers
from storage.workspaces import add_workspace, all_workspaces
from tests.counts import THOROUGH
from tests.processes import HOUSE, at_once, run
from tests.storage import raw
from tests.storage.teams import DAY, NOW, Team, set_to
from tests.storage.worlds import KEYS, everything, fill, tables

MIGRATOR = str(HOUSE / "tests" / "storage" / "migrator.py")
FIRST = sorted(path.stem for path in (HOUSE / "storage/db" / "migrations").glob("[0-9]*.py"))
NEXT = "9000_next"
#: columns that later migrations added to tables that earlier ones fill
LATER = (
    *("applied_at", "replaces", "asked_up_to", "previous_enrolled_at", "split_at", "is_gone", "cause", "found"),
    *("events_kept_until", "events_position", "watches_segments", "write_backs", "words_after"),
)
TOO_NEW = (
    f"The database was made by a newer version: this one does not know its migration {NEXT}. Install the newer version."
)
OLD = HOUSE / "tests" / "data" / "first_version.json"
sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

HEAD = """
from tortoise import fields, migrations
from tortoise.migrations import operations as ops

class Migration(migrations.Migration):
    dependencies = [("storage", "{last}")]
    operations = [
"""
ADDS = """
        ops.AddField(model_name="Contact", name="nickname", field=fields.TextField(null=True)),
        ops.AddField(model_name="Fact", name="weight", field=fields.IntField(db_default=1)),
        ops.RunSQL(["UPDATE contacts SET nickname = 'Dr. ' || name WHERE name IS NOT NULL"], reverse_sql=[]),
    ]
"""
# SQLite changes a column by recreating the table, while other tables refer to it.
REBUILDS = """
        ops.AlterField(model_name="Workspace", name="name", field=fields.CharField(max_length=300)),
        ops.AlterField(model_name="Contact", name="email", field=fields.CharField(max_length=300, null=True)),
    ]
"""
FAILS = """
        ops.RunSQL(["DELETE FROM effects"], reverse_sql=[]),
        ops.RunSQL(["INSERT INTO nowhere VALUES (1)"], reverse_sql=[]),
    ]
"""
ORPHANS = """
        ops.RunSQL(["DELETE FROM workspaces"], reverse_sql=[]),
    ]
"""


def later_house(place: Path, operations: str, *, name: str = NEXT) -> Path:
    """Copy the package, and add a migration. Return the folder."""
    house = place / "later"
    shutil.copytree(HOUSE / "storage", house / "storage")
    (house / "storage/db" / "migrations" / f"{name}.py").write_text(HEAD.format(last=FIRST[-1]) + operations)
    return house


async def ask(*arguments: str, house: Path = HOUSE) -> dict[str, object]:
    """Run the migrator of a folder's package, and return its answer."""
    answer: dict[str, object] = json.loads((await run(MIGRATOR, *arguments, house=house)).splitlines()[-1])
    return answer


def without(rows: dict[str, list[dict[str, object]]], *names: str) -> dict[str, list[dict[str, object]]]:
    """Return the rows of all tables without some columns."""
    return {table: [{k: v for k, v in row.items() if k not in names} for row in all_] for table, all_ in rows.items()}


Rows = dict[str, list[dict[str, object]]]


def in_columns_of(before: Rows, after: Rows) -> Rows:
    """Return the rows of *after* in the tables and columns of *before*: later versions add columns.

    The job that a later version enqueues, which fills the words of contacts, is left out with its lane."""
    columns = {table: set().union(*(row.keys() for row in rows)) for table, rows in before.items()}
    return {
        table: [
            {name: value for name, value in row.items() if name in columns[table]}
            for row in after[table]
            if "words" not in (row.get("kind"), row.get("name"))
        ]
        for table in before
    }


async def test_an_empty_database_gets_its_tables_once(database_url: str) -> None:
    """Migrating or opening creates the tables of an empty database, and leaves existing tables alone."""
    await raw.empty(database_url)

    assert (await migrate(database_url, now=NOW)).applied == FIRST
    assert (await migrate(database_url, now=NOW)).applied == []
    opened_storage = await open_storage(database_url, secret_keys=KEYS)
    assert (await opened_storage.readiness()).is_ready
    assert await all_workspaces() == []
    await opened_storage.close()


async def test_opening_an_empty_database_makes_its_tables(database_url: str) -> None:
    """A new user can open an empty database without migrating first."""
    await raw.empty(database_url)
    await fill(database_url)

    assert [name for name, rows in (await everything(database_url)).items() if not rows] == []
    assert (await migrate(database_url, now=NOW)).applied == []


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    """A second migration changes no row and makes no backup."""
    await fill(database_url)
    before = await everything(database_url)

    assert (await migrate(database_url, now=NOW)).applied == []
    assert await everything(database_url) == before
    if raw.is_sqlite(database_url):
        assert list(raw.file_of(database_url).parent.glob("*.before-*")) == []


@pytest.mark.slow
@pytest.mark.parametrize("operations", [ADDS, REBUILDS], ids=["columns added", "tables made anew"])
async def test_a_later_schema_keeps_every_row(database_url: str, tmp_path: Path, operations: str) -> None:
    """Old tables are refused with the command to run; after the migration each row exists, and recording works."""
    await fill(database_url)
    before, house = await everything(database_url), later_house(tmp_path, operations)

    reply = await ask("open", database_url, house=house)
    untouched = await everything(database_url)
    applied = await ask("migrate", database_url, house=house)
    again = await ask("migrate", database_url, house=house)
    after = await everything(database_url)

    assert reply == {"refused": "The database was made by an older version: run `contact-score migrate` first."}
    assert untouched == before
    assert (applied, again) == ({"applied": [NEXT]}, {"applied": []})
    assert without(after, "nickname", "weight") == before
    if operations == ADDS:
        assert [row["nickname"] for row in after["contacts"]] == ["Dr. Ada", None, None]
        assert {row["weight"] for row in after["facts"]} == {1}
    assert await ask("open", database_url, house=house) == {"ready": True}


@pytest.mark.slow
async def test_a_newer_schema_is_refused(database_url: str, tmp_path: Path) -> None:
    """Starting and migrating refuse a newer schema by the unknown migration; a running process becomes not ready."""
    house = later_house(tmp_path, ADDS)
    running = await open_storage(database_url, secret_keys=KEYS)
    try:
        assert await ask("migrate", database_url, house=house) == {"applied": [NEXT]}
        readiness = await running.readiness()
        await add_workspace("T0LATER", name="Later", by="U0ADMIN", now=NOW)
    finally:
        await running.close()
    before = await everything(database_url)

    assert (readiness.is_ready, readiness.detail) == (False, TOO_NEW)
    for verb in ("open", "migrate"):
        assert await ask(verb, database_url) == {"refused": TOO_NEW}
    assert [row["team"] for row in before["workspaces"]] == ["T0LATER"]
    assert await everything(database_url) == before
    assert await ask("open", database_url, house=house) == {"ready": True}


@pytest.mark.slow
async def test_a_newer_schema_that_is_marked_as_compatible(database_url: str, tmp_path: Path) -> None:
    """An older version starts with a newer migration that its name marks as compatible, and migrates nothing."""
    name = "9000_next_compatible"
    house = later_house(tmp_path, ADDS, name=name)
    running = await open_storage(database_url, secret_keys=KEYS)
    try:
        assert await ask("migrate", database_url, house=house) == {"applied": [name]}
        readiness = await running.readiness()
    finally:
        await running.close()

    assert (readiness.is_ready, readiness.detail) == (
        True,
        f"A newer version has migrated the database ({name}); this version works with it as well.",
    )
    assert await ask("open", database_url) == {"ready": True}
    assert await ask("migrate", database_url) == {"applied": []}


@sqlite_only
async def test_a_copy_of_the_file_is_made_first(database_url: str, tmp_path: Path) -> None:
    """The backup of a file has every row, including rows in the write-ahead log; an empty file has no backup.

    Only the owner can read the backup, whoever may read the database.
    """
    raw.file_of(database_url).chmod(0o644)
    await fill(database_url)
    before = await everything(database_url)
    writer = sqlite3.connect(raw.file_of(database_url), isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("UPDATE workspaces SET name = 'In the log'")  # stays in the log while this is open
    try:
        await ask("migrate", database_url, house=later_house(tmp_path, ADDS))
    finally:
        writer.close()

    copy = raw.file_of(database_url).with_name(f"scores.db.before-{NEXT}")
    copied = await everything(f"sqlite://{copy}")
    assert copied["workspaces"] == [{**before["workspaces"][0], "name": "In the log"}]
    assert {**copied, "workspaces": before["workspaces"]} == before
    assert [stat.S_IMODE(path.stat().st_mode) for path in (raw.file_of(database_url), copy)] == [0o644, 0o600]
    await raw.empty(database_url)
    await ask("migrate", database_url, house=tmp_path / "later")
    assert list(raw.file_of(database_url).parent.glob("*.before-*")) == []


@pytest.mark.slow
async def test_a_migration_that_fails_changes_nothing(database_url: str, tmp_path: Path) -> None:
    """A failed migration is rolled back, and remains to be applied."""
    await fill(database_url)
    before = await everything(database_url)

    with pytest.raises(AssertionError, match="nowhere"):
        await ask("migrate", database_url, house=later_house(tmp_path, FAILS))

    assert await everything(database_url) == before
    opened_storage = await open_storage(database_url, secret_keys=KEYS)
    assert (await opened_storage.readiness()).is_ready
    await opened_storage.close()
    shutil.rmtree(tmp_path / "later")
    assert await ask("migrate", database_url, house=later_house(tmp_path, ADDS)) == {"applied": [NEXT]}


@sqlite_only
async def test_a_migration_that_leaves_orphans_is_reported(database_url: str, tmp_path: Path) -> None:
    """A migration that leaves rows without parents is reported, and the backup is the database before it."""
    await fill(database_url)
    before = await everything(database_url)

    answer = await ask("migrate", database_url, house=later_house(tmp_path, ORPHANS))

    assert answer == {
        "refused": "the migration left rows that point nowhere; the copy beside the database is untouched"
    }
    copy = raw.file_of(database_url).with_name(f"scores.db.before-{NEXT}")
    assert await everything(f"sqlite://{copy}") == before


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["migrate", "open"])
async def test_processes_that_come_at_once_wait_for_each_other(database_url: str, verb: str) -> None:
    """Of several processes that start at once one creates the tables, and the others wait for it."""
    await raw.empty(database_url)

    outputs = await at_once([(MIGRATOR, verb, database_url)] * 3)

    answers = [json.loads(output.splitlines()[-1]) for output in outputs]
    if verb == "open":
        assert answers == [{"ready": True}] * 3
    else:
        assert sorted(answer["applied"] for answer in answers) == [[], [], FIRST]
    assert await tables(database_url)
    await fill(database_url)


@pytest.mark.slow
async def test_processes_that_migrate_rows_at_once_wait_for_each_other(database_url: str, tmp_path: Path) -> None:
    """Of several processes that migrate rows at once one does so, and no row is lost."""
    await fill(database_url)
    before, house = await everything(database_url), later_house(tmp_path, ADDS)

    outputs = await at_once([(MIGRATOR, "migrate", database_url)] * 3, house=house)

    applied = [json.loads(output.splitlines()[-1])["applied"] for output in outputs]
    assert sorted(applied) == [[], [], [NEXT]]
    assert without(await everything(database_url), "nickname", "weight") == before


async def tables_until(last: str, url: str) -> None:
    """Create the tables as of the migration *last*, without rows."""
    await raw.empty(url)
    await asyncio.create_task(apply_until(last, url))


async def rows_of_the_first_version(url: str) -> None:
    """Insert the rows of the first version about two contacts, in which each field value has an effect."""
    for table, content in json.loads(OLD.read_text()).items():
        names, places = (
            ", ".join(content["columns"]),
            ", ".join(f"${n}" for n, _ in enumerate(content["columns"], start=1)),
        )
        for row in content["rows"]:
            await raw.rows(url, f"INSERT INTO {table} ({names}) VALUES ({places})", *row)


async def test_scores_of_the_first_version_are_folded_again(database_url: str) -> None:
    """Facts that move nothing lose their effects in the migration; each fact and each value stays.

    If the process died between the tables and the scores, no process starts before a migration has completed them.
    """
    await tables_until(FIRST[0], database_url)
    await rows_of_the_first_version(database_url)
    before = await everything(database_url)

    migrated = await migrate(database_url, now=NOW)

    after = await everything(database_url)
    unchanged = {name: rows for name, rows in before.items() if name not in ("definitions", "effects", "scores")}
    assert in_columns_of(unchanged, after) == unchanged
    assert (migrated.applied, migrated.folded) == (FIRST[1:], 4)
    assert picked(after["effects"], "contact_id definition_id fact_id effective rank_after") == [
        (1, 1, 2, 30_000, 30_000),
        (1, 2, 1, 15_000, 15_000),
        (1, 2, 3, 25_000, 40_000),
        (1, 3, 1, 15_000, 1_787_670_406_438_315),
        (1, 4, 1, 9_000, 9_000),
    ]
    vip, undone, columns = NOW + 1, NOW + 4 * DAY, "own own_at base rank last_at last_source last_key"
    assert picked(after["scores"], f"contact_id definition_id {columns}") == [
        (1, 1, 30_000, NOW + 2, 0, 30_000, NOW + 2, "crm", "score"),
        (1, 2, 15_000, vip, 25_000, 40_000, undone, "slack", "u"),
        (1, 3, 15_000_000_000, NOW, 0, 1_787_670_406_438_315, NOW, "crm", "demo"),
        (1, 4, 9_000, NOW, 0, 9_000, NOW, "crm", "demo"),
        (2, 2, None, 0, 0, None, -1, "", ""),
        (2, 3, None, 0, 0, None, -1, "", ""),
    ]
    assert await verified(database_url) == (4, [])

    await raw.rows(database_url, "UPDATE definitions SET to_fold = true WHERE id = 2")
    reply, again = await ask("open", database_url), await migrate(database_url, now=NOW)
    assert reply == {"refused": "The database was made by an older version: run `contact-score migrate` first."}
    assert (again.applied, again.folded) == ([], 2)
    assert await ask("open", database_url) == {"ready": True}
    assert await everything(database_url) == after


def picked(rows: list[dict[str, object]], names: str) -> list[tuple[object, ...]]:
    """Return some columns of the rows, sorted."""
    return sorted(
        (tuple(row[name] for name in names.split()) for row in rows), key=lambda row: [str(value) for value in row]
    )


async def verified(url: str) -> tuple[int, list[Difference]]:
    """Verify all contacts; return the number of scores and the differences."""
    opened_storage = await open_storage(url, secret_keys=KEYS)
    try:
        (workspace,) = await all_workspaces()
        checked = await verify_next(workspace)
    finally:
        await opened_storage.close()
    return checked.scores, list(checked.differences)


async def apply_until(last: str, url: str) -> None:
    """Apply the migrations up to *last*, without processing rows."""
    address = database.parse_url(url)
    writer = {**address.config, "credentials": dict(address.config["credentials"])}
    if address.path is not None:
        writer["credentials"]["foreign_keys"] = "OFF"
    async with TortoiseContext() as context:
        config = address.tortoise(writer=writer, limits=MIGRATION)
        await context.init(config=config)
        executor = migrating._Executor(context.db(address.dialect), config["apps"])
        await executor.migrate([MigrationTarget("storage", last)])


@asynccontextmanager
async def copied(url: str) -> AsyncIterator[str]:
    """Yield the URL of a copy of a closed database, and delete the copy at the end."""
    if raw.is_sqlite(url):
        copy = raw.file_of(url).with_name("copy.db")
        shutil.copy(raw.file_of(url), copy)
        yield f"sqlite://{copy}"
        for path in copy.parent.glob("copy.db*"):
            path.unlink()
        return
    name = urlsplit(url).path.strip("/")
    connection = await raw.connect(url, database="postgres")
    try:
        await connection.execute(f'CREATE DATABASE "{name}_copy" TEMPLATE "{name}"')
        yield url.replace(f"/{name}", f"/{name}_copy", 1)
        await connection.execute(f'DROP DATABASE "{name}_copy" WITH (FORCE)')
    finally:
        await connection.close()


@pytest.mark.slow
async def test_scores_are_as_the_ledger_says_after_an_upgrade(database_url: str) -> None:
    """Scores are as the ledger says after an upgrade from any of these, even with fading and negated rules."""
    await tables_until(FIRST[0], database_url)
    await rows_of_the_first_version(database_url)
    for sql in (
        """UPDATE definitions SET rules = replace(rules, 'company:acme', '') WHERE id = 3""",
        """UPDATE definitions SET rules = '[{"name": "Demo", "points": 9000, "activity": "demo", "if": ""},"""
        """ {"name": "No customer", "points": 7000, "activity": null, "if": "-tag:customer"}]' WHERE id = 4""",
        "UPDATE scores SET own = own + 1 WHERE definition_id = 3 AND own IS NOT NULL",
    ):
        await raw.rows(database_url, sql)
    for table in () if raw.is_sqlite(database_url) else ("effects", "scores"):  # inserted with their ids
        await raw.rows(database_url, f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), 99)")
    # A copy goes through all later migrations, which takes long, so only every sixth migration is followed by one.
    upgraded = {*FIRST[:-1:6], FIRST[-2]}
    for last in FIRST[:-1]:
        await asyncio.create_task(apply_until(last, database_url))
        if "0005" <= last < "0011":  # an upgrade to that migration has folded these, and they are not marked any more
            await raw.rows(database_url, "UPDATE definitions SET to_fold = false WHERE id IN (3, 4)")
        if last not in upgraded:
            continue
        async with copied(database_url) as copy:
            assert (await migrate(copy, now=NOW)).applied == FIRST[FIRST.index(last) + 1 :]
            assert (last, await verified(copy)) == (last, (5, []))
            rows = await raw.rows(copy, "SELECT contact_id, base, rank FROM scores WHERE definition_id = 4")
            assert picked(rows, "contact_id base rank") == [(1, 7_000, 16_000), (2, 7_000, 7_000)]


@pytest.mark.slow
async def test_sources_of_the_first_version_are_kept_and_stand_as_working(database_url: str) -> None:
    """Sources of the first version have no API token and no pending report, and count as working."""
    await tables_until(FIRST[0], database_url)
    for sql in (
        "INSERT INTO workspaces (id, team, name, default_type, admins, setters, created_at)"
        " VALUES (1, 'T0ACME', 'Acme', 'score', '[]', 'members', 5)",
        "INSERT INTO sources (id, workspace_id, slug, provider, secrets, settings, created_at, updated_at)"
        " VALUES (1, 1, 'crm', 'generic', 'sealed', '{}', 5, 6)",
        "INSERT INTO refusals (id, source_id, count, last_at, reason, hint) VALUES (1, 1, 7, 8, 'why', 'what')",
        "INSERT INTO deliveries (id, workspace_id, source_id, delivery_key, received_at, applied, duplicate, ignored,"
        " quarantined) VALUES (1, 1, 1, 'd1', 9, 1, 2, 3, 4)",
    ):
        await raw.rows(database_url, sql)
    before = await everything(database_url)

    assert (await migrate(database_url, now=NOW)).applied == FIRST[1:]
    after = await everything(database_url)
    assert in_columns_of(before, after) == before
    (source,), (refusal,) = after["sources"], after["refusals"]
    assert [source[name] for name in ("api_token", "unread", "unread_at", "standing", "standing_at", "told")] == [
        None,
        None,
        None,
        "works",
        None,
        "works",
    ]
    assert refusal["in_a_row"] == 0


@pytest.mark.slow
async def test_a_hold_that_was_also_taken_goes_on(database_url: str) -> None:
    """A hold that an earlier version stored as both taken and pending is pending; other states are unchanged."""
    await tables_until("0005_folding_again", database_url)
    for sql in (
        "INSERT INTO workspaces (id, team, name, default_type, admins, setters, created_at)"
        " VALUES (1, 'T0ACME', 'Acme', 'score', '[]', 'members', 5)",
        "INSERT INTO alert_rules (id, workspace_id, score, kind, low, amount, span, condition, in_digest, hold,"
        " cooldown, swept_until, created_at)"
        " VALUES (1, 1, 'score', 'crosses', 50000, 0, 0, '', false, 7200000000, 0, 5, 5)",
        "INSERT INTO contacts (id, workspace_id, name_key, company_key, tags, tags_key, attributes, stamps,"
        " created_at, updated_at) SELECT n, 1, '', '', '[]', '', '{}', '{}', 5, 5"
        " FROM (SELECT 1 AS n UNION SELECT 2 UNION SELECT 3) c",
        "INSERT INTO alert_memory (rule_id, contact_id, taken, pending_until, seen_at, spent)"
        " VALUES (1, 1, true, 9, 7, 0), (1, 2, true, NULL, 7, 0), (1, 3, false, 9, 7, 0)",
    ):
        await raw.rows(database_url, sql)

    assert (await migrate(database_url, now=NOW)).applied[0] == "0006_pending_holds"
    memory = (await everything(database_url))["alert_memory"]
    assert picked(memory, "contact_id taken pending_until seen_at") == [
        (1, False, 9, 7),
        (2, True, None, 7),
        (3, False, 9, 7),
    ]


@pytest.mark.slow
async def test_requests_of_an_earlier_version_keep_their_rows_without_names(database_url: str) -> None:
    """Raw requests of an earlier version keep their rows; their names are unknown, which differs from none."""
    await tables_until("0008_background_jobs", database_url)
    for sql in (
        "INSERT INTO workspaces (id, team, name, default_type, admins, setters, created_at)"
        " VALUES (1, 'T0ACME', 'Acme', 'score', '[]', 'members', 5)",
        "INSERT INTO sources (id, workspace_id, slug, provider, secrets, settings, created_at, updated_at)"
        " VALUES (1, 1, 'crm', 'generic', 'sealed', '{}', 5, 6)",
        "INSERT INTO deliveries (id, workspace_id, source_id, delivery_key, received_at, applied, duplicate, ignored,"
        " quarantined) VALUES (1, 1, 1, 'd1', 9, 1, 2, 3, 4)",
        "INSERT INTO raw_deliveries (workspace_id, source_id, delivery_id, is_needed, method, query, headers, body)"
        " VALUES (1, 1, 1, true, 'POST', '', '{}', 'e30=')",
        "INSERT INTO quarantine (workspace_id, delivery_id, position, dedupe_key, reason, item)"
        " VALUES (1, 1, 0, 'k', 'why', '{}')",
    ):
        await raw.rows(database_url, sql)

    assert (await migrate(database_url, now=NOW)).applied[0] == "0009_named_contacts"
    after = await everything(database_url)
    assert picked(after["raw_deliveries"], "delivery_id body names") == [(1, "e30=", None)]
    assert picked(after["quarantine"], "delivery_id position item names") == [(1, 0, "{}", None)]


async def test_matching_keys_are_computed_again(database_url: str) -> None:
    """Matching keys are recomputed and texts stay; if two emails have the same new key, the older contact gets it."""
    await tables_until("0007_finding_effects", database_url)
    columns = "workspace_id, email, email_key, name, name_key, company, company_key, owner_key, tags, tags_key"
    name, company = ("Zo\u00eb O\u2019Hara", "zo\u00eb o\u2019hara"), (None, None)
    tags = ('["Q3\u2013Q4", "vip"]', "\nq3\u2013q4\n\nvip\n")
    texts = (1, "Zw\u00ad@example.com", "zw\u00ad@example.com", *name, *company, None, *tags)
    plain = (1, "ada@example.com", "ada@example.com", None, None, "Acme", "acme", None, "[]", "")
    await raw.rows(
        database_url,
        "INSERT INTO workspaces (id, team, name, default_type, admins, setters, created_at)"
        " VALUES (1, 'T0ACME', 'Acme', 'score', '[]', 'members', 5)",
    )
    for id, values in ((1, texts), (2, plain)):
        await raw.rows(
            database_url,
            f"INSERT INTO contacts (id, {columns}, attributes, stamps, created_at, updated_at)"
            f" VALUES ({id}, {', '.join(f'${n}' for n in range(1, 11))}, '{{}}', '{{}}', 5, 5)",
            *values,
        )
    for id, contact, value in (
        (1, 1, "zw\u00ad@example.com"), (2, 2, "ada@example.com"), (3, 2, "ada\u200b@example.com"),
        (4, 1, "b\u2019x@example.com"), (5, 2, "b\u02bcx@example.com"),
    ):  # fmt: skip  # row, contact and key
        await raw.rows(
            database_url,
            "INSERT INTO identities (id, workspace_id, contact_id, namespace, value) VALUES ($1, 1, $2, '', $3)",
            id, contact, value,
        )  # fmt: skip  # one row
    before = await everything(database_url)

    assert (await migrate(database_url, now=NOW)).applied == FIRST[FIRST.index("0007_finding_effects") + 1 :]

    after = await everything(database_url)
    keys = ("email_key", "name_key", "company_key", "tags_key")
    assert without(after, *keys, *LATER)["contacts"] == without(before, *keys)["contacts"]
    assert picked(after["contacts"], "id email_key name_key company_key tags_key") == [
        (1, "zw@example.com", "zo\u00eb o'hara", None, "\nq3-q4\n\nvip\n"),
        (2, "ada@example.com", None, "acme", ""),
    ]
    assert picked(after["identities"], "id contact_id value") == [
        (1, 1, "zw@example.com"),
        (2, 2, "ada@example.com"),
        (3, 2, "ada\u200b@example.com"),
        (4, 1, "b'x@example.com"),
        (5, 2, "b\u02bcx@example.com"),
    ]


async def test_a_memory_and_a_job_of_before_count_as_they_did(database_url: str) -> None:
    """Existing alert rules keep their memory, and existing jobs have no failures of their own."""
    await tables_until("0007_finding_effects", database_url)
    for sql in (
        "INSERT INTO workspaces (id, team, name, default_type, admins, setters, created_at)"
        " VALUES (1, 'T0ACME', 'Acme', 'score', '[]', 'members', 5)",
        "INSERT INTO score_types (id, workspace_id, key, live, created_at) VALUES (1, 1, 'score', 1, 5)",
        "INSERT INTO definitions (id, score_type_id, number, label, minimum, maximum, step, start, bands, rules,"
        " is_draft, created_at) VALUES (1, 1, 1, 'Score', 0, 100000, 1000, 0, '[]', '[]', false, 5)",
        "INSERT INTO alert_rules (id, workspace_id, score, kind, low, amount, span, condition, in_digest, hold,"
        " cooldown, swept_until, created_at) VALUES (1, 1, 'score', 'crosses', 50000, 0, 0, '', false, 0, 0, 5, 5)",
        "INSERT INTO contacts (id, workspace_id, name_key, company_key, tags, tags_key, attributes, stamps,"
        " created_at, updated_at) VALUES (1, 1, '', '', '[]', '', '{}', '{}', 5, 5)",
        "INSERT INTO alert_memory (rule_id, contact_id, taken, pending_until, seen_at, spent)"
        " VALUES (1, 1, true, NULL, 7, 0)",
        "INSERT INTO jobs (workspace_id, kind, lane, job_key, subject, due_at, attempts, under_way, created_at)"
        " VALUES (1, 'ask', 'C1', '1', 1, 5, 11, false, 5)",
    ):
        await raw.rows(database_url, sql)
    before = await everything(database_url)

    assert (await migrate(database_url, now=NOW)).applied[0] == "0008_background_jobs"
    after = await everything(database_url)
    later = ("name_key", "company_key")  # recomputed by another migration
    assert without(in_columns_of(before, after), *later) == without(before, *later)
    (rule,), (memory,), (job, _) = after["alert_rules"], after["alert_memory"], after["jobs"]
    assert (rule["enrollment"], rule["enrolled_at"], memory["enrollment"]) == (0, 0, 0)
    assert (job["failed_for"], job["position"]) == (0, 0)


async def test_values_of_attributes_are_indexed(database_url: str) -> None:
    """Attributes of more contacts than a batch are indexed, and scores with rules about attributes are recalculated."""
    await tables_until("0010_matching_keys", database_url)
    attributes = json.dumps({"plan": ["Pro", "ＰＲＯ", "beta"], "seats": "50.5", "seen": "2026-01-01", "no": None})
    for sql, *values in (
        (
            "INSERT INTO workspaces (id, team, name, default_type, admins, setters, created_at)"
            " VALUES (1, 'T0ACME', 'Acme', 'score', '[]', 'members', 5)",
        ),
        (
            "INSERT INTO contacts (id, workspace_id, tags, tags_key, attributes, stamps, created_at, updated_at)"
            " WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 1001)"
            " SELECT n, 1, '[]', '', CASE WHEN n < 1001 THEN '{\"n\": ' || n || '}' ELSE $1 END, '{}', 5, 5 FROM g",
            attributes,
        ),
        ("INSERT INTO score_types (id, workspace_id, key, live, created_at) VALUES (1, 1, 'score', 1, 5)",),
        (
            "INSERT INTO definitions (id, score_type_id, number, label, minimum, maximum, step, start, bands,"
            " rules, is_draft, created_at) VALUES (1, 1, 1, 'S', 0, 9, 1, 0, '[]', $1, false, 5)",
            json.dumps([{"name": "R", "points": 1, "activity": None, "if": "attributes.seats>2000000000"}]),
        ),
        (
            "INSERT INTO facts (workspace_id, contact_id, kind, source, dedupe_key, subject, said, occurred_at,"
            " received_at, batch) VALUES (1, 1001, 'fields', 'crm', 'k', '', $1, 5, 5, 'b')",
            '{"attributes.seats": 2000000001}',
        ),
        (
            "INSERT INTO scores (workspace_id, contact_id, definition_id, own_at, base, last_at, last_source, last_key)"
            " VALUES (1, 1001, 1, 0, 0, 5, 'crm', 'k')",
        ),
    ):
        await raw.rows(database_url, sql, *values)
    before = await everything(database_url)

    assert (await migrate(database_url, now=NOW)).applied == FIRST[FIRST.index("0010_matching_keys") + 1 :]

    after = await everything(database_url)
    assert without({"contacts": after["contacts"]}, *LATER) == {"contacts": before["contacts"]}
    rows = sorted(picked(after["attribute_values"], "contact_id name key number instant"), key=lambda row: row[:2])
    assert rows[:1000] == [(n, "n", str(n), n * 1_000_000, None) for n in range(1, 1001)]
    assert rows[1000:] == [
        (1001, "plan", "beta", None, None),
        (1001, "plan", "pro", None, None),
        (1001, "seats", "50.5", 50_500_000, None),
        (1001, "seen", "2026-01-01", None, 1_767_225_600_000_000),
    ]
    assert {row["workspace_id"] for row in after["attribute_values"]} == {1}
    assert picked(after["scores"], "contact_id rank") == [(1001, 1)]


async def test_earlier_facts_count_as_named_by_the_only_id_of_their_source(database_url: str) -> None:
    """What earlier facts named is only assumed where a contact has one id of the fact's source."""
    await tables_until("0011_first_facts", database_url)
    identities = [(1, "", "a@example.com"), (1, "crm", "7"), (1, "n8n", "x"), (2, "crm", "5"), (2, "crm", "6")]
    facts = [(1, "crm", "change"), (1, "n8n", "fields"), (1, "slack", "change"), (2, "crm", "fields"),
             (3, "crm", "fields"), (1, "crm", "merge")]  # fmt: skip  # contact, source, kind
    await raw.rows(
        database_url,
        "INSERT INTO workspaces (id, team, name, default_type, admins, setters, created_at)"
        " VALUES (1, 'T0ACME', 'Acme', 'score', '[]', 'members', 5)",
    )
    for id in (1, 2, 3):
        await raw.rows(
            database_url,
            "INSERT INTO contacts (id, workspace_id, tags, tags_key, attributes, stamps, created_at, updated_at)"
            " VALUES ($1, 1, '[]', '', '{}', '{}', 5, 5)",
            id,
        )
    for identity in identities:
        sql = "INSERT INTO identities (workspace_id, contact_id, namespace, value) VALUES (1, $1, $2, $3)"
        await raw.rows(database_url, sql, *identity)
    for id, (contact, source, kind) in enumerate(facts, start=1):
        await raw.rows(
            database_url,
            "INSERT INTO facts (id, workspace_id, contact_id, other_id, kind, source, dedupe_key, subject, op,"
            " said, occurred_at, received_at, batch) VALUES ($1, 1, $2, $3, $4, $5, $6, '', $7, '{}', 5, 5, 'b')",
            id, contact, 2 if kind == "merge" else None, kind, source, str(id), "set" if kind == "change" else None,
        )  # fmt: skip  # one fact

    assert (await migrate(database_url, now=NOW)).applied == FIRST[FIRST.index("0011_first_facts") + 1 :]

    after = await everything(database_url)
    assert picked(after["facts"], "id named_id") == [
        (1, "crm:7"), (2, "n8n:x"), (3, None), (4, None), (5, None), (6, None),
    ]  # fmt: skip  # id, and the id that it named
    assert picked(after["contacts"], "id split_at") == [(1, None), (2, None), (3, None)]


async def test_the_record_of_changes_begins_with_the_migration(database_url: str) -> None:
    """Settings from before have no entries; their next change has one, also if a job of before applies a draft."""
    await tables_until("0013_named_ids", database_url)
    definition = (
        "INSERT INTO definitions (id, score_type_id, number, label, minimum, maximum, step, start, bands, rules,"
        " is_draft, created_at) VALUES "
    )
    for sql in (
        "INSERT INTO workspaces (id, team, name, default_type, admins, setters, created_at)"
        " VALUES (1, 'T0ACME', 'Acme', 'score', '[]', 'members', 5)",
        "INSERT INTO score_types (id, workspace_id, key, live, created_at) VALUES (1, 1, 'score', 1, 5)",
        f"{definition} (1, 1, 1, 'Score', 0, 100000, 1000, 0, '[]', '[]', false, 5)",
        f"{definition} (2, 1, 2, 'Score', 0, 90000, 1000, 0, '[]', '[]', true, 5)",
        "INSERT INTO segments (workspace_id, name, text, saved_at) VALUES (1, 'hot', 'score>=80', 5)",
    ):
        await raw.rows(database_url, sql)
    before = await everything(database_url)

    assert (await migrate(database_url, now=NOW)).applied == FIRST[FIRST.index("0013_named_ids") + 1 :]

    after = await everything(database_url)
    assert after["audit_entries"] == []
    assert in_columns_of(before, after)["definitions"] == before["definitions"]
    assert [row["applied_by"] for row in after["definitions"]] == [None, None]
    opened_storage = await open_storage(database_url, secret_keys=KEYS)
    try:
        (workspace,) = await all_workspaces()
        await save_segment(workspace, name="hot", text="score>=70", by="U1", now=NOW)
        job = NewJob(workspace=1, kind=APPLY, lane="draft/2", key="2", subject=2, due_at=NOW)
        await run_here(workspace, job=job, handler=make_handlers(lambda: NOW)[APPLY], clock=lambda: NOW)
    finally:
        await opened_storage.close()
    entries = (await everything(database_url))["audit_entries"]
    assert picked(entries, "who what subject") == [("U1", "segment.saved", "hot"), ("unknown", "type.changed", "score")]
    assert json.loads(str(entries[0]["before"])) == {"text": "score>=80", "made_by": None}


async def test_contacts_of_undone_facts_are_gone_after_the_migration(database_url: str) -> None:
    """A contact is gone if it has facts and all are undone, counted with the rows merged into it; batches are one."""
    await tables_until("0014_audit", database_url)
    await raw.rows(
        database_url,
        "INSERT INTO workspaces (id, team, name, default_type, admins, setters, created_at)"
        " VALUES (1, 'T0ACME', 'Acme', 'score', '[]', 'members', 5), (2, 'T0OTHER', 'O', 'score', '[]', 'members', 5)",
    )
    await raw.rows(
        database_url,
        "INSERT INTO contacts (id, workspace_id, merged_into, tags, tags_key, attributes, stamps, created_at,"
        " updated_at) WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 1010)"
        " SELECT n, CASE WHEN n = 9 THEN 2 ELSE 1 END, CASE WHEN n = 1010 THEN 2 WHEN n = 1009 THEN 3 END,"
        " '[]', '', '{}', '{}', 5, 5 FROM g",
    )
    facts = [
        (1, "a"), (2, "a"), (1010, "b"), (3, "a"), (1009, "a"), (4, "c"), (5, "d"), (6, "a"), (6, "d"),
        (8, "a"), (8, "b"), (9, "a"), (1005, "a"),
    ]  # fmt: skip  # contact and batch; 7 has none
    undos = [("u", "a"), ("v", "c"), ("w", "v"), ("x", "d"), ("y", "x"), ("z", "y")]
    for id, (contact, batch) in enumerate(facts, start=1):
        sql = (
            "INSERT INTO facts (id, workspace_id, contact_id, kind, source, dedupe_key, subject, said, occurred_at,"
            " received_at, batch, actor) SELECT $1, workspace_id, id, 'fields', 'slack', $2, '', '{}', 5, 5, $3, 'U1'"
            " FROM contacts WHERE id = $4"
        )
        await raw.rows(database_url, sql, id, str(id), batch, contact)
    for id, (batch, undoes) in enumerate(undos, start=101):
        sql = (
            "INSERT INTO facts (id, workspace_id, kind, source, dedupe_key, subject, said, undoes, occurred_at,"
            " received_at, batch, actor) VALUES ($4, 1, 'undo', 'slack', $1, '', '{}', $2, 5, 5, $3, 'U1')"
        )
        await raw.rows(database_url, sql, batch, undoes, batch, id)
    before = await everything(database_url)

    assert (await migrate(database_url, now=NOW)).applied == FIRST[FIRST.index("0014_audit") + 1 :]

    after = await everything(database_url)
    # 2 has a fact in force in a row merged into it, 3 has none; c is restored, d is undone again; 9 is elsewhere.
    assert [row["id"] for row in after["contacts"] if row["is_gone"]] == [1, 3, 5, 6, 1005]
    assert without(after, *LATER)["contacts"] == without(before, *LATER)["contacts"]
    assert after["facts"] == before["facts"]
    storage = await open_storage(database_url, secret_keys=KEYS)
    try:
        for workspace in await all_workspaces():
            differences = (await verify_next(workspace, most=2_000)).differences
            assert [difference for difference in differences if difference.what == "gone"] == []
    finally:
        await storage.close()


async def test_follow_ups_of_before_keep_their_rule_and_are_joined(database_url: str) -> None:
    """Two that are open for a contact in one place stay two until each is closed; a rule that fires joins the older."""
    await tables_until("0014_audit", database_url)
    rule = "alert_rules (id, workspace_id, score, kind, low, amount, span, condition, in_digest, hold, cooldown,"
    rule += " swept_until, created_at) VALUES"
    asked = "follow_ups (id, workspace_id, rule_id, contact_id, score, after, source, lane, state, sla, late_at,"
    asked += " escalate_to, asked_at, changed_at, in_list, message_channel, message_ts, posted_at) VALUES"
    for sql in (
        "workspaces (id, team, name, default_type, admins, setters, alert_channel, created_at)"
        " VALUES (1, 'T0ACME', 'Acme', 'score', '[]', 'members', 'C0SALES', 5)",
        "score_types (id, workspace_id, key, live, created_at) VALUES (1, 1, 'score', 1, 5)",
        "definitions (id, score_type_id, number, label, minimum, maximum, step, start, bands, rules, is_draft,"
        " created_at) VALUES (1, 1, 1, 'Score', 0, 100000, 1000, 0, '[]', '[]', false, 5)",
        "contacts (id, workspace_id, email, email_key, tags, tags_key, attributes, stamps, created_at, updated_at)"
        " VALUES (1, 1, 'ada@example.com', 'ada@example.com', '[]', '[]', '{}', '{}', 5, 5)",
        "identities (workspace_id, namespace, value, contact_id) VALUES (1, '', 'ada@example.com', 1)",
        *(f"{rule} ({n}, 1, 'score', 'crosses', {n}0000, 0, 0, '', false, 0, 1, 5, 5)" for n in (1, 2, 3)),
        "alert_memory (rule_id, contact_id, taken, fired_at, seen_at, spent) VALUES (1, 1, true, 5, 5, 0)",
        "alert_memory (rule_id, contact_id, taken, fired_at, seen_at, spent) VALUES (2, 1, true, 6, 6, 0)",
        f"{asked} (1, 1, 1, 1, 'score', 20000, 'crm', 'C0SALES', 'open', 9, 14, 'U1', 5, 5, false, 'C0SALES',"
        " '1.1', 5)",
        f"{asked} (2, 1, 2, 1, 'score', 20000, 'crm', 'C0SALES', 'open', NULL, NULL, NULL, 6, 6, false, 'C0SALES',"
        " '1.2', 6)",
        f"{asked} (3, 1, 2, 1, 'score', 90000, 'crm', 'C0SALES', 'closed', NULL, NULL, NULL, 3, 4, false, NULL, NULL,"
        " NULL)",
    ):
        await raw.rows(database_url, f"INSERT INTO {sql}")
    for table in ("workspaces", "contacts", "alert_rules", "follow_ups"):
        if not raw.is_sqlite(database_url):
            await raw.rows(database_url, f"SELECT setval('{table}_id_seq', 9)")
    before = await everything(database_url)

    assert (await migrate(database_url, now=NOW)).applied == FIRST[FIRST.index("0014_audit") + 1 :]

    after = await everything(database_url)
    assert after["follow_ups"] == [{**row, "note": None} for row in before["follow_ups"]]
    assert picked(after["followup_rules"], "follow_up_id rule_id after sla late_at escalate_to fired_at let_go_at") == [
        (1, 1, 20_000, 9, 14, "U1", 5, None),
        (2, 2, 20_000, None, None, None, 6, None),
        (3, 2, 90_000, None, None, None, 3, 4),
    ]
    opened_storage = await open_storage(database_url, secret_keys=KEYS)
    try:
        (workspace,) = await all_workspaces()
        team, states = Team(workspace), list[list[tuple[object, ...]]]()
        for number, value in enumerate((35, 12, 0)):
            item = set_to(str(number), "ada@example.com", value)
            await team.deliver(item, batch=str(number), received=NOW + number)
            rows = await raw.rows(
                database_url,
                "SELECT f.id, f.state, r.rule_id FROM follow_ups f LEFT JOIN followup_rules r ON r.follow_up_id = f.id"
                " AND r.let_go_at IS NULL WHERE f.id <> 3 ORDER BY f.id, r.rule_id",
            )
            states.append(picked(rows, "id state rule_id"))
    finally:
        await opened_storage.close()
    assert states == [
        [(1, "open", 1), (1, "open", 3), (2, "open", 2)],
        [(1, "open", 1), (2, "closed", None)],
        [(1, "closed", None), (2, "closed", None)],
    ]
    jobs = picked((await everything(database_url))["jobs"], "kind subject")
    assert [job for job in jobs if job[0] == "ask"] == []
    assert set(jobs) >= {("edit", 1), ("edit", 2)}  # the messages that they have


# Garbage collection takes most of the time.
TORTOISE = "import gc, sys; gc.disable(); from tortoise.cli import main; sys.exit(main())"
CONFIGURATION = """
from storage.db.database import parse_url
TORTOISE = parse_url({url!r}).tortoise()
"""
DRIFT = CONFIGURATION.format(url="sqlite://drift.db")
SHAPES = {
    "sqlite": "SELECT name, sql FROM sqlite_master ORDER BY name",
    "postgres": """
        SELECT conname::text AS name, pg_get_constraintdef(oid) AS sql FROM pg_constraint WHERE oid >= 16384
        UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT table_name || '.' || column_name, concat_ws(', ', data_type, character_maximum_length,
            is_nullable, column_default) FROM information_schema.columns WHERE table_schema = 'public'
        ORDER BY name, sql
    """,
}


@pytest.mark.slow
async def test_the_tables_are_those_that_tortoise_makes(database_url: str, tmp_path: Path) -> None:
    """The product's faster way to apply migrations creates the same tables as Tortoise's own.

    Tortoise needs half a minute on SQLite for the first migration, and three times as long as the product for each
    later one. So it applies all but the first if the run is thorough, and otherwise the newest ones.
    """
    house = later_house(tmp_path, REBUILDS)
    (house / "theirs.py").write_text(CONFIGURATION.format(url=database_url))
    shape = SHAPES["sqlite" if raw.is_sqlite(database_url) else "postgres"]
    await tables_until(FIRST[0] if THOROUGH > 1 else FIRST[-8], database_url)
    await run("-c", TORTOISE, "-c", "theirs.TORTOISE", "migrate", house=house)
    expected = await raw.rows(database_url, shape)
    await raw.empty(database_url)

    assert await ask("migrate", database_url, house=house) == {"applied": [*FIRST, NEXT]}
    assert [row for row in await raw.rows(database_url, shape) if row.get("name") != "sqlite_stat1"] == expected
    assert len(expected) > 60


@pytest.mark.slow
async def test_the_migrations_say_what_the_models_say(tmp_path: Path) -> None:
    """Tortoise finds no difference between the migrations and the models."""
    house = tmp_path / "house"
    shutil.copytree(HOUSE / "storage", house / "storage")
    (house / "drift.py").write_text(DRIFT)

    output = await run("-c", TORTOISE, "-c", "drift.TORTOISE", "makemigrations", house=house)

    assert output.strip() == "No changes detected"
    assert sorted(path.stem for path in (house / "storage/db" / "migrations").glob("[0-9]*.py")) == FIRST


@pytest.mark.slow
async def test_a_model_that_differs_is_noticed(tmp_path: Path) -> None:
    """A model with a column that no migration creates is noticed, so the previous test can fail."""
    house = tmp_path / "house"
    shutil.copytree(HOUSE / "storage", house / "storage")
    (house / "drift.py").write_text(DRIFT)
    models = house / "storage/db" / "models.py"
    models.write_text(models.read_text().replace("    team = ", "    moon = fields.IntField(null=True)\n    team = "))

    await run("-c", TORTOISE, "-c", "drift.TORTOISE", "makemigrations", house=house)

    (new_migration,) = {path.stem for path in (house / "storage/db" / "migrations").glob("[0-9]*.py")} - set(FIRST)
    assert "moon" in (house / "storage/db" / "migrations" / f"{new_migration}.py").read_text()


async def test_a_segment_of_before_is_of_whoever_saved_it(database_url: str) -> None:
    """The maker of a segment is who saved it first since it was last deleted; unknown, if that is not on record."""
    await tables_until("0018_undone_changes", database_url)
    entries = [
        (1, "U0JANE", "segment.saved", "hot", "NULL", "'{}'"),
        (2, "U0JANE", "segment.deleted", "hot", "'{}'", "NULL"),
        (3, "U0REP", "segment.saved", "hot", "NULL", "'{}'"),
        (4, "U0ADMIN", "segment.saved", "hot", "'{}'", "'{}'"),
        (5, "U0ADMIN", "segment.saved", "old", "'{}'", "'{}'"),
    ]
    for sql in (
        "INSERT INTO workspaces (id, team, name, default_type, admins, setters, created_at)"
        " VALUES (1, 'T0ACME', 'Acme', 'score', '[]', 'members', 5)",
        *(
            f"INSERT INTO segments (workspace_id, name, text, saved_at) VALUES (1, '{name}', 'score>=80', 5)"
            for name in ("hot", "old", "older")
        ),
        *(
            "INSERT INTO audit_entries (id, workspace_id, at, who, what, subject, before, after)"
            f" VALUES ({id}, 1, {id}, '{who}', '{what}', '{subject}', {before}, {after})"
            for id, who, what, subject, before, after in entries
        ),
    ):
        await raw.rows(database_url, sql)
    before_rows = await everything(database_url)

    assert (await migrate(database_url, now=NOW)).applied == FIRST[FIRST.index("0018_undone_changes") + 1 :]

    after_rows = await everything(database_url)
    makers = {"hot": "U0REP", "old": None, "older": None}
    assert after_rows["segments"] == [{**row, "made_by": makers[str(row["name"])]} for row in before_rows["segments"]]
    assert after_rows["audit_entries"] == before_rows["audit_entries"]


async def test_contacts_of_before_are_found_and_get_their_words(database_url: str) -> None:
    """A workspace with contacts gets a job that stores their words; searches find the contacts before it has run."""
    await tables_until("0025_write_backs", database_url)
    for number, team in ((1, "T0ACME"), (2, "T0EMPTY")):
        await raw.rows(
            database_url,
            "INSERT INTO workspaces (id, team, name, default_type, admins, setters, created_at)"
            f" VALUES ({number}, '{team}', 'Acme', 'score', '[]', 'members', 5)",
        )
    await raw.rows(
        database_url,
        "INSERT INTO contacts (id, workspace_id, name, name_key, tags, tags_key, attributes, stamps, created_at,"
        " updated_at) VALUES (1, 1, 'Ada Lovelace', 'ada lovelace', '[]', '', '{}', '{}', 5, 5)",
    )
    assert (await migrate(database_url, now=NOW)).applied == FIRST[FIRST.index("0025_write_backs") + 1 :]

    storage = await open_storage(database_url, secret_keys=KEYS)
    try:
        (acme, _) = await all_workspaces()
        found_before = await find(acme, text="lovel")
        part_of_name = parse("name~lovel", await score_types(acme))
        assert await count(acme, query=part_of_name, now=NOW) == 1
        handler = make_all_handlers(lambda: NOW)[WORDS]
        job = NewJob(workspace=acme.id, kind=WORDS, lane=WORDS, key=WORDS, subject=0, due_at=0)
        await run_here(acme, job=job, handler=handler, clock=lambda: NOW)
        assert [contact.id for contact in (*found_before, *await find(acme, text="lovel"))] == [1, 1]
        assert await count(acme, query=part_of_name, now=NOW) == 1
    finally:
        await storage.close()
    assert await raw.rows(database_url, "SELECT kind FROM jobs") == []
    assert await raw.rows(database_url, "SELECT word FROM words ORDER BY id") == [{"word": "ada"}, {"word": "lovelace"}]
    assert await raw.rows(database_url, "SELECT words_after FROM workspaces") == [{"words_after": None}] * 2


async def test_rows_of_before_are_in_the_indexes_of_filters(database_url: str) -> None:
    """No row changes. Words that are cut to 200 characters have an index; that of effects has their contacts."""
    await tables_until("0031_config_versions", database_url)
    for id, length in ((1, 199), (2, 200)):
        await raw.rows(database_url, f"INSERT INTO words (id, workspace_id, word) VALUES ({id}, 1, '{'ß' * length}')")
    before = await everything(database_url)

    assert (await migrate(database_url, now=NOW)).applied == ["0032_filter_lookups"]

    after = await everything(database_url)
    assert without(after, *LATER)["words"] == without(before, *LATER)["words"]
    if raw.is_sqlite(database_url):
        indexed = "SELECT id FROM words INDEXED BY words_long WHERE workspace_id = 1 AND length(word) = 200"
        assert await raw.rows(database_url, indexed) == [{"id": 2}]
    (index,) = await raw.rows(database_url, INDEX["sqlite" if raw.is_sqlite(database_url) else "postgres"])
    assert "(definition_id, at, contact_id)" in str(index["sql"])


INDEX = {
    "sqlite": "SELECT sql FROM sqlite_master WHERE name = 'effects_definition'",
    "postgres": "SELECT indexdef AS sql FROM pg_indexes WHERE indexname = 'effects_definition'",
}
