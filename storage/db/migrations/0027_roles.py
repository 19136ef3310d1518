"""Store the roles of people and of Slack user groups.

Nobody has one yet: the people named as admins stay in its column `admins`, and what members without a
role may do stays in its column `setters`, so everybody may do what they did before."""

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import UniqueConstraint


class Migration(migrations.Migration):
    dependencies = [("storage", "0026_words")]

    operations = [
        ops.CreateModel(
            name="Role",
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
                ("subject", fields.CharField(max_length=32)),
                ("role", fields.CharField(max_length=8)),
            ],
            options={"table": "roles", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.AddConstraint(
            model_name="Role",
            constraint=UniqueConstraint(fields=("workspace_id", "subject"), name="roles_subject"),
        ),
    ]
