"""Store a version of the sources, score types and alert rules of each workspace. Triggers replace it at each change.

A process that has them in memory compares the version in its transactions. The triggers also see the changes of the
program before this one, which works with these tables. A version is random instead of counted: a transaction that is
rolled back, or a restored backup, never leads to a version that an earlier state had.
"""

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import UniqueConstraint

#: table → the columns that matter, besides new and deleted rows; the others change while the program works
COLUMNS = {
    "sources": "workspace_id, slug, provider, secrets, settings, api_token",
    "score_types": "workspace_id, key, live",
    "definitions": "score_type_id, number, label, minimum, maximum, step, start, bands, half_life, rules, is_draft",
    "alert_rules": "workspace_id, score, kind, low, high, amount, span, condition, channel, in_digest, hold, margin,"
    " cooldown, sla, escalate_to, made_by, maker_address, removed_at, paused_at, enrollment, enrolled_at,"
    " previous_enrolled_at",
    "workspaces": "default_type",
}
TRIGGER = "config_version"

#: Runs at the end of the transaction, so that no transaction waits for a lock while it holds the one on the version.
_FUNCTION = """
CREATE FUNCTION replace_config_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed jsonb := CASE TG_OP WHEN 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
    workspace text := changed ->> CASE TG_TABLE_NAME WHEN 'workspaces' THEN 'id' ELSE 'workspace_id' END;
BEGIN
    IF TG_TABLE_NAME = 'definitions' THEN
        EXECUTE format('SELECT workspace_id FROM %I.score_types WHERE id = $1', TG_TABLE_SCHEMA)
            INTO workspace USING (changed ->> 'score_type_id')::bigint;
    END IF;
    EXECUTE format(
        'INSERT INTO %1$I.config_versions (workspace_id, version)'
        ' SELECT id, floor(random() * 9e15)::bigint FROM %1$I.workspaces WHERE id = $1'
        ' ON CONFLICT (workspace_id) DO UPDATE SET version = excluded.version', TG_TABLE_SCHEMA
    ) USING workspace::bigint;
    RETURN NULL;
END
$$
"""


async def _create(apps, editor):
    if editor.DIALECT == "postgres":
        await editor.client.execute_script(_FUNCTION)
    for table, columns in COLUMNS.items():
        events = {"inserted": "INSERT", "deleted": "DELETE", "changed": f"UPDATE OF {columns}"}
        if table == "workspaces":  # a new one has no version, and a deleted one needs none
            events = {"changed": events["changed"]}
        if editor.DIALECT == "postgres":
            await editor.client.execute_script(
                f"CREATE CONSTRAINT TRIGGER {TRIGGER} AFTER {' OR '.join(events.values())} ON {table}"
                " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION replace_config_version()"
            )
            continue
        for name, event in events.items():
            row = "OLD" if event == "DELETE" else "NEW"
            changed = {
                "workspaces": f"SELECT {row}.id, random() WHERE true",
                "definitions": f"SELECT workspace_id, random() FROM score_types WHERE id = {row}.score_type_id",
            }.get(table, f"SELECT {row}.workspace_id, random() WHERE true")
            await editor.client.execute_script(
                f"CREATE TRIGGER {TRIGGER}_{table}_{name} AFTER {event} ON {table} BEGIN"
                f" INSERT INTO config_versions (workspace_id, version) {changed}"
                " ON CONFLICT (workspace_id) DO UPDATE SET version = excluded.version; END"
            )
    await editor.client.execute_script(
        "INSERT INTO config_versions (workspace_id, version) SELECT id, id FROM workspaces"
    )


async def _drop(apps, editor):
    if editor.DIALECT == "postgres":
        await editor.client.execute_script("DROP FUNCTION replace_config_version() CASCADE")
        return
    for row in await editor.client.execute_query_dict("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
        if row["name"].startswith(f"{TRIGGER}_"):
            await editor.client.execute_script(f"DROP TRIGGER {row['name']}")


class Migration(migrations.Migration):
    dependencies = [("storage", "0030_snapshots")]

    operations = [
        ops.CreateModel(
            name="ConfigVersion",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                (
                    "workspace",
                    fields.ForeignKeyField(
                        "storage.Workspace",
                        source_field="workspace_id",
                        db_constraint=True,
                        to_field="id",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("version", fields.BigIntField()),
            ],
            options={"table": "config_versions", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.AddConstraint(
            model_name="ConfigVersion",
            constraint=UniqueConstraint(fields=("workspace_id",), name="config_versions_workspace"),
        ),
        ops.RunPython(_create, reverse_code=_drop),
    ]
