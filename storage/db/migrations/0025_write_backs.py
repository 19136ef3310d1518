"""Add what is needed to write scores to the contacts of a CRM: what was written, and why something was not."""

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import UniqueConstraint


class Migration(migrations.Migration):
    dependencies = [("storage", "0024_filter_indexes")]

    operations = [
        ops.CreateModel(
            name="WriteBack",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                (
                    "source",
                    fields.ForeignKeyField(
                        "storage.Source",
                        source_field="source_id",
                        db_constraint=True,
                        to_field="id",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "identity",
                    fields.ForeignKeyField(
                        "storage.Identity",
                        source_field="identity_id",
                        db_constraint=True,
                        to_field="id",
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                ("written", fields.TextField(unique=False)),
            ],
            options={"table": "write_backs", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.AddField(model_name="Workspace", name="write_backs", field=fields.TextField(null=True, unique=False)),
        ops.AddField(model_name="Source", name="unwritten", field=fields.TextField(null=True, unique=False)),
        ops.AddField(model_name="Source", name="unwritten_at", field=fields.BigIntField(null=True)),
        ops.AddField(model_name="Source", name="writing_paused_at", field=fields.BigIntField(null=True)),
        ops.AddConstraint(
            model_name="WriteBack",
            constraint=UniqueConstraint(fields=("identity_id",), name="write_backs_identity"),
        ),
        ops.AddIndex(model_name="WriteBack", index=Index(fields=["source_id"], name="write_backs_source")),
    ]
