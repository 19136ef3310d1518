"""Record submissions: THE write path, one transaction for a group of them.

Contacts, locks, scores, facts, fold, effects, follow-ups, in this order, each step one statement for the whole group;
phases are never revisited and rows are taken in order, so that concurrent groups cannot deadlock."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from storage import alerting, contacts, definitions, deliveries, facts, redefining, scores
from storage.contacts import Identity
from storage.database import Row, Session
from storage.domain.contacts import Reference
from storage.domain.errors import (
    BadItem,
    Changed,
    Conflict,
    NothingToUndo,
    Refusal,
    TwoContacts,
    UnknownContact,
    UnknownScoreType,
)
from storage.domain.facts import (
    Activity,
    Asked,
    Change,
    Deletion,
    Fact,
    FieldValue,
    Ignored,
    Item,
    Merge,
    Op,
    Undo,
    Unusable,
    stamp,
)
from storage.domain.fold import State, beginning
from storage.domain.rules import judge
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Outcome, Recorded, Status, Submission
from storage.facts import FactKey, Scored
from storage.folding import fold_scores, keep_fields
from storage.work import Entry, Work


async def record_group(session: Session, group: Sequence[Submission], *, now: int) -> list[Recorded | Refusal]:
    """Record submissions in one transaction; each is answered with its own outcome, or with why it was refused.

    Raises StartAgain where a contact was made or merged elsewhere meanwhile, Conflict where a submission of
    which all or nothing is to be taken repeats a key with other content: it must then be recorded by itself.
    Raises Changed where a score has moved on; the committer gives such a submission a transaction of its own.
    """
    live, drafts = await definitions.live_and_drafts(session, {submission.workspace.id for submission in group})
    works = [_checked(submission, live[submission.workspace.id]) for submission in group]
    await _identify(session, works, now=now)
    for work in works:
        await _begin_undo(session, work)
    await _lock(session, works)
    types = {pair: work.types[pair[1]] for work in works for pair in work.pairs}
    # In a statement of its own after the lock: read together with it, scores may be older than the lock.
    states = await scores.states(session, {pair: score_type.definition for pair, score_type in types.items()})
    states |= {pair: beginning(score_type) for pair, score_type in types.items() if pair not in states}
    _check_unchanged(works, states)
    _stamp(works, states)
    await _append(session, works)
    await fold_scores(session, works, states, types)
    await keep_fields(session, works, now=now)
    if drafts:
        await redefining.follow(session, works, drafts)
    await alerting.decide_all(session, works, now=now)
    await _keep_deliveries(session, works)
    return [work.refusal or _recorded(work) for work in works]


def _checked(submission: Submission, types: Mapping[str, ScoreType]) -> Work:
    """Check what can be checked without looking at the contact: type, range, step, time, address."""
    work = Work(submission, types)
    for index, asked in enumerate(submission.items):
        item = _not_yet(asked)
        if isinstance(item, Unusable | Ignored):
            work.entries.append(item)
            continue
        entry = Entry(item)
        work.entries.append(entry)
        try:
            _check_score(item, types)
            entry.at = stamp(item.occurred_at, received=submission.received_at, index=index)
            if isinstance(item.contact, Reference):
                named = item.contact.identities()
                entry.identities = tuple((submission.workspace.id, namespace, key) for namespace, key in named)
                if not named:
                    raise BadItem("the item names nobody: give an address, or an id")
        except Refusal as refusal:
            work.refuse(entry, refusal)
    return work


def _not_yet(asked: Asked) -> Item | Unusable | Ignored:
    """Set aside what cannot be done yet, so that it can be replayed on the day it can."""
    match asked:
        case Merge():
            reason = "contacts cannot be merged yet; replay it when they can"
        case Deletion():
            reason = "contacts cannot be deleted yet; replay it when they can"
        case _:
            return asked
    return Unusable(key=asked.key, reason=reason, raw=asked.raw)


def _check_score(item: Item, types: Mapping[str, ScoreType]) -> None:
    if item.score is None:
        return
    if item.score not in types:
        raise UnknownScoreType(item.score, known=tuple(types))
    if item.op is Op.SET:
        types[item.score].check_set(item.amount)
    elif item.op is Op.ADD:
        types[item.score].check_add(item.amount)


async def _identify(session: Session, works: Sequence[Work], *, now: int) -> None:
    """Find the contact of every entry, making those not known yet; what is refused or repeated makes nobody."""
    await _check_ours(session, works)
    # Facts before contacts: what another process commits in between is then met again when it is written.
    there = await facts.stored(session, {_fact_key(work, entry) for work in works for entry in work.live})
    ids = await contacts.known(session, [one for work in works for entry in work.live for one in entry.identities])
    firsts: dict[FactKey, tuple[int | None, int, Fact]] = {}
    making = _Making()
    for work in works:
        before = making.copy()
        known, earlier = dict(ids), dict(firsts)
        for entry in work.live:
            key = _fact_key(work, entry)
            entry.contact = _known_contact(entry, ids)
            if key in there or key in firsts:
                # Two that share a commit are compared as the one that came first will be stored.
                _settle_repeat(work, entry, there.get(key) or firsts[key])
            elif _meet(work, entry, ids, making):
                entry.fact = _fact(work.submission, entry.item, entry.at)
                firsts[key] = (entry.contact, work.submission.received_at, entry.fact)
        if work.refusal is not None:
            ids, making, firsts = known, before, earlier
    await _make(session, works, making, now=now)


async def _check_ours(session: Session, works: Sequence[Work]) -> None:
    """Refuse contacts given by an id that is not this workspace's."""
    given = [
        (work, entry, (work.submission.workspace.id, entry.item.contact))
        for work in works
        for entry in work.unsettled
        if isinstance(entry.item.contact, int)
    ]
    if given:
        ours = await contacts.belonging(session, {pair for _, _, pair in given})
        for work, entry, pair in given:
            if pair not in ours:
                work.refuse(entry, UnknownContact())


