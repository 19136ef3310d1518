"""A score type is removed while nothing uses it, and gets its scores back when it is added again."""

from dataclasses import replace
from typing import Any

import pytest

from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.alerts.rules import remove_rule
from storage.bootstrap import Storage
from storage.db.database import current_database
from storage.domain.errors import AlreadyThere, Refusal, UnknownScoreType
from storage.domain.facts import Op
from storage.domain.sources import SourceSettings
from storage.domain.submissions import Status
from storage.ledger.verify import verify_next
from storage.reading.segments import delete_segment, save_segment
from storage.scoring.definitions import add_score_type, drafts, score_types
from storage.scoring.drafts import cancel, create_draft
from storage.scoring.removal import TypeInUse, add_again, is_removed, remove_score_type
from storage.sources.config import add_source, find_source, remove_source
from storage.workspaces import add_workspace
from tests.storage.teams import NOW, SECOND, Team, change, set_to

ADMIN = "U0ADMIN"
ADA, BOB = "ada@example.com", "bob@example.com"


def clock() -> int:
    """Return the present."""
    return NOW


@pytest.fixture
async def team(storage: Storage) -> Team:
    """Return a team with a second score type, Fit."""
    team = Team(await add_workspace("T0ACME", name="Acme", by=ADMIN, now=NOW))
    await add_score_type(team.workspace, **FIT, now=NOW)
    return team


FIT: dict[str, Any] = {
    "key": "fit", "label": "Fit", "minimum": 1_000, "maximum": 10_000, "step": 1_000, "start": None, "bands": (),
    "is_default": False, "by": ADMIN,
}  # fmt: skip  # the values of one definition together


async def remove_fit(team: Team) -> None:
    """Remove the score type Fit."""
    await remove_score_type(team.workspace, key="fit", by=ADMIN, clock=clock)


async def differences(team: Team) -> list[object]:
    """Return what `verify` finds."""
    result = await verify_next(team.workspace, after=0)
    return list(result.differences)


async def count_rows(team: Team) -> list[int]:
    """Return the number of scores and effects of all definitions."""
    return [
        (await current_database().reader.rows(f"SELECT count(*) AS number FROM {table}"))[0]["number"]
        for table in ("scores", "effects")
    ]


async def test_a_removed_type_gets_its_scores_back(team: Team) -> None:
    """Its scores are gone and its facts stay; added again it has the same scores, with an undo meanwhile applied."""
    await team.deliver(
        set_to("a", ADA, 5, score="fit", at=NOW - 9), change("b", ADA, Op.ADD, 2, score="fit", at=NOW - 8),
        set_to("c", BOB, 9, score="fit", at=NOW - 7), set_to("d", ADA, 40, at=NOW - 6),
    )  # fmt: skip  # items
    await team.ask(set_to("e", BOB, 3, score="fit"), batch="slack/e")
    before = await count_rows(team)

    await remove_fit(team)

    assert [score_type.key for score_type in await score_types(team.workspace)] == ["score"]
    assert (await team.value(ADA), await count_rows(team), before) == (40_000, [1, 1], [3, 5])
    assert await differences(team) == []
    recorded = await team.deliver(set_to("f", ADA, 8, score="fit"), set_to("a", ADA, 5, score="fit", at=NOW - 9))
    assert [outcome.status for outcome in recorded.outcomes] == [Status.QUARANTINED, Status.DUPLICATE]
    await team.undo("slack/e", batch="slack/u")
    with pytest.raises(UnknownScoreType):
        await remove_fit(team)

    added = await add_again(team.workspace, **FIT, clock=clock)

    assert added is not None
    assert (added.key, added.number, added.label) == ("fit", 2, "Fit")
    assert [await team.value(who, "fit") for who in (ADA, BOB)] == [7_000, 9_000]
    assert await differences(team) == []
    assert not await is_removed(team.workspace, key="fit")


async def test_a_type_added_again_can_have_another_range_and_be_the_default(team: Team) -> None:
    """The facts are folded in the new range, and the default moves when the scores are there."""
    await team.deliver(set_to("a", ADA, 9, score="fit"), change("b", ADA, Op.ADD, 9, score="fit", at=NOW + 1))
    assert await team.value(ADA, "fit") == 10_000
    await remove_fit(team)
    with pytest.raises(AlreadyThere):  # it needs its scores, which only `add_again` calculates
        await add_score_type(team.workspace, **FIT, now=NOW)

    await add_again(team.workspace, **{**FIT, "maximum": 100_000, "is_default": True}, clock=clock)

    assert await team.value(ADA, "fit") == 18_000
    assert [score_type.key for score_type in await score_types(team.workspace)] == ["fit", "score"]
    assert await drafts(team.workspace) == ()


async def test_a_type_in_use_is_not_removed_and_what_uses_it_is_listed(team: Team) -> None:
    """Alert rules, conditions, segments, sources, drafts and open follow-ups use it; each is named."""
    workspace, settings = team.workspace, SourceSettings(map={"leadScore": "fit"})
    await choose_channel(workspace, channel="C1", by=ADMIN, now=NOW)
    rule = await add_alert_rule(workspace, words="fit crosses 8", made_by=ADMIN, owners={}, now=NOW)
    other = await add_alert_rule(workspace, words="score crosses 50 if fit>=5", made_by=ADMIN, owners={}, now=NOW)
    await save_segment(workspace, name="good", text="has:fit fit", by=ADMIN, now=NOW)
    await save_segment(workspace, name="words", text="fit", by=ADMIN, now=NOW)
    await add_source(workspace, slug="crm", provider="hubspot", secrets=["s"], settings=settings, by=ADMIN, now=NOW)
    (live,) = [score_type for score_type in await score_types(workspace) if score_type.key == "fit"]
    pending = await create_draft(workspace, proposed=replace(live, maximum=20_000), by=ADMIN, now=NOW)
    await team.deliver(set_to("a", ADA, 9, score="fit"), received=NOW + SECOND)

    with pytest.raises(TypeInUse) as refused:
        await remove_fit(team)

    assert str(refused.value) == (
        "`fit` is in use, so it was not removed. Change or remove first: a change of it that is not applied yet;"
        f" alert rule {rule.id}; alert rule {other.id}; the segment `good`;"
        " the source `crm`, which maps leadScore to it; 1 open follow-up"
    )
    assert await team.value(ADA, "fit") == 9_000
    assert pending is not None
    await cancel(workspace, draft=pending, clock=clock)
    for id in (rule.id, other.id):
        await remove_rule(workspace, rule=id, by=ADMIN, now=NOW)
    await delete_segment(workspace, name="good", by=ADMIN, now=NOW)
    await remove_source(workspace, slug="crm", by=ADMIN, now=NOW)
    with pytest.raises(TypeInUse) as refused:
        await remove_fit(team)
    assert refused.value.uses == ("1 open follow-up",)
    with pytest.raises(Refusal, match="it is the default score type"):
        await remove_score_type(workspace, key="score", by=ADMIN, clock=clock)


async def test_a_source_does_not_see_a_removed_type(team: Team) -> None:
    """A field named like a removed type is no score any more."""
    await add_source(team.workspace, slug="crm", provider="hubspot", secrets=["s"], by=ADMIN, now=NOW)

    await remove_fit(team)

    assert (await find_source("T0ACME", slug="crm")).score_types == ("score",)
