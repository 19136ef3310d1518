"""Open follow-ups for the contacts that a new definition of a score moves into the region of an alert rule."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from storage.alerts import enroll, followup_rules
from storage.alerts import memory as alert_memory
from storage.alerts import rules as alert_rules
from storage.alerts.conditions import match_at, parse_conditions
from storage.alerts.decisions import Evaluation, Instant
from storage.alerts.followup_rules import NewFollowUp
from storage.alerts.rules import AlertRule
from storage.alerts.save_decisions import make_follow_ups
from storage.db import database
from storage.db.database import Session
from storage.domain.alerts.kinds import Watch
from storage.domain.alerts.memory import AlertMemory
from storage.domain.decay import shown
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.ledger import contacts, projection
from storage.ledger.plan import Plan
from storage.reading import pages
from storage.scoring import definitions

MOST_ASKED = 500  # contact rows in one transaction that asks for newcomers


async def preview_newcomers(
    workspace: Workspace, *, draft: ScoreType, most: int, now: int
) -> tuple[int, list[NewFollowUp]]:
    """Return the number of follow-ups that would be opened for newcomers if a built draft went live.

    Rules that fire for a contact in one place have one follow-up, and join one that is unfinished there. The first
    *most* of the follow-ups are returned too.
    """
    reader = database.current_database().reader
    live_types = (await definitions.live(reader, {workspace.id}))[workspace.id]
    types = tuple({**live_types, draft.key: draft}.values())
    asking = [
        (rule, watch)
        for rule in (await alert_rules.load_rules(reader, [workspace.id])).get(workspace.id, [])
        if (watch := rule.watch(types)) is not None and asks_newcomers(rule, watch, score=draft.key)
    ]
    conditions = await parse_conditions(reader, workspace, [rule for rule, _ in asking], types)
    count = last_id = 0
    first = list[NewFollowUp]()
    while asking and (values := await _load_values(reader, workspace, draft, after=last_id, at=now)):
        instants = list[Instant]()
        for rule, watch in asking:
            condition = conditions[rule.id]
            inside = [id for id, value in values.items() if watch.region.holds(value)]
            before = rule.watch(live_types.values())
            newcomers = await _list_newcomers(reader, workspace, rule, before, watch, inside, at=now)
            if condition is not None and newcomers:
                by_id = {evaluation.contact: evaluation for evaluation, _ in newcomers}
                where = condition.where
                ids = await pages.matching_contacts(reader, workspace, where=where, among=list(by_id), now=now)
                instants += [Instant(by_id[id], now, None, values[id], by_time=True) for id in sorted(ids)]
        new = await make_follow_ups(reader, instants)
        unfinished = await followup_rules.load_unfinished(reader, new)
        opened = {place: item for item in new if (place := (item.contact, item.lane)) not in unfinished}
        count += len(opened)
        first += list(opened.values())[: most - len(first)]
        last_id = max(values)
    return count, first


def asks_newcomers(rule: AlertRule, watch: Watch, *, score: str | None) -> bool:
    """Return whether a rule may fire for contacts that a new definition of *score* moves into its region."""
    return watch.fires_for_newcomers and watch.score_type.key == score and rule.paused_at is None


async def ask_next_newcomers(workspace: Workspace, *, definition: int, now: int) -> bool:
    """Open follow-ups for the newcomers among the next contacts, after a definition was applied with follow-ups.

    Newcomers are the contacts that the definition moved into the region of a rule. They are asked for as of the instant
    at which it became live: a later change of a contact first does the same, see `ask_newcomers_of_plans`. Return False
    if no contact is left.
    """

    async def body(session: Session) -> bool:
        await definitions.lock_shared(session, {workspace.id})
        asking = await definitions.lock_asking(session, definition=definition)
        if asking is None:
            return False
        types = (await definitions.live(session, {workspace.id}))[workspace.id]
        score_type = next(live for live in types.values() if live.definition == definition)
        watches = [
            (rule, watch)
            for rule in (await alert_rules.load_rules(session, [workspace.id])).get(workspace.id, [])
            if rule.is_asking and (watch := rule.watch([score_type])) is not None
        ]
        values = await _load_values(session, workspace, score_type, after=asking.up_to, at=asking.at)
        inside = {id for id, value in values.items() if any(watch.region.holds(value) for _, watch in watches)}
        await contacts.lock(session, {id: id for id in inside})
        for rule, watch in watches:
            await open_for_newcomers(session, workspace, rule, watch, inside, now=now)
        count = await followup_rules.count_opened(session, values, score=score_type.key, at=asking.at)
        up_to = max(values, default=None)
        await definitions.record_asked(session, definition=definition, up_to=up_to, count=count)
        if up_to is None:
            await alert_rules.end_asking(session, [rule.id for rule, _ in watches])
        return up_to is not None

    return await database.write_and_repeat(body)


async def ask_newcomers_of_plans(
    session: Session, plans: Sequence[Plan], rules: Mapping[int, Sequence[AlertRule]], *, now: int
) -> None:
    """Open the follow-ups for newcomers among the contacts that plans are about to change. They are locked."""
    for workspace in {plan.workspace for plan in plans}:
        own_plans = [plan for plan in plans if plan.workspace == workspace]
        for rule in rules.get(workspace.id, ()):
            watch = rule.watch(tuple(own_plans[0].types.values())) if rule.is_asking else None
            if watch is not None:
                roots = {root for plan in own_plans for root in plan.rows_to_lock.values()}
                await open_for_newcomers(session, workspace, rule, watch, roots, now=now)


async def open_for_newcomers(
    session: Session, workspace: Workspace, rule: AlertRule, watch: Watch, among: Collection[int], *, now: int
) -> None:
    """Enroll contacts in a rule that asks for newcomers, and open follow-ups for those that are. They are locked.

    Each contact is evaluated once: then its memory has the enrollment of the rule. A contact that was not evaluated has
    had the same score since the definition became live.
    """
    assert rule.previous_enrolled_at is not None
    loaded = await alert_memory.load_memory(session, {(rule.id, id) for id in among})
    stale = [id for id in sorted(among) if loaded.get((rule.id, id), AlertMemory()).enrollment != rule.enrollment]
    replaced = await definitions.load_replaced(session, definition=watch.score_type.definition) if stale else None
    if replaced is None:
        return
    at, before = rule.enrolled_at, rule.watch([replaced])
    rule_before = replace(rule, enrollment=rule.enrollment - 1, enrolled_at=rule.previous_enrolled_at)
    memory = await enroll.load_enrolled_memory(session, rule, watch, stale)
    newcomers = await _list_newcomers(session, workspace, rule_before, before, watch, stale, at=at)
    ids = [evaluation.contact for evaluation, _ in newcomers]
    matching = await match_at(session, workspace, rule, ids, at=at) if rule.condition and ids else frozenset(ids)
    firings = list[Instant]()
    for evaluation, memory_after in newcomers:
        if evaluation.contact in matching:
            value = evaluation.state.value(watch.score_type, now=at)
            firings.append(Instant(replace(evaluation, rule=rule), at, None, value, by_time=True))
            memory[evaluation.contact] = memory_after
    await followup_rules.open_follow_ups(session, await make_follow_ups(session, firings), now=now)
    await alert_memory.save_memory(
        session,
        {
            (rule.id, id): replace(contact_memory, enrollment=rule.enrollment)
            for id, contact_memory in memory.items()
            if (rule.id, id) in loaded or contact_memory != AlertMemory()
        },
    )


async def _list_newcomers(
    session: Session,
    workspace: Workspace,
    rule: AlertRule,
    before: Watch | None,
    watch: Watch,
    among: Collection[int],
    *,
    at: int,
) -> list[tuple[Evaluation, AlertMemory]]:
    """Return the contacts that are inside what a rule watches now, and were not inside *before*, past the cool-down.

    Each is returned with the memory of the rule after it fires. *rule* has the enrollment under which it watched
    *before*. The condition is not checked. A contact with a pending hold is left out: its follow-up is opened when the
    hold ends.
    """
    memory = await enroll.load_enrolled_memory(session, rule, before, among)
    key = watch.score_type.key
    states = await projection.load_states(
        session, {(id, key): watch.score_type.definition for id in among if memory[id].pending_until is None}
    )
    newcomers = list[tuple[Evaluation, AlertMemory]]()
    for (id, _), state in sorted(states.items()):
        decision = replace(watch, hold=0).evaluate(memory[id], state, now=at)
        if decision.fires:
            newcomers.append((Evaluation(workspace, rule, watch, id, state), decision.memory))
    return newcomers


async def _load_values(
    session: Session, workspace: Workspace, score_type: ScoreType, *, after: int, at: int
) -> dict[int, int | None]:
    """Return the score at an instant, or None, of the next contact rows after a row. An empty dict: none are left."""
    rows = await session.rows(
        "SELECT c.id, s.rank FROM (SELECT id, merged_into FROM contacts WHERE workspace_id = $1 AND id > $2"
        " ORDER BY id LIMIT $3) AS c LEFT JOIN scores s ON s.contact_id = c.id AND s.definition_id = $4"
        " AND c.merged_into IS NULL ORDER BY c.id",
        workspace.id,
        after,
        MOST_ASKED,
        score_type.definition,
    )
    return {row["id"]: None if row["rank"] is None else shown(score_type, row["rank"], now=at) for row in rows}
