"""Store the state of a score with some of its effects, so that a late fact need not be folded from the first one on.

Effects of earlier versions have no state. The first late fact of a contact adds what its scores need."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("storage", "0029_imports")]

    operations = [
        ops.AddField(model_name="Effect", name="snapshot", field=fields.TextField(null=True)),
    ]
