"""Store and load the versions (definitions) of each workspace's score types."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from tortoise.expressions import F

from storage.audit import UNKNOWN, AuditAction, Document, record_change
from storage.db import database, models
from storage.db.database import Row, Session
from storage.domain.durations import write_span
from storage.domain.errors import AlreadyThere, UnknownScoreType
from storage.domain.numbers import to_json
from storage.domain.people import Workspace
from storage.domain.score_types import Band, Rule, RuleCap, ScoreType, check_definition, check_key

#: workspace id → key → live definition, with the default type first
Types: TypeAlias = Mapping[int, Mapping[str, ScoreType]]

_LIVE = """
SELECT w.id AS workspace_id, t.id, t.key, w.default_type, d.id AS definition, d.number, d.label,
       d.minimum, d.maximum, d.step, d.start, d.bands, d.half_life, d.rules, d.is_draft
  FROM workspaces w
  JOIN score_types t ON t.workspace_id = w.id
  JOIN definitions d ON d.score_type_id = t.id AND (d.number = t.live OR d.is_draft)
 WHERE w.id IN (SELECT id FROM given(id bigint))
 ORDER BY t.id
"""

_VERSION = """
SELECT t.id, t.key, w.default_type, d.id AS definition, d.number, d.label,
       d.minimum, d.maximum, d.step, d.start, d.bands, d.half_life, d.rules
  FROM workspaces w
  JOIN score_types t ON t.workspace_id = w.id
  JOIN definitions d ON d.score_type_id = t.id
 WHERE w.id = $1 AND t.key = $2 AND d.number = $3 AND NOT d.is_draft
"""


_REPLACED = """
SELECT t.id, t.key, w.default_type, d.id AS definition, d.number, d.label,
       d.minimum, d.maximum, d.step, d.start, d.bands, d.half_life, d.rules
  FROM definitions n
  JOIN definitions d ON d.id = n.replaces
  JOIN score_types t ON t.id = d.score_type_id
  JOIN workspaces w ON w.id = t.workspace_id
 WHERE n.id = $1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewcomerProgress:
    """How far follow-ups for newcomers were opened after a definition became live."""

    at: int  #: when it became live, in µs
    up_to: int  #: the last contact row that was looked at


async def score_types(workspace: Workspace) -> tuple[ScoreType, ...]:
    """Return the live definitions of a workspace, the default type first."""
    types = await live(database.current_database().reader, {workspace.id})
    return tuple(types[workspace.id].values())


async def score_type(workspace: Workspace, *, key: str | None) -> ScoreType:
    """Return the live definition with a key, or the default one if *key* is None. Raises UnknownScoreType."""
    types = await score_types(workspace)
    selected = next((candidate for candidate in types if key is None or candidate.key == key), None)
    if selected is None:
        raise UnknownScoreType(key or "", known=tuple(candidate.key for candidate in types))
    return selected


async def add_score_type(
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
    rules: Sequence[Rule] = (),
    is_default: bool,
    by: str,
    now: int,
) -> ScoreType:
    """Create a score type with its first definition and return it. Raises BadName, BadDefinition, AlreadyThere."""
    check_key(key)
    start = check_definition(
        label=label, minimum=minimum, maximum=maximum, step=step, start=start, bands=bands, half_life=half_life
    )

    async def body(session: Session) -> ScoreType:
        await insert_type(
            session, workspace, key=key, label=label.strip(), minimum=minimum, maximum=maximum, step=step,
            start=start, bands=bands, half_life=half_life, rules=rules, now=now,
        )  # fmt: skip  # the values of one definition together
        added = (await live(session, {workspace.id}))[workspace.id][key]
        await record_change(
            session, workspace, who=by, what=AuditAction.TYPE_ADDED, subject=key,
            before=None, after=describe_type(added), now=now,
        )  # fmt: skip  # who and what, then the states
        if is_default:
            await set_default(session, workspace, key=key, by=by, now=now)
            # No contact has a score of the new default type yet. What the default alert rule remembers is about the old
            # one.
            await session.rows(
                "UPDATE alert_memory SET pending_until = NULL WHERE pending_until IS NOT NULL"
                " AND rule_id IN (SELECT id FROM alert_rules WHERE workspace_id = $1 AND score IS NULL)",
                workspace.id,
            )
            default_rule = models.AlertRule.filter(workspace_id=workspace.id, score__isnull=True)
            await session.update(
                default_rule, enrollment=F("enrollment") + 1, enrolled_at=now, previous_enrolled_at=None
            )
        return replace(added, is_default=is_default)

    return await database.write(body)


