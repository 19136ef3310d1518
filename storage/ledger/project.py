"""Fold new facts into scores and fields: in one constant-time step where they come last, else the whole ledger."""

from collections.abc import Mapping, Sequence

from storage.db.database import Session
from storage.domain.contacts import Json
from storage.domain.facts import Fact
from storage.domain.fold import Effect, ScoreState, beginning, can_move, fold_fields, fold_ledger, is_late, step
from storage.domain.rules import compile_rules
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Moved
from storage.ledger import contacts, facts, projection
from storage.ledger.facts import FactKey, Scored
from storage.ledger.plan import Plan

#: the field that holds the address
EMAIL = "email"


async def fold_scores(
    session: Session, plans: Sequence[Plan], states: dict[Scored, ScoreState], types: Mapping[Scored, ScoreType]
) -> None:
    """Fold the new facts, submission by submission: by a step where they come last, else the score's whole ledger."""
    touched = {pair for plan in plans if plan.refusal is None for pair in plan.touched}
    late, fields_at = await find_late(session, plans, states, {pair: types[pair] for pair in touched})
    ledgers = await facts.ledgers(session, {pair: types[pair] for pair in late}) if late else {}
    undone = await _load_undone_batches(session, plans, ledgers)
    pending_ids = {entry.fact_id for plan in plans for entry in plan.new}
    effects: dict[Scored, dict[int, tuple[Fact, Effect]]] = {}
    for plan in plans:
        entries, entries_of = plan.new, plan.bearing
        pending_ids -= {entry.fact_id for entry in entries}
        for pair in plan.touched if plan.refusal is None else ():
            score_type, now = types[pair], plan.submission.received_at
            state_before = states[pair]
            before = state_before.value(score_type, now=now)
            if pair in late:
                arrived = {id: fact for id, fact in ledgers[pair].items() if id not in pending_ids}
                states[pair], effects[pair] = fold_ledger(arrived, score_type, undone=undone[pair])
                if pair[0] in plan.regrouped:
                    own_ids = {entry.fact_id for entry in entries}
                    others = {id: fact for id, fact in arrived.items() if id not in own_ids}
                    plan.states_after[pair], _ = fold_ledger(others, score_type, undone=undone[pair])
            else:
                for entry in entries_of.get(pair, ()):
                    if entry.fact is not None and entry.fact_id is not None:
                        fields = fields_at.get(entry.fact_id)
                        states[pair], effect = step(states[pair], entry.fact, score_type, fields)
                        if effect is not None:
                            effects.setdefault(pair, {})[entry.fact_id] = (entry.fact, effect)
            after = states[pair].value(score_type, now=now)
            plan.moved.append(
                Moved(
                    contact=pair[0],
                    score_type=score_type,
                    before=before,
                    after=after,
                    was=state_before,
                    state=states[pair],
                )
            )
        _report_lost_scores(plan)
    await projection.save_projection(
        session,
        states={pair: states[pair] for pair in touched},
        effects={pair: effects.get(pair, {}) for pair in touched},
        anew=late,
        types=types,
        workspaces={pair: plan.workspace.id for plan in plans for pair in plan.touched},
    )


def _report_lost_scores(plan: Plan) -> None:
    """Tell of the scores that a contact had only while it was one with another."""
    for (contact, key), state in plan.states_before.items():
        score_type = plan.types[key]
        before = state.value(score_type, now=plan.submission.received_at)
        if contact in plan.regrouped and (contact, key) not in plan.touched and before is not None:
            empty = beginning(score_type)
            plan.moved.append(
                Moved(contact=contact, score_type=score_type, before=before, after=None, was=state, state=empty)
            )
            plan.states_after[contact, key] = empty


async def find_late(
    session: Session, plans: Sequence[Plan], states: Mapping[Scored, ScoreState], types: Mapping[Scored, ScoreType]
) -> tuple[set[Scored], Mapping[int, Mapping[str, Json]]]:
    """Return the scores of *types* to fold again from the ledger, and by fact id the fields for stepping the others.

    A score is folded again where an undo, a merge or a split concerns its contact, and where a new fact does not come
    after all that its score has seen. *states* are those before the new facts. The contacts must be locked.
    """
    refolded = {id for plan in plans if plan.refusal is None for id in (*plan.spoken_of, *plan.regrouped)}
    refolded |= {entry.contact for plan in plans if plan.is_undone for entry in plan.new if entry.contact is not None}
    late = {pair for pair in types if pair[0] in refolded}
    last = {pair: states[pair].last for pair in types.keys() - late}
    scores_of: dict[int, list[Scored]] = {}
    for pair in last:
        scores_of.setdefault(pair[0], []).append(pair)
    fields = await _load_stated_fields(session, plans, {pair: types[pair] for pair in last})
    values = {contact: _extract_values(stated) for contact, stated in fields.items()}
    fields_at: dict[int, Mapping[str, Json]] = {}
    since: dict[Scored, int] = {}  # when new facts state fields that the conditions of the score ask about
    for plan in plans:
        for entry in plan.new:
            fact, contact = entry.fact, entry.contact
            assert fact is not None  # it was appended
            assert contact is not None
            assert entry.fact_id is not None
            for pair in scores_of.get(contact, ()):
                if not can_move(fact, types[pair]):
                    continue
                if is_late(fact, types[pair], last=last[pair], known=fields.get(contact, {})):
                    late.add(pair)
                if not compile_rules(types[pair].rules).fields_read.isdisjoint(fact.fields):
                    since[pair] = min(since.get(pair, fact.occurred_at), fact.occurred_at)
                last[pair] = max(last[pair], fact.order)
            if contact in fields and fact.fields:
                fields[contact] = fold_fields([fact], fields[contact])
                values[contact] = _extract_values(fields[contact])
            if contact in fields:
                fields_at[entry.fact_id] = values[contact]
    since = {pair: at for pair, at in since.items() if pair not in late}
    return late | await _find_affected_scores(session, plans, since, types), fields_at


