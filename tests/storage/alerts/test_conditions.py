"""The condition of a rule is asked of the contact as it stood when the rule fired, whenever somebody looks."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from storage.alerts.enroll import add_alert_rule
from storage.alerts.rules import alert_rules, pause_rule
from storage.alerts.simulate import try_alert
from storage.alerts.sweep import sweep_rules
from storage.bootstrap import Storage
from storage.domain.contacts import Reference
from storage.domain.facts import Item, Merge, Op
from storage.domain.score_types import Rule
from storage.reading.segments import save_segment
from storage.scoring.definitions import add_score_type
from tests.conftest import DIALECTS
from tests.storage import firings
from tests.storage.alerts.test_sweep import fading_team
from tests.storage.teams import DAY, NOW, Team, change, field_item, set_to

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"
HOUR = DAY // 24
#: triggers that time alone brings about about ten hours after NOW, for a contact at 100 heat or 60 points
FADES, HOLDS = "heat crosses below 75 cooldown 1h", "score crosses 50 hold 10h cooldown 1h"
UNTOUCHED, COOLS = "score untouched for 10h cooldown 1h", "heat about to fall out of warm in 22h cooldown 1h"
TRIGGERS = (FADES, HOLDS, UNTOUCHED, COOLS)
LATER = NOW + 2 * DAY

Act = Callable[[Team], Awaitable[object]]


async def condition_team(storage: Storage, *rules: str) -> Team:
    """Return a team with these rules, a type with a rule about an activity, a segment, and the scores of Ada."""
    team = await fading_team(storage, "T0ACME")
    await pause_rule(team.workspace, rule=1, by="U0ADMIN", now=NOW)
    await add_score_type(
        team.workspace, key="fit", label="Fit", minimum=0, maximum=100_000, step=1_000, start=0, bands=(),
        rules=(Rule(name="Visit", activity="visit", points=40_000),), is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    await save_segment(team.workspace, name="cool", text="-fit>=50", by="U0ADMIN", now=NOW)
    for words in rules:
        await add_alert_rule(team.workspace, words=words, made_by="U1", owners={}, now=NOW)
    await team.deliver(set_to("heat", ADA, 100, score="heat"), set_to("score", ADA, 60))
    return team


async def list_firings(team: Team) -> list[tuple[int, int]]:
    """Return the rule and the time of each firing, in hours after NOW, rounded down."""
    return sorted((rule, (at - NOW) // HOUR) for rule, _, at in await firings.list_firings(team.workspace))


def deliver(*items: Item, at: int) -> Act:
    """Return an act that delivers items at *at*."""
    return lambda team: team.deliver(*items, batch=f"at {at}", received=at)


def visit(*, at: int) -> Item:
    """Return an activity of Ada's that gives 40 points of fit."""
    return Item(key=f"visit {at}", contact=Reference(email=ADA), activity="visit", amount=1_000, occurred_at=at)


async def merge_with_bob(team: Team) -> None:
    """Merge a contact with a tag into Ada after the instant."""
    await team.deliver(field_item("bob", BOB, tags=["vip"]), batch="bob", received=NOW + HOUR)
    merge = Merge(key="merge", contact=Reference(email=BOB), into=Reference(email=ADA))
    await team.ask(merge, batch="merge", received=NOW + 20 * HOUR)


async def split_from_bob(team: Team) -> None:
    """Merge a contact with a tag into Ada, and split the two after the instant."""
    await team.deliver(field_item("bob", BOB, tags=["vip"]), batch="bob", received=NOW - HOUR)
    merge = Merge(key="merge", contact=Reference(email=BOB), into=Reference(email=ADA))
    await team.ask(merge, batch="merge", received=NOW - HOUR)
    await team.undo("merge", batch="split", received=NOW + 20 * HOUR)


async def merge_three(team: Team) -> None:
    """Merge a contact without a tag into Ada and into a contact with a tag, before the instant."""
    items = field_item("eve", EVE, tags=["vip"]), field_item("bob", BOB, name="Bob")
    await team.deliver(*items, batch="two", received=NOW + HOUR)
    for other in (ADA, EVE):
        merge = Merge(key=other, contact=Reference(email=BOB), into=Reference(email=other))
        await team.ask(merge, batch=other, received=NOW + HOUR)