async def set_default(session: Session, workspace: Workspace, *, key: str, by: str, now: int) -> None:
    """Make a score type the default one of its workspace."""
    (before,) = await session.rows("SELECT default_type FROM workspaces WHERE id = $1 FOR NO KEY UPDATE", workspace.id)
    await session.update(models.Workspace.filter(id=workspace.id), default_type=key)
    await record_change(
        session, workspace, who=by, what=AuditAction.DEFAULT_TYPE_SET, subject=key,
        before={"default": before["default_type"]}, after={"default": key}, now=now,
    )  # fmt: skip  # who and what, then the states


async def insert_type(
    session: Session,
    workspace: Workspace,
    *,
    key: str,
    label: str,
    minimum: int,
    maximum: int,
    step: int,
    start: int,
    bands: Sequence[Band],
    half_life: int | None = None,
    rules: Sequence[Rule] = (),
    now: int,
) -> None:
    """Insert a score type and its first definition. Raises AlreadyThere if a score type or a source has the key."""
    await lock_names(session, workspace)
    taken = await session.load(models.Source.filter(workspace_id=workspace.id, slug=key), "id")
    inserted = taken or await session.rows(
        "INSERT INTO score_types (workspace_id, key, live, created_at) VALUES ($1, $2, 1, $3)"
        " ON CONFLICT DO NOTHING RETURNING id",
        workspace.id,
        key,
        now,
    )
    if taken or not inserted:
        holder = "a source" if taken else "a score type"
        raise AlreadyThere(f"{holder} is called `{key}` already; choose another key")
    await session.rows(
        "INSERT INTO definitions"
        " (score_type_id, number, label, minimum, maximum, step, start, bands, half_life, created_at, rules,"
        " is_draft) VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, false)",
        inserted[0]["id"],
        label,
        minimum,
        maximum,
        step,
        start,
        _dump_bands(bands),
        half_life,
        now,
        _dump_rules(rules),
    )


async def lock_names(session: Session, workspace: Workspace) -> None:
    """Lock the names of a workspace's score types and sources until the transaction ends: they share one namespace."""
    await session.rows("SELECT id FROM workspaces WHERE id = $1 FOR NO KEY UPDATE", workspace.id)


#: SQL for the key of a workspace's advisory lock; schemas of one database share the keys, so the schema is part of it
_LOCK_KEY = "hashtextextended(current_schema() || '.definitions', id)"


async def lock_shared(session: Session, workspaces: Collection[int]) -> None:
    """Lock the definitions of workspaces against changes until the transaction ends. The lock is shared.

    Read the definitions in a later statement: the snapshot of this statement may be older than the lock.
    """
    if session.dialect == "postgres":
        await session.rows(
            f"SELECT pg_advisory_xact_lock_shared({_LOCK_KEY})"
            " FROM (SELECT id FROM given(id bigint) ORDER BY id) AS sorted",
            [{"id": id} for id in workspaces],
        )


async def lock_exclusively(session: Session, workspace: Workspace) -> None:
    """Lock the definitions of a workspace exclusively until the transaction ends; wait for shared locks."""
    if session.dialect == "postgres":
        await session.rows(f"SELECT pg_advisory_xact_lock({_LOCK_KEY}) FROM given(id bigint)", [{"id": workspace.id}])


async def live(session: Session, workspaces: Collection[int]) -> Types:
    """Return the live definitions of several workspaces."""
    return (await live_and_drafts(session, workspaces))[0]


