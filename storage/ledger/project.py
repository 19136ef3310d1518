"""Phase 4: project new facts onto the scores and the fields of their contacts.

A score is updated in one of three ways. If its new facts come last, they are applied to its state. If they are late,
they are folded from a stored state before them. If an undo or a regrouping affects the contact, or if nothing else is
possible, the score is folded from its whole ledger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from storage.db.database import Session
from storage.domain.contacts import Json
from storage.domain.facts import Fact
from storage.domain.fold import (
    Effect,
    ScoreState,
    apply_fact,
    can_change,
    fold_fields,
    fold_ledger,
    is_late,
    make_initial_state,
)
from storage.domain.late_facts import LateFold
from storage.domain.rules import compile_rules
from storage.domain.score_types import ScoreType
from storage.domain.submissions import ScoreChanged
from storage.ledger import contact_fields, contacts, facts, projection
from storage.ledger.batches import load_undone_batches
from storage.ledger.facts import FactKey, ScoreId
from storage.ledger.late_facts import fold_late_facts
from storage.ledger.merged_fields import load_merged_fields
from storage.ledger.plan import NewFact, Plan

#: the contact field with the email address
EMAIL = "email"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """All facts that affect a score, and the undone batches among theirs; other undone batches may be included."""

    facts: Mapping[int, Fact]
    undone: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsavedScore:
    """What remains to be saved for a score besides its state."""

    workspace: int
    score_type: ScoreType
    effects: Mapping[int, tuple[Fact, Effect]]
    is_from_ledger: bool  #: *effects* are all effects of the score, because it was folded from its whole ledger
    replaced: frozenset[int] = frozenset()  #: the facts in *effects* that have stored effects


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedScores:
    """The scores that a transaction has loaded and changed. Its locks on the contacts keep others from changing them.

    Changed scores are saved together, by `save_scores`.
    """

    states: Mapping[ScoreId, ScoreState]
    missing: frozenset[ScoreId] = frozenset()  #: scores without a row
    ledgers: Mapping[ScoreId, Ledger] = field(default_factory=dict)  #: of the scores that were folded from the ledger
    unsaved: Mapping[ScoreId, UnsavedScore] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldPlan:
    """How to fold the new facts of plans into scores. The new facts of all scores not named here come last."""

    from_ledger: frozenset[ScoreId]  #: scores to fold from their whole ledgers
    late_folds: Mapping[ScoreId, LateFold]  #: scores to fold from a state before their new facts, if one is stored
    fields_at: Mapping[int, Mapping[str, Json]]  #: id of a new fact → the fields at the fact, if rules read fields


@dataclass(slots=True, kw_only=True)
class _NewFactsByScore:
    """What `_scan_new_facts` finds out about the new facts of plans."""

    late: set[ScoreId] = field(default_factory=set)  #: scores with a late fact
    relevant: dict[ScoreId, dict[int, Fact]] = field(default_factory=dict)  #: the new facts that may change a score
    #: the earliest time at which new facts state fields that the score's rules read
    fields_since: dict[ScoreId, int] = field(default_factory=dict)
    fields: dict[int, contact_fields.Fields]  #: contact → the fields after the new facts
    fields_at: dict[int, Mapping[str, Json]] = field(default_factory=dict)  #: see FoldPlan


async def project(session: Session, plans: Sequence[Plan], scores: LoadedScores) -> tuple[list[Plan], LoadedScores]:
    """Fold the new facts and undos of plans into *scores*. Return the plans with their score changes, and the scores.

    The plans share no contact. The returned scores are not saved yet, but changes from earlier turns are saved if a
    fold of late facts must read their effects.
    """
    types = {score_id: plan.types[score_id[1]] for plan in plans for score_id in plan.score_ids}
    fold_plan = await plan_folds(session, plans, scores.states, types)
    if not fold_plan.late_folds.keys().isdisjoint(scores.unsaved):
        scores = await save_scores(session, scores)
    late = await fold_late_facts(session, fold_plan.late_folds)
    from_ledger = fold_plan.from_ledger | (fold_plan.late_folds.keys() - late.keys())
    loaded = await _load_ledgers(
        session, plans, {score_id: types[score_id] for score_id in from_ledger - scores.ledgers.keys()}
    )
    states, ledgers, unsaved = dict(scores.states), dict(scores.ledgers), dict(scores.unsaved)
    changed: dict[ScoreId, ScoreState] = {}
    states_after_regrouping: dict[ScoreId, ScoreState] = {}
    for plan in plans:
        new_facts_by_score = plan.new_facts_by_score
        own_ids = {new.fact_id for new in plan.new_facts}
        for score_id in dict.fromkeys(plan.score_ids):
            new_facts, earlier = new_facts_by_score.get(score_id, ()), scores.unsaved.get(score_id)
            replaced = earlier.replaced if earlier else frozenset()
            if score_id in loaded:
                ledgers[score_id] = loaded[score_id]
            elif score_id in ledgers:
                ledgers[score_id] = _add_facts(ledgers[score_id], new_facts, plan)
            if score_id in late:
                states[score_id], effects = late[score_id]
                replaced = frozenset(effects.keys() - own_ids)
            elif score_id in from_ledger:
                ledger = ledgers[score_id]
                states[score_id], effects = fold_ledger(ledger.facts, types[score_id], undone=ledger.undone)
                if score_id[0] in plan.regrouped_contacts:
                    others = {id: fact for id, fact in ledger.facts.items() if id not in own_ids}
                    state, _ = fold_ledger(others, types[score_id], undone=ledger.undone)
                    states_after_regrouping[score_id] = state
            else:
                states[score_id], effects = _apply_new_facts(
                    states[score_id], new_facts, types[score_id], fold_plan.fields_at
                )
                if not effects:  # the fact does not affect the score: neither saved nor reported as a change
                    continue
                effects = {**earlier.effects, **effects} if earlier else effects
            changed[score_id] = states[score_id]
            is_from_ledger = score_id in from_ledger or (earlier is not None and earlier.is_from_ledger)
            unsaved[score_id] = UnsavedScore(
                workspace=plan.workspace.id, score_type=types[score_id], effects=effects,
                is_from_ledger=is_from_ledger, replaced=replaced,
            )  # fmt: skip  # identification, then what is to be saved
    projected = [_add_score_changes(plan, scores.states, changed, states_after_regrouping) for plan in plans]
    return projected, replace(scores, states=states, ledgers=ledgers, unsaved=unsaved)


async def plan_folds(
    session: Session, plans: Sequence[Plan], states: Mapping[ScoreId, ScoreState], types: Mapping[ScoreId, ScoreType]
) -> FoldPlan:
    """Return how to fold the new facts into the scores of *types*. *states* are the states before the new facts.

    A score has late facts if a new fact is not later than all facts that the score has seen. It must be folded from
    its whole ledger if an undo, a merge or a split affects its contact, or if a new field value may make a condition
    hold for a later activity. The contacts must be locked.
    """
    refolded = await _find_contacts_to_refold(session, plans, types)
    from_ledger = {score_id for score_id in types if score_id[0] in refolded}
    other_types = {score_id: score_type for score_id, score_type in types.items() if score_id not in from_ledger}
    fields = await _load_fields_of_rules(session, plans, other_types)
    scan = _scan_new_facts(plans, states, other_types, fields)
    fields_since = {score_id: at for score_id, at in scan.fields_since.items() if score_id not in scan.late}
    from_ledger |= await _find_scores_with_later_activities(session, plans, fields_since, types)
    late_folds = {
        score_id: _make_late_fold(score_id, types[score_id], states[score_id], scan)
        for score_id in scan.late - from_ledger
    }
    return FoldPlan(from_ledger=frozenset(from_ledger), late_folds=late_folds, fields_at=scan.fields_at)


async def _find_contacts_to_refold(
    session: Session, plans: Sequence[Plan], types: Mapping[ScoreId, ScoreType]
) -> set[int]:
    """Return the contacts with scores that must be folded from their whole ledgers, whatever their new facts are."""
    refolded = {id for plan in plans for id in (*plan.undone_contacts, *plan.regrouped_contacts)}
    refolded |= {new.contact for plan in plans if plan.is_undone for new in plan.new_facts}
    reads_fields = {
        contact for (contact, _), score_type in types.items() if compile_rules(score_type.rules).fields_read
    } - refolded
    # Conditions of rules read the latest fields. Those are not stored for merged contacts: their stored fields prefer
    # the values of the contact merged into.
    return refolded | (await contacts.load_merged(session, reads_fields) if reads_fields else {}).keys()


def _scan_new_facts(
    plans: Sequence[Plan],
    states: Mapping[ScoreId, ScoreState],
    types: Mapping[ScoreId, ScoreType],
    fields_before: Mapping[int, contact_fields.Fields],
) -> _NewFactsByScore:
    """Compare the new facts of plans, in their order, with the scores of *types* and the fields that rules read."""
    scan = _NewFactsByScore(fields=dict(fields_before))
    last = {score_id: states[score_id].last for score_id in types}
    scores_of: dict[int, list[ScoreId]] = {}
    for score_id in types:
        scores_of.setdefault(score_id[0], []).append(score_id)
    values = {contact: _extract_values(contact_fields) for contact, contact_fields in fields_before.items()}
    for new in (new for plan in plans for new in plan.new_facts):
        fact, contact = new.fact, new.contact
        for score_id in scores_of.get(contact, ()):
            score_type = types[score_id]
            if not can_change(fact, score_type):
                continue
            if is_late(fact, score_type, last=last[score_id], known=scan.fields.get(contact, {})):
                scan.late.add(score_id)
            scan.relevant.setdefault(score_id, {})[new.fact_id] = fact
            if not compile_rules(score_type.rules).fields_read.isdisjoint(fact.fields):
                at = fact.occurred_at
                scan.fields_since[score_id] = min(scan.fields_since.get(score_id, at), at)
            last[score_id] = max(last[score_id], fact.order)
        if contact in scan.fields:
            if fact.fields:
                scan.fields[contact] = fold_fields([fact], scan.fields[contact])
                values[contact] = _extract_values(scan.fields[contact])
            scan.fields_at[new.fact_id] = values[contact]
    return scan


async def _load_fields_of_rules(
    session: Session, plans: Sequence[Plan], types: Mapping[ScoreId, ScoreType]
) -> dict[int, contact_fields.Fields]:
    """Return the fields, before the new facts, of the contacts with scores that have rules about fields."""
    names_of: dict[int, set[str]] = {}
    for (contact, _), score_type in types.items():
        if names := compile_rules(score_type.rules).fields_read:
            names_of.setdefault(contact, set()).update(names)
    fields_of = await contact_fields.load_fields(session, names_of) if names_of else {}
    workspace_of = {new.contact: plan.workspace.id for plan in plans for new in plan.new_facts}
    email_keys: dict[int, FactKey] = {}
    for contact, fields in fields_of.items():
        if EMAIL in names_of[contact] and EMAIL in fields:
            _, source, key, subject = fields[EMAIL][1]
            email_keys[contact] = (workspace_of[contact], source.decode(), key.decode(), subject.decode())
    # The stored field of a contact without an address is the address that it was inserted with. Conditions read the
    # value that the fact states.
    stored = await facts.load_stored(session, email_keys.values()) if email_keys else {}
    for contact, fact_key in email_keys.items():
        fields_of[contact][EMAIL] = (stored[fact_key][2].fields[EMAIL], fields_of[contact][EMAIL][1])
    return fields_of


async def _find_scores_with_later_activities(
    session: Session, plans: Sequence[Plan], since: Mapping[ScoreId, int], types: Mapping[ScoreId, ScoreType]
) -> set[ScoreId]:
    """Return the scores with an activity after a new field value: conditions on the activity may hold now.

    *since*: score → time of the earliest new field value, in µs. The activities are read from the ledger, because an
    activity without points has no stored effect.
    """
    earliest: dict[int, int] = {}
    for (contact, _), at in since.items():
        earliest[contact] = min(at, earliest.get(contact, at))
    new_ids = {new.fact_id for plan in plans for new in plan.new_facts}  # `_scan_new_facts` has compared these
    later: dict[int, set[str]] = {}
    for contact, fact_id, activity in await facts.list_activities_since(session, earliest) if earliest else ():
        if fact_id not in new_ids:
            later.setdefault(contact, set()).add(activity)
    return {
        score_id
        for score_id in since
        if any(map(compile_rules(types[score_id].rules).has_rule_for, later.get(score_id[0], ())))
    }


def _extract_values(fields: contact_fields.Fields) -> Mapping[str, Json]:
    return {name: value for name, (value, _) in fields.items()}


def _make_late_fold(
    score_id: ScoreId, score_type: ScoreType, state_before: ScoreState, scan: _NewFactsByScore
) -> LateFold:
    fields, read = scan.fields.get(score_id[0], {}), compile_rules(score_type.rules).fields_read
    return LateFold(
        score_type,
        scan.relevant[score_id],
        stored=state_before,
        fields=_extract_values(fields),
        fields_since=max((fields[name][1][0] for name in read if name in fields), default=-1),
    )


async def _load_ledgers(
    session: Session, plans: Sequence[Plan], types: Mapping[ScoreId, ScoreType]
) -> dict[ScoreId, Ledger]:
    loaded = await facts.load_ledgers(session, types) if types else {}
    undone = await _load_undone_batches(session, plans, loaded)
    return {score_id: Ledger(facts=ledger, undone=undone[score_id]) for score_id, ledger in loaded.items()}


async def _load_undone_batches(
    session: Session, plans: Sequence[Plan], ledgers: Mapping[ScoreId, Mapping[int, Fact]]
) -> dict[ScoreId, frozenset[str]]:
    """Return the undone batches among the facts of each ledger. Undone batches of other ledgers may be included."""
    workspace_of = {score_id: plan.workspace.id for plan in plans for score_id in plan.score_ids}
    batches: dict[int, set[str]] = {}
    for score_id, ledger in ledgers.items():
        batches.setdefault(workspace_of[score_id], set()).update(fact.batch for fact in ledger.values())
    undone = {
        workspace: await load_undone_batches(session, workspace, workspace_batches)
        for workspace, workspace_batches in batches.items()
    }
    return {score_id: undone[workspace_of[score_id]] for score_id in ledgers}


def _add_facts(ledger: Ledger, new_facts: Sequence[NewFact], plan: Plan) -> Ledger:
    """Return a ledger with the new facts of a plan. Their batch is undone if `Plan.is_undone` is set."""
    undone = ledger.undone | ({plan.submission.batch} if plan.is_undone else set())
    return replace(ledger, facts={**ledger.facts, **{new.fact_id: new.fact for new in new_facts}}, undone=undone)


def _apply_new_facts(
    state: ScoreState,
    new_facts: Sequence[NewFact],
    score_type: ScoreType,
    fields_at: Mapping[int, Mapping[str, Json]],
) -> tuple[ScoreState, dict[int, tuple[Fact, Effect]]]:
    """Apply new facts that all come last to a score. Return its new state and the effects by fact id."""
    effects: dict[int, tuple[Fact, Effect]] = {}
    for new in new_facts:
        state, effect = apply_fact(state, new.fact, score_type, fields_at.get(new.fact_id))
        if effect is not None:
            effects[new.fact_id] = (new.fact, effect)
    return state, effects


def _add_score_changes(
    plan: Plan,
    before: Mapping[ScoreId, ScoreState],
    after: Mapping[ScoreId, ScoreState],
    after_regrouping: Mapping[ScoreId, ScoreState],
) -> Plan:
    """Return the plan with the score changes it made, including scores that a contact lost by a split or merge."""
    now, regrouping = plan.submission.received_at, plan.regrouping
    score_ids = [score_id for score_id in dict.fromkeys(plan.score_ids) if score_id in after]
    changes = [
        _make_score_change(score_id, plan.types[score_id[1]], before[score_id], after[score_id], now=now)
        for score_id in score_ids
    ]
    regrouped = {score_id: after_regrouping[score_id] for score_id in score_ids if score_id in after_regrouping}
    for score_id, state in regrouping.states_before.items() if regrouping else ():
        score_type, is_regrouped = plan.types[score_id[1]], score_id[0] in plan.regrouped_contacts
        if is_regrouped and score_id not in score_ids and state.value(score_type, now=now) is not None:
            regrouped[score_id] = make_initial_state(score_type)
            changes.append(_make_score_change(score_id, score_type, state, regrouped[score_id], now=now))
    return replace(plan, score_changes=tuple(changes), states_after_regrouping=regrouped)


def _make_score_change(
    score_id: ScoreId, score_type: ScoreType, before: ScoreState, after: ScoreState, *, now: int
) -> ScoreChanged:
    return ScoreChanged(
        contact=score_id[0],
        score_type=score_type,
        before=before.value(score_type, now=now),
        after=after.value(score_type, now=now),
        state_before=before,
        state_after=after,
    )


async def save_scores(session: Session, scores: LoadedScores) -> LoadedScores:
    """Save the scores and effects that are not saved yet. Return *scores* with nothing left to save."""
    unsaved_scores = scores.unsaved
    await projection.save_projection(
        session,
        states={score_id: scores.states[score_id] for score_id in unsaved_scores},
        effects={score_id: unsaved.effects for score_id, unsaved in unsaved_scores.items()},
        from_ledger={score_id for score_id, unsaved in unsaved_scores.items() if unsaved.is_from_ledger},
        types={score_id: unsaved.score_type for score_id, unsaved in unsaved_scores.items()},
        workspaces={score_id: unsaved.workspace for score_id, unsaved in unsaved_scores.items()},
        replaced={score_id: unsaved.replaced for score_id, unsaved in unsaved_scores.items()},
        missing=scores.missing,
    )
    return replace(scores, unsaved={}, missing=scores.missing - unsaved_scores.keys())


async def save_fields(session: Session, plans: Sequence[Plan], *, now: int) -> None:
    """Save the latest values of the fields that new facts, undos and regroupings of plans affect."""
    facts_of: dict[int, list[Fact]] = {}
    for plan in plans:
        for new in plan.new_facts if not plan.is_undone else ():
            if new.fact.fields:
                facts_of.setdefault(new.contact, []).append(new.fact)
    changed = {}
    if facts_of:
        fields_of = await contact_fields.load_fields(session, facts_of)
        changed = {contact: fold_fields(new_facts, fields_of[contact]) for contact, new_facts in facts_of.items()}
    for plan in plans:
        if plan.undone_contacts or plan.regrouped_contacts:
            changed |= await _refold_fields(session, plan)
    for workspace in {plan.workspace.id for plan in plans}:
        own_plans = [plan for plan in plans if plan.workspace.id == workspace]
        ids = {new.contact for plan in own_plans for new in plan.new_facts if new.fact.fields}
        ids |= {id for plan in own_plans for id in plan.undone_contacts}
        # Another link between rows of one contact may change which row's fields are shown.
        ids |= {id for plan in own_plans if plan.regrouping for id in plan.regrouping.roots.values()}
        changed |= await load_merged_fields(session, workspace, ids)
    if changed:
        await contact_fields.write_fields(session, changed, now=now)


async def _refold_fields(session: Session, plan: Plan) -> dict[int, contact_fields.Fields]:
    """Fold the fields of contacts that a plan undid or regrouped. An undone contact without field facts is left out."""
    facts_of = await facts.load_field_facts(session, {*plan.undone_contacts, *plan.regrouped_contacts})
    batches = {fact.batch for contact_facts in facts_of.values() for fact in contact_facts}
    undone = await load_undone_batches(session, plan.workspace.id, batches)
    return {
        contact: fold_fields([fact for fact in contact_facts if fact.batch not in undone], {})
        for contact, contact_facts in facts_of.items()
        if contact_facts or contact in plan.regrouped_contacts
    }
