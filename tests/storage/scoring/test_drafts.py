"""A draft is folded beside the live definition, previewed and applied; changes meanwhile go into both."""

import asyncio
from dataclasses import replace

import pytest

from storage import jobs
from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.alerts.followups import load_follow_ups
from storage.bootstrap import Storage
from storage.db.database import Session, current_database
from storage.domain.backoff import LEASE
from storage.domain.errors import BadDefinition
from storage.domain.facts import Item
from storage.domain.people import Workspace
from storage.domain.score_types import Band, Rule, ScoreType
from storage.job_runner import JobResult, JobRunner
from storage.jobs import Job, NewJob
from storage.ledger.verify import verify_next
from storage.reading.current_scores import card, top
from storage.reading.history import history
from storage.scoring.definitions import add_score_type, drafts, point_at_draft, score_type, score_types
from storage.scoring.draft_jobs import BUILD, NoDraft, lane_of, make_handlers
from storage.scoring.drafts import apply, build, cancel, create_draft, is_built, preview
from storage.workspaces import add_workspace
from tests.counts import report_counts
from tests.storage.firings import list_firings
from tests.storage.teams import DAY, NOW, SECOND, Team, field_item, set_to

DEMO = Rule(name="Demo", activity="demo_booked", points=10_000)


def quietly(_: int) -> None:
    """Ignore the progress."""


@pytest.fixture
async def team(storage: Storage) -> Team:
    """Return a team with a new workspace."""
    return Team(await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW))


async def load_live_type(team: Team, key: str = "score") -> ScoreType:
    """Return the live definition of a score type."""
    return next(score_type for score_type in await score_types(team.workspace) if score_type.key == key)


async def drafted(team: Team, **other: object) -> ScoreType:
    """Return a draft of the default type with some attributes replaced."""
    proposed = replace(await load_live_type(team), **other)  # type: ignore[arg-type]  # its own
    new_draft = await create_draft(team.workspace, proposed=proposed, by="U0ADMIN", now=NOW)
    assert new_draft is not None
    return new_draft


def activity_item(key: str, email: str, activity: str = "demo_booked") -> Item:
    """Return an item about one activity."""
    return Item(key=key, contact=set_to("", email, 0).contact, activity=activity, amount=1000)


async def people(team: Team, count: int) -> None:
    """Set the scores of *count* contacts: p00 to 0, p01 to 1 and so on."""
    await team.deliver(*(set_to(f"s{n}", f"p{n:02d}@example.com", n) for n in range(count)))


async def check_ledger_and_scores(team: Team) -> None:
    """Fail if verification finds a difference."""
    checked = await verify_next(team.workspace)
    assert checked.differences == ()
    report_counts("verified after another definition", {"contacts": checked.contacts, "scores": checked.scores})


async def test_an_activity_counts_by_the_rules_that_are_live(team: Team) -> None:
    """An activity from before its rule is stored, and counts once the rule is applied."""
    await team.deliver(activity_item("a", "ada@example.com"), set_to("b", "bob@example.com", 5))
    assert await team.value("ada@example.com") is None
    new_draft = await drafted(team, rules=(DEMO,))
    await apply(team.workspace, draft=new_draft, with_alerts=False, by="U0ADMIN", clock=lambda: NOW)

    assert await team.value("ada@example.com") == 10_000
    await team.deliver(activity_item("c", "ada@example.com"), received=NOW + SECOND)
    assert await team.value("ada@example.com") == 20_000
    _, lines = await history(team.workspace, contact=1, score="score", most=9)
    assert [(line.op.value, line.activity, line.amount) for line in lines] == [("activity", "demo_booked", 10_000)] * 2
    assert (await load_live_type(team)).number == 2
    await check_ledger_and_scores(team)


