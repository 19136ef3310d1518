"""Measure what people ask for: filters with their first page and their count, searches by name, and how soon a change
is found by a filter.

The storage verbs run in this process, beside a service. Where raw SQL can ask the same, it is the floor.
"""

import re
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from aiohttp import ClientSession

from storage.alerts.enroll import add_alert_rule
from storage.bootstrap import open_storage
from storage.domain.filters import Sort, parse
from storage.domain.people import Workspace
from storage.reading import pages
from storage.reading.search import find, find_similar
from storage.scoring.definitions import score_types
from storage.tokens import create_token
from storage.workspaces import find_workspace
from tests.bench.fill import SCORES, email, person
from tests.bench.harness import (
    TEAM,
    Options,
    Row,
    Side,
    Stage,
    durations_row,
    make_request,
    now,
    product_side,
    send,
)
from tests.conftest import KEY
from tests.storage import raw
from tests.webhooks.sender import item

FILTERS = (
    "score>80",
    "score>=80 fit:60..80",
    "score=8",
    "score:60..* OR heat>90",
    "fit:hot",
    "fit:(hot,warm)",
    "fit:cold",
    "heat:hot",
    "owner:rep7@acme.example",
    "owner:rep7@acme.example score>80",
    "owner:rep7@acme.example fit:hot sort:-heat,name",
    "tag:vip score>90",
    "-tag:vip",
    'company:"Company 77"',
    "name~turing",
    "email~c77.example",
    "has:fit",
    "-has:fit",
    "lovelace",
    "sort:name",
    "followup:open",
    "followup:none",
    "score rising 10 in 7d",
    "heat falling 20% in 30d",
    "fit moved 5 in 1d",
    "score crossed above 80 in 24h",
    "fit stale 30d",
    "updated<7d",
    "NOT score>20",
)
MOST_SECONDS = 5.0  # for one query
CHANGED = 1_000  # contacts that changed lately
_HEAD = "SELECT c.id, c.email, c.name, s.rank FROM "
_OF_SCORE = "s.definition_id = $1 AND c.is_gone IS NOT TRUE AND c.merged_into IS NULL"
#: raw SQL for the first page of a filter: the parameter is the definition of `score`
FLOORS = {
    "score>80": f"{_HEAD} scores s JOIN contacts c ON c.id = s.contact_id WHERE {_OF_SCORE} AND s.rank > 80000"
    " ORDER BY s.rank DESC, s.contact_id LIMIT 20",
    "owner:rep7@acme.example": f"{_HEAD} contacts c JOIN scores s ON s.contact_id = c.id WHERE {_OF_SCORE}"
    " AND c.workspace_id = 1 AND c.owner_key = 'rep7@acme.example' ORDER BY s.rank DESC, c.id LIMIT 20",
    'company:"Company 77"': f"{_HEAD} contacts c JOIN scores s ON s.contact_id = c.id WHERE {_OF_SCORE}"
    " AND c.workspace_id = 1 AND c.company_key = 'company 77' ORDER BY s.rank DESC, c.id LIMIT 20",
    "an address": f"{_HEAD} identities i JOIN contacts c ON c.id = i.contact_id JOIN scores s ON s.contact_id = c.id"
    " WHERE i.workspace_id = 1 AND i.namespace = '' AND i.value = '{address}' AND s.definition_id >= $1",
    "a name": f"{_HEAD} contacts c JOIN scores s ON s.contact_id = c.id WHERE {_OF_SCORE}"
    " AND c.workspace_id = 1 AND c.name_key = '{name}' LIMIT 20",
}
Ask = Callable[[], Awaitable[object]]


