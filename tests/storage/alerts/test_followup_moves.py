"""Whatever people, time and scores do, a follow-up only makes the moves that the diagram in the README shows."""

import random
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from storage import jobs
from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.alerts.followup_moves import AlreadyOpen, apply_move, record_outcome
from storage.alerts.followup_rules import ASK, EDIT, ESCALATE, HAND_OVER, JOINED, LEFT, RELEASE, WAKE, withdraw_rules
from storage.alerts.followups import FollowUp, Step, list_overdue, list_steps, load_follow_ups
from storage.alerts.sweep import sweep_rules
from storage.bootstrap import Storage, open_storage
from storage.db import database
from storage.domain.followups import (
    MOVES,
    WAITING,
    FollowUpMove,
    FollowUpOutcome,
    FollowUpState,
    FollowUpStatus,
    NotTheirs,
    TooLate,
)
from storage.scoring.definitions import add_score_type
from storage.workspaces import add_workspace
from tests.conftest import KEY
from tests.counts import THOROUGH, report_counts
from tests.processes import HOUSE
from tests.storage.teams import DAY, NOW, Team, set_to

HOUR = DAY // 24
DRAWN = set(re.findall(r"^    (\w+) --> (\w+): ", (HOUSE / "README.md").read_text(), re.MULTILINE))
#: the moves that people make
CLICKS = (
    *(FollowUpMove.CLAIM, FollowUpMove.ASSIGN, FollowUpMove.TAKE_OVER, FollowUpMove.SNOOZE, FollowUpMove.DONE),
    *(FollowUpMove.REOPEN, FollowUpMove.RELEASE),
)
BY_TIME = {WAKE: FollowUpMove.WAKE, RELEASE: FollowUpMove.RELEASE, ESCALATE: FollowUpMove.ESCALATE}
HOLDER = "the holder"
# Each workspace has a random generator of its own, so that a run depends only on this file and the product.
WORKSPACES, STEPS = 18 * THOROUGH, 50
FEWEST = 2 * THOROUGH  # the least number of times that each arrow must be followed


