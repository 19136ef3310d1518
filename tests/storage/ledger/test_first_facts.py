"""A rule that holds for an empty contact counts from the contact's first fact on, whatever kind of fact it is."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.alerts.followups import load_follow_ups
from storage.bootstrap import Storage
from storage.db.database import current_database
from storage.domain.contacts import Reference
from storage.domain.facts import Item, Merge, Op
from storage.domain.score_types import Rule
from storage.ledger.verify import verify_next
from storage.reading.history import why
from storage.scoring.definitions import add_score_type, score_type
from storage.scoring.drafts import apply, create_draft
from storage.scoring.fold_marked import fold_again
from storage.workspaces import add_workspace
from tests.counts import report_counts
from tests.storage.teams import DAY, NOW, SECOND, Team, change, field_item, set_to

ADA, BOB = "ada@example.com", "bob@example.com"
PROSPECT = Rule(name="No customer yet", points=7_000, condition="-tag:customer")
VISIT = Rule(name="Visit", activity="visit", points=1_000)


@pytest.fixture
async def team(storage: Storage) -> Team:
    """Return a team with a score type that has a single attribute rule, a negation."""
    team = Team(await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW))
    await add_score_type(
        team.workspace, key="fresh", label="Fresh", minimum=0, maximum=100_000, step=1_000, bands=(), start=0,
        rules=(PROSPECT, VISIT), is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # the numbers of one definition stand together
    return team


@pytest.mark.parametrize(
    "item",
    [
        set_to("a", ADA, 5, at=NOW - DAY),
        field_item("a", ADA, at=NOW - DAY, company="Acme"),
        field_item("a", ADA, at=NOW - DAY),
        Item(key="a", contact=Reference(email=ADA), activity="left", amount=1_000, occurred_at=NOW - DAY),
    ],
    ids=["another score", "a field", "an address alone", "an activity without a rule"],
)
async def test_any_first_fact_makes_the_score(team: Team, item: Item) -> None:
    """Any first fact creates the score, dated at that fact; later facts change only what a rule depends on."""
    await team.deliver(item)
    assert await team.value(ADA, "fresh") == 7_000
    await team.deliver(field_item("b", ADA, company="Engines"), set_to("c", ADA, 6), batch="b", received=NOW + SECOND)
    assert [(line.occurred_at, line.effective) for line in await team.lines(ADA, "fresh")] == [(NOW - DAY, 7_000)]
    _, explanation = await why(
        team.workspace, contact=(await team.contact(ADA)).id, score="fresh", most=9, now=NOW + DAY
    )
    assert explanation is not None
    assert [(line.rule, line.occurred_at) for line in explanation.contributions] == [(PROSPECT.name, NOW - DAY)]
    await team.deliver(field_item("d", ADA, tags=["customer"]), batch="d", received=NOW + 2 * SECOND)
    assert await team.value(ADA, "fresh") is None
    assert (await verify_next(team.workspace)).differences == ()


async def test_only_what_moves_a_score_is_reported_of_it(team: Team) -> None:
    """A later change of another score is not reported as a change of this score."""
    first = await team.ask(set_to("a", ADA, 5), batch="a")
    second = await team.ask(set_to("b", ADA, 6), batch="b", received=NOW + SECOND)
    assert [(move.score_type.key, move.before, move.after) for move in first.score_changes] == [
        ("score", None, 5_000),
        ("fresh", None, 7_000),
    ]
    assert [move.score_type.key for move in second.score_changes] == ["score"]


async def test_a_late_first_fact_and_an_undone_one_date_the_score_anew(team: Team) -> None:
    """The base of a score is dated at the contact's first fact in force, after late facts, undos and merges too."""
    await team.ask(set_to("a", ADA, 5), batch="a")
    await team.deliver(change("late", ADA, Op.ADD, 5, at=NOW - DAY), batch="late")
    assert [line.occurred_at for line in await team.lines(ADA, "fresh")] == [NOW - DAY]
    await team.ask(set_to("b", BOB, 5), batch="b")
    await team.deliver(change("later", BOB, Op.ADD, 5), batch="later", received=NOW + SECOND)
    await team.undo("b", batch="u", received=NOW + DAY)
    assert [line.occurred_at for line in await team.lines(BOB, "fresh")] == [NOW + SECOND]
    await team.ask(
        Merge(key="m", contact=Reference(email=BOB), into=Reference(email=ADA)), batch="m", received=NOW + DAY
    )
    assert [line.occurred_at for line in await team.lines(ADA, "fresh")] == [NOW - DAY]
    assert (await verify_next(team.workspace)).differences == ()


