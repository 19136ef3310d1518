"""Remember how each source stands and what an admin knows of it; find quickly when it delivered."""

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("storage", "0002_reading")]

    operations = [
        ops.AddField(
            model_name="Source", name="standing", field=fields.CharField(db_default="works", max_length=12)
        ),
        ops.AddField(model_name="Source", name="standing_at", field=fields.BigIntField(null=True)),
        ops.AddField(model_name="Source", name="told", field=fields.CharField(db_default="works", max_length=12)),
        ops.AddField(model_name="Refusal", name="in_a_row", field=fields.BigIntField(db_default=0)),
        ops.AddIndex(
            model_name="Delivery", index=Index(fields=["source_id", "received_at"], name="deliveries_habit")
        ),
    ]
