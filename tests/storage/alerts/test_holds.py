"""A pending hold continues, and fires once when it ends, whatever an admin or an older version did meanwhile."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.alerts.followups import load_follow_ups
from storage.alerts.sweep import sweep_rules
from storage.bootstrap import Storage
from storage.domain.alerts.memory import AlertMemory
from storage.domain.facts import Op
from storage.domain.score_types import Band, Rule
from storage.scoring.definitions import add_score_type, score_types
from storage.scoring.drafts import apply, create_draft, preview
from storage.workspaces import add_workspace
from tests.storage import raw
from tests.storage.teams import DAY, NOW, SECOND, Team, change, set_to

ADA, BOB = "ada@example.com", "bob@example.com"
HOUR = DAY // 24
WORDS = "score crosses 50 hold 2h cooldown 1h"
MEMORY = "SELECT taken, pending_until FROM alert_memory ORDER BY rule_id, contact_id"


async def holding_team(storage: Storage, words: str = WORDS) -> Team:
    """Return a team with a second score type, in which Ada is at 60 and a hold of two hours is pending."""
    workspace = await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
    await add_score_type(
        workspace, key="fit", label="Fit", minimum=0, maximum=10_000, step=1_000, start=0, bands=[], is_default=False,
        by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    await choose_channel(workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await add_alert_rule(workspace, words=words, made_by="U1", owners={}, now=NOW)
    team = Team(workspace)
    await team.deliver(set_to("1", ADA, 60))
    return team


async def follow_ups(team: Team) -> list[tuple[int, int | None]]:
    """Return when each rule last fired for each follow-up, in µs after NOW, and the score then."""
    return [
        (rule.fired_at - NOW, rule.after)
        for follow_up in await load_follow_ups(team.workspace, ids=range(1, 100))
        for rule in follow_up.rules
    ]


async def redefine(team: Team, key: str, *, asks: bool = False, at: int = NOW + HOUR, **changes: object) -> None:
    """Change a score type as an admin does, by default an hour after the beginning."""
    live = next(score_type for score_type in await score_types(team.workspace) if score_type.key == key)
    new_draft = await create_draft(team.workspace, proposed=replace(live, **changes), by="U0ADMIN", now=at)  # type: ignore[arg-type]  # named arguments
    if new_draft is not None:
        expected = await preview(team.workspace, draft=new_draft, now=at)
        number = await apply(team.workspace, draft=new_draft, with_alerts=asks, by="U0ADMIN", clock=lambda: at)
        assert number == (expected.follow_ups if asks else 0)


async def add_default_type(team: Team) -> None:
    """Add a score type that becomes the default."""
    await add_score_type(
        team.workspace, key="heat", label="Heat", minimum=0, maximum=100_000, step=1_000, start=0, bands=[],
        is_default=True,
        by="U0ADMIN", now=NOW + HOUR,
    )  # fmt: skip  # one definition


ADMIN_ACTS: dict[str, Callable[[Team], Awaitable[None]]] = {
    "a wider range": lambda team: redefine(team, "score", maximum=110_000),
    "a wider range, asking": lambda team: redefine(team, "score", maximum=110_000, asks=True),
    "a label": lambda team: redefine(team, "score", label="Interest"),
    "a rule": lambda team: redefine(team, "score", rules=(Rule(name="Demo", activity="demo", points=1_000),)),
    "a wider range of another type": lambda team: redefine(team, "fit", maximum=20_000),
    "another default type": lambda team: redefine(team, "fit", is_default=True),
    "a new default type": add_default_type,
}


@pytest.mark.parametrize("by_time", [True, False], ids=["swept", "pushed"])
@pytest.mark.parametrize("act", ADMIN_ACTS)
async def test_a_pending_hold_outlives_a_change_of_score_types(storage: Storage, act: str, by_time: bool) -> None:
    """The rule fires once, when the hold ends, whether a sweep or a change of the contact comes first."""
    team = await holding_team(storage)
    await ADMIN_ACTS[act](team)

    assert await follow_ups(team) == []
    if not by_time:
        await team.deliver(change("2", ADA, Op.ADD, 1), batch="2", received=NOW + 3 * HOUR)
    await sweep_rules(team.workspace, now=NOW + 3 * HOUR)
    assert await follow_ups(team) == [(2 * HOUR, 60_000)]
    await sweep_rules(team.workspace, now=NOW + 9 * DAY)
    assert len(await follow_ups(team)) == 1


async def test_a_hold_ends_where_the_new_definition_puts_the_score_outside(storage: Storage) -> None:
    """A hold is canceled if the new definition puts the score outside of the rule's region."""
    team = await holding_team(storage)
    await redefine(team, "score", maximum=40_000, bands=(Band(name="cold", start=0),))
    await sweep_rules(team.workspace, now=NOW + 3 * HOUR)

    assert await follow_ups(team) == []


