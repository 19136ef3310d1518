"""Mark the contacts that are gone: all facts about them are undone, so that lists and exports leave them out."""

from collections import defaultdict

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

from storage.domain.facts import Undo, undone_batches

BATCH = 1000


async def _mark_gone(apps, editor):
    """Mark the contacts of which no fact is in force, a batch of contacts at a time."""
    client = editor.client
    undos = defaultdict(list)
    for row in await client.execute_query_dict("SELECT workspace_id, batch, undoes FROM facts WHERE kind = 'undo'"):
        undo = Undo(source="", key="", occurred_at=0, batch=row["batch"], undoes=row["undoes"])
        undos[row["workspace_id"]].append(undo)
    undone = {(workspace, batch) for workspace in undos for batch in undone_batches(undos[workspace])}
    last = 0
    while undone:
        contacts = await client.execute_query_dict(f"SELECT id FROM contacts WHERE id > {last} ORDER BY id LIMIT {BATCH}")
        if not contacts:
            return
        rows = await client.execute_query_dict(
            "SELECT DISTINCT c.id, c.workspace_id, f.batch FROM contacts c"
            " JOIN contacts m ON m.id = c.id OR m.merged_into = c.id"
            " JOIN facts f ON f.contact_id = m.id AND f.kind IN ('change', 'activity', 'fields')"
            f" WHERE c.id > {last} AND c.id <= {contacts[-1]['id']} AND c.merged_into IS NULL"
        )
        last = contacts[-1]["id"]
        in_force = {row["id"] for row in rows if (row["workspace_id"], row["batch"]) not in undone}
        gone = sorted({row["id"] for row in rows} - in_force)
        if gone:
            ids = ", ".join(map(str, gone))
            await client.execute_query(f"UPDATE contacts SET is_gone = true WHERE id IN ({ids})")


class Migration(migrations.Migration):
    dependencies = [("storage", "0015_asking_newcomers")]

    operations = [
        ops.AddField(model_name="Contact", name="is_gone", field=fields.BooleanField(db_default=False)),
        ops.RunPython(_mark_gone, reverse_code=ops.RunPython.noop),
    ]
