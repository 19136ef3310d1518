"""The same facts give the same scores, whatever their order of arrival."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import count, permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.bootstrap import Storage
from storage.domain.contacts import Json, Reference
from storage.domain.errors import NothingToUndo
from storage.domain.facts import Item, Merge, Op
from storage.domain.score_types import Band, Rule
from storage.domain.submissions import Recorded, Status, Submission
from storage.ledger.verify import verify_next
from storage.reading.current_scores import cards_of, top
from storage.reading.history import HistoryEntry, history
from storage.reading.search import find, find_by_key
from storage.scoring.definitions import add_score_type
from storage.workspaces import add_workspace
from tests.counts import THOROUGH, report_counts
from tests.storage.reference import Line, Range, Told, latest_fields, story
from tests.storage.teams import DAY, NOW, SECOND, Team, set_to

HOUR = 3_600 * SECOND
APART = HOUR  # a half-life: after it an odd number is between two points

RANGES = {
    "score": Range(low=Decimal(0), high=Decimal(100), start=Decimal(0)),
    "mood": Range(low=Decimal(-5), high=Decimal(5), start=Decimal(-1)),  # starts off 0
    "heat": Range(low=Decimal(-50), high=Decimal(100), start=Decimal(10), half_life=HOUR),  # fades from both sides
}
STEPS = {"score": Decimal(1), "mood": Decimal("0.5"), "heat": Decimal(1)}
LATER = NOW + 7 * HOUR  # when scores are read: most of a fading value is gone by then
PEOPLE = ("ada@example.com", "Bob@Example.com", "zo\u00eb@example.com")
NAMES = (*PEOPLE, "crm:17")  # the last is a contact that senders may name by id alone
SOURCES = ("crm", "crm-2", "n8n")
KEYS = ("k", "K", "k/0002", "k/0010", "/2", "/10", "\u00e9", "\uffff", "\U0001f600", "a b%_'\"\\")
FIELDS = ("name", "company", "owner", "attributes.tier")

teams = count(1)


@dataclass(frozen=True)
class Undoing:
    """A person's request to undo an earlier command."""

    batch: str
    undoes: str
    received: int


Command = list[Told] | Undoing


@dataclass(frozen=True)
class Example:
    """Facts and one order of their arrival: groups of simultaneous submissions, one group after the other."""

    facts: list[Told]
    commands: list[Command]
    groups: list[list[list[Told] | Undoing]]


@st.composite
def amounts(draw: st.DrawFn, score: str) -> tuple[str, Decimal]:
    """Choose an operation and its amount for a score."""
    op = draw(st.sampled_from(("set", "add", "add", "clear")))
    limits, step = RANGES[score], STEPS[score]
    steps = int((limits.high - limits.low) / step)
    if op == "set":
        return op, limits.low + step * draw(st.integers(0, steps))
    return op, step * draw(st.integers(-steps - 5, steps + 5)) if op == "add" else Decimal(0)


@st.composite
def told_by_senders(draw: st.DrawFn) -> list[Told]:
    """Choose facts of sources: simultaneous, about two types and several contacts, some with fields alone."""
    facts = []
    places = draw(
        st.lists(st.tuples(st.sampled_from(SOURCES), st.sampled_from(KEYS)), unique=True, min_size=1, max_size=14)
    )
    for source, key in places:
        score = draw(st.sampled_from(("score", "score", "mood", "heat", "heat", None)))
        op, amount = draw(amounts(score)) if score else ("", Decimal(0))
        names = draw(st.sets(st.sampled_from(FIELDS), min_size=0 if score else 1, max_size=2))
        fields: dict[str, Json] = {name: draw(st.sampled_from(("x", "y", None))) for name in sorted(names)}
        facts.append(
            Told(
                source=source,
                key=key,
                at=NOW - draw(st.integers(0, 3)) * (draw(st.sampled_from((1, APART))) if score == "heat" else 1),
                contact=(name := draw(st.sampled_from(NAMES))),
                # Only for one contact: two emails with one id would be one contact from the start, and never merged.
                also=draw(st.sampled_from((None, "crm:17"))) if name == PEOPLE[0] else None,
                score=score,
                op=op,
                amount=amount,
                fields=fields,
            )
        )
    if draw(st.booleans()):
        first, other = draw(st.permutations(NAMES))[:2]
        facts.append(Told(source="crm", key="merge", at=NOW - 1, contact=first, into=other, score=None))
    return facts


