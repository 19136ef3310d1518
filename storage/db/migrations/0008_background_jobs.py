"""Count for how long a job has failed by itself, and keep how far a job in slices has come.

A job that Slack or the database held up has not failed by itself. What a job found out stays for its answer."""

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import UniqueConstraint


class Migration(migrations.Migration):
    dependencies = [("storage", "0007_finding_effects")]

    operations = [
        ops.AddField(model_name="Job", name="failed_for", field=fields.BigIntField(db_default=0)),
        ops.AddField(model_name="Job", name="position", field=fields.BigIntField(db_default=0)),
        ops.AddField(model_name="AlertRule", name="enrollment", field=fields.IntField(db_default=0)),
        ops.AddField(model_name="AlertRule", name="enrolled_at", field=fields.BigIntField(db_default=0)),
        ops.AddField(model_name="AlertMemory", name="enrollment", field=fields.IntField(db_default=0)),
        ops.AddField(model_name="Definition", name="asked", field=fields.BigIntField(null=True)),
        ops.CreateModel(
            name="LateAnswer",
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
                ("slack_user", fields.CharField(max_length=32)),
                ("answer_to", fields.TextField(null=True, unique=False)),
                ("about", fields.TextField(unique=False)),
                ("created_at", fields.BigIntField()),
            ],
            options={"table": "late_answers", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.CreateModel(
            name="PendingRefold",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("workspace_id", fields.BigIntField()),
                (
                    "contact",
                    fields.ForeignKeyField(
                        "storage.Contact",
                        source_field="contact_id",
                        db_constraint=True,
                        to_field="id",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("undo", fields.TextField(unique=False)),
            ],
            options={"table": "pending_refolds", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.AddConstraint(
            model_name="PendingRefold",
            constraint=UniqueConstraint(fields=("contact_id", "undo"), name="pending_refolds_contact"),
        ),
        ops.AddIndex(
            model_name="PendingRefold",
            index=Index(fields=["workspace_id", "undo", "contact_id"], name="pending_refolds_undo"),
        ),
        ops.AddIndex(model_name="LateAnswer", index=Index(fields=["workspace_id"], name="late_answers_workspace")),
    ]
