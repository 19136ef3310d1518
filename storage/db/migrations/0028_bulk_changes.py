"""Store changes of many contacts: as a preview until a person confirms it, and while a job applies it."""

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import UniqueConstraint


class Migration(migrations.Migration):
    dependencies = [("storage", "0027_roles")]

    operations = [
        ops.CreateModel(
            name="BulkChange",
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
                ("batch", fields.TextField(unique=False)),
                ("made_by", fields.CharField(max_length=32)),
                ("address", fields.TextField(null=True, unique=False)),
                ("text", fields.TextField(null=True, unique=False)),
                ("change", fields.TextField(unique=False)),
                ("contacts", fields.TextField(unique=False)),
                ("preview", fields.TextField(null=True, unique=False)),
                ("result", fields.TextField(null=True, unique=False)),
                ("asks", fields.BooleanField()),
                ("confirmed_at", fields.BigIntField(null=True)),
                ("created_at", fields.BigIntField()),
            ],
            options={"table": "bulk_changes", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.AddConstraint(
            model_name="BulkChange",
            constraint=UniqueConstraint(fields=("workspace_id", "batch"), name="bulk_changes_batch"),
        ),
    ]
