"""With rules, caps and conditions too the order of arrival does not matter, and every number explains itself."""

import os
import random
from collections import Counter
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.alerting import sweep
from storage.database import read
from storage.definitions import add_score_type, score_types
from storage.domain.contacts import Json, Reference
from storage.domain.facts import DAY, Item, Op
from storage.domain.filters import parse
from storage.domain.score_types import Rule, RuleCap
from storage.followups import by_ids
from storage.opening import Storage
from storage.past import why
from storage.queries import count as number_of
from storage.scores import cards_of, top
from storage.verifying import verify_next
from storage.watching import add_alert_rule
from storage.workspaces import add_workspace
from tests.counts import tell
from tests.storage import raw
from tests.storage.teams import NOW, Team

teams = count(1)
KEYS = ("score", "heat", "ruled")
RULES = (
    Rule(name="Visit", activity="visit", points=2_000, cap=RuleCap(points=5_000, period="day", group="web")),
    Rule(name="Click", activity="click", points=3_000, cap=RuleCap(points=5_000, period="day", group="web")),
    Rule(name="Demo", activity="demo", points=15_000, condition="company:acme OR attributes.seats>=10"),
    Rule(name="Complaint", activity="complaint", points=-40_000, cap=RuleCap(points=60_000, period="ever")),
    Rule(name="VIP", points=25_000, condition="tag:vip"),
)
LOG = Path(os.environ.get("CDNOW_LOG", Path(__file__).parent.parent / "data" / "cdnow_2000.txt"))  # the whole, or 2,000
COMPANIES, SEATS = ("Acme", "Other"), (5, 10, "11")
TAGS: tuple[list[Json], ...] = (["vip"], [], ["new"])


@st.composite
def stories(draw: st.DrawFn) -> list[Item]:
    """Choose facts of one sender about two people, each at a time of its own or at the same."""
    items = []
    for number in range(draw(st.integers(2, 14))):
        whom = Reference(email=draw(st.sampled_from(["ada@example.com", "bob@example.com"])))
        at = NOW - draw(st.integers(0, 6)) * DAY // 3
        fields = draw(
            st.dictionaries(st.sampled_from(["company", "attributes.seats", "tags"]), st.integers(0, 2), max_size=2)
        )
        values = {"company": COMPANIES, "attributes.seats": SEATS, "tags": TAGS}
        said = {name: values[name][n % len(values[name])] for name, n in fields.items()}
        kind = draw(st.sampled_from(["activity", "activity", "change", "fields"]))
        common = {"key": f"k{number}", "contact": whom, "occurred_at": at, "fields": said}
        if kind == "activity":
            what = draw(st.sampled_from(["visit", "click", "demo", "complaint", "left"]))
            items.append(Item(**common, activity=what, amount=draw(st.sampled_from([1000, 1000, 2500]))))  # type: ignore[arg-type]  # named
        elif kind == "change":
            op = draw(st.sampled_from(list(Op)))
            amount = 0 if op is Op.CLEAR else draw(st.integers(0, 100)) * 1000
            items.append(Item(**common, score=draw(st.sampled_from(["heat", "score"])), op=op, amount=amount))  # type: ignore[arg-type]  # named
        else:
            items.append(Item(**common))  # type: ignore[arg-type]  # named
    return items


async def team_with_rules(storage: Storage) -> Team:
    """Make a team with rules in a type that stays and in one that fades."""
    workspace = await add_workspace(f"T{next(teams):05d}", name="Acme", now=NOW)
    for key, half_life, rules in (("ruled", None, RULES), ("heat", 7 * DAY, RULES[:4])):
        await add_score_type(
            workspace, key=key, label=key, minimum=-50_000, maximum=100_000, step=1000, bands=(), start=0,
            half_life=half_life, rules=rules, is_default=False, now=NOW,
        )  # fmt: skip  # the numbers of one definition stand together
    return Team(workspace, storage.committer)


async def told(team: Team) -> dict[str, dict[str, tuple[int, int]]]:
    """Give every score, as shown and as ranked, and see that it explains itself and is what the ledger says."""
    seen: dict[str, dict[str, tuple[int, int]]] = {}
    ids = [row["id"] for row in await raw_ids(team)]
    for card in await cards_of(team.workspace, ids=ids, now=NOW):
        values = {one.score_type.key: (one.value, one.rank) for one in card.standings}
        seen[str(card.contact.email)] = values
        for key, (value, _) in values.items():
            _, explained = await why(team.workspace, contact=card.contact.id, score=key, most=99, now=NOW)
            assert explained is not None
            assert sum(one.effect for one in explained.contributions) == explained.value == value
    assert (await verify_next(team.workspace)).differences == ()
    return seen


async def raw_ids(team: Team) -> list[dict[str, int]]:
    """Give the contacts of a team."""
    return await read("SELECT id FROM contacts WHERE workspace_id = $1 ORDER BY id", team.workspace.id)


async def test_any_arrival_ends_the_same(storage: Storage) -> None:
    """Two teams are told the same in two orders, with repeats."""
    counted: Counter[str] = Counter()

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
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
            ends.append(await told(team))
            counted["facts"] += len(order)
        assert ends[0] == ends[1]
        counted["scores"] += sum(len(one) for one in ends[0].values())
    tell("stories with rules, told twice", counted)
    assert counted["facts"] >= 100
    assert counted["scores"] >= 20


def purchases() -> list[list[str]]:
    """Read the log: customer, day, number of CDs, dollars."""
    return [line.split() for line in LOG.read_text().splitlines()[1:] if line.strip()]


