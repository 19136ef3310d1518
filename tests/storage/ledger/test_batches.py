"""A large batch is written in bulk, and every row of it is as if each item had been recorded alone."""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from storage.alerts.enroll import add_alert_rule
from storage.bootstrap import Storage
from storage.db.database import write
from storage.domain.contacts import Json, Reference
from storage.domain.facts import DAY, Item, Op
from storage.domain.score_types import Rule, RuleCap
from storage.domain.submissions import ItemOutcome
from storage.ledger.config_cache import ConfigCache
from storage.ledger.record import record_group
from storage.ledger.verify import verify_next
from storage.scoring.definitions import add_score_type
from storage.workspaces import add_workspace
from tests.counts import report_counts
from tests.storage import raw
from tests.storage.teams import NOW, Team, set_to

RULES = (
    Rule(name="Visit", activity="visit", points=2_000, cap=RuleCap(points=5_000, period="day")),
    Rule(name="Demo", activity="demo", points=15_000, condition="company:acme OR attributes.seats>=10"),
    Rule(name="VIP", points=25_000, condition="tag:vip"),
)
FIELDS: tuple[dict[str, Json], ...] = (
    {"company": "Acme", "name": "Ada Lovelace"},
    {"company": "Zoë & Søn GmbH", "owner": "rep@example.com"},
    {"attributes.seats": 12, "attributes.plan": ["pro", "team"]},
    {"tags": ["vip"]},
    {"tags": [], "name": "Ada King"},
)
#: what is compared, by table: columns, with keys in place of the ids of other rows
CONTACT = "(SELECT min(i.namespace || ':' || i.value) FROM identities i WHERE i.contact_id = {})"
FACT = "(SELECT f.dedupe_key || '/' || f.subject FROM facts f WHERE f.id = t.fact_id)"
TYPE = "(SELECT s.key FROM score_types s JOIN definitions d ON d.score_type_id = s.id WHERE d.id = t.definition_id)"
STORED = {
    "contacts": f"{CONTACT.format('t.id')}, first_email, email, name, company,"
    " owner, tags, attributes, email_key, name_key, company_key, owner_key, tags_key, stamps, is_gone",
    "identities": "namespace, value, " + CONTACT.format("t.contact_id"),
    "attribute_values": CONTACT.format("t.contact_id") + ", name, key, number, instant",
    "facts": CONTACT.format("t.contact_id") + ", " + CONTACT.format("t.other_id") + ", kind, source, dedupe_key,"
    " subject, op, CASE WHEN kind = 'merge' THEN 0 ELSE amount END, said, undoes, occurred_at, actor, reason, activity,"
    " named_id",
    "effects": f"{CONTACT.format('t.contact_id')}, {TYPE}, {FACT}, at, asked, effective, rank_after, rule, capped",
    "scores": CONTACT.format("t.contact_id") + f", {TYPE}, own, own_at, base, rank, spent, last_at, last_source,"
    " last_key",
    "contact_words": CONTACT.format("t.contact_id") + ", (SELECT w.word FROM words w WHERE w.id = t.word_id)",
    "words": "word",
    "word_trigrams": "trigram, (SELECT w.word FROM words w WHERE w.id = t.word_id)",
}

#: which rows to compare: what a merged row had before it was merged depends on what was known before the merge
WHOLE = " IN (SELECT c.id FROM contacts c WHERE c.merged_into IS NULL)"
WORD = " IN (SELECT p.word_id FROM contact_words p WHERE p.contact_id" + WHOLE + ")"
COMPARED = {
    "contacts": " AND t.merged_into IS NULL",
    "attribute_values": f" AND t.contact_id{WHOLE}",
    "contact_words": f" AND t.contact_id{WHOLE}",
    "words": f" AND t.id{WORD}",
    "word_trigrams": f" AND t.word_id{WORD}",
}


async def furnish(name: str) -> Team:
    """Return a team with a plain, a fading and a ruled score type, and an alert rule that reads scores."""
    team = Team(await add_workspace(name, name=name, by="U0ADMIN", now=NOW - 40 * DAY))
    for key, half_life, rules in (("heat", 3 * DAY, ()), ("ruled", None, RULES)):
        await add_score_type(
            team.workspace, key=key, label=key, minimum=0, maximum=100_000, step=1_000, bands=(), start=None,
            half_life=half_life, rules=rules, is_default=False, by="U0ADMIN", now=NOW - 40 * DAY,
        )  # fmt: skip  # what, then who and when
    words = "score crosses 50 if heat>=10"
    await add_alert_rule(team.workspace, words=words, made_by="U0ADMIN", owners={}, now=NOW - 40 * DAY)
    return team