async def test_any_order_of_arrival_ends_the_same(team: Team) -> None:
    """Facts in any order of arrival, beside a draft with another negation, give the scores of a complete fold."""
    dice, counts = random.Random(4), Counter[str]()
    live = await score_type(team.workspace, key="fresh")
    other = replace(PROSPECT, name="Unknown company", condition="-company:acme")
    drafted = await create_draft(team.workspace, proposed=replace(live, rules=(other, PROSPECT)), by="U0ADMIN", now=NOW)
    assert drafted is not None
    for number in range(60):
        person = Reference(email=f"p{dice.randrange(12)}@example.com")
        common = {"key": f"{number}", "contact": person, "occurred_at": NOW - dice.randrange(9) * DAY}
        kind, batch = dice.randrange(4), f"b{number}"
        if kind == 0:
            item = Item(**common, score="score", op=Op.ADD, amount=1_000)  # type: ignore[arg-type]  # named arguments
        elif kind == 1:
            item = Item(**common, activity=dice.choice(["visit", "left"]), amount=1_000)  # type: ignore[arg-type]  # named arguments
        else:
            item = Item(**common, fields=dice.choice([{"tags": ["customer"]}, {"tags": []}, {"company": "Acme"}]))  # type: ignore[arg-type]  # named arguments
        await team.ask(item, batch=batch)
        if dice.random() < 0.2:
            await team.undo(batch, batch=f"u{number}")
    checked = await verify_next(team.workspace)
    assert checked.differences == ()
    await apply(team.workspace, draft=drafted, with_alerts=False, by="U0ADMIN", clock=lambda: NOW)
    assert (await verify_next(team.workspace)).differences == ()
    counts["scores"] = checked.scores
    report_counts("scores from the first fact on", counts)
    assert counts["scores"] >= 12


async def test_scores_that_a_migration_makes_appear_ask_nobody(team: Team) -> None:
    """A score that a migration creates fires no rule: the contact is enrolled as inside."""
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await add_alert_rule(team.workspace, words="fresh crosses 5", made_by="U1", owners={}, now=NOW)
    writer = current_database().writer
    (row,) = await writer.rows("SELECT id, rules FROM definitions WHERE rules <> '[]'")
    await writer.rows("UPDATE definitions SET rules = '[]' WHERE id = $1", row["id"])  # as in an earlier version
    await team.deliver(set_to("a", ADA, 5), set_to("b", BOB, 6))
    await writer.rows("UPDATE definitions SET rules = $2, to_fold = $3 WHERE id = $1", row["id"], row["rules"], True)
    assert await team.value(ADA, "fresh") is None

    assert await fold_again(now=NOW) >= 2

    assert (await team.value(ADA, "fresh"), await team.value(BOB, "fresh")) == (7_000, 7_000)
    visit = Item(key="v", contact=Reference(email=ADA), activity="visit", amount=1_000)
    await team.deliver(visit, batch="v", received=NOW + SECOND)
    assert await team.value(ADA, "fresh") == 8_000
    assert await load_follow_ups(team.workspace, ids=range(1, 9)) == []
    assert (await verify_next(team.workspace)).differences == ()
