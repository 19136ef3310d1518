"""Mark what is to be folded again, and begin with the rules that have conditions.

They took everything that was said of a contact for a change of its scores; what moves nothing has no effect now."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("storage", "0004_finding")]

    operations = [
        ops.AddField(model_name="Definition", name="to_fold", field=fields.BooleanField(db_default=False)),
        ops.RunSQL(
            ["""UPDATE definitions SET to_fold = true WHERE replace(rules, '"if": ""', '') LIKE '%"if": "%'"""],
            reverse_sql=[],
        ),
    ]