async def live_and_drafts(
    session: Session, workspaces: Collection[int]
) -> tuple[Types, Mapping[int, Sequence[ScoreType]]]:
    """Return the live definitions of several workspaces, and their drafts by workspace id."""
    live_types: dict[int, dict[str, ScoreType]] = {id: {} for id in workspaces}
    drafts: dict[int, list[ScoreType]] = {}
    rows = await session.rows(_LIVE, [{"id": id} for id in workspaces])
    for row in sorted(rows, key=lambda row: (row["key"] != row["default_type"], row["id"], row["number"])):
        if row["is_draft"]:
            drafts.setdefault(row["workspace_id"], []).append(_build_score_type(row))
        else:
            live_types[row["workspace_id"]][row["key"]] = _build_score_type(row)
    return live_types, drafts


async def load_version(workspace: Workspace, *, score: str, number: int) -> ScoreType:
    """Return a version of a score type that is not a draft, live or not. Raises UnknownScoreType."""
    rows = await database.read(_VERSION, workspace.id, score, number)
    if not rows:
        raise UnknownScoreType(score)
    return _build_score_type(rows[0])


async def rename(
    session: Session, workspace: Workspace, live: ScoreType, *, label: str, bands: Sequence[Band], by: str, now: int
) -> None:
    """Update the label and the bands of a live definition in place. No score changes."""
    await session.update(models.Definition.filter(id=live.definition), label=label, bands=_dump_bands(bands))
    after = replace(live, label=label, bands=tuple(bands))
    if after != live:  # a new default type alone is recorded by itself
        await record_change(
            session, workspace, who=by, what=AuditAction.TYPE_CHANGED, subject=live.key,
            before=describe_type(live), after=describe_type(after), now=now,
        )  # fmt: skip  # who and what, then the states


async def retire(session: Session, removed: ScoreType) -> None:
    """Make a score type have no live version: it is removed. Its versions stay; newcomers are no longer asked for."""
    await session.update(models.ScoreType.filter(id=removed.id), live=0)
    await session.update(models.Definition.filter(id=removed.definition), asked_up_to=None)


async def find_removed(session: Session, workspace: Workspace, key: str) -> int | None:
    """Return the row id of a removed score type; None if there is none, or if it is being added again."""
    rows = await session.rows(
        "SELECT id FROM score_types t WHERE workspace_id = $1 AND key = $2 AND live = 0"
        " AND NOT EXISTS (SELECT 1 FROM definitions d WHERE d.score_type_id = t.id AND d.is_draft)",
        workspace.id,
        key,
    )
    return int(rows[0]["id"]) if rows else None


async def insert_draft(
    session: Session, live: ScoreType, proposed: ScoreType, *, by: str | None = None, now: int
) -> ScoreType:
    """Insert a draft: a new version of a score type that is not live yet. Return it with its row id and number.

    *by* is who applies it, if that is known already.
    """
    # Drafts of one type are inserted one at a time: concurrent transactions would compute the same number.
    await session.rows("SELECT id FROM score_types WHERE id = $1 FOR NO KEY UPDATE", live.id)
    rows = await session.rows(
        "INSERT INTO definitions (score_type_id, number, label, minimum, maximum, step, start, bands, half_life, rules,"
        " is_draft, created_at, applied_by)"
        " SELECT $1, max(number) + 1, $2, $3, $4, $5, $6, $7, $8, $9, true, $10, $11 FROM definitions"
        " WHERE score_type_id = $1 RETURNING id, number",
        live.id,
        proposed.label,
        proposed.minimum,
        proposed.maximum,
        proposed.step,
        proposed.start,
        _dump_bands(proposed.bands),
        proposed.half_life,
        _dump_rules(proposed.rules),
        now,
        by,
    )
    return replace(proposed, definition=rows[0]["id"], number=rows[0]["number"])


async def is_draft(session: Session, draft: ScoreType) -> bool:
    """Return whether a definition is still a draft."""
    return bool(await session.load(models.Definition.filter(id=draft.definition, is_draft=True), "id"))


async def record_applicant(workspace: Workspace, *, draft: ScoreType, by: str) -> None:
    """Record who applies a draft: the job that makes it live states it in the record of changes."""
    await database.change(
        "UPDATE definitions SET applied_by = $3 WHERE id = $2 AND is_draft AND score_type_id IN"
        " (SELECT id FROM score_types WHERE workspace_id = $1)",
        workspace.id,
        draft.definition,
        by,
    )


