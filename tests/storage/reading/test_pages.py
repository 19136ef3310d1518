"""The SQL of filters agrees with their specification in Python, on contacts with borderline values."""

import asyncio
import random
from dataclasses import replace

import pytest

from storage.bootstrap import Storage
from storage.db.database import current_database
from storage.domain.contacts import Json, Reference
from storage.domain.errors import BadCursor
from storage.domain.facts import Item, Op
from storage.domain.filters import Candidate, Filter, parse
from storage.domain.filters.terms import Has, Term
from storage.domain.people import Workspace
from storage.domain.score_types import Band, ScoreType
from storage.domain.submissions import Submission
from storage.domain.texts import match_key
from storage.ledger.committer import record
from storage.reading.pages import (
    FEW,
    MOST_QUESTIONS,
    Few,
    count,
    find_emptying_term,
    match_each,
    matching_contacts,
    page,
)
from storage.scoring.definitions import add_score_type, score_types
from storage.workspaces import add_workspace
from tests.counts import report_counts

NOW = 1_767_225_600_000_000
PEOPLE = 120
FILTERS = 400

MANY = Few(candidates=0, matches=0)  # as in a large workspace: nothing is few

NAMES = ("Ada Lovelace", "ADA", "Zoë Müller", "Łukasz 100%", "under_score", "bang!", "Émile", "ＡＤＡ", None)
COMPANIES = ("Acme Corp", "acme corp", "Straße AG", 'a"b', None)
OWNERS = ("rep@acme.com", "REP@acme.com", "jane@acme.com", None)
DAY = 86_400_000_000
PLANS: tuple[Json, ...] = ("pro", "Pro", "ＰＲＯ", "free", ["pro", "beta", "PRO", None], [], ["", None], "", None, True)
NUMBERS: tuple[Json, ...] = (
    0, -3, 49, 50, "50", 50.0, " 50 ", 50.0004, 49.9999996, 51, "1e2", 2_000_000_000, 10**15, "9" * 30, True, [50],
    "n/a", "1,000", None, {"a": 50},
)  # fmt: skip  # numbers, and values that are none
TIMES: tuple[Json, ...] = (
    "2025-12-25", "2025-12-25T00:00:00Z", "2025-12-25 02:00+02:00", "2025-12-24T23:59:59.999999Z", "2026-02-01",
    (NOW - 7 * DAY) // 1_000_000, str((NOW - 7 * DAY) // 1000), NOW - 7 * DAY + 1, 7, "25.12.2025", "2025-13-01", None,
)  # fmt: skip  # a week ago, sooner and later, and values that are no time
NOTES: tuple[Json, ...] = ("x" * 300, "x" * 300 + "y", "x" * 200, "Zoë’s", None)
TAGS = ("vip", "VIP", "churn risk", "a_b", "50%")


@pytest.fixture
async def people(storage: Storage) -> tuple[Workspace, list[ScoreType], list[Candidate]]:
    """Fill a workspace with contacts, and another workspace that must stay invisible."""
    dice = random.Random(7)
    own_workspace, other = (
        await add_workspace("T1", name="One", by="U0ADMIN", now=NOW),
        await add_workspace("T2", name="Two", by="U0ADMIN", now=NOW),
    )
    for workspace in (own_workspace, other):
        bands = (Band(name="poor", start=-5000), Band(name="fair", start=0), Band(name="good", start=4500))
        await add_score_type(
            workspace, key="fit", label="Fit", minimum=-5000, maximum=5000, step=500, bands=bands, start=None,
            is_default=False, by="U0ADMIN", now=NOW,
        )  # fmt: skip  # the numbers of one definition stand together
    candidates, records = [], []
    for number in range(PEOPLE):
        field_values = {"name": dice.choice(NAMES), "company": dice.choice(COMPANIES), "owner": dice.choice(OWNERS)}
        fields: dict[str, Json] = {name: value for name, value in field_values.items() if value is not None}
        attributes: dict[str, Json] = {
            "plan": dice.choice(PLANS), "seats": dice.choice(NUMBERS), "last_seen": dice.choice(TIMES),
            "Lead Note": dice.choice(NOTES),
        }  # fmt: skip  # a value of each kind
        for name in dice.sample(sorted(attributes), k=dice.randint(0, 2)):
            del attributes[name]
        fields |= {f"attributes.{name}": value for name, value in attributes.items()}
        tags: list[Json] = [*dice.sample(TAGS, k=dice.randint(0, 2))]
        score = dice.choice([None, 0, 39_000, 40_000, 79_000, 80_000, 81_000, 100_000])
        fit = dice.choice([None, -5000, -500, 0, 500, 4000, 4500, 5000])
        email = f"p{number:03d}@{'acme' if number % 3 else 'ex_ample'}.com"
        values = {key: value for key, value in (("score", score), ("fit", fit)) if value is not None}
        for workspace in (own_workspace, other):
            own: dict[str, Json] = {"attributes.seats": 50, "attributes.secret": "theirs"} if workspace is other else {}
            items = [Item(key=f"{number}", contact=Reference(email=email), fields=fields | {"tags": tags} | own)]
            items += [
                Item(key=f"{number}", contact=Reference(email=email), score=key, op=Op.SET, amount=value)
                for key, value in values.items()
            ]
            batch = Submission(source="crm", batch=f"{number}", received_at=NOW, items=items)
            records.append(record(workspace, batch, now=NOW))
        candidates.append(
            Candidate(
                id=number, email=email, name=field_values["name"], company=field_values["company"],
                owner=field_values["owner"], tags=tuple(map(str, tags)), values=values,
                attributes=attributes, now=NOW,
            )
        )  # fmt: skip  # one contact
    await asyncio.gather(*records)
    return own_workspace, list(await score_types(own_workspace)), candidates


