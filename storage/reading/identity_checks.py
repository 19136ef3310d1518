"""Find contacts with suspicious addresses or ids, for an admin to review. Nothing is merged or split here."""

from dataclasses import dataclass
from itertools import groupby

from storage.db import database
from storage.domain.contacts import Contact, fold_address
from storage.domain.people import Workspace
from storage.ledger.contacts import contacts

BATCH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveralIds:
    """A contact with several ids of one source. The source sent these ids with the same address."""

    contact: Contact
    source: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlikeAddresses:
    """Two contacts with addresses that differ only in invisible characters or in the spelling of the domain."""

    address: str  #: the matching key of both
    older: Contact
    newer: Contact


async def find_several_ids(workspace: Workspace) -> list[SeveralIds]:
    """Return the contacts with several ids of one source.

    Merged contacts are returned only if one of their rows has several ids by itself, because each may have its own id.
    """
    rows = await database.read(
        "SELECT i.namespace, i.value, coalesce(c.merged_into, c.id) AS id FROM"
        " (SELECT contact_id, namespace FROM identities WHERE workspace_id = $1 AND namespace <> ''"
        " GROUP BY contact_id, namespace HAVING count(*) > 1) AS several"
        " JOIN identities i ON i.contact_id = several.contact_id AND i.namespace = several.namespace"
        " JOIN contacts c ON c.id = i.contact_id ORDER BY i.contact_id, i.namespace, i.id",
        workspace.id,
    )
    by_id = {contact.id: contact for contact in await contacts(workspace, ids=sorted({row["id"] for row in rows}))}
    grouped = groupby(rows, key=lambda row: (row["id"], row["namespace"]))
    return [
        SeveralIds(contact=by_id[id], source=source, ids=tuple(row["value"] for row in group))
        for (id, source), group in grouped
        if id in by_id
    ]


async def find_alike_addresses(workspace: Workspace) -> list[AlikeAddresses]:
    """Return the pairs of contacts with addresses that an earlier version stored as different and that match today."""
    last, pairs = 0, list[AlikeAddresses]()
    while rows := await database.read(
        "SELECT id, value FROM identities WHERE workspace_id = $1 AND namespace = '' AND id > $2"
        f" ORDER BY id LIMIT {BATCH}",
        workspace.id,
        last,
    ):
        last = rows[-1]["id"]
        for row in rows:
            key = fold_address(row["value"])
            if key != row["value"] and (alike := await _load_alike(workspace, row["value"], key)):
                pairs.append(alike)
    return pairs


async def _load_alike(workspace: Workspace, former: str, key: str) -> AlikeAddresses | None:
    """Return the contacts of a former and a current matching key, or None unless both exist and are not merged."""
    rows = await database.read(
        "SELECT i.value, coalesce(c.merged_into, c.id) AS id FROM identities i JOIN contacts c ON c.id = i.contact_id"
        " WHERE i.workspace_id = $1 AND i.namespace = '' AND i.value IN ($2, $3)",
        workspace.id,
        former,
        key,
    )
    id_of = {row["value"]: row["id"] for row in rows}
    by_id = {contact.id: contact for contact in await contacts(workspace, ids=sorted(set(id_of.values())))}
    if len(by_id) < 2:
        return None
    return AlikeAddresses(address=key, older=by_id[id_of[key]], newer=by_id[id_of[former]])
