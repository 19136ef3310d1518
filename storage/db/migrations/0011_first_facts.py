"""Mark the definitions that are folded otherwise now.

A rule that holds of a contact of which nothing is known counts from the contact's first fact on, whatever that is about;
and what faded was rounded otherwise in scores from before half a billionth was rounded exactly."""

from tortoise import migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("storage", "0010_matching_keys")]

    operations = [
        ops.RunSQL(
            [
                """UPDATE definitions SET to_fold = true WHERE rules LIKE '%"activity": null%'""",
                "UPDATE definitions SET to_fold = true WHERE half_life IS NOT NULL",
            ],
            reverse_sql=[],
        ),
    ]
