"""Add to the record of changes the entry that an entry undoes, and an index for the last changes of a person."""

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("storage", "0017_undone_alerts")]

    operations = [
        ops.AddField(model_name="AuditEntry", name="undoes", field=fields.BigIntField(null=True)),
        ops.AddIndex(
            model_name="AuditEntry", index=Index(fields=["workspace_id", "who", "id"], name="audit_entries_who")
        ),
        ops.AddIndex(model_name="AuditEntry", index=Index(fields=["undoes"], name="audit_entries_undoes")),
    ]