async def measure(stage: Stage, options: Options) -> AsyncIterator[Row]:
    """Yield the durations of each query, and of a change until a filter finds it."""
    contact = person(max(1, options.contacts // 2))
    searches = {
        "an address": contact.email,
        "a name": contact.name,
        "a word": "lovelace",
        "two words": "grace 17",
        "a part of a name": "ovelac",
        "a mistyped name": "lovelase",
        "a mistyped address": contact.email.replace("example", "exampel"),
    }
    floors = {name: sql.format(address=contact.email, name=contact.name.casefold()) for name, sql in FLOORS.items()}
    times = max(3, options.events // 40)
    for dialect in options.databases:
        tokens: list[str] = []
        prepare = partial(_prepare, tokens=tokens)
        async with product_side(stage, dialect, contacts=options.contacts, prepare=prepare) as product:
            await _change_some(product, min(CHANGED, options.contacts))
            async with _opened(product.database_url) as workspace, _raw_reader(product.database_url) as read:
                asks: dict[str, Ask] = {
                    **{text: await _filter(workspace, text) for text in FILTERS},
                    **{name: partial(_search, workspace, text) for name, text in searches.items()},
                }
                for name, ask in asks.items():
                    floor = partial(read, floors[name]) if name in floors else None
                    of_floor, of_product = await _repeat(ask, floor, times)
                    yield durations_row(name, dialect, floor=of_floor, product=of_product)
            seen = await _find_changes(product, tokens[0], times)
            yield durations_row("a change, from its request until a filter finds it", dialect, product=seen)


async def _prepare(workspace: Workspace, *, tokens: list[str]) -> None:
    _, secret = await create_token(workspace, name="bench", scopes=["read"], by="U0ADMIN", now=now())
    tokens.append(secret)
    await add_alert_rule(workspace, words="when fit crosses 80", made_by="U0REP", owners={}, now=now())


async def _change_some(product: Side, count: int) -> None:
    """Change the scores of some contacts, so that there are trends and follow-ups."""
    items = [
        item(email=email(number), score=score, value=(number * 37 + place) % 101)
        for number in range(1, count + 1)
        for place, score in enumerate(SCORES)
    ]
    parts = [items[start : start + 1_000] for start in range(0, len(items), 1_000)]
    requests = [
        make_request(product.url, {"items": part}, delivery=f"some-{number}") for number, part in enumerate(parts)
    ]
    await send(product, requests, connections=1)


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Workspace]:
    storage = await open_storage(url, secret_keys=[KEY])
    try:
        yield await find_workspace(TEAM)
    finally:
        await storage.close()


@asynccontextmanager
async def _raw_reader(url: str) -> AsyncIterator[Callable[[str], Awaitable[Sequence[object]]]]:
    """Yield a function that runs a statement with the definition of `score` through the driver alone."""
    (row,) = await raw.rows(
        url,
        "SELECT d.id FROM definitions d JOIN score_types t ON t.id = d.score_type_id AND d.number = t.live"
        " WHERE t.key = 'score'",
    )
    definition = row["id"]
    if raw.is_sqlite(url):
        with closing(sqlite3.connect(raw.file_of(url))) as file:

            async def read_file(sql: str) -> Sequence[object]:
                return file.execute(re.sub(r"\$1", "?1", sql), (definition,)).fetchall()

            yield read_file
        return
    connection = await raw.connect(url)
    try:

        async def read(sql: str) -> Sequence[object]:
            rows: Sequence[object] = await connection.fetch(sql, definition)
            return rows

        yield read
    finally:
        await connection.close()


async def _filter(workspace: Workspace, text: str) -> Ask:
    """Return what runs a filter as `/score filter` does."""
    types = await score_types(workspace)
    query = parse(text, types)
    if not query.sort:
        query = replace(query, sort=(Sort((query.scores or (types[0],))[0], True),))

    async def ask() -> object:
        return await pages.page(workspace, query=query, limit=20, now=now())

    return ask


async def _search(workspace: Workspace, text: str) -> object:
    """Search as `/score TEXT` does: similar contacts if none match."""
    return await find(workspace, text=text) or await find_similar(workspace, text=text)


async def _repeat(ask: Ask, floor: Ask | None, times: int) -> tuple[list[float], list[float]]:
    """Return the seconds of the floor and of the product, in turn, after one time that does not count."""
    of_floor, of_product, began = list[float](), list[float](), time.perf_counter()
    for number in range(times + 1):
        if floor is not None:
            seconds = await _time(floor)
            of_floor += [seconds] if number else []
        seconds = await _time(ask)
        is_last = time.perf_counter() - began > MOST_SECONDS
        of_product += [seconds] if number or is_last else []
        if is_last:
            break
    return of_floor, of_product


async def _time(ask: Ask) -> float:
    began = time.perf_counter()
    await ask()
    return time.perf_counter() - began


async def _find_changes(product: Side, token: str, times: int) -> list[float]:
    """Return the seconds from the request of a change until a filter of the API has found the contact."""
    target, seconds = urlsplit(product.url), list[float]()
    headers: Mapping[str, str] = {"Authorization": f"Bearer {token}"}
    async with ClientSession(f"{target.scheme}://{target.netloc}", headers=headers) as session:
        for number in range(1_000, 1_000 + times):
            change = item(email=email(1), score="points", value=number)
            request = make_request(product.url, change, delivery=f"seen-{number}")
            began = time.perf_counter()
            await send(product, [request], connections=1)
            async with session.get("/api/v1/contacts", params={"q": f"points={number}"}) as answer:
                found = await answer.json()
            seconds.append(time.perf_counter() - began)
            assert [contact["email"] for contact in found["items"]] == [email(1)], found
    return seconds