async def _load_stated_fields(
    session: Session, plans: Sequence[Plan], types: Mapping[Scored, ScoreType]
) -> dict[int, contacts.Fields]:
    """Return the fields, before the new facts, of the contacts whose scores have conditions that ask about fields."""
    names_of: dict[int, set[str]] = {}
    for (contact, _), score_type in types.items():
        if names := compile_rules(score_type.rules).fields_read:
            names_of.setdefault(contact, set()).update(names)
    fields_of = await contacts.fields(session, names_of) if names_of else {}
    workspace_of = {entry.contact: plan.workspace.id for plan in plans for entry in plan.new}
    email_keys: dict[int, FactKey] = {}
    for contact, fields in fields_of.items():
        if EMAIL in names_of[contact] and EMAIL in fields:
            _, source, key, subject = fields[EMAIL][1]
            email_keys[contact] = (workspace_of[contact], source.decode(), key.decode(), subject.decode())
    # A contact that lost its address shows the one it was made with; conditions read what the fact said.
    stored = await facts.load_stored(session, email_keys.values()) if email_keys else {}
    for contact, fact_key in email_keys.items():
        fields_of[contact][EMAIL] = (stored[fact_key][2].fields[EMAIL], fields_of[contact][EMAIL][1])
    return fields_of


async def _find_affected_scores(
    session: Session, plans: Sequence[Plan], since: Mapping[Scored, int], types: Mapping[Scored, ScoreType]
) -> set[Scored]:
    """Return the scores with an activity after the fields that a new fact states: its conditions may hold now.

    An activity that was worth nothing left no trace in its score, so the ledger has to be asked.
    """
    earliest: dict[int, int] = {}
    for (contact, _), at in since.items():
        earliest[contact] = min(at, earliest.get(contact, at))
    new = {entry.fact_id for plan in plans for entry in plan.new}  # those were compared one by one
    later: dict[int, set[str]] = {}
    for contact, fact_id, activity in await facts.activities_since(session, earliest) if earliest else ():
        if fact_id not in new:
            later.setdefault(contact, set()).add(activity)
    return {pair for pair in since if any(map(compile_rules(types[pair].rules).bears, later.get(pair[0], ())))}


def _extract_values(fields: contacts.Fields) -> Mapping[str, Json]:
    return {name: value for name, (value, _) in fields.items()}


async def _load_undone_batches(
    session: Session, plans: Sequence[Plan], ledgers: Mapping[Scored, Mapping[int, Fact]]
) -> dict[Scored, frozenset[str]]:
    """Name the undone batches that each score which is folded anew has to leave out, among others."""
    workspace_of = {pair: plan.workspace.id for plan in plans for pair in plan.touched}
    batches: dict[int, set[str]] = {}
    for pair, ledger in ledgers.items():
        batches.setdefault(workspace_of[pair], set()).update(change.batch for change in ledger.values())
    undone = {
        workspace: await facts.undone_of(session, workspace, workspace_batches)
        for workspace, workspace_batches in batches.items()
    }
    return {pair: undone[workspace_of[pair]] for pair in ledgers}


async def keep_fields(session: Session, plans: Sequence[Plan], *, now: int) -> None:
    """Let the latest value of each field win."""
    facts_of: dict[int, list[Fact]] = {}
    for plan in plans:
        for entry in plan.new if not plan.is_undone else ():
            if entry.fact is not None and entry.fact.fields and entry.contact is not None:
                facts_of.setdefault(entry.contact, []).append(entry.fact)
    changed = {}
    if facts_of:
        fields_of = await contacts.fields(session, facts_of)
        changed = {contact: fold_fields(new_facts, fields_of[contact]) for contact, new_facts in facts_of.items()}
    for plan in plans:
        if (plan.undo is not None or plan.regrouped) and plan.refusal is None:
            changed |= await _refold_fields(session, plan)
    if changed:
        await contacts.write_fields(session, changed, now=now)


async def _refold_fields(session: Session, plan: Plan) -> dict[int, contacts.Fields]:
    """Fold the fields of the contacts that an undo touches, where any fact speaks of them, or that were regrouped."""
    facts_of = await facts.load_field_facts(session, {*plan.spoken_of, *plan.regrouped})
    batches = {fact.batch for contact_facts in facts_of.values() for fact in contact_facts}
    undone = await facts.undone_of(session, plan.workspace.id, batches)
    return {
        contact: fold_fields([fact for fact in contact_facts if fact.batch not in undone], {})
        for contact, contact_facts in facts_of.items()
        if contact_facts or contact in plan.regrouped
    }
