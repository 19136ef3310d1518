"""After any events and any changes of score types, everything stored equals a fold of the ledger.

The events are additions, sets, clears, activities, fields, merges, deletions and undos, late and repeated ones, at once
or one after the other. LIVES=200 runs more random sequences than the default.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar, TypeAlias

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.alerts.sweep import sweep_rules
from storage.bootstrap import open_storage
from storage.db.database import Row, read
from storage.domain.contacts import Json, Reference
from storage.domain.errors import Refusal, StorageUnavailable
from storage.domain.facts import Deletion, Item, ItemRequest, Merge, Op
from storage.domain.score_types import Band, Rule, RuleCap, ScoreType
from storage.domain.submissions import Recorded, Status, Submission
from storage.ledger.verify import verify_next
from storage.reading.current_scores import cards_of
from storage.reading.history import why
from storage.scoring.definitions import add_score_type, drafts, load_version, score_types
from storage.scoring.draft_jobs import NoDraft
from storage.scoring.drafts import apply, build, cancel, create_draft, preview
from storage.workspaces import add_workspace
from tests.conftest import KEY
from tests.counts import report_counts
from tests.storage.teams import DAY, NOW, SECOND, Team

HOUR = DAY // 24
LIVES, STEPS = int(os.environ.get("LIVES", "5")), 25
DEFAULT = "LIVES" not in os.environ

EMAILS = ("ada@example.com", "Bob@Example.com", "zo\u00eb@example.com", "eve@example.com", "max@example.com")
IDS = ("17", "18", "19")
NAMES = (
    *(Reference(email=email) for email in EMAILS),
    *(Reference(source="crm", id=id) for id in IDS),
    # an email and an id in one reference, which prove the identity
    Reference(email=EMAILS[0], source="crm", id=IDS[0]),
    Reference(email=EMAILS[1], source="n8n", id="x"),
)
SAID: tuple[dict[str, Json], ...] = (
    {}, {}, {}, {"tags": ["vip"]}, {"tags": []}, {"company": "Acme"}, {"company": "Other", "attributes.seats": 12},
    {"attributes.seats": None}, {"name": "Ada"}, {"email": "other@example.com"}, {"email": None},
    {"owner": "rep@example.com"},
)  # fmt: skip  # fields that become known with any item
RULES = (
    Rule(name="Visit", activity="visit", points=2_000, cap=RuleCap(points=5_000, period="day", group="web")),
    Rule(name="Click", activity="click", points=3_000, cap=RuleCap(points=5_000, period="day", group="web")),
    Rule(name="Demo", activity="demo", points=15_000, condition="company:acme OR attributes.seats>=10"),
    Rule(name="Complaint", activity="complaint", points=-40_000, cap=RuleCap(points=60_000, period="ever")),
    Rule(name="VIP", points=25_000, condition="tag:vip"),
    Rule(name="Big", points=-10_000, condition="attributes.seats>=10"),
    Rule(name="Other", points=5_000, condition="email~other"),
    Rule(name="Small", points=-5_000, condition="-attributes.seats>=10"),
)
BANDS = (Band(name="cold", start=-50_000), Band(name="hot", start=60_000))
PLAIN: dict[str, object] = {"rules": (), "bands": (), "half_life": None}
#: the definitions that a type may have: constant ones, and a fading one
MEANINGS: dict[str, tuple[dict[str, object], ...]] = {
    "score": (
        {"minimum": 0, "maximum": 100_000, "step": 1_000, "start": 0},
        {"minimum": 0, "maximum": 100_000, "step": 1_000, "start": 0, "rules": RULES},
        {"minimum": -50_000, "maximum": 200_000, "step": 1_000, "start": 0, "rules": RULES[:4], "bands": BANDS},
        {"minimum": 10_000, "maximum": 60_000, "step": 5_000, "start": 20_000, "rules": RULES[4:]},
        {"minimum": 0, "maximum": 100_000, "step": 1_000, "start": 50_000, "rules": RULES[::2]},
    ),
    "mood": (
        {"minimum": -5_000, "maximum": 60_000, "step": 1_000, "start": 0, "rules": RULES[3:]},
        {"minimum": -5_000, "maximum": 5_000, "step": 500, "start": -1_000},
        {"minimum": -60_000, "maximum": 60_000, "step": 1, "start": 7},
        {"minimum": -60_000, "maximum": 60_000, "step": 1_000, "start": 0, "half_life": DAY},
    ),
    "heat": (
        {"minimum": -50_000, "maximum": 100_000, "step": 1_000, "start": 0, "rules": RULES[:4], "half_life": DAY},
        {"minimum": -50_000, "maximum": 100_000, "step": 1_000, "start": 10_000, "half_life": HOUR},
        {"minimum": 0, "maximum": 100_000, "step": 1, "start": 0, "rules": RULES[:2], "half_life": 30 * DAY},
        {"minimum": 0, "maximum": 100_000, "step": 1_000, "start": 0, "rules": RULES},
    ),
}
#: alert rules: immediate, after a hold, by fading, by the size of a movement
ALERTS = (
    "score crosses 15 cooldown 1h",
    "score crosses 5 hold 9d cooldown 2d sla 1h",
    "mood crosses below 10 hold 9d sla 4h",
    "heat crosses 5 hold 9d cooldown 1h",
    "heat crosses below 50 cooldown 1h",
    "score rises 15 in 1d",
)
REDEFINED, UNDONE, MERGED = (
    f"holds pending when {event}"
    for event in ("a type was redefined", "a batch was undone", "contacts were merged or split")
)
WAYS = ("waiting", "built", "cancelled", "quietly", "quietly", "asking")
AGO = (None, 0, 0, 1, 2, HOUR, DAY // 3, DAY, 5 * DAY)


@dataclass(frozen=True, kw_only=True)
class Join:
    """A request to merge two contacts."""

    first: Reference
    other: Reference
    actor: str | None
    ago: int | None


@dataclass(frozen=True, kw_only=True)
class Forget:
    """A request to delete a contact."""

    contact: Reference
    actor: str | None
    ago: int | None


@dataclass(frozen=True, kw_only=True)
class Tell:
    """Items of a source, or a person's request about one contact, which applies completely or not at all."""

    items: tuple[Item, ...]
    source: str = "crm"
    actor: str | None = None
    muted: bool = False
    by_row: int | None = None  # a person's request may name a known contact by row id
    beside: Join | Forget | None = None  # between the items


