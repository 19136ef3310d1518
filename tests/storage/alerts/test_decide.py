"""A follow-up is created once, in the transaction that changes the score, whichever kind of submission changes it."""

import asyncio
from collections import Counter

import pytest

from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.alerts.followup_moves import apply_move
from storage.alerts.followups import (
    UnknownFollowUp,
    follow_up,
    list_waiting,
    load_follow_ups,
    move_message,
    record_message,
)
from storage.alerts.rules import UnknownRule, alert_rules, pause_rule, remove_rule, resume_rule
from storage.bootstrap import Storage
from storage.domain.contacts import Reference
from storage.domain.facts import Op
from storage.domain.filters import BadFilter
from storage.domain.followups import FollowUpMove, FollowUpState, TooLate
from storage.domain.people import Workspace
from storage.domain.submissions import Submission
from storage.scoring.definitions import add_score_type
from storage.workspaces import add_workspace
from tests.counts import report_counts
from tests.storage import raw
from tests.storage.teams import DAY, NOW, SECOND, Team, change, field_item, set_to

ADA, BOB = "ada@example.com", "bob@example.com"


@pytest.fixture
async def team(storage: Storage) -> Team:
    """Return a team that chose the channel #sales."""
    workspace = await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
    await choose_channel(workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    return Team(workspace)


async def list_follow_up_rows(workspace: Workspace) -> list[tuple[int | None, int | None, str, str]]:
    """Return for each follow-up: the score in points before and after, the lane and the state."""
    return [
        (points(follow_up.before), points(follow_up.after), follow_up.lane, follow_up.standing.state.value)
        for follow_up in await load_follow_ups(workspace, ids=range(1, 5_000))
    ]


def points(thousandths: int | None) -> int | None:
    """Return thousandths as whole points, rounded down."""
    return None if thousandths is None else thousandths // 1000


async def test_the_first_rule_is_off_until_somebody_chose_a_channel(storage: Storage) -> None:
    """Once a channel is chosen, the rule creates follow-ups for contacts that enter the top band from then on."""
    workspace = await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
    team = Team(workspace)
    await team.deliver(set_to("1", ADA, 90), received=NOW)
    await choose_channel(workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await team.deliver(set_to("2", ADA, 95), set_to("3", BOB, 80), received=NOW + 1)

    assert await list_follow_up_rows(workspace) == [(None, 80, "C0SALES", "open")]
    (follow_up,) = await list_waiting(workspace, most=10)
    assert (follow_up.source, follow_up.actor, follow_up.score) == ("crm", None, "score")


async def test_it_asks_once_closes_itself_and_rests(team: Team) -> None:
    """A rule fires once, its follow-up closes when the score leaves, and a return within the cool-down creates none."""
    for key, value in enumerate((85, 90, 79, 85, 75, 90)):
        await team.deliver(set_to(str(key), ADA, value), received=NOW + key)
    assert await list_follow_up_rows(team.workspace) == [(None, 85, "C0SALES", "closed")]

    await team.deliver(set_to("out", ADA, 10), received=NOW + 14 * DAY)
    facts = (
        set_to("in/1", ADA, 70, reason="Read a mail"),
        set_to("in/2", ADA, 88, reason="Asked for a demo"),
        set_to("in/3", BOB, 10, reason="Called"),
    )
    await team.deliver(*facts, received=NOW + 14 * DAY + 1)
    assert await list_follow_up_rows(team.workspace) == [(None, 85, "C0SALES", "closed"), (10, 88, "C0SALES", "open")]
    assert (await follow_up(team.workspace, id=2)).reason == "Asked for a demo"


@pytest.mark.parametrize("together", [True, False], ids=["one commit", "two commits"])
async def test_deliveries_that_share_a_commit_are_decided_one_by_one(team: Team, together: bool) -> None:
    """A score of 85 and then 20 creates one follow-up and closes it, whether the deliveries share a commit or not."""
    first, second = team.delivery(set_to("1", ADA, 85), batch="1"), team.delivery(set_to("2", ADA, 20), batch="2")
    if together:
        await asyncio.gather(team.record(first), team.record(second))
    else:
        await team.record(first)
        await team.record(second)
    assert await list_follow_up_rows(team.workspace) == [(None, 85, "C0SALES", "closed")]


@pytest.mark.parametrize("words", ["score crosses 60 if tag:vip", "score moved 40 in 7d"])
@pytest.mark.parametrize("together", [True, False], ids=["one commit", "two commits"])
async def test_what_comes_later_in_a_commit_decides_nothing_before_it(team: Team, words: str, together: bool) -> None:
    """A later delivery of the same commit affects neither the conditions nor the earlier scores that a rule sees."""
    await pause_rule(team.workspace, rule=1, by="U0ADMIN", now=NOW)
    await add_alert_rule(team.workspace, words=words, made_by="U1", owners={}, now=NOW)
    await team.deliver(set_to("1", ADA, 85, at=NOW - 10 * DAY), set_to("2", BOB, 10))
    deliveries = (
        team.delivery(set_to("3", ADA, 90), set_to("4", BOB, 45), batch="first"),
        team.delivery(set_to("5", ADA, 30, at=NOW - 8 * DAY), set_to("6", BOB, 65), batch="second"),
        team.delivery(field_item("7", BOB, tags=["vip"]), batch="third"),
    )
    if together:
        await asyncio.gather(*map(team.record, deliveries))
    else:
        for delivery in deliveries:
            await team.record(delivery)
    assert await list_follow_up_rows(team.workspace) == []


@pytest.mark.parametrize("together", [True, False], ids=["one commit", "two commits"])
async def test_what_an_earlier_one_of_a_commit_asked_for_is_seen_by_a_condition(team: Team, together: bool) -> None:
    """A rule with the condition `followup:none` skips a contact for which an earlier delivery created a follow-up."""
    await add_score_type(
        team.workspace, key="fit", label="Fit", minimum=0, maximum=100_000, step=1_000, bands=(), start=None,
        is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    await add_alert_rule(team.workspace, words="fit crosses 60 if followup:none", made_by="U1", owners={}, now=NOW)
    deliveries = (
        team.delivery(set_to("1", ADA, 85), batch="first"),
        team.delivery(set_to("2", ADA, 70, score="fit"), set_to("3", BOB, 70, score="fit"), batch="second"),
    )
    if together:
        await asyncio.gather(*map(team.record, deliveries))
    else:
        for delivery in deliveries:
            await team.record(delivery)
    assert await list_follow_up_rows(team.workspace) == [(None, 85, "C0SALES", "open"), (None, 70, "C0SALES", "open")]


@pytest.mark.parametrize("words", ["score crosses 60 if fit>50", "score moved 40 in 7d"])
@pytest.mark.parametrize("together", [True, False], ids=["one commit", "two commits"])
async def test_what_an_earlier_one_of_a_commit_did_to_scores_is_seen_by_a_rule(
    team: Team, words: str, together: bool
) -> None:
    """A rule sees an earlier delivery of its commit, in a condition about another score and in a past value."""
    await add_score_type(
        team.workspace, key="fit", label="Fit", minimum=0, maximum=100_000, step=1_000, bands=(), start=None,
        is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    await pause_rule(team.workspace, rule=1, by="U0ADMIN", now=NOW)
    await add_alert_rule(team.workspace, words=words, made_by="U1", owners={}, now=NOW)
    earlier = set_to("1", ADA, 70, score="fit"), set_to("2", ADA, 10, at=NOW - 8 * DAY)
    deliveries = (team.delivery(*earlier, batch="first"), team.delivery(set_to("3", ADA, 65), batch="second"))
    if together:
        await asyncio.gather(*map(team.record, deliveries))
    else:
        for delivery in deliveries:
            await team.record(delivery)
    assert await list_follow_up_rows(team.workspace) == [(10, 65, "C0SALES", "open")]


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_burst_about_one_contact_shares_a_commit_where_no_rule_asks(database_url: str, team: Team) -> None:
    """A burst about one contact shares a commit, even with rules that evaluate each delivery, if no rule fires."""
    for words in ("score crosses 80 if tag:vip", "score moved 40 in 7d"):
        await add_alert_rule(team.workspace, words=words, made_by="U1", owners={}, now=NOW)
    burst = [team.delivery(set_to(f"k{n}", ADA, n % 30), batch=f"d{n}") for n in range(128)]
    await asyncio.gather(*map(team.record, burst))
    (row,) = await raw.rows(database_url, "SELECT count(DISTINCT xmin::text) AS n, count(*) AS facts FROM facts")
    assert row == {"n": 1, "facts": 128}


async def test_a_late_fact_that_changes_only_the_past_asks_for_no_trend(team: Team) -> None:
    """A late fact only changes the difference to the past, and the next change of the score is compared by it."""
    await add_alert_rule(team.workspace, words="score moved 40 in 7d", made_by="U1", owners={}, now=NOW)
    await team.deliver(set_to("1", ADA, 60, at=NOW - 2 * DAY), received=NOW - 2 * DAY)
    await team.deliver(set_to("2", ADA, 10, at=NOW - 8 * DAY), received=NOW)
    assert await list_follow_up_rows(team.workspace) == []
    await team.deliver(set_to("3", ADA, 61), received=NOW + 1)
    assert await list_follow_up_rows(team.workspace) == [(10, 61, "C0SALES", "open")]


async def test_within_one_delivery_only_its_end_counts(team: Team) -> None:
    """A score of 85 and then 20 in one delivery counts as 20, and creates no follow-up."""
    await team.deliver(set_to("1", ADA, 85, at=NOW - 2), set_to("2", ADA, 20, at=NOW - 1))
    assert await list_follow_up_rows(team.workspace) == []


async def test_a_condition_is_asked_once_when_it_crosses(team: Team) -> None:
    """A condition is evaluated when the score crosses, with the fields of that delivery, and not again later."""
    await pause_rule(team.workspace, rule=1, by="U0ADMIN", now=NOW)
    rule = await add_alert_rule(
        team.workspace, words="when score crosses 50 if owner:me tag:vip in <#C0VIP>", made_by="U1",
        owners={"me": "Rep@acme.example"}, now=NOW,
    )  # fmt: skip  # words, author and owners
    assert rule.condition == "owner:Rep@acme.example tag:vip"
    fields = {"owner": "rep@acme.example", "tags": ["vip"]}
    await team.deliver(set_to("1", ADA, 60, fields=fields), set_to("2", BOB, 60), received=NOW + 1)
    await team.deliver(field_item("3", BOB, **fields), received=NOW + 2)  # type: ignore[arg-type]  # fields as JSON
    await team.deliver(set_to("4", BOB, 70), received=NOW + 3)

    assert await list_follow_up_rows(team.workspace) == [(None, 60, "C0VIP", "open")]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("owner:me", "owner:rep@acme.example"),
        ("fit>5 OWNER : ME -tag:me", "fit>5 OWNER : rep@acme.example -tag:me"),
        ("owner:melissa@acme.example", "owner:melissa@acme.example"),  # another owner than `me`
        ("-owner:(me,jane@acme.example) me", "-owner:(rep@acme.example,jane@acme.example) owner:rep@acme.example"),
        ("owner:(<@U7|jane>,me) OR owner:<@U7>", "owner:(jane@x.org,rep@acme.example) OR owner:jane@x.org"),
        ('company:"owner:me" owner:"me"', 'company:"owner:me" owner:rep@acme.example'),
        ("owner:(<@U8>,me)", 'owner:("list=sales@x.org",rep@acme.example)'),  # a quoted value, not `me` alone
    ],
)
async def test_whoever_makes_a_rule_is_written_into_it(team: Team, condition: str, expected: str) -> None:
    """`me` and Slack mentions in a rule are replaced by addresses when the rule is created."""
    await add_score_type(
        team.workspace, key="fit", label="Fit", minimum=0, maximum=10_000, step=1_000, bands=(), start=None,
        is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    rule = await add_alert_rule(
        team.workspace, words=f"when score crosses 50 if {condition}", made_by="U1",
        owners={"me": "rep@acme.example", "U7": "jane@x.org", "U8": "list=sales@x.org"}, now=NOW,
    )  # fmt: skip  # words, author and owners

    assert rule.condition == expected


async def test_who_is_inside_when_a_rule_is_made_is_not_asked_for(team: Team) -> None:
    """A rule creates no follow-up for a contact that was inside at its creation, until it leaves and returns."""
    await team.deliver(set_to("1", ADA, 60), set_to("2", BOB, 10), received=NOW)
    await add_alert_rule(team.workspace, words="score crosses 50", made_by="U1", owners={}, now=NOW)
    await team.deliver(set_to("3", ADA, 61), set_to("4", BOB, 51), received=NOW + 1)
    assert await list_follow_up_rows(team.workspace) == [(10, 51, "C0SALES", "open")]

    await team.deliver(set_to("5", ADA, 45), received=NOW + 2)
    await team.deliver(set_to("6", ADA, 50), received=NOW + 3)
    assert len(await list_follow_up_rows(team.workspace)) == 2


async def test_what_is_muted_asks_for_nothing_and_counts(team: Team) -> None:
    """A muted change creates no follow-up and starts no cool-down, but the rule remembers where the score is."""
    muted = Submission(
        source="import", batch="import/1", received_at=NOW, muted=True,
        items=[set_to(str(n), f"p{n}@example.com", 80 + n) for n in range(7)],
    )  # fmt: skip  # what and how
    assert (await team.record(muted)).muted_follow_ups == 7
    await team.deliver(set_to("x", "p0@example.com", 99), received=NOW + 1)
    assert await list_follow_up_rows(team.workspace) == []

    await team.deliver(set_to("y", "p0@example.com", 0), received=NOW + 2)
    await team.deliver(set_to("z", "p0@example.com", 99), received=NOW + 3)
    assert await list_follow_up_rows(team.workspace) == [(0, 99, "C0SALES", "open")]


async def test_without_a_channel_the_owner_is_asked_else_an_admin(storage: Storage) -> None:
    """Without a chosen channel a follow-up goes to the contact's owner, or else to an admin."""
    workspace = await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
    team = Team(workspace)
    await choose_channel(workspace, channel=None, by="U0ADMIN", now=NOW)
    await team.deliver(set_to("1", ADA, 90, fields={"owner": "Rep@Acme.example"}), set_to("2", BOB, 90))
    assert [entry[2] for entry in await list_follow_up_rows(workspace)] == ["owner:rep@acme.example", "admins"]


async def test_an_undo_moves_scores_like_any_other_request(team: Team) -> None:
    """An undo closes the follow-up of the undone change; undoing the undo falls within the cool-down."""
    await team.ask(set_to("1", ADA, 90), batch="slack/1")
    await team.undo("slack/1", batch="slack/2", received=NOW + 1)
    await team.undo("slack/2", batch="slack/3", received=NOW + 2)
    assert await list_follow_up_rows(team.workspace) == [(None, 90, "C0SALES", "closed")]


async def test_a_type_with_another_top_band_has_its_own_edge(team: Team) -> None:
    """Each rule evaluates only its own score type and that type's top band."""
    await team.deliver(change("1", ADA, Op.ADD, 79), change("2", ADA, Op.ADD, 1))
    assert await list_follow_up_rows(team.workspace) == [(None, 80, "C0SALES", "open")]


async def test_rules_are_paused_resumed_and_removed(team: Team) -> None:
    """A paused rule keeps its memory up to date, and a removed rule is gone."""
    (first,) = await alert_rules(team.workspace)
    await pause_rule(team.workspace, rule=first.id, by="U0ADMIN", now=NOW)
    await team.deliver(set_to("1", ADA, 90))
    await resume_rule(team.workspace, rule=first.id, by="U0ADMIN", now=NOW)
    await team.deliver(set_to("2", ADA, 95), received=NOW + 1)
    assert await list_follow_up_rows(team.workspace) == []
    await team.deliver(set_to("3", BOB, 95), received=NOW + 2)
    assert len(await list_follow_up_rows(team.workspace)) == 1

    await remove_rule(team.workspace, rule=first.id, by="U0ADMIN", now=NOW)
    assert await alert_rules(team.workspace) == []
    for gone in (first.id, 2**70):
        with pytest.raises(UnknownRule):
            await pause_rule(team.workspace, rule=gone, by="U0ADMIN", now=NOW)
        with pytest.raises(UnknownRule):
            await resume_rule(team.workspace, rule=gone, by="U0ADMIN", now=NOW)
        with pytest.raises(UnknownRule):
            await remove_rule(team.workspace, rule=gone, by="U0ADMIN", now=NOW)


async def test_a_rule_that_cannot_be_read_is_not_made(team: Team) -> None:
    """The condition of a rule is validated when the rule is created."""
    with pytest.raises(BadFilter):
        await add_alert_rule(team.workspace, words="score crosses 50 if colour:red", made_by="U1", owners={}, now=NOW)
    assert len(await alert_rules(team.workspace)) == 1


async def test_the_first_click_wins(team: Team) -> None:
    """Of twenty simultaneous claims one succeeds, and the other nineteen learn who holds the follow-up."""
    await team.deliver(set_to("1", ADA, 90))

    async def claim(person: str) -> str:
        try:
            return (
                await apply_move(team.workspace, id=1, move=FollowUpMove.CLAIM, by=person, now=NOW)
            ).standing.holder or ""
        except TooLate as late:
            return f"late: {late.holder} {late.state}"

    answers = Counter(await asyncio.gather(*(claim(f"U{n}") for n in range(20))))
    report_counts("claims", answers)
    (winner,) = [answer for answer in answers if not answer.startswith("late")]
    assert answers == {winner: 1, f"late: {winner} claimed": 19}
    with pytest.raises(TooLate):
        await apply_move(team.workspace, id=1, move=FollowUpMove.DONE, by="U77", now=NOW)
    closed = await apply_move(team.workspace, id=1, move=FollowUpMove.DONE, by=winner, now=NOW)
    assert (closed.standing.state, closed.standing.holder) == (FollowUpState.DONE, winner)
    assert await list_waiting(team.workspace, most=10) == []


async def test_what_is_claimed_stays_when_the_score_falls(team: Team) -> None:
    """A claimed follow-up stays when the score falls; an open or snoozed one closes."""
    names = ("claimed@example.com", "snoozed@example.com", "open@example.com", "done@example.com")
    await team.deliver(*(set_to(name, name, 90) for name in names))
    await apply_move(team.workspace, id=1, move=FollowUpMove.CLAIM, by="U1", now=NOW)
    await apply_move(team.workspace, id=2, move=FollowUpMove.SNOOZE, by="U1", until=NOW + DAY, now=NOW)
    await apply_move(team.workspace, id=4, move=FollowUpMove.DONE, by="U1", now=NOW)
    await team.deliver(*(set_to(f"{name}-", name, 10) for name in names), received=NOW + SECOND)
    assert [entry[3] for entry in await list_follow_up_rows(team.workspace)] == ["claimed", "closed", "closed", "done"]


async def test_a_snooze_ends_once(team: Team) -> None:
    """After a second snooze, the end of the first one has no effect."""
    await team.deliver(set_to("1", ADA, 90))
    await apply_move(team.workspace, id=1, move=FollowUpMove.SNOOZE, by="U1", until=NOW + DAY, now=NOW)
    await apply_move(team.workspace, id=1, move=FollowUpMove.CLAIM, by="U1", now=NOW + 1)
    await apply_move(team.workspace, id=1, move=FollowUpMove.SNOOZE, by="U1", until=NOW + 3 * DAY, now=NOW + 2)
    still = await apply_move(team.workspace, id=1, move=FollowUpMove.WAKE, by=None, now=NOW + DAY)
    assert still.standing.state is FollowUpState.SNOOZED
    assert (
        await apply_move(team.workspace, id=1, move=FollowUpMove.WAKE, by=None, now=NOW + 3 * DAY)
    ).standing.state is FollowUpState.OPEN


async def test_another_workspace_has_its_own(team: Team, storage: Storage) -> None:
    """Rules and follow-ups of one workspace are invisible in another."""
    other = await add_workspace("T0OTHER", name="Other", by="U0ADMIN", now=NOW)
    await choose_channel(other, channel="C0SALES", by="U0ADMIN", now=NOW)
    await team.deliver(set_to("1", Reference(email=ADA), 90))
    assert await list_follow_up_rows(other) == []
    with pytest.raises(UnknownFollowUp):
        await apply_move(other, id=1, move=FollowUpMove.CLAIM, by="U1", now=NOW)
    with pytest.raises(UnknownRule):
        await pause_rule(other, rule=1, by="U0ADMIN", now=NOW)


async def test_a_message_that_moved(team: Team, storage: Storage) -> None:
    """Follow-ups of a moved message point to the new message; those of other messages and other teams stay."""
    other = Team(await add_workspace("T0OTHER", name="Other", by="U0ADMIN", now=NOW))
    await choose_channel(other.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    for receiving in (team, other):
        await receiving.deliver(*(set_to(f"{n}", Reference(email=f"p{n}@example.com"), 90) for n in range(3)))
    own_ids, other_ids = [
        [follow_up.id for follow_up in await load_follow_ups(each_team.workspace, ids=range(1, 99))]
        for each_team in (team, other)
    ]
    for each_team, ids in ((team, own_ids), (other, other_ids)):
        await record_message(each_team.workspace, ids=ids[:2], channel="C0SALES", ts="1.0", in_list=True, now=NOW + 5)
        await record_message(each_team.workspace, ids=ids[2:], channel="C0SALES", ts="2.0", in_list=False, now=NOW + 6)
    await move_message(team.workspace, channel="C0SALES", ts="1.0", to_channel="D0ADMIN", to_ts="3.0")

    messages = [
        [
            (follow_up.message_channel, follow_up.message_ts, follow_up.posted_at, follow_up.in_list)
            for follow_up in await load_follow_ups(workspace, ids=ids)
        ]
        for workspace, ids in ((team.workspace, own_ids), (other.workspace, other_ids))
    ]
    last = ("C0SALES", "2.0", NOW + 6, False)
    assert messages[0] == [*[("D0ADMIN", "3.0", NOW + 5, True)] * 2, last]
    assert messages[1] == [*[("C0SALES", "1.0", NOW + 5, True)] * 2, last]
