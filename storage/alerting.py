"""Decide follow-ups in the transaction that changed the scores, and keep what each rule remembers."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from storage import alert_rules, database, definitions, followups, queries, scores, segments
from storage.alert_rules import AlertRule
from storage.database import Session
from storage.domain.alert_words import read_alert
from storage.domain.alerts import Memory, Watch, decide
from storage.domain.errors import Refusal
from storage.domain.filters import parse
from storage.domain.filters.terms import All, Compare, Comparison, Has, Term
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Moved
from storage.followups import NewFollowUp
from storage.work import Entry, Work

#: (rule, contact)
Watched = tuple[int, int]
REDEFINED = "new rules"  # what those are asked for whom a change of definition brought in
OWNERS, ADMINS = "owner:", "admins"  # lanes of follow-ups that no channel was chosen for


@dataclass(frozen=True, slots=True)
class _Look:
    """One rule that looks at one score that a submission moved."""

    work: Work
    rule: AlertRule
    watch: Watch
    moved: Moved
    is_silent: bool = False  #: nobody is asked because contacts became one, or were parted

    @property
    def watched(self) -> Watched:
        return (self.rule.id, self.moved.contact)


async def decide_all(session: Session, works: Sequence[Work], *, now: int) -> None:
    """Let every rule look at what each submission did, one after the other, as if each had been alone."""
    looks = await _looks(session, works)
    if not looks:
        return
    memory = await _memories(session, {look.watched for look in looks})
    known, asking, over, over_again = dict(memory), list[_Look](), set[Watched](), set[Watched]()
    for look in looks:
        before = memory.get(look.watched, Memory())
        decision = decide(look.watch, before, look.moved.after, now=now)
        memory[look.watched] = decision.memory
        if decision.closes:  # what was asked for before this group, or in it
            (over_again if look.watched in {one.watched for one in asking} else over).add(look.watched)
        if decision.fires:
            fits = look.rule.paused_at is None and await _fits(session, look, now=now)
            if fits and not look.work.submission.muted and not look.is_silent:
                asking.append(look)
                continue
            look.work.unasked += fits
            # It is inside all the same, but nobody was asked, so nothing begins to rest.
            memory[look.watched] = replace(decision.memory, fired_at=before.fired_at)
    await followups.fall_back(session, over, now=now)
    await followups.ask(session, await _new(session, asking), now=now)
    await followups.fall_back(session, over_again, now=now)
    await _keep(session, {pair: one for pair, one in memory.items() if one != known.get(pair, Memory())})


async def _looks(session: Session, works: Sequence[Work]) -> list[_Look]:
    moving = [
        work
        for work in works
        if work.refusal is None and (work.settled or any(one.before != one.after for one in work.moved))
    ]
    if not moving:
        return []
    rules = await alert_rules.of_workspaces(session, {work.submission.workspace.id for work in moving})
    looks = list[_Look]()
    for work in moving:
        for rule in rules.get(work.submission.workspace.id, ()):
            watch = rule.watch(tuple(work.types.values()))
            if watch is not None:
                score = watch.score_type.key
                looks += [
                    _Look(work, rule, watch, step, is_silent)
                    for one in work.moved
                    if one.score_type.key == score
                    for step, is_silent in _steps(work, one)
                    if step.before != step.after
                ]
    return looks


def _steps(work: Work, one: Moved) -> list[tuple[Moved, bool]]:
    """Part what a score did because contacts became one, which is silent, from what was done to it after that."""
    pair = (one.contact, one.score_type.key)
    if pair not in work.settled:
        return [(one, False)]
    between = work.settled[pair]
    return [(replace(one, after=between), True), (replace(one, before=between), False)]


async def _fits(session: Session, look: _Look, *, now: int) -> bool:
    """Ask the rule's filter about the contact, as it stands in this transaction."""
    workspace, types = look.work.submission.workspace, tuple(look.work.types.values())
    return bool(await _fitting(session, workspace, look.rule, types, [look.moved.contact], now=now))


async def _fitting(
    session: Session,
    workspace: Workspace,
    rule: AlertRule,
    types: Sequence[ScoreType],
    among: Sequence[int],
    *,
    now: int,
) -> list[int]:
    if not rule.condition or not among:
        return list(among)
    try:
        asked = parse(rule.condition, types, segments=await segments.kept(session, workspace))
    except Refusal:  # it names a score type, a band or a segment that is no more: nobody fits
        return []
    return await queries.holding(session, workspace, where=asked.where, among=among, now=now)


