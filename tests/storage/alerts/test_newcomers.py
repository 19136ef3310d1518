"""Applied with follow-ups, a definition is live at once; newcomers are asked for afterwards, as of that instant."""

import asyncio
from dataclasses import replace

import pytest

from storage import jobs
from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.alerts.followups import FollowUp, load_follow_ups
from storage.alerts.newcomers import MOST_ASKED, ask_next_newcomers
from storage.alerts.rules import pause_rule, remove_rule, resume_rule
from storage.alerts.sweep import sweep_rules
from storage.db.database import current_database
from storage.domain.backoff import LEASE
from storage.domain.contacts import Reference
from storage.domain.facts import Item, Merge
from storage.domain.followups import FollowUpState
from storage.domain.score_types import Band, Rule, ScoreType
from storage.job_runner import JobRunner
from storage.jobs import NewJob
from storage.ledger.committer import Committer
from storage.ledger.verify import verify_next
from storage.scoring.definitions import count_asked, score_type
from storage.scoring.draft_jobs import APPLY, ASKING, lane_of, make_handlers
from storage.scoring.drafts import apply, build, create_draft, preview
from tests.storage import raw
from tests.storage.teams import DAY, NOW, SECOND, Team, field_item, set_to

LIVE = NOW + DAY  # when the definition becomes live
DEMO = Rule(name="Demo", activity="demo", points=40_000)
NEWCOMERS = list(range(3, 11))  # contacts with a demo and less than 50


def email(number: int) -> str:
    """Return the address of a contact: number 7 has row 8."""
    return f"p{number:02d}@example.com"


def demo(number: int, *, at: int = NOW) -> Item:
    """Return an item about a demo of a contact."""
    return Item(
        key=f"demo{number}", contact=Reference(email=email(number)), activity="demo", amount=1000, occurred_at=at
    )


@pytest.fixture
async def scored(team: Team) -> Team:
    """Return a team with twenty contacts from 0 to 95. Those from 10 to 45, and that with 60, had a demo."""
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await pause_rule(team.workspace, rule=1, by="U0ADMIN", now=NOW)
    await team.deliver(*(set_to(f"s{n:02d}", email(n), n * 5, at=NOW - SECOND) for n in range(20)))
    await team.ask(*(demo(n) for n in (*range(2, 10), 12)), batch="slack/demos")
    return team


async def watch(team: Team, words: str = "when score crosses 50 cooldown 1h") -> None:
    """Add a rule."""
    await add_alert_rule(team.workspace, words=words, made_by="U1", owners={}, now=NOW)


async def draft_demo(team: Team, **changes: object) -> ScoreType:
    """Return a built draft of the default type, by which a demo is worth points."""
    live = await score_type(team.workspace, key=None)
    wanted = replace(live, **({"rules": (DEMO,)} | changes))  # type: ignore[arg-type]  # named
    new_draft = await create_draft(team.workspace, proposed=wanted, by="U0ADMIN", now=NOW)
    assert new_draft is not None
    assert await build(team.workspace, draft=new_draft, clock=lambda: NOW)
    return new_draft


async def make_live(team: Team, new_draft: ScoreType, *, slices: int = 0) -> None:
    """Apply a draft with follow-ups in a process that dies once it is live, or after some slices of contacts."""
    job = NewJob(
        workspace=team.workspace.id, kind=APPLY, lane=lane_of(new_draft), key=f"{new_draft.definition}{ASKING}",
        subject=new_draft.definition, due_at=LIVE,
    )  # fmt: skip  # where, what and when
    claimed = await jobs.start(team.workspace, job=job, now=LIVE)
    assert claimed is not None
    for _ in range(1 + slices):
        await make_handlers(lambda: LIVE)[APPLY](team.workspace, claimed)
    assert (await score_type(team.workspace, key=None)).definition == new_draft.definition


async def finish(team: Team, *, at: int = LIVE + DAY) -> None:
    """Run the jobs that the dead process has left, in the service."""
    assert at >= LIVE + LEASE
    runner = JobRunner(make_handlers(lambda: at), clock=lambda: at)
    while await runner.work():
        continue
    assert (await verify_next(team.workspace)).differences == ()


async def load_all(team: Team) -> list[FollowUp]:
    """Return all follow-ups, by contact."""
    return sorted(
        await load_follow_ups(team.workspace, ids=range(1, 9_999)),
        key=lambda follow_up: (follow_up.contact, follow_up.id),
    )


async def asked(team: Team) -> list[tuple[int, int | None, int]]:
    """Return the contact, the score and the instant of each follow-up."""
    return [(follow_up.contact, follow_up.after, follow_up.asked_at) for follow_up in await load_all(team)]


#: the follow-ups for all newcomers, as `asked` returns them
ALL = [(id, (id - 1) * 5_000 + 40_000, LIVE) for id in NEWCOMERS]