async def test_undoing_a_batch_takes_its_activities_back(team: Team) -> None:
    """An undo of a batch undoes its activities and its fields."""
    vip = Rule(name="VIP", points=20_000, condition="tag:vip")
    await apply(
        team.workspace, draft=await drafted(team, rules=(DEMO, vip)), with_alerts=False, by="U0ADMIN", clock=lambda: NOW
    )
    await team.deliver(set_to("s", "ada@example.com", 5))
    await team.ask(activity_item("a", "ada@example.com"), batch="slack/1", received=NOW + 1)
    await team.ask(field_item("f", "ada@example.com", tags=["vip"]), batch="slack/2", received=NOW + 2)
    assert await team.value("ada@example.com") == 35_000
    await team.undo("slack/2", batch="slack/3", received=NOW + 3)
    assert await team.value("ada@example.com") == 15_000
    await team.undo("slack/1", batch="slack/4", received=NOW + 4)
    assert await team.value("ada@example.com") == 5_000
    await team.undo("slack/3", batch="slack/5", received=NOW + 5)
    assert await team.value("ada@example.com") == 25_000
    await check_ledger_and_scores(team)


async def test_a_preview_says_what_applying_then_does(team: Team) -> None:
    """A preview predicts each contact's change, and is invisible to other readers."""
    await people(team, 60)
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await team.deliver(*(activity_item(f"d{n}", f"p{n:02d}@example.com") for n in range(25, 35)), received=NOW + SECOND)
    bands = (Band(name="cold", start=0), Band(name="hot", start=40_000))
    new_draft = await drafted(team, maximum=50_000, bands=bands, rules=(replace(DEMO, points=9_000),))
    await build(team.workspace, draft=new_draft, progress=quietly, clock=lambda: NOW)
    before = {
        card.contact.email: card.standings[0].value
        for card in (await top(team.workspace, score="score", count=99, now=NOW))[1]
    }
    assert before == {f"p{n:02d}@example.com": n * 1000 for n in range(60)}

    counts = await preview(team.workspace, draft=new_draft, now=NOW)
    # Ten had an activity, and 51 to 59 are cut to 50. Of these 19, and of 40 to 50, those at 40 or more are hot now.
    expected = {n: min(50, n) + (9 if 25 <= n < 35 else 0) for n in range(60)}
    hot = [n for n, value in expected.items() if value >= 40]
    assert (counts.changed, counts.entering, counts.leaving, counts.follow_ups) == (19, len(hot), 0, len(hot))
    assert counts.first_entering[0] == (32, 31_000, 40_000)
    # Those from 25 to 30 become 34 to 39.
    assert (counts.others, counts.first_others[0], counts.first_leaving) == (6, (26, 25_000, 34_000), ())
    assert [(new.contact, new.lane, new.after) for new in counts.first_follow_ups[:2]] == [
        (32, "C0SALES", 40_000),
        (33, "C0SALES", 41_000),
    ]
    assert len(counts.first_entering) == len(counts.first_follow_ups) == 10

    assert (
        await apply(team.workspace, draft=new_draft, with_alerts=True, by="U0ADMIN", clock=lambda: NOW)
        == counts.follow_ups
    )
    after = {
        card.contact.email: card.standings[0].value
        for card in (await top(team.workspace, score="score", count=99, now=NOW))[1]
    }
    assert after == {f"p{n:02d}@example.com": value * 1000 for n, value in expected.items()}
    assert len(await load_follow_ups(team.workspace, ids=range(1, 999))) == counts.follow_ups
    await check_ledger_and_scores(team)


async def test_a_preview_announces_exactly_what_is_then_asked_for(team: Team) -> None:
    """A preview counts exactly the follow-ups of the application, with conditions, cool-downs and paused rules."""
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    words = "score crosses 50 if tag:vip score>=60 cooldown 2d"
    await add_alert_rule(team.workspace, words=words, made_by="U1", owners={}, now=NOW)
    tags = {"rested": ["vip"], "asked": ["vip"], "lower": ["vip"], "other": []}
    for name, names in tags.items():
        await team.deliver(
            set_to(f"s{name}", f"{name}@example.com", 75 if name == "rested" else 10, fields={"tags": names})
        )
        await team.deliver(set_to(f"t{name}", f"{name}@example.com", 20 if name == "lower" else 30), received=NOW + 1)
    assert len(await load_follow_ups(team.workspace, ids=range(1, 9))) == 1  # of `rested`, in its cool-down

    new_draft = await drafted(team, rules=(Rule(name="All", points=35_000, condition="-tag:nobody"),))
    later = NOW + DAY
    await build(team.workspace, draft=new_draft, progress=quietly, clock=lambda: later)
    counts = await preview(team.workspace, draft=new_draft, now=later)

    assert counts.follow_ups == 0  # a set value includes the rule
    await cancel(team.workspace, draft=new_draft, clock=lambda: later)
    adding = Rule(name="Visit", activity="demo_booked", points=40_000)
    await team.deliver(*(activity_item(f"d{name}", f"{name}@example.com") for name in tags), received=NOW + 2)
    new_draft = await drafted(team, rules=(adding,))
    await build(team.workspace, draft=new_draft, progress=quietly, clock=lambda: later)
    counts = await preview(team.workspace, draft=new_draft, now=later)
    # All have 70 but `lower`, which has 60. One of the vips had a follow-up yesterday.
    assert counts.follow_ups == 2
    assert (
        await apply(team.workspace, draft=new_draft, with_alerts=True, by="U0ADMIN", clock=lambda: later)
        == counts.follow_ups
    )
    assert len(await load_follow_ups(team.workspace, ids=range(1, 9))) == 1 + counts.follow_ups


