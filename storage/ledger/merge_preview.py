"""Preview a merge of two contacts: record it in a transaction that is rolled back."""

from dataclasses import dataclass

from storage.db.database import Session
from storage.domain.contacts import Contact
from storage.domain.errors import UnknownContact
from storage.domain.facts import Merge
from storage.domain.people import Workspace
from storage.domain.submissions import Recorded, ScoreChanged, Submission
from storage.ledger import contacts
from storage.ledger.committer import rehearse


@dataclass(frozen=True, slots=True, kw_only=True)
class MergePreview:
    """The contact that a merge would leave, and its scores."""

    contact: Contact
    scores: tuple[ScoreChanged, ...]  #: `after` is the score of the merged contact


async def preview_merge(workspace: Workspace, *, contact: int, into: int, now: int) -> MergePreview:
    """Return what a merge of *contact* into another contact would leave. Nothing is changed.

    Raises UnknownContact if one of them does not exist.
    """
    submission = Submission(
        source="slack", batch=f"merge/{now}", received_at=now, items=[Merge(key="preview", contact=contact, into=into)],
        all_or_none=True, creates=False, muted=True,
    )  # fmt: skip  # arguments grouped: the request, then how it is recorded

    async def read_preview(session: Session, recorded: Recorded) -> MergePreview:
        for merged in await contacts.load_contacts(session, workspace, ids=[into, contact]):
            return MergePreview(contact=merged, scores=recorded.score_changes)
        raise UnknownContact

    return await rehearse(workspace, submission, look=read_preview, now=now)
