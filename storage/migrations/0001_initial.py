"""Make the first tables.

Ordered by hand: on SQLite a check rebuilds its table and drops what was added before it,
so checks come first, then unique constraints, then indexes; partial indexes only plain SQL can say."""

from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise.fields.base import OnDelete
from tortoise import fields
from tortoise.indexes import Index
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint

async def _index_addresses(apps, editor):
    """Index addresses as bytes, the order they are exported in: PostgreSQL has to be told, SQLite knows no other."""
    as_bytes = ' COLLATE "C"' if editor.DIALECT == "postgres" else ""
    await editor.client.execute_script(
        f"CREATE INDEX contacts_email_key ON contacts (workspace_id, email_key{as_bytes}, id)"
    )


async def _forget_addresses(apps, editor):
    await editor.client.execute_script("DROP INDEX contacts_email_key")


class Migration(migrations.Migration):
    initial = True

    operations = [
        ops.CreateModel(
            name='Workspace',
            fields=[
                ('id', fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ('team', fields.CharField(max_length=32)),
                ('name', fields.CharField(max_length=200)),
                ('default_type', fields.CharField(max_length=32)),
                ('created_at', fields.BigIntField()),
            ],
            options={'table': 'workspaces', 'app': 'storage', 'pk_attr': 'id'},
            bases=['Model'],
        ),
        ops.CreateModel(
            name='Contact',
            fields=[
                ('id', fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ('workspace', fields.ForeignKeyField('storage.Workspace', source_field='workspace_id', db_constraint=True, to_field='id', on_delete=OnDelete.RESTRICT)),
                ('merged_into', fields.BigIntField(null=True)),
                ('first_email', fields.CharField(null=True, max_length=254)),
                ('email', fields.CharField(null=True, max_length=254)),
                ('name', fields.TextField(null=True, unique=False)),
                ('company', fields.TextField(null=True, unique=False)),
                ('owner', fields.TextField(null=True, unique=False)),
                ('tags', fields.TextField(unique=False)),
                ('attributes', fields.TextField(unique=False)),
                ('email_key', fields.TextField(null=True, unique=False)),
                ('name_key', fields.TextField(null=True, unique=False)),
                ('company_key', fields.TextField(null=True, unique=False)),
                ('owner_key', fields.TextField(null=True, unique=False)),
                ('tags_key', fields.TextField(unique=False)),
                ('stamps', fields.TextField(unique=False)),
                ('created_at', fields.BigIntField()),
                ('updated_at', fields.BigIntField()),
            ],
            options={'table': 'contacts', 'app': 'storage', 'pk_attr': 'id'},
            bases=['Model'],
        ),
        ops.CreateModel(
            name='Fact',
            fields=[
                ('id', fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ('workspace_id', fields.BigIntField()),
                ('contact', fields.ForeignKeyField('storage.Contact', source_field='contact_id', null=True, db_constraint=True, to_field='id', on_delete=OnDelete.RESTRICT)),
                ('kind', fields.CharField(max_length=8)),
                ('source', fields.CharField(max_length=40)),
                ('dedupe_key', fields.TextField(unique=False)),
                ('subject', fields.CharField(max_length=32)),
                ('op', fields.CharField(null=True, max_length=8)),
                ('amount', fields.BigIntField(null=True)),
                ('said', fields.TextField(unique=False)),
                ('undoes', fields.TextField(null=True, unique=False)),
                ('occurred_at', fields.BigIntField()),
                ('received_at', fields.BigIntField()),
                ('batch', fields.TextField(unique=False)),
                ('actor', fields.TextField(null=True, unique=False)),
                ('reason', fields.TextField(null=True, unique=False)),
            ],
            options={'table': 'facts', 'app': 'storage', 'pk_attr': 'id'},
            bases=['Model'],
        ),
        ops.CreateModel(
            name='Identity',
            fields=[
                ('id', fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ('workspace_id', fields.BigIntField()),
                ('contact', fields.ForeignKeyField('storage.Contact', source_field='contact_id', db_constraint=True, to_field='id', on_delete=OnDelete.RESTRICT)),
                ('namespace', fields.CharField(max_length=40)),
                ('value', fields.TextField(unique=False)),
            ],
            options={'table': 'identities', 'app': 'storage', 'pk_attr': 'id'},
            bases=['Model'],
        ),
        ops.CreateModel(
            name='ScoreType',
            fields=[
                ('id', fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ('workspace', fields.ForeignKeyField('storage.Workspace', source_field='workspace_id', db_constraint=True, to_field='id', on_delete=OnDelete.RESTRICT)),
                ('key', fields.CharField(max_length=32)),
                ('live', fields.IntField()),
                ('created_at', fields.BigIntField()),
            ],
            options={'table': 'score_types', 'app': 'storage', 'pk_attr': 'id'},
            bases=['Model'],
        ),
        ops.CreateModel(
            name='Definition',
            fields=[
                ('id', fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ('score_type', fields.ForeignKeyField('storage.ScoreType', source_field='score_type_id', db_constraint=True, to_field='id', on_delete=OnDelete.RESTRICT)),
                ('number', fields.IntField()),
                ('label', fields.CharField(max_length=60)),
                ('minimum', fields.BigIntField()),
                ('maximum', fields.BigIntField()),
                ('step', fields.BigIntField()),
                ('start', fields.BigIntField()),
                ('bands', fields.TextField(unique=False)),
                ('created_at', fields.BigIntField()),
            ],
            options={'table': 'definitions', 'app': 'storage', 'pk_attr': 'id'},
            bases=['Model'],
        ),
        ops.CreateModel(
            name='Effect',
            fields=[
                ('id', fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ('workspace_id', fields.BigIntField()),
                ('contact', fields.ForeignKeyField('storage.Contact', source_field='contact_id', db_constraint=True, to_field='id', on_delete=OnDelete.RESTRICT)),
                ('definition', fields.ForeignKeyField('storage.Definition', source_field='definition_id', db_constraint=True, to_field='id', on_delete=OnDelete.RESTRICT)),
                ('fact', fields.ForeignKeyField('storage.Fact', source_field='fact_id', db_constraint=True, to_field='id', on_delete=OnDelete.RESTRICT)),
                ('at', fields.BigIntField()),
                ('asked', fields.BigIntField(null=True)),
                ('effective', fields.BigIntField()),
                ('rank_after', fields.BigIntField(null=True)),
            ],
            options={'table': 'effects', 'app': 'storage', 'pk_attr': 'id'},
            bases=['Model'],
        ),
        ops.CreateModel(
            name='Score',
            fields=[
                ('id', fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ('workspace_id', fields.BigIntField()),
                ('contact', fields.ForeignKeyField('storage.Contact', source_field='contact_id', db_constraint=True, to_field='id', on_delete=OnDelete.RESTRICT)),
                ('definition', fields.ForeignKeyField('storage.Definition', source_field='definition_id', db_constraint=True, to_field='id', on_delete=OnDelete.RESTRICT)),
                ('own', fields.BigIntField(null=True)),
                ('base', fields.BigIntField()),
                ('rank', fields.BigIntField(null=True)),
                ('last_at', fields.BigIntField()),
                ('last_source', fields.CharField(max_length=40)),
                ('last_key', fields.TextField(unique=False)),
            ],
            options={'table': 'scores', 'app': 'storage', 'pk_attr': 'id'},
            bases=['Model'],
        ),
        ops.CreateModel(
            name='Source',
            fields=[
                ('id', fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ('workspace', fields.ForeignKeyField('storage.Workspace', source_field='workspace_id', db_constraint=True, to_field='id', on_delete=OnDelete.RESTRICT)),
                ('slug', fields.CharField(max_length=40)),
                ('provider', fields.CharField(max_length=40)),
                ('secrets', fields.TextField(unique=False)),
                ('created_at', fields.BigIntField()),
            ],
            options={'table': 'sources', 'app': 'storage', 'pk_attr': 'id'},
            bases=['Model'],
        ),
        ops.CreateModel(
            name='Delivery',
            fields=[
                ('id', fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ('workspace_id', fields.BigIntField()),
                ('source', fields.ForeignKeyField('storage.Source', source_field='source_id', db_constraint=True, to_field='id', on_delete=OnDelete.RESTRICT)),
                ('delivery_key', fields.TextField(unique=False)),
                ('received_at', fields.BigIntField()),
                ('applied', fields.IntField()),
                ('duplicate', fields.IntField()),
                ('ignored', fields.IntField()),
                ('quarantined', fields.IntField()),
            ],
            options={'table': 'deliveries', 'app': 'storage', 'pk_attr': 'id'},
            bases=['Model'],
        ),
        ops.CreateModel(
            name='Quarantined',
            fields=[
                ('id', fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ('workspace_id', fields.BigIntField()),
                ('delivery', fields.ForeignKeyField('storage.Delivery', source_field='delivery_id', db_constraint=True, to_field='id', on_delete=OnDelete.RESTRICT)),
                ('position', fields.IntField()),
                ('dedupe_key', fields.TextField(unique=False)),
                ('reason', fields.TextField(unique=False)),
                ('item', fields.TextField(unique=False)),
            ],
            options={'table': 'quarantine', 'app': 'storage', 'pk_attr': 'id'},
            bases=['Model'],
        ),
        ops.CreateModel(
            name='Refusal',
            fields=[
                ('id', fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ('source', fields.ForeignKeyField('storage.Source', source_field='source_id', db_constraint=True, to_field='id', on_delete=OnDelete.RESTRICT)),
                ('count', fields.BigIntField()),
                ('last_at', fields.BigIntField()),
                ('reason', fields.TextField(unique=False)),
                ('hint', fields.TextField(unique=False)),
            ],
            options={'table': 'refusals', 'app': 'storage', 'pk_attr': 'id'},
            bases=['Model'],
        ),
        ops.CreateModel(
            name='Token',
            fields=[
                ('id', fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ('workspace', fields.ForeignKeyField('storage.Workspace', source_field='workspace_id', db_constraint=True, to_field='id', on_delete=OnDelete.RESTRICT)),
                ('name', fields.CharField(max_length=100)),
                ('scopes', fields.TextField(unique=False)),
                ('hash', fields.CharField(max_length=64)),
                ('created_at', fields.BigIntField()),
            ],
            options={'table': 'tokens', 'app': 'storage', 'pk_attr': 'id'},
            bases=['Model'],
        ),
        ops.AddConstraint(model_name='Fact', constraint=CheckConstraint(check="kind IN ('change', 'fields', 'undo')", name='facts_kind')),
        ops.AddConstraint(model_name='Fact', constraint=CheckConstraint(check="(kind = 'change') = (op IS NOT NULL)", name='facts_op')),
        ops.AddConstraint(model_name='Fact', constraint=CheckConstraint(check="(kind = 'undo') = (undoes IS NOT NULL)", name='facts_undoes')),
        ops.AddConstraint(model_name='Fact', constraint=CheckConstraint(check="(kind = 'undo') = (contact_id IS NULL)", name='facts_contact')),
        ops.AddConstraint(model_name='Definition', constraint=CheckConstraint(check='minimum < maximum', name='definitions_range')),
        ops.AddConstraint(model_name='Definition', constraint=CheckConstraint(check='step > 0', name='definitions_step')),
        ops.AddConstraint(model_name='Definition', constraint=CheckConstraint(check='start >= minimum AND start <= maximum', name='definitions_start')),
        ops.AddConstraint(model_name='Workspace', constraint=UniqueConstraint(fields=('team',), name='workspaces_team')),
        ops.AddConstraint(model_name='Fact', constraint=UniqueConstraint(fields=('workspace_id', 'source', 'dedupe_key', 'subject'), name='facts_key')),
        ops.AddConstraint(model_name='Identity', constraint=UniqueConstraint(fields=('workspace_id', 'namespace', 'value'), name='identities_value')),
        ops.AddConstraint(model_name='ScoreType', constraint=UniqueConstraint(fields=('workspace_id', 'key'), name='score_types_key')),
        ops.AddConstraint(model_name='Definition', constraint=UniqueConstraint(fields=('score_type_id', 'number'), name='definitions_number')),
        ops.AddConstraint(model_name='Effect', constraint=UniqueConstraint(fields=('fact_id', 'definition_id'), name='effects_fact')),
        ops.AddConstraint(model_name='Score', constraint=UniqueConstraint(fields=('contact_id', 'definition_id'), name='scores_contact')),
        ops.AddConstraint(model_name='Source', constraint=UniqueConstraint(fields=('workspace_id', 'slug'), name='sources_slug')),
        ops.AddConstraint(model_name='Quarantined', constraint=UniqueConstraint(fields=('delivery_id', 'position'), name='quarantine_item')),
        ops.AddConstraint(model_name='Refusal', constraint=UniqueConstraint(fields=('source_id',), name='refusals_source')),
        ops.AddConstraint(model_name='Token', constraint=UniqueConstraint(fields=('hash',), name='tokens_hash')),
        ops.AddIndex(model_name='Contact', index=Index(fields=['workspace_id', 'name_key'], name='contacts_name_key')),
        ops.AddIndex(model_name='Fact', index=Index(fields=['contact_id', 'subject', 'occurred_at'], name='facts_contact_subject')),
        ops.AddIndex(model_name='Identity', index=Index(fields=['contact_id'], name='identities_contact')),
        ops.AddIndex(model_name='Effect', index=Index(fields=['contact_id', 'definition_id', 'at'], name='effects_contact')),
        ops.AddIndex(model_name='Score', index=Index(fields=['definition_id', 'rank', 'contact_id'], name='scores_rank')),
        ops.AddIndex(model_name='Delivery', index=Index(fields=['source_id', 'id'], name='deliveries_source')),
        ops.RunSQL(
            [
                "CREATE INDEX facts_actor ON facts (workspace_id, actor, id) WHERE actor IS NOT NULL",
                "CREATE INDEX facts_batch ON facts (workspace_id, batch) WHERE actor IS NOT NULL",
                "CREATE INDEX facts_undoes ON facts (workspace_id, undoes) WHERE undoes IS NOT NULL",
            ],
            reverse_sql=["DROP INDEX facts_actor", "DROP INDEX facts_batch", "DROP INDEX facts_undoes"],
        ),
        ops.RunPython(_index_addresses, reverse_code=_forget_addresses),
    ]
