"""Find the contacts of an owner, and the quarantine of a workspace, without reading those of all."""

from tortoise import migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("storage", "0022_makers")]

    operations = [
        ops.AddIndex(
            model_name="Contact", index=Index(fields=["workspace_id", "owner_key", "id"], name="contacts_owner_key")
        ),
        ops.AddIndex(model_name="Quarantined", index=Index(fields=["workspace_id"], name="quarantine_workspace")),
    ]
