"""Queue the write-backs: the scores that are written to a property of a contact in its CRM.

The transaction that changes a score queues a job for the contact, in the lane of the source. The job writes the scores
that the contact has when the job runs, so several changes of a contact become one request. The table `write_backs` has
the values that were written last. A daily job compares them with the current scores, to find the scores that changed
through decay or a new definition.
"""

import json
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from storage import jobs
from storage.audit import AuditAction, record_change
from storage.db import database, models
from storage.db.database import Row, Session
from storage.domain.backoff import SECOND
from storage.domain.decay import shown
from storage.domain.errors import StorageUnavailable, UnknownSource
from storage.domain.facts import DAY
from storage.domain.people import Workspace
from storage.domain.sources import Source
from storage.jobs import Job, NewJob
from storage.scoring import definitions
from storage.vault import CannotUnlock

WRITE_BACK = "write_back"  #: the kind of the jobs that write the scores of a contact to a source
LANE_PREFIX = "write/"  #: followed by the slug of a source; each source's lane makes one request at a time
REFRESH = "refresh_write_backs"  #: the kind and the lane of the job that looks for scores to write, every REFRESH_EVERY
REFRESH_EVERY = DAY
NOTIFY_PAUSED = (
    "writing_paused"  #: the kind and the lane of the jobs that tell an admin that scores are no longer written
)
COLLECT_FOR = 2 * SECOND  #: the time from a change to its job, so that further changes are written with it
PAGE_SIZE = 500  #: contacts compared at once
SYSTEM = "system"  #: the author, in the record of changes, if this app stopped writing by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactWrite:
    """The scores to write to a contact of a source. Values in thousandths; None clears the property."""

    identity: int  #: the row id of the contact's id
    id: str  #: the contact's id in the source's system
    contact: int
    values: Mapping[str, int | None]  #: property → value, for the properties that differ from what was written last
    written: Mapping[str, int | None]  #: property → value, for all properties as they are after this write


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The contacts to write next, and the row ids of the jobs that are finished when they are written."""

    writes: Sequence[ContactWrite]
    jobs: Collection[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBackStatus:
    """The state of the write-backs of a source. Times in µs UTC."""

    waiting: int  #: the number of contacts in the queue
    problem: str | None  #: why the last scores were not written
    problem_at: int | None
    paused_at: int | None


async def enqueue_write_backs(session: Session, contacts: Iterable[tuple[int, str, int]], *, at: int, now: int) -> None:
    """Queue contacts to be written at *at*, each as (workspace id, slug of the source, contact)."""
    # The key is unique: a running job for the contact may have read the scores before this change.
    new_jobs = [
        NewJob(
            workspace=workspace, kind=WRITE_BACK, lane=LANE_PREFIX + slug,
            key=f"{slug}/{contact}/{secrets.token_hex(8)}", subject=contact, due_at=at,
        )
        for workspace, slug, contact in sorted(set(contacts))
    ]  # fmt: skip  # owner and lane, content, time
    await jobs.enqueue(session, new_jobs, now=now)


async def save_writing_sources(session: Session, workspace: Workspace) -> None:
    """Store which sources get scores of which types in `workspaces.write_backs`, after a change of the sources.

    The caller holds the exclusive lock on the definitions.
    """
    sources = models.Source.filter(workspace_id=workspace.id, writing_paused_at__isnull=True).order_by("slug")
    rows = await session.load(sources, "slug", "settings")
    score_types = {row["slug"]: sorted(json.loads(row["settings"]).get("write_back", ())) for row in rows}
    written = {slug: keys for slug, keys in score_types.items() if keys}
    write_backs = json.dumps(written) if written else None
    await session.update(models.Workspace.filter(id=workspace.id), write_backs=write_backs)


async def restart_write_backs(
    session: Session, workspace: Workspace, slug: str, *, forget_written: bool, now: int
) -> None:
    """Resume writing to a source, and queue the contacts with scores that differ from what was written last.

    *forget_written* writes the scores of all contacts again. If the source no longer gets scores, its queue is
    deleted. The caller holds the exclusive lock on the definitions.
    """
    rows = await session.rows(
        "UPDATE sources SET unwritten = NULL, unwritten_at = NULL, writing_paused_at = NULL"
        " WHERE workspace_id = $1 AND slug = $2 RETURNING id, settings",
        workspace.id,
        slug,
    )
    if forget_written:
        await session.delete(models.WriteBack.filter(source_id=rows[0]["id"]))
    await save_writing_sources(session, workspace)
    if json.loads(rows[0]["settings"]).get("write_back"):
        await enqueue_refresh(session, workspace, now=now)
    else:
        await delete_queue(session, workspace, slug)


async def delete_queue(session: Session, workspace: Workspace, slug: str) -> None:
    """Delete the jobs in the lane of a source, and the lane."""
    await jobs.delete_lane(session, workspace.id, LANE_PREFIX + slug)


async def enqueue_refresh(session: Session, workspace: Workspace, *, now: int) -> None:
    """Enqueue a job that looks for scores to write now, if any source gets scores."""
    (row,) = await session.load(models.Workspace.filter(id=workspace.id), "write_backs")
    if row["write_backs"] is not None:
        key = f"now/{secrets.token_hex(8)}"
        job = NewJob(workspace=workspace.id, kind=REFRESH, lane=REFRESH, key=key, subject=0, due_at=now)
        await jobs.enqueue(session, [job], now=now)


async def load_api_token(workspace: Workspace, *, source: Source) -> str | None:
    """Return the API token of a source, or None if the source has none or its write-backs are paused.

    Raises StorageUnavailable if the key that the token was sealed with is missing.
    """
    unpaused = models.Source.filter(workspace_id=workspace.id, id=source.id, writing_paused_at__isnull=True)
    rows = await database.load(unpaused.filter(api_token__isnull=False), "api_token")
    if not rows:
        return None
    try:
        return database.current_database().vault.unseal(rows[0]["api_token"])
    except CannotUnlock as exc:  # the job waits until the operator adds the key
        raise StorageUnavailable(str(exc).rstrip(".")) from exc


async def load_next_batch(workspace: Workspace, *, source: Source, job: Job, most: int, now: int) -> Batch:
    """Return the first contacts in the queue of a source, at most *most*. *job* is the claimed job.

    The ids of merged contacts are written with the scores of the contact that they were merged into.
    """
    # The jobs are listed before the scores are read: a later change has a job of its own.
    due = await jobs.list_due_in_lane(workspace, lane=job.lane, kind=WRITE_BACK, now=now, most=10 * most)
    due = {job.id: job.subject, **due}
    contacts = set(list(dict.fromkeys(due.values()))[:most])
    rows = await database.read(
        "SELECT i.id, i.value, r.id AS root, b.written FROM given(contact bigint)"
        " JOIN contacts c ON c.id = given.contact AND c.workspace_id = $2"
        " JOIN contacts r ON r.id = CASE WHEN c.merged_into > 0 THEN c.merged_into ELSE c.id END"
        " JOIN contacts m ON m.id = r.id OR m.merged_into = r.id"
        " JOIN identities i ON i.contact_id = m.id AND i.namespace = $3"
        " LEFT JOIN write_backs b ON b.identity_id = i.id",
        [{"contact": contact} for contact in sorted(contacts)],
        workspace.id,
        source.slug,
    )
    writes = await _list_writes(workspace, source.settings.write_back, rows, now=now)
    return Batch(writes=writes, jobs=[id for id, contact in due.items() if contact in contacts])


async def record_written(workspace: Workspace, *, source: Source, writes: Collection[ContactWrite]) -> None:
    """Record the values that a source accepted."""
    await database.change(
        "INSERT INTO write_backs (source_id, identity_id, written)"
        " SELECT CAST($2 AS BIGINT), i.id, given.written FROM given(identity bigint, written text)"
        " JOIN identities i ON i.id = given.identity AND i.workspace_id = $3 WHERE true ORDER BY i.id"
        " ON CONFLICT (identity_id) DO UPDATE SET source_id = excluded.source_id, written = excluded.written",
        [{"identity": write.identity, "written": json.dumps(dict(write.written))} for write in writes],
        source.id,
        workspace.id,
    )


async def clear_problem(workspace: Workspace, *, source: Source) -> None:
    """Clear the recorded problem of a source, because scores were written to it."""
    failed = models.Source.filter(workspace_id=workspace.id, id=source.id, unwritten__isnull=False)
    await database.current_database().writer.update(failed, unwritten=None, unwritten_at=None)


async def record_problem(workspace: Workspace, *, source: Source, because: str, now: int) -> str | None:
    """Record why scores were not written to a contact. Return the problem recorded before, if it was not cleared."""
    rows = await database.read(
        "SELECT unwritten FROM sources WHERE workspace_id = $1 AND id = $2", workspace.id, source.id
    )
    await database.change(
        "UPDATE sources SET unwritten = $3, unwritten_at = $4 WHERE workspace_id = $1 AND id = $2",
        workspace.id,
        source.id,
        because,
        now,
    )
    return rows[0]["unwritten"] if rows else None


async def pause_write_backs(workspace: Workspace, *, source: Source, because: str, now: int) -> None:
    """Stop writing to a source until its settings are changed, and queue one message to an admin."""

    async def body(session: Session) -> None:
        await definitions.lock_exclusively(session, workspace)
        paused = await session.rows(
            "UPDATE sources SET unwritten = $3, unwritten_at = $4, writing_paused_at = $4"
            " WHERE workspace_id = $1 AND id = $2 AND writing_paused_at IS NULL RETURNING id",
            workspace.id,
            source.id,
            because,
            now,
        )
        if not paused:
            return
        await save_writing_sources(session, workspace)
        await delete_queue(session, workspace, source.slug)
        await record_change(
            session, workspace, who=SYSTEM, what=AuditAction.WRITING_PAUSED, subject=source.slug,
            before=None, after={"because": because}, now=now,
        )  # fmt: skip  # who and what, then the states
        job = NewJob(
            workspace=workspace.id,
            kind=NOTIFY_PAUSED,
            lane=NOTIFY_PAUSED,
            key=f"{source.id}/{now}",
            subject=source.id,
            due_at=now,
        )
        await jobs.enqueue(session, [job], now=now)

    await database.write(body)


async def load_write_back_status(workspace: Workspace, *, source: str) -> WriteBackStatus:
    """Return the state of a source's write-backs. Raises UnknownSource."""
    rows = await database.read(
        "SELECT s.unwritten, s.unwritten_at, s.writing_paused_at, (SELECT count(DISTINCT j.subject) FROM jobs j"
        " WHERE j.workspace_id = $1 AND j.lane = $3 AND j.given_up_at IS NULL) AS waiting"
        " FROM sources s WHERE s.workspace_id = $1 AND s.slug = $2",
        workspace.id,
        source,
        LANE_PREFIX + source,
    )
    if not rows:
        raise UnknownSource
    (row,) = rows
    return WriteBackStatus(
        waiting=row["waiting"],
        problem=row["unwritten"],
        problem_at=row["unwritten_at"],
        paused_at=row["writing_paused_at"],
    )