@dataclass(frozen=True)
class TakeBack:
    """An undo of an earlier command."""

    place: int


@dataclass(frozen=True)
class Again:
    """A repeat of an earlier submission."""

    place: int


Act: TypeAlias = Tell | Join | Forget | TakeBack | Again

actors = st.sampled_from((None, "U1", "U2"))


@st.composite
def items(draw: st.DrawFn) -> Item:
    """Choose an item; its `occurred_at` is an age in µs until the submission is made, or None."""
    common = {
        "key": "", "contact": draw(st.sampled_from(NAMES)),
        "occurred_at": draw(st.sampled_from(AGO)), "fields": draw(st.sampled_from(SAID)),
    }  # fmt: skip  # common to all items
    match draw(st.sampled_from(("change", "change", "activity", "fields"))):
        case "activity":
            activity = draw(st.sampled_from(("visit", "click", "Demo", "complaint", "left")))
            return Item(**common, activity=activity, amount=draw(st.sampled_from((1_000, 1_000, 2_500, 333))))  # type: ignore[arg-type]  # named arguments
        case "change":
            score = draw(st.sampled_from(tuple(MEANINGS)))
            op = draw(st.sampled_from((Op.SET, Op.ADD, Op.ADD, Op.CLEAR)))
            values = (-5, -1, 0, 2, 4) if score == "mood" else (10, 20, 35, 60, 60, 100)
            points = {Op.SET: st.sampled_from(values), Op.ADD: st.sampled_from((-40, -5, -3, 1, 5, 10, 35))}.get(op)
            thousandths = 1_000 * draw(points) if points is not None else 0
            return Item(**common, score=score, op=op, amount=thousandths)  # type: ignore[arg-type]  # named arguments
    return Item(**common)  # type: ignore[arg-type]  # named arguments


joins = st.builds(
    Join, first=st.sampled_from(NAMES), other=st.sampled_from(NAMES), actor=actors, ago=st.sampled_from(AGO)
)
forgets = st.builds(Forget, contact=st.sampled_from(NAMES), actor=actors, ago=st.sampled_from(AGO))


