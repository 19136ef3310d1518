"""Store files that a program or a person sent, until a job has imported them, and the results of these imports."""

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import UniqueConstraint


def _parent(model: str, column: str) -> object:
    return fields.ForeignKeyField(
        model, source_field=column, db_constraint=True, to_field="id", on_delete=OnDelete.RESTRICT
    )


class Migration(migrations.Migration):
    dependencies = [("storage", "0028_bulk_changes")]

    operations = [
        ops.CreateModel(
            name="Import",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("workspace", _parent("storage.Workspace", "workspace_id")),
                ("request_key", fields.TextField(unique=False)),
                ("digest", fields.CharField(max_length=64)),
                ("name", fields.TextField(unique=False)),
                ("made_by", fields.TextField(unique=False)),
                ("settings", fields.TextField(unique=False)),
                ("state", fields.CharField(max_length=12)),
                ("summary", fields.TextField(null=True, unique=False)),
                ("errors", fields.TextField(null=True, unique=False)),
                ("problem", fields.TextField(null=True, unique=False)),
                ("created_at", fields.BigIntField()),
                ("finished_at", fields.BigIntField(null=True)),
            ],
            options={"table": "imports", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.AddConstraint(
            model_name="Import",
            constraint=UniqueConstraint(fields=("workspace_id", "request_key"), name="imports_key"),
        ),
        ops.CreateModel(
            name="ImportPart",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("file", _parent("storage.Import", "file_id")),
                ("position", fields.IntField()),
                ("content", fields.TextField(unique=False)),
            ],
            options={"table": "import_parts", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.AddConstraint(
            model_name="ImportPart",
            constraint=UniqueConstraint(fields=("file_id", "position"), name="import_parts_position"),
        ),
    ]
