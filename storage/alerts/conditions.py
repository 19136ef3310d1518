"""Check the conditions of alert rules: "if" and a filter.

The condition of a rule is checked once, when the rule fires, for the contact as it was at that instant. If the instant
is the write itself, one statement checks all contacts of all rules. If the rule fires by time alone, the contact is
folded to that instant, so that the result does not depend on when the rule is evaluated.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import TypeVar

from storage.alerts.decisions import Decisions, Instant, IsMet
from storage.alerts.rules import AlertRule
from storage.db.database import Session
from storage.domain.errors import Refusal
from storage.domain.filters import parse
from storage.domain.filters.terms import Filter
from storage.domain.past_contacts import fold_as_known
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.reading import pages, segments
from storage.reading.past_contacts import load_contact_ledgers
from storage.scoring import definitions

T = TypeVar("T")


async def decide_with_conditions(
    session: Session, items: Sequence[T], decide: Callable[[T, IsMet], Decisions], *, now: int
) -> list[Decisions]:
    """Run *decide* for each item with the conditions of the rules that fire, and return the decisions.

    A first run assumes that every condition is met. It finds every contact for which a rule may fire, because a
    condition affects only later instants of the same rule and contact. The items of which a condition was asked are
    decided again, with the conditions loaded for their contacts.
    """
    firings: list[Instant] = []

    def assume_met(instant: Instant) -> bool:
        firings.append(instant)
        return True

    all_decisions, conditional = list[Decisions](), list[int]()
    for position, item in enumerate(items):
        count = len(firings)
        all_decisions.append(decide(item, assume_met))
        if len(firings) > count:
            conditional.append(position)
    if not firings:
        return all_decisions
    is_met = await _load_conditions(session, firings, now=now)

    def decide_again() -> list[Decisions]:
        return [decide(items[position], is_met) for position in conditional]

    # Contacts are folded for instants that time alone decides, which takes a while after an outage.
    is_slow = any(instant.by_time for instant in firings)
    again = await asyncio.to_thread(decide_again) if is_slow else decide_again()
    for position, decisions in zip(conditional, again, strict=True):
        all_decisions[position] = decisions
    return all_decisions


async def _load_conditions(session: Session, firings: Sequence[Instant], *, now: int) -> IsMet:
    """Load what the conditions of the rules in *firings* need, for any instant of the same rules and contacts."""
    written: dict[int, set[int]] = {}  #: rule id → the contacts that a plan changed
    past: dict[Workspace, set[int]] = {}  #: the contacts for which a rule fires by time alone
    evaluations = {instant.evaluation.rule.id: instant.evaluation for instant in firings}
    for instant in firings:
        contact = instant.evaluation.contact
        if instant.evaluation.plan is not None:
            written.setdefault(instant.evaluation.rule.id, set()).add(contact)
        if instant.by_time:
            past.setdefault(instant.evaluation.workspace, set()).add(contact)
    conditions: dict[int, Filter | None] = {}
    for workspace in {evaluation.workspace for evaluation in evaluations.values()}:
        own = [evaluation for evaluation in evaluations.values() if evaluation.workspace == workspace]
        types = None if own[0].plan is None else tuple(own[0].plan.types.values())
        conditions |= await parse_conditions(session, workspace, [evaluation.rule for evaluation in own], types)
    queries = [
        (id, evaluations[id].workspace, condition.where)
        for id, condition in conditions.items()
        if condition is not None and id in written
    ]
    matches = await pages.match_each(
        session, [(workspace, where, written[id]) for id, workspace, where in queries], now=now
    )
    matching = {id: contacts for (id, _, _), contacts in zip(queries, matches, strict=True)}
    ledgers = {
        contact: ledger
        for workspace, contacts_fired in past.items()
        for contact, ledger in (await load_contact_ledgers(session, workspace, contacts_fired)).items()
    }

    def is_met(instant: Instant) -> bool:
        evaluation = instant.evaluation
        condition = conditions[evaluation.rule.id]
        if condition is None:
            return False
        if not instant.by_time:
            return evaluation.contact in matching[evaluation.rule.id]
        ledger = ledgers[evaluation.contact]
        return condition.matches(fold_as_known(ledger, condition.scores, at=instant.at))

    return is_met


async def parse_conditions(
    session: Session, workspace: Workspace, rules: Collection[AlertRule], types: Sequence[ScoreType] | None = None
) -> dict[int, Filter | None]:
    """Parse the conditions of rules of a workspace, by rule id. *types*: its score types; None: those that are live.

    A condition that refers to something that was deleted is None, for "no contact matches". Conditions refer to score
    types, bands and segments.
    """
    if types is None:
        types = tuple((await definitions.live(session, {workspace.id}))[workspace.id].values())
    saved = await segments.load_segments(session, workspace)
    parsed = _share_parsed(tuple(types), tuple(saved.items()))
    for rule in rules:
        text = (rule.condition, rule.maker_address)
        if text not in parsed:
            try:
                parsed[text] = parse(rule.condition, types, owners=rule.owners, segments=saved)
            except Refusal:
                parsed[text] = None
    return {rule.id: parsed[rule.condition, rule.maker_address] for rule in rules}


@lru_cache(maxsize=64)
def _share_parsed(
    types: tuple[ScoreType, ...], saved: tuple[tuple[str, str], ...]
) -> dict[tuple[str, str | None], Filter | None]:
    """Return the conditions parsed so far with these score types and segments: parsing takes longer than asking."""
    return {}


async def match_at(
    session: Session, workspace: Workspace, rule: AlertRule, among: Collection[int], *, at: int
) -> frozenset[int]:
    """Return the contacts that met the condition of a rule at an instant, with everything received up to then."""
    condition = (await parse_conditions(session, workspace, [rule]))[rule.id]
    if condition is None:
        return frozenset()
    ledgers = await load_contact_ledgers(session, workspace, among)

    def match_all() -> frozenset[int]:
        candidates = (fold_as_known(ledger, condition.scores, at=at + 1) for ledger in ledgers.values())
        return frozenset(candidate.id for candidate in candidates if condition.matches(candidate))

    return await asyncio.to_thread(match_all)
