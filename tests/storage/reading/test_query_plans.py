"""The most frequent statements find their rows through an index, however many rows there are."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Self

import pytest

from storage.bootstrap import Storage, open_storage
from storage.db.database import SERVER_SETTINGS
from storage.domain.contacts import Json, Reference
from storage.domain.facts import Item
from storage.domain.filters import parse
from storage.domain.score_types import Rule, RuleCap
from storage.ledger.verify import verify_next
from storage.reading.current_scores import cards_of, top
from storage.reading.history import history, why
from storage.reading.pages import FEW, Few, count, page
from storage.reading.portfolio import load_portfolio
from storage.reading.search import find, find_similar
from storage.scoring.definitions import add_score_type, score_types
from storage.scoring.drafts import build, cancel, create_draft
from storage.transfer.export import export
from storage.workspaces import add_workspace, find_workspace
from tests.conftest import KEY
from tests.counts import report_counts
from tests.storage import raw
from tests.storage.teams import DAY, NOW, Team, field_item, set_to

CONTACTS = 200_000  # on PostgreSQL; half of them have ids and facts
SQLITE_CONTACTS = 2_000  # SQLite plans with the statistics that the product writes, however many rows there are


MANY = Few(candidates=0, matches=0)  # as in a large workspace: nothing is few
FILTERS = (
    "-score>80", "NOT score!=50", "score:20..30 OR score<5", "NOT (score>80 score<90)", "score:hot OR tag:vip",
    "-score:(cold,warm)", "-has:score", "-has:(score,heat)", "NOT (has:score OR has:heat)", "-heat>=80",
    "owner:rep@example.com", "-tag:churned", "NOT ada", "-score rising 10 in 7d", "heat falling 20% in 30d OR heat>90",
    "NOT heat moved 5 in 1d", "-score crossed above 80 in 24h", "NOT score stale 30d", "followup:none",
    "-followup:none", "followup:open", "NOT updated<7d", "-attributes.visits:77", "attributes.visits:(7,8) OR tag:vip",
    "-attributes.visits>=50", "NOT attributes.visits:3..5", "-has:attributes.visits", "attributes.visits<7d OR tag:vip",
    "segment:hot", "-segment:hot", "segment:calm OR has:heat",
)  # fmt: skip  # a term of each kind, under a NOT or an OR
PAGED = ("owner:rep@example.com", "sort:heat,-score", "-has:heat sort:-score,name")  # missing scores come last
SEGMENTS = {"hot": "score>=80 OR heat>=80", "calm": "-score rising 5 in 7d -has:heat"}
#: filter → a part of its statement, and the index that the statement must use
LOOKED_UP = {
    "score rising 10 in 7d": ("rank_then", "effects_contact"),
    "score crossed above 50 in 7d": ("rank_then", "effects_contact"),
    "score stale 7d": ("max(e.at)", "effects_contact"),
    "score>=99.5": ("rank >=", "scores_rank"),
    "heat>=80": ("rank >=", "scores_rank"),
    "updated<1d": ("FROM facts f WHERE f.contact_id", "facts_contact_subject"),
    "attributes.visits:77": ("attribute_values", "attribute_values_key"),
    "attributes.visits:(77,78)": ("attribute_values", "attribute_values_key"),
    "attributes.visits=77": ("attribute_values", "attribute_values_number"),
    "attributes.visits>=999": ("attribute_values", "attribute_values_number"),
    "attributes.visits:3..5": ("attribute_values", "attribute_values_number"),
    "attributes.visits<1h": ("attribute_values", "attribute_values_instant"),
}


async def plan(url: str, record: logging.LogRecord, *, for_any_values: bool = False, **settings: str) -> str:
    """Return the plan of a logged statement, on PostgreSQL with *settings* in addition to the product's own.

    The product's plans are made for any values. The few rows of most tables here have better plans for those logged.
    """
    assert isinstance(record.args, tuple)
    sql, values = str(record.args[0]), list(record.args[1])  # type: ignore[call-overload]  # as Tortoise logs them
    if raw.is_sqlite(url):
        rows = await raw.rows(url, f"EXPLAIN QUERY PLAN {sql}", *values)
        return "\n".join(str(row["detail"]) for row in rows)
    connection = await raw.connect(url)
    try:
        for name, value in (SERVER_SETTINGS | settings).items():  # the settings of the product's connections
            await connection.execute(f"SET {name} = '{value}'")
        if not for_any_values:
            return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {sql}", *values))
        await connection.execute(f"PREPARE logged AS {sql}")
        nulls = f"({', '.join(['NULL'] * len(values))})" if values else ""
        return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE logged{nulls}"))
    finally:
        await connection.close()


class Recorder(logging.Handler):
    """Collect the statements that Tortoise logs during the block."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self._logger = logging.getLogger("tortoise.db_client")

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def __enter__(self) -> Self:
        self._level = self._logger.level
        self._logger.addHandler(self)
        self._logger.setLevel(logging.DEBUG)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.setLevel(self._level)
        self._logger.removeHandler(self)