def joining(first: str, other: str, *, batch: str, at: int, actor: str) -> Told:
    """Return a person's merge of two contacts."""
    return Told(source="slack", key=batch, at=at, contact=first, into=other, score=None, batch=batch, actor=actor)


@st.composite
def told_by_people(draw: st.DrawFn) -> list[Command]:
    """Choose consecutive commands of people: changes, merges and undos of earlier commands."""
    commands: list[Command] = []
    for number in range(draw(st.integers(2, 8))):
        received, batch = NOW + (number + 1) * APART // 2, f"command-{number}"
        if number and draw(st.sampled_from((True, True, False))):
            commands.append(Undoing(batch, f"command-{draw(st.integers(0, number - 1))}", received))
            continue
        if draw(st.sampled_from((True, False, False))):
            first, other = draw(st.permutations(PEOPLE))[:2]
            commands.append([joining(first, other, batch=batch, at=received, actor=f"U{number % 2}")])
            continue
        contact, command = draw(st.sampled_from(PEOPLE)), []
        fields: dict[str, Json] = {"owner": batch} if draw(st.booleans()) else {}
        for index, score in enumerate(
            draw(st.sampled_from((("score",), ("mood",), ("heat",), ("score", "mood", "heat"))))
        ):
            op, amount = draw(amounts(score))
            command.append(
                Told(
                    source="slack",
                    key=batch,
                    at=received + index,
                    contact=contact,
                    score=score,
                    op=op,
                    amount=amount,
                    batch=batch,
                    actor=f"U{number % 2}",
                    fields=fields,
                )
            )
        commands.append(command)
    return commands


@st.composite
def examples(draw: st.DrawFn) -> Example:
    """Choose facts and an order of arrival: shuffled, repeated, and cut into submissions and groups at random."""
    facts, commands = draw(told_by_senders()), draw(told_by_people())
    stream = [*facts, *draw(st.lists(st.sampled_from(facts), max_size=5))]  # some facts arrive twice
    deliveries: list[list[Told] | Undoing] = []
    for source in SOURCES:
        rest = draw(st.permutations([fact for fact in stream if fact.source == source]))
        while rest:
            size = draw(st.integers(1, len(rest)))
            deliveries.append(rest[:size])
            rest = rest[size:]
    deliveries = list(draw(st.permutations(deliveries)))
    arriving: list[list[Told] | Undoing] = []
    pending = list(commands)  # commands keep their order; deliveries arrive between them or later
    while pending or deliveries:
        first = pending if pending and (not deliveries or draw(st.booleans())) else deliveries
        arriving.append(first.pop(0))
        if first is pending and draw(st.booleans()):
            arriving.append(arriving[-1])  # a retried request
    groups = []
    while arriving:
        size = draw(st.integers(1, min(6, len(arriving))))
        groups.append(arriving[:size])
        arriving = arriving[size:]
    return Example(facts, commands, groups)


def undone_in(commands: Iterable[Command]) -> tuple[set[str], set[str]]:
    """Return the batches that are left out at the end, and the undos that were refused."""
    undoers: dict[str, list[str]] = {}

    def left_out(batch: str) -> bool:
        return any(not left_out(undo) for undo in undoers.get(batch, ()))

    refused_batches, all_batches = set(), []
    for command in commands:
        if isinstance(command, Undoing):
            if left_out(command.undoes) or command.undoes in refused_batches:
                refused_batches.add(command.batch)
                continue
            undoers.setdefault(command.undoes, []).append(command.batch)
        all_batches.append(command.batch if isinstance(command, Undoing) else command[0].batch)
    return {batch for batch in all_batches if left_out(batch)}, refused_batches


def submission(team: Team, arriving: list[Told] | Undoing, *, number: int) -> Submission:
    """Return the submission of arriving facts, or of an undo."""
    if isinstance(arriving, Undoing):
        return team.undoing(arriving.undoes, batch=arriving.batch, received=arriving.received)
    items: list[Item | Merge] = [
        Merge(
            key=fact.key,
            contact=reference_to(fact.contact),
            into=reference_to(fact.into),
            occurred_at=None if fact.actor else fact.at,
        )
        if fact.into
        else Item(
            key=fact.key,
            contact=reference_to(fact.contact, also=fact.also),
            score=fact.score,
            op=Op(fact.op) if fact.op else None,
            amount=int(fact.amount * 1_000),
            occurred_at=None if fact.actor else fact.at,
            fields=fact.fields,
        )
        for fact in arriving
    ]
    first = arriving[0]
    if first.actor:
        return team.asking(*items, batch=first.batch, actor=first.actor, received=first.at)
    return team.delivery(*items, source=first.source, batch=f"{first.source}/{number}", received=NOW)