@st.composite
def tells(draw: st.DrawFn) -> Tell:
    """Choose a delivery of a source, or a person's request about one contact."""
    actor = draw(actors)
    return Tell(
        items=tuple(draw(st.lists(items(), min_size=1, max_size=4))),
        source=draw(st.sampled_from(("crm", "n8n"))),
        actor=actor,
        muted=draw(st.sampled_from((False, False, True))),
        by_row=draw(st.none() | st.integers(0, 20)) if actor else None,
        beside=draw(st.none() | st.none() | joins | forgets),
    )


places = st.integers(0, 3) | st.integers(0, 60)
takings_back = st.builds(TakeBack, places)
agains = st.builds(Again, places)
acts = st.one_of(tells(), tells(), joins, forgets, takings_back, agains)


class Everything(RuleBasedStateMachine):
    """A random sequence of events in a workspace; the counts in `seen` are of all sequences."""

    runner: ClassVar[asyncio.Runner]
    seen: ClassVar[Counter[str]] = Counter()
    lives: ClassVar["count[int]"] = count(1)
    team: Team

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.number = 0
        self.sent = list[Submission]()
        self.batches = list[str]()  # batches of people, which can be undone
        self.applied = set[tuple[str, str, str]]()  # keys of applied items

    @initialize()
    def begin(self) -> None:
        """Create a workspace with three score types and the alert rules."""
        self.runner.run(self._begin())

    async def _begin(self) -> None:
        workspace = await add_workspace(f"T{next(self.lives)}", name="Acme", by="U0ADMIN", now=NOW)
        await choose_channel(workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
        for key in ("mood", "heat"):
            first: dict[str, object] = {**PLAIN, **MEANINGS[key][0]}
            await add_score_type(workspace, key=key, label=key, is_default=False, by="U0ADMIN", now=NOW, **first)  # type: ignore[arg-type]  # named arguments
        for words in ALERTS:
            await add_alert_rule(workspace, words=words, made_by="U1", owners={}, now=NOW)
        self.team = Team(workspace)
        self.seen["lives"] += 1

    @rule(act=tells())
    def tell(self, act: Tell) -> None:
        """Record a delivery or a person's request."""
        self._hand_in([act])

    @rule(act=joins)
    def join(self, act: Join) -> None:
        """Merge two contacts."""
        self._hand_in([act])

    @rule(act=takings_back)
    def take_back(self, act: TakeBack) -> None:
        """Undo a person's request or an undo."""
        self._hand_in([act])

    @rule(act=forgets)
    def forget(self, act: Forget) -> None:
        """Delete a contact."""
        self._hand_in([act])

    @rule(act=agains)
    def repeat(self, act: Again) -> None:
        """Record an earlier submission again."""
        self._hand_in([act])

    @rule(acts=st.lists(acts, min_size=2, max_size=6))
    def at_once(self, acts: list[Act]) -> None:
        """Record several different submissions at the same time."""
        self._hand_in(acts)

    @rule(acts=st.lists(tells(), min_size=2, max_size=6))
    def tell_much(self, acts: list[Act]) -> None:
        """Record several deliveries and requests at the same time."""
        self._hand_in(acts)

    def _hand_in(self, acts: Sequence[Act]) -> None:
        self.now += SECOND
        self.runner.run(self._record(acts))

    async def _record(self, acts: Sequence[Act]) -> None:
        rows = [row["id"] for row in await self._rows("SELECT id FROM contacts WHERE workspace_id = $1 ORDER BY id")]
        submissions = [
            (type(act).__name__, prepared) for act in acts if (prepared := self._submission(act, rows)) is not None
        ]
        pending, roots = await self._pending(), await self._roots()
        outcomes = await asyncio.gather(
            *(self.team.record(submission) for _, submission in submissions), return_exceptions=True
        )
        if submissions and all(submission.undoes for _, submission in submissions):
            self.seen["undos that must ask nobody"] += 1
            # A follow-up that time alone opened just then has no source.
            sql = (
                "SELECT f.id FROM follow_ups f JOIN alert_rules r ON r.id = f.rule_id"
                f" WHERE r.workspace_id = $1 AND f.asked_at = {self.now} AND f.source <> ''"
            )
            assert await self._rows(sql) == []
        await self._count_holds(
            pending, roots, undone={submission.undoes for _, submission in submissions if submission.undoes}
        )
        for (kind, submission), outcome in zip(submissions, outcomes, strict=True):
            if isinstance(outcome, Recorded):
                self._note(kind, submission, outcome)
            elif isinstance(outcome, Refusal) and not isinstance(outcome, StorageUnavailable):
                self.seen[f"{kind}: {type(outcome).__name__}"] += 1
            else:
                raise outcome

    async def _pending(self) -> list[int]:
        """Return the contact of each hold that is pending."""
        rows = await self._rows(
            "SELECT m.contact_id FROM alert_memory m JOIN alert_rules r ON r.id = m.rule_id"
            " WHERE r.workspace_id = $1 AND m.pending_until IS NOT NULL"
        )
        return [row["contact_id"] for row in rows]

    async def _roots(self) -> dict[int, int | None]:
        """Return the contact into which each contact is merged."""
        rows = await self._rows("SELECT id, merged_into FROM contacts WHERE workspace_id = $1")
        return {row["id"]: row["merged_into"] for row in rows}

    async def _count_holds(self, pending: list[int], roots: dict[int, int | None], *, undone: set[str]) -> None:
        """Count the pending holds of contacts that were then merged or split, or had a batch undone."""
        now = await self._roots()
        moved_ids = {id for id in roots if roots[id] != now[id]}
        moved_ids |= {root for id in moved_ids for root in (roots[id], now[id]) if root}
        self.seen[MERGED] += sum(contact in moved_ids for contact in pending)
        if undone:
            rows = await self._rows("SELECT contact_id, batch FROM facts WHERE workspace_id = $1")
            touched = {row["contact_id"] for row in rows if row["batch"] in undone}
            self.seen[UNDONE] += sum(contact in touched for contact in pending)

    def _submission(self, act: Act, rows: list[int]) -> Submission | None:
        self.number += 1
        batch = f"{self.number:04d}"
        if isinstance(act, Again):
            return self.sent[-1 - act.place % len(self.sent)] if self.sent else None
        if isinstance(act, TakeBack):
            if not self.batches:
                return None
            names = self.batches[-1 - act.place % len(self.batches)]
            submission = self.team.undoing(names, batch=batch, received=self.now)
        else:
            items = self._make_items(act, batch, rows, by_person=act.actor is not None)
            submission = (
                self.team.asking(*items, batch=batch, actor=act.actor, received=self.now)
                if act.actor
                else self.team.delivery(*items, source=getattr(act, "source", "crm"), batch=batch, received=self.now)
            )
            submission = replace(submission, muted=getattr(act, "muted", False))
        self.sent.append(submission)
        return submission

    def _make_items(
        self, act: Tell | Join | Forget, key: str, rows: list[int], *, by_person: bool
    ) -> list[ItemRequest]:
        def at(ago: int | None) -> int | None:
            return None if ago is None or by_person else self.now - ago

        match act:
            case Join(first=first, other=other, ago=ago):
                return [Merge(key=key, contact=first, into=other, occurred_at=at(ago))]
            case Forget(contact=contact, ago=ago):
                return [Deletion(key=key, contact=contact, occurred_at=at(ago))]
        row = rows[act.by_row % len(rows)] if act.by_row is not None and rows else None
        items: list[ItemRequest] = [
            replace(item, key=f"{key}/{place}", occurred_at=at(item.occurred_at), contact=row or item.contact)
            for place, item in enumerate(act.items)
        ]
        items_beside = self._make_items(act.beside, f"{key}/beside", rows, by_person=by_person) if act.beside else []
        return [*items[:2], *items_beside, *items[2:]]

    def _note(self, kind: str, submission: Submission, recorded: Recorded) -> None:
        self.seen[kind] += 1
        if submission.actor and submission.batch not in self.batches:
            self.batches.append(submission.batch)
        for item, outcome in zip(submission.items, recorded.outcomes, strict=False):
            self.seen[f"{kind}: {outcome.status}"] += 1
            subject = getattr(item, "score", None) or type(item).__name__
            key = (submission.source, item.key, subject)
            assert not (outcome.status is Status.APPLIED and key in self.applied)  # no key is applied twice
            if outcome.status is Status.APPLIED:
                self.applied.add(key)
        self.seen["asked quietly"] += recorded.muted_follow_ups

    @rule(key=st.sampled_from(tuple(MEANINGS)), place=st.integers(0, 4), way=st.sampled_from(WAYS))
    def redefine(self, key: str, place: int, way: str) -> None:
        """Create a draft of a type with another definition; the draft may stay open."""
        self.now += SECOND
        meaning: dict[str, object] = {**PLAIN, **MEANINGS[key][place % len(MEANINGS[key])]}
        self.runner.run(self._redefine(key, meaning, way=way))

    async def _redefine(self, key: str, meaning: dict[str, object], *, way: str) -> None:
        live = next(score_type for score_type in await score_types(self.team.workspace) if score_type.key == key)
        proposed = replace(live, **meaning)  # type: ignore[arg-type]  # named arguments
        new_draft = await create_draft(self.team.workspace, proposed=proposed, by="U0ADMIN", now=self.now)
        if new_draft is not None:
            await self._go(new_draft, way)

    @rule(place=places, way=st.sampled_from(WAYS))
    def decide(self, place: int, way: str) -> None:
        """Apply or cancel an open draft."""
        self.now += SECOND
        self.runner.run(self._decide(place, way))

    async def _decide(self, place: int, way: str) -> None:
        if waiting_drafts := await drafts(self.team.workspace):
            await self._go(waiting_drafts[place % len(waiting_drafts)], way)

    @rule(place=places)
    def go_back(self, place: int) -> None:
        """Restore the first definition of a type through a draft."""
        self.now += SECOND
        self.runner.run(self._go_back(place))

    async def _go_back(self, place: int) -> None:
        types = await score_types(self.team.workspace)
        live = types[place % len(types)]
        old = await load_version(self.team.workspace, score=live.key, number=1)
        new_draft = await create_draft(
            self.team.workspace, proposed=replace(old, is_default=live.is_default), by="U0ADMIN", now=self.now
        )
        if new_draft is not None:
            await self._go(new_draft, "quietly")

    async def _go(self, draft_type: ScoreType, way: str) -> None:
        """Leave a draft as it is or built, cancel it, or apply it; an application must match its preview."""
        workspace = self.team.workspace
        try:
            if way == "cancelled":
                await cancel(workspace, draft=draft_type, clock=lambda: self.now)
            elif way != "waiting":
                await build(workspace, draft=draft_type, progress=lambda _: None, clock=lambda: self.now)
            if way in ("quietly", "asking"):
                expected = await preview(workspace, draft=draft_type, now=self.now)
                before = await self._values(draft_type)
                self.seen[REDEFINED] += len(await self._pending())
                number = await apply(
                    workspace, draft=draft_type, with_alerts=way == "asking", by="U0ADMIN", clock=lambda: self.now
                )
                assert number == (expected.follow_ups if way == "asking" else 0)
                self.seen["asked by what was applied"] += number
                after = await self._values(draft_type)
                assert sum(before.get(id) != after.get(id) for id in before | after) == expected.changed
            self.seen[f"drafts: {way}"] += 1
        except NoDraft:
            self.seen["drafts: gone"] += 1

    async def _values(self, score_type: ScoreType) -> dict[int, int]:
        ids = [row["id"] for row in await self._rows(f"{_LIVING} ORDER BY id")]
        cards = await cards_of(self.team.workspace, ids=ids, now=self.now)
        return {
            card.contact.id: standing.value
            for card in cards
            for standing in card.standings
            if standing.score_type.key == score_type.key
        }

    @rule(span=st.sampled_from((1, HOUR, DAY, 9 * DAY)))
    def wait(self, span: int) -> None:
        """Advance the time, and sweep."""
        self.now += span
        self.seen["follow-ups looked at by time"] += self.runner.run(sweep_rules(self.team.workspace, now=self.now))

    @invariant()
    def all_is_as_the_ledger_says(self) -> None:
        """Fail if anything stored differs from the ledger; this runs after each step."""
        if hasattr(self, "team"):
            self.runner.run(self._look())

    async def _look(self) -> None:
        verified = await verify_next(self.team.workspace)
        assert verified.differences == ()
        self.seen["steps"] += 1
        self.seen["scores folded anew and compared"] += verified.scores
        for finding, sql in _NEVER.items():
            assert [(finding, row) for row in await self._rows(sql)] == []
        await self._check_who_is_one()
        await self._check_why()

    async def _check_who_is_one(self) -> None:
        """Fail unless exactly the contacts that merges in force connect are merged, into that with the smallest id."""
        fact_rows = await self._rows("SELECT * FROM facts WHERE workspace_id = $1 AND kind IN ('merge', 'undo')")
        undos = [(row["undoes"], row["batch"]) for row in fact_rows if row["undoes"]]

        def stands(batch: str) -> bool:
            return not any(stands(undo) for undone, undo in undos if undone == batch)

        rows = await self._rows("SELECT id, merged_into FROM contacts WHERE workspace_id = $1 ORDER BY id")
        groups = {row["id"]: {row["id"]} for row in rows}
        for row in fact_rows:
            if row["contact_id"] and stands(row["batch"]):
                both = groups[row["contact_id"]] | groups[row["other_id"]]
                groups |= dict.fromkeys(both, both)
        merged_into = {row["id"]: row["merged_into"] or row["id"] for row in rows if row["merged_into"] != 0}
        assert merged_into == {id: min(groups[id]) for id in merged_into}
        self.seen["contacts that are one with another"] += sum(id != root for id, root in merged_into.items())

    async def _check_why(self) -> None:
        """Fail unless each explanation adds up to its value, now or later, and a missing score has no explanation."""
        workspace, now = self.team.workspace, self.now + self.number % 2 * 2 * DAY
        ids = [row["id"] for row in await self._rows(f"{_LIVING} ORDER BY id")]
        for card in await cards_of(workspace, ids=ids, now=now):
            values = {standing.score_type.key: standing.value for standing in card.standings}
            for key in MEANINGS:
                _, made_of = await why(workspace, contact=card.contact.id, score=key, most=self.number % 5, now=now)
                lines = made_of.contributions if made_of else ()
                assert (made_of and made_of.value) == values.get(key)
                assert sum(line.effect for line in lines) == values.get(key, 0)
                assert all(line.asked - line.cut - line.rounded - line.faded == line.effect for line in lines)
                self.seen["numbers explained"] += made_of is not None

    async def _rows(self, sql: str) -> list[Row]:
        return await read(sql, self.team.workspace.id)


_LIVING = "SELECT id FROM contacts WHERE workspace_id = $1 AND merged_into IS NULL"
_PARTS = "SELECT id FROM contacts WHERE workspace_id = $1 AND merged_into IS NOT NULL"
_UNREAD = (
    "SELECT d.id FROM definitions d JOIN score_types t ON t.id = d.score_type_id"
    " WHERE t.workspace_id = $1 AND d.number <> t.live AND NOT d.is_draft"
)
#: rows that must not exist
_NEVER = {
    "a score of a merged contact": f"SELECT id FROM scores WHERE contact_id IN ({_PARTS})",
    "an effect on a merged contact": f"SELECT id FROM effects WHERE contact_id IN ({_PARTS})",
    "an alert memory of a merged contact": f"SELECT id FROM alert_memory WHERE contact_id IN ({_PARTS})",
    "a memory that is taken and waits for the end of a hold": "SELECT m.id FROM alert_memory m JOIN alert_rules r"
    " ON r.id = m.rule_id WHERE r.workspace_id = $1 AND m.taken AND m.pending_until IS NOT NULL",
    "a score under what nobody reads": f"SELECT id FROM scores WHERE definition_id IN ({_UNREAD})",
    "an effect under what nobody reads": f"SELECT id FROM effects WHERE definition_id IN ({_UNREAD})",
    "a name of nobody": "SELECT i.id FROM identities i JOIN contacts c ON c.id = i.contact_id"
    " WHERE c.workspace_id = $1 AND c.merged_into = 0",
    "a fact of nobody": "SELECT f.id FROM facts f JOIN contacts c ON c.id = f.contact_id"
    " WHERE c.workspace_id = $1 AND c.merged_into = 0",
}


@pytest.mark.slow
def test_whatever_happens_is_kept_as_the_ledger_has_it(database_url: str) -> None:
    """Everything stored equals a fold of the ledger after each step of a random sequence of events."""
    Everything.seen, Everything.lives = Counter(), count(1)
    with asyncio.Runner() as runner:
        opened_storage = runner.run(open_storage(database_url, secret_keys=[KEY]))
        Everything.runner = runner
        try:
            run_state_machine_as_test(
                Everything,
                settings=settings(
                    max_examples=LIVES,
                    stateful_step_count=STEPS,
                    deadline=None,
                    derandomize=DEFAULT,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            report_counts(f"lives of workspaces on {opened_storage.dialect}", dict(sorted(Everything.seen.items())))
            runner.run(opened_storage.close())
    if not DEFAULT:  # a short run need not include every kind of event
        assert [event for event in (REDEFINED, UNDONE, MERGED) if Everything.seen[event] < 100] == []
