"""A new rule costs nothing at first: each contact is enrolled when the rule evaluates it for the first time."""

from dataclasses import replace

import pytest

from storage.alerts.enroll import ENROLL, HANDLERS, add_alert_rule, choose_channel
from storage.alerts.followups import load_follow_ups
from storage.alerts.rules import alert_rules, pause_rule
from storage.alerts.sweep import sweep_rules
from storage.domain.facts import Op
from storage.domain.score_types import Rule
from storage.job_runner import JobRunner
from storage.jobs import NewJob, save_position, start
from storage.scoring.definitions import score_types
from storage.scoring.drafts import apply, build, create_draft, preview
from tests.storage import raw
from tests.storage.teams import DAY, NOW, SECOND, Team, change, set_to

HOUR = 3600 * SECOND
MEMORY = "SELECT contact_id, taken, pending_until FROM alert_memory WHERE rule_id = 2 ORDER BY contact_id"


@pytest.fixture
async def scored(team: Team) -> Team:
    """Return a team with twenty contacts, scored from 0 to 95 before there is a rule."""
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await pause_rule(team.workspace, rule=1, by="U0ADMIN", now=NOW)
    await team.deliver(*(set_to(f"s{n}", f"p{n:02d}@example.com", n * 5, at=NOW - HOUR) for n in range(20)))
    return team


async def follow_ups(team: Team) -> list[tuple[int, int | None]]:
    """Return the contact and the score of each follow-up."""
    opened = await load_follow_ups(team.workspace, ids=range(1, 999))
    return [(follow_up.contact, follow_up.after) for follow_up in opened]


async def redefine(team: Team, *, asks: bool = False, at: int, **changes: object) -> int:
    """Redefine the default type as an admin does. Return the number of follow-ups, which the preview must match."""
    live = next(score_type for score_type in await score_types(team.workspace) if score_type.is_default)
    new_draft = await create_draft(team.workspace, proposed=replace(live, **changes), by="U0ADMIN", now=at)  # type: ignore[arg-type]  # named
    assert new_draft is not None
    assert await build(team.workspace, draft=new_draft, clock=lambda: at)
    expected = await preview(team.workspace, draft=new_draft, now=at)
    count = await apply(team.workspace, draft=new_draft, with_alerts=asks, by="U0ADMIN", clock=lambda: at)
    assert count == (expected.follow_ups if asks else 0)
    return expected.follow_ups


async def test_contacts_inside_are_known_without_a_row_of_memory(scored: Team, database_url: str) -> None:
    """A contact that was inside before the rule fires only after it went beyond the margin, without a stored row."""
    await add_alert_rule(scored.workspace, words="when score crosses 50 cooldown 1h", made_by="U1", owners={}, now=NOW)
    assert await raw.rows(database_url, MEMORY) == []
    for number, (value, asks) in enumerate([(60, 0), (47, 0), (55, 0), (44, 0), (55, 1), (56, 1)], start=1):
        at = NOW + number * 2 * HOUR
        await scored.deliver(set_to(f"t{number}", "p12@example.com", value), batch=f"t{number}", received=at)
        assert len(await follow_ups(scored)) == asks, (number, value)
    await scored.deliver(set_to("u", "p02@example.com", 70), batch="u", received=NOW + DAY)

    assert await follow_ups(scored) == [(13, 55_000), (3, 70_000)]


async def test_applying_a_definition_writes_no_memory(scored: Team, database_url: str) -> None:
    """A contact that enters by a new definition counts as inside, and one that leaves by it is armed again."""
    await add_alert_rule(scored.workspace, words="when score crosses 50 cooldown 1h", made_by="U1", owners={}, now=NOW)
    points = Rule(name="Demo", activity="demo", points=1_000)
    await redefine(scored, at=NOW + HOUR, maximum=45_000, bands=())  # everybody is below 50 now
    await redefine(scored, at=NOW + 2 * HOUR, maximum=100_000, bands=(), rules=(points,))  # and back
    assert await raw.rows(database_url, MEMORY) == []
    await scored.deliver(change("x", "p15@example.com", Op.ADD, 1), batch="x", received=NOW + 3 * HOUR)
    await scored.deliver(change("y", "p09@example.com", Op.ADD, 9), batch="y", received=NOW + 3 * HOUR)

    assert await follow_ups(scored) == [(10, 54_000)]
    assert {rule.enrollment for rule in await alert_rules(scored.workspace)} == {2, 3}


