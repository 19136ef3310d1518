"""A decision that time alone brings about has its own instant, whether a score change or a sweep evaluates it first."""

import logging
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.alerts.followup_moves import apply_move
from storage.alerts.followups import list_overdue, list_steps, load_follow_ups
from storage.alerts.hours import choose_working_hours
from storage.alerts.memory import count_suppressed
from storage.alerts.rules import alert_rules, pause_rule
from storage.alerts.simulate import CHANGES, NEWEST, try_alert
from storage.alerts.sweep import sweep_rules
from storage.bootstrap import Storage
from storage.domain.contacts import Json
from storage.domain.facts import Op
from storage.domain.filters import BadFilter, Candidate, parse
from storage.domain.followups import FollowUpMove, FollowUpState
from storage.domain.people import Workspace
from storage.domain.score_types import Band
from storage.domain.submissions import Submission
from storage.reading.pages import page
from storage.scoring.definitions import add_score_type, score_types
from storage.workspaces import add_workspace
from tests.counts import report_counts
from tests.storage import firings, raw
from tests.storage.teams import DAY, NOW, SECOND, Team, change, field_item, set_to

ADA, BOB = "ada@example.com", "bob@example.com"
HOUR = DAY // 24
MINUTE = 60 * SECOND
BANDS = (Band(name="cold", start=-100_000), Band(name="warm", start=40_000), Band(name="hot", start=80_000))