async def test_it_is_live_before_anybody_is_asked_for(scored: Team, database_url: str) -> None:
    """The definition is live without a follow-up. A dead process's slices are continued, and the old scores deleted."""
    await watch(scored)
    new_draft = await draft_demo(scored)
    counts = await preview(scored.workspace, draft=new_draft, now=LIVE)
    await make_live(scored, new_draft)
    assert await asked(scored) == []
    await finish(scored)

    assert await asked(scored) == ALL
    assert counts.follow_ups == await count_asked(scored.workspace, definition=new_draft.definition) == len(ALL)
    stored = await raw.rows(database_url, "SELECT DISTINCT definition_id FROM scores")
    assert stored == [{"definition_id": new_draft.definition}]
    assert await raw.rows(database_url, "SELECT id FROM jobs WHERE kind IN ('apply_draft', 'delete_scores')") == []


async def test_the_preview_counts_a_contact_once_in_a_place(scored: Team) -> None:
    """Two rules for one place open one follow-up for a contact, or join one there; preview and result say so."""
    for words in ("when score crosses 50 cooldown 1h", "when score crosses 45 cooldown 1h"):
        await watch(scored, words)
    await watch(scored, "when score crosses 20 cooldown 1h")
    await scored.deliver(set_to("again", email(2), 25), batch="b", received=NOW)  # an unfinished follow-up to join
    (joined,) = await load_follow_ups(scored.workspace, ids=range(1, 100))
    new_draft = await draft_demo(scored)
    counts = await preview(scored.workspace, draft=new_draft, now=LIVE)
    await make_live(scored, new_draft)
    await finish(scored)

    items = await load_follow_ups(scored.workspace, ids=range(1, 100))
    opened = [item for item in items if item.id != joined.id]
    assert len({item.contact for item in opened}) == len(opened)
    assert counts.follow_ups == len(opened) == await count_asked(scored.workspace, definition=new_draft.definition) == 7
    assert {len(item.rules) for item in items} >= {2}
    assert joined.contact not in {item.contact for item in opened}


async def test_each_slice_is_asked_for_once(team: Team) -> None:
    """A process that dies between two slices, before its job records the first one, asks for nobody twice."""
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    count = MOST_ASKED + 20
    await team.deliver(*(set_to(f"s{n}", f"p{n}@example.com", 1) for n in range(count)))
    bands = (Band(name="cold", start=0), Band(name="hot", start=1_000))
    new_draft = await draft_demo(team, bands=bands)
    await make_live(team, new_draft, slices=1)
    first = [contact for contact, *_ in await asked(team)]
    assert await count_asked(team.workspace, definition=new_draft.definition) is None
    await finish(team)

    assert first == list(range(1, MOST_ASKED + 1))
    assert await asked(team) == [(id, 1_000, LIVE) for id in range(1, count + 1)]
    assert await count_asked(team.workspace, definition=new_draft.definition) == count


async def test_whoever_is_changed_before_the_slice_is_asked_for_as_of_the_instant(scored: Team) -> None:
    """A change before its slice neither loses nor repeats a follow-up, and the condition is that of the instant."""
    await watch(scored, "when score crosses 50 if tag:vip cooldown 1h")
    vips = [n for n in range(2, 18) if n != 7]
    await scored.deliver(*(field_item(f"v{n}", email(n), tags=["vip"]) for n in vips), batch="v", received=NOW + 1)
    await scored.ask(Item(key="demo", contact=Reference(email=email(1)), activity="demo", amount=2000), batch="slack/1")
    await make_live(scored, await draft_demo(scored))
    later = LIVE + SECOND
    await scored.deliver(set_to("a", email(2), 10), batch="a", received=later)  # falls out
    await scored.deliver(set_to("b", email(3), 90), batch="b", received=later)  # stays inside
    await scored.deliver(field_item("c", email(4), tags=[]), batch="c", received=later)  # is no vip any more
    await scored.deliver(set_to("d", email(4), 99), batch="d", received=later + 1)
    await scored.deliver(field_item("e", email(5), tags=[]), batch="e", received=later)
    await scored.deliver(field_item("f", email(7), tags=["vip"]), batch="f", received=later)  # was none
    await scored.deliver(set_to("g", email(7), 98), batch="g", received=later + 1)
    await scored.deliver(set_to("h", email(15), 97), batch="h", received=later)  # was inside before
    await scored.deliver(set_to("i", email(0), 70, fields={"tags": ["vip"]}), batch="i", received=later)  # rises
    await scored.deliver(set_to("j", "new@example.com", 71, fields={"tags": ["vip"]}), batch="j", received=later)
    await scored.undo("slack/demos", batch="slack/2", received=later + 2)
    await finish(scored)

    expected = [follow_up for follow_up in ALL if follow_up[0] != 8]
    assert await asked(scored) == [(1, 70_000, later), *expected, (21, 71_000, later)]
    closed = [follow_up for follow_up in await load_all(scored) if follow_up.standing.state is FollowUpState.CLOSED]
    # 10 was set, and the others fell to their scores without a demo; 45 is the re-arm line.
    assert [(follow_up.contact, follow_up.changed_at) for follow_up in closed] == [
        (3, later), *((id, later + 2) for id in (6, 7, 9, 10)),
    ]  # fmt: skip  # the first by its change, the others by the undo