async def point_at_draft(
    session: Session, workspace: Workspace, draft: ScoreType, *, previous: ScoreType | None, now: int
) -> bool:
    """Make a draft the live version of its type. Return False if it is no longer a draft.

    *previous* is the live version until now, or None if the type was removed and is added again.
    """
    rows = await session.rows(
        "UPDATE definitions SET is_draft = false, applied_at = $2, replaces = $3 WHERE id = $1 AND is_draft"
        " RETURNING applied_by",
        draft.definition,
        now,
        None if previous is None else previous.definition,
    )
    if rows:
        await session.update(models.ScoreType.filter(id=draft.id), live=draft.number)
        await record_change(
            session, workspace, who=rows[0]["applied_by"] or UNKNOWN,
            what=AuditAction.TYPE_ADDED if previous is None else AuditAction.TYPE_CHANGED, subject=draft.key,
            before=None if previous is None else describe_type(previous), after=describe_type(draft), now=now,
        )  # fmt: skip  # who and what, then the states
    return bool(rows)


async def drafts(workspace: Workspace) -> tuple[ScoreType, ...]:
    """Return the drafts of a workspace's score types, the latest of a type last.

    The draft of a removed type that is being added again is left out: there is no live version to compare it with.
    """
    live_types, pending = await live_and_drafts(database.current_database().reader, {workspace.id})
    return tuple(draft for draft in pending.get(workspace.id, ()) if draft.key in live_types[workspace.id])


async def load_draft(workspace: Workspace, *, definition: int) -> ScoreType | None:
    """Return a draft by its row id, or None if there is no such draft."""
    _, pending = await live_and_drafts(database.current_database().reader, {workspace.id})
    return next((draft for draft in pending.get(workspace.id, ()) if draft.definition == definition), None)


async def is_in_use(session: Session, *, definition: int) -> bool:
    """Return whether a definition is live or a draft."""
    return bool(
        await session.rows(
            "SELECT d.id FROM definitions d JOIN score_types t ON t.id = d.score_type_id"
            " WHERE d.id = $1 AND (d.number = t.live OR d.is_draft)",
            definition,
        )
    )


async def is_applied(workspace: Workspace, *, definition: int) -> bool:
    """Return whether a definition is or was live."""
    rows = await database.read(
        "SELECT d.id FROM definitions d JOIN score_types t ON t.id = d.score_type_id"
        " WHERE t.workspace_id = $1 AND d.id = $2 AND (d.number = t.live OR d.applied_at IS NOT NULL)",
        workspace.id,
        definition,
    )
    return bool(rows)


async def load_replaced(session: Session, *, definition: int) -> ScoreType | None:
    """Return the definition that a definition replaced when it became live, or None if that is not known."""
    rows = await session.rows(_REPLACED, definition)
    return _build_score_type(rows[0]) if rows else None


async def begin_asking(session: Session, *, definition: int) -> None:
    """Record that follow-ups for newcomers are to be opened, because a definition became live."""
    await session.update(models.Definition.filter(id=definition), asked=0, asked_up_to=0)


async def lock_asking(session: Session, *, definition: int) -> NewcomerProgress | None:
    """Lock a definition, to open follow-ups for the next slice of contacts. Return None if no contacts are left."""
    rows = await session.rows(
        "SELECT applied_at, asked_up_to FROM definitions WHERE id = $1 AND asked_up_to IS NOT NULL FOR NO KEY UPDATE",
        definition,
    )
    return NewcomerProgress(at=rows[0]["applied_at"], up_to=rows[0]["asked_up_to"]) if rows else None


async def record_asked(session: Session, *, definition: int, up_to: int | None, count: int) -> None:
    """Record a slice that opened *count* follow-ups: newcomers were asked for up to a contact; None: all were."""
    await session.update(models.Definition.filter(id=definition), asked_up_to=up_to, asked=F("asked") + count)


async def count_asked(workspace: Workspace, *, definition: int) -> int | None:
    """Return how many follow-ups were opened for newcomers when a definition was applied; 0 if it asked for none.

    Return None while newcomers are still asked for.
    """
    rows = await database.read(
        "SELECT d.asked, d.asked_up_to FROM definitions d JOIN score_types t ON t.id = d.score_type_id"
        " WHERE t.workspace_id = $1 AND d.id = $2",
        workspace.id,
        definition,
    )
    if rows and rows[0]["asked_up_to"] is not None:
        return None
    return int(rows[0]["asked"] or 0) if rows else 0


