"""Record who made a segment, so that only that person or an admin changes it.

The record of changes says who first saved a segment, if it was saved after that record began; other segments have no
maker. An alert rule keeps the address of its maker: it is what `owner:me` means in a segment that the rule uses."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("storage", "0021_followup_rules")]

    operations = [
        ops.AddField(model_name="Segment", name="made_by", field=fields.TextField(null=True, unique=False)),
        ops.AddField(model_name="AlertRule", name="maker_address", field=fields.TextField(null=True, unique=False)),
        ops.RunSQL(
            [
                "UPDATE segments SET made_by = (SELECT e.who FROM audit_entries e"
                " WHERE e.workspace_id = segments.workspace_id AND e.what = 'segment.saved'"
                " AND e.subject = segments.name AND e.before IS NULL ORDER BY e.id DESC LIMIT 1)",
            ],
            reverse_sql=[],
        ),
    ]
