"""Let a hold that is pending go on where the rule was also marked as having taken the contact.

A change of a score type wrote both; from the end of the hold the service then evaluated the same instant for ever."""

from tortoise import migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("storage", "0005_folding_again")]

    operations = [
        ops.RunSQL(
            ["UPDATE alert_memory SET taken = false WHERE taken AND pending_until IS NOT NULL"],
            reverse_sql=[],
        ),
    ]
