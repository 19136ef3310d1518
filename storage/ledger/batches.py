"""Load what one command, import or undo wrote, and which batches are undone."""

from collections.abc import Collection, Iterable, Sequence

from storage.db import database
from storage.db.database import Row, Session
from storage.domain.facts import Undo, undone_batches
from storage.domain.people import Workspace
from storage.ledger.facts import parse_fact


async def load_undone_batches(session: Session, workspace: int, batches: Iterable[str]) -> frozenset[str]:
    """Return the batches among these that are undone. An undo that is itself undone does not count."""
    requested = frozenset(batches)
    return undone_batches(await load_undos(session, workspace, requested)) & requested


async def load_undos(session: Session, workspace: int, batches: Iterable[str]) -> list[Undo]:
    """Return the undos of these batches, the undos of those undos, and so on."""
    undos: dict[str, Undo] = {}
    unread = set(batches)
    checked: set[str] = set()
    while unread:
        rows = await session.rows(
            "SELECT * FROM facts WHERE workspace_id = $2 AND undoes IN (SELECT batch FROM given(batch text))",
            [{"batch": batch} for batch in sorted(unread)],
            workspace,
        )
        checked |= unread
        fetched = [fact for fact in map(parse_fact, rows) if isinstance(fact, Undo)]
        undos |= {undo.key: undo for undo in fetched}
        unread = {undo.batch for undo in fetched} - checked
    return list(undos.values())


async def find_undo_in_force(workspace: Workspace, *, batch: str) -> str | None:
    """Return the batch of the undo that is in force for *batch*, or None if the batch is not undone."""
    reader = database.current_database().reader
    if not await load_undone_batches(reader, workspace.id, [batch]):
        return None
    # An undone undo cannot be undone again, so the last undo of the batch is the one in force.
    rows = await reader.rows(
        "SELECT batch FROM facts WHERE workspace_id = $1 AND undoes = $2 ORDER BY id DESC LIMIT 1", workspace.id, batch
    )
    return str(rows[0]["batch"])


async def resolve_undo(session: Session, workspace: int, batch: str) -> tuple[str, bool] | None:
    """Return what an undo of *batch* would affect: (the batch of the facts, whether they are restored).

    If *batch* is an undo, this is the batch that it undoes, and so on. Only a batch in force can be undone, so every
    second undo restores the facts. Returns None if a batch has no facts.
    """
    restores = False
    while rows := await session.rows(
        "SELECT kind, undoes FROM facts WHERE workspace_id = $1 AND batch = $2 AND actor IS NOT NULL LIMIT 1",
        workspace,
        batch,
    ):
        if rows[0]["kind"] != "undo":
            return batch, restores
        batch, restores = str(rows[0]["undoes"]), not restores
    return None


async def is_recorded(workspace: Workspace, *, batch: str) -> bool:
    """Return whether the ledger has a person's batch."""
    return bool(await list_batch_facts(database.current_database().reader, workspace.id, batch))


async def count_contacts(session: Session, workspace: int, batch: str, *, most: int) -> int:
    """Return the number of contacts that a person's batch affects, at most *most*."""
    (row,) = await session.rows(
        "SELECT count(*) AS number FROM (SELECT DISTINCT contact_id FROM facts"
        " WHERE workspace_id = $1 AND batch = $2 AND actor IS NOT NULL LIMIT $3) AS few",
        workspace,
        batch,
        most,
    )
    return int(row["number"])


async def list_batch_facts(
    session: Session, workspace: int, batch: str, *, contacts: Collection[int] = ()
) -> Sequence[Row]:
    """Return the facts of a person's batch, all or only those of the rows *contacts*, in the order of their row ids.

    The rows have contact_id, other_id, subject, kind, actor, undoes, reason, activity and said (the fields as JSON).
    """
    columns = "f.contact_id, f.other_id, f.subject, f.kind, f.actor, f.undoes, f.reason, f.activity, f.said"
    if contacts:
        rows = await session.rows(
            # Look facts up by contact: the index on batches covers only facts with an actor, and the batch may be huge.
            f"SELECT {columns} FROM given(id bigint) JOIN facts f ON f.contact_id = given.id"
            " WHERE f.workspace_id = $2 AND f.batch = $3 ORDER BY f.id",
            [{"id": id} for id in sorted(contacts)],
            workspace,
            batch,
        )
        return [row for row in rows if row["actor"] is not None]
    return await session.rows(
        f"SELECT {columns} FROM facts f WHERE f.workspace_id = $1 AND f.batch = $2 AND f.actor IS NOT NULL"
        " ORDER BY f.id",
        workspace,
        batch,
    )


