"""Phase 4: fold new facts into scores and fields: by a step, from before late facts, or from the whole ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from storage.db.database import Session
from storage.domain.contacts import Json
from storage.domain.facts import Fact
from storage.domain.fold import Effect, ScoreState, beginning, can_move, fold_fields, fold_ledger, is_late, step
from storage.domain.late_facts import LateFold
from storage.domain.rules import compile_rules
from storage.domain.score_types import ScoreType
from storage.domain.submissions import ScoreChanged
from storage.ledger import contacts, facts, projection
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
    is_whole: bool  #: *effects* are all effects of the score, because it was folded from its whole ledger
    replaced: frozenset[int] = frozenset()  #: the facts in *effects* that have stored effects


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedScores:
    """What a transaction knows about the scores of contacts that it has locked, so that no one else changes them."""

    states: Mapping[ScoreId, ScoreState]
    missing: frozenset[ScoreId] = frozenset()  #: scores without a row
    ledgers: Mapping[ScoreId, Ledger] = field(default_factory=dict)  #: of scores folded from the ledger
    unsaved: Mapping[ScoreId, UnsavedScore] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldPlan:
    """How to fold the new facts of plans into scores. The new facts of all other scores come last."""

    whole: frozenset[ScoreId]  #: scores to fold from their whole ledgers
    late: Mapping[ScoreId, LateFold]  #: scores to fold from a state before their new facts, if that is possible
    fields_at: Mapping[int, Mapping[str, Json]]  #: id of a new fact → the fields at the fact, if rules read fields


async def project(session: Session, plans: Sequence[Plan], known: LoadedScores) -> tuple[list[Plan], LoadedScores]:
    """Fold the new facts and undos of plans into scores. Return the plans with their score changes.

    The plans share no contact. A score is folded by a step if its new facts come last, from a stored state if only they
    are late, and otherwise from its whole ledger. *known* is the state before; the state after is returned. It is not
    saved yet, and the earlier effects of scores with late facts are.
    """
    types = {pair: plan.types[pair[1]] for plan in plans for pair in plan.pairs}
    lateness = await plan_folds(session, plans, known.states, types)
    if not lateness.late.keys().isdisjoint(known.unsaved):
        known = await save_scores(session, known)
    late = await fold_late_facts(session, lateness.late)
    whole = lateness.whole | (lateness.late.keys() - late.keys())
    loaded = await _load_ledgers(session, plans, {pair: types[pair] for pair in whole - known.ledgers.keys()})
    states, ledgers, unsaved = dict(known.states), dict(known.ledgers), dict(known.unsaved)
    moved: dict[ScoreId, ScoreState] = {}
    silent: dict[ScoreId, ScoreState] = {}
    for plan in plans:
        facts_of = plan.bearing
        own_ids = {new.fact_id for new in plan.new}
        for pair in dict.fromkeys(plan.pairs):
            new_facts, before = facts_of.get(pair, ()), known.unsaved.get(pair)
            replaced = before.replaced if before else frozenset()
            if pair in loaded:
                ledgers[pair] = loaded[pair]
            elif pair in ledgers:
                ledgers[pair] = _add_facts(ledgers[pair], new_facts, plan)
            if pair in late:
                states[pair], effects = late[pair]
                replaced = frozenset(effects.keys() - own_ids)
            elif pair in whole:
                ledger = ledgers[pair]
                states[pair], effects = fold_ledger(ledger.facts, types[pair], undone=ledger.undone)
                if pair[0] in plan.regrouped:
                    others = {id: fact for id, fact in ledger.facts.items() if id not in own_ids}
                    silent[pair], _ = fold_ledger(others, types[pair], undone=ledger.undone)
            else:
                states[pair], effects = _apply_new_facts(states[pair], new_facts, types[pair], lateness.fields_at)
                if not effects:  # the fact does not affect the score: neither saved nor reported as a change
                    continue
                effects = {**before.effects, **effects} if before else effects
            moved[pair] = states[pair]
            is_whole = pair in whole or (before is not None and before.is_whole)
            unsaved[pair] = UnsavedScore(
                workspace=plan.workspace.id, score_type=types[pair], effects=effects, is_whole=is_whole,
                replaced=replaced,
            )  # fmt: skip  # of what, then what
    projected = [_add_score_changes(plan, known.states, moved, silent) for plan in plans]
    return projected, replace(known, states=states, ledgers=ledgers, unsaved=unsaved)


async def save_scores(session: Session, known: LoadedScores) -> LoadedScores:
    """Save the scores and effects that are not saved yet. Return *known* without them."""
    await projection.save_projection(
        session,
        states={pair: known.states[pair] for pair in known.unsaved},
        effects={pair: unsaved.effects for pair, unsaved in known.unsaved.items()},
        anew={pair for pair, unsaved in known.unsaved.items() if unsaved.is_whole},
        types={pair: unsaved.score_type for pair, unsaved in known.unsaved.items()},
        workspaces={pair: unsaved.workspace for pair, unsaved in known.unsaved.items()},
        replaced={pair: unsaved.replaced for pair, unsaved in known.unsaved.items()},
        missing=known.missing,
    )
    return replace(known, unsaved={}, missing=known.missing - known.unsaved.keys())


async def _load_ledgers(
    session: Session, plans: Sequence[Plan], types: Mapping[ScoreId, ScoreType]
) -> dict[ScoreId, Ledger]:
    loaded = await facts.load_ledgers(session, types) if types else {}
    undone = await _load_undone_batches(session, plans, loaded)
    return {pair: Ledger(facts=ledger, undone=undone[pair]) for pair, ledger in loaded.items()}


def _add_facts(ledger: Ledger, new_facts: Sequence[NewFact], plan: Plan) -> Ledger:
    """Return a ledger with new facts. The batch counts as undone if the plan says so: `append` has checked that."""
    undone = ledger.undone | ({plan.submission.batch} if plan.is_undone else set())
    return replace(ledger, facts={**ledger.facts, **{new.fact_id: new.fact for new in new_facts}}, undone=undone)


def _apply_new_facts(
    state: ScoreState,
    new_facts: Sequence[NewFact],
    score_type: ScoreType,
    fields_at: Mapping[int, Mapping[str, Json]],
) -> tuple[ScoreState, dict[int, tuple[Fact, Effect]]]:
    """Fold facts that all come last into a score. Return its new state and the effects by fact id."""
    effects: dict[int, tuple[Fact, Effect]] = {}
    for new in new_facts:
        state, effect = step(state, new.fact, score_type, fields_at.get(new.fact_id))
        if effect is not None:
            effects[new.fact_id] = (new.fact, effect)
    return state, effects


def _add_score_changes(
    plan: Plan,
    before: Mapping[ScoreId, ScoreState],
    after: Mapping[ScoreId, ScoreState],
    silent: Mapping[ScoreId, ScoreState],
) -> Plan:
    """Return the plan with the score changes it made, including scores that a contact lost by a split or merge."""
    now, regrouping = plan.submission.received_at, plan.regrouping
    pairs = [pair for pair in dict.fromkeys(plan.pairs) if pair in after]
    moved = [_make_score_change(pair, plan.types[pair[1]], before[pair], after[pair], now=now) for pair in pairs]
    silent = {pair: silent[pair] for pair in pairs if pair in silent}
    for pair, state in regrouping.states_before.items() if regrouping else ():
        score_type = plan.types[pair[1]]
        if pair[0] in plan.regrouped and pair not in pairs and state.value(score_type, now=now) is not None:
            silent[pair] = beginning(score_type)
            moved.append(_make_score_change(pair, score_type, state, silent[pair], now=now))
    return replace(plan, moved=tuple(moved), silent=silent)


def _make_score_change(
    pair: ScoreId, score_type: ScoreType, before: ScoreState, after: ScoreState, *, now: int
) -> ScoreChanged:
    return ScoreChanged(
        contact=pair[0],
        score_type=score_type,
        before=before.value(score_type, now=now),
        after=after.value(score_type, now=now),
        was=before,
        state=after,
    )


async def plan_folds(
    session: Session, plans: Sequence[Plan], states: Mapping[ScoreId, ScoreState], types: Mapping[ScoreId, ScoreType]
) -> FoldPlan:
    """Return how to fold the new facts into the scores of *types*.

    A score must be folded from its whole ledger if an undo, a merge or a split affects its contact, or if a new field
    value may make a condition hold for a later activity. It has late facts if a new fact is not later than all facts
    that the score has seen. *states* are those before the new facts. The contacts must be locked.
    """
    refolded = {id for plan in plans for id in (*plan.spoken_of, *plan.regrouped)}
    refolded |= {new.contact for plan in plans if plan.is_undone for new in plan.new}
    # Conditions of rules read the latest fields, but for merged contacts the stored fields prefer the contact merged
    # into.
    asking = {pair[0] for pair, score_type in types.items() if compile_rules(score_type.rules).fields_read}
    merged = await contacts.load_merged(session, asking - refolded) if asking - refolded else {}
    refolded |= merged.keys()
    whole = {pair for pair in types if pair[0] in refolded}
    late: set[ScoreId] = set()
    moving: dict[ScoreId, dict[int, Fact]] = {}  # the new facts that may change a score
    last = {pair: states[pair].last for pair in types.keys() - whole}
    scores_of: dict[int, list[ScoreId]] = {}
    for pair in last:
        scores_of.setdefault(pair[0], []).append(pair)
    fields = await _load_fields_of_rules(session, plans, {pair: types[pair] for pair in last})
    values = {contact: _extract_values(stated) for contact, stated in fields.items()}
    fields_at: dict[int, Mapping[str, Json]] = {}
    since: dict[ScoreId, int] = {}  # the earliest time at which new facts state fields that the score's rules read
    for plan in plans:
        for new in plan.new:
            fact, contact = new.fact, new.contact
            for pair in scores_of.get(contact, ()):
                if not can_move(fact, types[pair]):
                    continue
                if is_late(fact, types[pair], last=last[pair], known=fields.get(contact, {})):
                    late.add(pair)
                moving.setdefault(pair, {})[new.fact_id] = fact
                if not compile_rules(types[pair].rules).fields_read.isdisjoint(fact.fields):
                    since[pair] = min(since.get(pair, fact.occurred_at), fact.occurred_at)
                last[pair] = max(last[pair], fact.order)
            if contact in fields and fact.fields:
                fields[contact] = fold_fields([fact], fields[contact])
                values[contact] = _extract_values(fields[contact])
            if contact in fields:
                fields_at[new.fact_id] = values[contact]
    whole |= await _find_scores_with_later_activities(
        session, plans, {pair: at for pair, at in since.items() if pair not in late}, types
    )
    folds: dict[ScoreId, LateFold] = {}
    for pair in late - whole:
        contact_fields, read = fields.get(pair[0], {}), compile_rules(types[pair].rules).fields_read
        folds[pair] = LateFold(
            types[pair],
            moving[pair],
            stored=states[pair],
            fields=values.get(pair[0]),
            fields_since=max((contact_fields[name][1][0] for name in read if name in contact_fields), default=-1),
        )
    return FoldPlan(whole=frozenset(whole), late=folds, fields_at=fields_at)


async def _load_fields_of_rules(
    session: Session, plans: Sequence[Plan], types: Mapping[ScoreId, ScoreType]
) -> dict[int, contacts.Fields]:
    """Return the fields, before the new facts, of the contacts with scores that have rules about fields."""
    names_of: dict[int, set[str]] = {}
    for (contact, _), score_type in types.items():
        if names := compile_rules(score_type.rules).fields_read:
            names_of.setdefault(contact, set()).update(names)
    fields_of = await contacts.load_fields(session, names_of) if names_of else {}
    workspace_of = {new.contact: plan.workspace.id for plan in plans for new in plan.new}
    email_keys: dict[int, FactKey] = {}
    for contact, fields in fields_of.items():
        if EMAIL in names_of[contact] and EMAIL in fields:
            _, source, key, subject = fields[EMAIL][1]
            email_keys[contact] = (workspace_of[contact], source.decode(), key.decode(), subject.decode())
    # A contact without an address shows the address it was inserted with; conditions read the value that the fact
    # states.
    stored = await facts.load_stored(session, email_keys.values()) if email_keys else {}
    for contact, fact_key in email_keys.items():
        fields_of[contact][EMAIL] = (stored[fact_key][2].fields[EMAIL], fields_of[contact][EMAIL][1])
    return fields_of


async def _find_scores_with_later_activities(
    session: Session, plans: Sequence[Plan], since: Mapping[ScoreId, int], types: Mapping[ScoreId, ScoreType]
) -> set[ScoreId]:
    """Return the scores with a stored activity after a new field value: conditions on the activity may hold now.

    An activity without points left no trace in its score, so the ledger is read.
    """
    earliest: dict[int, int] = {}
    for (contact, _), at in since.items():
        earliest[contact] = min(at, earliest.get(contact, at))
    new_ids = {new.fact_id for plan in plans for new in plan.new}  # `find_late` compared these already
    later: dict[int, set[str]] = {}
    for contact, fact_id, activity in await facts.list_activities_since(session, earliest) if earliest else ():
        if fact_id not in new_ids:
            later.setdefault(contact, set()).add(activity)
    return {pair for pair in since if any(map(compile_rules(types[pair].rules).bears, later.get(pair[0], ())))}


def _extract_values(fields: contacts.Fields) -> Mapping[str, Json]:
    return {name: value for name, (value, _) in fields.items()}


async def _load_undone_batches(
    session: Session, plans: Sequence[Plan], ledgers: Mapping[ScoreId, Mapping[int, Fact]]
) -> dict[ScoreId, frozenset[str]]:
    """Return the undone batches among the facts of each ledger. Undone batches of other ledgers may be included."""
    workspace_of = {pair: plan.workspace.id for plan in plans for pair in plan.pairs}
    batches: dict[int, set[str]] = {}
    for pair, ledger in ledgers.items():
        batches.setdefault(workspace_of[pair], set()).update(change.batch for change in ledger.values())
    undone = {
        workspace: await facts.load_undone_batches(session, workspace, workspace_batches)
        for workspace, workspace_batches in batches.items()
    }
    return {pair: undone[workspace_of[pair]] for pair in ledgers}


async def save_fields(session: Session, plans: Sequence[Plan], *, now: int) -> None:
    """Save the latest value of each field that the new facts, or an undo, affect."""
    facts_of: dict[int, list[Fact]] = {}
    for plan in plans:
        for new in plan.new if not plan.is_undone else ():
            if new.fact.fields:
                facts_of.setdefault(new.contact, []).append(new.fact)
    changed = {}
    if facts_of:
        fields_of = await contacts.load_fields(session, facts_of)
        changed = {contact: fold_fields(new_facts, fields_of[contact]) for contact, new_facts in facts_of.items()}
    for plan in plans:
        if plan.spoken_of or plan.regrouped:
            changed |= await _refold_fields(session, plan)
    for workspace in {plan.workspace.id for plan in plans}:
        own_plans = [plan for plan in plans if plan.workspace.id == workspace]
        ids = {new.contact for plan in own_plans for new in plan.new if new.fact.fields}
        ids |= {id for plan in own_plans for id in plan.spoken_of}
        # Another link between rows of one contact may change which row's fields are shown.
        ids |= {id for plan in own_plans if plan.regrouping for id in plan.regrouping.roots.values()}
        changed |= await load_merged_fields(session, workspace, ids)
    if changed:
        await contacts.write_fields(session, changed, now=now)


async def _refold_fields(session: Session, plan: Plan) -> dict[int, contacts.Fields]:
    """Fold the fields of the contacts that an undo affects, if they have field facts, or that were regrouped."""
    facts_of = await facts.load_field_facts(session, {*plan.spoken_of, *plan.regrouped})
    batches = {fact.batch for contact_facts in facts_of.values() for fact in contact_facts}
    undone = await facts.load_undone_batches(session, plan.workspace.id, batches)
    return {
        contact: fold_fields([fact for fact in contact_facts if fact.batch not in undone], {})
        for contact, contact_facts in facts_of.items()
        if contact_facts or contact in plan.regrouped
    }