async def test_the_log_as_activities(storage: Storage, database_url: str) -> None:
    """In its order, backwards, and shuffled with repeats: the same values and effects, and plain Python's top ten."""
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
        team = Team(await add_workspace(f"T{next(teams):05d}", name="Acme", now=NOW), storage.committer)
        await add_score_type(
            team.workspace, key="heat", label="Heat", minimum=0, maximum=1_000_000, step=1, bands=(), start=0,
            half_life=30 * DAY, rules=(rule,), is_default=True, now=NOW,
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
    tell("purchases as activities", {"purchases": len(items), "capped": sum(row["capped"] != 0 for row in ends[0])})

    until = max(item.occurred_at or 0 for item in items)
    spent: Counter[tuple[str, int]] = Counter()
    left: dict[str, float] = {}
    last: dict[str, int] = {}
    for item in sorted(items, key=lambda item: (item.occurred_at or 0, item.key)):
        who, at = str(item.contact.email), item.occurred_at or 0  # type: ignore[union-attr]  # a reference
        points = min(item.amount / 1000, 10 - spent[who, at // DAY])
        spent[who, at // DAY] += int(points)
        left[who] = left.get(who, 0.0) * 0.5 ** ((at - last.get(who, at)) / (30 * DAY)) + points
        last[who] = at
    plain = {who: value * 0.5 ** ((until - last[who]) / (30 * DAY)) for who, value in left.items()}
    _, best = await top(team.workspace, score="heat", count=10, now=until)
    expected = sorted(plain.values(), reverse=True)[:10]
    for card, value in zip(best, expected, strict=True):
        assert abs(card.standings[0].value / 1000 - plain[str(card.contact.email)]) <= 0.002
        assert abs(card.standings[0].value / 1000 - value) <= 0.002


def _noon(day: str) -> int:
    return int(datetime.strptime(day + "12", "%Y%m%d%H").replace(tzinfo=UTC).timestamp()) * 1_000_000


async def test_what_is_said_of_a_contact_and_moves_nothing_leaves_its_scores_alone(storage: Storage) -> None:
    """A CRM may say the same every night: a score is as of its last change all the same, stale and untouched."""
    team, later = await team_with_rules(storage), NOW + 11 * DAY
    await add_alert_rule(team.workspace, words="ruled untouched for 9d", made_by="U1", owners={}, now=NOW)
    ada = Reference(email="ada@example.com")
    demo = Item(key="demo", contact=ada, activity="demo", amount=1_000, occurred_at=NOW, fields={"company": "Acme"})
    await team.deliver(demo, batch="demo")
    before = (await told(team))["ada@example.com"]
    for night in range(1, 11):
        named = Item(key=f"{night}", contact=ada, fields={"company": "Acme", "name": "Ada"})
        other = Item(key=f"{night}/other", contact=ada, score="score", op=Op.ADD, amount=1_000, fields={"tags": []})
        await team.deliver(named, other, source="sync", batch=f"{night}", received=NOW + night * DAY)
    await sweep(team.workspace, now=later)
    types, contact = await score_types(team.workspace), (await team.contact("ada@example.com")).id
    (card,) = await cards_of(team.workspace, ids=[contact], now=later)

    assert (await told(team))["ada@example.com"] == before | {"score": (10_000, 10_000)}
    assert [(one.score_type.key, one.source, one.as_of, one.seen) for one in card.standings] == [
        ("score", "sync", NOW + 10 * DAY + 1, NOW + 10 * DAY + 1),
        ("ruled", "crm", NOW, NOW),
        ("heat", "crm", NOW, NOW),
    ]
    assert [len(await team.lines("ada@example.com", key)) for key in ("ruled", "heat")] == [1, 1]
    stale = {key: await number_of(team.workspace, asked=parse(f"{key} stale 11d", types), now=later) for key in KEYS}
    assert stale == {"score": 0, "heat": 1, "ruled": 1}
    assert [one.asked_at for one in await by_ids(team.workspace, ids=range(1, 9))] == [NOW + 9 * DAY]

    said = Item(key="vip", contact=ada, fields={"tags": ["vip"]})
    await team.deliver(said, source="sync", batch="vip", received=later)
    (card,) = await cards_of(team.workspace, ids=[contact], now=later)
    moved = [(one.score_type.key, one.value, one.as_of) for one in card.standings if one.source == "sync"]
    assert moved == [("score", 10_000, NOW + 10 * DAY + 1), ("ruled", 40_000, later)]


async def test_a_fact_that_moves_one_score_no_more_still_moves_another(storage: Storage) -> None:
    """What it said of the contact was known before, as a late fact tells."""
    team = await team_with_rules(storage)
    ada, vip = Reference(email="ada@example.com"), {"tags": ["vip"]}
    both = Item(key="both", contact=ada, score="score", op=Op.SET, amount=10_000, occurred_at=NOW - DAY, fields=vip)  # type: ignore[arg-type]  # JSON
    await team.deliver(both, batch="both")
    lines = await team.lines("ada@example.com")
    late = Item(key="late", contact=ada, occurred_at=NOW - 2 * DAY, fields=vip)  # type: ignore[arg-type]  # JSON
    await team.deliver(late, batch="late")

    assert [(one.effective, one.value) for one in lines] == [(10_000, 10_000)]
    assert await team.lines("ada@example.com") == lines
    ruled = await team.lines("ada@example.com", "ruled")
    assert [(one.occurred_at, one.effective, one.value) for one in ruled] == [(NOW - 2 * DAY, 25_000, 25_000)]