def reference_to(name: str, *, also: str | None = None) -> Reference:
    """Return a reference by email, by id or by both."""
    ids = [name.partition(":")[2] for name in (name, also or "") if ":" in name]
    return Reference(email=None if ":" in name else name, source="crm", id=ids[0] if ids else None)


def persons(facts: Iterable[Told], *, without: set[str]) -> list[set[str]]:
    """Group the names of merged contacts, by the merges and proofs that are not undone."""
    groups: list[set[str]] = []
    for fact in facts:
        names = {fact.contact, fact.also or fact.contact}
        names |= {fact.into} if fact.into and fact.batch not in without else set()
        for merged_names in (
            [names] if fact.into is None or fact.batch not in without else [{fact.contact}, {fact.into}]
        ):
            met = [group for group in groups if group & merged_names]
            groups = [group for group in groups if group not in met] + [merged_names.union(*met)]
    return groups


async def hand_in(team: Team, example: Example) -> Counter[str]:
    """Record all groups one after the other, and count the statuses."""
    statuses: Counter[str] = Counter()
    number = count()
    for group in example.groups:
        submissions = [submission(team, arriving, number=next(number)) for arriving in group]
        outcomes = await asyncio.gather(
            *(team.record(submission) for submission in submissions), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, Recorded):
                statuses.update(outcome.status for outcome in outcome.outcomes)
            elif isinstance(outcome, NothingToUndo):
                statuses["refused undos"] += 1
            else:
                raise outcome
    return statuses


def merges_of(facts: list[Told], names: set[str], *, without: set[str]) -> list[Told]:
    """Return the merges in force of these names."""
    return [fact for fact in facts if fact.into is not None and fact.contact in names and fact.batch not in without]


def shown_fields(facts: list[Told], merges: list[Told], *, without: set[str]) -> dict[str, Json] | None:
    """Return the fields that are shown of a contact; after a single merge those of the contact merged into come first.

    Return None after several merges, or if a proof of identity says the same, because then the times of both decide.
    """
    fields = latest_fields(facts, without=without)
    if not merges:
        return fields
    merged = merges[0]
    assert merged.into is not None
    into = next((group for group in persons(facts, without=without) if merged.into in group), {merged.into})
    if len(merges) > 1 or merged.contact in into:
        return None
    own = latest_fields([fact for fact in facts if fact.contact in into], without=without)
    other = latest_fields([fact for fact in facts if fact.contact not in into], without=without)
    return {name: own.get(name) or other.get(name) or fields.get(name) for name in fields}


async def check_stories(team: Team, facts: list[Told], *, without: set[str]) -> None:
    """Compare each score, history and field with the plain implementation of the rules in `reference`."""
    tops: dict[str, list[tuple[str, Decimal]]] = {score: [] for score in RANGES}
    for names in persons(facts, without=without):
        person = min(names)
        about_contact = [fact for fact in facts if fact.contact in names and fact.into is None]
        by_name = [await find_by_key(team.workspace, key=name, include_gone=True) for name in sorted(names)]
        contact = by_name[0]
        assert contact is not None
        assert {named and named.id for named in by_name} == {contact.id}
        is_gone = bool(about_contact) and all(fact.batch in without for fact in about_contact)
        listed = [match.id for name in sorted(names) for match in await find(team.workspace, text=name)]
        assert listed == ([] if is_gone else [contact.id] * len(names))
        (seen_card,) = await cards_of(team.workspace, ids=[contact.id], now=LATER)
        values = {standing.score_type.key: Decimal(standing.value) / 1_000 for standing in seen_card.standings}
        for score, limits in RANGES.items():
            value, lines = story(
                [fact for fact in about_contact if fact.score == score], limits, without=without, now=LATER
            )
            _, read_lines = await history(team.workspace, contact=contact.id, score=score, most=1_000)
            assert [_to_line(line) for line in reversed(read_lines)] == lines
            assert values.get(score) == value
            if value is not None:
                tops[score].append((person, value))
        fields = latest_fields(about_contact, without=without)
        shown = shown_fields(about_contact, merges_of(facts, names, without=without), without=without)
        if shown is not None:
            assert (contact.name, contact.company, contact.owner) == tuple(shown.get(name) for name in FIELDS[:3])
        assert contact.attributes.get("tier") == fields.get("attributes.tier")
    for score, expected in tops.items():
        _, cards = await top(team.workspace, score=score, count=10, now=LATER)
        expected_order = [
            (card.contact.id, next(standing.value for standing in card.standings if standing.score_type.key == score))
            for card in cards
        ]
        if RANGES[score].half_life is None:  # a fading score is sorted by more digits than are shown
            assert expected_order == sorted(expected_order, key=lambda pair: (-pair[1], pair[0]))
        assert [value for _, value in expected_order] == sorted((value for _, value in expected_order), reverse=True)
        assert sorted(value for _, value in expected_order) == sorted(int(value * 1_000) for _, value in expected)