async def drop_draft(session: Session, workspace: Workspace, *, draft: ScoreType) -> bool:
    """Detach a draft so that no further facts are projected into it.

    Return False if it was already detached or is live.
    """
    dropped = await session.rows(
        "UPDATE definitions SET is_draft = false WHERE id = $2 AND is_draft AND score_type_id IN"
        " (SELECT id FROM score_types WHERE workspace_id = $1) RETURNING id",
        workspace.id,
        draft.definition,
    )
    return bool(dropped)


async def delete(workspace: Workspace, *, definition: int) -> None:
    """Delete a definition that is not live. Its scores and effects must be deleted before."""
    await database.change(
        "DELETE FROM definitions WHERE id = $2 AND number <> (SELECT live FROM score_types t"
        " WHERE t.id = definitions.score_type_id AND t.workspace_id = $1)",
        workspace.id,
        definition,
    )


async def load_marked(session: Session) -> set[int]:
    """Return the ids of the definitions that a migration marked, because their scores must be recalculated."""
    return {row["id"] for row in await session.load(models.Definition.filter(to_fold=True), "id")}


async def clear_marks(session: Session, definitions: Collection[int]) -> None:
    """Remove the migration's mark from definitions after their scores are recalculated."""
    await session.rows(
        "UPDATE definitions SET to_fold = false WHERE id IN (SELECT id FROM given(id bigint))",
        [{"id": id} for id in sorted(definitions)],
    )


def describe_type(definition: ScoreType) -> Document:
    """Return a definition for the record of changes, with numbers as people write them."""
    return {
        "version": definition.number,
        "label": definition.label,
        "min": to_json(definition.minimum),
        "max": to_json(definition.maximum),
        "step": to_json(definition.step),
        "start": to_json(definition.start),
        "bands": [band.typed for band in definition.bands],
        "half_life": None if definition.half_life is None else write_span(definition.half_life),
        "rules": [_describe_rule(rule) for rule in definition.rules],
    }


def _describe_rule(rule: Rule) -> dict[str, object]:
    cap, document = rule.cap, _rule_to_json(rule)
    document |= {"points": to_json(rule.points)}
    document |= {"at_most": to_json(rule.at_most)} if rule.at_most is not None else {}
    return document | ({"cap": [to_json(cap.points), cap.period, cap.group]} if cap else {})


def _dump_bands(bands: Sequence[Band]) -> str:
    return json.dumps([[band.name, band.start, *([band.colour] if band.colour else [])] for band in bands])


def _dump_rules(rules: Sequence[Rule]) -> str:
    return json.dumps([_rule_to_json(rule) for rule in rules], ensure_ascii=False)


def _build_score_type(row: Row) -> ScoreType:
    names = ("id", "definition", "number", "key", "label", "minimum", "maximum", "step", "start", "half_life")
    bands = tuple(
        Band(name=name, start=start, colour=next(iter(colour), None))
        for name, start, *colour in json.loads(row["bands"])
    )
    rules = tuple(_build_rule(rule) for rule in json.loads(row["rules"]))
    is_default = row["key"] == row["default_type"]
    return ScoreType(**{name: row[name] for name in names}, bands=bands, rules=rules, is_default=is_default)


def _rule_to_json(rule: Rule) -> dict[str, object]:
    cap = rule.cap
    data = {"name": rule.name, "points": rule.points, "activity": rule.activity, "if": rule.condition}
    data |= {"for_each": rule.for_each, "at_most": rule.at_most} if rule.for_each else {}
    return data | ({"cap": [cap.points, cap.period, cap.group]} if cap else {})


def _build_rule(data: Mapping[str, Any]) -> Rule:
    cap = RuleCap(points=data["cap"][0], period=data["cap"][1], group=data["cap"][2]) if "cap" in data else None
    names = {"name": "name", "points": "points", "activity": "activity", "condition": "if"}
    slope = {"for_each": data.get("for_each", ""), "at_most": data.get("at_most")}
    return Rule(**{field: data[key] for field, key in names.items()}, **slope, cap=cap)
