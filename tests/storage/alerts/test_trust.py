"""Whatever a team does: no rule asks twice for one thing, no undo asks, and no rule falls silent without a word."""

import random
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest

from storage.alerts.broken import find_breakages
from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.alerts.followup_moves import apply_move
from storage.alerts.followups import FollowUp, load_follow_ups
from storage.alerts.rules import alert_rules, pause_rule, remove_rule, resume_rule
from storage.alerts.sweep import sweep_rules
from storage.bootstrap import Storage
from storage.db import database
from storage.domain.contacts import Json, Reference
from storage.domain.errors import Refusal, SegmentInUse
from storage.domain.facts import Merge, Op
from storage.domain.followups import WAITING, FollowUpMove
from storage.ledger.split import split_contact
from storage.ledger.verify import verify_next
from storage.reading.segments import delete_segment, save_segment
from storage.scoring.definitions import add_score_type, score_type
from storage.scoring.drafts import apply, build, create_draft
from storage.workspaces import add_workspace
from tests.counts import THOROUGH, report_counts
from tests.storage.teams import DAY, NOW, Team, change, field_item, set_to

LIVES, STEPS = 6 * THOROUGH, 60
COOLDOWN = 14 * DAY
PEOPLE = [Reference(email=f"p{number}@example.com", source="crm", id=str(number)) for number in range(4)]
RULES = (
    "score crosses 60 in <#C1>",
    "score crosses 80 if tag:vip in <#C1>",
    "score crosses 70 if segment:seg in <#C1>",
    "score crosses 50 hold 1d in <#C2>",
    "heat crosses 40 in <#C2>",
)
SEGMENTS = ("tag:vip", "score>=0", "-tag:nobody")  # a contact with the tag and a score is in each of them
MOVES = (FollowUpMove.CLAIM, FollowUpMove.SNOOZE, FollowUpMove.DONE, FollowUpMove.RELEASE, FollowUpMove.REOPEN)
FEWEST = {
    "asked": 30, "asked by an undo": 0, "undone": 30, "merged": 20, "split": 15, "moved": 7, "defined anew": 15,
    "segment in use": 15, "rules that ask at the end": 20, "firings again after a cool-down": 2,
}  # fmt: skip  # what has to happen in all lives together, in an everyday run


