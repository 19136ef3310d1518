"""Random histories of scores, caps, undos, filters and follow-ups agree with the plain rules in `rulebook`.

Times often coincide: with each other, with a half-life, with the end of a day, with the instant at which a rule fires.
HISTORIES=500 runs more histories than the default.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from storage.alerts.enroll import add_alert_rule
from storage.alerts.followups import load_follow_ups
from storage.alerts.memory import count_suppressed
from storage.alerts.sweep import sweep_rules
from storage.bootstrap import Storage
from storage.domain import score_types as ours
from storage.domain.contacts import Reference
from storage.domain.errors import NothingToUndo
from storage.domain.facts import Item, Op
from storage.domain.filters import parse
from storage.domain.submissions import Recorded, Submission
from storage.ledger.verify import verify_next
from storage.reading.current_scores import cards_of
from storage.reading.history import history
from storage.reading.pages import page
from storage.scoring.definitions import add_score_type, score_types
from storage.workspaces import add_workspace
from tests.counts import report_counts
from tests.storage.firings import list_firings
from tests.storage.rulebook import Event, Measure, Told, Worth, fits, story
from tests.storage.teams import DAY, NOW, SECOND, Team, field_item
from tests.storage.watchbook import Rule, Watching

HISTORIES, STEPS = int(os.environ.get("HISTORIES", "3")), 30
HOUR = DAY // 24
PEOPLE = {"ada@example.com": ("vip",), "bob@example.com": (), "zo\u00eb@example.com": ("vip", "new")}
WORTH = (
    Worth(activity="visit", points=2_000, cap=(5_000, "day", "web")),
    Worth(activity="click", points=-3_000, cap=(5_000, "day", "web")),
    Worth(activity="demo", points=15_000, tag="vip"),
    Worth(activity="demo", points=5_000, tag="new", cap=(8_000, "month", "new demo")),
    Worth(activity="mail", points=3_000, cap=(4_000, "week", "mail")),
    Worth(activity="complaint", points=-40_000, cap=(60_000, "ever", "complaint")),
)
SPANS = {"1h": HOUR, "6h": 6 * HOUR, "1d": DAY, "2d": 2 * DAY, "7d": 7 * DAY}
SCORE = Measure(key="score", low=0, high=100_000, step=1_000, start=0)


def measures(dice: random.Random) -> tuple[Measure, ...]:
    """Choose the score types of a history, the default type first."""
    half_life = dice.choice([HOUR, DAY, HOUR + 1])
    step, start = dice.choice([1_000, 1_000, 500, 5_000]), dice.choice([0, 10_000, -100_000])
    heat = Measure(key="heat", low=-100_000, high=100_000, step=step, start=start, half_life=half_life)
    return (
        SCORE,
        heat,
        Measure(key="worth", low=0, high=100_000, step=1_000, start=20_000, worth=WORTH),
        Measure(key="warmth", low=0, high=100_000, step=1_000, start=0, half_life=7 * DAY, worth=WORTH),
    )


def rules(dice: random.Random, watched: Sequence[Measure]) -> dict[str, Rule]:
    """Choose up to four alert rules, each under its words."""
    chosen: dict[str, Rule] = {}
    for _ in range(4):
        measure = dice.choice(watched)
        kind = dice.choice(["crosses", "crosses", "below", "moved", "rises", "falls", "untouched"])
        span, edge = dice.choice(list(SPANS)), dice.choice([measure.low + measure.step, 40_000, 50_250, measure.high])
        words, rule = f"{measure.key} crosses {edge / 1000:g}", Rule(of=measure, low=edge, rest=0)
        if kind == "below":
            words, rule = f"{measure.key} crosses below {edge / 1000:g}", Rule(of=measure, high=edge, rest=0)
        elif kind == "untouched":
            words, rule = f"{measure.key} untouched for {span}", Rule(of=measure, kind=kind, span=SPANS[span], rest=0)
        elif kind != "crosses":
            amount = dice.choice([1_000, 20_000])
            words = f"{measure.key} {kind} {amount // 1000} in {span}"
            rule = Rule(of=measure, kind=kind, amount=amount, span=SPANS[span], rest=0)
        if kind in ("crosses", "below") and dice.random() < 0.4:
            hold = dice.choice(["1h", "6h", "1d"])
            words, rule = f"{words} hold {hold}", replace(rule, hold=SPANS[hold])
        margin, rest = dice.choice([500, 10_000, 33_300]), dice.choice(["1h", "2d"])
        words = f"{words} margin {margin / 1000:g} cooldown {rest}"
        rule = replace(rule, margin=margin, rest=SPANS[rest])
        if dice.random() < 0.25:
            words, rule = f"{words} if tag:vip", replace(rule, tag="vip")
        chosen[words] = rule
    return chosen


@dataclass(slots=True)
class Life:
    """A workspace, and the state that the plain rules give it."""

    team: Team
    dice: random.Random
    measures: Sequence[Measure]
    undoes: bool  #: histories with undos have no alert rules: `watchbook` does not know what an undo puts back
    watchings: dict[int, dict[str, Watching]] = field(default_factory=dict)  #: by rule and email
    ids: dict[str, int] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    undos: list[tuple[str, str]] = field(default_factory=list)  #: (batch, undone batch)
    person_batches: list[str] = field(default_factory=list)  #: batches of people
    now: int = NOW
    number: int = 0

    @property
    def undone(self) -> set[str]:
        """Return the batches that are left out."""

        def is_out(batch: str) -> bool:
            return any(undoes == batch and not is_out(undo) for undo, undoes in self.undos)

        return {undoes for _, undoes in self.undos if is_out(undoes)}

    def story(self, email: str, measure: Measure) -> list[Told]:
        """Return the entries of a score from the beginning."""
        return story((event for event in self.events if event.contact == email), measure, undone_batches=self.undone)

    def rank(self, email: str, measure: Measure, *, until: int | None = None) -> int | None:
        """Return the rank of a score, now or at *until*, or None if the score is missing."""
        entries = [entry for entry in self.story(email, measure) if entry.moved is not None]
        ranks = [entry.rank for entry in entries if until is None or entry.event.at <= until]
        return ranks[-1] if ranks else None

    def touched(self, email: str, measure: Measure) -> int:
        """Return the time of the last event of a score, undone or not, or -1."""
        own_events = (event for event in self.events if event.contact == email and bears(event, measure))
        return max((event.at for event in own_events), default=-1)


def bears(event: Event, measure: Measure) -> bool:
    """Return whether an event belongs to a score."""
    return event.score == measure.key or any(
        worth.activity == event.activity and fits(worth.tag, event.tags) for worth in measure.worth
    )


async def begin(storage: Storage, number: int, counted: Counter[str]) -> Life:
    """Create a workspace with contacts, their tags and alert rules, before any score exists."""
    dice = random.Random(number)
    workspace = await add_workspace(f"T{number}", name="Acme", by="U0ADMIN", now=NOW)
    life = Life(Team(workspace), dice, measures(dice), undoes=number % 3 == 2)
    for measure in life.measures[1:]:
        score_rules = [
            ours.Rule(
                name=f"{place}", points=worth.points, activity=worth.activity,
                condition=f"tag:{worth.tag}" if worth.tag else "",
                cap=ours.RuleCap(points=worth.cap[0], period=worth.cap[1], group=worth.cap[2]) if worth.cap else None,
            )
            for place, worth in enumerate(measure.worth)
        ]  # fmt: skip  # one scoring rule
        await add_score_type(
            workspace, key=measure.key, label=measure.key, minimum=measure.low, maximum=measure.high,
            step=measure.step, start=measure.start, half_life=measure.half_life, bands=[], rules=score_rules,
            is_default=False, by="U0ADMIN", now=NOW,
        )  # fmt: skip  # one definition
    for email, tags in PEOPLE.items():
        await life.team.deliver(field_item(email, email, at=0, tags=list(tags)), batch=email)
        life.ids[email] = (await life.team.contact(email)).id
    for words, rule in (rules(dice, life.measures) if not life.undoes else {}).items():
        made_of = await add_alert_rule(workspace, words=words, made_by="U1", owners={}, now=NOW)
        life.watchings[made_of.id] = {email: Watching(rule, tags) for email, tags in PEOPLE.items()}
    counted["histories"] += 1
    return life


def next_instant(life: Life) -> int:
    """Choose the next instant, often within a µs of the instant at which a rule would fire."""
    dice, soon = life.dice, list[int]()
    if dice.random() < 0.4:
        for watching, email in (
            (watching_, email) for watchings in life.watchings.values() for email, watching_ in watchings.items()
        ):
            measure = watching.rule.of
            soon += watching.rule.instants(
                life.rank(email, measure), life.touched(email, measure), life.now, life.now + 2 * DAY
            )
            soon += [at for at in (watching.waits, (watching.asked_at or 0) + watching.rule.rest) if at]
    soon = [at for at in soon if life.now < at <= life.now + 9 * DAY]
    if soon:
        return dice.choice(soon) + dice.choice([0, 0, 1, -1])
    if dice.random() < 0.1:
        return life.now + DAY - life.now % DAY + dice.choice([0, 0, 1, -1])
    return life.now + dice.choice([0, 0, 1, SECOND, HOUR, DAY, dice.choice(life.measures).half_life or 1])


def some_item(life: Life, key: str, email: str) -> Item:
    """Choose an item of a contact, and when it happened."""
    dice, contact = life.dice, Reference(email=email)
    ago = dice.choice([0, 0, 1, HOUR, DAY, 7 * DAY, dice.randrange(3 * DAY)])
    day = life.now - life.now % DAY
    at = dice.choice(
        [None, life.now - ago, life.now - ago, day - dice.choice([0, 1, 31 * DAY, dice.randrange(7) * DAY])]
    )
    if dice.random() < 0.3:
        activity = dice.choice(["visit", "click", "demo", "mail", "mail", "complaint", "else"])
        amount = dice.choice([1_000, 1_000, 2_500, 333, 500])
        return Item(key=key, contact=contact, activity=activity, amount=amount, occurred_at=at)
    measure, op = dice.choice(life.measures), dice.choice([Op.SET, Op.SET, Op.ADD, Op.ADD, Op.ADD, Op.CLEAR])
    steps = (measure.high - measure.low) // measure.step
    amount = measure.low + measure.step * dice.choice([0, steps, dice.randint(0, steps)])
    if op is not Op.SET:
        amount = measure.step * dice.randint(-steps, steps) if op is Op.ADD else 0
    return Item(key=key, contact=contact, score=measure.key, op=op, amount=amount, occurred_at=at)


async def act(life: Life, counted: Counter[str]) -> None:
    """Perform a random event in the workspace and in the plain rules: a sweep, or one or more submissions."""
    dice = life.dice
    life.now = max(life.now, next_instant(life))
    if dice.random() < 0.25:
        await sweep_rules(life.team.workspace, now=life.now)
        settle(life)
        return
    submissions = list[Submission]()
    together = dice.choice([1, 1, 1, 2, 3])
    for _ in range(together):
        life.number += 1
        batch = f"{life.number:04d}"
        if life.undoes and life.person_batches and not submissions and dice.random() < 0.15:
            submissions.append(life.team.undoing(dice.choice(life.person_batches[-3:]), batch=batch, received=life.now))
            break
        # The order of the submissions in a commit is undefined, so the stamp of a person's change would be too.
        person = dice.choice([None, None, dice.choice(list(PEOPLE))]) if together == 1 else None
        items = [
            some_item(life, f"{dice.choice('kK/')}{batch}/{place}", person or dice.choice(list(PEOPLE)))
            for place in range(dice.choice([1, 1, 2, 3]))
        ]
        if together > 1:
            items = [replace(item, occurred_at=life.now) if item.occurred_at is None else item for item in items]
        if person:
            submissions.append(life.team.asking(replace(items[0], occurred_at=None), batch=batch, received=life.now))
        else:
            delivery = life.team.delivery(*items, source=dice.choice(["crm", "n8n"]), batch=batch, received=life.now)
            submissions.append(replace(delivery, muted=dice.random() < 0.1))
    outcomes = await asyncio.gather(
        *(life.team.record(submission) for submission in submissions), return_exceptions=True
    )
    for submission, outcome in zip(submissions, outcomes, strict=True):
        check_outcome(life, submission, outcome, counted)


def check_outcome(life: Life, submission: Submission, outcome: Recorded | BaseException, counted: Counter[str]) -> None:
    """Apply a submission to the plain rules, and compare the outcome."""
    before = {
        (email, measure.key): (life.rank(email, measure), life.touched(email, measure))
        for email in PEOPLE
        for measure in life.measures
    }
    if submission.undoes in life.undone:
        assert isinstance(outcome, NothingToUndo)
        return
    assert isinstance(outcome, Recorded), outcome
    new = stamped(life, submission)
    if submission.undoes:
        life.undos.append((submission.batch, submission.undoes))
        names = dict(life.undos)
        batch = submission.undoes
        while batch in names:
            batch = names[batch]
        new = [event for event in life.events if event.batch == batch]
    else:
        life.events += new
    if submission.actor:
        life.person_batches.append(submission.batch)
    counted["facts"] += len(new)
    unasked = 0
    for measure in life.measures:
        for email in sorted({event.contact for event in new if bears(event, measure)}):
            rank, touched = before[email, measure.key]
            shown_value = measure.shown(rank, life.now)
            for watching in (
                watchings[email] for watchings in life.watchings.values() if watchings[email].rule.of is measure
            ):
                watching.settle(rank, touched, life.now)
                becomes = life.rank(email, measure)
                if watching.rule.amount:
                    since = life.now - watching.rule.span
                    value_then = measure.shown(life.rank(email, measure, until=since), since)
                    unasked += watching.moved(shown_value, becomes, value_then, life.now, quietly=submission.muted)
                else:
                    unasked += watching.decide(
                        becomes, life.touched(email, measure), life.now, quietly=submission.muted
                    )
    assert outcome.muted_follow_ups == unasked


def stamped(life: Life, submission: Submission) -> list[Event]:
    """Return the events of a submission; an item without a time comes after all events of its scores."""
    new_events = list[Event]()
    for place, item in enumerate(submission.items):
        assert isinstance(item, Item)
        assert isinstance(item.contact, Reference)
        email = item.contact.email or ""
        own = item.occurred_at
        event = Event(
            at=life.now + place if own is None else min(own, life.now), source=submission.source, key=item.key,
            batch=submission.batch, contact=email, score=item.score or "", op=item.op.value if item.op else "",
            amount=item.amount, activity=item.activity or "", tags=PEOPLE[email],
        )  # fmt: skip  # contact, change and time
        if own is None:
            measures = [
                measure
                for measure in life.measures
                if item.score == measure.key or item.activity in {w.activity for w in measure.worth}
            ]
            instants = [life.touched(email, measure) for measure in measures]
            instants += [
                event.at
                for event in new_events
                if event.contact == email and any(_names_measure(event, measure) for measure in measures)
            ]
            event = replace(event, at=max([event.at, *(at + 1 for at in instants)]))
        new_events.append(event)
    return new_events


def _names_measure(event: Event, measure: Measure) -> bool:
    return event.score == measure.key or event.activity in {worth.activity for worth in measure.worth}


def settle(life: Life) -> None:
    """Apply what time alone decides up to now."""
    for watchings in life.watchings.values():
        for email, watching in watchings.items():
            measure = watching.rule.of
            if not watching.rule.amount:
                watching.settle(life.rank(email, measure), life.touched(email, measure), life.now)


async def check(life: Life, counted: Counter[str]) -> None:
    """Compare scores, histories, trends, filters and follow-ups."""
    cards = {card.contact.id: card for card in await cards_of(life.team.workspace, ids=life.ids.values(), now=life.now)}
    for email, id in life.ids.items():
        for measure in life.measures:
            entries, rank = life.story(email, measure), life.rank(email, measure)
            _, lines = await history(life.team.workspace, contact=id, score=measure.key, most=1_000)
            shown_entries = [entry for entry in entries if entry.event.score == measure.key or entry.moved]
            counted["effects"] += len(shown_entries)
            assert [
                (line.occurred_at, line.source, line.effective, line.value)
                for line in reversed(lines)
                if line.op in Op or line.effective
            ] == [(entry.event.at, entry.event.source, entry.moved, entry.value) for entry in shown_entries]
            standing = cards[id].standing(measure.key)
            before = measure.shown(life.rank(email, measure, until=life.now - 7 * DAY), life.now - 7 * DAY)
            value = measure.shown(rank, life.now)
            trend = None if value is None or before is None else value - before
            counted["scores"] += 1
            got = (standing.rank, standing.value, standing.trends.get(7)) if standing else (None, None, None)
            assert got == (rank, value, trend)
    await check_filters(life, counted)
    follow_ups = await load_follow_ups(life.team.workspace, ids=range(1, 100_000))
    expected = sorted(
        (rule, life.ids[email], *event)
        for rule, watchings in life.watchings.items()
        for email, watching in watchings.items()
        for event in watching.follow_ups
    )
    assert await list_firings(life.team.workspace) == [(rule, contact, at) for rule, contact, at, *_ in expected]
    # A rule that fires again for an unfinished follow-up leaves there what it did last.
    assert expected == sorted(
        {*expected}
        | {
            (rule.rule, follow_up.contact, rule.fired_at, rule.after, rule.let_go_at)
            for follow_up in follow_ups
            for rule in follow_up.rules
        }
    )
    spent = {rule: sum(watching.spent for watching in watchings.values()) for rule, watchings in life.watchings.items()}
    assert await count_suppressed(life.team.workspace) == {rule: times for rule, times in spent.items() if times}
    assert (await verify_next(life.team.workspace)).differences == ()
    counted.update(
        {"follow-ups": len(follow_ups), "closed": sum(follow_up.standing.state == "closed" for follow_up in follow_ups)}
    )


async def check_filters(life: Life, counted: Counter[str]) -> None:
    """Query each score and its past at exactly the values and times that occur."""
    types = await score_types(life.team.workspace)
    for measure in life.measures:
        # The query time is chosen so that its span just reaches back to an event, or just misses the event.
        instants = [
            (name, event.at + span) for name, span in SPANS.items() for event in life.events if bears(event, measure)
        ]
        name, now = life.dice.choice([option for option in instants if option[1] >= life.now] or [("1d", life.now)])
        now += life.dice.choice([0, 0, 1])
        since = now - SPANS[name]
        have = {email: measure.shown(life.rank(email, measure), now) for email in PEOPLE}
        had = {email: measure.shown(life.rank(email, measure, until=since), since) for email in PEOPLE}
        both = {
            email: (value, had[email]) for email, value in have.items() if value is not None and had[email] is not None
        }
        edge = life.dice.choice(
            [value for value in (*have.values(), *had.values()) if value is not None] or [measure.high]
        )
        amount = life.dice.choice(
            [abs(value - before) for value, before in both.values() if value != before]  # type: ignore[operator]
            or [measure.step]
        )
        last = {
            email: max((entry.event.at for entry in life.story(email, measure) if entry.moved is not None), default=0)
            for email in PEOPLE
        }
        answers = {
            f"{measure.key}>={edge / 1000:g}": [
                email for email, value in have.items() if value is not None and value >= edge
            ],
            f"{measure.key}={edge / 1000:g}": [email for email, value in have.items() if value == edge],
            f"-has:{measure.key}": [email for email, value in have.items() if value is None],
            f"{measure.key} moved {amount / 1000:g} in {name}": [
                email
                for email, (value, before) in both.items()
                if abs(value - before) >= amount  # type: ignore[operator]
            ],
            f"{measure.key} stale {name}": [
                email for email, value in have.items() if value is not None and last[email] <= since
            ],
        }
        if measure.low < edge:
            answers[f"{measure.key}<{edge / 1000:g}"] = [
                email for email, value in have.items() if value is not None and value < edge
            ]
            answers[f"{measure.key} crossed above {edge / 1000:g} in {name}"] = [
                email for email, value in have.items()
                if value is not None and value >= edge and ((before := had[email]) is None or before < edge)
            ]  # fmt: skip  # one answer
        for text, expected in answers.items():
            cards = (await page(life.team.workspace, query=parse(text, types), limit=9, now=now)).cards
            counted["filters"] += 1
            assert (text, [card.contact.email for card in cards]) == (text, expected)


async def test_whatever_happens_is_as_the_rules_say(storage: Storage) -> None:
    """Scores, effects, trends, filters and follow-ups with their times agree with the plain rules."""
    counts: Counter[str] = Counter()
    for number in range(HISTORIES):
        life = await begin(storage, number, counts)
        for _ in range(STEPS):
            await act(life, counts)
        await sweep_rules(life.team.workspace, now=life.now)
        settle(life)
        await check(life, counts)
        life.now += 9 * DAY
        await sweep_rules(life.team.workspace, now=life.now)
        settle(life)
        await check(life, counts)
    report_counts(f"told by the rules on {storage.dialect}", counts)
    assert counts["effects"] >= 60 * HISTORIES
    assert counts["follow-ups"] >= 6 * HISTORIES
    assert counts["closed"] >= 2 * HISTORIES
