"""Make contacts one, or part them again, and say which scores are to be folded anew for that."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from storage.db.database import Session
from storage.domain.facts import resolve_merges
from storage.domain.fold import ScoreState, beginning
from storage.ledger import contacts, facts, projection
from storage.ledger.contacts import StartAgain
from storage.ledger.facts import Scored
from storage.ledger.plan import Plan


async def lock_contacts(session: Session, work: Plan, expected: dict[int, int]) -> None:
    """Hold the contacts of *expected*, and all that are one with those which the work makes one or parts."""
    joined = {work.roots[row] for row in work.joined}
    work.members = await contacts.members(session, joined)
    await contacts.lock(session, expected | work.members)
    # Whoever joins or leaves holds the row of the one they are one with, so that under our lock they stay the same.
    if await contacts.members(session, joined) != work.members:
        raise StartAgain


async def apply_merges(session: Session, work: Plan) -> dict[int, int]:
    """Go by the words in the ledger that stand: write who is one with whom; give those of whom that is other now.

    Scores and effects of all concerned are taken away, to be folded anew.
    """
    said = await facts.load_merge_links(session, work.members)
    undone = await facts.undone_of(session, work.submission.workspace.id, {batch for _, _, batch in said})
    roots = resolve_merges(work.members, [(one, other) for one, other, batch in said if batch not in undone])
    work.roots |= roots
    moved = {row: root for row, root in roots.items() if work.members[row] != root}
    if not moved:
        return {}
    before = {work.members[row] for row in moved}
    concerned = before | set(moved.values())
    rows = {row for row, root in work.members.items() if root in concerned}
    definitions = {(id, key): one.definition for id in concerned for key, one in work.types.items()}
    work.was = await projection.load_states(session, definitions)
    await contacts.write_groups(session, moved)
    await projection.delete_projection(session, concerned)
    await _fold_anew(session, work, {roots[row] for row in rows})
    return moved


async def split_contacts(
    session: Session, work: Plan, *, rows: Collection[int], living: Collection[int], was: Mapping[Scored, ScoreState]
) -> None:
    """Write who is one with whom of contacts that were taken apart and of whom something is left; fold these anew."""
    said = await facts.load_merge_links(session, living)
    undone = await facts.undone_of(session, work.submission.workspace.id, {batch for _, _, batch in said})
    roots = resolve_merges(living, [(one, other) for one, other, batch in said if batch not in undone])
    await contacts.write_groups(session, roots)
    work.roots |= roots
    work.was = {**was, **work.was}
    work.regrouped -= set(rows)
    work.undone = [pair for pair in work.undone if pair[0] not in rows]
    await _fold_anew(session, work, set(roots.values()))


async def _fold_anew(session: Session, work: Plan, regrouped: Collection[int]) -> None:
    work.regrouped |= set(regrouped)
    types = {(contact, key): one for contact in regrouped for key, one in work.types.items()}
    work.undone += [pair for pair, ledger in (await facts.ledgers(session, types)).items() if ledger]


def carry_state(work: Plan, pair: Scored) -> ScoreState:
    """Give the state of a score that is folded anew, as it was before; but later than all that its parts have seen."""
    contact, key = pair
    parts = {work.members[row] for row, root in work.roots.items() if root == contact and row in work.members}
    was = work.was.get(pair, beginning(work.types[key]))
    seen = [work.was[part, key].last for part in parts if (part, key) in work.was]
    return replace(was, last=max([was.last, *seen]))