async def test_a_rule_with_a_condition_asks_for_those_of_the_newcomers_it_is_true_of(team: Team) -> None:
    """A rule with a condition fires for the newcomers that fulfill it, and for none if there are no newcomers."""
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await add_alert_rule(team.workspace, words="when score crosses 80 if tag:vip", made_by="U1", owners={}, now=NOW)
    await people(team, 10)
    new_draft = await drafted(team, rules=(DEMO,))
    assert await apply(team.workspace, draft=new_draft, with_alerts=True, by="U0ADMIN", clock=lambda: NOW) == 0
    await team.deliver(field_item("f", "p07@example.com", tags=["vip"]), received=NOW + SECOND)
    widened = await drafted(team, maximum=200_000, rules=(replace(DEMO, points=80_000),))
    await team.deliver(
        *(activity_item(f"d{n}", f"p{n:02d}@example.com") for n in range(6, 9)), received=NOW + 2 * SECOND
    )
    # Both rules fire for contact 8, which has one follow-up.
    assert (
        await apply(team.workspace, draft=widened, with_alerts=True, by="U0ADMIN", clock=lambda: NOW + 3 * SECOND) == 3
    )

    firings = await list_firings(team.workspace)
    assert [(rule, contact) for rule, contact, _ in firings] == [(1, 7), (1, 8), (1, 9), (2, 8)]


async def test_two_drafts_of_a_type_at_once(team: Team) -> None:
    """Drafts of a type that are created at once have different numbers."""
    types = [replace(await load_live_type(team), maximum=maximum) for maximum in range(110_000, 120_000, 1_000)]
    new_drafts = await asyncio.gather(
        *(create_draft(team.workspace, proposed=score_type, by="U0ADMIN", now=NOW) for score_type in types)
    )
    assert sorted(new_draft.number for new_draft in new_drafts if new_draft is not None) == list(range(2, 12))


async def test_what_is_being_applied_is_not_cancelled(team: Team) -> None:
    """A draft that is being applied cannot be canceled, even if the cancellation saw it as a draft."""
    await people(team, 5)
    new_draft = await drafted(team, maximum=50_000, bands=())
    await build(team.workspace, draft=new_draft, progress=quietly, clock=lambda: NOW)
    begin = asyncio.Event()

    async def cancelled() -> None:
        await begin.wait()
        await cancel(team.workspace, draft=new_draft, clock=lambda: NOW)

    cancelling = asyncio.create_task(cancelled())  # outside of the transaction

    live = await score_type(team.workspace, key=new_draft.key)

    async def applying(session: Session) -> None:
        assert await point_at_draft(session, team.workspace, new_draft, previous=live, now=NOW)
        begin.set()
        await asyncio.wait([cancelling], timeout=0.5)  # it has read the draft by now, and waits to write

    await current_database().transaction(applying)
    with pytest.raises(NoDraft):
        await cancelling
    assert await team.value("p04@example.com") == 4_000
    await check_ledger_and_scores(team)


