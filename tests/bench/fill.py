"""Write contacts with their scores as an import would write them, by COPY on PostgreSQL and executemany on SQLite.

All rows are made before they are written, so `Filled.seconds` and `Filled.cpu` are those of the writing alone.
"""

import itertools
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import Any, Protocol

from storage.domain.decay import BILLIONTHS, fading_rank
from storage.domain.words import contact_runs, list_trigrams
from tests.storage import raw

FIRST = "Ada Grace Alan Margaret Edsger Barbara Donald John Linus Radia Tim Vint Hedy Katherine"
LAST = "Lovelace Hopper Turing Hamilton Dijkstra Liskov Knuth Backus Perlman Lee Cerf Shannon Johnson"
SCORES = ("score", "fit", "heat")
AT_ONCE = 5_000  # contacts in one transaction
AGE = 90 * 86_400  # seconds within which the facts happened
SECOND = 1_000_000

COLUMNS = {
    "contacts": "id workspace_id first_email email name company owner tags attributes"
    " email_key name_key company_key owner_key tags_key stamps is_gone created_at updated_at",
    "identities": "workspace_id contact_id namespace value",
    "words": "id workspace_id word",
    "word_trigrams": "workspace_id trigram word_id",
    "contact_words": "workspace_id contact_id word_id",
    "facts": "id workspace_id contact_id kind source dedupe_key subject op amount said"
    " occurred_at received_at batch actor",
    "effects": "workspace_id contact_id definition_id fact_id at asked effective rank_after capped",
    "scores": "workspace_id contact_id definition_id own own_at base rank last_at last_source last_key",
}
Rows = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """The texts of a contact, and its scores in whole points."""

    email: str
    name: str
    company: str
    owner: str
    tags: Sequence[str]
    scores: Mapping[str, int]


@dataclass(slots=True, kw_only=True)
class Filled:
    """How long the writing took, and how much CPU time it took in this process."""

    seconds: float = 0
    cpu: float = 0


