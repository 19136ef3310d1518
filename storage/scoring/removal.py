"""Remove a score type, and add it again.

The facts of a removed type stay in the ledger; its scores are deleted. Adding a type with the same key calculates them
from these facts.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from storage.alerts import rules as alert_rules
from storage.audit import AuditAction, record_change
from storage.db import database, models
from storage.db.database import Session
from storage.domain.errors import Refusal, UnknownScoreType
from storage.domain.followups import FollowUpState
from storage.domain.people import Workspace
from storage.domain.score_types import Band, ScoreType, check_definition, check_key
from storage.jobs import enqueue
from storage.reading.segments import is_readable, load_segments
from storage.scoring import definitions, draft_jobs, drafts

_CLOSED = (FollowUpState.DONE.value, FollowUpState.CLOSED.value)


class TypeInUse(Refusal):
    """That score type is in use."""

    def __init__(self, key: str, uses: Sequence[str]) -> None:
        super().__init__(f"`{key}` is in use, so it was not removed. Change or remove first: {'; '.join(uses)}")
        self.uses = tuple(uses)


async def remove_score_type(
    workspace: Workspace, *, key: str, by: str, clock: Callable[[], int], patience: float | None = None
) -> ScoreType:
    """Remove a score type and return it. A job deletes its scores; its facts and its earlier versions stay.

    The job runs in this process, for at most *patience* seconds. Raises UnknownScoreType, and TypeInUse with the list
    of what uses the type.
    """

    async def body(session: Session) -> ScoreType:
        await definitions.lock_names(session, workspace)
        await definitions.lock_exclusively(session, workspace)
        types = (await definitions.live(session, {workspace.id}))[workspace.id]
        if key not in types:
            raise UnknownScoreType(key, known=tuple(types))
        if uses := await _list_uses(session, workspace, types[key], types.values()):
            raise TypeInUse(key, uses)
        await definitions.retire(session, types[key])
        await record_change(
            session, workspace, who=by, what=AuditAction.TYPE_REMOVED, subject=key,
            before=definitions.describe_type(types[key]), after=None, now=clock(),
        )  # fmt: skip  # who and what, then the states
        await enqueue(session, [draft_jobs.make_deletion_job(workspace, types[key], now=clock())], now=clock())
        return types[key]

    removed = await database.write(body)
    await drafts.delete_scores(workspace, definition=removed, clock=clock, patience=patience)
    return removed


async def _list_uses(
    session: Session, workspace: Workspace, score_type: ScoreType, types: Collection[ScoreType]
) -> list[str]:
    """Return what uses a score type, in words."""
    key = score_type.key
    saved = await load_segments(session, workspace)
    uses = ["it is the default score type (make another one the default)"] if score_type.is_default else []
    pending = (await definitions.live_and_drafts(session, {workspace.id}))[1].get(workspace.id, ())
    uses += ["a change of it that is not applied yet"] if key in {draft.key for draft in pending} else []
    for rule in (await alert_rules.load_rules(session, [workspace.id])).get(workspace.id, []):
        if rule.score == key or _uses_type(rule.condition, key, types, saved):
            uses.append(f"alert rule {rule.id}")
    uses += [f"the segment `{name}`" for name, text in saved.items() if _uses_type(text, key, types, saved)]
    for row in await session.load(models.Source.filter(workspace_id=workspace.id), "slug", "settings"):
        settings = json.loads(row["settings"])
        mapped = [name for name, mapped_key in settings["map"].items() if mapped_key == key]
        uses += [f"the source `{row['slug']}`, which maps {', '.join(mapped)} to it"] if mapped else []
        uses += [f"the source `{row['slug']}`, which it is written to"] if key in settings.get("write_back", ()) else []
    (waiting,) = await session.rows(
        "SELECT count(*) AS number FROM follow_ups WHERE workspace_id = $1 AND score = $2 AND state NOT IN ($3, $4)",
        workspace.id,
        key,
        *_CLOSED,
    )
    if waiting["number"]:
        uses.append(f"{waiting['number']:,} open follow-up{'' if waiting['number'] == 1 else 's'}")
    return uses


def _uses_type(text: str, key: str, types: Collection[ScoreType], saved: Mapping[str, str]) -> bool:
    """Return whether a filter can be parsed with a score type, and not without it."""
    others = [score_type for score_type in types if score_type.key != key]
    return is_readable(text, list(types), saved) and not is_readable(text, others, saved)


async def is_removed(workspace: Workspace, *, key: str) -> bool:
    """Return whether a workspace has removed a score type with this key and has not added it again."""
    return await definitions.find_removed(database.current_database().reader, workspace, key) is not None


async def add_again(
    workspace: Workspace,
    *,
    key: str,
    label: str,
    minimum: int,
    maximum: int,
    step: int,
    bands: Sequence[Band],
    start: int | None,
    half_life: int | None = None,
    is_default: bool,
    by: str,
    clock: Callable[[], int],
    patience: float | None = None,
) -> ScoreType | None:
    """Add a score type that was removed, and calculate its scores from its facts. Return it once it is live.

    A job calculates the scores, and the type is live when all are calculated. The job runs in this process; return None
    if *patience* seconds were not enough, in which case the service continues the job and the type does not become the
    default. Raises BadName, BadDefinition, UnknownScoreType if no such type was removed.
    """
    check_key(key)
    start = check_definition(
        label=label, minimum=minimum, maximum=maximum, step=step, start=start, bands=bands, half_life=half_life
    )

    async def body(session: Session) -> ScoreType:
        await definitions.lock_names(session, workspace)
        await definitions.lock_exclusively(session, workspace)
        row = await definitions.find_removed(session, workspace, key)
        if row is None:
            raise UnknownScoreType(key)
        wanted = ScoreType(
            id=row, definition=0, number=0, key=key, label=label.strip(), minimum=minimum, maximum=maximum, step=step,
            start=start, bands=tuple(bands), half_life=half_life,
        )  # fmt: skip  # the values of one definition together
        draft = await definitions.insert_draft(session, wanted, wanted, by=by, now=clock())
        await enqueue(session, [draft_jobs.make_apply_job(workspace, draft, now=clock())], now=clock())
        return draft

    draft = await database.write(body)
    if not await drafts.finish(workspace, draft=draft, clock=clock, patience=patience):
        return None
    added = await definitions.score_type(workspace, key=key)
    if is_default:
        await drafts.create_draft(workspace, proposed=replace(added, is_default=True), by=by, now=clock())
    return replace(added, is_default=is_default)