async def fading_team(storage: Storage, team: str, *rules: str) -> Team:
    """Return a team with a type that has a half-life of a day, and rules about the type."""
    workspace = await add_workspace(team, name="Acme", by="U0ADMIN", now=NOW)
    await add_score_type(
        workspace, key="heat", label="Heat", minimum=-100_000, maximum=100_000, step=1_000, start=0, bands=BANDS,
        half_life=DAY, is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    await choose_channel(workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    for words in rules:
        await add_alert_rule(workspace, words=words, made_by="U1", owners={}, now=NOW)
    return Team(workspace)


AROUND_THE_CLOCK = (0, 24 * 60)  #: working hours from Monday to Friday


async def list_follow_up_rows(workspace: Workspace) -> list[tuple[int, int, int, str, int]]:
    """Return for each follow-up: contact, creation time, score, state and the time of that state."""
    follow_ups = await load_follow_ups(workspace, ids=range(1, 5_000))
    first = min((follow_up.contact for follow_up in follow_ups), default=0)
    return sorted(
        (
            follow_up.contact - first,
            follow_up.asked_at - NOW,
            follow_up.after or 0,
            follow_up.standing.state.value,
            follow_up.changed_at - NOW,
        )
        for follow_up in follow_ups
    )


RULES = (
    "heat crosses below 30 cooldown 1h",
    "heat crosses below 30 cooldown 1h if tag:vip",
    "heat crosses 50 hold 9h cooldown 1h",
    "heat crosses 50 hold 9h cooldown 1h if tag:vip",
    "heat about to fall out of hot in 6h cooldown 1h",
    "heat about to fall out of hot in 6h cooldown 1h if tag:vip",
    "heat untouched for 2d cooldown 1h if score>=50",
    "heat enters warm margin 30 cooldown 12h if updated<12h OR heat falling 5 in 2d",
)
#: in a channel of their own: a follow-up of several score types depends on when each of them is looked at
IN_HEAT = [f"{words} in <#C0HEAT>" for words in RULES]
#: (place of a rule, place of the same rule with the condition `tag:vip`)
TWINS = ((0, 1), (2, 3), (4, 5))


@dataclass(frozen=True, slots=True)
class Tagging:
    """A delivery that adds or removes the tag of a contact; a late one happened before it was received."""

    contact: int
    received: int
    happened: int
    is_vip: bool


def was_vip(taggings: Sequence[Tagging], contact: int, at: int) -> bool:
    """Return whether a contact had the tag just before *at*, by the deliveries received until then."""
    known = [tagging for tagging in taggings if tagging.contact == contact and tagging.received < at]
    return bool(known) and max(known, key=lambda tagging: (tagging.happened, tagging.received)).is_vip


async def list_firings(workspace: Workspace) -> list[tuple[int, int, int]]:
    """Return for each firing: the place of its rule, the number of its contact, and its time."""
    rules = [rule.id for rule in await alert_rules(workspace)]
    cards = (await page(workspace, query=parse("", ()), limit=99, now=NOW)).cards
    number_of = {card.contact.id: int((card.contact.email or "").removeprefix("p").split("@")[0]) for card in cards}
    return sorted(
        (rules.index(rule) - 1, number_of[contact], at) for rule, contact, at in await firings.list_firings(workspace)
    )


async def test_swept_or_not_the_same_is_asked_at_the_same_instants(storage: Storage) -> None:
    """Teams with the same deliveries, swept before each, at random or only at the end, have the same follow-ups.

    Between an instant and the look at it, tags and other scores change too, some late. A rule with a condition fires
    exactly when the same rule without one does and the contact had the tag.
    """
    often, swept, unswept = [await fading_team(storage, name, *IN_HEAT) for name in ("T0ONE", "T0TWO", "T0THREE")]
    dice, at, looked, taggings = random.Random(5), NOW, 0, list[Tagging]()
    for number in range(80):
        at += dice.randrange(HOUR, 5 * HOUR)
        contact, happened = dice.randrange(12), at - dice.choice([0, 0, 0, DAY])
        key, email, kind = f"c{number}", f"p{contact}@example.com", dice.random()
        if kind < 0.45:
            item = set_to(key, email, dice.choice([-90, -60, 20, 55, 75, 90, 100]), score="heat", at=happened)
        elif kind < 0.65:
            item = change(key, email, Op.ADD, dice.randint(-30, 60), score="heat")
        elif kind < 0.9:
            taggings.append(Tagging(contact, at, happened, is_vip=dice.random() < 0.6))
            tags: list[Json] = ["vip"] if taggings[-1].is_vip else []
            item = field_item(key, email, at=happened, tags=tags)
        else:
            item = set_to(key, email, dice.choice([20, 80]), at=happened)
        looked += await sweep_rules(often.workspace, now=at)
        for team in (often, swept, unswept):
            await team.deliver(item, batch=key, received=at)
        if dice.random() < 0.3:
            looked += await sweep_rules(swept.workspace, now=at + dice.randrange(HOUR))
    at += 9 * DAY
    for team in (often, swept, unswept):
        await sweep_rules(team.workspace, now=at)
        assert await sweep_rules(team.workspace, now=at + MINUTE) <= 200  # and no follow-up is created again
    first, *others = [await list_follow_up_rows(team.workspace) for team in (often, swept, unswept)]
    firings = await list_firings(unswept.workspace)

    assert others == [first, first]
    assert [await list_firings(team.workspace) for team in (often, swept)] == [firings, firings]
    with_tag = without_tag = 0
    for plain, conditional in TWINS:
        all_firings = [(contact, at) for rule, contact, at in firings if rule == plain]
        expected = [(contact, at) for contact, at in all_firings if was_vip(taggings, contact, at)]
        assert [(contact, at) for rule, contact, at in firings if rule == conditional] == expected
        with_tag, without_tag = with_tag + len(expected), without_tag + len(all_firings) - len(expected)
    states = Counter(state for *_, state, _ in first)
    report_counts(
        "swept or not",
        {
            "follow-ups": len(first), "closed": states["closed"], "with the tag": with_tag,
            "without the tag": without_tag, "looked at in sweeps": looked,
        },
    )  # fmt: skip  # a table of counts
    assert len(first) >= 25
    assert states["closed"] >= 10
    assert len(firings) >= 60
    assert min(with_tag, without_tag) >= 10


async def test_a_sweep_asks_at_the_instant_and_says_when_it_is_not_the_score(storage: Storage) -> None:
    """A sweep dates a follow-up at the crossing, or at the instant six hours before the score falls out of a band."""
    team = await fading_team(
        storage, "T0ACME", "heat crosses below 80", "heat about to fall out of warm in 6h in digest"
    )
    await team.deliver(set_to("1", ADA, 100, score="heat"))
    await sweep_rules(team.workspace, now=NOW + 7 * HOUR)
    assert await list_follow_up_rows(team.workspace) == []
    assert await sweep_rules(team.workspace, now=NOW + 40 * HOUR) == 2
    first, second = await load_follow_ups(team.workspace, ids=range(1, 10))

    assert round((first.asked_at - NOW) / HOUR, 2) == 7.94
    assert (first.before, first.after, first.source, first.why) == (80_000, 79_000, "", None)
    assert round((second.asked_at - NOW) / HOUR, 2) == 26.16  # 24 log2(100 / 39.5) less 6
    assert (second.why, second.lane) == ("heat about to fall out of warm in 6h", "digest")


async def test_what_holds_is_asked_for_when_it_comes_due(storage: Storage) -> None:
    """A hold fires when it is over, even in a type that does not fade, unless the contact left meanwhile."""
    team = await fading_team(storage, "T0ACME", "score crosses 50 hold 2h")
    await team.deliver(set_to("1", ADA, 60), set_to("2", BOB, 60))
    await team.deliver(set_to("3", BOB, 40), received=NOW + HOUR)
    await sweep_rules(team.workspace, now=NOW + 2 * HOUR - 1)
    assert await list_follow_up_rows(team.workspace) == []
    await sweep_rules(team.workspace, now=NOW + 2 * HOUR)
    assert await list_follow_up_rows(team.workspace) == [(0, 2 * HOUR, 60_000, "open", 2 * HOUR)]


async def test_a_sweep_while_the_clock_was_ahead_does_not_hold_up_the_next(storage: Storage) -> None:
    """After the clock is set back by thirty days, sweeps still find fading scores and pending holds."""
    team = await fading_team(storage, "T0ACME", "heat crosses below 80", "score crosses 50 hold 2h")
    await sweep_rules(team.workspace, now=NOW + 30 * DAY)
    await team.deliver(set_to("1", ADA, 100, score="heat"), set_to("2", BOB, 60))
    await sweep_rules(team.workspace, now=NOW + HOUR)
    assert await list_follow_up_rows(team.workspace) == []
    await sweep_rules(team.workspace, now=NOW + 9 * HOUR)

    assert [(contact, round(at / HOUR, 2)) for contact, at, *_ in await list_follow_up_rows(team.workspace)] == [
        (0, 7.94),
        (1, 2),
    ]


async def test_who_is_untouched_is_asked_for_once(storage: Storage) -> None:
    """An untouched contact creates one follow-up; a touch closes the follow-up, and the rule may fire again."""
    workspace = (await fading_team(storage, "T0ACME")).workspace
    team = Team(workspace)
    await team.deliver(set_to("1", ADA, 60, at=NOW - 9 * DAY), set_to("2", BOB, 60, at=NOW - DAY))
    await add_alert_rule(workspace, words="score untouched for 5d cooldown 1h", made_by="U1", owners={}, now=NOW)
    await sweep_rules(workspace, now=NOW + 6 * DAY)
    assert await list_follow_up_rows(workspace) == [(0, 4 * DAY, 60_000, "open", 4 * DAY)]
    await team.deliver(set_to("4", ADA, 61), set_to("3", BOB, 60, at=NOW + 7 * DAY), received=NOW + 7 * DAY)
    await sweep_rules(workspace, now=NOW + 13 * DAY)
    assert await list_follow_up_rows(workspace) == [
        (0, 12 * DAY, 61_000, "open", 12 * DAY),
        (1, 4 * DAY, 60_000, "closed", 7 * DAY),
        (1, 12 * DAY, 60_000, "open", 12 * DAY),
    ]


async def test_what_moved_within_a_time_is_asked_for_once_in_it(storage: Storage) -> None:
    """A rule about movement compares with the score a week ago, fires once per week, and skips new contacts."""
    team = await fading_team(storage, "T0ACME", "score moved 15 in 7d cooldown 1h", "heat rises 15 in 7d cooldown 1h")
    await pause_rule(team.workspace, rule=1, by="U0ADMIN", now=NOW)
    await team.deliver(set_to("1", ADA, 50, at=NOW), set_to("2", BOB, 80, at=NOW))
    for number, (day, ada, bob) in enumerate([(3, 60, 80), (8, 66, 66), (9, 30, 65), (15, 31, 90), (16, 70, 65)]):
        items = (set_to(f"a{number}", ADA, ada), set_to(f"b{number}", BOB, bob))
        await team.deliver(*items, received=NOW + day * DAY)
    of_ada, of_bob = await load_follow_ups(team.workspace, ids=range(1, 100))

    assert [((at - NOW) // DAY, contact) for _, contact, at in await firings.list_firings(team.workspace)] == [
        (8, of_ada.contact), (15, of_ada.contact), (9, of_bob.contact),
    ]  # fmt: skip  # days and contacts, by contact
    assert [(follow_up.before, follow_up.after) for follow_up in (of_ada, of_bob)] == [
        (50_000, 66_000),
        (80_000, 65_000),
    ]
    assert [(rule.before, rule.after) for rule in of_ada.rules] == [(66_000, 31_000)]  # the last of its firings
    assert {follow_up.why for follow_up in (of_ada, of_bob)} == {"score moved 15 in 7d"}


async def test_a_muted_change_mutes_only_itself(storage: Storage) -> None:
    """A muted change counts its own crossing as muted; a crossing by fading before it still creates a follow-up."""
    team = await fading_team(storage, "T0ACME", "heat crosses below 60")
    await team.deliver(set_to("1", ADA, 90, score="heat"), set_to("2", BOB, 90, score="heat"))
    muted = Submission(
        source="import", batch="import/1", received_at=NOW + DAY, muted=True,
        items=[set_to("3", ADA, 95, score="heat")],
    )  # fmt: skip  # what and how
    assert (await team.record(muted)).muted_follow_ups == 0
    assert [entry[3] for entry in await list_follow_up_rows(team.workspace)] == ["closed"]
    muted = Submission(
        source="import", batch="import/2", received_at=NOW + DAY // 8, muted=True,
        items=[set_to("4", BOB, 10, score="heat")],
    )  # fmt: skip  # what and how
    assert (await team.record(muted)).muted_follow_ups == 1
    assert len(await list_follow_up_rows(team.workspace)) == 1


async def test_a_change_that_changes_nothing_settles_what_was_before_it(storage: Storage) -> None:
    """A crossing by fading before a change counts, even if the change sets the score to what is left of it."""
    team = await fading_team(storage, "T0ACME", "heat crosses below 60")
    await team.deliver(set_to("1", ADA, 100, score="heat"))
    await team.deliver(set_to("2", ADA, 50, score="heat"), received=NOW + DAY)
    assert [entry[1] // HOUR for entry in await list_follow_up_rows(team.workspace)] == [17]


async def test_what_rises_by_itself_is_swept_too(storage: Storage) -> None:
    """A score below its start rises toward it: with a half-life of a day -60 is shown as -30 after 23.4 hours."""
    team = await fading_team(storage, "T0ACME", "heat crosses -30")
    await team.deliver(set_to("1", ADA, -60, score="heat"))
    await sweep_rules(team.workspace, now=NOW + 2 * DAY)
    assert [(round(entry[1] / HOUR), entry[2]) for entry in await list_follow_up_rows(team.workspace)] == [
        (23, -30_000)
    ]


async def test_what_is_heard_late_decides_nothing_before_it_was_heard(storage: Storage) -> None:
    """A late fact creates no follow-up for a time before it was received, when the score crossed the band unseen."""
    team = await fading_team(storage, "T0ACME", "heat enters warm")
    await team.deliver(set_to("1", ADA, 100, score="heat", at=NOW + HOUR), received=NOW + 3 * DAY)
    await sweep_rules(team.workspace, now=NOW + 3 * DAY + MINUTE)
    assert await list_follow_up_rows(team.workspace) == []


async def test_within_the_rest_an_edge_is_spent_and_counted(storage: Storage) -> None:
    """A crossing within the cool-down creates no follow-up, and the list of rules counts it."""
    team = await fading_team(storage, "T0ACME")
    for number, value in enumerate((90, 10, 90, 10, 90)):
        await team.deliver(set_to(str(number), ADA, value), received=NOW + number)

    assert await count_suppressed(team.workspace) == {1: 2}


async def test_a_claim_ends_and_what_nobody_claims_is_escalated(storage: Storage) -> None:
    """A claim expires, an unclaimed follow-up escalates, each move is recorded, and handled ones are left alone."""
    team = await fading_team(storage, "T0ACME", "score crosses 50 sla 4h escalate to <@U0JANE>")
    await choose_working_hours(team.workspace, hours=AROUND_THE_CLOCK, by="U0ADMIN", now=NOW)
    await pause_rule(team.workspace, rule=1, by="U0ADMIN", now=NOW)
    await team.deliver(set_to("1", ADA, 60), set_to("2", BOB, 60))
    workspace = team.workspace
    assert await list_overdue(workspace, most=9, now=NOW + 4 * HOUR - 1) == []
    early = await apply_move(workspace, id=1, move=FollowUpMove.ESCALATE, by=None, now=NOW + 4 * HOUR - 1)
    assert early.standing.state is FollowUpState.OPEN
    await apply_move(workspace, id=2, move=FollowUpMove.CLAIM, by="U1", now=NOW + HOUR)
    late = await apply_move(workspace, id=1, move=FollowUpMove.ESCALATE, by=None, now=NOW + 4 * HOUR)
    assert (late.standing.state, late.standing.holder, late.escalate_to) == (FollowUpState.ESCALATED, None, "U0JANE")
    assert [follow_up.id for follow_up in await list_overdue(workspace, most=9, now=NOW + 5 * HOUR)] == [1]

    claimed = await apply_move(workspace, id=1, move=FollowUpMove.CLAIM, by="U0JANE", now=NOW + 5 * HOUR)
    assert (claimed.until, claimed.late_at) == (NOW + 5 * HOUR + 3 * DAY, None)
    assert await list_overdue(workspace, most=9, now=NOW + 6 * HOUR) == []
    still = await apply_move(workspace, id=1, move=FollowUpMove.RELEASE, by=None, now=NOW + 3 * DAY)
    assert still.standing.state is FollowUpState.CLAIMED
    again = await apply_move(workspace, id=1, move=FollowUpMove.RELEASE, by=None, now=NOW + 5 * HOUR + 3 * DAY)
    assert (again.standing.state, again.late_at) == (FollowUpState.OPEN, NOW + 4 * DAY + 4 * HOUR)  # Monday
    assert [
        (step.move, step.state.value, step.by, (step.at - NOW) // HOUR) for step in await list_steps(workspace, id=1)
    ] == [
        ("asked", "open", None, 0),
        ("escalate", "escalated", None, 4),
        ("claim", "claimed", "U0JANE", 5),
        ("release", "open", None, 77),
    ]


@pytest.mark.parametrize("back", [HOUR, 3 * DAY], ids=["an hour back", "three days back"])
async def test_a_clock_that_is_put_back_asks_for_nothing_twice(storage: Storage, back: int) -> None:
    """A clock that is set back creates no follow-up twice, and a clock that jumps ahead creates the skipped ones."""
    team = await fading_team(storage, "T0ACME", "heat crosses below 60", "score crosses 50 hold 2h")
    await team.deliver(set_to("1", ADA, 90, score="heat"), set_to("2", BOB, 70))
    await sweep_rules(team.workspace, now=NOW + 4 * DAY)
    before = await list_follow_up_rows(team.workspace)
    assert len(before) == 2
    for at in (NOW + 4 * DAY - back, NOW + 4 * DAY, NOW + 5 * DAY):
        await sweep_rules(team.workspace, now=at)
    assert await list_follow_up_rows(team.workspace) == before


async def test_filters_ask_where_follow_ups_stand(storage: Storage) -> None:
    """Filters by follow-up state agree with their specification in Python; a closed follow-up counts as none."""
    team = await fading_team(storage, "T0ACME", "score crosses 50 sla 1h escalate to <@U0JANE>")
    await choose_working_hours(team.workspace, hours=AROUND_THE_CLOCK, by="U0ADMIN", now=NOW)
    await pause_rule(team.workspace, rule=1, by="U0ADMIN", now=NOW)
    names = ("open", "claimed", "snoozed", "escalated", "done", "none")
    await team.deliver(*(set_to(name, f"{name}@example.com", 10 if name == "none" else 60) for name in names))
    for id, way, until in (
        (2, FollowUpMove.CLAIM, None),
        (3, FollowUpMove.SNOOZE, NOW + DAY),
        (5, FollowUpMove.DONE, None),
    ):
        await apply_move(team.workspace, id=id, move=way, by="U1", until=until, now=NOW)
    await apply_move(team.workspace, id=4, move=FollowUpMove.ESCALATE, by=None, now=NOW + HOUR)
    types = await score_types(team.workspace)
    stands = {name: (name,) if name not in ("done", "none") else () for name in names}
    cells = 0
    for text in (
        *("followup:open", "followup:claimed", "followup:snoozed", "followup:escalated", "followup:none"),
        *("-followup:none", "followup:(claimed,none)", "followup:open OR score<20", "-followup:(open,snoozed)"),
    ):
        contact_filter = parse(text, types)
        emails = [
            card.contact.email for card in (await page(team.workspace, query=contact_filter, limit=99, now=NOW)).cards
        ]
        people = [
            Candidate(
                id=1,
                email=f"{name}@example.com",
                values={"score": 60_000 - 50_000 * (name == "none")},
                follow_ups=follow_ups,
            )
            for name, follow_ups in stands.items()
        ]
        assert (text, emails) == (text, [person.email for person in people if contact_filter.matches(person)])
        cells += len(emails)
    assert cells >= 15
    with pytest.raises(BadFilter, match="claimed"):
        parse("followup:claimd", types)


EACH_KIND = [
    "heat crosses 60 cooldown 1h", "heat crosses below 30 cooldown 3d", "heat enters warm cooldown 12h",
    "heat about to fall out of hot in 6h", "heat untouched for 2d cooldown 1h",
    "heat crosses 50 hold 9h cooldown 1h", "heat moved 40 in 2d cooldown 1h",
    "heat falls 30 in 1d cooldown 1h if tag:vip", "heat crosses below 30 cooldown 1d if tag:vip score>=50",
]  # fmt: skip  # one of each kind


# The kinds differ in decisions, not in statements; on PostgreSQL one with a span, one with a hold and one with
# conditions are enough.
@pytest.mark.parametrize(
    ("database_url", "words"),
    [*(("sqlite", words) for words in EACH_KIND), *(("postgres", EACH_KIND[number]) for number in (4, 5, 8))],
    indirect=["database_url"],
)
async def test_what_a_rule_would_have_asked_for_is_what_it_asks_for(storage: Storage, words: str) -> None:
    """A simulation over the ledger of thirty days finds the follow-ups that the rule created in those days."""
    team = await fading_team(storage, "T0ACME", words)
    dice, at = random.Random(words), NOW
    for number in range(12):
        tags = ["vip"] if number % 2 else []
        await team.deliver(field_item(f"s{number}", f"p{number}@example.com", tags=tags), received=at)  # type: ignore[arg-type]  # JSON
    for number in range(90):
        at += dice.randrange(1, 12 * HOUR)
        item = set_to(f"c{number}", f"p{dice.randrange(12)}@example.com", dice.randint(-100, 100), score="heat", at=at)
        await team.deliver(item, batch=f"c{number}", received=at)
        if "if tag" in words:
            at += dice.randrange(1, HOUR)
            tags = ["vip"] if dice.random() < 0.5 else []
            item = set_to(
                f"f{number}", f"p{dice.randrange(12)}@example.com", dice.choice([80, 20]), fields={"tags": tags}
            )
            await team.deliver(item, batch=f"f{number}", received=at)
    end = NOW + 29 * DAY
    await sweep_rules(team.workspace, now=end)
    expected = [(contact, at) for rule, contact, at in await firings.list_firings(team.workspace) if rule == 2]
    trial = await try_alert(team.workspace, words=words, owners={}, now=end)

    assert sorted(trial.firings) == sorted(expected)
    assert trial.spent == (await count_suppressed(team.workspace)).get(2, 0)
    assert len(expected) >= 5


async def test_a_rule_is_tried_a_part_of_the_contacts_at_a_time(
    storage: Storage, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A simulation loads a limited number of changes at a time, and evaluates every contact."""
    team, contacts, turns, busy = (
        Team(await add_workspace("T0MANY", name="Acme", by="U0ADMIN", now=NOW)),
        1_200,
        12,
        5,
    )
    await team.deliver(*(set_to(f"{n}", f"p{n}@example.com", 10, at=NOW - 40 * DAY) for n in range(contacts)))
    # All scores go to 90 and back; one contact has many more changes than are loaded at a time.
    facts = (
        "INSERT INTO facts (workspace_id, contact_id, kind, source, dedupe_key, subject, op, amount, said,"
        " occurred_at, received_at, batch) SELECT 1, {who}, 'change', 'crm', {key}, 'score', 'set', 0, '{{}}', {at}, 0,"
        " {key} FROM (WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < {number})"
        " SELECT n FROM g) g{beside}"
    )
    everybody = facts.format(
        who="c.id", key="'e' || c.id || '/' || g.n", at=f"{NOW - 14 * DAY} + g.n * CAST({DAY} AS BIGINT)", number=turns,
        beside=f", contacts c WHERE c.id <> {busy}",
    )  # fmt: skip  # who, when and how often
    single = facts.format(
        who=busy, key="'b' || g.n", at=f"{NOW - 10 * DAY} + g.n * CAST({SECOND} AS BIGINT)", number=CHANGES + 9,
        beside="",
    )  # fmt: skip  # as above
    effects = (
        "INSERT INTO effects (workspace_id, contact_id, definition_id, fact_id, at, asked, effective, rank_after,"
        " capped) SELECT 1, contact_id, 1, id, occurred_at, 0, 0, CASE WHEN (id % 2 = 0) THEN 90000 ELSE 10000 END, 0"
        f" FROM facts WHERE occurred_at > {NOW - 30 * DAY}"
    )
    for sql in (everybody, single, effects, f"UPDATE scores SET last_at = {NOW}"):
        await raw.rows(database_url, sql)
    rises = await raw.rows(
        database_url,
        "SELECT count(*) AS n FROM (SELECT rank_after, lag(rank_after, 1, 10000) OVER (PARTITION BY contact_id"
        " ORDER BY at) AS before FROM effects) e WHERE before = 10000 AND rank_after = 90000",
    )
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        trial = await try_alert(team.workspace, words="score crosses 80 cooldown 1h", owners={}, now=NOW)

    reads = [record.args for record in caplog.records if isinstance(record.args, tuple)]
    read = [len(await raw.rows(database_url, str(sql), *values)) for sql, values in reads]  # type: ignore[misc]
    assert trial.number + trial.spent == rises[0]["n"]
    assert max(read) < CHANGES + turns
    assert sum(read) > contacts * turns
    assert [at for _, at in trial.firings] == sorted((at for _, at in trial.firings), reverse=True)
    assert len(trial.firings) == NEWEST
