"""Index the words of contacts for searches. A job fills the index for the contacts of earlier versions.

Until that job is done, a search reads the contacts after `words_after` one by one."""

from tortoise import fields, migrations
from tortoise.indexes import Index
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import UniqueConstraint


async def _index_words(apps, editor):
    """Index words as bytes, so that those with the same beginning are neighbors; PostgreSQL may order otherwise."""
    as_bytes = ' COLLATE "C"' if editor.DIALECT == "postgres" else ""
    await editor.client.execute_script(f"CREATE UNIQUE INDEX words_word ON words (workspace_id, word{as_bytes})")


class Migration(migrations.Migration):
    dependencies = [("storage", "0025_write_backs")]

    operations = [
        ops.CreateModel(
            name="Word",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("workspace_id", fields.BigIntField()),
                ("word", fields.TextField(unique=False)),
            ],
            options={"table": "words", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.CreateModel(
            name="WordTrigram",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("workspace_id", fields.BigIntField()),
                ("trigram", fields.BigIntField()),
                ("word_id", fields.BigIntField()),
            ],
            options={"table": "word_trigrams", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.CreateModel(
            name="ContactWord",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                ("workspace_id", fields.BigIntField()),
                ("contact_id", fields.BigIntField()),
                ("word_id", fields.BigIntField()),
            ],
            options={"table": "contact_words", "app": "storage", "pk_attr": "id"},
            bases=["Model"],
        ),
        ops.AddConstraint(
            model_name="WordTrigram",
            constraint=UniqueConstraint(
                fields=("workspace_id", "trigram", "word_id"), name="word_trigrams_trigram"
            ),
        ),
        ops.AddConstraint(
            model_name="ContactWord",
            constraint=UniqueConstraint(fields=("word_id", "contact_id"), name="contact_words_word"),
        ),
        ops.AddIndex(model_name="ContactWord", index=Index(fields=["contact_id"], name="contact_words_contact")),
        ops.RunPython(_index_words, reverse_code=ops.RunPython.noop),
        ops.AddField(model_name="Workspace", name="words_after", field=fields.BigIntField(null=True)),
        ops.RunSQL(
            [
                "UPDATE workspaces SET words_after = 0 WHERE EXISTS"
                " (SELECT 1 FROM contacts c WHERE c.workspace_id = workspaces.id)",
                "INSERT INTO lanes (workspace_id, name, free_at) SELECT id, 'words', 0 FROM workspaces"
                " WHERE words_after = 0",
                "INSERT INTO jobs (workspace_id, kind, lane, job_key, subject, due_at, attempts, under_way, created_at)"
                " SELECT id, 'words', 'words', 'words', 0, 0, 0, false, 0 FROM workspaces WHERE words_after = 0",
            ],
            reverse_sql=[],
        ),
    ]