def person(number: int) -> Person:
    """Return the contact with this number; the numbers make them different, and their scores look random."""
    mixed = number * 7_919 % 1_000_003
    firsts, lasts = FIRST.split(), LAST.split()
    first, last = firsts[mixed % len(firsts)], lasts[mixed // len(firsts) % len(lasts)]
    company = mixed % 5_000
    return Person(
        email=email(number),
        name=f"{first} {last} {number}",
        company=f"Company {company}",
        owner=f"rep{mixed % 50}@acme.example",
        tags=["vip"] if mixed % 20 == 0 else [],
        scores={key: (mixed + 13 * place) % 101 for place, key in enumerate(SCORES)},
    )


def email(number: int) -> str:
    """Return the address of the contact with this number."""
    return f"p{number}@c{number * 7_919 % 1_000_003 % 5_000}.example"


@dataclass(slots=True, kw_only=True)
class Maker:
    """Makes the rows of contacts. *next_ids* are the row ids that the tables continue with."""

    workspace: int
    definitions: Mapping[str, tuple[int, int | None]]  #: score type → (row id, half-life in µs)
    next_ids: dict[str, int]
    now: int
    words: dict[str, int] = field(default_factory=dict)  #: word → row id

    def rows(self, numbers: Iterator[int]) -> Rows:
        """Return the rows of contacts, by table."""
        rows: Rows = {table: [] for table in COLUMNS}
        for number in numbers:
            self._add(person(number), number, rows)
        return rows

    def _add(self, contact: Person, number: int, rows: Rows) -> None:
        workspace, id, key, at = self.workspace, self._next_id("contacts"), f"fill/{number}", self._happened(number)
        order = [at, "import", key, ""]
        said: dict[str, object] = {"company": contact.company, "name": contact.name, "owner": contact.owner}
        said |= {"tags": contact.tags} if contact.tags else {}
        stamps = {name: order for name in ("name", "company", "owner", "tags") if name in said}
        rows["contacts"].append((
            id, workspace, contact.email, contact.email, contact.name, contact.company, contact.owner,
            json.dumps(contact.tags), "{}", contact.email, contact.name.casefold(), contact.company.casefold(),
            contact.owner, "".join(f"\n{tag}" for tag in contact.tags) + ("\n" if contact.tags else ""),
            json.dumps(stamps), False, self.now, self.now,
        ))  # fmt: skip  # the values of one row
        rows["identities"].append((workspace, id, "", contact.email))
        self._add_words(contact, id, rows)
        fact = (
            workspace,
            id,
            "fields",
            "import",
            key,
            "",
            None,
            None,
            json.dumps(said),
            at,
            self.now,
            "import/fill",
            "import",
        )
        rows["facts"].append((self._next_id("facts"), *fact))
        for place, (score, points) in enumerate(contact.scores.items(), 1):
            self._add_score(score, points * 1_000, id=id, key=f"{key}/{score}", at=at + place, rows=rows)

    def _add_score(self, score: str, value: int, *, id: int, key: str, at: int, rows: Rows) -> None:
        definition, half_life = self.definitions[score]
        own = value * BILLIONTHS if half_life else value
        rank = fading_rank(own, at=at, half_life=half_life) if half_life else value
        fact, workspace = self._next_id("facts"), self.workspace
        rows["facts"].append(
            (
                fact,
                workspace,
                id,
                "change",
                "import",
                key,
                score,
                "set",
                value,
                "{}",
                at,
                self.now,
                "import/fill",
                "import",
            )
        )
        rows["effects"].append((workspace, id, definition, fact, at, value, value, rank, 0))
        rows["scores"].append((workspace, id, definition, own, at, 0, rank, at, "import", key))

    def _add_words(self, contact: Person, id: int, rows: Rows) -> None:
        runs = contact_runs(name=contact.name.casefold(), company=contact.company.casefold(), email=contact.email)
        for run in runs:
            word = self.words.get(run)
            if word is None:
                word = self.words[run] = self._next_id("words")
                rows["words"].append((word, self.workspace, run))
                rows["word_trigrams"] += [(self.workspace, trigram, word) for trigram in list_trigrams(run)]
            rows["contact_words"].append((self.workspace, id, word))

    def _next_id(self, table: str) -> int:
        self.next_ids[table] += 1
        return self.next_ids[table] - 1

    def _happened(self, number: int) -> int:
        return self.now - (number * 31_337 % AGE + 60) * SECOND


class Writer(Protocol):
    """Writes rows in one transaction."""

    async def write(self, rows: Rows) -> None:
        """Write the rows of each table."""


class _SqliteWriter:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def write(self, rows: Rows) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for table, values in rows.items():
            columns = COLUMNS[table].split()
            marks = ", ".join("?" * len(columns))
            self._connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", values)
        self._connection.execute("COMMIT")


class _PostgresWriter:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def write(self, rows: Rows) -> None:
        async with self._connection.transaction():
            for table, values in rows.items():
                await self._connection.copy_records_to_table(table, records=values, columns=COLUMNS[table].split())


@asynccontextmanager
async def open_writer(url: str) -> AsyncIterator[Writer]:
    """Connect to a database through its driver alone, as durable as the product is."""
    if raw.is_sqlite(url):
        with closing(sqlite3.connect(raw.file_of(url), isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            yield _SqliteWriter(connection)
        return
    connection = await raw.connect(url)
    try:
        yield _PostgresWriter(connection)
    finally:
        await connection.close()


async def make_maker(url: str, *, team: str, now: int) -> Maker:
    """Return what makes the rows for a workspace, which must have the score types SCORES and no contact."""
    (workspace,) = await raw.rows(url, "SELECT id FROM workspaces WHERE team = $1", team)
    definitions = await raw.rows(
        url,
        "SELECT t.key, d.id, d.half_life FROM score_types t JOIN definitions d ON d.score_type_id = t.id"
        " AND d.number = t.live WHERE t.workspace_id = $1",
        workspace["id"],
    )
    firsts: dict[str, Any] = {}
    for table in ("contacts", "facts", "words"):
        (row,) = await raw.rows(url, f"SELECT coalesce(max(id), 0) + 1 AS id FROM {table}")
        firsts[table] = row["id"]
    rows: list[Any] = definitions
    return Maker(
        workspace=int(str(workspace["id"])),
        definitions={row["key"]: (row["id"], row["half_life"]) for row in rows},
        next_ids=firsts,
        now=now,
    )


async def fill(
    url: str,
    *,
    team: str,
    contacts: int,
    now: int,
    clock: Callable[[], float] = time.process_time,
) -> Filled:
    """Write *contacts* contacts with three scores each. *clock* measures the CPU time."""
    filled, maker = Filled(), await make_maker(url, team=team, now=now)
    async with open_writer(url) as writer:
        for numbers in _parts(contacts):
            rows = maker.rows(numbers)
            began, cpu = time.perf_counter(), clock()
            await writer.write(rows)
            filled.seconds += time.perf_counter() - began
            filled.cpu += clock() - cpu
    if not raw.is_sqlite(url):
        for table in maker.next_ids:
            sequence = f"pg_get_serial_sequence('{table}', 'id')"
            await raw.rows(url, f"SELECT setval({sequence}, $1, false)", maker.next_ids[table])
        await raw.rows(url, "ANALYZE")
    return filled


def _parts(contacts: int) -> Iterator[Iterator[int]]:
    numbers = iter(range(1, contacts + 1))
    while part := list(itertools.islice(numbers, AT_ONCE)):
        yield iter(part)