async def test_newcomers_are_those_who_were_not_inside_before(scored: Team) -> None:
    """A newcomer is a contact that was outside before, even if the rule has no row about any contact yet."""
    await add_alert_rule(scored.workspace, words="when score crosses 50 cooldown 1h", made_by="U1", owners={}, now=NOW)
    points = Rule(name="Demo", activity="demo", points=1_000)
    assert await redefine(scored, asks=True, at=NOW + HOUR, rules=(points,)) == 0
    down = {"maximum": 60_000, "bands": ()}
    assert await redefine(scored, asks=True, at=NOW + 2 * HOUR, **down) == 0
    await scored.deliver(set_to("z", "p01@example.com", 60), batch="z", received=NOW + 3 * HOUR)
    assert await follow_ups(scored) == [(2, 60_000)]
    assert await redefine(scored, asks=True, at=NOW + 4 * HOUR, minimum=50_000, start=50_000, maximum=100_000) == 9


async def test_fading_counts_from_the_instant_at_which_a_rule_begins(scored: Team) -> None:
    """A score that faded below the edge before the rule creates no follow-up; one that fades below later does."""
    await redefine(scored, at=NOW, half_life=DAY)
    words = "when score crosses below 40 cooldown 1h"
    began = NOW + 12 * HOUR
    await add_alert_rule(scored.workspace, words=words, made_by="U1", owners={}, now=began)
    await sweep_rules(scored.workspace, now=began + HOUR)
    at_once = await follow_ups(scored)
    await scored.deliver(change("x", "p12@example.com", Op.ADD, 1), batch="x", received=began + 2 * HOUR)
    await sweep_rules(scored.workspace, now=began + DAY)

    # After half a day 60 has faded to 42 and 55 to 39: the lowest score above 40, and the highest below.
    assert [contact for contact, _ in at_once] == []
    assert {contact for contact, value in await follow_ups(scored) if value == 39_000} >= {13, 14, 15, 16}
    assert not {contact for contact, _ in await follow_ups(scored)} & set(range(1, 12))


async def test_a_rule_for_untouched_scores_is_enrolled_in_slices(scored: Team, database_url: str) -> None:
    """A rule about untouched scores enrolls contacts in slices, and the service completes the run after a crash."""
    words = "when score untouched for 30d cooldown 1h"
    await add_alert_rule(scored.workspace, words=words, made_by="U1", owners={}, now=NOW)
    assert len(await raw.rows(database_url, MEMORY)) == 20
    await raw.rows(database_url, "DELETE FROM alert_memory")
    (_, rule) = await alert_rules(scored.workspace)
    job = NewJob(
        workspace=scored.workspace.id, kind=ENROLL, lane=ENROLL, key=f"{rule.id}/{rule.enrollment}", subject=rule.id,
        due_at=NOW,
    )  # fmt: skip  # where, what and when
    died = await start(scored.workspace, job=job, now=NOW)
    assert died is not None
    await save_position(scored.workspace, job=died, position=5, keeps_lane=True, now=NOW)
    runner = JobRunner(HANDLERS, clock=lambda: NOW + HOUR)
    while await runner.work():
        continue

    rows = await raw.rows(database_url, MEMORY)
    assert [row["contact_id"] for row in rows] == list(range(6, 21))
    assert {row["pending_until"] for row in rows} == {NOW - HOUR + 30 * DAY}


async def test_a_score_of_later_is_not_taken_for_one_of_before(scored: Team) -> None:
    """A score that was set to 30 was not above 50 ten half-lives earlier, because it did not exist then."""
    await redefine(scored, at=NOW, half_life=DAY)
    await add_alert_rule(scored.workspace, words="when score crosses 50 cooldown 1h", made_by="U1", owners={}, now=NOW)
    for days, value in ((10, 30), (11, 60)):
        await scored.deliver(set_to(f"n{days}", "new@example.com", value), batch=f"n{days}", received=NOW + days * DAY)

    assert await follow_ups(scored) == [(21, 60_000)]