@dataclass(slots=True)
class _Making:
    """The contacts to be made, which have negative ids until then, and whose the new identities are to be."""

    people: list[tuple[int, str | None]] = field(default_factory=list)
    names: dict[Identity, int] = field(default_factory=dict)

    def copy(self) -> "_Making":
        """Remember what it was."""
        return _Making(list(self.people), dict(self.names))


def _meet(work: Work, entry: Entry, ids: dict[Identity, int], making: _Making) -> bool:
    """Give an entry its contact, old or new, and the contact the identities it brings; false where that is refused."""
    found = {ids[one] for one in entry.identities if one in ids}
    if len(found) > 1:
        work.refuse(entry, TwoContacts())
        return False
    if isinstance(entry.item.contact, Reference) and not found:
        if not work.submission.creates:
            work.refuse(entry, UnknownContact())
            return False
        address = entry.item.contact.email
        making.people.append((work.submission.workspace.id, address.strip() if address else None))
        entry.contact = -len(making.people)
    elif found:
        entry.contact = found.pop()
    assert entry.contact is not None
    fresh = {one: entry.contact for one in entry.identities if one not in ids}
    ids |= fresh
    making.names |= fresh
    return True


async def _make(session: Session, works: Sequence[Work], making: _Making, *, now: int) -> None:
    real: dict[int, int] = {}
    if making.people:
        made = await contacts.make(session, making.people, now=now)
        real = {-position: id for position, id in enumerate(made, start=1)}
    for work in works:
        for entry in work.live:
            entry.contact = real.get(entry.contact, entry.contact) if entry.contact is not None else None
    if making.names:
        names = {identity: real.get(contact, contact) for identity, contact in making.names.items()}
        await contacts.name(session, names)


def _fact_key(work: Work, entry: Entry) -> FactKey:
    return (work.submission.workspace.id, work.submission.source, entry.item.key, entry.item.score or "")


def _known_contact(entry: Entry, ids: Mapping[Identity, int]) -> int | None:
    """Give the contact that every identity of an entry names, or none where they do not all name one."""
    if isinstance(entry.item.contact, int):
        return entry.item.contact
    found = {ids.get(one) for one in entry.identities}
    return found.pop() if len(found) == 1 else None


def _settle_repeat(work: Work, entry: Entry, there: tuple[int | None, int, Fact]) -> None:
    """Tell a repeat of a fact from a contradiction; a time that we stamped is not the sender's word."""
    contact, received_at, fact = there
    asked = entry.item.occurred_at
    same_time = asked is None or min(asked, received_at) == fact.occurred_at
    again = _fact(work.submission, entry.item, fact.occurred_at)
    if entry.contact == contact and same_time and replace(again, batch=fact.batch, actor=fact.actor) == fact:
        entry.status = Status.DUPLICATE
        return
    if work.submission.all_or_none:
        raise Conflict
    work.refuse(entry, Conflict("conflict"))


async def _begin_undo(session: Session, work: Work) -> None:
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
    bearing = [
        (row["contact_id"], key)
        for row in members
        for key, score_type in work.types.items()
        if row["subject"] == key or _is_ruled(row, score_type)
    ]
    work.undone = list(dict.fromkeys(bearing))
    work.spoken_of = sorted({row["contact_id"] for row in members})


def _is_ruled(row: Row, score_type: ScoreType) -> bool:
    """Tell whether the rules of a type ask for a fact."""
    judged = judge(score_type.rules)
    return (row["activity"] is not None and judged.bears(row["activity"])) or (
        judged.asks_fields and row["said"] != "{}"
    )


async def _lock(session: Session, works: Sequence[Work]) -> None:
    held = {entry.contact for work in works for entry in work.unsettled if entry.contact is not None}
    held |= {contact for work in works if work.refusal is None for contact in work.spoken_of}
    await contacts.lock(session, held)


