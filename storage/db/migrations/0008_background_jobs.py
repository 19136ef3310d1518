"""Count for how long a job has failed by itself, apart from the time for which Slack or the database was away."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("storage", "0007_finding_effects")]

    operations = [
        ops.AddField(model_name="Job", name="failed_for", field=fields.BigIntField(db_default=0)),
    ]
