"""Store the projection of the ledger: the state of each score, and its effects."""

import json
from collections.abc import Collection, Mapping
from zlib import crc32

from storage.db.database import Row, Session
from storage.domain.facts import Fact
from storage.domain.fold import Effect, ScoreState, is_rank_enough
from storage.domain.rules import Spent
from storage.domain.score_types import ScoreType
from storage.ledger.facts import ScoreId

#: orders effects `e` with their facts `g` newest first: the reverse of the fold order
NEWEST_FIRST = (
    'ORDER BY e.at DESC, g.source COLLATE "C" DESC, g.dedupe_key COLLATE "C" DESC, g.subject COLLATE "C" DESC'
)

#: about one effect in so many stores the state of its score, if the rank alone does not determine the state
SNAPSHOT_EVERY = 16

_SCORE_COLUMNS = {
    "workspace_id": "bigint", "contact_id": "bigint", "definition_id": "bigint", "own": "bigint", "own_at": "bigint",
    "base": "bigint", "rank": "bigint", "spent": "text", "last_at": "bigint", "last_source": "text", "last_key": "text",
}  # fmt: skip  # a column a line would hide their order
_EFFECT_COLUMNS = {
    "workspace_id": "bigint", "contact_id": "bigint", "definition_id": "bigint", "fact_id": "bigint", "at": "bigint",
    "asked": "bigint", "effective": "bigint", "rank_after": "bigint", "rule": "text", "capped": "bigint",
    "snapshot": "text",
}  # fmt: skip  # a column a line would hide their order


async def load_states(session: Session, definition_of: Mapping[ScoreId, int]) -> dict[ScoreId, ScoreState]:
    """Return the stored states of scores. *definition_of*: score → row id of the definition to look under.

    Scores without a row are left out.
    """
    if not definition_of:
        return {}
    rows = await session.rows(
        "SELECT given.subject, k.contact_id, k.own, k.own_at, k.base, k.rank, k.spent,"
        " k.last_at, k.last_source, k.last_key"
        " FROM given(contact bigint, definition bigint, subject text)"
        " JOIN scores k ON k.contact_id = given.contact AND k.definition_id = given.definition",
        [
            {"contact": contact, "definition": definition, "subject": subject}
            for (contact, subject), definition in definition_of.items()
        ],
    )
    return {
        (row["contact_id"], row["subject"]): ScoreState(
            own=row["own"],
            at=row["own_at"],
            base=row["base"],
            rank=row["rank"],
            spent=_parse_spent(json.loads(row["spent"] or "{}")),
            last=(row["last_at"], row["last_source"].encode(), row["last_key"].encode()),
        )
        for row in rows
    }


async def save_projection(
    session: Session,
    *,
    states: Mapping[ScoreId, ScoreState],
    effects: Mapping[ScoreId, Mapping[int, tuple[Fact, Effect]]],
    from_ledger: Collection[ScoreId],
    types: Mapping[ScoreId, ScoreType],
    workspaces: Mapping[ScoreId, int],
    replaced: Mapping[ScoreId, Collection[int]] | None = None,
    missing: Collection[ScoreId] = frozenset(),
) -> None:
    """Save the states and the effects of scores.

    For the scores in *from_ledger*, which were folded from the whole ledger, *effects* has all effects: stored effects
    of other facts are deleted. For all other scores, *effects* has the effects of new facts, and of the facts in
    *replaced*, which have stored effects already. The scores in *missing* have no row yet.
    """
    if not states:
        return
    await _save_effects(
        session, effects, from_ledger=from_ledger, types=types, workspaces=workspaces, replaced=replaced or {}
    )
    new_rows, rows = list[tuple[object, ...]](), list[tuple[object, ...]]()
    for score_id in sorted(states):
        row = _make_row(score_id, states[score_id], types[score_id], workspaces[score_id])
        (new_rows if score_id in missing else rows).append(row)
    if new_rows:
        await session.insert("scores", tuple(_SCORE_COLUMNS), new_rows)
    if rows:
        await session.rows(
            f"INSERT INTO scores ({', '.join(_SCORE_COLUMNS)}) SELECT {', '.join(_SCORE_COLUMNS)}"
            f" FROM given({_list_types(_SCORE_COLUMNS)})"
            " WHERE true ON CONFLICT (contact_id, definition_id) DO UPDATE"
            " SET own = excluded.own, own_at = excluded.own_at, base = excluded.base, rank = excluded.rank,"
            " spent = excluded.spent, last_at = excluded.last_at, last_source = excluded.last_source,"
            " last_key = excluded.last_key",
            [dict(zip(_SCORE_COLUMNS, row, strict=True)) for row in rows],
        )


