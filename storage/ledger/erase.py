"""Delete everything known about a contact, and store hashes of its identities, so that older data stays deleted."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from storage import jobs, posted_messages
from storage.alerts import followup_rules
from storage.alerts import memory as alert_memory
from storage.audit import AuditAction, NewEntry, record_changes, redact_changes
from storage.bulk_changes import redact_bulk_changes
from storage.db import database
from storage.db.database import Session
from storage.domain.contacts import EMAIL
from storage.domain.errors import UnknownDelivery
from storage.domain.facts import Deleted, ItemRequest, Unusable
from storage.domain.people import Workspace
from storage.domain.submissions import ItemOutcome, Raw, Status
from storage.domain.texts import match_key
from storage.events.outbox import redact_events
from storage.jobs import NewJob
from storage.ledger import contacts, facts, projection
from storage.ledger import merge as merging
from storage.ledger.identities import load_identities
from storage.ledger.plan import ItemKind, Plan, PlannedItem
from storage.ledger.tombstones import insert_tombstones, load_tombstones
from storage.sent_files import redact_files
from storage.sources import deliveries
from storage.sources.named_contacts import find_names, find_request_names, make_name, split_name

DELETED_REASON = "that contact was deleted"
#: the kind of the job that reads the requests of earlier versions again, to find those that name a deleted contact
NAME_REQUESTS = "names"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """The amounts of data that are stored about a contact."""

    changes: int  #: changes and activities, undone or not
    follow_ups: int
    identities: int
    messages: int  #: messages of the app in Slack that mention the contact


async def count_holdings(workspace: Workspace, *, contact: int) -> Holdings:
    """Return the amounts of data that deleting a contact would remove, including all rows merged into the contact."""
    (row,) = await database.read(
        "SELECT (SELECT count(*) FROM facts f WHERE f.kind IN ('change', 'activity') AND f.contact_id IN"
        f" ({_CONTACT_ROWS})) AS changes,"
        f" (SELECT count(*) FROM follow_ups u WHERE u.contact_id IN ({_CONTACT_ROWS})) AS follow_ups,"
        f" (SELECT count(*) FROM identities i WHERE i.contact_id IN ({_CONTACT_ROWS})) AS identities,"
        f" (SELECT count(DISTINCT m.message_id) FROM message_contacts m WHERE m.contact_id IN ({_CONTACT_ROWS}))"
        " AS messages",
        workspace.id,
        contact,
    )
    return Holdings(**row)


_CONTACT_ROWS = "SELECT id FROM contacts WHERE workspace_id = $1 AND (id = $2 OR merged_into = $2)"


async def record_request_names(workspace: Workspace, *, id: int, items: Sequence[ItemRequest] | None) -> None:
    """Record the contacts that a delivery of an earlier version names. Data of deleted contacts is removed.

    *items* are the items of the delivery as parsed today, or None if it can no longer be parsed. In that case its
    request is deleted, and its quarantined items are matched only by the addresses in their text.
    """
    (stored, quarantined), raw = await deliveries.delivery(workspace, id=id), await _load_raw(workspace, id)
    request_names = None if items is None or raw is None else find_request_names(raw, items)
    item_names = {}
    for aside in quarantined:
        item_names[aside.position] = find_names(Unusable(key=aside.key, reason=aside.reason, raw=aside.item))
        if items is not None and aside.position < len(items):
            item_names[aside.position] |= find_names(items[aside.position])
    identities = {
        name: (workspace.id, *split_name(name)) for name in set().union(request_names or (), *item_names.values())
    }

    async def body(session: Session) -> None:
        tombstones = await load_tombstones(session, identities.values())
        deleted = {name for name, identity in identities.items() if tombstones.get(identity, -1) >= stored.received_at}
        await deliveries.record_names(
            session, workspace, id=id, request_names=request_names, item_names=item_names, deleted=deleted
        )

    await database.write(body)


async def _load_raw(workspace: Workspace, id: int) -> Raw | None:
    try:
        return await deliveries.raw_delivery(workspace, id=id)
    except UnknownDelivery:
        return None


async def stamp_deletions(session: Session, plan: Plan) -> Plan:
    """Set the times of deletions. A deletion by a person or without a time comes after every fact of the contact."""
    items = []
    for planned in plan.items:
        if planned.kind is ItemKind.DELETION and (planned.item.occurred_at is None or plan.submission.actor):
            latest = await facts.load_latest_instant(session, _list_members(plan, planned))
            items.append(replace(planned, at=max(planned.at, latest + 1)))
        else:
            items.append(planned)
    return replace(plan, items=tuple(items))


async def erase_contacts(session: Session, plan: Plan, *, now: int) -> Plan:
    """Delete the contacts of a plan's deletions; their facts are already appended. Return the plan with the regrouping.

    Facts later than a deletion stay, as if they were about a new contact. The contacts must be locked.
    """
    deletions = [new for new in plan.new_facts if isinstance(new.fact, Deleted)]
    rows = sorted({row for new in deletions for row in _list_members(plan, new.planned)})
    if not rows:
        return plan
    workspace, identities = plan.workspace.id, await load_identities(session, rows)
    if await deliveries.has_unnamed_deliveries(session, workspace):
        job = NewJob(workspace=workspace, kind=NAME_REQUESTS, lane=NAME_REQUESTS, key=str(now), subject=0, due_at=now)
        await jobs.enqueue(session, [job], now=now)
    addresses, shown_names = await _load_texts(session, rows)
    names = {make_name(namespace, key) for _, namespace, key in identities}
    names |= {make_name(EMAIL, match_key(address)) for address in addresses}
    await deliveries.redact_deliveries(session, workspace, names)
    words = addresses | shown_names | {key for _, namespace, key in identities if namespace == EMAIL}
    await redact_changes(session, plan.workspace, rows, words=words)
    await redact_bulk_changes(session, workspace, words=words)
    await redact_files(session, workspace, words=words)
    entries = [
        NewEntry(what=AuditAction.CONTACT_DELETED, subject=None, before=None, after=None, contacts=[deletion.contact])
        for deletion in deletions
    ]
    await record_changes(session, plan.workspace, entries, who=plan.submission.author, now=now)
    for deletion in deletions:
        members, until = _list_members(plan, deletion.planned), deletion.fact.occurred_at
        await facts.redact_facts(session, members, until=until)
        await insert_tombstones(session, workspace, await load_identities(session, members), until=until)
        plan = _ignore_facts(plan, members, until=until)
    definitions = {(row, key): score_type.definition for row in rows for key, score_type in plan.types.items()}
    states_before = await projection.load_states(session, definitions)
    await projection.delete_projection(session, rows)
    await redact_events(session, rows)
    await posted_messages.enqueue_hiding(session, workspace, rows, now=plan.submission.received_at)
    await followup_rules.delete_follow_ups(session, rows)
    remaining = await facts.list_contacts_with_facts(session, rows)
    await contacts.erase_rows(session, [row for row in rows if row not in remaining])
    regrouping = await merging.split_rest(session, plan, rows=rows, remaining=remaining, states_before=states_before)
    new = tuple(replace(new, contact=regrouping.roots.get(new.planned.rows[0], new.contact)) for new in plan.new_facts)
    await alert_memory.delete_memory(session, rows)
    return replace(plan, regrouping=regrouping, new_facts=new)


def _list_members(plan: Plan, planned: PlannedItem) -> list[int]:
    """Return all rows of the contacts that a deletion names."""
    assert plan.regrouping is not None
    roots = plan.regrouping.roots
    named = {roots[row] for row in planned.rows}
    return sorted(row for row, root in roots.items() if root in named)


def _ignore_facts(plan: Plan, rows: Sequence[int], *, until: int) -> Plan:
    """Return the plan without its facts about the deleted contact up to *until*; their items are ignored."""
    ignored = {
        new.planned.position
        for new in plan.new_facts
        if not isinstance(new.fact, Deleted) and new.fact.occurred_at <= until and set(new.planned.rows) & set(rows)
    }
    skipped = {**plan.skipped, **dict.fromkeys(ignored, ItemOutcome(status=Status.IGNORED, reason=DELETED_REASON))}
    new = tuple(new for new in plan.new_facts if new.planned.position not in ignored)
    return replace(plan, skipped=skipped, new_facts=new)


async def _load_texts(session: Session, rows: Collection[int]) -> tuple[set[str], set[str]]:
    """Return the e-mail addresses and the names on the rows of contacts. They may differ from their identities."""
    records = await session.rows(
        "SELECT email, first_email, name FROM contacts WHERE id IN (SELECT id FROM given(id bigint))",
        [{"id": row} for row in rows],
    )
    addresses = {row[column] for row in records for column in ("email", "first_email") if row[column]}
    return addresses, {row["name"] for row in records if row["name"]}
