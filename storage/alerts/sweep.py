"""Evaluate alert rules for what time alone changes: a score decays, or a hold ends."""

from collections.abc import Sequence

from storage.alerts import memory as alert_memory
from storage.alerts import rules as alert_rules
from storage.alerts.conditions import decide_with_conditions
from storage.alerts.decisions import Decisions, Evaluation, IsMet
from storage.alerts.newcomers import open_for_newcomers
from storage.alerts.rules import AlertRule
from storage.alerts.save_decisions import save_decisions
from storage.db import database
from storage.db.database import Session
from storage.domain.alerts.kinds import Watch
from storage.domain.alerts.memory import AlertMemory
from storage.domain.decay import bound
from storage.domain.people import Workspace
from storage.ledger import contacts, projection
from storage.scoring import definitions

SWEEP = "sweep"  #: the kind and the lane of the job that evaluates rules that may fire or re-arm by time alone
SWEEP_EVERY = 60_000_000  #: µs
#: µs before the end of the last sweep that the next one begins at, for writes that were not committed by then
OVERLAP = 120_000_000
BATCH_SIZE = 500  #: contacts in one transaction


async def sweep_rules(workspace: Workspace, *, now: int) -> int:
    """Evaluate each rule for the time since its last sweep. Return the number of contacts evaluated, summed over rules.

    Only contacts for which the rule may have fired or re-armed are evaluated.
    """
    types = tuple(await definitions.score_types(workspace))
    watches = [(rule, watch) for rule in await alert_rules.alert_rules(workspace) if (watch := rule.watch(types))]
    timed = [(rule, watch) for rule, watch in watches if watch.needs_time]
    count = 0
    for rule, watch in timed:
        if rule.swept_until == now:
            continue
        last_id: int | None = 0
        while last_id is not None:
            last_id, number = await _sweep_batch(workspace, rule, watch, timed, after=last_id, now=now)
            count += number

        async def save_progress(session: Session, rule: AlertRule = rule) -> None:
            await alert_rules.record_sweep(session, rule, until=now)

        await database.write(save_progress)
    return count


async def _sweep_batch(
    workspace: Workspace,
    rule: AlertRule,
    watch: Watch,
    timed: Sequence[tuple[AlertRule, Watch]],
    *,
    after: int,
    now: int,
) -> tuple[int | None, int]:
    """Sweep the next contacts with ids above *after*. Return the last id, or None at the end, and their number.

    All *timed* rules are evaluated for these contacts, because rules may share a follow-up, which depends on their
    order.
    """

    async def body(session: Session) -> tuple[int | None, int]:
        ids = await _list_due(session, workspace, rule, watch, after=after, now=now)
        if not ids:
            return None, 0
        await contacts.lock(session, {id: id for id in ids})
        for timed_rule, timed_watch in timed:
            if timed_rule.is_asking:
                await open_for_newcomers(session, workspace, timed_rule, timed_watch, ids, now=now)
        definition_of = {watch.score_type.key: watch.score_type.definition for _, watch in timed}
        score_ids = {(id, key): definition for id in ids for key, definition in definition_of.items()}
        states = await projection.load_states(session, score_ids)
        evaluations = [
            Evaluation(workspace, rule, watch, id, state)
            for (id, key), state in sorted(states.items())
            for rule, watch in timed
            if watch.score_type.key == key
        ]
        loaded = await alert_memory.load_memory(session, {evaluation.memory_key for evaluation in evaluations})

        def decide(evaluation: Evaluation, is_met: IsMet) -> Decisions:
            decisions = Decisions(evaluation, loaded.get(evaluation.memory_key, AlertMemory()))
            return decisions.enroll(evaluation.state).evaluate_until(evaluation.state, until=now, is_met=is_met)

        all_decisions = await decide_with_conditions(session, evaluations, decide, now=now)
        await save_decisions(session, all_decisions, loaded, now=now)
        return (ids[-1] if len(ids) == BATCH_SIZE else None), len(ids)

    return await database.write_and_repeat(body)


async def _list_due(
    session: Session, workspace: Workspace, rule: AlertRule, watch: Watch, *, after: int, now: int
) -> list[int]:
    """Return the next contacts for which a rule may have fired or re-armed by time alone since its last sweep.

    Indexes find the contacts: by a due `pending_until` in the alert memory, and by the ranks in `_list_windows`.
    """
    params: list[object] = [workspace.id, rule.id, now, after, BATCH_SIZE, watch.score_type.definition]
    queries = ["SELECT m.contact_id FROM alert_memory m WHERE m.rule_id = $2 AND m.pending_until <= $3"]
    since = min(rule.swept_until, now) - OVERLAP  # `swept_until` is in the future if a clock ran ahead
    for low, high in _list_windows(watch, since=since, until=now):
        params += [low, high]
        bounds = f"s.rank >= ${len(params) - 1} AND s.rank < ${len(params)}"
        queries.append(f"SELECT s.contact_id FROM scores s WHERE s.definition_id = $6 AND {bounds}")
    # The comparison with $6 is always true. It is there because a database refuses a parameter that is not used.
    rows = await session.rows(
        f"SELECT c.id FROM contacts c WHERE c.id IN ({' UNION '.join(queries)}) AND c.id > $4"
        " AND c.workspace_id = $1 AND c.merged_into IS NULL AND CAST($6 AS BIGINT) > 0 ORDER BY c.id LIMIT $5",
        *params,
    )
    return [row["id"] for row in rows]


def _list_windows(watch: Watch, *, since: int, until: int) -> list[tuple[int, int]]:
    """Return the ranges [low, high) of ranks that decay across an edge of a rule between *since* and *until*."""
    if not watch.score_type.half_life:
        return []
    windows = list[tuple[int, int]]()
    for value, lead in watch.crossings:
        first, last = (bound(watch.score_type, value, now=at + lead) for at in (since, until))
        windows.append((min(first, last), max(first, last)))
    return [(low, high) for low, high in dict.fromkeys(windows) if low < high]
