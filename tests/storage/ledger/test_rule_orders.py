"""With rules, caps and conditions the order of arrival does not matter either, and each score is fully explained."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.alerts.enroll import add_alert_rule
from storage.alerts.followups import load_follow_ups
from storage.alerts.sweep import sweep_rules
from storage.bootstrap import Storage
from storage.db.database import read
from storage.domain.contacts import Json, Reference
from storage.domain.facts import DAY, Item, Op
from storage.domain.filters import parse
from storage.domain.score_types import Rule, RuleCap, ScoreType
from storage.ledger.verify import verify_next
from storage.reading.current_scores import cards_of, top
from storage.reading.history import why
from storage.reading.pages import count as number_of
from storage.scoring.definitions import add_score_type, score_types
from storage.scoring.drafts import build, create_draft
from storage.workspaces import add_workspace
from tests.counts import THOROUGH, report_counts
from tests.storage import raw
from tests.storage.teams import NOW, Team

teams = count(1)
KEYS = ("score", "heat", "ruled")
RULES = (
    Rule(name="Visit", activity="visit", points=2_000, cap=RuleCap(points=5_000, period="day", group="web")),
    Rule(name="Click", activity="click", points=3_000, cap=RuleCap(points=5_000, period="day", group="web")),
    Rule(name="Demo", activity="demo", points=15_000, condition="company:acme OR attributes.seats>=10"),
    Rule(name="Complaint", activity="complaint", points=-40_000, cap=RuleCap(points=60_000, period="ever")),
    Rule(name="Left", activity="left", points=4_000, condition="attributes.seen<1d"),
    Rule(name="VIP", points=25_000, condition="tag:vip"),
    Rule(name="Seats", points=3_000, for_each="attributes.seats / 5", at_most=5_000),
)
LOG = Path(os.environ.get("CDNOW_LOG", Path(__file__).parents[2] / "data" / "cdnow_2000.txt"))  # all, or 2,000 lines
COMPANIES, SEATS, SEEN = ("Acme", "Other"), (5, 10, "-11"), ("2025-12-31", "2025-12-30T08:00:00Z", (NOW - DAY) // 1000)
TAGS: tuple[list[Json], ...] = (["vip"], [], ["new"])


@st.composite
def stories(draw: st.DrawFn) -> list[Item]:
    """Choose facts of one source about two contacts, some at the same time."""
    items = []
    for number in range(draw(st.integers(2, 14))):
        reference = Reference(email=draw(st.sampled_from(["ada@example.com", "bob@example.com"])))
        at = NOW - draw(st.integers(0, 6)) * DAY // 3
        fields = draw(
            st.dictionaries(
                st.sampled_from(["company", "attributes.seats", "attributes.seen", "tags"]),
                st.integers(0, 2),
                max_size=2,
            )
        )
        values = {"company": COMPANIES, "attributes.seats": SEATS, "attributes.seen": SEEN, "tags": TAGS}
        fields_ = {name: values[name][n % len(values[name])] for name, n in fields.items()}
        kind = draw(st.sampled_from(["activity", "activity", "change", "fields"]))
        common = {"key": f"k{number}", "contact": reference, "occurred_at": at, "fields": fields_}
        if kind == "activity":
            activity = draw(st.sampled_from(["visit", "click", "demo", "complaint", "left"]))
            items.append(Item(**common, activity=activity, amount=draw(st.sampled_from([1000, 1000, 2500]))))  # type: ignore[arg-type]  # named arguments
        elif kind == "change":
            op = draw(st.sampled_from(list(Op)))
            amount = 0 if op is Op.CLEAR else draw(st.integers(0, 100)) * 1000
            items.append(Item(**common, score=draw(st.sampled_from(["heat", "score"])), op=op, amount=amount))  # type: ignore[arg-type]  # named arguments
        else:
            items.append(Item(**common))  # type: ignore[arg-type]  # named arguments
    return items


async def team_with_rules(storage: Storage) -> Team:
    """Return a team with rules in a type that keeps its value and in one that fades."""
    workspace = await add_workspace(f"T{next(teams):05d}", name="Acme", by="U0ADMIN", now=NOW)
    for key, half_life, rules in (("ruled", None, RULES), ("heat", 7 * DAY, RULES[:5])):
        await add_score_type(
            workspace, key=key, label=key, minimum=-50_000, maximum=100_000, step=1000, bands=(), start=0,
            half_life=half_life, rules=rules, is_default=False, by="U0ADMIN", now=NOW,
        )  # fmt: skip  # the numbers of one definition stand together
    return Team(workspace)


async def load_score_values(team: Team) -> dict[str, dict[str, tuple[int, int]]]:
    """Return each score as shown and as rank. Fail if an explanation does not add up, or verification fails."""
    results: dict[str, dict[str, tuple[int, int]]] = {}
    ids = [row["id"] for row in await raw_ids(team)]
    for card in await cards_of(team.workspace, ids=ids, now=NOW):
        values = {standing.score_type.key: (standing.value, standing.rank) for standing in card.standings}
        results[str(card.contact.email)] = values
        for key, (value, _) in values.items():
            _, explained = await why(team.workspace, contact=card.contact.id, score=key, most=99, now=NOW)
            assert explained is not None
            assert sum(contribution.effect for contribution in explained.contributions) == explained.value == value
    assert (await verify_next(team.workspace)).differences == ()
    return results


async def raw_ids(team: Team) -> list[dict[str, int]]:
    """Return the contacts of a team."""
    return await read("SELECT id FROM contacts WHERE workspace_id = $1 ORDER BY id", team.workspace.id)


async def test_any_arrival_ends_the_same(storage: Storage) -> None:
    """Two teams that receive the same facts in different orders, with repeats, have the same scores."""
    counts: Counter[str] = Counter()

    @settings(max_examples=10 * THOROUGH, deadline=None, suppress_health_check=list(HealthCheck))
    @given(stories(), st.randoms(use_true_random=False))
    def examples(story: list[Item], dice: random.Random) -> None:
        other = [*story, *dice.sample(story, len(story) // 3)]
        dice.shuffle(other)
        arrivals.append((story, other))

    arrivals: list[tuple[list[Item], list[Item]]] = []
    examples()
    for story, other in arrivals:
        ends = []
        for order in (story, other):
            team = await team_with_rules(storage)
            for place in range(0, len(order), 3):
                await team.deliver(*order[place : place + 3], batch=f"d{place}")
            ends.append(await load_score_values(team))
            counts["facts"] += len(order)
        assert ends[0] == ends[1]
        counts["scores"] += sum(len(values) for values in ends[0].values())
    report_counts("stories with rules, told twice", counts)
    assert counts["facts"] >= 50 * THOROUGH
    assert counts["scores"] >= 15 * THOROUGH


def purchases() -> list[list[str]]:
    """Load the log: customer, day, number of CDs, dollars."""
    return [line.split() for line in LOG.read_text().splitlines()[1:] if line.strip()]


async def test_the_log_as_activities(storage: Storage, database_url: str) -> None:
    """In order, backwards, or shuffled with repeats, the log gives equal values, effects and the computed top ten."""
    rows = purchases()
    items = [
        Item(
            key=f"{number:05d}",
            contact=Reference(email=f"c{row[0]}@example.com"),
            activity="cd",
            amount=int(row[2]) * 1000,
            occurred_at=_noon(row[1]),
        )
        for number, row in enumerate(rows)
        if int(row[2])
    ]
    rule = Rule(name="CD", activity="cd", points=1_000, cap=RuleCap(points=10_000, period="day"))
    dice = random.Random(7)
    shuffled = [*items, *dice.sample(items, len(items) // 10)]
    dice.shuffle(shuffled)
    ends = []
    for order in (items, items[::-1], shuffled):
        team = Team(await add_workspace(f"T{next(teams):05d}", name="Acme", by="U0ADMIN", now=NOW))
        await add_score_type(
            team.workspace, key="heat", label="Heat", minimum=0, maximum=1_000_000, step=1, bands=(), start=0,
            half_life=30 * DAY, rules=(rule,), is_default=True, by="U0ADMIN", now=NOW,
        )  # fmt: skip  # the numbers of one definition stand together
        for start in range(0, len(order), 500):
            await team.deliver(*order[start : start + 500], batch=f"d{start}")
        ends.append(
            await raw.rows(
                database_url,
                "SELECT f.dedupe_key, e.asked, e.effective, e.capped, e.rank_after, k.rank, k.own FROM facts f"
                " JOIN effects e ON e.fact_id = f.id JOIN scores k ON k.contact_id = e.contact_id"
                " AND k.definition_id = e.definition_id WHERE f.workspace_id = $1 ORDER BY f.dedupe_key",
                team.workspace.id,
            )
        )
    assert ends[0] == ends[1] == ends[2]
    assert len(ends[0]) == len(items)
    report_counts(
        "purchases as activities", {"purchases": len(items), "capped": sum(row["capped"] != 0 for row in ends[0])}
    )

    until = max(item.occurred_at or 0 for item in items)
    spent: Counter[tuple[str, int]] = Counter()
    scores_left: dict[str, float] = {}
    last: dict[str, int] = {}
    for item in sorted(items, key=lambda item: (item.occurred_at or 0, item.key)):
        email, at = str(item.contact.email), item.occurred_at or 0  # type: ignore[union-attr]  # always a Reference here
        points = min(item.amount / 1000, 10 - spent[email, at // DAY])
        spent[email, at // DAY] += int(points)
        scores_left[email] = scores_left.get(email, 0.0) * 0.5 ** ((at - last.get(email, at)) / (30 * DAY)) + points
        last[email] = at
    plain = {email: value * 0.5 ** ((until - last[email]) / (30 * DAY)) for email, value in scores_left.items()}
    _, best = await top(team.workspace, score="heat", count=10, now=until)
    expected = sorted(plain.values(), reverse=True)[:10]
    for card, value in zip(best, expected, strict=True):
        assert abs(card.standings[0].value / 1000 - plain[str(card.contact.email)]) <= 0.002
        assert abs(card.standings[0].value / 1000 - value) <= 0.002


def _noon(day: str) -> int:
    return int(datetime.strptime(day + "12", "%Y%m%d%H").replace(tzinfo=UTC).timestamp()) * 1_000_000


async def test_what_is_said_of_a_contact_and_moves_nothing_leaves_its_scores_alone(storage: Storage) -> None:
    """Fields that a CRM repeats each night move no score, so the score stays stale and untouched."""
    team, later = await team_with_rules(storage), NOW + 11 * DAY
    await add_alert_rule(team.workspace, words="ruled untouched for 9d", made_by="U1", owners={}, now=NOW)
    ada = Reference(email="ada@example.com")
    demo = Item(key="demo", contact=ada, activity="demo", amount=1_000, occurred_at=NOW, fields={"company": "Acme"})
    await team.deliver(demo, batch="demo")
    before = (await load_score_values(team))["ada@example.com"]
    for night in range(1, 11):
        sync_item = Item(key=f"{night}", contact=ada, fields={"company": "Acme", "name": "Ada"})
        other = Item(key=f"{night}/other", contact=ada, score="score", op=Op.ADD, amount=1_000, fields={"tags": []})
        await team.deliver(sync_item, other, source="sync", batch=f"{night}", received=NOW + night * DAY)
    await sweep_rules(team.workspace, now=later)
    types, contact = await score_types(team.workspace), (await team.contact("ada@example.com")).id
    (card,) = await cards_of(team.workspace, ids=[contact], now=later)

    assert (await load_score_values(team))["ada@example.com"] == before | {"score": (10_000, 10_000)}
    assert [
        (standing.score_type.key, standing.source, standing.as_of, standing.seen) for standing in card.standings
    ] == [
        ("score", "sync", NOW + 10 * DAY + 1, NOW + 10 * DAY + 1),
        ("ruled", "crm", NOW, NOW),
        ("heat", "crm", NOW, NOW),
    ]
    assert [len(await team.lines("ada@example.com", key)) for key in ("ruled", "heat")] == [1, 1]
    stale = {key: await number_of(team.workspace, query=parse(f"{key} stale 11d", types), now=later) for key in KEYS}
    assert stale == {"score": 0, "heat": 1, "ruled": 1}
    assert [follow_up.asked_at for follow_up in await load_follow_ups(team.workspace, ids=range(1, 9))] == [
        NOW + 9 * DAY
    ]

    vip_item = Item(key="vip", contact=ada, fields={"tags": ["vip"]})
    await team.deliver(vip_item, source="sync", batch="vip", received=later)
    (card,) = await cards_of(team.workspace, ids=[contact], now=later)
    sync_standings = [
        (standing.score_type.key, standing.value, standing.as_of)
        for standing in card.standings
        if standing.source == "sync"
    ]
    assert sync_standings == [("score", 10_000, NOW + 10 * DAY + 1), ("ruled", 40_000, later)]


async def test_a_fact_that_moves_one_score_no_more_still_moves_another(storage: Storage) -> None:
    """A late fact that changes nothing in one score, because of a later set, still changes another score."""
    team = await team_with_rules(storage)
    ada, vip = Reference(email="ada@example.com"), {"tags": ["vip"]}
    both = Item(key="both", contact=ada, score="score", op=Op.SET, amount=10_000, occurred_at=NOW - DAY, fields=vip)  # type: ignore[arg-type]  # JSON
    await team.deliver(both, batch="both")
    lines = await team.lines("ada@example.com")
    late = Item(key="late", contact=ada, occurred_at=NOW - 2 * DAY, fields=vip)  # type: ignore[arg-type]  # JSON
    await team.deliver(late, batch="late")

    assert [(line.effective, line.value) for line in lines] == [(10_000, 10_000)]
    assert await team.lines("ada@example.com") == lines
    ruled = await team.lines("ada@example.com", "ruled")
    assert [(line.occurred_at, line.effective, line.value) for line in ruled] == [(NOW - 2 * DAY, 25_000, 25_000)]


WORTH = (
    Rule(name="Visit", activity="visit", points=2_000, condition="-tag:vip"),
    Rule(name="Demo", activity="demo", points=15_000, condition="company:acme OR attributes.seats>=10"),
    Rule(name="VIP", points=25_000, condition="tag:vip"),
    Rule(name="Ours", points=-7_000, condition="email~ours.example"),
    Rule(name="Small", points=3_000, condition="-attributes.seats>=10"),
)
#: the same conditions as plain functions of the fields known so far
HOLDS: dict[str, Callable[[Mapping[str, Json]], bool]] = {
    "Visit": lambda fields: fields.get("tags") != ["vip"],
    "Demo": lambda fields: fields.get("company") == "Acme" or fields.get("attributes.seats") == 12,
    "VIP": lambda fields: fields.get("tags") == ["vip"],
    "Ours": lambda fields: fields.get("email") == "max@ours.example",
    "Small": lambda fields: fields.get("attributes.seats") != 12,
}
CONTACTS, FACTS = 150, 8
TOLD: dict[str, tuple[Json, ...]] = {
    "tags": (["vip"], []),
    "company": ("Acme", "Other"),
    "attributes.seats": (12, 5, None),
    "email": ("max@ours.example", None),
    "name": ("Max", "Moritz"),  # no rule tests the name
}


def some_facts(dice: random.Random, number: int) -> list[Item]:
    """Choose facts of one contact that often share their time, and their key if they change different scores."""
    reference = Reference(email=f"p{number}@ours.example", source="crm", id=f"{number}")
    used_keys, items = set[tuple[str, str]](), list[Item]()
    while len(items) < FACTS:
        subject, key = dice.choice(["", "", "score", "ruled", "strict"]), dice.choice("abcdefgh")
        if (subject, key) in used_keys:
            continue
        used_keys.add((subject, key))
        names = dice.sample(sorted(TOLD), dice.choice([0, 0, 1, 2]))
        common = {
            "key": f"{number}/{key}", "contact": reference, "occurred_at": NOW - dice.randrange(5) * DAY,
            "fields": {name: dice.choice(TOLD[name]) for name in names},
        }  # fmt: skip  # common to all items
        if subject:
            op = dice.choice([Op.SET, Op.ADD, Op.ADD, Op.CLEAR])
            amount = 0 if op is Op.CLEAR else dice.randrange(-9, 60) * 1_000 if op is Op.ADD else 40_000
            items.append(Item(**common, score=subject, op=op, amount=amount))  # type: ignore[arg-type]  # named arguments
        elif names and dice.random() < 0.4:
            items.append(Item(**common))  # type: ignore[arg-type]  # named arguments
        else:
            items.append(Item(**common, activity=dice.choice(["visit", "demo"]), amount=1_000))  # type: ignore[arg-type]  # named arguments
    return items


def plainly(items: Sequence[Item], rules: Sequence[Rule], key: str) -> list[tuple[str, str, int | None]]:
    """Return (key, subject, value) of each fact with an effect on one score, by the plainest reading of the rules."""
    fields: dict[str, Json] = {}
    own: int | None = None
    held_points, low, high, results = (
        list[int](),
        0 if key == "score" else -50_000,
        100_000,
        list[tuple[str, str, int | None]](),
    )
    for item in sorted(items, key=lambda item: (item.occurred_at or 0, item.key.encode(), (item.score or "").encode())):
        fields |= item.fields
        worth = [rule for rule in rules if rule.activity == item.activity and item.activity]
        before = (held_points, own is None and not held_points)
        held_points = [rule.points for rule in rules if rule.activity is None and HOLDS[rule.name](fields)]
        added = [rule.points for rule in worth if HOLDS[rule.name](fields)]
        base, is_about = sum(held_points), item.score == key or bool(added)
        if item.score == key and item.op is not Op.ADD:
            own = item.amount - base if item.op is Op.SET else None
        elif is_about:
            points = item.amount if item.score == key else sum(added)
            own = min(max(base + (own or 0) + points, low), high) - base
        is_missing = own is None and not held_points
        if is_about or (sum(before[0]), before[1]) != (base, is_missing):
            results.append((item.key, item.score or "", None if is_missing else min(max(base + (own or 0), low), high)))
    return results


async def test_conditions_read_the_fields_as_they_stood_then(storage: Storage, database_url: str) -> None:
    """Facts in any order of arrival have the effects of the plainest reading of the rules.

    Fields arrive late, for earlier or equal times, beside activities with conditions about them, in active types and in
    a draft that is built in between.
    """
    dice, team = random.Random(11), Team(await add_workspace("T0LATE", name="Acme", by="U0ADMIN", now=NOW))
    for key, rules in (("ruled", WORTH[:4]), ("strict", WORTH)):
        await add_score_type(
            team.workspace, key=key, label=key, minimum=-50_000, maximum=100_000, step=1000, bands=(), start=0,
            rules=rules, is_default=False, by="U0ADMIN", now=NOW,
        )  # fmt: skip  # the numbers of one definition stand together
    facts = {number: some_facts(dice, number) for number in range(CONTACTS)}
    pending = {number: dice.sample(items, len(items)) for number, items in facts.items()}
    drafted: ScoreType | None = None
    for turn in range(FACTS):
        arriving = [items.pop() for items in pending.values() for _ in range(dice.choice([1, 1, 2])) if items]
        halves = [arriving[: len(arriving) // 3], arriving[len(arriving) // 3 :]]  # two deliveries
        await asyncio.gather(*(team.deliver(*half, batch=f"{turn}/{n}") for n, half in enumerate(halves)))
        if turn == 1:
            live = next(score_type for score_type in await score_types(team.workspace) if score_type.key == "ruled")
            drafted = await create_draft(team.workspace, proposed=replace(live, rules=WORTH[1:]), by="U0ADMIN", now=NOW)
            assert drafted is not None
            await build(team.workspace, draft=drafted, progress=lambda _: None, clock=lambda: NOW)
    counts: Counter[str] = Counter()
    types = {score_type.key: score_type for score_type in await score_types(team.workspace)}
    assert drafted is not None
    for score_type in (*types.values(), drafted):
        effects = await raw.rows(
            database_url,
            "SELECT f.dedupe_key, f.subject, e.rank_after FROM effects e JOIN facts f ON f.id = e.fact_id"
            " WHERE e.definition_id = $1 ORDER BY f.occurred_at, f.dedupe_key, f.subject",
            score_type.definition,
        )
        effects_by_contact: dict[str, list[object]] = {}
        for row in effects:
            effects_by_contact.setdefault(str(row["dedupe_key"]).partition("/")[0], []).append(tuple(row.values()))
        for number, items in facts.items():
            expected = plainly(items, score_type.rules, score_type.key)
            assert (number, score_type.rules, effects_by_contact.get(f"{number}", [])) == (
                number,
                score_type.rules,
                expected,
            )
        counts["effects"] += len(effects)
    assert (await verify_next(team.workspace)).differences == ()
    report_counts("facts with conditions that read the fields of that time", {"facts": CONTACTS * FACTS} | counts)
    assert counts["effects"] >= 5 * CONTACTS
