"""Record submissions: THE write path, one transaction for a group of them.

Contacts, locks, who is one with whom, scores, facts, fold, effects, follow-ups, in this order, each step one statement
for the whole group; phases are never revisited and rows are taken in order, so that concurrent groups cannot deadlock.
"""

from collections.abc import Iterable, Mapping, Sequence

from storage.alerts import decide as alert_decisions
from storage.alerts import memory as alert_memory
from storage.db.database import Row, Session
from storage.domain.contacts import Reference
from storage.domain.errors import Changed, NothingToUndo, Refusal, UnknownContact
from storage.domain.facts import Deletion, Fact, Ignored, Item, Merge, Undo, Unusable
from storage.domain.fold import ScoreState, beginning
from storage.domain.rules import compile_rules
from storage.domain.score_types import ScoreType
from storage.domain.submissions import ItemOutcome, Recorded, Status, Submission, check_item
from storage.ledger import contacts, facts, projection
from storage.ledger import erase as erasing
from storage.ledger import merge as merging
from storage.ledger.facts import FactKey, Scored
from storage.ledger.plan import ContactReference, Plan, PlannedItem
from storage.ledger.project import fold_scores, keep_fields
from storage.ledger.resolve import identify, settle_repeat
from storage.scoring import definitions
from storage.scoring import drafts as redefining
from storage.sources import deliveries, readback_queue


class Apart(Exception):
    """One of the group makes contacts one, or parts them: it must be recorded by itself."""


async def record_group(session: Session, group: Sequence[Submission], *, now: int) -> list[Recorded | Refusal]:
    """Record submissions in one transaction; each is answered with its own outcome, or with why it was refused.

    Raises StartAgain where a contact was made or merged elsewhere meanwhile, Conflict where a submission of
    which all or nothing is to be taken repeats a key with other content: it must then be recorded by itself.
    Raises Changed where a score has moved on, Apart where one of several makes contacts one or parts them, OneByOne
    where what one asks for hangs on another; the committer gives such a submission a transaction of its own.
    """
    live, drafts = await definitions.live_and_drafts(session, {submission.workspace.id for submission in group})
    works = [_checked(submission, live[submission.workspace.id]) for submission in group]
    await identify(session, works, now=now)
    for work in works:
        await _begin_undo(session, work)
    await _lock(session, works)
    for work in works:
        await _append_undo(session, work)
    await _regroup(session, works)
    types = {pair: work.types[pair[1]] for work in works for pair in work.pairs}
    # In a statement of its own after the lock: read together with it, scores may be older than the lock.
    states = await projection.load_states(session, {pair: score_type.definition for pair, score_type in types.items()})
    states |= {pair: beginning(score_type) for pair, score_type in types.items() if pair not in states}
    states |= {
        pair: merging.carry_state(work, pair) for work in works for pair in work.pairs if pair[0] in work.regrouped
    }
    _check_unchanged(works, states)
    for work in works:
        await erasing.stamp_deletions(session, work)
    _stamp(works, states)
    await _append(session, works)
    for work in works:
        if work.submission.actor and work.new:  # only what has an actor can be undone
            batch = work.submission.batch
            work.is_undone = bool(await facts.undone_of(session, work.submission.workspace.id, [batch]))
    for work in works:
        if gone := await erasing.apply_deletions(session, work):
            await alert_memory.delete_memory(session, gone)
            types |= {pair: work.types[pair[1]] for pair in work.touched}
            states |= {pair: merging.carry_state(work, pair) for pair in work.touched if pair[0] in work.regrouped}
    await fold_scores(session, works, states, types)
    if drafts:
        await redefining.project_into_drafts(session, works, drafts)
    await keep_fields(session, works, now=now)  # last: the steps of both begin with the fields as they were
    await alert_decisions.decide_all(session, works, now=now)
    await _queue_readings(session, works, now=now)
    await _keep_deliveries(session, works)
    return [work.refusal or _recorded(work) for work in works]


def _checked(submission: Submission, types: Mapping[str, ScoreType]) -> Plan:
    """Check what can be checked without looking at the contact: type, range, step, time, address."""
    work = Plan(submission, types)
    for index, item in enumerate(submission.items):
        if isinstance(item, Unusable | Ignored):
            work.entries.append(item)
            continue
        entry = _entry(item)
        work.entries.append(entry)
        try:
            entry.at = check_item(item, types, received=submission.received_at, index=index)
            whom = [item.contact, item.into] if isinstance(item, Merge) else [item.contact]
            entry.named = [_naming(submission.workspace.id, one) for one in whom]
        except Refusal as refusal:
            work.refuse(entry, refusal)
    return work


