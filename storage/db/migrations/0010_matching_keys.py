"""Compute the matching keys of texts again: quotes, dashes and characters that nobody sees are as one in them now.

The texts stay as they are. Where two addresses would get one key, the older contact keeps it, and the other its former
one. Rules that ask about texts may find more contacts now: their scores are folded again."""

import json

from tortoise import migrations
from tortoise.migrations import operations as ops

from storage.domain.contacts import contact_keys, fold_address
from storage.domain.texts import former_match_key, match_key

BATCH = 1000


async def _compute_keys(apps, editor):
    """Compute the keys of contacts and of their addresses, a batch at a time."""
    client = editor.client
    names = "email_key", "name_key", "company_key", "owner_key", "tags_key"
    last = 0
    while rows := await client.execute_query_dict(
        f"SELECT id, email, name, company, owner, tags, {', '.join(names)} FROM contacts"
        f" WHERE id > {last} ORDER BY id LIMIT {BATCH}"
    ):
        last = rows[-1]["id"]
        for row in rows:
            keys = contact_keys({**row, "tags": json.loads(row["tags"])})
            changed = [name for name in names if keys[name] != row[name]]
            if changed:
                columns = ", ".join(f"{name} = {_bind(editor, n)}" for n, name in enumerate(changed, start=1))
                await client.execute_query(
                    f"UPDATE contacts SET {columns} WHERE id = {row['id']}", [keys[name] for name in changed]
                )
    last = 0
    while rows := await client.execute_query_dict(
        f"SELECT id, workspace_id, value FROM identities WHERE namespace = '' AND id > {last} ORDER BY id LIMIT {BATCH}"
    ):
        last = rows[-1]["id"]
        for row in rows:
            if (key := fold_address(row["value"])) != row["value"]:
                await client.execute_query(
                    f"UPDATE identities SET value = {_bind(editor, 1)} WHERE id = {row['id']} AND NOT EXISTS"
                    f" (SELECT 1 FROM identities o WHERE o.workspace_id = {row['workspace_id']} AND o.namespace = ''"
                    f" AND o.value = {_bind(editor, 2)})",
                    [key, key],
                )
    activities = await client.execute_query_dict("SELECT DISTINCT activity FROM facts WHERE kind = 'activity'")
    if any(match_key(row["activity"]) != former_match_key(row["activity"]) for row in activities):
        await client.execute_query("UPDATE definitions SET to_fold = true WHERE rules <> '[]'")


def _bind(editor, number):
    return f"${number}" if editor.DIALECT == "postgres" else "?"


class Migration(migrations.Migration):
    dependencies = [("storage", "0009_named_contacts")]

    operations = [
        ops.RunPython(_compute_keys, reverse_code=ops.RunPython.noop),
        ops.RunSQL(
            ["""UPDATE definitions SET to_fold = true WHERE replace(rules, '"if": ""', '') LIKE '%"if": "%'"""],
            reverse_sql=[],
        ),
    ]
