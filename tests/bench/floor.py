"""Receive deliveries as cheaply as one can: aiohttp, a raw driver, and one transaction for all that wait.

python -m tests.bench.floor DATABASE_URL

It checks the signature, finds the contacts, and writes what the product writes for a change of a score without rules:
the fact (unless it is a repeat), its effect, the score and the delivery. It answers after the commit. It does not read
attributes, rules, alerts, definitions or tokens, so the database must be furnished by `tests.bench.harness`.

It also answers `/score ADDRESS` and, for any other text, the twenty highest scores, if the signing secret of its Slack
is in FLOOR_SIGNING.
"""

import asyncio
import base64
import hmac
import json
import os
import sqlite3
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import parse_qsl

from aiohttp import ClientSession, web

from tests.storage import raw
from tests.webhooks.sender import SECRET

AT_ONCE = 128  # deliveries in one transaction
TOLERANCE = 300  # seconds
KEY = base64.b64decode(SECRET.removeprefix("whsec_"))
APPLIED, DUPLICATE = "applied", "duplicate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The row ids that every statement needs. *types* is score type → (definition, minimum, maximum)."""

    workspace: int
    source: int
    slug: str
    types: dict[str, tuple[int, int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of one score. *amount* is in thousandths, *at* in µs."""

    key: str
    email: str
    score: str
    op: str
    amount: int
    at: int


@dataclass(slots=True, kw_only=True)
class Delivery:
    """A delivery that waits to be recorded, and the outcome of each of its items."""

    key: str
    at: int
    changes: Sequence[Change]
    done: asyncio.Future[None]
    outcomes: list[str] = field(default_factory=list)


class Ledger(Protocol):
    """Records deliveries in one transaction, and reads scores: rows of address, name and score in thousandths."""

    async def record(self, group: Sequence[Delivery]) -> None:
        """Record a group, and set the outcomes of its deliveries."""

    async def scores_of(self, address: str) -> Sequence[Any]:
        """Return all scores of a contact."""

    async def top(self, count: int) -> Sequence[Any]:
        """Return the highest scores of the type `score`."""


def apply(change: Change, own: int | None, minimum: int, maximum: int) -> int:
    """Return the score after a change, in thousandths. The starting value is 0."""
    return min(max(change.amount if change.op == "set" else (own or 0) + change.amount, minimum), maximum)


FACT = "workspace_id, contact_id, kind, source, dedupe_key, subject, op, amount, said, occurred_at, received_at, batch"
EFFECT = "workspace_id, contact_id, definition_id, fact_id, at, asked, effective, rank_after, capped"
SCORE = "workspace_id, contact_id, definition_id, own, own_at, base, rank, last_at, last_source, last_key"
REPLACE = (
    "ON CONFLICT (contact_id, definition_id) DO UPDATE SET own = excluded.own, own_at = excluded.own_at,"
    " rank = excluded.rank, last_at = excluded.last_at, last_source = excluded.last_source,"
    " last_key = excluded.last_key"
)
DELIVERY = "workspace_id, source_id, delivery_key, received_at, applied, duplicate, ignored, quarantined"


SCORES_OF = (
    "SELECT c.email, c.name, s.rank FROM identities i JOIN contacts c ON c.id = i.contact_id"
    " JOIN scores s ON s.contact_id = c.id WHERE i.workspace_id = $1 AND i.namespace = '' AND i.value = $2"
)
TOP = (
    "SELECT c.email, c.name, s.rank FROM scores s JOIN contacts c ON c.id = s.contact_id"
    " WHERE s.definition_id = $1 AND s.rank IS NOT NULL ORDER BY s.rank DESC, s.contact_id LIMIT $2"
)


class SqliteLedger:
    """Writes in one thread, with one statement for each row: on SQLite a statement is a function call."""

    def __init__(self, url: str, setting: Setting) -> None:
        self._connection = sqlite3.connect(raw.file_of(url), isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "journal_size_limit = -1", "foreign_keys = ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._setting = setting

    async def record(self, group: Sequence[Delivery]) -> None:
        """Record a group in a thread, which waits for the disk."""
        await asyncio.to_thread(self._record, group)

    async def scores_of(self, address: str) -> Sequence[Any]:
        """Return all scores of a contact."""
        return self._read(SCORES_OF, self._setting.workspace, address)

    async def top(self, count: int) -> Sequence[Any]:
        """Return the highest scores of the type `score`."""
        return self._read(TOP, self._setting.types["score"][0], count)

    def _read(self, sql: str, *values: object) -> Sequence[Any]:
        return self._connection.execute(sql.replace("$", "?"), values).fetchall()

    def _record(self, group: Sequence[Delivery]) -> None:
        execute, setting = self._connection.execute, self._setting
        execute("BEGIN IMMEDIATE")
        for delivery in group:
            delivery.outcomes = [self._change(change, delivery) for change in delivery.changes]
            applied = delivery.outcomes.count(APPLIED)
            execute(
                f"INSERT INTO deliveries ({DELIVERY}) VALUES (?, ?, ?, ?, ?, ?, 0, 0)",
                (
                    setting.workspace,
                    setting.source,
                    delivery.key,
                    delivery.at,
                    applied,
                    len(delivery.changes) - applied,
                ),
            )
        execute("COMMIT")

    def _change(self, change: Change, delivery: Delivery) -> str:
        execute, workspace, slug = self._connection.execute, self._setting.workspace, self._setting.slug
        definition, minimum, maximum = self._setting.types[change.score]
        contact, own, rank = execute(
            "SELECT i.contact_id, s.own, s.rank FROM identities i LEFT JOIN scores s ON s.contact_id = i.contact_id"
            " AND s.definition_id = ? WHERE i.workspace_id = ? AND i.namespace = '' AND i.value = ?",
            (definition, workspace, change.email),
        ).fetchone()
        fact = execute(
            f"INSERT INTO facts ({FACT}) VALUES (?, ?, 'change', ?, ?, ?, ?, ?, '{{}}', ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (workspace, contact, slug, change.key, change.score, change.op, change.amount, change.at, delivery.at,
             f"{slug}/{delivery.key}"),
        )  # fmt: skip  # the values of one row
        if not fact.rowcount:
            return DUPLICATE
        after = apply(change, own, minimum, maximum)
        execute(
            f"INSERT INTO effects ({EFFECT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
            (workspace, contact, definition, fact.lastrowid, change.at, change.amount, after - (rank or 0), after),
        )
        execute(
            f"INSERT INTO scores ({SCORE}) VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?) {REPLACE}",
            (workspace, contact, definition, after, change.at, after, change.at, slug, change.key),
        )
        return APPLIED


class PostgresLedger:
    """Reads with one statement and writes with another, which is a transaction: each statement is a round trip."""

    def __init__(self, connection: Any, setting: Setting) -> None:
        self._connection = connection
        self._setting = setting

    async def record(self, group: Sequence[Delivery]) -> None:
        """Record a group."""
        setting = self._setting
        changes = [(change, delivery) for delivery in group for change in delivery.changes]
        definitions = [setting.types[change.score][0] for change, _ in changes]
        found = await self._connection.fetch(
            FIND,
            setting.workspace,
            setting.slug,
            [change.email for change, _ in changes],
            definitions,
            [change.key for change, _ in changes],
            [change.score for change, _ in changes],
        )
        owns: dict[tuple[int, int], int | None] = {}
        new: dict[tuple[str, str], tuple[Any, ...]] = {}
        scores: dict[tuple[int, int], tuple[Any, ...]] = {}
        for (change, delivery), definition, row in zip(changes, definitions, found, strict=True):
            if row["is_known"] or (change.key, change.score) in new:
                delivery.outcomes.append(DUPLICATE)
                continue
            delivery.outcomes.append(APPLIED)
            contact = row["contact_id"]
            before = owns.get((contact, definition), row["own"])
            owns[contact, definition] = after = apply(change, before, *setting.types[change.score][1:])
            batch = f"{setting.slug}/{delivery.key}"
            new[change.key, change.score] = (
                row["fact_id"], contact, definition, change.key, change.score, change.op, change.amount, change.at,
                delivery.at, batch, after - (before or 0), after,
            )  # fmt: skip  # the values of one row
            scores[contact, definition] = (contact, definition, after, change.at, change.key)
        applied = [delivery.outcomes.count(APPLIED) for delivery in group]
        repeats = [len(delivery.outcomes) - number for delivery, number in zip(group, applied, strict=True)]
        await self._connection.execute(
            WRITE,
            setting.workspace,
            setting.slug,
            setting.source,
            *_columns(list(new.values()), 12),
            *_columns(list(scores.values()), 5),
            *([delivery.key for delivery in group], [delivery.at for delivery in group], applied, repeats),
        )

    async def scores_of(self, address: str) -> Sequence[Any]:
        """Return all scores of a contact."""
        return await self._fetch(SCORES_OF, self._setting.workspace, address)

    async def top(self, count: int) -> Sequence[Any]:
        """Return the highest scores of the type `score`."""
        return await self._fetch(TOP, self._setting.types["score"][0], count)

    async def _fetch(self, sql: str, *values: object) -> Sequence[Any]:
        rows: Sequence[Any] = await self._connection.fetch(sql, *values)
        return rows


FIND = """
SELECT i.contact_id, s.own, nextval('facts_id_seq') AS fact_id, f.id IS NOT NULL AS is_known
FROM unnest($3::text[], $4::bigint[], $5::text[], $6::text[])
  WITH ORDINALITY g(email, definition, key, subject, place)
JOIN identities i ON i.workspace_id = $1 AND i.namespace = '' AND i.value = g.email
LEFT JOIN scores s ON s.contact_id = i.contact_id AND s.definition_id = g.definition
LEFT JOIN facts f ON f.workspace_id = $1 AND f.source = $2 AND f.dedupe_key = g.key AND f.subject = g.subject
ORDER BY g.place
"""
WRITE = f"""
WITH new AS (
  SELECT * FROM unnest($4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::bigint[],
    $11::bigint[], $12::bigint[], $13::text[], $14::bigint[], $15::bigint[])
    g(id, contact, definition, key, subject, op, amount, at, received, batch, effective, own)
), facts AS (
  INSERT INTO facts (id, {FACT})
  SELECT id, $1, contact, 'change', $2, key, subject, op, amount, '{{}}', at, received, batch FROM new
), effects AS (
  INSERT INTO effects ({EFFECT}) SELECT $1, contact, definition, id, at, amount, effective, own, 0 FROM new
), scores AS (
  INSERT INTO scores ({SCORE}) SELECT $1, contact, definition, own, at, 0, own, at, $2, key
  FROM unnest($16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[], $20::text[])
    g(contact, definition, own, at, key) {REPLACE}
)
INSERT INTO deliveries ({DELIVERY}) SELECT $1, $3, key, at, applied, duplicate, 0, 0
FROM unnest($21::text[], $22::bigint[], $23::int[], $24::int[]) g(key, at, applied, duplicate)
"""


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    return [[row[place] for row in rows] for place in range(width)]


class Floor:
    """Answers deliveries. One task records all that wait, so that many share a transaction."""

    def __init__(self, ledger: Ledger, session: ClientSession) -> None:
        self._ledger = ledger
        self._session = session
        self._answering: set[asyncio.Task[None]] = set()
        self._waiting: list[Delivery] = []
        self._arrived = asyncio.Event()

    async def receive(self, request: web.Request) -> web.Response:
        """Authenticate a delivery, record it and answer."""
        body, headers = await request.read(), request.headers
        key, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
        digest = hmac.new(KEY, f"{key}.{timestamp}.".encode() + body, "sha256").digest()
        signature = "v1," + base64.b64encode(digest).decode()
        is_fresh = abs(time.time() - int(timestamp)) < TOLERANCE
        if not is_fresh or not hmac.compare_digest(signature, headers["webhook-signature"]):
            return web.json_response({}, status=401)
        document, now = json.loads(body), time.time_ns() // 1_000
        changes = [
            read_item(item, f"{key}/{place:04}", now) for place, item in enumerate(document.get("items", [document]))
        ]
        delivery = Delivery(key=key, at=now, changes=changes, done=asyncio.get_running_loop().create_future())
        self._waiting.append(delivery)
        self._arrived.set()
        await delivery.done
        applied = delivery.outcomes.count(APPLIED)
        items = [{"status": outcome, "reason": None} for outcome in delivery.outcomes]
        counts = {"applied": applied, "duplicate": len(items) - applied, "ignored": 0, "quarantined": 0}
        return web.json_response({**counts, "items": items})

    async def answer(self, request: web.Request) -> web.Response:
        """Authenticate a slash command, acknowledge it, and answer it afterwards."""
        body, headers = await request.read(), request.headers
        signed = f"v0:{headers['X-Slack-Request-Timestamp']}:".encode() + body
        digest = hmac.new(os.environ["FLOOR_SIGNING"].encode(), signed, "sha256").hexdigest()
        if not hmac.compare_digest(f"v0={digest}", headers["X-Slack-Signature"]):
            return web.Response(status=401)
        command = dict(parse_qsl(body.decode()))
        task = asyncio.create_task(self._send_answer(command["text"].strip(), command["response_url"]))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        return web.Response()

    async def _send_answer(self, text: str, url: str) -> None:
        rows = await (self._ledger.scores_of(text.casefold()) if "@" in text else self._ledger.top(20))
        lines = "\n".join(f"{name or email}: {rank / 1000:g}" for email, name, rank in rows)
        answer = {
            "response_type": "ephemeral",
            "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": lines}}],
        }
        async with self._session.post(url, json={**answer, "text": lines}) as response:
            assert response.status == 200, await response.text()

    async def commit(self) -> None:
        """Record what waits, for ever."""
        while True:
            await self._arrived.wait()
            group, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            if not self._waiting:
                self._arrived.clear()
            await self._ledger.record(group)
            for delivery in group:
                delivery.done.set_result(None)


def read_item(item: dict[str, Any], key: str, now: int) -> Change:
    """Read an item of a delivery, as the source `generic` sends it."""
    at = item.get("occurred_at")
    return Change(
        key=item.get("id") or key,
        email=item["contact"]["email"].casefold(),
        score=item["score"],
        op=item["type"].removeprefix("score."),
        amount=round(item["value"] * 1_000),
        at=round(datetime.fromisoformat(at).timestamp() * 1e6) if at else now,
    )


async def load_setting(url: str) -> Setting:
    """Load the row ids of the one workspace and its source."""
    sources: list[Any] = await raw.rows(url, "SELECT id, workspace_id, slug FROM sources")
    types: list[Any] = await raw.rows(
        url,
        "SELECT t.key, d.id, d.minimum, d.maximum FROM score_types t JOIN definitions d ON d.score_type_id = t.id"
        " AND d.number = t.live",
    )
    (source,) = sources
    return Setting(
        workspace=source["workspace_id"],
        source=source["id"],
        slug=source["slug"],
        types={row["key"]: (row["id"], row["minimum"], row["maximum"]) for row in types},
    )


async def main(url: str) -> None:
    """Listen on a free port and print the URL, until the process is stopped."""
    setting = await load_setting(url)
    ledger: Ledger
    if raw.is_sqlite(url):
        ledger = SqliteLedger(url, setting)
    else:
        connection = await raw.connect(url)
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        ledger = PostgresLedger(connection, setting)
    floor = Floor(ledger, ClientSession())
    app = web.Application(client_max_size=2**20)
    app.router.add_post("/webhooks/{workspace}/{source}", floor.receive)
    app.router.add_post("/slack/events", floor.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"Listening on http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await floor.commit()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
