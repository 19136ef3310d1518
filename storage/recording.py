"""Record submissions: THE write path, one transaction for a group of them.

Contacts, locks, who is one with whom, scores, facts, fold, effects, follow-ups, in this order, each step one statement
for the whole group; phases are never revisited and rows are taken in order, so that concurrent groups cannot deadlock.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from storage import (
    alert_memory,
    alerting,
    contacts,
    definitions,
    deleting,
    deliveries,
    facts,
    merging,
    redefining,
    scores,
)
from storage.contacts import Identity
from storage.database import Row, Session
from storage.domain.contacts import Reference
from storage.domain.errors import (
    BadItem,
    Changed,
    Conflict,
    NothingToUndo,
    Refusal,
    UnknownContact,
    UnknownScoreType,
)
from storage.domain.facts import (
    DELETE,
    Activity,
    Change,
    Deleted,
    Deletion,
    Fact,
    FieldValue,
    Ignored,
    Item,
    Merge,
    Merged,
    Op,
    Undo,
    Unusable,
    stamp,
)
from storage.domain.fold import State, beginning
from storage.domain.rules import judge
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Outcome, Recorded, Status, Submission
from storage.facts import FactKey, Scored, Stored
from storage.folding import fold_scores, keep_fields
from storage.work import Entry, Naming, Work


class Apart(Exception):
    """One of the group makes contacts one, or parts them: it must be recorded by itself."""


async def record_group(session: Session, group: Sequence[Submission], *, now: int) -> list[Recorded | Refusal]:
    """Record submissions in one transaction; each is answered with its own outcome, or with why it was refused.

    Raises StartAgain where a contact was made or merged elsewhere meanwhile, Conflict where a submission of
    which all or nothing is to be taken repeats a key with other content: it must then be recorded by itself.
    Raises Changed where a score has moved on, Apart where one of several makes contacts one or parts them;
    the committer gives such a submission a transaction of its own.
    """
    live, drafts = await definitions.live_and_drafts(session, {submission.workspace.id for submission in group})
    works = [_checked(submission, live[submission.workspace.id]) for submission in group]
    await _identify(session, works, now=now)
    for work in works:
        await _begin_undo(session, work)
    await _lock(session, works)
    for work in works:
        await _append_undo(session, work)
    await _regroup(session, works)
    types = {pair: work.types[pair[1]] for work in works for pair in work.pairs}
    # In a statement of its own after the lock: read together with it, scores may be older than the lock.
    states = await scores.states(session, {pair: score_type.definition for pair, score_type in types.items()})
    states |= {pair: beginning(score_type) for pair, score_type in types.items() if pair not in states}
    states |= {pair: merging.carried(work, pair) for work in works for pair in work.pairs if pair[0] in work.regrouped}
    _check_unchanged(works, states)
    for work in works:
        await deleting.stamp(session, work)
    _stamp(works, states)
    await _append(session, works)
    for work in works:
        if gone := await deleting.delete(session, work):
            await alert_memory.forget(session, gone)
            types |= {pair: work.types[pair[1]] for pair in work.touched}
            states |= {pair: merging.carried(work, pair) for pair in work.touched if pair[0] in work.regrouped}
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
    for index, item in enumerate(submission.items):
        if isinstance(item, Unusable | Ignored):
            work.entries.append(item)
            continue
        entry = _entry(item)
        work.entries.append(entry)
        try:
            _check_score(entry.item, types)
            entry.at = stamp(item.occurred_at, received=submission.received_at, index=index)
            whom = [item.contact, item.into] if isinstance(item, Merge) else [item.contact]
            entry.named = [_naming(submission.workspace.id, one) for one in whom]
        except Refusal as refusal:
            work.refuse(entry, refusal)
    return work


def _entry(asked: Item | Merge | Deletion) -> Entry:
    if isinstance(asked, Item):
        return Entry(asked)
    item = Item(key=asked.key, contact=asked.contact, occurred_at=asked.occurred_at, raw=asked.raw)
    return Entry(item, is_merge=isinstance(asked, Merge), is_deletion=isinstance(asked, Deletion))


def _naming(workspace: int, whom: Reference | int) -> Naming:
    if isinstance(whom, int):
        return Naming(row=whom)
    named = whom.identities()
    if not named:
        raise BadItem("the item names nobody: give an address, or an id")
    identities = tuple((workspace, namespace, key) for namespace, key in named)
    return Naming(email=whom.email.strip() if whom.email else None, identities=identities)


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
    roots = await _check_ours(session, works)
    # Facts before contacts: what another process commits in between is then met again when it is written.
    there = await facts.stored(session, {_fact_key(work, entry) for work in works for entry in work.live})
    found = await contacts.owners(session, [one for work in works for entry in work.live for one in entry.identities])
    roots |= dict(found.values())
    ids = {identity: row for identity, (row, _) in found.items()}
    there |= await _links_there(session, works, ids)
    graves = await deleting.buried(session, [one for work in works for entry in work.live for one in entry.identities])
    making = _Making()
    for work in works:
        work.roots = roots
        before = making.copy()
        known, earlier = dict(ids), dict(there)
        for entry in work.live:
            key = _fact_key(work, entry)
            if key in there:
                # Two that share a commit are compared as the one that came first will be stored.
                _settle_repeat(work, entry, there[key], is_same=_is_same(work, entry, ids, there))
            elif not entry.is_deletion and any(graves.get(one, -1) >= entry.at for one in entry.identities):
                entry.status, entry.note = Status.IGNORED, deleting.DELETED
            elif _meet(work, entry, ids, making) and _link(work, entry, there) and not entry.is_merge:
                entry.fact = _fact(work.submission, entry, entry.at)
                there[key] = (entry.contact, work.submission.received_at, entry.fact)
        if work.refusal is not None:
            ids, making, there = known, before, earlier
    await _make(session, works, making, now=now)
    # Who was deleted while we waited to name somebody the same is found again.
    again = await deleting.buried(session, making.names) if making.names else {}
    if any(graves.get(one) != until for one, until in again.items()):
        raise contacts.StartAgain


async def _check_ours(session: Session, works: Sequence[Work]) -> dict[int, int]:
    """Refuse contacts given by an id that is not this workspace's; give whom the others are one with."""
    given = [
        (work, entry, (work.submission.workspace.id, naming.row))
        for work in works
        for entry in work.unsettled
        for naming in entry.named
        if naming.row is not None
    ]
    ours = await contacts.belonging(session, {pair for _, _, pair in given}) if given else {}
    for work, entry, pair in given:
        if pair not in ours:
            work.refuse(entry, UnknownContact())
    return {row: root for (_, row), root in ours.items()}