def _terms(dice: random.Random) -> str:
    number = dice.choice(["0", "39", "40", "79", "80", "81", "100"])
    fit = dice.choice(["-5", "-0.5", "0", "0.5", "4", "4.5", "5"])
    seats = dice.choice(["0", "-3", "49.9999996", "50", "50.0004", "51", "100", "2000000000", "8000000000000"])
    return dice.choice(
        [
            f"attributes.seats{dice.choice(['>', '>=', '<', '<=', '=', '!='])}{seats}",
            f"attributes.last_seen{dice.choice(['>', '>=', '<', '<='])}7d", "has:attributes.seats",
            f"attributes.plan:{dice.choice(['pro', '(free,beta)', '()', 'true'])}".replace("()", '""'),
            f'attributes."Lead Note":"{dice.choice(NOTES) or "-"}"', 'has:attributes.“Lead Note”',
            "attributes.seats:-3..50", "attributes.seats:*..50", "attributes.seats:50..*", "attributes.seats:50",
            "has:attributes.plan", "attributes.secret:theirs", "has:attributes.last_seen", "attributes.last_seen>7d",
            f"score{dice.choice(['>=', '<=', '=', '!='])}{number}",
            f"fit{dice.choice(['>=', '<=', '=', '!='])}{fit}",
            "score>79", "score<40", "fit>4", "fit<0", "fit:-0.5..4", "score:40..*", "score:*..80", "fit:good",
            "fit:(poor,fair)", "score:hot", "has:fit", "has:score", "owner:rep@acme.com", "owner:(me,jane@acme.com)",
            "tag:vip", 'tag:("churn risk",a_b)', 'tag:"50%"', 'company:"Acme Corp"', 'company~"straße"',
            "company~STRASSE", "email~ex_ample", "name~%", "name~_", 'name~"!"', "name~zoë", "ada", "zoë", '"acme c"',
        ]
    )  # fmt: skip  # a table of ways to ask


def _question(dice: random.Random, depth: int = 0) -> str:
    kind = dice.random()
    if depth > 2 or kind < 0.5:
        return _terms(dice)
    if kind < 0.65:
        return f"-{_terms(dice)}" if dice.random() < 0.5 else f"NOT ({_question(dice, depth + 1)})"
    joint = " " if kind < 0.85 else " OR "
    return f"({joint.join(_question(dice, depth + 1) for _ in range(dice.randint(2, 3)))})"


async def _load_all_pages(workspace: Workspace, contact_filter: Filter, *, limit: int, few: Few = FEW) -> list[str]:
    """Load all pages of a result, and return the emails in order."""
    addresses: list[str] = []
    cursor = None
    while True:
        result = await page(workspace, query=contact_filter, limit=limit, cursor=cursor, now=NOW, few=few)
        assert len(result.cards) == limit or result.next_cursor is None
        addresses += [card.contact.email or "" for card in result.cards]
        cursor = result.next_cursor
        if cursor is None:
            return addresses