class RandomWalk:
    """A random sequence of clicks, waits and score changes about the follow-ups of two contacts."""

    def __init__(self, storage: Storage, team: Team, *, seen: Counter[str], dice: random.Random) -> None:
        self.storage = storage
        self.team = team
        self.seen = seen
        self.dice = dice
        self.now = NOW
        self.history: list[str] = []
        self.checked: dict[int, FollowUp] = {}
        self.most = 8  # more ids than there are follow-ups

    async def step(self) -> None:
        """Perform one random action, then check the follow-ups that changed."""
        match self.dice.choice(["push", "click", "click", "click", "wait", "wait", "undo"]):
            case "push":
                await self._push(self.dice.choice(["score", "heat"]), self.dice.choice([0, 30, 60, 100]))
            case "click":
                await self._click(self.dice.choice(["U1", "U2", HOLDER, HOLDER]))
            case "wait":
                await self._wait(self.dice.choice([1, 3, 5, 30, 80]))
            case "undo":
                await self._take_back()
        await self._check()

    async def _load_all(self) -> list[FollowUp]:
        """Load all follow-ups. Their ids are consecutive, so that the ids to ask for are known from the last load."""
        follow_ups = await load_follow_ups(self.team.workspace, ids=range(1, self.most + 1))
        while len(follow_ups) == self.most:
            self.most *= 2
            follow_ups = await load_follow_ups(self.team.workspace, ids=range(1, self.most + 1))
        return follow_ups

    async def _push(self, score: str, value: int) -> None:
        """Set a score of one of the two contacts."""
        contact = f"p{self.dice.randint(0, 1)}@example.com"
        self.history.append(f"{contact} {score}={value}")
        key = str(len(self.history))
        await self.team.deliver(set_to(key, contact, value, score=score), batch=key, received=self.now)

    async def _click(self, by: str) -> None:
        """Click a button of one of the two newest follow-ups, mostly one that its state allows."""
        follow_ups = await self._load_all()
        if not follow_ups:
            return
        follow_up = self.dice.choice(follow_ups[-2:])
        before = follow_up.standing
        fitting = [move for move in CLICKS if (before.state, move) in MOVES]
        move = self.dice.choice(fitting if fitting and self.dice.random() < 0.8 else CLICKS)
        by = (before.holder or "U1") if by == HOLDER else by
        self.history.append(f"{move} of {follow_up.id} by {by}")
        until = self.now + DAY if move is FollowUpMove.SNOOZE else None
        late = None
        try:
            after = await apply_move(
                self.team.workspace, id=follow_up.id, move=move, by=by, is_admin=by == "U2", assignee="U3", until=until,
                now=self.now,
            )  # fmt: skip  # one move
        except TooLate as refused:
            late = refused
        except (AlreadyOpen, NotTheirs) as refused:
            self.seen[type(refused).__name__] += 1
            assert await load_status(self.team, follow_up.id) == before
            return
        if late is not None:
            self.seen["too late"] += 1
            assert (late.state, late.holder) == (before.state, before.holder)
            return
        is_open = move in (FollowUpMove.RELEASE, FollowUpMove.REOPEN)
        assert after.standing.holder == (None if is_open else "U3" if move is FollowUpMove.ASSIGN else by)
        if move is FollowUpMove.DONE:
            outcome = FollowUpOutcome.MEETING
            recorded = await record_outcome(self.team.workspace, id=follow_up.id, outcome=outcome, by=by, now=self.now)
            assert recorded.outcome is outcome

    async def _take_back(self) -> None:
        """Withdraw the rules of the newest follow-up, as an undo of the changes does."""
        follow_ups = await load_follow_ups(self.team.workspace, ids=range(1, 500))
        if follow_ups:
            newest = follow_ups[-1]
            self.history.append(f"undo of {newest.id}")
            pairs = {(rule.rule, newest.contact): self.now for rule in newest.rules}
            await database.write(partial(withdraw_rules, pairs=pairs, move=FollowUpMove.TAKE_BACK, now=self.now))

    async def _wait(self, hours: int) -> None:
        """Advance the time, and run what is due by then, as a worker does."""
        self.history.append(f"{hours} h")
        self.now += hours * HOUR
        await sweep_rules(self.team.workspace, now=self.now)
        for _ in range(500):
            job = await jobs.claim(self.team.workspace, kinds={ASK, EDIT, HAND_OVER, *BY_TIME}, now=self.now)
            if job is None:
                break
            if job.kind in BY_TIME:
                try:
                    await apply_move(self.team.workspace, id=job.subject, move=BY_TIME[job.kind], by=None, now=self.now)
                except TooLate:
                    self.seen["time was too late"] += 1
            await jobs.settle(self.team.workspace, job=job, pace=0, now=self.now)
        # Everything that was due by now must be done.
        for follow_up in await self._load_all():
            assert follow_up.until is None or follow_up.until > self.now
            is_open = follow_up.standing.state is FollowUpState.OPEN
            assert not is_open or follow_up.late_at is None or follow_up.late_at > self.now
        for follow_up in await list_overdue(self.team.workspace, most=500, now=self.now):
            assert follow_up.standing.state is FollowUpState.ESCALATED

    async def _check(self) -> None:
        """Fail if a follow-up made a move without an arrow, or if its holder does not match its state."""
        follow_ups = await self._load_all()
        waiting = Counter((item.contact, item.lane) for item in follow_ups if item.standing.state in WAITING)
        assert set(waiting.values()) <= {1}
        for follow_up in follow_ups:
            if self.checked.get(follow_up.id) == follow_up:
                continue
            self.checked[follow_up.id] = follow_up
            steps = await list_steps(self.team.workspace, id=follow_up.id)
            states = list_states(steps)
            now = follow_up.standing
            assert states[0] == "open"
            assert set(pairwise(states)) <= DRAWN
            assert states[-1] == now.state.value
            is_held = now.state in (FollowUpState.CLAIMED, FollowUpState.SNOOZED, FollowUpState.DONE)
            assert (now.holder is not None) is is_held
            assert (follow_up.until is not None) is (now.state in (FollowUpState.CLAIMED, FollowUpState.SNOOZED))
            assert [step.at for step in steps] == sorted(step.at for step in steps)

    async def finish(self) -> None:
        """Check every follow-up once more, and count the arrows that were followed."""
        self.checked.clear()
        await self._check()
        for id in self.checked:
            states = list_states(await list_steps(self.team.workspace, id=id))
            self.seen.update(f"{a} to {b}" for a, b in pairwise(states))


def list_states(steps: Sequence[Step]) -> list[str]:
    """Return the states of a follow-up after each of its moves."""
    others = (*FollowUpOutcome, JOINED, LEFT)
    return [step.state.value for step in steps if step.move not in others]


async def load_status(team: Team, id: int) -> FollowUpStatus:
    """Return the status of a follow-up."""
    (item,) = await load_follow_ups(team.workspace, ids=[id])
    return item.standing


async def make_team(storage: Storage) -> Team:
    """Return a team with two alert rules."""
    workspace = await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
    await choose_channel(workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await add_score_type(
        workspace, key="heat", label="Heat", minimum=0, maximum=100_000, step=1_000, start=0, bands=(),
        half_life=DAY, is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    for words in (
        "score crosses 50 cooldown 1h sla 4h escalate to <@U2>",
        "heat crosses below 50 cooldown 1h sla 2h escalate to <@U2>",
    ):
        await add_alert_rule(workspace, words=words, made_by="U1", owners={}, now=NOW)
    return Team(workspace)


@pytest.mark.slow
async def test_a_follow_up_never_leaves_the_drawing(sqlite_file: Path, tmp_path: Path) -> None:
    """Every state change follows an arrow of the diagram, and every arrow is followed."""
    seen: Counter[str] = Counter()
    for number in range(WORKSPACES):
        file = shutil.copy(sqlite_file, tmp_path / f"walk{number}.db")
        storage = await open_storage(f"sqlite://{file}", secret_keys=[KEY])
        try:
            walk = RandomWalk(storage, await make_team(storage), seen=seen, dice=random.Random(number))
            try:
                for _ in range(STEPS):
                    await walk.step()
                await walk.finish()
            except Exception as exc:
                exc.add_note(f"workspace {number}: {', '.join(walk.history)}")
                raise
        finally:
            await storage.close()
    report_counts("walks of follow-ups", seen)
    assert [f"{a} to {b}" for a, b in sorted(DRAWN) if seen[f"{a} to {b}"] < FEWEST] == []