async def _save_effects(
    session: Session,
    effects: Mapping[ScoreId, Mapping[int, tuple[Fact, Effect]]],
    *,
    from_ledger: Collection[ScoreId],
    types: Mapping[ScoreId, ScoreType],
    workspaces: Mapping[ScoreId, int],
    replaced: Mapping[ScoreId, Collection[int]],
) -> None:
    """Insert, update and delete effects; see `save_projection`. Effects that are stored unchanged are left alone."""
    stored = await _load_effects(session, {score_id: types[score_id].definition for score_id in from_ledger})
    new_rows, rows, deleted = list[tuple[object, ...]](), list[tuple[object, ...]](), list[Row]()
    for score_id in sorted(effects):
        before, definition, workspace = stored.get(score_id, {}), types[score_id].definition, workspaces[score_id]
        deleted += [{"fact": id, "definition": definition} for id in sorted(before.keys() - effects[score_id].keys())]
        for id, (fact, effect) in sorted(effects[score_id].items()):
            snapshot = make_snapshot(id, effect, types[score_id])
            if before.get(id) != (effect, snapshot):
                row = (
                    workspace, score_id[0], definition, id, fact.occurred_at,
                    effect.asked, effect.effective, effect.rank_after, effect.rule, effect.capped, snapshot,
                )  # fmt: skip  # in the lines of _EFFECT_COLUMNS
                is_stored = id in before or id in replaced.get(score_id, ())
                (rows if is_stored else new_rows).append(row)
    if deleted:
        await session.rows(
            "DELETE FROM effects WHERE (fact_id, definition_id) IN"
            " (SELECT fact, definition FROM given(fact bigint, definition bigint))",
            deleted,
        )
    if new_rows:
        await session.insert("effects", tuple(_EFFECT_COLUMNS), new_rows)
    if rows:
        await session.rows(
            "UPDATE effects SET asked = given.asked, effective = given.effective, rank_after = given.rank_after,"
            " rule = given.rule, capped = given.capped, snapshot = given.snapshot"
            f" FROM given({_list_types(_EFFECT_COLUMNS)})"
            " WHERE effects.fact_id = given.fact_id AND effects.definition_id = given.definition_id",
            [dict(zip(_EFFECT_COLUMNS, row, strict=True)) for row in rows],
        )


def _list_types(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {type}" for name, type in columns.items())


async def delete_projection(session: Session, ids: Collection[int]) -> None:
    """Delete all scores and effects of contacts, under every definition."""
    for table in ("effects", "scores"):
        await session.rows(
            f"DELETE FROM {table} WHERE contact_id IN (SELECT id FROM given(id bigint))",
            [{"id": id} for id in sorted(ids)],
        )


def _make_row(score_id: ScoreId, state: ScoreState, score_type: ScoreType, workspace: int) -> tuple[object, ...]:
    """Return the values of a score's row, in the order of _SCORE_COLUMNS."""
    at, source, key = state.last
    spent = _dump(state.spent) if state.spent else None
    return (
        workspace, score_id[0], score_type.definition, state.own, state.at, state.base, state.rank, spent,
        at, source.decode(), key.decode(),
    )  # fmt: skip  # in the lines of _SCORE_COLUMNS


async def _load_effects(
    session: Session, definition_of: Mapping[ScoreId, int]
) -> dict[ScoreId, dict[int, tuple[Effect, str | None]]]:
    """Return the stored effects of scores by id of the fact, each with its snapshot."""
    if not definition_of:
        return {}
    rows = await session.rows(
        "SELECT given.subject, e.contact_id, e.fact_id, e.asked, e.effective, e.rank_after, e.rule, e.capped,"
        " e.snapshot FROM given(contact bigint, definition bigint, subject text)"
        " JOIN effects e ON e.contact_id = given.contact AND e.definition_id = given.definition",
        [
            {"contact": contact, "definition": definition, "subject": subject}
            for (contact, subject), definition in definition_of.items()
        ],
    )
    by_score: dict[ScoreId, dict[int, tuple[Effect, str | None]]] = {}
    for row in rows:
        effect = (parse_effect(row), row["snapshot"])
        by_score.setdefault((row["contact_id"], row["subject"]), {})[row["fact_id"]] = effect
    return by_score


def parse_effect(row: Row) -> Effect:
    """Build an effect from its row."""
    return Effect(**{name: row[name] for name in ("asked", "effective", "rank_after", "capped", "rule")})


def has_snapshot(fact_id: int, score_type: ScoreType) -> bool:
    """Return whether the effect of a fact is stored with a snapshot of the state of the score after it.

    A hash of the id decides: the ids of a contact's facts may be regular, for example all odd.
    """
    return not is_rank_enough(score_type) and crc32(fact_id.to_bytes(8)) % SNAPSHOT_EVERY == 0


def make_snapshot(fact_id: int, effect: Effect, score_type: ScoreType) -> str | None:
    """Return the snapshot to store with the effect of a fact, or None if it is stored without one."""
    return dump_state(effect) if has_snapshot(fact_id, score_type) else None


def dump_state(effect: Effect) -> str:
    """Return the snapshot of the state after an effect, without what the effect and its fact contain already."""
    assert effect.after is not None
    return _dump({"own": effect.after.own, "base": effect.after.base, "spent": effect.after.spent})


def parse_snapshot(snapshot: str, effect: Effect, fact: Fact) -> ScoreState:
    """Return the state after a fact, from the snapshot of its effect."""
    values = json.loads(snapshot)
    return ScoreState(
        own=values["own"], at=fact.occurred_at, base=values["base"], rank=effect.rank_after,
        spent=_parse_spent(values["spent"]), last=fact.order,
    )  # fmt: skip  # the columns of a score in their order


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _parse_spent(spent: Mapping[str, tuple[int, int]]) -> Spent:
    return {name: (began, used) for name, (began, used) in spent.items()}