def _entry(asked: Item | Merge | Deletion) -> PlannedItem:
    if isinstance(asked, Item):
        return PlannedItem(asked)
    item = Item(key=asked.key, contact=asked.contact, occurred_at=asked.occurred_at, raw=asked.raw)
    return PlannedItem(item, is_merge=isinstance(asked, Merge), is_deletion=isinstance(asked, Deletion))


def _naming(workspace: int, whom: Reference | int) -> ContactReference:
    if isinstance(whom, int):
        return ContactReference(row=whom)
    identities = tuple((workspace, namespace, key) for namespace, key in whom.identities())
    return ContactReference(email=whom.email.strip() if whom.email else None, identities=identities)


async def _begin_undo(session: Session, work: Plan) -> None:
    """Find out what an undo touches."""
    submission = work.submission
    if submission.undoes is None:
        return
    work.undo = Undo(
        source=submission.source, key=submission.batch, batch=submission.batch, actor=submission.actor,
        occurred_at=submission.received_at, undoes=submission.undoes,
    )  # fmt: skip  # what it is and whose, what it names
    batch = submission.undoes
    while members := list(await facts.batch_members(session, submission.workspace.id, batch)):
        if members[0]["kind"] != "undo":
            break
        batch = str(members[0]["undoes"])  # undoing an undo bears on what that one undid
    if not members:
        work.refusal = NothingToUndo()
        return
    bearing = [
        (row["contact_id"], key)
        for row in members
        for key, score_type in work.types.items()
        if row["subject"] == key or _is_ruled(row, score_type)
    ]
    work.undone = list(dict.fromkeys(bearing))
    work.parting = [id for row in members if row["other_id"] for id in (row["contact_id"], row["other_id"])]
    work.spoken_of = sorted({*(row["contact_id"] for row in members), *work.parting})
    work.roots = await contacts.roots(session, work.spoken_of)


def _is_ruled(row: Row, score_type: ScoreType) -> bool:
    """Tell whether the rules of a type ask for a fact."""
    judged = compile_rules(score_type.rules)
    return (row["activity"] is not None and judged.bears(row["activity"])) or (
        judged.asks_fields and row["said"] != "{}"
    )


async def _lock(session: Session, works: Sequence[Plan]) -> None:
    joining = [work for work in works if work.joined]
    if joining and len(works) > 1:
        raise Apart
    expected = {row: work.roots[row] for work in works for entry in work.unsettled for row in entry.rows}
    expected |= {row: work.roots[row] for work in works if work.refusal is None for row in work.spoken_of}
    expected |= {root: root for root in expected.values()}
    if joining:
        await merging.lock_contacts(session, joining[0], expected)
    else:
        await contacts.lock(session, expected)


async def _regroup(session: Session, works: Sequence[Plan]) -> None:
    """Write who is one with whom, and go by that from here on."""
    for work in works:
        if work.joined:
            await _append_links(session, work)
            await alert_memory.regroup_memory(session, await merging.apply_merges(session, work))
        for entry in work.unsettled:
            work.give(entry, entry.rows)
        if work.undo is not None:
            pairs = [(work.roots[row], subject) for row, subject in work.undone]
            work.undone = list(dict.fromkeys(pairs))
            work.spoken_of = sorted({work.roots[row] for row in work.spoken_of})


async def _append_links(session: Session, work: Plan) -> None:
    """Write who is proved to be one; raises StartAgain where another transaction did just now."""
    new: dict[FactKey, tuple[int | None, Fact]] = {}
    for entry in work.unsettled:
        for link in entry.links:
            new[work.link_key(entry, link[0])] = (link[1], work.merged(entry, link))
    if len(await facts.append(session, new, received_at=dict.fromkeys(new, work.submission.received_at))) < len(new):
        raise contacts.StartAgain
    for entry in work.unsettled:
        if entry.is_merge:
            entry.status = Status.APPLIED


def _check_unchanged(works: Sequence[Plan], states: Mapping[Scored, ScoreState]) -> None:
    """Raise Changed where what was asked for stands on a score that has moved on since."""
    for work in works:
        seen = work.submission.unless_later
        for entry in work.unsettled:
            if seen is not None and entry.scored and states[entry.scored].last[0] > seen:
                raise Changed


def _stamp(works: Sequence[Plan], states: Mapping[Scored, ScoreState]) -> None:
    """Time the facts: what a person does, or we stamp ourselves, comes after all that the score has seen."""
    latest = {pair: state.last[0] for pair, state in states.items()}
    for work in works:
        for entry in work.unsettled:
            pairs, at = work.bears_on(entry), entry.at
            if entry.item.occurred_at is None or work.submission.actor:
                at = max([at, *(latest[pair] + 1 for pair in pairs)])
            latest |= {pair: max(latest[pair], at) for pair in pairs}
            entry.fact = work.fact(entry, at)


