"""Find what was folded under a definition, to delete it with the definition, without reading every effect."""

from tortoise import migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("storage", "0006_pending_holds")]

    operations = [
        ops.AddIndex(model_name="Effect", index=Index(fields=["definition_id"], name="effects_definition")),
    ]