async def test_a_contact_within_the_margin_stays_taken_through_a_change(storage: Storage) -> None:
    """A rule does not fire again at 55 if a change of the type found the contact at 48, above the re-arm line at 45."""
    team = await holding_team(storage, "score crosses 50 cooldown 1h")
    await team.deliver(set_to("2", ADA, 48), batch="2", received=NOW + SECOND)
    await redefine(team, "score", label="Interest", rules=(Rule(name="Demo", activity="demo", points=1_000),))
    await team.deliver(set_to("3", ADA, 55), batch="3", received=NOW + 9 * DAY)
    assert await follow_ups(team) == [(0, 60_000)]

    await team.deliver(set_to("4", ADA, 45), batch="4", received=NOW + 9 * DAY + SECOND)
    await team.deliver(set_to("5", ADA, 55), batch="5", received=NOW + 9 * DAY + 2 * SECOND)
    assert await follow_ups(team) == [(0, 60_000), (9 * DAY + 2 * SECOND, 55_000)]


@pytest.mark.parametrize("changes", [{"maximum": 20_000}, {"is_default": True}], ids=["a wider range", "the default"])
async def test_a_change_of_another_type_swallows_nothing(storage: Storage, changes: dict[str, object]) -> None:
    """If fading crossed the edge before another type changed, the rule still fires, at the instant of the crossing."""
    team = await holding_team(storage, "score crosses below 50 cooldown 1h")
    await redefine(team, "score", half_life=DAY)
    await team.deliver(set_to("2", BOB, 100), batch="2", received=NOW + HOUR)
    later = NOW + 3 * DAY
    await redefine(team, "fit", at=later, **changes)  # type: ignore[arg-type]  # named arguments
    await sweep_rules(team.workspace, now=later + HOUR)

    assert (25 * HOUR, 49_000) in [(at - at % HOUR, value) for at, value in await follow_ups(team)]


async def test_a_new_default_type_begins_with_nobody_inside(storage: Storage) -> None:
    """A contact that was hot in the former default type creates a follow-up when it becomes hot in the new one."""
    team = await holding_team(storage)
    await team.deliver(set_to("2", BOB, 90), batch="2")
    assert await follow_ups(team) == [(0, 90_000)]
    await add_score_type(
        team.workspace, key="heat", label="Heat", minimum=0, maximum=100_000, step=1_000, start=0,
        bands=[Band(name="cold", start=0), Band(name="hot", start=80_000)], is_default=True,
        by="U0ADMIN", now=NOW + HOUR,
    )  # fmt: skip  # one definition
    later = NOW + 20 * DAY  # after the cool-down of the default rule
    await team.deliver(set_to("3", BOB, 85, score="heat"), batch="3", received=later)

    assert (20 * DAY, 85_000) in await follow_ups(team)


@pytest.mark.parametrize("by_time", [True, False], ids=["swept", "pushed"])
async def test_a_row_of_an_older_process_is_read_as_a_pending_hold(
    storage: Storage, database_url: str, by_time: bool
) -> None:
    """A row that an older process writes, both taken and pending, is read as a pending hold, which continues."""
    team = await holding_team(storage)
    await raw.rows(database_url, "UPDATE alert_memory SET taken = true")
    assert [(bool(row["taken"]), row["pending_until"]) for row in await raw.rows(database_url, MEMORY)] == [
        (True, NOW + 2 * HOUR)
    ]
    await redefine(team, "fit", maximum=20_000)
    if not by_time:
        await team.deliver(change("2", ADA, Op.ADD, 1), batch="2", received=NOW + 3 * HOUR)
    await sweep_rules(team.workspace, now=NOW + 3 * HOUR)

    assert await follow_ups(team) == [(2 * HOUR, 60_000)]
    assert [(bool(row["taken"]), row["pending_until"]) for row in await raw.rows(database_url, MEMORY)] == [
        (True, None)
    ]


def test_a_memory_is_not_both_taken_and_pending() -> None:
    """AlertMemory refuses a state that is both taken and pending."""
    with pytest.raises(ValueError, match="at once"):
        AlertMemory(taken=True, pending_until=NOW)
