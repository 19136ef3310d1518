"""Split an id of a source from a contact: the facts that named the id move to a new contact. Preview it first."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from storage.db import database
from storage.db.database import Session
from storage.domain.contacts import Contact, Reference
from storage.domain.facts import Split
from storage.domain.people import Workspace
from storage.domain.submissions import Recorded, ScoreChanged, Submission
from storage.ledger import contacts, facts
from storage.ledger.committer import record, rehearse
from storage.ledger.identities import load_contacts_of_identities


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitResult:
    """What a split did, or would do.

    A fact moves if it named the id, alone or beside an address. A fact that named the contact by an address, by another
    id or by hand stays. What facts of earlier versions named is not known: they move if the id was the only one of its
    source that the contact had when this version was installed.
    """

    contact: int  #: the contact that the id left
    new_contact: int  #: the contact that has the id now; in a preview an id that is not used yet
    contacts: tuple[Contact, ...]  #: both contacts after the split, in this order
    moved: int  #: the number of facts that moved: changes, activities and field values, undone or not
    stayed: int  #: the number of facts that stayed with the contact
    stayed_of_source: int  #: how many of these the source of the id sent
    scores: tuple[ScoreChanged, ...]  #: the scores of both contacts, before and after


async def preview_split(workspace: Workspace, *, contact: int, id: Reference, now: int) -> SplitResult:
    """Return what a split would do. Nothing is changed. Raises the same as `split_contact`."""
    submission = _make_submission(contact, id, actor="", batch=f"split/{now}", now=now)
    return await rehearse(workspace, submission, look=_make_reader(workspace, contact, id), now=now)


async def split_contact(
    workspace: Workspace, *, contact: int, id: Reference, actor: str, batch: str, now: int
) -> SplitResult:
    """Split *id* from a contact. Return what was done; an undo of *batch* takes it back.

    No follow-up is opened; open follow-ups stay with *contact*. Raises UnknownContact, and CannotSplit if the contact
    does not have the id or has nothing else that identifies it.
    """
    recorded = await record(workspace, _make_submission(contact, id, actor=actor, batch=batch, now=now), now=now)
    return await _make_reader(workspace, contact, id)(database.current_database().reader, recorded)


def _make_submission(contact: int, id: Reference, *, actor: str, batch: str, now: int) -> Submission:
    return Submission(
        source="slack", batch=batch, received_at=now, items=[Split(key=batch, contact=contact, id=id)],
        actor=actor, all_or_none=True, creates=False, muted=True,
    )  # fmt: skip  # arguments grouped: the request, then how it is recorded


def _make_reader(
    workspace: Workspace, contact: int, id: Reference
) -> Callable[[Session, Recorded], Awaitable[SplitResult]]:
    """Return a function that reads the result of a recorded split, also in the transaction of a preview."""
    ((source, key),) = id.identities()

    async def read_result(session: Session, recorded: Recorded) -> SplitResult:
        owner = await load_contacts_of_identities(session, [(workspace.id, source, key)])
        new_contact = owner[workspace.id, source, key]
        counts = await facts.count_facts(session, [contact, new_contact])
        stayed, by_source = counts[contact]
        after = await contacts.load_contacts(session, workspace, ids=[contact, new_contact])
        return SplitResult(
            contact=contact, new_contact=new_contact, contacts=tuple(after),
            moved=counts[new_contact][0], stayed=stayed, stayed_of_source=by_source.get(source, 0),
            scores=recorded.score_changes,
        )  # fmt: skip  # arguments grouped: contacts, facts, scores

    return read_result