async def list_batch_keys(
    session: Session, workspace: int, batch: str, contacts: Iterable[int]
) -> list[tuple[int, str]]:
    """Return (contact, dedupe key) of the facts of a batch about these contacts."""
    rows = await session.rows(
        # Look facts up by contact: the index on batches covers only facts with an actor, and the batch may be huge.
        "SELECT given.contact, f.dedupe_key FROM given(contact bigint)"
        " JOIN contacts m ON m.id = given.contact OR m.merged_into = given.contact JOIN facts f ON f.contact_id = m.id"
        " WHERE f.workspace_id = $2 AND f.batch = $3",
        [{"contact": contact} for contact in sorted(set(contacts))],
        workspace,
        batch,
    )
    return [(row["contact"], row["dedupe_key"]) for row in rows]


async def load_batch_origin(workspace: Workspace, *, batch: str) -> tuple[str, int] | None:
    """Return the author of a person's batch, and when it was received (µs); None if there is no such batch."""
    rows = await database.read(
        "SELECT actor, received_at FROM facts WHERE workspace_id = $1 AND batch = $2 AND actor IS NOT NULL"
        " ORDER BY id DESC LIMIT 1",
        workspace.id,
        batch,
    )
    return (str(rows[0]["actor"]), int(rows[0]["received_at"])) if rows else None


async def load_batch_subjects(workspace: Workspace, *, batch: str) -> list[tuple[int, str]]:
    """Return (contact, subject) of the facts of a person's batch, at most three.

    The subject is a score type, a merge or split, or blank for activities and fields.
    """
    rows = await database.read(
        "SELECT DISTINCT coalesce(c.merged_into, c.id) AS contact, f.subject FROM facts f"
        " JOIN contacts c ON c.id = f.contact_id WHERE f.workspace_id = $1 AND f.batch = $2 AND f.actor IS NOT NULL"
        " ORDER BY contact, f.subject LIMIT 3",
        workspace.id,
        batch,
    )
    return [(row["contact"], row["subject"]) for row in rows]


async def find_last_command(workspace: Workspace, *, actor: str) -> str | None:
    """Return a person's last batch that is not undone, or None if all of the person's last 100 facts are undone."""
    rows = await database.read(
        "SELECT batch, max(id) AS latest FROM (SELECT batch, id FROM facts"
        " WHERE workspace_id = $1 AND actor = $2 AND kind <> 'undo' ORDER BY id DESC LIMIT $3) AS recent"
        " GROUP BY batch ORDER BY latest DESC",
        workspace.id,
        actor,
        100,
    )
    undone = await load_undone_batches(database.current_database().reader, workspace.id, [row["batch"] for row in rows])
    return next((row["batch"] for row in rows if row["batch"] not in undone), None)


async def find_gone_contacts(session: Session, workspace: int, contacts: Collection[int]) -> set[int]:
    """Return the contacts among these that are gone: they have changes, activities or field values, all undone."""
    rows = await session.rows(
        "SELECT DISTINCT given.id, f.batch FROM given(id bigint)"
        " JOIN contacts m ON m.id = given.id OR m.merged_into = given.id"
        " JOIN facts f ON f.contact_id = m.id AND f.kind IN ('change', 'activity', 'fields')",
        [{"id": id} for id in sorted(contacts)],
    )
    undone = await load_undone_batches(session, workspace, {row["batch"] for row in rows})
    return {row["id"] for row in rows} - {row["id"] for row in rows if row["batch"] not in undone}