async def test_where_a_band_begins_is_previewed_as_any_change_is(team: Team) -> None:
    """A preview counts contacts that enter a moved band; a new name or color of a band applies at once."""
    await people(team, 60)
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    lower = (Band(name="cold", start=0), Band(name="hot", start=50_000))
    new_draft = await drafted(team, bands=lower)
    await build(team.workspace, draft=new_draft, progress=quietly, clock=lambda: NOW)
    counts = await preview(team.workspace, draft=new_draft, now=NOW)
    assert (counts.changed, counts.entering, counts.leaving, counts.follow_ups) == (0, 10, 0, 10)
    assert (await load_live_type(team)).bands[-1].start == 80_000
    assert await apply(team.workspace, draft=new_draft, with_alerts=True, by="U0ADMIN", clock=lambda: NOW) == 10
    painted = (Band(name="low", start=0), Band(name="top", start=50_000, colour="red"))
    assert (
        await create_draft(
            team.workspace, proposed=replace(await load_live_type(team), bands=painted), by="U0ADMIN", now=NOW
        )
        is None
    )
    assert (await load_live_type(team)).bands == painted
    await check_ledger_and_scores(team)


async def test_applied_quietly_nobody_is_asked_for_then_or_later(team: Team) -> None:
    """If a definition is applied silently, contacts that enter by it create no follow-up then or later."""
    await people(team, 10)
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    low = (Band(name="cold", start=0), Band(name="hot", start=5_000))
    await apply(
        team.workspace, draft=await drafted(team, bands=low), with_alerts=False, by="U0ADMIN", clock=lambda: NOW
    )
    await team.deliver(set_to("x", "p07@example.com", 8), set_to("y", "p03@example.com", 6), received=NOW + 1)
    assert [follow_up.contact for follow_up in await load_follow_ups(team.workspace, ids=range(1, 99))] == [4]


async def test_what_happens_while_it_is_built_is_in_it(team: Team) -> None:
    """Facts and new contacts that arrive during a build are part of the draft."""
    await people(team, 99)
    new_draft = await drafted(team, maximum=200_000, rules=(DEMO,))
    count = 0

    async def write() -> None:
        nonlocal count
        for n in range(40):
            email = f"p{n * 2:02d}@example.com" if n % 2 else f"new{n}@example.com"
            await team.deliver(
                activity_item(f"w{n}", email),
                set_to(f"v{n}", f"p{98 - n:02d}@example.com", 77),
                batch=f"w{n}",
                received=NOW + n + 1,
            )
            await team.ask(set_to(f"u{n}", email, 3), batch=f"slack/{n}", received=NOW + n + 50)
            if n % 3 == 0:
                await team.undo(f"slack/{n}", batch=f"slack/u{n}", received=NOW + n + 99)
            count += 1

    async def make() -> None:
        await build(team.workspace, draft=new_draft, progress=quietly, clock=lambda: NOW)
        await apply(team.workspace, draft=new_draft, with_alerts=False, by="U0ADMIN", clock=lambda: NOW)

    await asyncio.gather(write(), make())
    report_counts("submissions while a definition was built", {"submissions": count})
    assert (await load_live_type(team)).definition == new_draft.definition
    await check_ledger_and_scores(team)


async def test_a_build_that_was_stopped_goes_on(team: Team) -> None:
    """A stopped build continues where it was, without building a contact twice."""
    await people(team, 20)
    new_draft = await drafted(team, maximum=10_000, bands=())
    steps: list[int] = []
    await build(team.workspace, draft=new_draft, progress=steps.append, clock=lambda: NOW)
    assert steps == [0, 20]
    await team.deliver(set_to("n", "new@example.com", 9))
    await build(team.workspace, draft=new_draft, progress=steps.append, clock=lambda: NOW)
    assert steps[2:] == [21]  # the new contact was built on arrival


async def test_a_cancelled_draft_is_gone(team: Team) -> None:
    """A canceled draft cannot be applied, and a live definition cannot be canceled."""
    await people(team, 5)
    new_draft = await drafted(team, maximum=10_000, bands=())
    await build(team.workspace, draft=new_draft, progress=quietly, clock=lambda: NOW)
    await cancel(team.workspace, draft=new_draft, clock=lambda: NOW)
    assert await drafts(team.workspace) == ()
    with pytest.raises(NoDraft):
        await apply(team.workspace, draft=new_draft, with_alerts=False, by="U0ADMIN", clock=lambda: NOW)
    assert (await load_live_type(team)).number == 1
    contact_card = await card(team.workspace, contact=5, now=NOW)
    assert contact_card is not None
    assert contact_card.standings[0].value == 4_000
    second_draft = await drafted(team, maximum=10_000, bands=())
    await apply(team.workspace, draft=second_draft, with_alerts=False, by="U0ADMIN", clock=lambda: NOW)
    with pytest.raises(NoDraft):
        await cancel(team.workspace, draft=second_draft, clock=lambda: NOW)
    await check_ledger_and_scores(team)


