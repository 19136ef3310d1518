"""Add alert rules, and enroll the contacts that are already in a rule's region without opening follow-ups."""

from collections.abc import Iterable
from dataclasses import replace

from storage.alerts import memory as alert_memory
from storage.alerts import rules as alert_rules
from storage.alerts.rules import AlertRule, RuleThere
from storage.db import database
from storage.db.database import Session
from storage.domain.alerts.kinds import TRENDS, AlertMemory, Kind, Watch, evaluate
from storage.domain.alerts.syntax import read_alert
from storage.domain.filters import parse, with_addresses
from storage.domain.filters.terms import All, Compare, Comparison, Has, Term
from storage.domain.fold import ScoreState
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.ledger import projection
from storage.reading import pages, segments
from storage.scoring import definitions


async def add_alert_rule(
    workspace: Workspace, *, words: str, made_by: str, owners: dict[str, str | None], now: int
) -> AlertRule:
    """Parse and add a rule, and enroll the contacts that are already in its region.

    *owners* maps the names in `owner:` terms of the condition to addresses, see `filters.with_addresses`.
    Raises BadAlert, UnknownScoreType, BadFilter, RuleThere.
    """

    async def body(session: Session) -> AlertRule:
        # Lock the workspace, so that the second of two equal rules added at once sees the first one.
        (row,) = await session.rows(
            "SELECT alert_channel FROM workspaces WHERE id = $1 FOR NO KEY UPDATE", workspace.id
        )
        types = tuple((await definitions.live(session, {workspace.id}))[workspace.id].values())
        parsed = read_alert(words, types)
        condition = with_addresses(parsed.condition, owners)
        parse(condition, types, segments=await segments.load_segments(session, workspace))
        for existing in (await alert_rules.load_rules(session, [workspace.id])).get(workspace.id, []):
            if existing.does(parsed, condition, types, default_channel=row["alert_channel"]):
                raise RuleThere(existing)
        rule = await alert_rules.insert_rule(
            session, workspace, words=parsed, condition=condition, made_by=made_by, now=now
        )
        await enroll(session, workspace, rule, types, now=now)
        return rule

    return await database.write(body)


async def choose_channel(workspace: Workspace, *, channel: str | None, now: int) -> None:
    """Set the channel for follow-ups, mark the workspace as set up, and resume the default rule.

    *channel* is the Slack channel id; None: follow-ups go to the contact's owner, else to an admin.
    """

    async def body(session: Session) -> None:
        await session.rows(
            "UPDATE workspaces SET alert_channel = $2, set_up_at = coalesce(set_up_at, $3) WHERE id = $1",
            workspace.id,
            channel,
            now,
        )
        await session.rows(
            "UPDATE alert_rules SET paused_at = NULL WHERE workspace_id = $1 AND score IS NULL",
            workspace.id,
        )

    await database.write(body)


async def enroll(
    session: Session, workspace: Workspace, rule: AlertRule, types: Iterable[ScoreType], *, now: int
) -> None:
    """Mark the contacts in a rule's region as taken, without opening follow-ups.

    A pending hold stays pending while the contact is in the region. A taken contact outside the region stays taken
    until it is beyond the re-arm line.
    """
    watch = rule.watch(tuple(types))
    if watch is None or watch.kind in TRENDS:
        return
    if watch.kind is Kind.UNTOUCHED:
        await session.rows(
            "INSERT INTO alert_memory (rule_id, contact_id, taken, pending_until, seen_at, spent)"
            " SELECT CAST($1 AS BIGINT), s.contact_id, s.last_at <= $4,"
            " CASE WHEN s.last_at <= $4 THEN NULL ELSE s.last_at + CAST($5 AS BIGINT) END, CAST($3 AS BIGINT), 0"
            " FROM scores s WHERE s.definition_id = $2 AND s.rank IS NOT NULL ON CONFLICT DO NOTHING",
            rule.id,
            watch.score_type.definition,
            now,
            now - watch.span,
            watch.span,
        )
        return
    inside = set(await contacts_inside(session, workspace, watch, now=now))
    remembered = await alert_memory.load_rule_memory(session, rule.id)
    memory = {
        contact: replace(memory_before, taken=True, seen_at=now)
        for contact in inside
        if (memory_before := remembered.get(contact, AlertMemory())).pending_until is None
    }
    outside = sorted(
        contact
        for contact, memory_before in remembered.items()
        if contact not in inside and (memory_before.taken or memory_before.pending_until is not None)
    )
    key = watch.score_type.key
    states = await projection.load_states(session, {(contact, key): watch.score_type.definition for contact in outside})
    for contact in outside:
        state = states.get((contact, key), ScoreState(base=watch.score_type.start))
        memory[contact] = evaluate(watch, remembered[contact], state, now=now).memory
    await alert_memory.save_memory(
        session, {(rule.id, contact): contact_memory for contact, contact_memory in memory.items()}
    )


async def contacts_inside(session: Session, workspace: Workspace, watch: Watch, *, now: int) -> list[int]:
    """Return the ids of the contacts in a rule's region; for COOLING those that will leave it within the span."""
    score, region = watch.score_type, watch.region
    terms: list[Term] = [Has(score)]
    terms += [Compare(score, Comparison.AT_LEAST, region.low)] if region.low is not None else []
    terms += [Compare(score, Comparison.BELOW, region.high)] if region.high is not None else []
    inside = await pages.matching_contacts(session, workspace, where=All(tuple(terms)), among=None, now=now)
    if watch.kind is not Kind.COOLING or region.low is None:
        return inside
    later = Compare(score, Comparison.BELOW, region.low)
    falling = await pages.matching_contacts(session, workspace, where=later, among=None, now=now + watch.span)
    return sorted(set(inside) & set(falling))
