"""Load the fields of merged contacts, folded from the facts of their rows."""

from collections.abc import Collection

from storage.db.database import Session
from storage.domain.facts import rank_merged_rows
from storage.domain.fold import fold_merged_fields
from storage.ledger import contact_fields, contacts, facts
from storage.ledger.batches import load_undone_batches
from storage.ledger.links import load_links


async def load_merged_fields(
    session: Session, workspace: int, ids: Collection[int]
) -> dict[int, contact_fields.Fields]:
    """Return the fields of the contacts among these that have merged rows. The row merged into takes precedence."""
    merged = await contacts.load_merged(session, ids) if ids else {}
    if not merged:
        return {}
    rows = {row for members in merged.values() for row in members}
    ranks = rank_merged_rows(rows, await load_links(session, workspace, rows))
    facts_of = await facts.load_row_field_facts(session, rows)
    undone = await load_undone_batches(session, workspace, {fact.batch for row in facts_of.values() for fact in row})
    in_force = {row: [fact for fact in row_facts if fact.batch not in undone] for row, row_facts in facts_of.items()}
    return {
        contact: fold_merged_fields(
            {row: in_force.get(row, []) for row in members},
            {row: ranks[row] for row in members},
            {row: email for row, email in members.items() if email is not None},
        )
        for contact, members in merged.items()
    }