async def test_a_definition_that_contradicts_itself_is_no_draft(team: Team) -> None:
    """A contradictory definition is refused as a draft, as it is for a new type."""
    for other in ({"minimum": 100_000}, {"step": 7_000}, {"rules": (replace(DEMO, points=1),)}):
        with pytest.raises(BadDefinition):
            await drafted(team, **other)
    assert await drafts(team.workspace) == ()


async def test_the_other_types_and_teams_are_left_alone(team: Team, storage: Storage) -> None:
    """A draft changes neither other types nor other workspaces."""
    other = Team(await add_workspace("T0OTHER", name="Other", by="U0ADMIN", now=NOW))
    await add_score_type(
        team.workspace, key="fit", label="Fit", minimum=0, maximum=10_000, step=1000, bands=(), start=None,
        is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # the numbers of one definition stand together
    for each_team in (team, other):
        await people(each_team, 60)
    await team.deliver(set_to("f", "p01@example.com", 7, score="fit"))
    await apply(
        team.workspace,
        draft=await drafted(team, maximum=10_000, bands=()),
        with_alerts=False,
        by="U0ADMIN",
        clock=lambda: NOW,
    )

    assert await other.value("p50@example.com") == 50_000
    assert await team.value("p50@example.com") == 10_000
    assert await team.value("p01@example.com", "fit") == 7_000
    await check_ledger_and_scores(team)
    await check_ledger_and_scores(other)


async def test_a_build_that_died_is_finished_by_the_service(team: Team) -> None:
    """After the lease of a dead process the service continues its build, and then runs the next job of the lane."""
    await people(team, 60)
    new_draft = await drafted(team, maximum=50_000, bands=())
    job = NewJob(
        workspace=team.workspace.id, kind=BUILD, lane=lane_of(new_draft), key=str(new_draft.definition),
        subject=new_draft.definition, due_at=NOW,
    )  # fmt: skip  # where, what and when
    died = await jobs.start(team.workspace, job=job, now=NOW)
    assert died is not None
    assert await jobs.save_position(team.workspace, job=died, position=30, keeps_lane=True, now=NOW)
    behind = replace(job, kind="behind", key="behind")
    await jobs.enqueue(current_database().writer, [behind], now=NOW)
    now, built_before = NOW + LEASE - 1, list[bool]()

    async def note(workspace: Workspace, _: Job) -> JobResult:
        built_before.append(await is_built(workspace, draft=new_draft))
        return JobResult()

    runner = JobRunner({**make_handlers(lambda: now), "behind": note}, clock=lambda: now)
    assert not await runner.work()
    now += 1
    slices = 0
    while await runner.work():
        slices += 1

    assert (slices, built_before) == (3, [False])  # the first thirty were marked as done
    assert await build(team.workspace, draft=new_draft, clock=lambda: now)
    assert await is_built(team.workspace, draft=new_draft)
    await apply(team.workspace, draft=new_draft, with_alerts=False, by="U0ADMIN", clock=lambda: now)
    await check_ledger_and_scores(team)


async def test_another_process_that_builds_is_waited_for(team: Team) -> None:
    """A build by another process is waited for a short time, and otherwise left to that process."""
    await people(team, 5)
    new_draft = await drafted(team, maximum=50_000, bands=())
    job = NewJob(
        workspace=team.workspace.id, kind=BUILD, lane=lane_of(new_draft), key=str(new_draft.definition),
        subject=new_draft.definition, due_at=NOW,
    )  # fmt: skip  # where, what and when
    other = await jobs.start(team.workspace, job=job, now=NOW)
    assert other is not None
    assert not await build(team.workspace, draft=new_draft, clock=lambda: NOW, patience=0.1)
    assert not await is_built(team.workspace, draft=new_draft)
    waiting = asyncio.create_task(build(team.workspace, draft=new_draft, clock=lambda: NOW))
    await jobs.save_position(team.workspace, job=other, position=0, keeps_lane=False, now=NOW)

    assert await waiting
    assert await is_built(team.workspace, draft=new_draft)