async def _links_there(session: Session, works: Sequence[Work], ids: Mapping[Identity, int]) -> dict[FactKey, Stored]:
    """Give what the ledger says already of the contacts that one item names at once."""
    keys = {
        _link_key(work, entry, place)
        for work in works
        for entry in work.live
        for place, _, _ in _links({row for row in _rows(entry, ids) if row is not None})
    }
    return await facts.stored(session, keys) if keys else {}


@dataclass(slots=True)
class _Making:
    """The contacts to be made, which have negative ids until then, and whose the new identities are to be."""

    people: list[tuple[int, str | None]] = field(default_factory=list)
    names: dict[Identity, int] = field(default_factory=dict)

    def copy(self) -> "_Making":
        """Remember what it was."""
        return _Making(list(self.people), dict(self.names))


def _meet(work: Work, entry: Entry, ids: dict[Identity, int], making: _Making) -> bool:
    """Give an entry its contacts, old or new, and these the identities it brings; false where that is refused."""
    rows = set()
    for naming in entry.named:
        found = {naming.row} if naming.row is not None else {ids[one] for one in naming.identities if one in ids}
        if not found and not work.submission.creates:
            work.refuse(entry, UnknownContact())
            return False
        if not found:
            making.people.append((work.submission.workspace.id, naming.email))
            found = {-len(making.people)}
        fresh = {one: min(found) for one in naming.identities if one not in ids}
        ids |= fresh
        making.names |= fresh
        rows |= found
    _give(work, entry, rows)
    return True


