"""Keep what an alert rule remembered before a person's change, so that an undo of the change can put it back.

What changes of earlier versions found is not known: after an undo of such a change, the rule is evaluated as after any
other change."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("storage", "0016_gone_contacts")]

    operations = [
        ops.AddField(model_name="AlertMemory", name="cause", field=fields.TextField(null=True, unique=False)),
        ops.AddField(model_name="AlertMemory", name="found", field=fields.TextField(null=True, unique=False)),
        ops.AddField(model_name="FollowUp", name="taken_back_at", field=fields.BigIntField(null=True)),
    ]
