"""Decide which contacts are gone: facts made them, and all of these facts are undone.

Lists, searches, counts and exports leave a contact out that is gone. It comes back with the next fact about it, or when
the undo is undone. A contact without any fact is not gone.
"""

from collections.abc import Sequence

from storage.db.database import Session
from storage.domain.facts import Deleted
from storage.ledger.batches import find_gone_contacts
from storage.ledger.plan import Plan


async def save_existence(session: Session, plans: Sequence[Plan]) -> None:
    """Save whether the contacts of plans are gone. The contacts must be locked, and the plans' facts appended.

    An ordinary write to contacts that are not gone costs no statement.
    """
    is_gone: dict[int, bool] = {}
    for plan in plans:
        written = {new.contact for new in plan.new_facts if not isinstance(new.fact, Deleted)}
        if not plan.is_undone:
            is_gone |= dict.fromkeys(written & plan.gone_contacts, False)
        unsure = {*plan.undone_contacts, *plan.regrouped_contacts, *(written if plan.is_undone else ())}
        if unsure:
            gone = await find_gone_contacts(session, plan.workspace.id, unsure)
            is_gone |= {contact: contact in gone for contact in unsure}
    if is_gone:
        await session.rows(
            "UPDATE contacts SET is_gone = given.gone FROM given(id bigint, gone boolean)"
            " WHERE contacts.id = given.id AND contacts.is_gone <> given.gone",
            [{"id": contact, "gone": gone} for contact, gone in sorted(is_gone.items())],
        )
