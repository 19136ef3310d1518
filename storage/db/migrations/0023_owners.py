"""Find the contacts of an owner, and the quarantine of a workspace, without reading those of all.

The index of owners is partial, so that SQLite does not use it for other questions about the contacts of a workspace."""

from tortoise import migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("storage", "0022_makers")]

    operations = [
        ops.RunSQL(
            [
                "CREATE INDEX contacts_owner_key ON contacts (workspace_id, owner_key, id) WHERE owner_key IS NOT NULL",
            ],
            reverse_sql=["DROP INDEX contacts_owner_key"],
        ),
        ops.AddIndex(model_name="Quarantined", index=Index(fields=["workspace_id"], name="quarantine_workspace")),
    ]
