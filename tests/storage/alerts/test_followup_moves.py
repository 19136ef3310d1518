"""Whatever people, time and scores do, a follow-up never goes where the drawing in the README has no arrow."""

import asyncio
import re
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from storage import jobs
from storage.alerts.decide import sweep
from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.alerts.followup_moves import ASK, EDIT, ESCALATE, RELEASE, WAKE, apply_move, record_outcome
from storage.alerts.followups import list_overdue, list_steps, load_follow_ups
from storage.bootstrap import Storage, open_storage
from storage.domain.followups import FollowUpMove, FollowUpOutcome, FollowUpState, TooLate
from storage.scoring.definitions import add_score_type
from storage.workspaces import add_workspace
from tests.conftest import KEY
from tests.counts import tell
from tests.storage.processes import HOUSE
from tests.storage.teams import DAY, NOW, Team, set_to

HOUR = DAY // 24
DRAWN = set(re.findall(r"^    (\w+) --> (\w+): ", (HOUSE / "README.md").read_text(), re.MULTILINE))
BY_TIME = {WAKE: FollowUpMove.WAKE, RELEASE: FollowUpMove.RELEASE, ESCALATE: FollowUpMove.ESCALATE}
HOLDER = "whoever has it"


class Life(RuleBasedStateMachine):
    """Clicks, time and score changes in any order; what was seen is counted over all runs."""

    template: ClassVar[Path]
    seen: ClassVar[Counter[str]] = Counter()
    lives: ClassVar[int] = 0
    storage: Storage

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now = NOW
        self.number = 0

    @initialize()
    def begin(self) -> None:
        """Make a workspace with two rules."""
        Life.lives += 1
        file = self.template.with_name(f"life{self.lives}.db")
        shutil.copy(self.template, file)
        self.runner.run(self._begin(f"sqlite://{file}"))

    async def _begin(self, url: str) -> None:
        self.storage = await open_storage(url, secret_keys=[KEY])
        workspace = await add_workspace("T0ACME", name="Acme", now=NOW)
        await choose_channel(workspace, channel="C0SALES", now=NOW)
        await add_score_type(
            workspace, key="heat", label="Heat", minimum=0, maximum=100_000, step=1_000, start=0, bands=(),
            half_life=DAY, is_default=False, now=NOW,
        )  # fmt: skip  # one definition
        for words in (
            "score crosses 50 cooldown 1h sla 4h escalate to <@U2>",
            "heat crosses below 50 cooldown 1h sla 2h escalate to <@U2>",
        ):
            await add_alert_rule(workspace, words=words, made_by="U1", owners={}, now=NOW)
        self.team = Team(workspace, self.storage.committer)

    @rule(score=st.sampled_from(["score", "heat"]), person=st.integers(0, 1), value=st.sampled_from([0, 30, 60, 100]))
    def push(self, score: str, person: int, value: int) -> None:
        """Set a score."""
        self.number += 1
        item = set_to(str(self.number), f"p{person}@example.com", value, score=score)
        self.runner.run(self.team.deliver(item, batch=str(self.number), received=self.now))

    @rule(
        place=st.integers(0, 1),
        way=st.sampled_from([FollowUpMove.CLAIM, FollowUpMove.SNOOZE, FollowUpMove.DONE]),
        by=st.sampled_from(["U1", "U2", HOLDER, HOLDER]),
    )
    def click(self, place: int, way: FollowUpMove, by: str) -> None:
        """Press a button of a follow-up."""
        self.runner.run(self._click(place, way, by))

    async def _click(self, place: int, way: FollowUpMove, by: str) -> None:
        follow_ups = await load_follow_ups(self.team.workspace, ids=range(1, 500))
        if not follow_ups:
            return
        follow_up = follow_ups[-1 - place % len(follow_ups)]
        by = (follow_up.standing.holder or "U1") if by == HOLDER else by
        until = self.now + DAY if way is FollowUpMove.SNOOZE else None
        late = None
        try:
            after = await apply_move(self.team.workspace, id=follow_up.id, move=way, by=by, until=until, now=self.now)
        except TooLate as error:
            late = error
        if late is not None:
            self.seen["too late"] += 1
            assert (late.state, late.holder) == (follow_up.standing.state, follow_up.standing.holder)
            return
        assert after.standing.holder == by
        if way is FollowUpMove.DONE:
            recorded_outcome = await record_outcome(
                self.team.workspace, id=follow_up.id, outcome=FollowUpOutcome.MEETING, by=by, now=self.now
            )
            assert recorded_outcome.outcome is FollowUpOutcome.MEETING

    @rule(hours=st.sampled_from([1, 3, 5, 30, 80]))
    def wait(self, hours: int) -> None:
        """Let time pass, and do what is due then, as a worker does."""
        self.now += hours * HOUR
        self.runner.run(self._work())

    async def _work(self) -> None:
        await sweep(self.team.workspace, now=self.now)
        for _ in range(500):
            job = await jobs.claim(self.team.workspace, kinds={ASK, EDIT, *BY_TIME}, now=self.now)
            if job is None:
                break
            if job.kind in BY_TIME:
                try:
                    await apply_move(self.team.workspace, id=job.subject, move=BY_TIME[job.kind], by=None, now=self.now)
                except TooLate:
                    self.seen["time was too late"] += 1
            await jobs.settle(self.team.workspace, job=job, pace=0, now=self.now)
        # Whatever time should have done is done.
        for follow_up in await load_follow_ups(self.team.workspace, ids=range(1, 500)):
            assert follow_up.until is None or follow_up.until > self.now
            assert (
                follow_up.standing.state is not FollowUpState.OPEN
                or follow_up.late_at is None
                or follow_up.late_at > self.now
            )
        for follow_up in await list_overdue(self.team.workspace, most=500, now=self.now):
            assert follow_up.standing.state is FollowUpState.ESCALATED

    @invariant()
    def every_step_is_drawn(self) -> None:
        """No follow-up went where there is no arrow; who has it is known exactly where somebody has it."""
        if hasattr(self, "team"):
            self.runner.run(self._look())

    async def _look(self) -> None:
        for follow_up in await load_follow_ups(self.team.workspace, ids=range(1, 500)):
            way = await list_steps(self.team.workspace, id=follow_up.id)
            states = [step.state.value for step in way if step.move not in list(FollowUpOutcome)]
            assert states[0] == "open"
            assert set(pairwise(states)) <= DRAWN
            assert states[-1] == follow_up.standing.state.value
            has_one = follow_up.standing.state in (FollowUpState.CLAIMED, FollowUpState.SNOOZED, FollowUpState.DONE)
            assert (follow_up.standing.holder is not None) is has_one
            assert (follow_up.until is not None) is (
                follow_up.standing.state in (FollowUpState.CLAIMED, FollowUpState.SNOOZED)
            )
            assert [step.at for step in way] == sorted(step.at for step in way)

    def teardown(self) -> None:
        """Count the arrows that were gone along."""
        if hasattr(self, "team"):
            self.runner.run(self._end())
        self.runner.close()

    async def _end(self) -> None:
        for follow_up in await load_follow_ups(self.team.workspace, ids=range(1, 500)):
            states = [step.state.value for step in await list_steps(self.team.workspace, id=follow_up.id)]
            self.seen.update(f"{a} to {b}" for a, b in pairwise(states) if a != b)
        await self.storage.close()


@pytest.mark.slow
def test_a_follow_up_never_leaves_the_drawing(sqlite_file: Path, tmp_path: Path) -> None:
    """And every arrow is gone along by somebody."""
    Life.template = Path(shutil.copy(sqlite_file, tmp_path / "template.db"))
    Life.seen = Counter()
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=80,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    tell("lives of follow-ups", Life.seen)
    assert {f"{a} to {b}" for a, b in DRAWN} <= Life.seen.keys()