def _check_unchanged(works: Sequence[Work], states: Mapping[Scored, State]) -> None:
    """Raise Changed where what was asked for stands on a score that has moved on since."""
    for work in works:
        seen = work.submission.unless_later
        for entry in work.unsettled:
            if seen is not None and entry.scored and states[entry.scored].last[0] > seen:
                raise Changed


def _stamp(works: Sequence[Work], states: Mapping[Scored, State]) -> None:
    """Time the facts: what a person does, or we stamp ourselves, comes after all that the score has seen."""
    latest = {pair: state.last[0] for pair, state in states.items()}
    for work in works:
        for entry in work.unsettled:
            pairs, at = work.bears_on(entry), entry.at
            if entry.item.occurred_at is None or work.submission.actor:
                at = max([at, *(latest[pair] + 1 for pair in pairs)])
            latest |= {pair: max(latest[pair], at) for pair in pairs}
            entry.fact = _fact(work.submission, entry.item, at)


def _fact(submission: Submission, item: Item, at: int) -> Fact:
    if item.activity is not None:
        return Activity(
            source=submission.source, key=item.key, occurred_at=at, batch=submission.batch,
            actor=submission.actor, reason=item.reason, fields=item.fields,
            activity=item.activity, quantity=item.amount,
        )  # fmt: skip  # the same columns as below, then the activity
    if item.score is None or item.op is None:
        return FieldValue(
            source=submission.source, key=item.key, occurred_at=at, batch=submission.batch,
            actor=submission.actor, reason=item.reason, fields=item.fields,
        )  # fmt: skip  # the same columns as below
    return Change(
        source=submission.source, key=item.key, occurred_at=at, batch=submission.batch,
        actor=submission.actor, reason=item.reason, fields=item.fields,
        score=item.score, op=item.op, amount=item.amount,
    )  # fmt: skip  # the same columns as above, then the change


async def _append(session: Session, works: Sequence[Work]) -> None:
    """Write the facts; those that another transaction wrote just now are repeats.

    Its writer held the lock of their contact, so what was read under ours has seen what they did.
    Raises StartAgain where they are another contact's, Conflict as the caller says.
    """
    new: dict[FactKey, tuple[int | None, Fact]] = {}
    received: dict[FactKey, int] = {}
    for work in works:
        for entry in work.unsettled:
            assert entry.fact is not None
            key = _fact_key(work, entry)
            new[key], received[key] = (entry.contact, entry.fact), work.submission.received_at
        if work.undo is not None and work.refusal is None:
            await _append_undo(session, work)
    ids = await facts.append(session, new, received_at=received) if new else {}
    there = await facts.stored(session, new.keys() - ids.keys()) if len(ids) < len(new) else {}
    if any(new[key][0] != contact for key, (contact, _, _) in there.items()):
        raise contacts.StartAgain
    for work in works:
        for entry in work.unsettled:
            key = _fact_key(work, entry)
            if key in there:
                _settle_repeat(work, entry, there[key])
            else:
                entry.fact_id, entry.status = ids[key], Status.APPLIED


async def _append_undo(session: Session, work: Work) -> None:
    submission, undo = work.submission, work.undo
    assert undo is not None
    workspace = submission.workspace.id
    key = facts.fact_key(workspace, undo)
    if await facts.stored(session, [key]):
        work.undone, work.spoken_of = [], []  # a repeat of this very request
        return
    if await facts.undone(session, workspace, [undo.undoes]):
        work.refusal = NothingToUndo("that was undone already")
        return
    await facts.append(session, {key: (None, undo)}, received_at={key: submission.received_at})


async def _keep_deliveries(session: Session, works: Iterable[Work]) -> None:
    kept = [(work.submission, _outcomes(work), _raws(work)) for work in works if work.submission.delivered]
    if kept:
        await deliveries.keep(session, kept)


def _raws(work: Work) -> list[tuple[str, str]]:
    entries = [entry.item if isinstance(entry, Entry) else entry for entry in work.entries]
    return [(entry.key, entry.raw) for entry in entries]


def _outcomes(work: Work) -> tuple[Outcome, ...]:
    return tuple(
        Outcome(status=Status.QUARANTINED, reason=entry.reason)
        if isinstance(entry, Unusable)
        else Outcome(status=Status.IGNORED, reason=entry.reason)
        if isinstance(entry, Ignored)
        else Outcome(status=Status.QUARANTINED, reason=str(entry.refusal))
        if entry.refusal is not None
        else Outcome(status=entry.status or Status.APPLIED)
        for entry in work.entries
    )


def _recorded(work: Work) -> Recorded:
    return Recorded(
        outcomes=_outcomes(work), moved=tuple(work.moved), undone=tuple(work.spoken_of), unasked=work.unasked
    )
