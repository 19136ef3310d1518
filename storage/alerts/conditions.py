"""Check the conditions of alert rules: "if" and a filter.

The condition of a rule is checked once, when the rule fires, for the contact as it was at that instant. If the instant
is the write itself, one statement per rule checks all its contacts. If the rule fires by time alone, the contact is
folded to that instant, so that the result does not depend on when the rule is evaluated.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence

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


async def decide_with_conditions(
    session: Session, decide_each: Callable[[IsMet], list[Decisions]], *, now: int
) -> list[Decisions]:
    """Run *decide_each* with the conditions of the rules that fire, and return the decisions.

    A first run assumes that every condition is met. It finds every contact for which a rule may fire, because a
    condition affects only later instants of the same rule and contact. The second run uses the conditions loaded for
    these contacts.
    """
    firings: list[Instant] = []

    def is_met(instant: Instant) -> bool:
        firings.append(instant)
        return True

    all_decisions = decide_each(is_met)
    if not firings:
        return all_decisions
    answer = await _load_conditions(session, firings, now=now)
    if any(instant.by_time for instant in firings):  # contacts are folded, which takes a while after an outage
        return await asyncio.to_thread(decide_each, answer)
    return decide_each(answer)


async def _load_conditions(session: Session, firings: Sequence[Instant], *, now: int) -> IsMet:
    """Load what the conditions of the rules in *firings* need, for any instant of the same rules and contacts."""
    by_rule: dict[int, list[Instant]] = {}
    past: dict[Workspace, set[int]] = {}  #: the contacts for which a rule fires by time alone
    for instant in firings:
        by_rule.setdefault(instant.evaluation.rule.id, []).append(instant)
        if instant.by_time:
            past.setdefault(instant.evaluation.workspace, set()).add(instant.evaluation.contact)
    conditions: dict[int, Filter | None] = {}
    matching: dict[int, frozenset[int]] = {}  #: rule id → the contacts that match now
    for id, instants in by_rule.items():
        workspace, rule = instants[0].evaluation.workspace, instants[0].evaluation.rule
        types = (await definitions.live(session, {workspace.id}))[workspace.id]
        condition = conditions[id] = await parse_condition(session, workspace, rule, tuple(types.values()))
        written = sorted({instant.evaluation.contact for instant in instants if instant.evaluation.plan is not None})
        if condition is not None and written:
            matching[id] = frozenset(
                await pages.matching_contacts(session, workspace, where=condition.where, among=written, now=now)
            )
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


async def parse_condition(
    session: Session, workspace: Workspace, rule: AlertRule, types: Sequence[ScoreType]
) -> Filter | None:
    """Parse the condition of a rule. Return None, for "no contact matches", if it refers to something that was deleted.

    Conditions refer to score types, bands and segments.
    """
    try:
        saved = await segments.load_segments(session, workspace)
        return parse(rule.condition, types, owners=rule.owners, segments=saved)
    except Refusal:
        return None


async def match_at(
    session: Session, workspace: Workspace, rule: AlertRule, among: Collection[int], *, at: int
) -> frozenset[int]:
    """Return the contacts that met the condition of a rule at an instant, with everything received up to then."""
    types = (await definitions.live(session, {workspace.id}))[workspace.id]
    condition = await parse_condition(session, workspace, rule, tuple(types.values()))
    if condition is None:
        return frozenset()
    ledgers = await load_contact_ledgers(session, workspace, among)

    def match_all() -> frozenset[int]:
        candidates = (fold_as_known(ledger, condition.scores, at=at + 1) for ledger in ledgers.values())
        return frozenset(candidate.id for candidate in candidates if condition.matches(candidate))

    return await asyncio.to_thread(match_all)
