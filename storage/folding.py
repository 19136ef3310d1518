"""Take new facts into scores and fields: in constant time where they are the latest, else all anew."""

from collections.abc import Mapping, Sequence

from storage import contacts, derived, facts
from storage.database import Session
from storage.domain.facts import Fact
from storage.domain.fold import Effect, State, beginning, fold_fields, fold_ledger, step
from storage.domain.rules import judge
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Moved
from storage.facts import Scored
from storage.work import Work


async def fold_scores(
    session: Session, works: Sequence[Work], states: dict[Scored, State], types: Mapping[Scored, ScoreType]
) -> None:
    """Take the new facts, submission by submission: in constant time where they are the latest, else all anew."""
    late = _late(works, states, types)
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
                        states[pair], effect = step(states[pair], entry.fact, score_type)
                        if effect is not None:
                            effects.setdefault(pair, {})[entry.fact_id] = (entry.fact, effect)
            after = states[pair].value(score_type, now=now)
            work.moved.append(
                Moved(contact=pair[0], score_type=score_type, before=before, after=after, was=was, state=states[pair])
            )
        _let_go(work)
    touched = {pair for work in works if work.refusal is None for pair in work.touched}
    await derived.keep(
        session,
        states={pair: states[pair] for pair in touched},
        effects={pair: effects.get(pair, {}) for pair in touched},
        anew=late,
        types=types,
        workspaces={pair: work.submission.workspace.id for work in works for pair in work.touched},
    )


def _let_go(work: Work) -> None:
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


def _late(works: Sequence[Work], states: Mapping[Scored, State], types: Mapping[Scored, ScoreType]) -> set[Scored]:
    """Name the scores that a new fact, or an undo, reaches into the past of, or whose rules ask what was known when."""
    last = {pair: state.last for pair, state in states.items()}
    late = {pair for work in works if work.refusal is None for pair in work.undone}
    for work in works:
        for entry in work.new:
            assert entry.fact is not None  # it became one
            for pair in work.bears_on(entry):
                # Of the same time and key as the last one: which of the two is first the fold knows.
                if entry.fact.order <= last[pair] or judge(types[pair].rules).asks_fields:
                    late.add(pair)
                last[pair] = max(last[pair], entry.fact.order)
    return late


async def _left_out(
    session: Session, works: Sequence[Work], ledgers: Mapping[Scored, Mapping[int, Fact]]
) -> dict[Scored, frozenset[str]]:
    """Name the undone batches that each score which is folded anew has to leave out, among others."""
    workspace_of = {pair: work.submission.workspace.id for work in works for pair in work.touched}
    batches: dict[int, set[str]] = {}
    for pair, ledger in ledgers.items():
        batches.setdefault(workspace_of[pair], set()).update(change.batch for change in ledger.values())
    undone = {workspace: await facts.undone(session, workspace, named) for workspace, named in batches.items()}
    return {pair: undone[workspace_of[pair]] for pair in ledgers}


async def keep_fields(session: Session, works: Sequence[Work], *, now: int) -> None:
    """Let the latest value of each field win."""
    said: dict[int, list[Fact]] = {}
    for work in works:
        for entry in work.new:
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


async def _fields_anew(session: Session, work: Work) -> dict[int, contacts.Fields]:
    """Fold the fields of the contacts that an undo touches, where any fact speaks of them, or that were regrouped."""
    told = await facts.saying(session, {*work.spoken_of, *work.regrouped})
    batches = {fact.batch for each in told.values() for fact in each}
    left_out = await facts.undone(session, work.submission.workspace.id, batches)
    return {
        contact: fold_fields([fact for fact in each if fact.batch not in left_out], {})
        for contact, each in told.items()
        if each or contact in work.regrouped
    }