@pytest.fixture(scope="module")
async def filter_statements(lasting_database_url: str) -> Mapping[str, Sequence[logging.LogRecord]]:
    """Return the statements of each filter. They are recorded in a database of one contact, because they are the same
    for 200,000 contacts, which take long to count."""
    await furnish(lasting_database_url)
    storage = await open_storage(lasting_database_url, secret_keys=[KEY])
    workspace = await find_workspace("T0ACME")
    types = await score_types(workspace)
    recorded = {}
    for text in (*FILTERS, *PAGED, *LOOKED_UP):
        contact_filter = parse(text, types, segments=SEGMENTS)
        with Recorder() as recorder:
            if text in PAGED:
                await page(workspace, query=contact_filter, limit=1_000, now=NOW)
            else:
                await count(workspace, query=contact_filter, now=NOW)
        recorded[text] = recorder.records
    await storage.close()
    return recorded


@pytest.fixture(scope="module")
async def crowd(lasting_database_url: str, filter_statements: object) -> str:
    """Return the URL of a filled database. It is filled once for all tests, which must not change it."""
    await fill(lasting_database_url, SQLITE_CONTACTS if raw.is_sqlite(lasting_database_url) else CONTACTS)
    return lasting_database_url


async def furnish(url: str) -> None:
    """Create a workspace with a constant and a fading score, and one contact."""
    storage = await open_storage(url, secret_keys=[KEY])
    team = Team(await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW))
    await add_score_type(
        team.workspace, key="heat", label="Heat", minimum=0, maximum=100_000, step=1_000, start=None, bands=(),
        half_life=30 * DAY, is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    await team.deliver(set_to("first", "ada@example.com", 50, fields={"owner": "boss@example.com"}))
    await storage.close()


async def fill(url: str, contacts: int) -> None:
    """Create contacts with a constant score; half of them also have facts and a fading score."""
    known = contacts // 2
    (row,) = await raw.rows(url, "SELECT * FROM contacts")
    same = ", ".join(name for name in row if name not in ("id", "email", "email_key"))
    numbers, known_numbers = (
        f"(WITH RECURSIVE g(n) AS (SELECT 10 UNION ALL SELECT n + 1 FROM g WHERE n < {number}) SELECT n FROM g) g"
        for number in (contacts, known)
    )
    state = "own, own_at, base, rank, last_at, last_source, last_key"
    rank, apart = "(g.n * 7919) % 100000", f"CAST({DAY // 90} AS BIGINT)"
    inserts = (
        f"INSERT INTO contacts (id, email, email_key, {same})"
        f" SELECT g.n, 'x', 'p' || g.n || '@example.com', {same} FROM contacts, {numbers} WHERE contacts.id = 1",
        f"INSERT INTO words (id, workspace_id, word) SELECT g.n, 1, 'zo' || g.n || 'x' FROM {numbers} WHERE g.n < 2000",
        "INSERT INTO word_trigrams (workspace_id, trigram, word_id)"
        f" SELECT 1, (t.trigram * 31 + g.n * t.id) % 5000, g.n FROM word_trigrams t, {numbers}"
        " WHERE g.n < 2000 AND t.id < 12 ON CONFLICT DO NOTHING",
        "INSERT INTO contact_words (workspace_id, contact_id, word_id)"
        f" SELECT 1, g.n, 10 + (g.n * p.id) % 1990 FROM contact_words p, {numbers} WHERE g.n > 1"
        " ON CONFLICT DO NOTHING",
        "INSERT INTO identities (workspace_id, contact_id, namespace, value)"
        f" SELECT 1, g.n, 'crm', 'k' || g.n FROM {known_numbers}",
        f"INSERT INTO scores (workspace_id, contact_id, definition_id, {state})"
        f" SELECT 1, g.n, d.id, 0, 0, 0, CASE WHEN half_life IS NULL THEN {rank} ELSE {NOW} + {rank} * {apart} END,"
        f" 0, 'crm', 'k' || g.n FROM definitions d, {numbers} WHERE half_life IS NULL OR g.n <= {known}",
        "INSERT INTO attribute_values (workspace_id, contact_id, name, key, number, instant)"
        f" SELECT 1, g.n, 'visits', CAST(g.n % 1000 AS TEXT), g.n % 1000 * 1000000, {NOW} - g.n % 1000 * {apart}"
        f" FROM {numbers}",
        "INSERT INTO facts (workspace_id, contact_id, kind, source, dedupe_key, subject, op, amount, said,"
        " occurred_at, received_at, batch)"
        f" SELECT 1, g.n, 'change', 'crm', 'k' || g.n, 'score', 'set', 0, '{{}}', g.n, g.n, 'b' FROM {known_numbers}",
        "INSERT INTO effects"
        " (workspace_id, contact_id, definition_id, fact_id, at, asked, effective, rank_after, capped)"
        " SELECT 1, f.contact_id, 1, f.id, f.occurred_at, 0, 0, 0, 0 FROM facts f WHERE f.contact_id > 1",
        "INSERT INTO follow_ups (workspace_id, rule_id, contact_id, score, source, lane, state, asked_at, changed_at,"
        f" in_list) SELECT 1, r.id, g.n, 'score', 'crm', 'C', 'open', 0, 0, false FROM alert_rules r, {known_numbers}"
        " WHERE g.n % 20 = 0",
    )
    if raw.is_sqlite(url):
        for sql in inserts:
            await raw.rows(url, sql)
        return
    connection = await raw.connect(url)
    try:
        # Foreign keys are not checked, which would take half of the time.
        await connection.execute("; ".join(["SET session_replication_role = replica", *inserts]))
        # PostgreSQL does this by itself in operation, so that its plans know the table sizes and index-only scans work.
        # SQLite does not do this by itself, and the product does not either, so its plans must be good without it.
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


@pytest.fixture
async def crowded(crowd: str) -> AsyncIterator[Team]:
    """Return the team of the filled database."""
    storage = await open_storage(crowd, secret_keys=[KEY])
    yield Team(await find_workspace("T0ACME"))
    await storage.close()


def statements(records: Iterable[logging.LogRecord], part: str) -> list[logging.LogRecord]:
    """Return the logged statements that contain *part*."""
    matching = [record for record in records if isinstance(record.args, tuple) and part in str(record.args[0])]
    assert matching, f"no statement mentions {part}"
    return matching


@pytest.mark.slow
async def test_the_top_is_read_from_its_index(crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture) -> None:
    """The top list is read from its index, without sorting a hundred thousand scores."""
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        _, cards = await top(crowded.workspace, score="score", count=5, now=NOW)

    assert len(cards) == 5
    (statement,) = statements(caplog.records, "ORDER BY k.rank DESC")
    plan_text = await plan(crowd, statement)
    assert "scores_rank" in plan_text
    assert "Seq Scan" not in plan_text
    assert "SCAN k" not in plan_text


@pytest.mark.slow
async def test_the_home_tab_is_read_from_indexes(crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture) -> None:
    """The contacts of an owner, and the highest scores for who owns none, are found without reading all contacts."""
    (default, _) = await score_types(crowded.workspace)
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        portfolio = await load_portfolio(
            crowded.workspace, owner="rep@example.com", score_type=default, hottest=5, movers=3, now=NOW
        )

    assert (len(portfolio.hottest), portfolio.is_own) == (5, False)
    for part, index in (("owner_key", "contacts_owner_key"), ("rank DESC, contact_id", "scores_rank")):
        plan_text = await plan(crowd, statements(caplog.records, part)[0])
        assert index in plan_text, plan_text
        for whole in (
            "Seq Scan on contacts",
            "Seq Scan on scores",
            "SCAN contacts",
            "SCAN scores USING INDEX scores_c",
        ):
            assert whole not in plan_text, plan_text


@pytest.mark.slow
async def test_what_is_known_of_a_delivery_is_found_by_its_keys(
    crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture
) -> None:
    """For a delivery, known facts, contacts and scores are found through their unique constraints."""
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        await asyncio.gather(
            crowded.deliver(set_to("first", "ada@example.com", 50)),
            crowded.deliver(set_to("second", "ada@example.com", 60), batch="d2"),
        )

    for part, constraint, columns in (
        ("JOIN facts f ON f.workspace_id", "facts_key", "workspace_id=? AND source=? AND dedupe_key=? AND subject=?"),
        ("JOIN identities i", "identities_value", "workspace_id=? AND namespace=? AND value=?"),
        ("JOIN scores k", "scores_contact", "contact_id=? AND definition_id=?"),
    ):
        plan_text = await plan(crowd, statements(caplog.records, part)[0])
        assert (columns if raw.is_sqlite(crowd) else constraint) in plan_text, json.dumps(plan_text)
        assert "Seq Scan on facts" not in plan_text
        assert "SCAN f" not in plan_text


@pytest.mark.slow
async def test_what_a_score_did_is_looked_up_by_contact(
    crowd: str, filter_statements: Mapping[str, Sequence[logging.LogRecord]]
) -> None:
    """The effects of a score and the facts of a contact are found through indexes, without a scan of the ledger."""
    for text, (part, index) in LOOKED_UP.items():
        plan_text = await plan(crowd, statements(filter_statements[text], part)[-1], for_any_values=True)
        assert index in plan_text, (text, plan_text)
        for whole in (
            "Seq Scan on effects",
            "Seq Scan on facts",
            "SCAN e",
            "SCAN g",
            "SCAN f",
            "Scan on attri",
            "SCAN a",
        ):
            assert whole not in plan_text, (text, plan_text)


@pytest.mark.slow
async def test_a_card_is_looked_up_by_contact(crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture) -> None:
    """A card with ids and scores is found through indexes, without a scan."""
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        (card,) = await cards_of(crowded.workspace, ids=[77], now=NOW)

    assert (dict(card.contact.ids), len(card.standings)) == ({"crm": "k77"}, 1)
    for part, index in (
        ("FROM contacts WHERE workspace_id", "contacts_pkey"),
        ("JOIN identities i ON i.contact_id", "identities_contact"),
        ("FROM scores k JOIN facts f", "scores_contact"),
    ):
        plan_text = await plan(crowd, statements(caplog.records, part)[0])
        assert ("INTEGER PRIMARY KEY" if raw.is_sqlite(crowd) and index == "contacts_pkey" else index) in plan_text, (
            plan_text
        )
        for whole in ("Seq Scan on", "(workspace_id=?)", "SCAN m", "SCAN i", "SCAN k", "SCAN contacts"):
            assert whole not in plan_text, (part, plan_text)


@pytest.mark.slow
async def test_what_a_score_is_made_of_is_looked_up_by_contact(
    crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The facts for an explanation and for a history are found through an index."""
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        _, explanation = await why(crowded.workspace, contact=77, score="score", most=9, now=NOW)
        _, lines = await history(crowded.workspace, contact=77, score="score", most=9)

    assert explanation is not None
    assert (len(explanation.contributions), len(lines)) == (1, 1)
    for part in ("JOIN facts f ON f.contact_id", "ORDER BY f.occurred_at DESC"):
        plan_text = await plan(crowd, statements(caplog.records, part)[0])
        assert "facts_contact_subject" in plan_text, plan_text
        for whole in ("Seq Scan on facts", "SCAN f", "Seq Scan on contacts", "SCAN m", "(workspace_id=?)"):
            assert whole not in plan_text, plan_text


@pytest.mark.slow
async def test_pages_of_a_fading_score_come_from_its_index(
    crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A page of a fading score is read from the index of ranks, because a threshold is one rank at each instant."""
    contact_filter = parse("heat>=80 sort:-heat", await score_types(crowded.workspace))
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        first = await page(crowded.workspace, query=contact_filter, limit=10, now=NOW, few=MANY)
        second = await page(
            crowded.workspace, query=contact_filter, limit=10, cursor=first.next_cursor, now=NOW + DAY, few=MANY
        )

    assert len({card.contact.id for card in (*first.cards, *second.cards)}) == 20
    for statement in statements(caplog.records, "ORDER BY s0.rank"):
        plan_text = await plan(crowd, statement)
        assert "scores_rank" in plan_text
        for whole in ("Seq Scan on scores", "SCAN s0", "SCAN scores", "Seq Scan on contacts", "SCAN c"):
            assert whole not in plan_text, plan_text


#: filters with many matches, of which 20 come soon in the order of a score
DENSE = (
    "-has:heat sort:-score", "score:20..99 heat:20..90 sort:-score", "email~example.com sort:-score",
    "attributes.visits>=1 sort:-score", "followup:open sort:-score", "heat falling 1% in 1d sort:-heat",
    "NOT (score>80 OR tag:vip) sort:-score", "updated<30000d sort:-score", "owner:boss@example.com sort:-score",
)  # fmt: skip  # a term of each kind
#: filters with few matches → a part of the statement that finds them, and the indexes that it must use
SPARSE = {
    "email~p1777@ score<101": ("contact_words", ("word_trigrams_trigram", "contact_words_word", "words_long")),
    "score>=99.9 tag:vip": ("s.rank >=", ("scores_rank",)),
    "attributes.visits:77 -has:heat": ("a.key IN", ("attribute_values_key",)),
    "heat crossed above 50 in 1d score>=99": ("s.rank >=", ("scores_rank",)),
}
WHOLE = (
    *(
        "Seq Scan on contacts",
        "Seq Scan on scores",
        "Seq Scan on effects",
        "Seq Scan on facts",
        "Hash Join",
        "Hash Semi",
    ),
    *("SCAN c ", "SCAN s ", "SCAN s0", "SCAN k", "SCAN e", "SCAN f ", "SCAN w", "(workspace_id=?)"),
)


def list_scans(plan_text: str) -> list[str]:
    """Return the steps of a plan that read a whole table, or everything of the workspace."""
    steps = [f"{line} " for line in plan_text.replace("words_long (workspace_id=?)", "").splitlines()]
    return [step for step in steps if any(whole in step for whole in WHOLE)]


@pytest.mark.slow
async def test_many_matches_are_read_in_the_order_of_an_index(
    crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The first page of a filter with many matches is read score by score, without a list of all matches."""
    types = await score_types(crowded.workspace)
    for text in DENSE:
        caplog.clear()
        with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
            result = await page(crowded.workspace, query=parse(text, types), limit=20, now=NOW, few=MANY)
        assert len(result.cards) == 20, text
        plan_text = await plan(crowd, statements(caplog.records, "ORDER BY s0.rank")[0], for_any_values=True)
        assert "scores_rank" in plan_text, (text, plan_text)
        assert list_scans(plan_text) == [], (text, plan_text)
        assert "Sort Key: s0.rank" not in plan_text, (text, plan_text)
        assert "USE TEMP B-TREE FOR ORDER BY" not in plan_text, (text, plan_text)


@pytest.mark.slow
async def test_few_matches_are_found_through_the_rarest_term(
    crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The matches of a filter with few of them are found through the index of its rarest term, and then sorted."""
    types = await score_types(crowded.workspace)
    for text, (part, indexes) in SPARSE.items():
        caplog.clear()
        with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
            await page(crowded.workspace, query=parse(f"{text} sort:-score", types), limit=20, now=NOW)
        for statement in statements(caplog.records, part):
            plan_text = await plan(crowd, statement, for_any_values=True)
            assert [index for index in indexes if index not in plan_text] == [], (text, plan_text)
            assert list_scans(plan_text) == [], (text, plan_text)


@pytest.mark.slow
async def test_two_ranges_of_scores_are_compared_as_sets(
    crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Ranges that many contacts have, but few have together, are read from the index of the ranks alone."""
    query = parse("score>=20 heat>=20", await score_types(crowded.workspace))
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        number = await count(crowded.workspace, query=query, most=1_000_000, now=NOW, few=MANY)
    assert number == await count(crowded.workspace, query=query, now=NOW, few=FEW)

    plan_text = await plan(crowd, statements(caplog.records, "INTERSECT")[0], for_any_values=True)
    assert plan_text.count("scores_rank") >= 2, plan_text
    assert "contacts_pkey" in plan_text or "SEARCH c USING INTEGER PRIMARY KEY" in plan_text, plan_text
    assert list_scans(plan_text) == [], plan_text


@pytest.mark.slow
async def test_the_next_page_of_an_export_is_found_by_its_address(
    crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The next page of an export starts at the last email through an index, without sorting all contacts."""
    cards = export(
        crowded.workspace, query=parse("", await score_types(crowded.workspace)), text="", by="U0ADMIN", now=NOW
    )
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        for _ in range(1500):
            await anext(cards)

    second = statements(caplog.records, "c.email_key IS NOT NULL")[1]
    plan_text = await plan(crowd, second)
    assert "contacts_email_key" in plan_text, plan_text


@pytest.mark.slow
async def test_no_filter_reads_a_list_again_for_each_contact(
    crowd: str, filter_statements: Mapping[str, Sequence[logging.LogRecord]]
) -> None:
    """Look-ups of a filter for each contact use an index, even if a list of all contacts does not fit into memory.

    With a hundredth of its memory PostgreSQL plans for 200,000 contacts as for many millions. A few index look-ups cost
    some units per contact; a list that is scanned again for each contact costs thousands.
    """
    for text in (*FILTERS, *PAGED):
        for statement in statements(filter_statements[text], "contacts c"):
            plan_text = await plan(crowd, statement, for_any_values=True, work_mem="64kB")
            costs = [float(cost) for cost in re.findall(r"cost=\S+?\.\.(\d+\.\d+)", plan_text)]
            assert bool(costs) is not raw.is_sqlite(crowd)
            assert max(costs, default=0) < 100 * CONTACTS, (text, plan_text)
            for whole in (
                "SCAN scores",
                "SCAN k",
                "SCAN e",
                "SCAN f",
                "SCAN g",
                "SCAN a",
                "(workspace_id=? AND name=?",
            ):
                assert whole not in plan_text, (text, plan_text)


@pytest.mark.slow
async def test_what_was_folded_under_a_draft_is_found_to_be_deleted(
    crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Dropping a draft reads the draft's own effects and scores only."""
    live = (await score_types(crowded.workspace))[0]
    new_draft = await create_draft(
        crowded.workspace, proposed=replace(live, maximum=live.maximum + live.step), by="U0ADMIN", now=NOW
    )
    assert new_draft is not None
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        await cancel(crowded.workspace, draft=new_draft, clock=lambda: NOW)

    for part, index in (("DELETE FROM effects", "effects_definition"), ("DELETE FROM scores", "scores_rank")):
        plan_text = await plan(crowd, statements(caplog.records, part)[0])
        assert index in plan_text, plan_text


FACTS, SQLITE_FACTS = 10_000, 2_000  # of the contact with a long history
RULES = (
    Rule(name="Visit", activity="visit", points=1_000, condition="tag:vip", cap=RuleCap(points=9_000, period="day")),
    Rule(name="VIP", points=5_000, condition="tag:vip OR email~acme.com"),
    Rule(name="Small", points=2_000, condition="-attributes.seats>=10"),
)
#: instant, activity and fields of each push; the last push is late
PUSHES: tuple[tuple[int, str | None, dict[str, Json]], ...] = (
    (NOW + DAY, "visit", {}),
    (NOW + 2 * DAY, "visit", {"tags": [], "attributes.seats": 12}),
    (NOW + 3 * DAY, None, {"tags": ["vip"], "email": None, "name": "X"}),
    (NOW + 4 * DAY, "visit", {"name": "Y"}),
    (NOW - 1, None, {"tags": ["x"]}),
)


async def rows_read(url: str, records: Sequence[logging.LogRecord]) -> tuple[int, int]:
    """Return the number of statements, and of the rows that their SELECTs read, each of which is run once more."""
    run = [record for record in records if isinstance(record.args, tuple)]
    number = 0
    for record in run:
        sql, values = str(record.args[0]), list(record.args[1])  # type: ignore[index,arg-type]  # as Tortoise logs them
        number += len(await raw.rows(url, sql, *values)) if sql.startswith("SELECT") else 0
    return len(run), number


@pytest.mark.slow
async def test_a_push_reads_as_much_of_a_long_history_as_of_a_short_one(
    storage: Storage, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A push about a contact reads as much after thousands of facts as after few, whatever the rules ask about.

    This holds beside an open draft too. Only a late fact reads the whole history.
    """
    team = Team(await add_workspace("T0LONG", name="Acme", by="U0ADMIN", now=NOW))
    facts = SQLITE_FACTS if raw.is_sqlite(database_url) else FACTS
    live = await add_score_type(
        team.workspace, key="ruled", label="Ruled", minimum=0, maximum=10**9, step=1_000, start=None, bands=(),
        rules=RULES, is_default=True, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    waiting_draft = await create_draft(team.workspace, proposed=replace(live, rules=RULES[:2]), by="U0ADMIN", now=NOW)
    assert waiting_draft is not None
    activities = [
        Item(key=f"a{n}", contact=Reference(email="ada@acme.com"), activity="visit", amount=1_000, occurred_at=NOW + n)
        for n in range(facts)
    ]
    for email in ("ada@acme.com", "bob@acme.com"):
        await team.deliver(field_item(email, email, at=NOW - DAY, tags=["vip"], email=email), batch=email)
    for start in range(0, facts, 1_000):
        await team.deliver(*activities[start : start + 1_000], batch=f"{start}", received=NOW + DAY)
    await build(team.workspace, draft=waiting_draft, progress=lambda _: None, clock=lambda: NOW)
    # Others have the same words, so that the first of two pushes does not store them for both.
    others = [field_item(f"w{n}", f"w{n}@acme.com", at=NOW, **fields) for n, (_, _, fields) in enumerate(PUSHES)]
    await team.deliver(*others, batch="words")
    counts: dict[str, list[tuple[int, int]]] = {"ada@acme.com": [], "bob@acme.com": []}
    for number, (at, activity, fields) in enumerate(PUSHES):
        for email, rows in counts.items():
            push = Item(
                key=f"{number}/{email}", contact=Reference(email=email), occurred_at=at, activity=activity,
                amount=1_000 if activity else 0, fields=fields,
            )  # fmt: skip  # one push
            caplog.clear()
            with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
                await team.deliver(push, batch=push.key, received=NOW + 9 * DAY)
            rows.append(await rows_read(database_url, caplog.records))

    long, short = counts.values()
    assert long[:-1] == short[:-1]
    assert short[-1][1] < 100 < facts < long[-1][1]
    report_counts("a push for a long history", {"statements": long[1][0], "rows read": long[1][1]})
    assert (await verify_next(team.workspace)).differences == ()


@pytest.mark.slow
async def test_contacts_are_searched_through_their_words(
    crowded: Team, crowd: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A whole word, a beginning, a part and a mistyped word are found through indexes, without reading all contacts."""
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        (ada,) = await find(crowded.workspace, text="example.com ada")
        await find(crowded.workspace, text="qqqqq")
        await find_similar(crowded.workspace, text="qqqqq adq")
        assert await find_similar(crowded.workspace, text="adw@example.com") == [ada]

    recorded = [record for part in ("words", "c.email_key FROM") for record in statements(caplog.records, part)]
    assert len(recorded) >= 8
    plans = [await plan(crowd, statement) for statement in recorded]
    for plan_text in plans:
        for whole in ("Seq Scan on", "SCAN w", "SCAN t", "SCAN p USING", "SCAN c", "(workspace_id=?)"):
            assert whole not in plan_text.replace("Seq Scan on workspaces", ""), plan_text
    for index in ("words_word", "word_trigrams_trigram", "contact_words_word", "contacts_email_key"):
        assert any(index in plan_text for plan_text in plans), index