def _to_line(entry: HistoryEntry) -> Line:
    points = [
        None if thousandths is None else Decimal(thousandths) / 1_000 for thousandths in (entry.effective, entry.value)
    ]
    return Line(
        entry.occurred_at, entry.source, entry.op.value, Decimal(entry.amount) / 1_000,
        points[0], points[1], entry.actor, entry.undone,
    )  # fmt: skip  # as in `reference`


@pytest.fixture
def counted(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """Count the events in all examples of a test. Fail if there are too few to prove anything."""
    counts: Counter[str] = Counter()
    yield counts
    report_counts(request.node.name, counts)
    if counts["begun"] > counts["examples"]:
        return  # the test has already failed
    assert counts["examples"] >= 40 * THOROUGH
    assert min(counts[name] for name in ("facts", "repeats", "undone batches", "merges")) >= 10 * THOROUGH
    assert min(counts[name] for name in ("refused undos", "undone merges")) >= 2  # chance gives few of them


@settings(
    max_examples=50 * THOROUGH,
    deadline=None,
    # The tests may share a database, because each example has a workspace of its own.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(example=examples())
async def test_any_arrival_of_the_same_facts_ends_the_same(
    storage: Storage, counted: Counter[str], example: Example
) -> None:
    """Shuffled, repeated, split, grouped, undone or restored: scores, effects and history depend on the facts alone."""
    counted["begun"] += 1
    workspace = await add_workspace(f"T{next(teams)}", name="Acme", by="U0ADMIN", now=NOW)
    await add_score_type(
        workspace, key="mood", label="Mood", minimum=-5_000, maximum=5_000, step=500, start=-1_000,
        bands=[Band(name="low", start=-5_000)], is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    await add_score_type(
        workspace, key="heat", label="Heat", minimum=-50_000, maximum=100_000, step=1_000, start=10_000,
        bands=[], half_life=RANGES["heat"].half_life, is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    team = Team(workspace)
    left_out, refused_batches = undone_in(example.commands)
    facts = [*example.facts, *(fact for command in example.commands if isinstance(command, list) for fact in command)]
    arrivals = [arriving for group in example.groups for arriving in group]
    items = sum(len(arriving) for arriving in arrivals if isinstance(arriving, list))

    statuses = await hand_in(team, example)

    # A merge of contacts that one reference proved to be the same is ignored.
    left_alone = statuses.pop(Status.IGNORED, 0)
    assert left_alone <= sum(
        fact.into is not None for arriving in arrivals if isinstance(arriving, list) for fact in arriving
    )
    assert statuses[Status.APPLIED] + statuses[Status.DUPLICATE] + left_alone == items
    assert len(facts) - (left_alone > 0) <= statuses[Status.APPLIED] <= len(facts)
    assert statuses["refused undos"] == sum(
        isinstance(item, Undoing) and item.batch in refused_batches for item in arrivals
    )
    assert not statuses.keys() - {Status.APPLIED, Status.DUPLICATE, "refused undos"}
    verified = await verify_next(workspace)
    assert verified.differences == ()
    await check_stories(team, facts, without=left_out)
    counted.update(
        {"examples": 1, "commits": len(example.groups), "facts": len(facts), "repeats": statuses[Status.DUPLICATE]}
    )
    counted.update({"undone batches": len(left_out), "refused undos": statuses["refused undos"]})
    merges = [fact for fact in facts if fact.into]
    counted.update({"merges": len(merges), "undone merges": sum(merge.batch in left_out for merge in merges)})
    counted.update({"proofs": sum(fact.also is not None and fact.contact != fact.also for fact in facts)})


async def test_what_stands_between_two_points_is_told_the_same_in_any_order(team: Team) -> None:
    """Values between two points are the same in all 120 orders of five facts, each order with its own contact."""
    heat = RANGES["heat"]
    await add_score_type(
        team.workspace, key="heat", label="Heat", minimum=-50_000, maximum=100_000, step=1_000, start=10_000,
        bands=[], half_life=heat.half_life, is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    changes = (("set", -31), ("add", 1), ("set", 51), ("set", -31), ("add", 62))  # 20.5 below or above 10 each time
    facts = [
        Told(
            source="crm", key=f"{place}", at=NOW - (9 - place) * HOUR, contact="", score="heat", op=op,
            amount=Decimal(amount),
        )
        for place, (op, amount) in enumerate(changes)
    ]  # fmt: skip  # operation and amount, an hour after the previous one
    orders = list(permutations(facts))
    for turn in range(len(facts)):
        turns = [
            Item(
                key=f"{number}/{fact.key}", contact=Reference(email=f"p{number}@example.com"), score="heat",
                op=Op(fact.op), amount=int(fact.amount * 1_000), occurred_at=fact.at,
            )
            for number, order in enumerate(orders)
            for fact in [order[turn]]
        ]  # fmt: skip  # the next fact of each contact
        await team.deliver(*turns, batch=f"turn {turn}")
    ends = Counter[str]()
    for number in range(len(orders)):
        lines = await team.lines(f"p{number}@example.com", "heat")
        assert [_to_line(line) for line in reversed(lines)] == story(facts, heat, without=(), now=LATER)[1]
        ends.update(str(line.effective) for line in lines)
    ranks = {card.standings[0].rank for card in (await top(team.workspace, score="heat", count=200, now=LATER))[1]}

    assert len(ranks) == 1
    assert (await verify_next(team.workspace)).differences == ()
    report_counts("told between two points", ends)


RULED = ("plain", "asking")


async def test_facts_that_share_time_and_key_have_one_order_too(team: Team) -> None:
    """An activity and a change with the same time and key have a fixed order: the fact about no score comes first."""
    visit = Rule(name="Visit", activity="visit", points=5_000)
    for key, rules in zip(RULED, ((visit,), (visit, Rule(name="VIP", points=1_000, condition="tag:vip"))), strict=True):
        await add_score_type(
            team.workspace, key=key, label=key, minimum=0, maximum=100_000, step=1_000, start=0, bands=[],
            rules=rules, is_default=False, by="U0ADMIN", now=NOW,
        )  # fmt: skip  # one definition
    items_by_email: dict[str, list[Item]] = {}
    for number, is_reversed in enumerate((False, True, False, True)):
        email = f"p{number}@example.com"
        common = {"key": f"{number}/event", "contact": Reference(email=email), "occurred_at": NOW - 9 * HOUR}
        items = [
            Item(**common, activity="visit", amount=1_000),  # type: ignore[arg-type]  # named arguments
            Item(**common, score="plain", op=Op.SET, amount=40_000),  # type: ignore[arg-type]  # named arguments
            Item(**common, score="asking", op=Op.SET, amount=40_000, fields={"tags": []}),  # type: ignore[arg-type]
            Item(**common, score="score", op=Op.SET, amount=7_000, fields={"tags": ["vip"]}),  # type: ignore[arg-type]
        ]
        items_by_email[email] = items[::-1] if is_reversed else items
    for number, items in enumerate(items_by_email.values()):
        for together in [items] if number < 2 else [[item] for item in items]:
            await team.deliver(*together, batch=f"{number}/{together[0].score}/{together[0].activity}")
        await team.deliver(
            *(set_to(f"{number}/later", f"p{number}@example.com", 70, score=key) for key in ("plain", "asking")),
            batch=f"{number}/later",
        )
    ends = []
    for email in items_by_email:
        lines = {
            key: [(line.op.value, line.effective, line.value) for line in await team.lines(email, key)] for key in RULED
        }
        (card,) = await cards_of(team.workspace, ids=[(await team.contact(email)).id], now=NOW + 7 * DAY - HOUR)
        trends = {
            standing.score_type.key: standing.trends[7]
            for standing in card.standings
            if standing.score_type.key in RULED
        }
        ends.append((lines, trends))

    plain = [("set", 30_000, 70_000), ("set", 35_000, 40_000), ("activity", 5_000, 5_000)]
    asking = [("set", 29_000, 70_000), ("fields", 1_000, 41_000), *plain[1:]]
    assert ends == [({"plain": plain, "asking": asking}, {"plain": 30_000, "asking": 29_000})] * 4
    contact, read, before = (await team.contact(email)).id, [], None
    for _ in plain:  # one entry per page, so that a page that leaves out an entry is noticed
        _, (line,) = await history(team.workspace, contact=contact, score="plain", most=1, before=before)
        read.append((line.op.value, line.effective, line.value))
        before = line.order
    assert read == plain
