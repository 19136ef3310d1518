"""Find what is remembered of a contact, and which follow-ups share a message, without reading all there are."""

from tortoise import migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("storage", "0003_standing")]

    operations = [
        ops.AddIndex(model_name="AlertMemory", index=Index(fields=["contact_id"], name="alert_memory_merging")),
        ops.AddIndex(
            model_name="FollowUp", index=Index(fields=["message_channel", "message_ts"], name="follow_ups_message")
        ),
    ]
