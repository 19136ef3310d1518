"""Index the values of attributes, so that filters find contacts by them.

Rules compare larger numbers, and digits beyond the third, now: scores with rules about attributes are folded again."""

import json

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import UniqueConstraint

from storage.domain.attributes import index_value

BATCH = 1000


async def _fill(apps, editor):
    """Store the values of all contacts, a batch at a time."""
    client, last = editor.client, 0
    bind = "$%d" if editor.DIALECT == "postgres" else "?%d"
    places = ", ".join(bind % number for number in range(1, 7))
    while rows := await client.execute_query_dict(
        f"SELECT id, workspace_id, attributes FROM contacts WHERE id > {last} ORDER BY id LIMIT {BATCH}"
    ):
        last = rows[-1]["id"]
        values = [
            [row["workspace_id"], row["id"], name, keys.key, keys.number, keys.instant]
            for row in rows
            for name, value in json.loads(row["attributes"]).items()
            for keys in index_value(value)
        ]
        if values:
            await client.execute_many(
                "INSERT INTO attribute_values (workspace_id, contact_id, name, key, number, instant)"
                f" VALUES ({places})",
                values,
            )


class Migration(migrations.Migration):
    dependencies = [("storage", "0011_first_facts")]

    operations = [
        ops.CreateModel(
            name="AttributeValue",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("workspace_id", fields.BigIntField()),
                ("contact", fields.ForeignKeyField("storage.Contact", source_field="contact_id", db_constraint=True, to_field="id", on_delete=OnDelete.RESTRICT)),
                ("name", fields.TextField(unique=False)),
                ("key", fields.TextField(unique=False)),
                ("number", fields.BigIntField(null=True)),
                ("instant", fields.BigIntField(null=True)),
            ],
            options={"table": "attribute_values", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.RunPython(_fill, reverse_code=ops.RunPython.noop),
        ops.AddConstraint(
            model_name="AttributeValue",
            constraint=UniqueConstraint(fields=("contact_id", "name", "key"), name="attribute_values_contact"),
        ),
        ops.AddIndex(
            model_name="AttributeValue",
            index=Index(fields=["workspace_id", "name", "key", "contact_id"], name="attribute_values_key"),
        ),
        # Of these there are few, and only plain SQL can say that the others are left out.
        ops.RunSQL(
            [
                "CREATE INDEX attribute_values_number ON attribute_values (workspace_id, name, number, contact_id)"
                " WHERE number IS NOT NULL",
                "CREATE INDEX attribute_values_instant ON attribute_values (workspace_id, name, instant, contact_id)"
                " WHERE instant IS NOT NULL",
                "UPDATE definitions SET to_fold = true WHERE rules LIKE '%attributes.%'",
            ],
            reverse_sql=[],
        ),
    ]