async def test_the_sql_of_a_filter_finds_whom_its_specification_finds(
    people: tuple[Workspace, list[ScoreType], list[Candidate]],
) -> None:
    """Hundreds of random filters, each on every contact, find what the specification finds, with thousands of hits.

    The same is found as in a large workspace, in any order. All of them, asked at once, each about a few contacts, find
    the same.
    """
    workspace, types, candidates = people
    dice, hits, cells = random.Random(11), 0, 0
    rows = await current_database().reader.rows("SELECT id, workspace_id, email FROM contacts")
    address_of = {row["id"]: row["email"] for row in rows if row["workspace_id"] == workspace.id}
    questions, answers = list[tuple[Workspace, Term, list[int]]](), list[set[int]]()
    for _ in range(FILTERS):
        text = _question(dice)
        contact_filter = parse(text, types, owners={"me": "rep@acme.com"})
        found = [candidate for candidate in candidates if contact_filter.matches(candidate)]
        expected = [candidate.email for candidate in found]
        hits, cells = hits + len(expected), cells + len(candidates)

        assert (text, await _load_all_pages(workspace, contact_filter, limit=1000)) == (text, expected)
        assert await count(workspace, query=contact_filter, now=NOW, few=MANY) == len(expected)
        sort = SORTS[len(questions) % len(SORTS)]
        sorted_filter = replace(contact_filter, sort=parse(f"sort:{sort}", types).sort)
        in_order = [candidate.email for candidate in _sorted(found, sort)]
        assert (text, sort, await _load_all_pages(workspace, sorted_filter, limit=1000, few=MANY)) == (
            text,
            sort,
            in_order,
        )
        some = random.Random(text).sample([row["id"] for row in rows], k=9)
        questions.append((workspace, contact_filter.where, some))
        answers.append({id for id in some if address_of.get(id) in expected})
    assert len(questions) > MOST_QUESTIONS
    assert await match_each(current_database().reader, questions, now=NOW) == answers
    report_counts(f"random filters on {current_database().dialect}", {"cells": cells, "hits": hits})
    assert cells >= 40_000
    assert cells * 0.1 < hits < cells * 0.9


SORTS = (
    *("score", "-score", "-fit", "fit,-score", "-score,name", "name"),
    *("-name,fit", "-company,-name,score", "owner,-fit", "email", "-email"),
)


async def test_every_page_together_is_the_sorted_answer(
    people: tuple[Workspace, list[ScoreType], list[Candidate]],
) -> None:
    """Pages of any size contain each contact once, in sort order, with missing values last."""
    workspace, types, candidates = people
    untagged = [candidate for candidate in candidates if not {"vip", "VIP"} & set(candidate.tags)]
    assert len(untagged) > 40
    for sort in SORTS:
        expected = [candidate.email for candidate in _sorted(untagged, sort)]
        contact_filter = parse(f"-tag:VIP sort:{sort}", types)
        for limit, few in ((1, MANY), (7, FEW), (50, MANY), (1000, FEW)):
            assert (sort, await _load_all_pages(workspace, contact_filter, limit=limit, few=few)) == (sort, expected)


def _sorted(candidates: list[Candidate], sort: str) -> list[Candidate]:
    for key in reversed(sort.split(",")):  # stable sorts by the last key first amount to a sort by all keys
        # reverse=True keeps ties in order, so a descending key does not reverse them.
        candidates = _missing_last(candidates, key.lstrip("-"), down=key.startswith("-"))
    return candidates


def _missing_last(candidates: list[Candidate], key: str, *, down: bool) -> list[Candidate]:
    if key in ("score", "fit"):
        numbers = {candidate.id: candidate.values[key] for candidate in candidates if key in candidate.values}
        having = sorted(
            (candidate for candidate in candidates if candidate.id in numbers),
            key=lambda candidate: numbers[candidate.id],
            reverse=down,
        )
        return [*having, *(candidate for candidate in candidates if candidate.id not in numbers)]
    texts = {
        candidate.id: match_key(getattr(candidate, key)).encode()
        for candidate in candidates
        if getattr(candidate, key) is not None
    }
    having = sorted(
        (candidate for candidate in candidates if candidate.id in texts),
        key=lambda candidate: texts[candidate.id],
        reverse=down,
    )
    return [*having, *(candidate for candidate in candidates if candidate.id not in texts)]


async def test_a_cursor_of_another_filter_or_none_of_ours_is_refused(
    people: tuple[Workspace, list[ScoreType], list[Candidate]],
) -> None:
    """A cursor of another filter, or any other text, is refused, because cursors come from outside."""
    workspace, types, _ = people
    by_score = await page(workspace, query=parse("sort:-score", types), limit=3, now=NOW)
    for text, cursor in (("sort:name", by_score.next_cursor), ("", "garbage!"), ("sort:-score", "W10"), ("", "")):
        with pytest.raises(BadCursor):
            await page(workspace, query=parse(text, types), limit=3, cursor=cursor, now=NOW)


async def test_an_empty_answer_is_explained_by_the_term_that_emptied_it(
    people: tuple[Workspace, list[ScoreType], list[Candidate]],
) -> None:
    """For an empty result the first term that leaves no contact is reported as it was typed."""
    workspace, types, _ = people
    assert await find_emptying_term(
        workspace, query=parse('has:fit  name~"nobody at all" tag:vip', types), now=NOW
    ) == ('name~"nobody at all"')
    assert await find_emptying_term(workspace, query=parse("has:fit", types), now=NOW) is None


