"""Add subscriptions, the outbox of their events, and the members of the segments that they name."""

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import UniqueConstraint


class Migration(migrations.Migration):
    dependencies = [("storage", "0019_token_uses")]

    operations = [
        ops.CreateModel(
            name="Event",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                (
                    "workspace",
                    fields.ForeignKeyField(
                        "storage.Workspace",
                        source_field="workspace_id",
                        db_constraint=True,
                        to_field="id",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("uid", fields.CharField(max_length=40)),
                ("type", fields.CharField(max_length=32)),
                ("contact_id", fields.BigIntField()),
                ("at", fields.BigIntField()),
                ("data", fields.TextField(null=True, unique=False)),
                ("cause", fields.CharField(null=True, max_length=16)),
                ("position", fields.BigIntField(null=True)),
                ("created_at", fields.BigIntField()),
            ],
            options={"table": "events", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.CreateModel(
            name="SegmentMember",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                (
                    "workspace",
                    fields.ForeignKeyField(
                        "storage.Workspace",
                        source_field="workspace_id",
                        db_constraint=True,
                        to_field="id",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("segment", fields.CharField(max_length=32)),
                ("contact_id", fields.BigIntField()),
            ],
            options={"table": "segment_members", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Subscription",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                (
                    "workspace",
                    fields.ForeignKeyField(
                        "storage.Workspace",
                        source_field="workspace_id",
                        db_constraint=True,
                        to_field="id",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("url", fields.TextField(unique=False)),
                ("secrets", fields.TextField(unique=False)),
                ("events", fields.TextField(unique=False)),
                ("segments", fields.TextField(unique=False)),
                ("imports", fields.BooleanField()),
                ("failing_since", fields.BigIntField(null=True)),
                ("paused_until", fields.BigIntField()),
                ("disabled_at", fields.BigIntField(null=True)),
                ("problem", fields.TextField(null=True, unique=False)),
                ("created_at", fields.BigIntField()),
            ],
            options={"table": "subscriptions", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.CreateModel(
            name="EventDelivery",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                (
                    "subscription",
                    fields.ForeignKeyField(
                        "storage.Subscription",
                        source_field="subscription_id",
                        db_constraint=True,
                        to_field="id",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "event",
                    fields.ForeignKeyField(
                        "storage.Event",
                        source_field="event_id",
                        db_constraint=True,
                        to_field="id",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("slot", fields.IntField()),
                ("state", fields.CharField(max_length=12)),
                ("attempts", fields.IntField()),
                ("first_at", fields.BigIntField(null=True)),
                ("last_at", fields.BigIntField(null=True)),
                ("due_at", fields.BigIntField()),
                ("status", fields.IntField(null=True)),
                ("problem", fields.TextField(null=True, unique=False)),
            ],
            options={"table": "event_deliveries", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.AddField(
            model_name="Workspace",
            name="events_kept_until",
            field=fields.BigIntField(db_default=0),
        ),
        ops.AddField(
            model_name="Workspace",
            name="events_position",
            field=fields.BigIntField(db_default=0),
        ),
        ops.AddField(
            model_name="Workspace",
            name="watches_segments",
            field=fields.BooleanField(db_default=False),
        ),
        ops.AddIndex(model_name="Event", index=Index(fields=["workspace_id", "position", "id"], name="events_feed")),
        ops.AddIndex(model_name="Event", index=Index(fields=["workspace_id", "created_at"], name="events_created")),
        ops.AddIndex(model_name="Event", index=Index(fields=["contact_id"], name="events_contact")),
        ops.AddConstraint(
            model_name="SegmentMember",
            constraint=UniqueConstraint(
                fields=("workspace_id", "segment", "contact_id"), name="segment_members_contact"
            ),
        ),
        ops.AddIndex(model_name="SegmentMember", index=Index(fields=["contact_id"], name="segment_members_of")),
        ops.AddIndex(
            model_name="Subscription", index=Index(fields=["workspace_id", "id"], name="subscriptions_workspace")
        ),
        ops.AddConstraint(
            model_name="EventDelivery",
            constraint=UniqueConstraint(fields=("subscription_id", "event_id"), name="event_deliveries_event"),
        ),
        ops.AddIndex(
            model_name="EventDelivery",
            index=Index(fields=["subscription_id", "state", "slot", "event_id"], name="event_deliveries_waiting"),
        ),
        ops.AddIndex(model_name="EventDelivery", index=Index(fields=["event_id"], name="event_deliveries_of")),
    ]
