"""Calculate the scores of a definition that is not live: contact by contact, and with every new fact."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence

from storage.db import database
from storage.db.database import Session
from storage.db.errors import StartAgain
from storage.domain.contacts import Json
from storage.domain.decay import shown
from storage.domain.facts import Fact
from storage.domain.fold import Effect, ScoreState, apply_fact, fold_ledger, is_relevant_to
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.ledger import contacts, facts, projection
from storage.ledger.batches import load_undone_batches
from storage.ledger.facts import ScoreId
from storage.ledger.late_facts import fold_late_facts
from storage.ledger.plan import Plan
from storage.ledger.project import plan_folds

BATCH = 500  #: contacts in one slice


async def project_into_drafts(
    session: Session, plans: Sequence[Plan], drafts: Mapping[int, Sequence[ScoreType]]
) -> None:
    """Project recorded plans into drafts as well, for contacts that are built already and for new contacts."""
    touched: dict[tuple[int, int], set[int]] = {}  # (workspace, definition) → contacts
    types: dict[tuple[int, int], ScoreType] = {}
    new_fact_ids = {new.fact_id for plan in plans for new in plan.new_facts}
    regrouped = {contact for plan in plans for contact in plan.regrouped_contacts}  # their built scores were deleted
    for plan in plans:
        workspace = plan.workspace.id
        for draft in drafts.get(workspace, ()) if plan.refusal is None else ():
            affected = {
                new.contact
                for new in plan.new_facts
                if new.fact is not None and new.contact and is_relevant_to(new.fact, draft)
            }
            affected |= {*plan.undone_contacts, *plan.regrouped_contacts}
            if affected:
                touched.setdefault((workspace, draft.definition), set()).update(affected)
                types[workspace, draft.definition] = draft
    for (workspace, definition), ids in touched.items():
        draft = types[workspace, definition]
        score_ids: dict[ScoreId, ScoreType] = {(id, draft.key): draft for id in ids}
        states = await projection.load_states(session, dict.fromkeys(score_ids, definition))
        fold_plan = await plan_folds(session, plans, states, dict.fromkeys(states, draft))
        late = await fold_late_facts(session, fold_plan.late_folds)
        replaced = {score_id: effects.keys() - new_fact_ids for score_id, (_, effects) in late.items()}
        await _save(session, workspace, draft, late, replaced=replaced)
        from_ledger = fold_plan.from_ledger | (fold_plan.late_folds.keys() - late.keys())
        # Scores without a state belong to new contacts, regrouped contacts, and contacts left to the building job.
        ledgers = await facts.load_ledgers(
            session, {score_id: draft for score_id in score_ids if score_id in from_ledger or score_id not in states}
        )
        new_score_ids = {
            score_id
            for score_id, ledger in ledgers.items()
            if ledger.keys() <= new_fact_ids or score_id[0] in regrouped
        }
        await _save_folded(
            session,
            workspace,
            draft,
            {score_id: ledgers[score_id] for score_id in score_ids if score_id in from_ledger | new_score_ids},
        )
        others = {score_id: states[score_id] for score_id in states.keys() - from_ledger - late.keys()}
        await _fold_new_facts(session, workspace, draft, plans, others, fold_plan.fields_at)


async def _fold_new_facts(
    session: Session,
    workspace: int,
    draft: ScoreType,
    plans: Sequence[Plan],
    states: dict[ScoreId, ScoreState],
    fields: Mapping[int, Mapping[str, Json]],
) -> None:
    """Apply new facts to scores of a draft by steps. The facts come last for all of these scores.

    *fields* are the fields at each fact, as `plan_folds` returns them.
    """
    effects: dict[ScoreId, dict[int, tuple[Fact, Effect]]] = {score_id: {} for score_id in states}
    for plan in plans:
        for new in plan.new_facts:
            score_id = (new.contact or 0, draft.key)
            if score_id in states and new.fact is not None and new.fact_id is not None:
                states[score_id], effect = apply_fact(states[score_id], new.fact, draft, fields.get(new.fact_id))
                if effect is not None:
                    effects[score_id][new.fact_id] = (new.fact, effect)
    await _save(session, workspace, draft, {score_id: (states[score_id], effects[score_id]) for score_id in states})


async def run_in_transaction(body: Callable[[Session, Sequence[int]], Awaitable[None]], ids: Sequence[int]) -> None:
    """Run *body* for contacts in one transaction, or contact by contact if one of them has been merged."""

    async def run(session: Session) -> None:
        await body(session, ids)

    try:
        await database.write(run)
    except StartAgain:  # one of them was just merged: repeat one by one, without it
        for id in ids if len(ids) > 1 else ():
            await run_in_transaction(body, [id])


async def fold_contacts(session: Session, workspace: Workspace, draft: ScoreType, ids: Collection[int]) -> None:
    """Calculate the scores of contacts from their ledgers, and lock the contacts. Raises StartAgain."""
    await contacts.lock(session, {id: id for id in ids})
    ledgers = await facts.load_ledgers(session, {(id, draft.key): draft for id in ids})
    await _save_folded(session, workspace.id, draft, ledgers)


async def _save_folded(
    session: Session, workspace: int, draft: ScoreType, ledgers: Mapping[ScoreId, Mapping[int, Fact]]
) -> None:
    undone = await load_undone_batches(
        session, workspace, {fact.batch for ledger in ledgers.values() for fact in ledger.values()}
    )
    folded = {score_id: fold_ledger(ledger, draft, undone=undone) for score_id, ledger in ledgers.items()}
    await _save(session, workspace, draft, folded, from_ledger=folded.keys())


async def _save(
    session: Session,
    workspace: int,
    draft: ScoreType,
    folded: Mapping[ScoreId, tuple[ScoreState, Mapping[int, tuple[Fact, Effect]]]],
    *,
    from_ledger: Collection[ScoreId] = (),
    replaced: Mapping[ScoreId, Collection[int]] | None = None,
) -> None:
    """Save states and effects of a draft. *from_ledger* and *replaced* are passed to `save_projection`."""
    await projection.save_projection(
        session,
        states={score_id: state for score_id, (state, _) in folded.items()},
        effects={score_id: effects for score_id, (_, effects) in folded.items()},
        from_ledger=from_ledger,
        replaced=replaced,
        types=dict.fromkeys(folded, draft),
        workspaces=dict.fromkeys(folded, workspace),
    )


async def load_next_ids(
    session: Session, workspace: Workspace, definition: ScoreType, *, after: int, built: bool
) -> list[int]:
    """Return the next contacts that have a score of a definition (*built*), or those that have none."""
    rows = await session.rows(
        "SELECT c.id FROM contacts c WHERE c.workspace_id = $1 AND c.id > $2 AND c.merged_into IS NULL"
        f" AND {'' if built else 'NOT '}EXISTS"
        " (SELECT 1 FROM scores k WHERE k.contact_id = c.id AND k.definition_id = $3) ORDER BY c.id LIMIT $4",
        workspace.id,
        after,
        definition.definition,
        BATCH,
    )
    return [row["id"] for row in rows]


async def count_built(workspace: Workspace, draft: ScoreType) -> int:
    """Return the number of contacts that have a score of the draft."""
    rows = await database.read(
        "SELECT count(*) AS number FROM scores WHERE workspace_id = $1 AND definition_id = $2",
        workspace.id,
        draft.definition,
    )
    return int(rows[0]["number"])


async def compare_values(
    workspace: Workspace, live: ScoreType, draft: ScoreType, *, now: int
) -> AsyncIterator[list[tuple[int, int | None, int | None]]]:
    """Yield (contact, value under the live definition, value under the draft) in batches; None is a missing score."""
    last_id = 0
    while True:
        rows = await database.read(
            "SELECT c.id, a.rank AS rank_before, b.rank AS rank_after FROM contacts c"
            " LEFT JOIN scores a ON a.contact_id = c.id AND a.definition_id = $3"
            " LEFT JOIN scores b ON b.contact_id = c.id AND b.definition_id = $4"
            " WHERE c.workspace_id = $1 AND c.id > $2 AND c.merged_into IS NULL AND NOT c.is_gone"
            " ORDER BY c.id LIMIT $5",
            workspace.id,
            last_id,
            live.definition,
            draft.definition,
            10 * BATCH,
        )
        if not rows:
            return
        yield [
            (
                row["id"],
                None if row["rank_before"] is None else shown(live, row["rank_before"], now=now),
                None if row["rank_after"] is None else shown(draft, row["rank_after"], now=now),
            )
            for row in rows
        ]
        last_id = rows[-1]["id"]


async def delete_next(table: str, definition: int) -> bool:
    """Delete some scores or effects (*table*) of a definition. Return False if there were none."""
    deleted = await database.change(
        f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE definition_id = $1 LIMIT $2) RETURNING id",
        definition,
        10 * BATCH,
    )
    return bool(deleted)