async def test_a_part_of_an_address_may_begin_with_a_separator(
    people: tuple[Workspace, list[ScoreType], list[Candidate]],
) -> None:
    """The index of words is cut at separators, which a part may begin or end with, in the local part and the domain."""
    workspace, types, _ = people
    item = Item(key="cut", contact=Reference(email="ann.company-7@north.example.org"))
    await record(workspace, Submission(source="crm", batch="cut", received_at=NOW, items=[item]), now=NOW)
    for part, number in ((".comp", 1), (".company-", 1), ("n.comp", 1), ("-7@nor", 1), (".exam", 1), ("company.", 0)):
        assert (part, await count(workspace, query=parse(f'email~"{part}"', types), now=NOW)) == (part, number)


async def test_a_part_of_a_word_that_is_too_long_to_be_indexed_is_found(
    people: tuple[Workspace, list[ScoreType], list[Candidate]],
) -> None:
    """The index of words has the first 200 characters of a word. A filter finds its last characters, too."""
    workspace, types, _ = people
    long = "".join(f"a{letter}b" for letter in "cdefghij" * 10)
    item = Item(key="long", contact=Reference(email="long@acme.com"), fields={"company": f"Acme {long}xyz"})
    await record(workspace, Submission(source="crm", batch="long", received_at=NOW, items=[item]), now=NOW)
    for part, number in (("hbaibajbxyz", 1), ("acme acba", 1), (f"bacbadb{'x' * 200}", 0), ("jbxyz a", 0)):
        query = parse(f'company~"{part}"', types)
        assert (part, await count(workspace, query=query, now=NOW)) == (part, number)
        assert (part, await count(workspace, query=query, now=NOW, few=MANY)) == (part, number)


async def test_a_score_filter_is_read_from_the_index_of_the_ranks(
    people: tuple[Workspace, list[ScoreType], list[Candidate]],
) -> None:
    """With tens of thousands of scores, a threshold and a first page are read from the index, without a scan."""
    workspace, types, _ = people
    writer = current_database().writer
    new_ids = range(1_000_000, 1_030_000)
    await writer.rows(
        "INSERT INTO contacts (id, workspace_id, tags, tags_key, attributes, stamps, created_at, updated_at)"
        " SELECT id, $2, '[]', '', '{}', '{}', 1, 1 FROM given(id bigint)",
        [{"id": id} for id in new_ids],
        workspace.id,
    )
    await writer.rows(
        "INSERT INTO scores"
        " (workspace_id, contact_id, definition_id, own, own_at, base, rank, last_at, last_source, last_key)"
        " SELECT $2, id, $3, rank, 0, 0, rank, 1, 's', 'k' FROM given(id bigint, rank bigint)",
        [{"id": id, "rank": id % 100 * 1000} for id in new_ids],
        workspace.id,
        types[0].definition,
    )
    await writer.rows("ANALYZE")
    explain = "EXPLAIN QUERY PLAN" if current_database().dialect == "sqlite" else "EXPLAIN"
    definition = types[0].definition
    threshold = (
        "SELECT c.id FROM contacts c WHERE c.workspace_id = $1 AND c.id IN"
        " (SELECT contact_id FROM scores WHERE definition_id = $2 AND rank >= 99500)"
    )
    first_page = (
        "SELECT c.id FROM scores s0 JOIN contacts c ON c.id = s0.contact_id WHERE c.workspace_id = $1"
        " AND s0.definition_id = $2 AND s0.rank IS NOT NULL ORDER BY s0.rank DESC, c.id LIMIT 21"
    )
    for statement in (threshold, first_page):
        plan = " ".join(
            str(value)
            for row in await writer.rows(f"{explain} {statement}", workspace.id, definition)
            for value in row.values()
        )
        assert "scores_rank" in plan, plan


async def test_a_term_is_asked_about_some_contacts(
    people: tuple[Workspace, list[ScoreType], list[Candidate]],
) -> None:
    """A filter can be limited to given contacts: none, or more than the 32,767 parameters of a statement."""
    workspace, (score, *_), candidates = people
    reader, has = current_database().reader, Has(score)
    everybody = await matching_contacts(reader, workspace, where=has, among=range(40_000), now=NOW)

    assert len(everybody) == sum(score.key in candidate.values for candidate in candidates)
    assert await matching_contacts(reader, workspace, where=has, among=everybody[3:6], now=NOW) == everybody[3:6]
    assert await matching_contacts(reader, workspace, where=has, among=[], now=NOW) == []
