"""Queue the messages that tell the makers of alert rules what somebody else changed about their rules.

The message is written from the entry in the record of changes, by the job that sends it.
"""

from collections.abc import Collection

from storage.db.database import Session
from storage.domain.people import Workspace
from storage.jobs import NewJob, enqueue

TELL_MAKER = "tell_maker"  #: the kind of the job; its subject is the entry, its key `entry/reader`


async def enqueue_maker_notices(
    session: Session, workspace: Workspace, makers: Collection[str | None], *, entry: int, by: str, now: int
) -> None:
    """Queue a message to each maker about a recorded change, except to *by*, who made the change."""
    people = {maker for maker in makers if maker is not None and maker != by}
    await enqueue(
        session,
        [
            NewJob(
                workspace=workspace.id, kind=TELL_MAKER, lane=maker, key=f"{entry}/{maker}", subject=entry, due_at=now
            )
            for maker in sorted(people)
        ],
        now=now,
    )


def get_reader(key: str) -> str:
    """Return the reader in the key of a job."""
    return key.partition("/")[2]
