"""Load the ledgers of contacts, to fold the contacts to earlier instants."""

from collections.abc import Collection

from storage.db.database import Session
from storage.domain.contacts import EMAIL
from storage.domain.followups import WAITING
from storage.domain.past_contacts import ContactLedger
from storage.domain.people import Workspace
from storage.ledger import facts
from storage.ledger.batches import load_undos
from storage.ledger.links import load_linked_rows


async def load_contact_ledgers(
    session: Session, workspace: Workspace, contacts: Collection[int]
) -> dict[int, ContactLedger]:
    """Return everything that the ledger has about contacts of a workspace, by contact."""
    rows_of = await load_linked_rows(session, contacts)
    rows = {row for linked in rows_of.values() for row in linked}
    recorded = await facts.load_row_facts(session, rows)
    batches = {fact.fact.batch for row_facts in recorded.values() for fact in row_facts}
    undos = await load_undos(session, workspace.id, batches)
    email_rows = await session.rows(
        "SELECT c.id, c.first_email, i.value FROM given(id bigint) JOIN contacts c ON c.id = given.id"
        " LEFT JOIN identities i ON i.contact_id = c.id AND i.namespace = $2",
        [{"id": row} for row in sorted(rows)],
        EMAIL,
    )
    first_emails = {row["id"]: row["first_email"] for row in email_rows}
    addresses: dict[int, set[str]] = {row: set() for row in rows}
    for row in email_rows:
        if row["value"] is not None:
            addresses[row["id"]].add(row["value"])
    states = ", ".join(f"'{state.value}'" for state in WAITING)
    follow_up_rows = await session.rows(
        "SELECT given.id, f.state FROM given(id bigint) JOIN contacts m ON m.id = given.id OR m.merged_into = given.id"
        f" JOIN follow_ups f ON f.contact_id = m.id AND f.state IN ({states})",
        [{"id": contact} for contact in sorted(contacts)],
    )
    follow_ups: dict[int, list[str]] = {}
    for row in follow_up_rows:
        follow_ups.setdefault(row["id"], []).append(row["state"])
    return {
        contact: ContactLedger(
            contact=contact,
            first_emails={row: first_emails[row] for row in linked},
            addresses={row: addresses[row] for row in linked},
            facts=[fact for row in linked for fact in recorded[row]],
            undos=undos,
            follow_ups=tuple(follow_ups.get(contact, ())),
        )
        for contact, linked in rows_of.items()
    }