def _give(work: Work, entry: Entry, rows: Collection[int]) -> None:
    entry.rows = tuple(sorted(rows))
    entry.contact = work.roots.get(entry.rows[0], entry.rows[0])


def _link(work: Work, entry: Entry, there: dict[FactKey, Stored]) -> bool:
    """Note which of its contacts an entry proves to be one; false where the same key has said otherwise."""
    links = [] if entry.is_deletion else _links(entry.rows)
    if entry.is_merge and not links:
        entry.status, entry.note = Status.IGNORED, "these are one contact already"
    for link in links:
        key = _link_key(work, entry, link[0])
        if key not in there:
            entry.links.append(link)
            there[key] = (entry.contact, work.submission.received_at, _merged(work.submission, entry, link))
        elif not _says(there[key], link):
            _contradict(work, entry)
            return False
    return True


def _links(rows: Collection[int]) -> list[tuple[int, int, int]]:
    """Link the first of some contacts to each of the others: (place, contact, contact)."""
    first, *others = sorted(rows) or (0,)
    return [(place, first, other) for place, other in enumerate(others, start=1)]


def _says(stored: Stored, link: tuple[int, int, int]) -> bool:
    fact = stored[2]
    return isinstance(fact, Merged) and (fact.one, fact.other) == link[1:]


def _merged(submission: Submission, entry: Entry, link: tuple[int, int, int]) -> Merged:
    place, one, other = link
    return Merged(
        source=submission.source, key=entry.item.key, occurred_at=entry.at, batch=submission.batch,
        actor=submission.actor, one=one, other=other, place=place,
    )  # fmt: skip  # the same columns as every fact, then who is one


async def _make(session: Session, works: Sequence[Work], making: _Making, *, now: int) -> None:
    real: dict[int, int] = {}
    if making.people:
        made = await contacts.make(session, making.people, now=now)
        real = {-position: id for position, id in enumerate(made, start=1)}
    for work in works:
        work.roots |= {id: id for id in real.values()}
        for entry in work.unsettled:
            _give(work, entry, [real.get(row, row) for row in entry.rows])
            places = {place for place, _, _ in entry.links}
            entry.links = [link for link in _links(entry.rows) if link[0] in places]
    if making.names:
        names = {identity: real.get(contact, contact) for identity, contact in making.names.items()}
        await contacts.name(session, names)


def _fact_key(work: Work, entry: Entry) -> FactKey:
    if entry.is_merge:
        return _link_key(work, entry, 1)
    if entry.is_deletion:
        return (work.submission.workspace.id, work.submission.source, entry.item.key, DELETE)
    return (work.submission.workspace.id, work.submission.source, entry.item.key, entry.item.score or "")


def _link_key(work: Work, entry: Entry, place: int) -> FactKey:
    return facts.fact_key(work.submission.workspace.id, _merged(work.submission, entry, (place, 0, 0)))


def _rows(entry: Entry, ids: Mapping[Identity, int]) -> list[int | None]:
    """Give the contacts that an entry names, none for each that is not known."""
    rows: list[int | None] = [ids.get(one) for one in entry.identities]
    return rows + [naming.row for naming in entry.named if naming.row is not None]


def _is_same(work: Work, entry: Entry, ids: Mapping[Identity, int], there: Mapping[FactKey, Stored]) -> bool:
    """Tell whether an entry names whom the fact under its key is about, with everything it names them by."""
    rows = [row for row in _rows(entry, ids) if row is not None]
    if len(rows) < len(_rows(entry, ids)):
        return False
    links = _links(set(rows))
    said = all(
        _link_key(work, entry, one[0]) in there and _says(there[_link_key(work, entry, one[0])], one) for one in links
    )
    if entry.is_merge:
        return said and bool(links)
    named = {work.roots.get(row, row) for row in rows}
    contact = there[_fact_key(work, entry)][0]
    return named == {contact} or (contact in named and said)


