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
    session: Session, works: Sequence[Plan], states: dict[Scored, ScoreState], types: Mapping[Scored, ScoreType]
) -> None:
    """Fold the new facts, submission by submission: by a step where they come last, else the score's whole ledger."""
    touched = {pair for work in works if work.refusal is None for pair in work.touched}
    late, known = await find_late(session, works, states, {pair: types[pair] for pair in touched})
    ledgers = await facts.ledgers(session, {pair: types[pair] for pair in late}) if late else {}
    left_out = await _left_out(session, works, ledgers)
    not_yet = {entry.fact_id for work in works for entry in work.new}
    effects: dict[Scored, dict[int, tuple[Fact, Effect]]] = {}
    for work in works:
        entries, bearing = work.new, work.bearing
        not_yet -= {entry.fact_id for entry in entries}
        for pair in work.touched if work.refusal is None else ():
            score_type, now = types[pair], work.submission.received_at
            was = states[pair]
            before = was.value(score_type, now=now)
            if pair in late:
                arrived = {id: c for id, c in ledgers[pair].items() if id not in not_yet}
                states[pair], effects[pair] = fold_ledger(arrived, score_type, undone=left_out[pair])
                if pair[0] in work.regrouped:
                    own = {entry.fact_id for entry in entries}
                    others = {id: fact for id, fact in arrived.items() if id not in own}
                    work.settled[pair], _ = fold_ledger(others, score_type, undone=left_out[pair])
            else:
                for entry in bearing.get(pair, ()):
                    if entry.fact is not None and entry.fact_id is not None:
                        fields = known.get(entry.fact_id)
                        states[pair], effect = step(states[pair], entry.fact, score_type, fields)
                        if effect is not None:
                            effects.setdefault(pair, {})[entry.fact_id] = (entry.fact, effect)
            after = states[pair].value(score_type, now=now)
            work.moved.append(
                Moved(contact=pair[0], score_type=score_type, before=before, after=after, was=was, state=states[pair])
            )
        _let_go(work)
    await projection.save_projection(
        session,
        states={pair: states[pair] for pair in touched},
        effects={pair: effects.get(pair, {}) for pair in touched},
        anew=late,
        types=types,
        workspaces={pair: work.submission.workspace.id for work in works for pair in work.touched},
    )


def _let_go(work: Plan) -> None:
    """Tell of the scores that a contact had only while it was one with another."""
    for (contact, key), state in work.was.items():
        score_type = work.types[key]
        before = state.value(score_type, now=work.submission.received_at)
        if contact in work.regrouped and (contact, key) not in work.touched and before is not None:
            gone = beginning(score_type)
            work.moved.append(
                Moved(contact=contact, score_type=score_type, before=before, after=None, was=state, state=gone)
            )
            work.settled[contact, key] = gone


async def find_late(
    session: Session, works: Sequence[Plan], states: Mapping[Scored, ScoreState], types: Mapping[Scored, ScoreType]
) -> tuple[set[Scored], Mapping[int, Mapping[str, Json]]]:
    """Return the scores of *types* to fold again from the ledger, and by fact id the fields for stepping the others.

    A score is folded again where an undo, a merge or a split concerns its contact, and where a new fact does not come
    after all that its score has seen. *states* are those before the new facts. The contacts must be locked.
    """
    again = {id for work in works if work.refusal is None for id in (*work.spoken_of, *work.regrouped)}
    again |= {entry.contact for work in works if work.is_undone for entry in work.new if entry.contact is not None}
    late = {pair for pair in types if pair[0] in again}
    last = {pair: states[pair].last for pair in types.keys() - late}
    scores_of: dict[int, list[Scored]] = {}
    for pair in last:
        scores_of.setdefault(pair[0], []).append(pair)
    fields = await _stated_fields(session, works, {pair: types[pair] for pair in last})
    values = {contact: _values(stated) for contact, stated in fields.items()}
    known: dict[int, Mapping[str, Json]] = {}
    since: dict[Scored, int] = {}  # when new facts state fields that the conditions of the score ask about
    for work in works:
        for entry in work.new:
            fact, contact = entry.fact, entry.contact
            assert fact is not None  # it was appended
            assert contact is not None
            assert entry.fact_id is not None
            for pair in scores_of.get(contact, ()):
                if not can_move(fact, types[pair]):
                    continue
                if is_late(fact, types[pair], last=last[pair], known=fields.get(contact, {})):
                    late.add(pair)
                if not compile_rules(types[pair].rules).asked.isdisjoint(fact.fields):
                    since[pair] = min(since.get(pair, fact.occurred_at), fact.occurred_at)
                last[pair] = max(last[pair], fact.order)
            if contact in fields and fact.fields:
                fields[contact] = fold_fields([fact], fields[contact])
                values[contact] = _values(fields[contact])
            if contact in fields:
                known[entry.fact_id] = values[contact]
    since = {pair: at for pair, at in since.items() if pair not in late}
    return late | await _changing_the_past(session, works, since, types), known