async def test_whoever_is_merged_or_split_before_the_slice(scored: Team) -> None:
    """A merge or a split before the slice of its contacts asks for the newcomers among them, and for nobody else."""
    await watch(scored)
    together = Merge(key="m", contact=Reference(email=email(17)), into=Reference(email=email(5)))
    await scored.ask(together, batch="slack/0")
    await make_live(scored, await draft_demo(scored))
    later = LIVE + SECOND
    for newcomer, other in ((4, 15), (11, 16), (18, 6)):  # in the second pair, both were inside before
        merge = Merge(key=f"m{other}", contact=Reference(email=email(other)), into=Reference(email=email(newcomer)))
        await scored.ask(merge, batch=f"slack/{other}", received=later)
    await scored.undo("slack/0", batch="slack/u", received=later)
    await finish(scored)

    assert sorted(contact for contact, *_ in await asked(scored)) == [3, 4, 5, *NEWCOMERS[4:]]


async def test_a_sweep_before_the_slice_asks_first(scored: Team) -> None:
    """A newcomer that fades out of the region before its slice is asked for, and its follow-up closes by itself."""
    await apply(
        scored.workspace, draft=await draft_demo(scored, rules=(), half_life=30 * DAY), with_alerts=False, by="U0ADMIN",
        clock=lambda: NOW,
    )  # fmt: skip  # one application
    await watch(scored)
    await make_live(scored, await draft_demo(scored, half_life=30 * DAY))
    swept = LIVE + 9 * DAY
    await sweep_rules(scored.workspace, now=swept)
    opened = await asked(scored)
    await finish(scored, at=swept)

    assert {contact for contact, *_ in opened} < set(NEWCOMERS)  # whoever has not crossed an edge waits for the slice
    # Faded for a day, 10 and a demo are shown as 49.
    assert await asked(scored) == [(id, value, at) for id, value, at in await asked(scored) if at == LIVE]
    assert [contact for contact, *_ in await asked(scored)] == NEWCOMERS[1:]
    by_state = {follow_up.contact: follow_up.standing.state for follow_up in await load_all(scored)}
    assert by_state[4] is FollowUpState.CLOSED
    assert by_state[10] is FollowUpState.OPEN


async def test_an_earlier_application_is_finished_first(scored: Team, database_url: str) -> None:
    """The newcomers of a definition are asked for before the next one becomes live, and the scores of both deleted."""
    await watch(scored)
    first = await draft_demo(scored)
    await make_live(scored, first)
    second = await draft_demo(scored, rules=(replace(DEMO, points=1_000),))
    assert await apply(scored.workspace, draft=second, with_alerts=True, by="U0ADMIN", clock=lambda: LIVE + LEASE) == 0
    assert await asked(scored) == ALL
    await finish(scored)

    assert await asked(scored) == ALL
    assert await count_asked(scored.workspace, definition=first.definition) == len(ALL)
    stored = await raw.rows(database_url, "SELECT DISTINCT definition_id FROM scores")
    assert stored == [{"definition_id": second.definition}]
    assert await raw.rows(database_url, "SELECT id FROM jobs WHERE kind IN ('apply_draft', 'delete_scores')") == []


@pytest.mark.parametrize("end", [pause_rule, remove_rule], ids=["paused", "removed"])
async def test_a_rule_that_is_paused_or_removed_asks_for_nobody_more(
    scored: Team, end: object, database_url: str
) -> None:
    """After its rule was paused or removed no newcomer is asked for, not even when the rule is resumed."""
    await watch(scored)
    new_draft = await draft_demo(scored)
    await make_live(scored, new_draft)
    await scored.deliver(set_to("a", email(3), 1), batch="a", received=LIVE + 1)
    await end(scored.workspace, rule=2, by="U1", now=LIVE + 2)  # type: ignore[operator]  # one of the two
    await scored.deliver(set_to("b", email(4), 70), batch="b", received=LIVE + 3)
    if end is pause_rule:
        await resume_rule(scored.workspace, rule=2, by="U1", now=LIVE + 4)
    await scored.deliver(set_to("c", email(5), 70), batch="c", received=LIVE + 5)
    await finish(scored)

    assert await asked(scored) == ALL[1:2]
    assert await count_asked(scored.workspace, definition=new_draft.definition) == 1
    stored = await raw.rows(database_url, "SELECT DISTINCT definition_id FROM scores")
    assert stored == [{"definition_id": new_draft.definition}]


async def test_two_processes_that_ask_at_once(scored: Team) -> None:
    """Two processes that ask for the same slice, and others that change its contacts, ask for each newcomer once."""
    await watch(scored)
    new_draft = await draft_demo(scored)
    await make_live(scored, new_draft)
    others = [Team(scored.workspace, Committer(current_database())) for _ in range(3)]

    async def ask() -> None:
        while await ask_next_newcomers(scored.workspace, definition=new_draft.definition, now=LIVE + 1):
            continue

    await asyncio.gather(
        *(ask() for _ in range(2)),
        *(
            other.deliver(set_to(f"w{n}", email(n), 80), batch=f"w{n}", received=LIVE + 1)
            for n in range(2, 10)
            for other in others[n % 3 : n % 3 + 1]
        ),
    )
    await finish(scored)

    assert await asked(scored) == ALL
