"""Recalculate in place the scores that an older version of the app calculated differently."""

from collections.abc import Collection, Sequence

from storage.alerts import rules as alert_rules
from storage.db import database
from storage.db.database import Session
from storage.domain.people import Workspace
from storage.domain.rules import compile_rules
from storage.domain.score_types import ScoreType
from storage.scoring import definitions
from storage.scoring.draft_jobs import restart_enrollment
from storage.scoring.draft_scores import fold_contacts, load_next_ids, run_in_transaction
from storage.workspaces import all_workspaces


async def fold_again(*, now: int) -> int:
    """Recalculate the scores of definitions that a migration marked, also of drafts. Return the number of contacts.

    No follow-up is opened: contacts inside a rule's region are enrolled. Correct scores stay unchanged, so that the
    work can be repeated after an interruption.
    """
    marked, done = await definitions.load_marked(database.current_database().reader), 0
    for workspace in await all_workspaces() if marked else ():
        live, drafts = await definitions.live_and_drafts(database.current_database().reader, {workspace.id})
        types, drafts_of_workspace = live[workspace.id].values(), drafts.get(workspace.id, ())
        for definition in (*types, *drafts_of_workspace):
            if definition.definition in marked:
                done += await _fold_marked(workspace, definition, built=True)
        for definition in types:
            if definition.definition in marked and compile_rules(definition.rules).holds_from_first_fact:
                done += await _fold_marked(workspace, definition, built=False)
        await _enroll_marked(workspace, types, marked, now=now)
    await definitions.clear_marks(database.current_database().writer, marked)
    return done


async def _fold_marked(workspace: Workspace, definition: ScoreType, *, built: bool) -> int:
    async def body(session: Session, ids: Sequence[int]) -> None:
        await fold_contacts(session, workspace, definition, ids)

    last_id = done = 0
    while ids := await load_next_ids(
        database.current_database().reader, workspace, definition, after=last_id, built=built
    ):
        await run_in_transaction(body, ids)
        last_id, done = ids[-1], done + len(ids)
    return done


async def _enroll_marked(
    workspace: Workspace, types: Collection[ScoreType], marked: Collection[int], *, now: int
) -> None:
    """Enroll contacts again in the rules that watch a recalculated definition."""

    async def body(session: Session) -> None:
        rules = (await alert_rules.load_rules(session, [workspace.id])).get(workspace.id, [])
        watches = {rule.id: rule.watch(types) for rule in rules}
        changed = [id for id, watch in watches.items() if watch and watch.score_type.definition in marked]
        await restart_enrollment(session, workspace, changed, now=now)

    await database.write(body)