class Life:
    """The life of a team, with what it does next drawn from a seed."""

    def __init__(self, team: Team, seed: int, counts: Counter[str]) -> None:
        self.team, self.chance, self.counts = team, random.Random(seed), counts  # no secret
        self.now, self.number = NOW, 0
        self.batches: list[str] = []
        self.gaps = 0  # pairs of firings of a rule for a contact
        self.contact_of: dict[tuple[int, int, int], int] = {}

    async def step(self) -> None:
        """Do one thing, then check what holds at any time."""
        self.number += 1
        self.now += self.chance.choice((1, DAY // 24, DAY, 9 * DAY))
        acts = (self.score, self.score, self.score, self.tag, self.undo, self.undo, self.join, self.part, self.segment)
        act = self.chance.choice((*acts, self.rule, self.move, self.move, self.wait, self.define))
        if act == self.undo:
            await sweep_rules(self.team.workspace, now=self.now)  # what time alone brings is not the undo's
        before = await self.follow_ups()
        self.check_cooldowns(before)
        with suppress(Refusal):
            await act()
        after = await self.follow_ups()
        new = {firing for item in after for firing in _firings(item)} - {f for item in before for f in _firings(item)}
        self.counts["asked"] += len(new)
        if act == self.undo:
            self.counts["asked by an undo"] += len(new)
        # A merge brings together what each contact has; both stay until they are closed.
        if act not in (self.join, self.undo, self.part):
            assert _crowded(after) <= _crowded(before)
        self.check_cooldowns(after)

    async def score(self) -> None:
        """A source or a person changes a score."""
        person, key, score = self.chance.choice(PEOPLE), f"k{self.number}", self.chance.choice(("score", "heat"))
        amount = self.chance.choice((-40, -20, 15, 30, 60, 90))
        item = change(key, person.email or "", Op.ADD if amount < 40 else Op.SET, amount, score=score, at=self.now)
        if self.chance.random() < 0.5:
            await self.team.deliver(item, batch=key, received=self.now)
        else:
            await self.team.ask(item, batch=key, received=self.now)
            self.batches.append(key)

    async def tag(self) -> None:
        """A source sends the tags of a contact, with both its address and its id."""
        tags: list[Json] = ["vip"] if self.chance.random() < 0.5 else []
        await self.team.deliver(field_item(f"t{self.number}", self.chance.choice(PEOPLE), tags=tags), received=self.now)

    async def undo(self) -> None:
        """A person undoes a batch, which may be an undo."""
        if self.batches:
            batch = f"u{self.number}"
            await self.team.undo(self.chance.choice(self.batches), batch=batch, received=self.now)
            self.batches.append(batch)
            self.counts["undone"] += 1

    async def join(self) -> None:
        """A person merges two contacts."""
        first, second = (Reference(email=person.email) for person in self.chance.sample(PEOPLE, 2))
        batch = f"m{self.number}"
        await self.team.ask(Merge(key=batch, contact=first, into=second), batch=batch, received=self.now)
        self.batches.append(batch)
        self.counts["merged"] += 1

    async def part(self) -> None:
        """A person splits an id from a contact."""
        person = self.chance.choice(PEOPLE)
        contact, batch = await self.team.contact(person.email or ""), f"s{self.number}"
        id = Reference(source="crm", id=person.id)
        await split_contact(
            self.team.workspace, contact=contact.id, id=id, actor="U0REP", batch=batch, now=self.now
        )  # fmt: skip  # who, then what
        self.batches.append(batch)
        self.counts["split"] += 1

    async def segment(self) -> None:
        """The maker changes a segment, or tries to delete it while a rule uses it."""
        text, workspace = self.chance.choice(SEGMENTS), self.team.workspace
        await save_segment(workspace, name="seg", text=text, by="U1", now=self.now)
        if any("segment:seg" in (rule.condition or "") for rule in await alert_rules(workspace)):
            with pytest.raises(SegmentInUse):
                await delete_segment(workspace, name="seg", by="U1", now=self.now)
            self.counts["segment in use"] += 1

    async def rule(self) -> None:
        """A person pauses, resumes, removes or adds a rule."""
        rules = await alert_rules(self.team.workspace)
        act = self.chance.choice((pause_rule, resume_rule, resume_rule, remove_rule, None))
        if act is None or not rules:
            words = self.chance.choice(RULES)
            await add_alert_rule(self.team.workspace, words=words, made_by="U1", owners={}, now=self.now)
        else:
            await act(self.team.workspace, rule=self.chance.choice(rules).id, by="U1", now=self.now)

    async def move(self) -> None:
        """A person claims, snoozes, finishes, releases or reopens a follow-up."""
        if items := await self.follow_ups():
            item, move = self.chance.choice(items[-4:]), self.chance.choice(MOVES)
            until = self.now + DAY if move is FollowUpMove.SNOOZE else None
            workspace = self.team.workspace
            await apply_move(workspace, id=item.id, move=move, by="U2", is_admin=True, until=until, now=self.now)
            self.counts["moved"] += 1

    async def wait(self) -> None:
        """Time passes: scores fade, snoozes end, rules are swept."""
        for item in await self.follow_ups():
            with suppress(Refusal):
                await apply_move(self.team.workspace, id=item.id, move=FollowUpMove.WAKE, by=None, now=self.now)
        await sweep_rules(self.team.workspace, now=self.now)

    async def define(self) -> None:
        """An admin changes how fast a score fades, with or without follow-ups for newcomers."""
        workspace = self.team.workspace
        live = await score_type(workspace, key="heat")
        half_life = self.chance.choice((None, 5 * DAY, 30 * DAY))
        wanted = replace(live, half_life=half_life)
        changed = await create_draft(workspace, proposed=wanted, by="U0ADMIN", now=self.now)
        if changed is not None:
            asks = self.chance.random() < 0.5
            await build(workspace, draft=changed, clock=lambda: self.now)
            await apply(workspace, draft=changed, with_alerts=asks, by="U0ADMIN", clock=lambda: self.now)
            self.counts["defined anew"] += 1

    async def follow_ups(self) -> list[FollowUp]:
        """Return every follow-up, oldest first."""
        rows = await database.read("SELECT id FROM follow_ups WHERE workspace_id = $1", self.team.workspace.id)
        return await load_follow_ups(self.team.workspace, ids=[row["id"] for row in rows])

    def check_cooldowns(self, items: list[FollowUp]) -> None:
        """Check that no rule asked for a contact again within its cool-down, what was taken back aside.

        A merge moves follow-ups, so each firing counts for the contact that had it when it was new.
        """
        in_force = dict[tuple[int, int], list[int]]()
        for item in items:
            for rule in item.rules:
                contact = self.contact_of.setdefault((item.id, rule.rule, rule.fired_at), item.contact)
                if not rule.is_taken_back:
                    in_force.setdefault((rule.rule, contact), []).append(rule.fired_at)
        gaps = [later - earlier for instants in in_force.values() for earlier, later in pairwise(sorted(instants))]
        self.gaps = len(gaps)
        assert [gap for gap in gaps if gap < COOLDOWN] == []

    async def end(self) -> None:
        """Check that each rule that is neither paused nor shown as broken asks for a contact that it has never seen."""
        workspace, rules = self.team.workspace, await alert_rules(self.team.workspace)
        broken = await find_breakages(workspace, rules=rules)
        at = self.now + DAY
        fresh = Reference(email="fresh@example.com")
        items = [set_to(f"end/{score}", fresh.email or "", 100, score=score) for score in ("score", "heat")]
        await self.team.deliver(field_item("end", fresh, tags=["vip"]), *items, batch="end", received=at)
        await sweep_rules(workspace, now=at + 2 * DAY)
        contact = await self.team.contact(fresh.email or "")
        asked = {rule.rule for item in await self.follow_ups() if item.contact == contact.id for rule in item.rules}
        live = {rule.id for rule in rules if rule.paused_at is None and rule.id not in broken}
        assert asked >= live
        self.counts["firings again after a cool-down"] += self.gaps
        self.counts["rules that ask at the end"] += len(live)
        assert (await verify_next(workspace)).differences == ()


def _crowded(items: list[FollowUp]) -> set[tuple[int, str]]:
    """Return the contacts and places with more than one unfinished follow-up."""
    places = Counter((item.contact, item.lane) for item in items if item.standing.state in WAITING)
    return {place for place, count in places.items() if count > 1}


def _firings(item: FollowUp) -> list[tuple[int, int, int]]:
    return [(item.id, rule.rule, rule.fired_at) for rule in item.rules]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_team_can_trust_its_alerts(storage: Storage) -> None:
    """In random lives no rule asks twice or for an undo, and in the end each rule asks or is shown as broken."""
    counts = Counter(dict.fromkeys(FEWEST, 0))
    for seed in range(LIVES):
        life = Life(await _make_team(f"T{seed}"), seed, counts)
        for _ in range(STEPS):
            await life.step()
        await life.end()

    report_counts("lives of alerts", counts)
    assert counts["asked by an undo"] == 0
    assert [name for name, fewest in FEWEST.items() if counts[name] < fewest] == []


async def _make_team(name: str) -> Team:
    """Return a team with a fading score, a segment, a rule of each kind and four contacts."""
    workspace = await add_workspace(name, name=name, by="U0ADMIN", now=NOW)
    await choose_channel(workspace, channel="C1", by="U0ADMIN", now=NOW)
    await add_score_type(
        workspace, key="heat", label="Heat", minimum=0, maximum=100_000, step=1_000, start=0, bands=(),
        half_life=5 * DAY, is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    await save_segment(workspace, name="seg", text="tag:vip", by="U1", now=NOW)
    for words in RULES:
        await add_alert_rule(workspace, words=words, made_by="U1", owners={}, now=NOW)
    team = Team(workspace)
    await team.deliver(*(field_item(f"p{person.id}", person, tags=["vip"]) for person in PEOPLE))
    return team
