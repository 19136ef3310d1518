"""Keep the token that what deliveries leave out is read with, and why it last could not be."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("storage", "0001_initial")]

    operations = [
        ops.AddField(model_name="Source", name="api_token", field=fields.TextField(null=True)),
        ops.AddField(model_name="Source", name="unread", field=fields.TextField(null=True)),
        ops.AddField(model_name="Source", name="unread_at", field=fields.BigIntField(null=True)),
    ]
