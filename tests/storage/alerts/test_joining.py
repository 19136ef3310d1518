"""A contact has one unfinished follow-up in a place; every rule that fires for it there joins that follow-up."""

import asyncio
import json
from collections import Counter

import pytest

from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.alerts.followup_moves import AlreadyOpen, apply_move, record_outcome, restore_follow_up
from storage.alerts.followup_rules import ASK, EDIT, ESCALATE, withdraw_rules
from storage.alerts.followups import FollowUp, count_by_rule, list_steps, load_follow_ups
from storage.alerts.rules import pause_rule, remove_rule
from storage.audit import audit_entries
from storage.bootstrap import Storage, open_storage
from storage.db import database
from storage.domain.facts import Merge
from storage.domain.followups import FollowUpMove, FollowUpOutcome, FollowUpState
from storage.domain.people import Workspace
from storage.domain.submissions import Recorded, Submission
from storage.scoring.definitions import add_score_type
from storage.workspaces import add_workspace
from tests.conftest import on_both
from tests.counts import report_counts
from tests.processes import HOUSE, at_once
from tests.storage import raw
from tests.storage.replica import KEYS
from tests.storage.teams import DAY, NOW, Team, field_item, set_to

ADA, BOB = "ada@example.com", "bob@example.com"
HOUR = DAY // 24
MONDAY = NOW + 4 * DAY + 9 * HOUR  #: 2026-01-05, 9:00 UTC
FIRER = str(HOUSE / "tests" / "storage" / "firer.py")


