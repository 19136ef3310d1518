"""An undo asks nobody: it puts back what the rule remembered before the change, and takes the follow-up back."""

import pytest

from storage.alerts.enroll import add_alert_rule
from storage.alerts.followup_moves import apply_move
from storage.alerts.followup_rules import ASK
from storage.alerts.followups import load_follow_ups
from storage.alerts.sweep import sweep_rules
from storage.bootstrap import Storage
from storage.domain.facts import Op
from storage.domain.followups import FollowUpMove
from storage.ledger.verify import verify_next
from storage.workspaces import add_workspace
from tests.storage import raw
from tests.storage.teams import DAY, NOW, SECOND, Team, change, set_to

ADA = "ada@example.com"
HOUR = DAY // 24


@pytest.fixture
async def team(storage: Storage) -> Team:
    """Return a team with a rule that a score of 60 sets off."""
    workspace = await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
    await add_alert_rule(workspace, words="score crosses 60 in <#C0SALES>", made_by="U1", owners={}, now=NOW)
    return Team(workspace)


async def follow_ups(team: Team) -> list[tuple[int, str, bool]]:
    """Return the value, the state and whether it was taken back, of each follow-up."""
    loaded = await load_follow_ups(team.workspace, ids=range(1, 100))
    return [
        ((item.after or 0) // 1_000, item.standing.state.value, any(rule.is_taken_back for rule in item.rules))
        for item in loaded
    ]


async def memory(database_url: str) -> list[tuple[object, ...]]:
    """Return whether the contact is taken, the end of its hold and the last firing, of the rule that was added."""
    sql = "SELECT taken, pending_until, fired_at FROM alert_memory WHERE rule_id = (SELECT max(id) FROM alert_rules)"
    rows = await raw.rows(database_url, sql)
    return [(bool(row["taken"]), row["pending_until"], row["fired_at"]) for row in rows]


async def test_a_typo_and_its_undo_ask_nobody(team: Team, database_url: str) -> None:
    """A change that re-armed the rule is undone: the rule remembers again that it alerted, and stays quiet."""
    await team.deliver(set_to("a", ADA, 80))
    before = await memory(database_url)
    await team.ask(set_to("typo", ADA, 10), batch="typo", received=NOW + SECOND)
    assert await memory(database_url) == [(False, None, NOW)]
    await team.undo("typo", batch="u", received=NOW + 2 * SECOND)

    assert await memory(database_url) == before
    await team.deliver(set_to("b", ADA, 85), received=NOW + 20 * DAY)
    assert await follow_ups(team) == [(80, "closed", False)]


async def test_the_follow_up_of_an_undone_change_is_taken_back(team: Team, database_url: str) -> None:
    """It closes as taken back, and the rule alerts for the next change as if it had never alerted."""
    await team.ask(set_to("a", ADA, 80), batch="a")
    await team.undo("a", batch="u", received=NOW + SECOND)
    assert await follow_ups(team) == [(80, "closed", True)]
    assert await memory(database_url) == [(False, None, None)]

    await team.undo("u", batch="v", received=NOW + 2 * SECOND)  # an undo asks nobody, nor does the undo of an undo
    assert await follow_ups(team) == [(80, "closed", True)]
    await team.undo("v", batch="w", received=NOW + 3 * SECOND)
    await team.deliver(set_to("b", ADA, 70), received=NOW + 4 * SECOND)
    assert await follow_ups(team) == [(80, "closed", True), (70, "open", False)]
    assert (await verify_next(team.workspace)).differences == ()


async def test_a_claimed_follow_up_stays_with_its_holder(team: Team) -> None:
    """Whoever claimed it keeps it, with a note, and can finish it."""
    await team.ask(set_to("a", ADA, 80), batch="a")
    await apply_move(team.workspace, id=1, move=FollowUpMove.CLAIM, by="U2", now=NOW + 1)
    await team.undo("a", batch="u", received=NOW + SECOND)

    (follow_up,) = await load_follow_ups(team.workspace, ids=[1])
    assert await follow_ups(team) == [(80, "claimed", True)]
    assert (follow_up.standing.holder, follow_up.changed_at) == ("U2", NOW + 1)
    done = await apply_move(team.workspace, id=1, move=FollowUpMove.DONE, by="U2", now=NOW + 2 * SECOND)
    assert done.standing.state.value == "done"


async def test_a_hold_that_an_undone_change_ended_goes_on(storage: Storage, database_url: str) -> None:
    """The hold ends when it would have ended, and asks once then."""
    workspace = await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
    await add_alert_rule(workspace, words="score crosses 60 hold 1h", made_by="U1", owners={}, now=NOW)
    team = Team(workspace)
    await team.deliver(set_to("a", ADA, 80))
    await team.ask(set_to("typo", ADA, 10), batch="typo", received=NOW + SECOND)
    assert await memory(database_url) == [(False, None, None)]
    await team.undo("typo", batch="u", received=NOW + 2 * SECOND)
    assert await memory(database_url) == [(False, NOW + HOUR, None)]

    assert await follow_ups(team) == []
    await sweep_rules(workspace, now=NOW + HOUR)
    assert await follow_ups(team) == [(80, "open", False)]


@pytest.mark.parametrize("is_swept", [True, False])
async def test_the_change_that_began_a_hold_is_undone(storage: Storage, database_url: str, *, is_swept: bool) -> None:
    """If the hold has ended, its follow-up is taken back; one that nobody has seen yet is not even opened."""
    workspace = await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
    await add_alert_rule(workspace, words="score crosses 60 hold 1h", made_by="U1", owners={}, now=NOW)
    team = Team(workspace)
    await team.ask(set_to("a", ADA, 80), batch="a")
    if is_swept:
        await sweep_rules(workspace, now=NOW + HOUR)
    await team.undo("a", batch="u", received=NOW + 2 * HOUR)

    assert await follow_ups(team) == ([(80, "closed", True)] if is_swept else [])
    assert await memory(database_url) == [(False, None, None)]
    assert len(await raw.rows(database_url, "SELECT 1 FROM jobs WHERE kind = $1", ASK)) == is_swept


async def test_after_a_later_decision_the_last_alert_counts(team: Team, database_url: str) -> None:
    """If the rule decided since, the undo only says whether the score is inside now; the cool-down goes on."""
    await team.ask(change("a", ADA, Op.ADD, 80), batch="a")
    await team.deliver(change("b", ADA, Op.ADD, -70), received=NOW + SECOND)
    await team.deliver(change("c", ADA, Op.ADD, 80), received=NOW + 15 * DAY)
    await team.undo("a", batch="u", received=NOW + 15 * DAY + SECOND)

    assert await memory(database_url) == [(True, None, NOW + 15 * DAY)]
    assert await follow_ups(team) == [(80, "closed", False), (90, "open", False)]


async def test_a_score_that_is_inside_for_another_reason_keeps_its_follow_up(team: Team, database_url: str) -> None:
    """What was asked for is still true, so the follow-up stays open, and nothing is asked again."""
    await team.ask(change("a", ADA, Op.ADD, 65), batch="a")
    await team.deliver(set_to("b", ADA, 90), received=NOW + SECOND)
    await team.deliver(change("c", ADA, Op.ADD, 5), received=NOW + 2 * SECOND)
    await team.ask(set_to("d", ADA, 95), batch="d", received=NOW + 3 * SECOND)
    for number, batch in enumerate(("a", "d"), start=4):
        await team.undo(batch, batch=f"u{batch}", received=NOW + number * SECOND)

    assert await memory(database_url) == [(True, None, NOW)]
    assert await follow_ups(team) == [(65, "open", False)]


async def test_a_score_that_stays_inside_at_another_value_keeps_its_follow_up(team: Team, database_url: str) -> None:
    """The undo lowers the score, but what came later alone keeps it inside."""
    await team.ask(change("a", ADA, Op.ADD, 65), batch="a")
    await team.deliver(change("b", ADA, Op.ADD, 65), received=NOW + SECOND)
    await team.undo("a", batch="u", received=NOW + 2 * SECOND)

    assert await team.value(ADA) == 65_000
    assert await memory(database_url) == [(True, None, NOW)]
    assert await follow_ups(team) == [(65, "open", False)]


async def test_an_undo_re_arms_without_a_margin(team: Team, database_url: str) -> None:
    """Where the undone change alone kept the score inside, the follow-up closes, even if the margin is not reached."""
    await team.ask(change("a", ADA, Op.ADD, 58), batch="a")
    await team.deliver(change("b", ADA, Op.ADD, -1), received=NOW + 1)
    await team.ask(change("c", ADA, Op.ADD, 2), batch="c", received=NOW + SECOND)
    await team.ask(change("d", ADA, Op.ADD, 1), batch="d", received=NOW + 2 * SECOND)
    assert await memory(database_url) == [(True, None, NOW + 2 * SECOND)]
    await team.undo("c", batch="u", received=NOW + 3 * SECOND)

    assert await memory(database_url) == [(False, None, NOW + 2 * SECOND)]
    assert await follow_ups(team) == [(60, "closed", False)]


async def test_a_movement_that_is_undone_is_forgotten(storage: Storage, database_url: str) -> None:
    """A rule about movements takes its follow-up back, and its cool-down with it."""
    workspace = await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
    await add_alert_rule(workspace, words="score rises 15 in 7d", made_by="U1", owners={}, now=NOW)
    team = Team(workspace)
    await team.deliver(set_to("a", ADA, 10, at=NOW - 8 * DAY))
    await team.ask(set_to("b", ADA, 30), batch="b", received=NOW + SECOND)
    await team.undo("b", batch="u", received=NOW + 2 * SECOND)
    assert await follow_ups(team) == [(30, "closed", True)]
    assert await memory(database_url) == [(False, None, None)]

    await team.deliver(set_to("c", ADA, 40), received=NOW + 3 * SECOND)
    assert await follow_ups(team) == [(30, "closed", True), (40, "open", False)]


async def test_a_change_that_is_in_force_again_is_not_taken_back(storage: Storage, database_url: str) -> None:
    """The undo of an undo restores the change, so the follow-up of the change stays."""
    workspace = await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
    await add_alert_rule(workspace, words="score rises 15 in 7d", made_by="U1", owners={}, now=NOW)
    team = Team(workspace)
    await team.deliver(set_to("0", ADA, 10, at=NOW - 8 * DAY))
    await team.ask(set_to("a", ADA, 30), batch="a")
    await team.ask(set_to("b", ADA, 40), batch="b", received=NOW + SECOND)
    for number, batch in enumerate(("a", "b"), start=2):  # the first undo does not change the value
        await team.undo(batch, batch=f"u{batch}", received=NOW + number * SECOND)
    await team.undo("ua", batch="v", received=NOW + 8 * DAY)

    assert await team.value(ADA) == 30_000
    assert await memory(database_url) == [(False, None, NOW)]
    assert await follow_ups(team) == [(30, "open", False)]


async def test_undos_in_a_row_put_back_what_each_found(team: Team, database_url: str) -> None:
    """Two changes that decided are undone one after the other: the rule is as before both."""
    await team.ask(set_to("a", ADA, 80), batch="a")
    await team.ask(set_to("b", ADA, 10), batch="b", received=NOW + SECOND)
    await team.undo("b", batch="ub", received=NOW + 2 * SECOND)
    assert await memory(database_url) == [(True, None, NOW)]
    await team.undo("a", batch="ua", received=NOW + 3 * SECOND)
    assert await memory(database_url) == [(False, None, None)]
