"""Record every rule that fired for a follow-up, so that a second rule joins an open follow-up in the same place.

Follow-ups of earlier versions keep their one rule each. Two that are open for a contact in one place stay two until
they are closed, so no constraint forbids them. Also stores the note of an outcome, what a move was about, the token
that a program moved it with, and the working hours of a workspace."""

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import UniqueConstraint


class Migration(migrations.Migration):
    dependencies = [("storage", "0020_events")]

    operations = [
        ops.AddField(model_name="Workspace", name="zone", field=fields.CharField(max_length=64, null=True)),
        ops.AddField(model_name="Workspace", name="opens", field=fields.IntField(db_default=540)),
        ops.AddField(model_name="Workspace", name="closes", field=fields.IntField(db_default=1020)),
        ops.AddField(model_name="FollowUp", name="note", field=fields.TextField(null=True, unique=False)),
        ops.AddField(model_name="FollowUpMove", name="detail", field=fields.TextField(null=True, unique=False)),
        ops.AddField(model_name="FollowUpMove", name="token", field=fields.TextField(null=True, unique=False)),
        ops.CreateModel(
            name="FollowUpRule",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                (
                    "follow_up",
                    fields.ForeignKeyField(
                        "storage.FollowUp",
                        source_field="follow_up_id",
                        db_constraint=True,
                        to_field="id",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "rule",
                    fields.ForeignKeyField(
                        "storage.AlertRule",
                        source_field="rule_id",
                        db_constraint=True,
                        to_field="id",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("score", fields.CharField(max_length=32)),
                ("before", fields.BigIntField(null=True)),
                ("after", fields.BigIntField(null=True)),
                ("source", fields.CharField(max_length=40)),
                ("actor", fields.TextField(null=True, unique=False)),
                ("reason", fields.TextField(null=True, unique=False)),
                ("words", fields.TextField(null=True, unique=False)),
                ("sla", fields.BigIntField(null=True)),
                ("late_at", fields.BigIntField(null=True)),
                ("escalate_to", fields.CharField(max_length=32, null=True)),
                ("fired_at", fields.BigIntField()),
                ("let_go_at", fields.BigIntField(null=True)),
                ("taken_back", fields.BooleanField()),
            ],
            options={"table": "followup_rules", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.AddConstraint(
            model_name="FollowUpRule",
            constraint=UniqueConstraint(fields=("follow_up_id", "rule_id"), name="followup_rules_pair"),
        ),
        ops.RunSQL(
            [
                "INSERT INTO followup_rules (follow_up_id, rule_id, score, before, after, source, actor, reason, words,"
                " sla, late_at, escalate_to, fired_at, let_go_at, taken_back) SELECT id, rule_id, score, before, after,"
                " source, actor, reason, why, sla, late_at, escalate_to, asked_at,"
                " CASE WHEN state = 'closed' THEN changed_at END, false FROM follow_ups ORDER BY id",
            ],
            reverse_sql=[],
        ),
    ]
