"""Export contacts with their scores, one page at a time."""

import csv
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import TextIO

from storage.audit import AuditAction, record_change
from storage.db import database
from storage.db.database import Row, Session
from storage.domain.contacts import ATTRIBUTE, FIELDS, ID, TEXT_FIELDS
from storage.domain.csv_cells import guard_formula, join_tags, write_attribute, write_cell
from storage.domain.filters import Filter
from storage.domain.numbers import show_unambiguous
from storage.domain.people import Workspace
from storage.reading.current_scores import Card, cards_of
from storage.reading.filter_sql import write_condition
from storage.reading.pages import count, page
from storage.scoring.definitions import score_types
from storage.vault import open_private

PAGE = 1000


async def export(workspace: Workspace, *, query: Filter, text: str, by: str, now: int) -> AsyncIterator[Card]:
    """Yield the contacts that match a filter, in its sort order. *text* is the text of the filter.

    Without a sort order, contacts with an address come first, by address; the others follow, by their source ids.
    The export is recorded before the first contact, so that one that is interrupted is on record too.
    """
    number = await count(workspace, query=query, now=now)
    await database.write(partial(_record_export, workspace=workspace, text=text, number=number, by=by, now=now))
    pages = _load_sorted(workspace, query, now=now) if query.sort else _load_by_address(workspace, query, now=now)
    remaining = query.limit
    async for cards in pages:
        for card in cards if remaining is None else cards[:remaining]:
            yield card
        remaining = None if remaining is None else remaining - len(cards)
        if remaining is not None and remaining <= 0:
            return


async def _record_export(session: Session, workspace: Workspace, *, text: str, number: int, by: str, now: int) -> None:
    await record_change(
        session, workspace, who=by, what=AuditAction.EXPORTED, subject=text.strip() or "all contacts",
        before=None, after={"contacts": number}, now=now,
    )  # fmt: skip  # who and what, then the states


async def _load_sorted(workspace: Workspace, contact_filter: Filter, *, now: int) -> AsyncIterator[list[Card]]:
    cursor = None
    while True:
        result = await page(workspace, query=contact_filter, limit=PAGE, cursor=cursor, now=now)
        yield list(result.cards)
        cursor = result.next_cursor
        if cursor is None:
            return


async def _load_by_address(workspace: Workspace, contact_filter: Filter, *, now: int) -> AsyncIterator[list[Card]]:
    for statement in (_load_with_address, _load_without_address):
        after: Row | None = None
        while rows := await statement(workspace, contact_filter, after, now=now):
            yield await cards_of(workspace, ids=[row["id"] for row in rows], now=now)
            after = rows[-1]
            if len(rows) < PAGE:
                break


async def _load_with_address(workspace: Workspace, contact_filter: Filter, after: Row | None, *, now: int) -> list[Row]:
    where, values = write_condition(workspace, contact_filter, now=now)
    bound_count = len(values)
    if after is not None:
        where += f' AND (c.email_key COLLATE "C", c.id) > (${bound_count + 1}, ${bound_count + 2})'
        values += [after["email_key"], after["id"]]
    return await database.read(
        f"SELECT c.id, c.email_key FROM contacts c WHERE {where} AND c.email_key IS NOT NULL"
        f' ORDER BY c.email_key COLLATE "C", c.id LIMIT {PAGE}',
        *values,
    )


async def _load_without_address(
    workspace: Workspace, contact_filter: Filter, after: Row | None, *, now: int
) -> list[Row]:
    """Return a page of the contacts without an address, each sorted by its smallest (source, id) pair.

    Row ids are not used for sorting, because they do not depend on the contacts' content.
    """
    where, values = write_condition(workspace, contact_filter, now=now)
    bound_count = len(values)
    if after is not None:
        where += f' AND (i.namespace COLLATE "C", i.value COLLATE "C") > (${bound_count + 1}, ${bound_count + 2})'
        values += [after["namespace"], after["value"]]
    return await database.read(
        "SELECT c.id, i.namespace, i.value FROM identities i JOIN contacts m ON m.id = i.contact_id"
        " JOIN contacts c ON c.id = coalesce(m.merged_into, m.id)"
        f" WHERE {where} AND c.email_key IS NULL AND i.namespace <> '' AND i.workspace_id = c.workspace_id"
        " AND NOT EXISTS (SELECT 1 FROM contacts n JOIN identities j ON j.contact_id = n.id"
        " WHERE (n.id = c.id OR n.merged_into = c.id) AND j.namespace <> ''"
        ' AND (j.namespace COLLATE "C", j.value COLLATE "C") < (i.namespace COLLATE "C", i.value COLLATE "C"))'
        f' ORDER BY i.namespace COLLATE "C", i.value COLLATE "C" LIMIT {PAGE}',
        *values,
    )


def create_file(path: Path) -> TextIO:
    """Open a file for an export. A new file is readable by its owner only."""
    return open(path, "w", encoding="utf-8", newline="", opener=open_private)


async def write_csv(
    workspace: Workspace,
    *,
    query: Filter,
    text: str,
    file: TextIO,
    progress: Callable[[int], None],
    by: str,
    now: int,
) -> int:
    """Write the contacts that match a filter as CSV that can be imported again, and return their number.

    *text* is the text of the filter. *progress* is called with the number of contacts written so far. Scores are
    written as numbers. Texts that a spreadsheet program would run as a formula are escaped.
    """
    types = await score_types(workspace)
    sources, attributes = await _list_sources(workspace), await list_attributes(workspace)
    table, number = csv.writer(file), 0
    ids = [ID + source for source in sources]
    table.writerow(
        [*FIELDS, *(score_type.key for score_type in types), *ids, *(ATTRIBUTE + name for name in attributes)]
    )
    async for card in export(workspace, query=query, text=text, by=by, now=now):
        contact, values = (
            card.contact,
            {standing.score_type.key: show_unambiguous(standing.value) for standing in card.standings},
        )
        texts = {name: write_cell(getattr(contact, name)) for name in TEXT_FIELDS} | {"tags": join_tags(contact.tags)}
        extra_values = [
            *(contact.ids.get(source, "") for source in sources),
            *(write_attribute(contact.attributes[name]) if name in contact.attributes else "" for name in attributes),
        ]
        table.writerow(
            [
                *(guard_formula(texts[name]) for name in FIELDS),
                *(values.get(score_type.key, "") for score_type in types),
                *map(guard_formula, extra_values),
            ]
        )
        number += 1
        progress(number)
    return number


async def _list_sources(workspace: Workspace) -> list[str]:
    """Return the sources that any contact has an id in, sorted."""
    rows = await database.read(
        "SELECT DISTINCT i.namespace FROM identities i JOIN contacts m ON m.id = i.contact_id"
        " JOIN contacts c ON c.id = coalesce(m.merged_into, m.id)"
        " WHERE i.workspace_id = $1 AND i.namespace <> '' AND NOT c.is_gone",
        workspace.id,
    )
    return sorted(row["namespace"] for row in rows)


async def list_attributes(workspace: Workspace) -> list[str]:
    """Return the names of the attributes that any contact has, sorted."""
    names: set[str] = set()
    last_id = 0
    while rows := await database.read(
        "SELECT id, attributes FROM contacts WHERE workspace_id = $1 AND id > $2 AND merged_into IS NULL"
        f" AND attributes <> '{{}}' ORDER BY id LIMIT {PAGE}",
        workspace.id,
        last_id,
    ):
        names.update(name for row in rows for name in json.loads(row["attributes"]))
        last_id = rows[-1]["id"]
    return sorted(names)