async def _append(session: Session, works: Sequence[Plan]) -> None:
    """Write the facts; those that another transaction wrote just now are repeats.

    Its writer held the lock of their contact, so what was read under ours has seen what they did.
    Raises StartAgain where they are another contact's, Conflict as the caller says.
    """
    new: dict[FactKey, tuple[int | None, Fact]] = {}
    received: dict[FactKey, int] = {}
    whose: dict[FactKey, int | None] = {}
    for work in works:
        for entry in work.unsettled:
            assert entry.fact is not None
            key = work.fact_key(entry)
            row, whose[key] = (None, None) if entry.is_deletion else (entry.rows[0], entry.contact)
            new[key], received[key] = (row, entry.fact), work.submission.received_at
    ids = await facts.append(session, new, received_at=received) if new else {}
    there = await facts.load_stored(session, new.keys() - ids.keys()) if len(ids) < len(new) else {}
    roots = await contacts.roots(session, {row for row, _, _ in there.values() if row is not None}) if there else {}
    if any(whose[key] != (None if row is None else roots[row]) for key, (row, _, _) in there.items()):
        raise contacts.StartAgain
    for work in works:
        for entry in work.unsettled:
            key = work.fact_key(entry)
            if key in there:
                settle_repeat(work, entry, there[key], is_same=True)
            else:
                entry.fact_id, entry.status = ids[key], Status.APPLIED


async def _append_undo(session: Session, work: Plan) -> None:
    submission, undo = work.submission, work.undo
    if undo is None or work.refusal is not None:
        return
    workspace = submission.workspace.id
    key = facts.fact_key(workspace, undo)
    if await facts.load_stored(session, [key]):
        work.undone, work.spoken_of, work.parting = [], [], []  # a repeat of this very request
        return
    if await facts.undone_of(session, workspace, [undo.undoes]):
        work.refusal = NothingToUndo("that was undone already")
        return
    await facts.append(session, {key: (None, undo)}, received_at={key: submission.received_at})


async def _queue_readings(session: Session, works: Iterable[Plan], *, now: int) -> None:
    """Have those read at their source whom it named by an id alone; always where it said nothing else of them."""
    wanted = [
        (entry.identities[0], _is_bare(entry.item))
        for work in works
        if work.submission.delivered is not None and work.submission.delivered.reads
        for entry in work.live
        if [namespace for _, namespace, _ in entry.identities] == [work.submission.source] and not entry.is_deletion
        # Nothing tells the repeat of an event that says nothing from the next one.
        if entry.fact_id is not None or (entry.status is Status.DUPLICATE and _is_bare(entry.item))
    ]
    if wanted:
        await readback_queue.enqueue_readbacks(session, wanted, now=now)


def _is_bare(item: Item) -> bool:
    return not (item.score or item.activity or item.fields)


async def _keep_deliveries(session: Session, works: Iterable[Plan]) -> None:
    kept = [(work.submission, _outcomes(work), _raws(work)) for work in works if _is_kept(work)]
    if kept:
        await deliveries.save_deliveries(session, kept)


def _is_kept(work: Plan) -> bool:
    """Tell whether a submission is kept as a delivery: what we read of a contact who is gone meanwhile is not."""
    delivered = work.submission.delivered
    if delivered is None or not delivered.was_read:
        return delivered is not None
    refusals = [entry.refusal if isinstance(entry, PlannedItem) else entry for entry in work.entries]
    aside = [one for one in refusals if isinstance(one, Refusal | Unusable)]
    return bool(aside) and not any(isinstance(one, UnknownContact) for one in aside)


def _raws(work: Plan) -> list[tuple[str, str]]:
    entries = [entry.item if isinstance(entry, PlannedItem) else entry for entry in work.entries]
    return [(entry.key, entry.raw) for entry in entries]


def _outcomes(work: Plan) -> tuple[ItemOutcome, ...]:
    return tuple(
        ItemOutcome(status=Status.QUARANTINED, reason=entry.reason)
        if isinstance(entry, Unusable)
        else ItemOutcome(status=Status.IGNORED, reason=entry.reason)
        if isinstance(entry, Ignored)
        else ItemOutcome(status=Status.QUARANTINED, reason=str(entry.refusal))
        if entry.refusal is not None
        else ItemOutcome(status=entry.status or Status.APPLIED, reason=entry.note)
        for entry in work.entries
    )


def _recorded(work: Plan) -> Recorded:
    return Recorded(
        outcomes=_outcomes(work), moved=tuple(work.moved), undone=tuple(work.spoken_of), unasked=work.unasked
    )