async def undo_the_tag(team: Team) -> None:
    """Add a tag, and undo that after the instant."""
    await team.ask(field_item("tag", ADA, tags=["vip"]), batch="tag", received=NOW + HOUR)
    await team.undo("tag", batch="undo", received=NOW + 20 * HOUR)


#: what happens until somebody looks, a condition, and whether it was met ten hours after NOW
STORIES: dict[str, tuple[Act, str, bool]] = {
    "a tag before it": (deliver(field_item("1", ADA, tags=["vip"]), at=NOW + HOUR), "tag:vip", True),
    "a tag after it": (deliver(field_item("1", ADA, tags=["vip"]), at=NOW + 20 * HOUR), "tag:vip", False),
    "a tag that is gone": (deliver(field_item("1", ADA, tags=["vip"]), at=NOW + 20 * HOUR), "-tag:vip", True),
    "an attribute of late": (
        deliver(field_item("1", ADA, at=NOW, **{"attributes.seats": 12}), at=NOW + 20 * HOUR),
        "attributes.seats>=10",
        False,
    ),
    "another score after it": (deliver(set_to("1", ADA, 80, score="fit"), at=NOW + 20 * HOUR), "fit>=50", False),
    "points before it": (deliver(visit(at=NOW + HOUR), at=NOW + HOUR), "fit>=40", True),
    "points of late": (deliver(visit(at=NOW + HOUR), at=NOW + 20 * HOUR), "fit>=40", False),
    "a trend until then": (
        deliver(set_to("1", ADA, 80, score="fit", at=NOW + HOUR), visit(at=NOW + 2 * HOUR), at=NOW + 2 * HOUR),
        "fit rising 10 in 9h",
        True,
    ),
    "a fact after it": (deliver(field_item("1", ADA, name="Ada"), at=NOW + 20 * HOUR), "updated>=9h", True),
    "what faded until then": (deliver(field_item("1", ADA, name="Ada"), at=NOW + 20 * HOUR), "heat>=70", True),
    "a segment": (deliver(set_to("1", ADA, 80, score="fit"), at=NOW + 20 * HOUR), "segment:cool", True),
    "an undo after it": (undo_the_tag, "tag:vip", True),
    "a merge after it": (merge_with_bob, "tag:vip", False),
    "a merge of three": (merge_three, "tag:vip", True),
    "a split after it": (split_from_bob, "tag:vip", True),
}


@pytest.mark.parametrize("database_url", DIALECTS[:1], indirect=True)
@pytest.mark.parametrize("by_time", [True, False], ids=["swept", "pushed"])
@pytest.mark.parametrize("story", STORIES)
async def test_a_condition_is_asked_of_the_contact_as_it_stood(storage: Storage, story: str, by_time: bool) -> None:
    """Whatever happens after the instant changes no answer, whether a sweep or a change of the scores looks first."""
    act, condition, is_met = STORIES[story]
    team = await condition_team(storage, f"{FADES} if {condition}", f"{HOLDS} if {condition}")
    await act(team)
    if not by_time:
        again = set_to("last", ADA, 100, score="heat"), change("last", ADA, Op.ADD, 1)
        await team.deliver(*again, batch="last", received=LATER)
    await sweep_rules(team.workspace, now=LATER)

    assert await list_firings(team) == ([(2, 10), (3, 10)] if is_met else [])