async def _stated_fields(
    session: Session, works: Sequence[Plan], types: Mapping[Scored, ScoreType]
) -> dict[int, contacts.Fields]:
    """Return the fields, before the new facts, of the contacts whose scores have conditions that ask about fields."""
    asked: dict[int, set[str]] = {}
    for (contact, _), score_type in types.items():
        if names := compile_rules(score_type.rules).asked:
            asked.setdefault(contact, set()).update(names)
    known = await contacts.fields(session, asked) if asked else {}
    workspace_of = {entry.contact: work.submission.workspace.id for work in works for entry in work.new}
    said: dict[int, FactKey] = {}
    for contact, fields in known.items():
        if EMAIL in asked[contact] and EMAIL in fields:
            _, source, key, subject = fields[EMAIL][1]
            said[contact] = (workspace_of[contact], source.decode(), key.decode(), subject.decode())
    # A contact that lost its address shows the one it was made with; conditions read what the fact said.
    stored = await facts.load_stored(session, said.values()) if said else {}
    for contact, fact_key in said.items():
        known[contact][EMAIL] = (stored[fact_key][2].fields[EMAIL], known[contact][EMAIL][1])
    return known


async def _changing_the_past(
    session: Session, works: Sequence[Plan], since: Mapping[Scored, int], types: Mapping[Scored, ScoreType]
) -> set[Scored]:
    """Return the scores with an activity after the fields that a new fact states: its conditions may hold now.

    An activity that was worth nothing left no trace in its score, so the ledger has to be asked.
    """
    earliest: dict[int, int] = {}
    for (contact, _), at in since.items():
        earliest[contact] = min(at, earliest.get(contact, at))
    new = {entry.fact_id for work in works for entry in work.new}  # those were compared one by one
    later: dict[int, set[str]] = {}
    for contact, fact_id, activity in await facts.activities_since(session, earliest) if earliest else ():
        if fact_id not in new:
            later.setdefault(contact, set()).add(activity)
    return {pair for pair in since if any(map(compile_rules(types[pair].rules).bears, later.get(pair[0], ())))}


def _values(fields: contacts.Fields) -> Mapping[str, Json]:
    return {name: value for name, (value, _) in fields.items()}


async def _left_out(
    session: Session, works: Sequence[Plan], ledgers: Mapping[Scored, Mapping[int, Fact]]
) -> dict[Scored, frozenset[str]]:
    """Name the undone batches that each score which is folded anew has to leave out, among others."""
    workspace_of = {pair: work.submission.workspace.id for work in works for pair in work.touched}
    batches: dict[int, set[str]] = {}
    for pair, ledger in ledgers.items():
        batches.setdefault(workspace_of[pair], set()).update(change.batch for change in ledger.values())
    undone = {workspace: await facts.undone_of(session, workspace, named) for workspace, named in batches.items()}
    return {pair: undone[workspace_of[pair]] for pair in ledgers}


async def keep_fields(session: Session, works: Sequence[Plan], *, now: int) -> None:
    """Let the latest value of each field win."""
    said: dict[int, list[Fact]] = {}
    for work in works:
        for entry in work.new if not work.is_undone else ():
            if entry.fact is not None and entry.fact.fields and entry.contact is not None:
                said.setdefault(entry.contact, []).append(entry.fact)
    changed = {}
    if said:
        known = await contacts.fields(session, said)
        changed = {contact: fold_fields(told, known[contact]) for contact, told in said.items()}
    for work in works:
        if (work.undo is not None or work.regrouped) and work.refusal is None:
            changed |= await _fields_anew(session, work)
    if changed:
        await contacts.write_fields(session, changed, now=now)


async def _fields_anew(session: Session, work: Plan) -> dict[int, contacts.Fields]:
    """Fold the fields of the contacts that an undo touches, where any fact speaks of them, or that were regrouped."""
    told = await facts.load_field_facts(session, {*work.spoken_of, *work.regrouped})
    batches = {fact.batch for each in told.values() for fact in each}
    left_out = await facts.undone_of(session, work.submission.workspace.id, batches)
    return {
        contact: fold_fields([fact for fact in each if fact.batch not in left_out], {})
        for contact, each in told.items()
        if each or contact in work.regrouped
    }
