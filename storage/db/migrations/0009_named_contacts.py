"""Record which contacts a request names, and which messages in Slack name a contact, so that a deletion finds both.

Nothing is dropped: requests of earlier versions have no names, and are read again when a contact is deleted."""

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import UniqueConstraint


class Migration(migrations.Migration):
    dependencies = [("storage", "0008_background_jobs")]

    operations = [
        ops.AddField(model_name="RawDelivery", name="names", field=fields.TextField(null=True, unique=False)),
        ops.AddField(model_name="Quarantined", name="names", field=fields.TextField(null=True, unique=False)),
        ops.CreateModel(
            name="PostedMessage",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("workspace", fields.ForeignKeyField("storage.Workspace", source_field="workspace_id", db_constraint=True, to_field="id", on_delete=OnDelete.RESTRICT)),
                ("channel", fields.CharField(max_length=32)),
                ("ts", fields.CharField(max_length=32)),
            ],
            options={"table": "posted_messages", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.CreateModel(
            name="MessageContact",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("message", fields.ForeignKeyField("storage.PostedMessage", source_field="message_id", db_constraint=True, to_field="id", on_delete=OnDelete.RESTRICT)),
                ("contact_id", fields.BigIntField()),
            ],
            options={"table": "message_contacts", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.AddConstraint(model_name="PostedMessage", constraint=UniqueConstraint(fields=("workspace_id", "channel", "ts"), name="posted_messages_ts")),
        ops.AddConstraint(model_name="MessageContact", constraint=UniqueConstraint(fields=("message_id", "contact_id"), name="message_contacts_pair")),
        ops.AddIndex(model_name="MessageContact", index=Index(fields=["contact_id"], name="message_contacts_contact")),
    ]
