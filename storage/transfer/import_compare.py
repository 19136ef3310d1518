"""Compare the rows of a CSV file with the stored contacts, so that only different values are recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from storage.db import database
from storage.domain.contacts import ATTRIBUTE, TEXT_FIELDS, Contact, Json, clean_field
from storage.domain.csv_cells import join_tags, write_cell
from storage.domain.errors import TwoContacts
from storage.domain.facts import Item, Op
from storage.domain.people import Workspace
from storage.ledger import contacts, projection
from storage.ledger.batches import list_batch_keys, load_undone_batches
from storage.ledger.facts import load_stored
from storage.ledger.identities import Identity, load_contacts_of_identities
from storage.transfer.import_activities import ACTIVITY_KEY
from storage.transfer.import_batch import SOURCE
from storage.transfer.import_columns import Columns
from storage.transfer.import_rows import ImportRow


@dataclass(slots=True)
class StoredContact:
    """The fields of a contact as cells, and its scores in thousandths: as stored, then with the compared rows."""

    is_new: bool
    texts: dict[str, str] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)  #: column → last line that an earlier import recorded


async def load_stored_contacts(
    workspace: Workspace, *, import_rows: Sequence[ImportRow], columns: Columns, batch: str, now: int
) -> dict[Identity, StoredContact]:
    """Return the stored contacts of the rows, by identity."""
    reader = database.current_database().reader
    await _find_former(reader, import_rows, workspace)
    ids = await load_contacts_of_identities(
        reader, {identity for import_row in import_rows for identity in import_row.list_identities(workspace)}
    )
    if not ids:
        return {}
    contact_ids = sorted(set(ids.values()))
    stored = {
        contact.id: _build_stored_contact(contact)
        for contact in await contacts.contacts(workspace, ids=contact_ids)
        if not contact.is_gone
    }
    types = columns.scores.values()
    definitions = {(id, score_type.key): score_type.definition for id in contact_ids for score_type in types}
    by_key = {score_type.key: score_type for score_type in types}
    for (id, key), state in (await projection.load_states(reader, definitions)).items():
        value = state.value(by_key[key], now=now)
        if id in stored and value is not None:
            stored[id].values[key] = value
    for id, key in await list_batch_keys(reader, workspace.id, batch, stored):
        if key.startswith(ACTIVITY_KEY):
            continue
        _, line, *column = key.split("/")  # the key of an item of `compare_row`
        lines = stored[id].lines
        lines["".join(column)] = max(lines.get("".join(column), 0), int(line))
    return {identity: stored[id] for identity, id in ids.items() if id in stored}


async def replace_undone_keys(workspace: Workspace, *, import_rows: Sequence[ImportRow], batch: str) -> None:
    """Change the keys of activities that an import of another file recorded, if that import was undone.

    Such an activity would otherwise be a duplicate of an undone fact, and would not count.
    """
    session, number = database.current_database().reader, 1
    pending = {row.activity.key: row for row in import_rows if row.activity is not None}
    while pending:
        stored = await load_stored(session, [(workspace.id, SOURCE, key, "") for key in pending])
        batches = {fact.batch for _, _, fact in stored.values()} - {batch}
        undone = await load_undone_batches(session, workspace.id, batches)
        rows = [pending[key] for (_, _, key, _), (_, _, fact) in stored.items() if fact.batch in undone]
        number += 1
        pending = {}
        for row in rows:
            assert row.activity is not None
            row.activity = replace(row.activity, key=f"{row.activity.key.partition('/')[0]}/{number}")
            pending[row.activity.key] = row


async def _find_former(reader: database.Session, import_rows: Sequence[ImportRow], workspace: Workspace) -> None:
    """Set *former* of each row: its identities that are stored in the spelling of an earlier version."""
    former_of = [
        {
            (workspace.id, *current): (workspace.id, *former)
            for reference in import_row.references
            for current, former in reference.former_identities().items()
        }
        for import_row in import_rows
    ]
    if not any(former_of):
        return
    known = await load_contacts_of_identities(
        reader, {identity for former in former_of for identity in former.values()}
    )
    for import_row, former in zip(import_rows, former_of, strict=True):
        import_row.former = {current: spelling for current, spelling in former.items() if spelling in known}


def _build_stored_contact(contact: Contact) -> StoredContact:
    values: dict[str, Json] = {name: getattr(contact, name) for name in TEXT_FIELDS}
    values |= {ATTRIBUTE + name: value for name, value in contact.attributes.items()}
    values["tags"] = list[Json](contact.tags)
    return StoredContact(is_new=False, texts={name: _write_text(name, value) for name, value in values.items()})


def _write_text(name: str, value: Json) -> str:
    """Return the value of a field as a cell. Values that look the same in a spreadsheet give the same text.

    Tags are sorted, because their order does not matter.
    """
    if name == "tags" and isinstance(value, list):
        return join_tags(sorted(str(tag) for tag in value))
    return write_cell(clean_field(name, value))


def compare_row(
    import_row: ImportRow, stored: dict[Identity, StoredContact], workspace: Workspace, *, key: str, columns: Columns
) -> None:
    """Add items for the values of a row that differ from the stored ones. Update *stored* for the rows after it.

    A row that refers to two contacts gets a complaint instead.
    """
    identities = import_row.list_identities(workspace)
    matches = {id(stored[identity]): stored[identity] for identity in identities if identity in stored}
    if len(matches) > 1:
        import_row.complaints.append(str(TwoContacts()))
        return
    contact = next(iter(matches.values()), None) or StoredContact(is_new=True)
    texts = {name: _write_text(name, value) for name, value in import_row.fields.items()}
    import_row.is_new = contact.is_new
    _add_values(import_row, contact, texts, key=key, columns=columns)
    # A row without new values still creates its contact, and adds its address and ids to an existing one.
    if not import_row.items and any(identity not in stored for identity in identities):
        import_row.items.append(Item(key=key, contact=import_row.references[0]))
    for number, extra in enumerate(import_row.references[1:], start=1):
        if any(identity not in stored for identity in import_row.list_identities(workspace, extra)):
            import_row.items.append(Item(key=f"{key}/id{number}", contact=extra))
    contact.is_new = False
    contact.texts |= texts
    contact.values |= {score_type.key: value for score_type, value in import_row.values.values()}
    stored |= dict.fromkeys(identities, contact)


def _add_values(
    import_row: ImportRow, contact: StoredContact, texts: Mapping[str, str], *, key: str, columns: Columns
) -> None:
    """Add an item for all fields of a row that differ from *contact*, one for each score, and the activity.

    *texts* are the fields of the row as cells. A value is skipped if an earlier import recorded a later line of its
    column. Fields are also skipped if the import recorded the same line: a difference is then a change made after the
    import, and an item with only some of the fields would conflict with the recorded one. A score of the same line is
    repeated, because its item is the recorded one.
    """
    reference, line = import_row.references[0], import_row.row.line
    differing = {name: value for name, value in import_row.fields.items() if contact.texts.get(name) != texts[name]}
    if differing and contact.lines.get(columns.signature, 0) < line:
        import_row.items.append(Item(key=f"{key}/{columns.signature}", contact=reference, fields=differing))
    for index, (score_type, value) in import_row.values.items():
        if contact.values.get(score_type.key) != value and contact.lines.get(str(index), 0) <= line:
            import_row.items.append(
                Item(key=f"{key}/{index}", contact=reference, score=score_type.key, op=Op.SET, amount=value)
            )
    if import_row.activity is not None:
        import_row.items.append(import_row.activity)
