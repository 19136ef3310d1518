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


async def lock_contacts(session: Session, plan: Plan, expected: dict[int, int]) -> None:
    """Hold the contacts of *expected*, and all that are one with those which the work makes one or parts."""
    joined = {plan.roots[row] for row in plan.joined}
    plan.members = await contacts.members(session, joined)
    await contacts.lock(session, expected | plan.members)
    # Whoever joins or leaves holds the row of the one they are one with, so that under our lock they stay the same.
    if await contacts.members(session, joined) != plan.members:
        raise StartAgain


async def apply_merges(session: Session, plan: Plan) -> dict[int, int]:
    """Go by the words in the ledger that stand: write who is one with whom; give those of whom that is other now.

    Scores and effects of all concerned are taken away, to be folded anew.
    """
    links = await facts.load_merge_links(session, plan.members)
    undone = await facts.undone_of(session, plan.workspace.id, {batch for _, _, batch in links})
    roots = resolve_merges(plan.members, [(contact, other) for contact, other, batch in links if batch not in undone])
    plan.roots |= roots
    moved = {row: root for row, root in roots.items() if plan.members[row] != root}
    if not moved:
        return {}
    former_roots = {plan.members[row] for row in moved}
    affected = former_roots | set(moved.values())
    rows = {row for row, root in plan.members.items() if root in affected}
    definitions = {(id, key): score_type.definition for id in affected for key, score_type in plan.types.items()}
    plan.states_before = await projection.load_states(session, definitions)
    await contacts.write_groups(session, moved)
    await projection.delete_projection(session, affected)
    await _mark_for_refold(session, plan, {roots[row] for row in rows})
    return moved


async def split_contacts(
    session: Session,
    plan: Plan,
    *,
    rows: Collection[int],
    remaining: Collection[int],
    states_before: Mapping[Scored, ScoreState],
) -> None:
    """Write who is one with whom of contacts that were taken apart and of whom something is left; fold these anew."""
    links = await facts.load_merge_links(session, remaining)
    undone = await facts.undone_of(session, plan.workspace.id, {batch for _, _, batch in links})
    roots = resolve_merges(remaining, [(contact, other) for contact, other, batch in links if batch not in undone])
    await contacts.write_groups(session, roots)
    plan.roots |= roots
    plan.states_before = {**states_before, **plan.states_before}
    plan.regrouped -= set(rows)
    plan.affected = [pair for pair in plan.affected if pair[0] not in rows]
    await _mark_for_refold(session, plan, set(roots.values()))


async def _mark_for_refold(session: Session, plan: Plan, regrouped: Collection[int]) -> None:
    plan.regrouped |= set(regrouped)
    types = {(contact, key): score_type for contact in regrouped for key, score_type in plan.types.items()}
    plan.affected += [pair for pair, ledger in (await facts.ledgers(session, types)).items() if ledger]


def carry_state(plan: Plan, pair: Scored) -> ScoreState:
    """Give the state of a score that is folded anew, as it was before; but later than all that its parts have seen."""
    contact, key = pair
    parts = {plan.members[row] for row, root in plan.roots.items() if root == contact and row in plan.members}
    state = plan.states_before.get(pair, beginning(plan.types[key]))
    last_orders = [plan.states_before[part, key].last for part in parts if (part, key) in plan.states_before]
    return replace(state, last=max([state.last, *last_orders]))
