"""Record changes of settings, imports, exports, merges and deletions: who made them, when, and from what to what.

A definition keeps who applied it, because a job makes it the live one."""

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("storage", "0013_named_ids")]

    operations = [
        ops.AddField(model_name="Definition", name="applied_by", field=fields.TextField(null=True, unique=False)),
        ops.CreateModel(
            name="AuditEntry",
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
                ("at", fields.BigIntField()),
                ("who", fields.TextField(unique=False)),
                ("what", fields.CharField(max_length=40)),
                ("subject", fields.TextField(null=True, unique=False)),
                ("before", fields.TextField(null=True, unique=False)),
                ("after", fields.TextField(null=True, unique=False)),
                ("contact_id", fields.BigIntField(null=True)),
                ("other_id", fields.BigIntField(null=True)),
            ],
            options={"table": "audit_entries", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.AddIndex(
            model_name="AuditEntry", index=Index(fields=["workspace_id", "id"], name="audit_entries_workspace")
        ),
        ops.AddIndex(
            model_name="AuditEntry", index=Index(fields=["workspace_id", "what", "id"], name="audit_entries_what")
        ),
        ops.AddIndex(model_name="AuditEntry", index=Index(fields=["contact_id"], name="audit_entries_contact")),
        ops.AddIndex(model_name="AuditEntry", index=Index(fields=["other_id"], name="audit_entries_other")),
    ]