async def enqueue_differing(workspace: Workspace, *, now: int) -> int:
    """Queue the contacts with scores that differ from what was written to their source, and return their number."""
    count = 0
    sources = models.Source.filter(workspace_id=workspace.id, writing_paused_at__isnull=True).order_by("slug")
    for row in await database.load(sources, "slug", "settings"):
        slug, write_back = row["slug"], json.loads(row["settings"]).get("write_back")
        after: str | None = "" if write_back else None
        while after is not None:
            contacts, after = await _find_differing(workspace, slug, write_back, after=after, now=now)
            writes = [(workspace.id, slug, contact) for contact in contacts]

            async def body(session: Session, writes: Sequence[tuple[int, str, int]] = writes) -> None:
                await enqueue_write_backs(session, writes, at=now, now=now)

            if writes:
                await database.write(body)
            count += len(writes)
    return count


async def _find_differing(
    workspace: Workspace, slug: str, write_back: Mapping[str, str], *, after: str, now: int
) -> tuple[set[int], str | None]:
    """Return the contacts on one page of a source's contacts that have other scores than were written last.

    *after* is the last id of the page before. The second value is *after* for the next page, or None after the last.
    """
    rows = await database.read(
        "SELECT i.id, i.value, CASE WHEN c.merged_into > 0 THEN c.merged_into ELSE c.id END AS root, b.written"
        " FROM identities i JOIN contacts c ON c.id = i.contact_id LEFT JOIN write_backs b ON b.identity_id = i.id"
        " WHERE i.workspace_id = $1 AND i.namespace = $2 AND i.value > $3 ORDER BY i.value LIMIT $4",
        workspace.id,
        slug,
        after,
        PAGE_SIZE,
    )
    differing = {write.contact for write in await _list_writes(workspace, write_back, rows, now=now)}
    return differing, rows[-1]["value"] if len(rows) == PAGE_SIZE else None