def invent(random: Random, *, items: int) -> list[Item]:
    """Invent items about known and new contacts: repeats, conflicts, late facts and shared identities among them."""
    invented = list[Item]()
    for number in range(items):
        person = random.randrange(items // 4)
        email = f"P{person}@example.com" if random.random() < 0.8 else None
        id = f"{person}" if email is None or random.random() < 0.2 else None
        if email and id and random.random() < 0.1:
            id = f"{random.randrange(items // 4)}"  # of somebody else: they are merged
        common = {
            "key": f"k{number}", "contact": Reference(email=email, source="crm", id=id),
            "occurred_at": random.choice([None, NOW - random.randrange(9) * DAY // 2]),
            "fields": random.choice([{}, {}, *FIELDS]),
        }  # fmt: skip  # what every item has
        kind = random.choice(["change", "change", "activity", "fields"])
        if kind == "change":
            op = random.choice(list(Op))
            amount = 0 if op is Op.CLEAR else random.randrange(101) * 1_000
            item = Item(**common, score=random.choice(["score", "heat", "ruled"]), op=op, amount=amount)  # type: ignore[arg-type]  # named arguments
        elif kind == "activity":
            item = Item(**common, activity=random.choice(["visit", "demo"]), amount=1_000)  # type: ignore[arg-type]  # named arguments
        else:
            item = Item(**common)  # type: ignore[arg-type]  # named arguments
        invented.append(item)
        if random.random() < 0.05:
            again = random.choice(invented)
            invented.append(random.choice([again, replace(again, reason="another")]))
    return invented


async def stored(url: str, team: Team) -> dict[str, Counter[str]]:
    """Return the rows of a workspace by table, with the identities of contacts in place of row ids."""
    return {
        table: Counter(
            json.dumps(
                [json.loads(str(value)) if str(value).startswith("{") else value for value in row.values()],
                sort_keys=True,
            )
            for row in await raw.rows(
                url,
                "SELECT "
                + ", ".join(f"{column} AS c{place}" for place, column in enumerate(split(columns)))
                + f" FROM {table} t WHERE t.workspace_id = $1{COMPARED.get(table, '')}",
                team.workspace.id,
            )
        )
        for table, columns in STORED.items()
    }


def split(columns: str) -> list[str]:
    """Split a list of SQL expressions at the commas outside brackets."""
    parts, depth = [""], 0
    for character in columns:
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return parts


@pytest.mark.parametrize("seed", range(2))
async def test_a_batch_leaves_what_its_items_leave_one_by_one(storage: Storage, database_url: str, seed: int) -> None:
    """The rows of all tables are equal, whether 120 items arrive in two batches, in one group of commits, or alone."""
    items = invent(Random(seed), items=120)
    half = len(items) // 2
    batches, group, singles = [await furnish(name) for name in ("T0BATCH", "T0GROUP", "T0SINGLE")]
    outcomes = dict[str, list[ItemOutcome]]()
    for start, part in ((0, items[:half]), (half, items[half:])):
        recorded = await batches.deliver(*part, batch=f"d{start}", received=NOW + start)
        outcomes.setdefault("batches", []).extend(recorded.outcomes)
    deliveries = [{"batch": f"d{0 if place < half else half}", "received": NOW + place} for place in range(len(items))]
    at_once = await asyncio.gather(
        *(group.deliver(item, **delivery) for item, delivery in zip(items, deliveries, strict=True))  # type: ignore[arg-type]  # named arguments
    )
    outcomes["group"] = [outcome for recorded in at_once for outcome in recorded.outcomes]
    for item, delivery in zip(items, deliveries, strict=True):
        recorded = await singles.deliver(item, **delivery)  # type: ignore[arg-type]  # named arguments
        outcomes.setdefault("singles", []).extend(recorded.outcomes)

    expected = await stored(database_url, singles)
    assert min(counted.total() for counted in expected.values()) >= 20
    for team, name in ((batches, "batches"), (group, "group")):
        assert outcomes[name] == outcomes["singles"]
        rows = await stored(database_url, team)
        for table in STORED:
            assert rows[table] - expected[table] == expected[table] - rows[table] == Counter(), (name, table)
        assert (await verify_next(team.workspace)).differences == ()
    counts = Counter(outcome.status.value for outcome in outcomes["batches"])
    report_counts(f"a batch of {len(items)} items", counts)


async def test_a_score_that_is_saved_twice_in_a_transaction_is_inserted_once(storage: Storage) -> None:
    """Two submissions about a new contact share a transaction, in which a rule reads the score between them."""
    team = await furnish("T0ACME")
    group = [
        (team.workspace, team.delivery(set_to(f"k{value}", "ada@example.com", value), batch=f"d{value}"))
        for value in (60, 70)
    ]
    await write(lambda session: record_group(session, group, ConfigCache(), now=NOW))

    assert await team.value("ada@example.com") == 70_000
