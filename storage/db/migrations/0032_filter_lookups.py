"""Index the words that are too long to be indexed whole, and the contacts of effects by time.

The program before this one works with these indexes. Building them blocks writes for a few seconds per million contacts.
"""

from tortoise import migrations
from tortoise.migrations import operations as ops

EFFECTS = "CREATE INDEX effects_definition ON effects"


class Migration(migrations.Migration):
    dependencies = [("storage", "0031_config_versions")]

    operations = [
        ops.RunSQL(
            [
                # 200 is `MOST_IN_RUN` of `domain.words`: of a longer word, the rest is not indexed.
                "CREATE INDEX words_long ON words (workspace_id) WHERE length(word) = 200",
                "DROP INDEX effects_definition",
                f"{EFFECTS} (definition_id, at, contact_id)",
            ],
            reverse_sql=["DROP INDEX words_long", "DROP INDEX effects_definition", f"{EFFECTS} (definition_id, at)"],
        ),
    ]
