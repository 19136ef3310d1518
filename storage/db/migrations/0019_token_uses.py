"""Tokens can expire, and have the time of their last use."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("storage", "0018_undone_changes")]

    operations = [
        ops.AddField(model_name="Token", name="expires_at", field=fields.BigIntField(null=True)),
        ops.AddField(model_name="Token", name="last_used_at", field=fields.BigIntField(null=True)),
    ]