async def _list_writes(
    workspace: Workspace, write_back: Mapping[str, str], rows: Sequence[Row], *, now: int
) -> list[ContactWrite]:
    """Return the contacts with scores that differ from what was written last.

    *rows* have the columns id and value (of the contact's id in the source), root (the contact that has the scores) and
    written. *write_back* maps score types to properties. A property is cleared only if a value was written to it.
    """
    types = {score_type.key: score_type for score_type in await definitions.score_types(workspace)}
    by_property = {property: types[key] for key, property in sorted(write_back.items()) if key in types}
    scores = await database.read(
        "SELECT k.contact_id, k.definition_id, k.rank FROM scores k"
        " WHERE k.contact_id IN (SELECT contact FROM given(contact bigint)) AND k.rank IS NOT NULL",
        [{"contact": contact} for contact in sorted({row["root"] for row in rows})],
    )
    ranks = {(row["contact_id"], row["definition_id"]): row["rank"] for row in scores}
    writes = []
    for row in rows:
        written: dict[str, int | None] = json.loads(row["written"] or "{}")
        values: dict[str, int | None] = {}
        for property, score_type in by_property.items():
            rank = ranks.get((row["root"], score_type.definition))
            value = None if rank is None else shown(score_type, rank, now=now)
            if value != written.get(property):
                values[property] = value
        if values:
            writes.append(
                ContactWrite(
                    identity=row["id"], id=row["value"], contact=row["root"], values=values, written=written | values
                )
            )
    return writes
