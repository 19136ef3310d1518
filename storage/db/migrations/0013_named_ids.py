"""Record by which id of a source a fact named its contact, so that an id can be split from a contact with its facts.

What earlier facts named is not known. A fact counts as named by an id of its source if the contact's row has no other id
of that source; other facts stay with the contact in a split."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


class Migration(migrations.Migration):
    dependencies = [("storage", "0012_attribute_values")]

    operations = [
        ops.AddField(model_name="Contact", name="split_at", field=fields.BigIntField(null=True)),
        ops.AddField(model_name="Fact", name="named_id", field=fields.TextField(null=True, unique=False)),
        ops.RunSQL(
            [
                "UPDATE facts SET named_id = source || ':' || only_ids.value FROM (SELECT contact_id, namespace,"
                " min(value) AS value FROM identities WHERE namespace <> '' GROUP BY contact_id, namespace"
                " HAVING count(*) = 1) AS only_ids WHERE facts.contact_id = only_ids.contact_id"
                " AND facts.source = only_ids.namespace AND facts.kind <> 'merge'",
            ],
            reverse_sql=[],
        ),
    ]
