"""Load the merges and splits of the ledger: the links between contact rows."""

from collections.abc import Collection

from storage.db.database import Session
from storage.domain.facts import SPLIT, resolve_merges
from storage.ledger.batches import load_undone_batches

_IS_SPLIT = f"f.subject = '{SPLIT}' AND f.kind = 'merge'"


async def load_links(session: Session, workspace: int, rows: Collection[int]) -> list[tuple[int, int, int | None]]:
    """Return the links in force between these contact rows and others: (row, other row, row merged into).

    Linked rows are one contact. A merge links its rows unless it is undone; a split links its rows only if it is
    undone. The links are in the order of their facts.
    """
    links = await session.rows(
        "SELECT contact_id, other_id, amount, subject, batch FROM facts WHERE kind = 'merge'"
        " AND contact_id IN (SELECT id FROM given(id bigint))"
        ' ORDER BY occurred_at, source COLLATE "C", dedupe_key COLLATE "C", id',
        [{"id": id} for id in sorted(rows)],
    )
    undone = await load_undone_batches(session, workspace, {row["batch"] for row in links})
    return [
        (row["contact_id"], row["other_id"], row["amount"])
        for row in links
        if (row["batch"] in undone) == (row["subject"] == SPLIT)
    ]


async def load_linked_rows(session: Session, contacts: Collection[int]) -> dict[int, list[int]]:
    """Return, for each contact, its own row and all rows that merges or splits, undone or not, connect it with.

    Rows that were connected only through a deleted row are left out: a deletion redacts its merges and splits.
    """
    rows, links = set(contacts), set[tuple[int, int]]()
    unread = rows
    while unread:
        link_rows = await session.rows(
            "SELECT contact_id, other_id FROM facts WHERE kind = 'merge'"
            " AND contact_id IN (SELECT id FROM given(id bigint))"
            " UNION SELECT contact_id, other_id FROM facts WHERE kind = 'merge'"
            " AND other_id IN (SELECT id FROM given(id bigint))",
            [{"id": row} for row in sorted(unread)],
        )
        links |= {(row["contact_id"], row["other_id"]) for row in link_rows}
        unread = {row for link in links for row in link} - rows
        rows |= unread
    root = resolve_merges(rows, links)
    return {contact: sorted(row for row in rows if root[row] == root[contact]) for contact in contacts}


async def load_splits(session: Session, contacts: Collection[int]) -> set[frozenset[int]]:
    """Return pairs of contacts that splits separated: one of *contacts*, and a contact that an id of it was split to.

    If the id was split again from the second contact, there is a further pair with the first contact and the contact
    that the id moved to next. A pair is a set with a single contact if its rows are one contact again, because the
    split was undone or the contacts were merged.
    """
    members = await session.rows(
        "SELECT c.id, given.id AS root FROM given(id bigint) JOIN contacts c ON c.id = given.id"
        f" OR c.merged_into = given.id WHERE EXISTS (SELECT 1 FROM facts f WHERE {_IS_SPLIT} AND f.contact_id = c.id)",
        [{"id": id} for id in sorted(contacts)],
    )
    pairs: set[frozenset[int]] = set()
    unread = [{"root": row["root"], "row": row["id"], "id": None} for row in members]
    while unread:
        rows = await session.rows(
            "SELECT given.root, f.other_id AS row, f.named_id AS id, coalesce(o.merged_into, o.id) AS other"
            " FROM given(root bigint, row bigint, id text)"
            f" JOIN facts f ON f.contact_id = given.row AND {_IS_SPLIT} AND coalesce(given.id, f.named_id) = f.named_id"
            " JOIN contacts o ON o.id = f.other_id",
            unread,
        )
        pairs |= {frozenset((row["root"], row["other"])) for row in rows}
        unread = [{"root": row["root"], "row": row["row"], "id": row["id"]} for row in rows]
    return pairs