async def make_team(*, score: str = "score crosses 80", heat: str = "heat crosses 80") -> Team:
    """Return a team with the channel #sales and rule 2 for the score and rule 3 for the heat."""
    workspace = await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
    await choose_channel(workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await pause_rule(workspace, rule=1, by="U0ADMIN", now=NOW)
    await add_score_type(
        workspace, key="heat", label="Heat", minimum=0, maximum=100_000, step=1_000, start=0, bands=(),
        half_life=None, is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    for words in (score, heat):
        await add_alert_rule(workspace, words=words, made_by="U1", owners={}, now=NOW)
    return Team(workspace)


async def push(team: Team, score: str, value: int, *, at: int, contact: str = ADA) -> None:
    """Set a score of a contact."""
    await team.deliver(
        set_to(f"{score}/{contact}/{at}", contact, value, score=score), batch=f"{score}/{at}", received=at
    )


async def all_follow_ups(team: Team) -> list[FollowUp]:
    """Return every follow-up, in the order in which they were opened."""
    return await load_follow_ups(team.workspace, ids=range(1, 500))


async def list_rules(team: Team) -> list[tuple[str, list[int]]]:
    """Return for each follow-up its state, and the rules that hold it open."""
    return [
        (item.standing.state.value, [rule.rule for rule in item.rules if rule.let_go_at is None])
        for item in await all_follow_ups(team)
    ]


async def queued(workspace: Workspace) -> Counter[str]:
    """Return the number of queued jobs of each kind about follow-ups."""
    kinds = (ASK, EDIT, ESCALATE)
    rows = await database.read("SELECT kind FROM jobs WHERE workspace_id = $1", workspace.id)
    return Counter(row["kind"] for row in rows if row["kind"] in kinds)


@on_both
@pytest.mark.parametrize("together", [True, False], ids=["one delivery", "two deliveries"])
async def test_two_rules_ask_once(storage: Storage, together: bool) -> None:
    """Two rules that fire for a contact in one place have one follow-up; it closes when the last of them lets go."""
    team = await make_team()
    if together:
        await team.deliver(set_to("1", ADA, 85), set_to("2", ADA, 90, score="heat"), received=NOW + 1)
    else:
        await push(team, "score", 85, at=NOW + 1)
        await push(team, "heat", 90, at=NOW + 2)
    assert await list_rules(team) == [("open", [2, 3])]
    (item,) = await all_follow_ups(team)
    assert [(rule.words, rule.score, rule.after) for rule in item.rules] == [
        ("score crosses 80", "score", 85_000),
        ("heat crosses 80", "heat", 90_000),
    ]
    assert (await queued(team.workspace))[ASK] == 1

    await push(team, "score", 10, at=NOW + 3)
    assert await list_rules(team) == [("open", [3])]
    await push(team, "heat", 10, at=NOW + 4)
    assert await list_rules(team) == [("closed", [])]
    assert [step.move for step in await list_steps(team.workspace, id=item.id)] == [
        "asked", "joined", "left", FollowUpMove.FALL_BACK,
    ]  # fmt: skip  # one history
    # The message is updated at each change: the second rule, unless it came with the first, and the two that let go.
    assert await queued(team.workspace) == {ASK: 1, EDIT: 2 if together else 3}


async def test_another_place_has_a_follow_up_of_its_own(storage: Storage) -> None:
    """A rule for another channel, or for the digest, opens its own follow-up; so does a rule for another contact."""
    team = await make_team(heat="heat crosses 80 in <#C0OTHER>")
    await add_alert_rule(team.workspace, words="score crosses 70 in digest", made_by="U1", owners={}, now=NOW)
    await push(team, "score", 85, at=NOW + 1)
    await push(team, "heat", 85, at=NOW + 2)
    await push(team, "score", 85, at=NOW + 3, contact=BOB)
    assert Counter((item.contact, item.lane) for item in await all_follow_ups(team)) == {
        (1, "C0SALES"): 1, (1, "digest"): 1, (1, "C0OTHER"): 1, (2, "C0SALES"): 1, (2, "digest"): 1,
    }  # fmt: skip  # contact and place


@on_both
async def test_what_one_rule_ends_and_another_begins_at_once_is_a_new_follow_up(storage: Storage) -> None:
    """If the last rule lets go at the instant at which another fires, the follow-up closes and a new one opens."""
    team = await make_team(heat="score crosses below 40")
    await push(team, "score", 60, at=NOW + 1)
    await push(team, "score", 30, at=NOW + 2)
    await push(team, "score", 85, at=NOW + 3)
    assert await list_rules(team) == [("closed", []), ("open", [2])]


async def test_a_claimed_follow_up_is_joined_and_each_rule_counts_its_outcome(storage: Storage) -> None:
    """A rule joins a claimed follow-up, which stays claimed when all let go; the outcome counts for both rules."""
    team = await make_team(heat="heat crosses 80 cooldown 1h")
    await push(team, "score", 85, at=NOW + 1)
    await apply_move(team.workspace, id=1, move=FollowUpMove.CLAIM, by="U1", now=NOW + 2)
    await push(team, "heat", 85, at=NOW + 3)
    for value, at in ((10, NOW + 4), (85, NOW + 5), (10, NOW + 6), (85, NOW + 2 * HOUR)):
        await push(team, "heat", value, at=at)  # its own cool-down of an hour keeps it from firing at NOW + 5
    assert await list_rules(team) == [("claimed", [2, 3])]
    assert [step.move for step in await list_steps(team.workspace, id=1)] == [
        "asked", "claim", "joined", "left", "joined",
    ]  # fmt: skip  # one history
    await push(team, "score", 10, at=NOW + 3 * HOUR)
    await push(team, "heat", 10, at=NOW + 3 * HOUR)
    assert await list_rules(team) == [("claimed", [])]
    await apply_move(
        team.workspace, id=1, move=FollowUpMove.DONE, by="U1", outcome=FollowUpOutcome.WON, now=NOW + 4 * HOUR
    )
    assert await count_by_rule(team.workspace) == {2: {"won": 1}, 3: {"won": 1}}


async def test_the_rule_that_is_due_first_sets_the_sla(storage: Storage) -> None:
    """The SLA and the escalation are those of the rule that is due first, of those that hold the follow-up open."""
    team = await make_team(
        score="score crosses 80 sla 4h escalate to <@U4>", heat="heat crosses 80 sla 1h escalate to <@U2>"
    )
    await push(team, "score", 85, at=MONDAY)
    (item,) = await all_follow_ups(team)
    assert (item.late_at, item.escalate_to) == (MONDAY + 4 * HOUR, "U4")
    await push(team, "heat", 85, at=MONDAY + HOUR)
    (item,) = await all_follow_ups(team)
    assert (item.late_at, item.escalate_to) == (MONDAY + 2 * HOUR, "U2")
    await push(team, "heat", 10, at=MONDAY + HOUR + 1)
    (item,) = await all_follow_ups(team)
    assert (item.late_at, item.escalate_to) == (MONDAY + 4 * HOUR, "U4")
    # The job for the former instant changes nothing.
    late = await apply_move(team.workspace, id=1, move=FollowUpMove.ESCALATE, by=None, now=MONDAY + 2 * HOUR)
    assert late.standing.state is FollowUpState.OPEN
    late = await apply_move(team.workspace, id=1, move=FollowUpMove.ESCALATE, by=None, now=MONDAY + 4 * HOUR)
    assert late.standing.state is FollowUpState.ESCALATED
    # A rule that joins an escalated follow-up leaves it with the person that it was escalated to.
    await push(team, "heat", 85, at=MONDAY + 15 * DAY)
    (item,) = await all_follow_ups(team)
    assert (item.escalate_to, [rule.rule for rule in item.rules if rule.let_go_at is None]) == ("U4", [2, 3])
    # An undone claim leaves it escalated and overdue as before.
    await apply_move(team.workspace, id=1, move=FollowUpMove.CLAIM, by="U1", now=MONDAY + 15 * DAY)
    (claim,) = await audit_entries(team.workspace, limit=1)
    await restore_follow_up(team.workspace, change=claim, by="U1", now=MONDAY + 15 * DAY)
    (item,) = await all_follow_ups(team)
    assert (item.standing, item.late_at, item.escalate_to) == (late.standing, MONDAY + 4 * HOUR, "U4")
    # Released, it is open again, and the time of every rule starts anew.
    await apply_move(team.workspace, id=1, move=FollowUpMove.CLAIM, by="U1", now=MONDAY + 15 * DAY)
    released = await apply_move(team.workspace, id=1, move=FollowUpMove.RELEASE, by="U1", now=MONDAY + 14 * DAY)
    assert (released.late_at, released.escalate_to) == (MONDAY + 14 * DAY + HOUR, "U2")


async def test_a_removed_rule_holds_nothing_open(storage: Storage) -> None:
    """A follow-up closes when the last rule that still exists lets go."""
    team = await make_team()
    await team.deliver(set_to("1", ADA, 85), set_to("2", ADA, 90, score="heat"), received=NOW + 1)
    await remove_rule(team.workspace, rule=2, by="U1", now=NOW + 2)
    await push(team, "heat", 10, at=NOW + 3)
    assert [state for state, _ in await list_rules(team)] == ["closed"]


async def test_a_firing_that_is_taken_back_closes_its_follow_up(storage: Storage) -> None:
    """If the changes behind all its rules are undone, a follow-up closes as taken back; a claimed one says so."""
    team = await make_team()
    await team.deliver(set_to("1", ADA, 85), set_to("2", ADA, 90, score="heat"), received=NOW + 1)
    await push(team, "score", 85, at=NOW + 1, contact=BOB)
    await apply_move(team.workspace, id=2, move=FollowUpMove.CLAIM, by="U1", now=NOW + 2)
    for pairs in ({(2, 1): NOW + 3}, {(3, 1): NOW + 4, (2, 2): NOW + 4}):

        async def body(session: database.Session, pairs: dict[tuple[int, int], int] = pairs) -> None:
            await withdraw_rules(session, pairs, move=FollowUpMove.TAKE_BACK, now=NOW + 4)

        await database.write(body)
    assert await list_rules(team) == [("closed", []), ("claimed", [])]
    assert [rule.is_taken_back for item in await all_follow_ups(team) for rule in item.rules] == [True] * 3
    assert (await list_steps(team.workspace, id=1))[-1].move == FollowUpMove.TAKE_BACK


async def test_a_finished_follow_up_is_not_reopened_beside_an_open_one(storage: Storage) -> None:
    """A follow-up that is done is reopened without its outcome, unless the contact has another one there by now."""
    team = await make_team()
    await push(team, "score", 85, at=NOW + 1)
    await apply_move(team.workspace, id=1, move=FollowUpMove.DONE, by="U1", now=NOW + 2)
    await record_outcome(
        team.workspace, id=1, outcome=FollowUpOutcome.OTHER, note=" They\nmoved ", by="U1", now=NOW + 2
    )
    (item,) = await all_follow_ups(team)
    assert (item.outcome, item.note) == (FollowUpOutcome.OTHER, "They\nmoved")
    reopened = await apply_move(team.workspace, id=1, move=FollowUpMove.REOPEN, by="U2", now=NOW + 3)
    assert (reopened.standing.state, reopened.standing.holder) == (FollowUpState.OPEN, None)
    assert (reopened.outcome, reopened.note) == (None, None)
    await apply_move(team.workspace, id=1, move=FollowUpMove.DONE, by="U1", now=NOW + 4)
    await push(team, "heat", 85, at=NOW + 5)
    assert await list_rules(team) == [("done", [2]), ("open", [3])]
    with pytest.raises(AlreadyOpen):
        await apply_move(team.workspace, id=1, move=FollowUpMove.REOPEN, by="U1", now=NOW + 6)


async def test_two_that_a_merge_brings_together_stay_until_they_are_finished(storage: Storage) -> None:
    """After a merge a contact may have two open follow-ups in one place; a rule that fires then joins the older one."""
    team = await make_team()
    await push(team, "score", 85, at=NOW + 1)
    await push(team, "score", 90, at=NOW + 2, contact=BOB)
    await team.deliver(Merge(key="merge", contact=1, into=2), source="slack", batch="merge", received=NOW + 3)
    await push(team, "heat", 85, at=NOW + 4, contact=BOB)
    assert await list_rules(team) == [("open", [2, 3]), ("open", [2])]
    await push(team, "score", 10, at=NOW + 5, contact=BOB)
    assert await list_rules(team) == [("open", [3]), ("closed", [])]


@on_both
async def test_a_change_of_the_owner_sends_them_nothing(storage: Storage) -> None:
    """A rule fired by the owner's own change opens no follow-up that would go to them directly; a colleague's does.

    The rule counts the contact as taken, and its cool-down does not start. In a channel it is posted as ever.
    """
    team = await make_team(heat="heat crosses 80 in <#C0OTHER>")
    await choose_channel(team.workspace, channel=None, by="U0ADMIN", now=NOW)
    await pause_rule(team.workspace, rule=1, by="U0ADMIN", now=NOW)
    for contact in (ADA, BOB):
        await team.deliver(field_item(contact, contact, owner="Rep@example.com"), batch=contact)

    async def change(number: int, contact: str, value: int, *, score: str = "score", address: str | None) -> Recorded:
        item = set_to(str(number), contact, value, score=score)
        submission = Submission(
            source="slack", batch=str(number), received_at=NOW + number, items=[item], actor="U1",
            actor_address=address, all_or_none=True,
        )  # fmt: skip  # one command
        return await team.record(submission)

    assert (await change(1, ADA, 85, address="rep@EXAMPLE.com")).own_follow_ups == 1
    assert (await change(2, ADA, 90, address="jane@example.com")).own_follow_ups == 0  # taken already
    assert await all_follow_ups(team) == []
    assert (await change(3, ADA, 85, score="heat", address="rep@example.com")).own_follow_ups == 0
    assert (await change(4, BOB, 85, address="jane@example.com")).own_follow_ups == 0
    await change(5, ADA, 10, address="rep@example.com")
    await change(6, ADA, 85, address="jane@example.com")
    assert [(item.contact, item.lane, item.rule) for item in await all_follow_ups(team)] == [
        (1, "C0OTHER", 3), (2, "owner:rep@example.com", 2), (1, "owner:rep@example.com", 2),
    ]  # fmt: skip  # contact, place, rule


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_two_processes_that_fire_at_once_ask_once(database_url: str) -> None:
    """Two processes make two rules fire for the same contacts at the same time: each contact is asked about once."""
    people = 40
    opened_storage = await open_storage(database_url, secret_keys=KEYS)
    try:
        await make_team()
    finally:
        await opened_storage.close()
    async with asyncio.timeout(60):
        printed = await at_once([(FIRER, database_url, score, str(people)) for score in ("score", "heat")])
    reports = [json.loads(line) for line in printed]
    assert max(report["begun"] for report in reports) < min(report["ended"] for report in reports)
    rows = await raw.rows(
        database_url,
        "SELECT f.contact_id, count(DISTINCT f.id) AS follow_ups, count(*) AS rules, min(r.rule_id) AS first"
        " FROM follow_ups f JOIN followup_rules r ON r.follow_up_id = f.id GROUP BY f.contact_id",
    )
    assert [(row["follow_ups"], row["rules"]) for row in rows] == [(1, 2)] * people
    posts = await raw.rows(database_url, "SELECT count(*) AS count FROM jobs WHERE kind = 'ask'")
    assert posts == [{"count": people}]
    opened = await raw.rows(database_url, "SELECT rule_id, count(*) AS count FROM follow_ups GROUP BY rule_id")
    report_counts("follow-ups opened by", {f"rule {row['rule_id']}": int(str(row["count"])) for row in opened})