def _settle_repeat(work: Work, entry: Entry, there: Stored, *, is_same: bool) -> None:
    """Tell a repeat of a fact from a contradiction; a time that we stamped is not the sender's word."""
    _, received_at, fact = there
    if isinstance(fact, Deleted):  # nothing is left to compare it with
        entry.status = Status.DUPLICATE
        return
    asked = entry.item.occurred_at
    same_time = asked is None or min(asked, received_at) == fact.occurred_at
    again = fact if entry.is_merge else _fact(work.submission, entry, fact.occurred_at)
    if is_same and same_time and replace(again, batch=fact.batch, actor=fact.actor) == fact:
        entry.status = Status.DUPLICATE
    else:
        _contradict(work, entry)


def _contradict(work: Work, entry: Entry) -> None:
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
    judged = judge(score_type.rules)
    return (row["activity"] is not None and judged.bears(row["activity"])) or (
        judged.asks_fields and row["said"] != "{}"
    )


async def _lock(session: Session, works: Sequence[Work]) -> None:
    joining = [work for work in works if work.joined]
    if joining and len(works) > 1:
        raise Apart
    expected = {row: work.roots[row] for work in works for entry in work.unsettled for row in entry.rows}
    expected |= {row: work.roots[row] for work in works if work.refusal is None for row in work.spoken_of}
    expected |= {root: root for root in expected.values()}
    if joining:
        await merging.lock_all(session, joining[0], expected)
    else:
        await contacts.lock(session, expected)


async def _regroup(session: Session, works: Sequence[Work]) -> None:
    """Write who is one with whom, and go by that from here on."""
    for work in works:
        if work.joined:
            await _append_links(session, work)
            parts = await merging.regroup(session, work)
            await alert_memory.hand_over(session, parts)
        for entry in work.unsettled:
            _give(work, entry, entry.rows)
        if work.undo is not None:
            pairs = [(work.roots[row], subject) for row, subject in work.undone]
            work.undone = list(dict.fromkeys(pairs))
            work.spoken_of = sorted({work.roots[row] for row in work.spoken_of})


async def _append_links(session: Session, work: Work) -> None:
    """Write who is proved to be one; raises StartAgain where another transaction did just now."""
    new: dict[FactKey, tuple[int | None, Fact]] = {}
    for entry in work.unsettled:
        for link in entry.links:
            new[_link_key(work, entry, link[0])] = (link[1], _merged(work.submission, entry, link))
    if len(await facts.append(session, new, received_at=dict.fromkeys(new, work.submission.received_at))) < len(new):
        raise contacts.StartAgain
    for entry in work.unsettled:
        if entry.is_merge:
            entry.status = Status.APPLIED


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
            entry.fact = _fact(work.submission, entry, at)


def _fact(submission: Submission, entry: Entry, at: int) -> Fact:
    item = entry.item
    if entry.is_deletion:
        return Deleted(source=submission.source, key=item.key, occurred_at=at, batch=submission.batch)
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
    whose: dict[FactKey, int | None] = {}
    for work in works:
        for entry in work.unsettled:
            assert entry.fact is not None
            key = _fact_key(work, entry)
            row, whose[key] = (None, None) if entry.is_deletion else (entry.rows[0], entry.contact)
            new[key], received[key] = (row, entry.fact), work.submission.received_at
    ids = await facts.append(session, new, received_at=received) if new else {}
    there = await facts.stored(session, new.keys() - ids.keys()) if len(ids) < len(new) else {}
    if any(whose[key] != contact for key, (contact, _, _) in there.items()):
        raise contacts.StartAgain
    for work in works:
        for entry in work.unsettled:
            key = _fact_key(work, entry)
            if key in there:
                _settle_repeat(work, entry, there[key], is_same=True)
            else:
                entry.fact_id, entry.status = ids[key], Status.APPLIED


async def _append_undo(session: Session, work: Work) -> None:
    submission, undo = work.submission, work.undo
    if undo is None or work.refusal is not None:
        return
    workspace = submission.workspace.id
    key = facts.fact_key(workspace, undo)
    if await facts.stored(session, [key]):
        work.undone, work.spoken_of, work.parting = [], [], []  # a repeat of this very request
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
        else Outcome(status=entry.status or Status.APPLIED, reason=entry.note)
        for entry in work.entries
    )


def _recorded(work: Work) -> Recorded:
    return Recorded(
        outcomes=_outcomes(work), moved=tuple(work.moved), undone=tuple(work.spoken_of), unasked=work.unasked
    )