async def _new(session: Session, asking: Sequence[_Look]) -> list[NewFollowUp]:
    lanes = await _lanes(session, {look.moved.contact for look in asking}) if asking else {}
    return [_one(look, lanes[look.moved.contact]) for look in asking]


async def _lanes(session: Session, ids: Collection[int]) -> dict[int, str]:
    """Say where the follow-ups of contacts go when their rule does not."""
    rows = await session.rows(
        "SELECT c.id, c.owner_key, w.alert_channel FROM given(id bigint) JOIN contacts c ON c.id = given.id"
        " JOIN workspaces w ON w.id = c.workspace_id",
        [{"id": id} for id in sorted(ids)],
    )
    owners = {row["id"]: f"{OWNERS}{row['owner_key']}" if row["owner_key"] else ADMINS for row in rows}
    return {row["id"]: row["alert_channel"] or owners[row["id"]] for row in rows}


def _one(look: _Look, lane: str) -> NewFollowUp:
    submission, moved = look.work.submission, look.moved
    entry = next((one for one in reversed(look.work.new) if one.scored == (moved.contact, moved.score_type.key)), None)
    return NewFollowUp(
        workspace=submission.workspace.id,
        rule=look.rule.id,
        contact=moved.contact,
        score=moved.score_type.key,
        before=moved.before,
        after=moved.after,
        source=submission.source,
        actor=submission.actor,
        reason=_reason(entry),
        lane=look.rule.channel or lane,
    )


def _reason(entry: Entry | None) -> str | None:
    return entry.item.reason if entry is not None else None


async def _memories(session: Session, pairs: Collection[Watched]) -> dict[Watched, Memory]:
    rows = await session.rows(
        "SELECT m.rule_id, m.contact_id, m.taken, m.pending_until, m.fired_at FROM given(u bigint, c bigint)"
        " JOIN alert_memory m ON m.rule_id = given.u AND m.contact_id = given.c",
        [{"u": rule, "c": contact} for rule, contact in sorted(pairs)],
    )
    return {
        (row["rule_id"], row["contact_id"]): Memory(
            taken=bool(row["taken"]), pending_until=row["pending_until"], fired_at=row["fired_at"]
        )
        for row in rows
    }


async def _keep(session: Session, memory: dict[Watched, Memory]) -> None:
    if memory:
        await session.rows(
            "INSERT INTO alert_memory (rule_id, contact_id, taken, pending_until, fired_at)"
            " SELECT u, c, t, p, f FROM given(u bigint, c bigint, t boolean, p bigint, f bigint)"
            " WHERE true ORDER BY u, c ON CONFLICT (rule_id, contact_id) DO UPDATE"
            " SET taken = excluded.taken, pending_until = excluded.pending_until, fired_at = excluded.fired_at",
            [
                {"u": rule, "c": contact, "t": one.taken, "p": one.pending_until, "f": one.fired_at}
                for (rule, contact), one in sorted(memory.items())
            ],
        )


async def hand_over(session: Session, root_of: Mapping[int, int]) -> None:
    """Let rules forget contacts that are one with another now, but for when they last asked about them."""
    rows = [{"id": row, "r": root} for row, root in sorted(root_of.items())]
    await session.rows(
        "INSERT INTO alert_memory (rule_id, contact_id, taken, fired_at)"
        " SELECT m.rule_id, given.r, false, max(m.fired_at) FROM given(id bigint, r bigint)"
        " JOIN alert_memory m ON m.contact_id = given.id WHERE m.fired_at IS NOT NULL"
        " GROUP BY m.rule_id, given.r ORDER BY m.rule_id, given.r ON CONFLICT (rule_id, contact_id) DO UPDATE"
        " SET fired_at = CASE WHEN alert_memory.fired_at > excluded.fired_at"
        " THEN alert_memory.fired_at ELSE excluded.fired_at END",
        rows,
    )
    await session.rows("DELETE FROM alert_memory WHERE contact_id IN (SELECT id FROM given(id bigint, r bigint))", rows)


async def add_alert_rule(
    workspace: Workspace, *, words: str, made_by: str, owners: dict[str, str | None], now: int
) -> AlertRule:
    """Add a rule from its words; whoever is inside already is not asked for. *owners* is as the filter language has it.

    Raises BadAlert, UnknownScoreType, BadFilter.
    """

    async def body(session: Session) -> AlertRule:
        types = tuple((await definitions.live(session, {workspace.id}))[workspace.id].values())
        read = read_alert(words, types)
        condition = _with_addresses(read.condition, owners)
        parse(condition, types, segments=await segments.kept(session, workspace))
        rule = await alert_rules.insert(
            session, workspace, score=read.score_type.key, region=read.region, condition=condition,
            channel=read.channel, made_by=made_by, now=now,
        )  # fmt: skip  # what it says, and whose it is
        await retake(session, workspace, rule, types, now=now)
        return rule

    return await database.write(body)


