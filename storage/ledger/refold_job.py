"""Recalculate the contacts marked by the undo of a large batch, in slices."""

from collections.abc import Callable

from storage.domain.people import Workspace
from storage.domain.submissions import Recorded
from storage.job_runner import Handler, JobResult, run_here
from storage.jobs import Job
from storage.ledger import refold
from storage.ledger.committer import record

SLICE = 100  #: contacts in one transaction


async def refold_pending(
    workspace: Workspace,
    *,
    undo: str,
    on_slice: Callable[[Recorded], None],
    clock: Callable[[], int],
) -> None:
    """Recalculate the contacts marked by an undo, in a job of this process.

    *on_slice* is called with the result of each slice.
    """
    handler = make_refold_handler(clock, on_slice=on_slice)
    await run_here(
        workspace, job=refold.make_refold_job(workspace, undo=undo, now=clock()), handler=handler, clock=clock
    )


def make_refold_handler(clock: Callable[[], int], *, on_slice: Callable[[Recorded], None] = lambda _: None) -> Handler:
    """Return the handler that recalculates the next contacts marked by an undo."""

    async def refold_slice(workspace: Workspace, job: Job) -> JobResult:
        ids = await refold.list_marked(workspace, undo=job.key, most=SLICE)
        if not ids:
            return JobResult()
        now = clock()
        on_slice(await record(workspace, refold.make_refolding(undo=job.key, contacts=ids, now=now), now=now))
        return JobResult(next_position=ids[-1])

    return refold_slice