@pytest.mark.parametrize("by_time", [True, False], ids=["swept", "pushed"])
async def test_every_kind_that_time_brings_about_asks_of_its_instant(storage: Storage, by_time: bool) -> None:
    """A rule of each kind fires if the tag was there at its instant, and does not if the tag came later."""
    rules = [f"{trigger} if {condition}" for trigger in TRIGGERS for condition in ("tag:early", "tag:late")]
    team = await condition_team(storage, *rules)
    await team.deliver(field_item("1", ADA, tags=["early"]), batch="1", received=NOW + HOUR)
    await team.deliver(field_item("2", ADA, tags=["late"]), batch="2", received=NOW + 20 * HOUR)
    if not by_time:
        again = set_to("last", ADA, 100, score="heat"), change("last", ADA, Op.ADD, 1)
        await team.deliver(*again, batch="last", received=LATER)
    await sweep_rules(team.workspace, now=LATER)

    assert await list_firings(team) == [(2, 10), (4, 10), (6, 10), (8, 10)]
    for words in rules:
        trial = await try_alert(team.workspace, words=words, owners={}, now=LATER)
        expected = [(NOW + 10 * HOUR) // HOUR] if words.endswith("tag:early") else []
        assert (words, [at // HOUR for _, at in trial.firings]) == (words, expected)


@pytest.mark.parametrize(("early", "late", "expected"), [(True, True, [7]), (True, False, [7]), (False, True, [50])])
async def test_an_answer_decides_about_the_cooldown(
    storage: Storage, early: bool, late: bool, expected: list[int]
) -> None:
    """A firing without a matching condition starts no cool-down for the next one, even if one write decides both."""
    words = "heat enters warm cooldown 9d if tag:vip"
    team = await condition_team(storage, words)
    for at, is_vip in ((NOW + HOUR, early), (NOW + 20 * HOUR, late)):
        await team.deliver(field_item(f"{at}", ADA, tags=["vip"] if is_vip else []), batch=f"{at}", received=at)
    await team.deliver(set_to("1", ADA, 60, score="heat"), batch="1", received=NOW + 50 * HOUR)

    assert [at for _, at in await list_firings(team)] == expected  # it entered after 7.9 hours, and left after 41
    trial = await try_alert(team.workspace, words=words, owners={}, now=NOW + 51 * HOUR)
    assert [(at - NOW) // HOUR for _, at in trial.firings] == expected


@pytest.mark.parametrize("followup", ["none", "open"])
async def test_follow_ups_in_a_condition_are_those_of_now(storage: Storage, followup: str) -> None:
    """`followup:` sees a follow-up that was created after the instant."""
    team = await condition_team(storage, f"{HOLDS} if followup:{followup}", "fit crosses 40")
    await team.deliver(visit(at=NOW + 20 * HOUR), batch="visit", received=NOW + 20 * HOUR)
    await sweep_rules(team.workspace, now=LATER)

    assert await list_firings(team) == ([(3, 20)] if followup == "none" else [(2, 10), (3, 20)])


@pytest.mark.parametrize("database_url", DIALECTS[:1], indirect=True)
async def test_a_write_asks_for_all_who_fire_in_one_statement(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the instant is the write itself, no contact is folded, and only contacts that fire are asked about."""
    team = await condition_team(storage, "score crosses 50 if tag:vip")
    caplog.clear()
    with caplog.at_level("DEBUG", logger="tortoise.db_client"):
        await team.deliver(
            *(set_to(f"{n}", f"p{n}@example.com", 40 + n, fields={"tags": ["vip"]}) for n in range(20)), batch="many"
        )
    asking: list[Any] = [record.args for record in caplog.records if "tags_key LIKE" in record.getMessage()]
    folding = [record for record in caplog.records if "other_id IN" in record.getMessage()]

    assert (len(asking), len(folding)) == (1, 0)
    assert len(json.loads(asking[0][1][0])) == 10
    assert len(await list_firings(team)) == 10


@pytest.mark.parametrize("met", [True, False], ids=["met", "unmet"])
async def test_many_rules_are_asked_in_as_many_statements_as_one(
    storage: Storage, met: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A write that many rules with conditions fire for takes no more statements than one that a single rule fires for.

    Rules about another score type take none.
    """
    counts, fired = list[int](), list[int]()
    for team_number, (score, number) in enumerate([("score", 1), ("score", 20), ("heat", 0), ("heat", 20)]):
        team = await fading_team(storage, f"T0TEAM{team_number}")
        await pause_rule(team.workspace, rule=(await alert_rules(team.workspace))[0].id, by="U0ADMIN", now=NOW)
        for edge in range(21, 21 + number):
            words = f"{score} crosses {edge} if {'-' if met else ''}tag:no{edge}"
            await add_alert_rule(team.workspace, words=words, made_by="U1", owners={}, now=NOW)
        await team.deliver(set_to("1", ADA, 10), batch="1")
        caplog.clear()
        with caplog.at_level("DEBUG", logger="tortoise.db_client"):
            await team.deliver(set_to("2", ADA, 60), batch="2", received=NOW + HOUR)
        counts.append(len([record for record in caplog.records if isinstance(record.args, tuple)]))
        fired.append(len(await list_firings(team)))

    assert fired == ([1, 20, 0, 0] if met else [0, 0, 0, 0])
    assert counts[0] == counts[1] > counts[2] == counts[3]
