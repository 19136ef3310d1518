"""Ask for newcomers after a definition was applied: in slices, each contact as it was when the definition became live.

Until the last slice, a definition keeps which definition it replaced and how far the slices came, and an alert rule
keeps when it began to watch before."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("storage", "0014_audit")]

    operations = [
        ops.AddField(model_name="Definition", name="applied_at", field=fields.BigIntField(null=True)),
        ops.AddField(model_name="Definition", name="replaces", field=fields.BigIntField(null=True)),
        ops.AddField(model_name="Definition", name="asked_up_to", field=fields.BigIntField(null=True)),
        ops.AddField(model_name="AlertRule", name="previous_enrolled_at", field=fields.BigIntField(null=True)),
    ]