def _with_addresses(condition: str, owners: dict[str, str | None]) -> str:
    """Write who `me` is into a condition, which is asked for when nobody is there to be me."""
    for who, address in owners.items():
        if address is not None:
            condition = condition.replace(f"owner:{who}", f"owner:{address}")
    return condition


async def choose_channel(workspace: Workspace, *, channel: str | None, now: int) -> None:
    """Let follow-ups go to a channel from now on (none: to the owner, else to an admin), and turn the first rule on."""

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


async def retake(
    session: Session, workspace: Workspace, rule: AlertRule, types: Iterable[ScoreType], *, now: int
) -> None:
    """Let a rule know who is inside already, asking for nobody."""
    watch = rule.watch(tuple(types))
    if watch is None:
        return
    inside = set(await _inside(session, workspace, watch, now=now))
    known = await _of_rule(session, rule.id)
    memory = {(rule.id, contact): replace(known.get(contact, Memory()), taken=True) for contact in inside}
    memory |= {
        (rule.id, contact): replace(one, taken=False, pending_until=None)
        for contact, one in known.items()
        if contact not in inside and (one.taken or one.pending_until is not None)
    }
    await _keep(session, {pair: one for pair, one in memory.items() if one != known.get(pair[1])})


async def _inside(session: Session, workspace: Workspace, watch: Watch, *, now: int) -> list[int]:
    score, region = watch.score_type, watch.region
    terms: list[Term] = [Has(score)]
    terms += [Compare(score, Comparison.AT_LEAST, region.low)] if region.low is not None else []
    terms += [Compare(score, Comparison.BELOW, region.high)] if region.high is not None else []
    return await queries.holding(session, workspace, where=All(tuple(terms)), among=None, now=now)


async def _of_rule(session: Session, rule: int) -> dict[int, Memory]:
    rows = await session.rows(
        "SELECT contact_id, taken, pending_until, fired_at FROM alert_memory WHERE rule_id = $1", rule
    )
    return {
        row["contact_id"]: Memory(
            taken=bool(row["taken"]), pending_until=row["pending_until"], fired_at=row["fired_at"]
        )
        for row in rows
    }


async def taken(workspace: Workspace, *, rules: Collection[int]) -> set[Watched]:
    """Name the (rule, contact) that rules have taken."""
    rows = await database.read(
        "SELECT m.rule_id, m.contact_id FROM given(id bigint) JOIN alert_memory m ON m.rule_id = given.id"
        " JOIN alert_rules r ON r.id = m.rule_id WHERE r.workspace_id = $2 AND m.taken",
        [{"id": rule} for rule in rules],
        workspace.id,
    )
    return {(row["rule_id"], row["contact_id"]) for row in rows}


async def ask_for_newcomers(session: Session, workspace: Workspace, *, score: str, now: int) -> None:
    """Ask for those whom a change of definition brought into the region of a rule of this type."""
    types = (await definitions.live(session, {workspace.id}))[workspace.id]
    for rule in (await alert_rules.of_workspaces(session, [workspace.id])).get(workspace.id, []):
        watch = rule.watch(tuple(types.values()))
        if watch is None or watch.score_type.key != score or rule.paused_at is not None:
            continue
        known = await _of_rule(session, rule.id)
        inside = await _inside(session, workspace, watch, now=now)
        fresh = [contact for contact in inside if not known.get(contact, Memory()).taken]
        asked = await _fitting(session, workspace, rule, tuple(types.values()), fresh, now=now)
        lanes = await _lanes(session, asked) if asked else {}
        after = await scores.states(session, dict.fromkeys(((id, score) for id in asked), watch.score_type.definition))
        newcomers = [
            NewFollowUp(
                workspace=workspace.id,
                rule=rule.id,
                contact=id,
                score=score,
                before=None,
                after=after[id, score].value(watch.score_type, now=now),
                source=REDEFINED,
                actor=None,
                reason=None,
                lane=rule.channel or lanes[id],
            )
            for id in asked
        ]
        await followups.ask(session, newcomers, now=now)
        await _keep(session, {(rule.id, contact): Memory(taken=True, fired_at=now) for contact in asked})
