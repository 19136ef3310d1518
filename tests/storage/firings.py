"""List when rules fired: a rule that fires opens a follow-up, or joins the unfinished one of the contact and place."""

from storage.alerts.followups import list_steps, load_follow_ups
from storage.domain.people import Workspace


async def list_firings(workspace: Workspace) -> list[tuple[int, int, int]]:
    """Return the rule, the contact and the time of each firing, sorted."""
    firings = [
        (int(step.detail or follow_up.rule), follow_up.contact, step.at)
        for follow_up in await load_follow_ups(workspace, ids=range(1, 5_000))
        for step in await list_steps(workspace, id=follow_up.id)
        if step.move in ("asked", "joined")
    ]
    return sorted(firings)
