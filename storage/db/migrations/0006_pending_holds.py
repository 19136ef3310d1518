"""Continue a pending hold if its rule was also recorded as having fired for the contact.

A change of a score type recorded both. After the end of the hold, the service evaluated the same instant endlessly."""

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
