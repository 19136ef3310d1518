"""Handle the jobs of events that need only the database: publish them, and look for what no commit announces."""

from collections.abc import Callable, Mapping

from storage.domain.backoff import SECOND
from storage.domain.people import Workspace
from storage.events.deliveries import wake_slots
from storage.events.outbox import PUBLISH
from storage.events.publish import publish_events
from storage.events.segment_events import sweep_segments
from storage.job_runner import Handler, JobResult
from storage.jobs import Job, list_due_in_lane
from storage.sources.subscriptions import watched_segments

SWEEP_EVENTS = "sweep_events"  #: the kind and the lane of the job that runs every SWEEP_EVERY
SWEEP_EVERY = 900 * SECOND


def make_event_handlers(clock: Callable[[], int]) -> Mapping[str, Handler]:
    """Return the handlers, by the kind of their jobs."""

    async def publish(workspace: Workspace, _: Job) -> JobResult:
        """Publish the events of the outbox. The jobs that were due before have nothing left to do."""
        now = clock()
        due = await list_due_in_lane(workspace, lane=PUBLISH, kind=PUBLISH, now=now)
        await publish_events(workspace, now=now)
        return JobResult(also_done=due)

    async def sweep(workspace: Workspace, _: Job) -> JobResult:
        """Look for segments that time alone changed and for events that no job sends, and again in 15 minutes."""
        now = clock()
        if names := await watched_segments(workspace):
            await sweep_segments(workspace, names=names, now=now)
        await wake_slots(workspace, now=now)
        return JobResult(repeat_at=now + SWEEP_EVERY)

    return {PUBLISH: publish, SWEEP_EVENTS: sweep}
