"""Load and save the fields of contacts, with their matching keys and the lookup values of attributes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from storage.db.database import Row, Session
from storage.domain.attributes import AttributeKeys, index_value
from storage.domain.contacts import ATTRIBUTE, FIELDS, TEXT_FIELDS, Json, contact_keys, fold_address
from storage.domain.facts import FieldOrder
from storage.ledger.contacts import TEXT_COLUMNS
from storage.ledger.identities import load_addresses

#: field → (value, order of the fact that states it)
Fields: TypeAlias = dict[str, tuple[Json, FieldOrder]]
#: the columns with the words that contacts are searched by
_WORD_COLUMNS = ("name_key", "company_key", "email_key")


async def load_fields(session: Session, ids: Iterable[int]) -> dict[int, Fields]:
    """Return the fields of contacts, each with the order of the fact that states it."""
    wanted = set(ids)
    fields_of: dict[int, Fields] = {id: {} for id in wanted if id in session.untouched}
    known = sorted(wanted - fields_of.keys())
    rows: Sequence[Row] = ()
    if known:
        rows = await session.rows(
            f"SELECT id, {', '.join(FIELDS)}, attributes, stamps FROM contacts"
            " WHERE id IN (SELECT id FROM given(id bigint))",
            [{"id": id} for id in known],
        )
    return fields_of | {row["id"]: _parse_fields(row) for row in rows}


def _parse_fields(row: Row) -> Fields:
    values: dict[str, Json] = {name: row[name] for name in FIELDS}
    values["tags"] = json.loads(row["tags"])
    values |= {ATTRIBUTE + name: value for name, value in json.loads(row["attributes"]).items()}
    stamps = {
        name: (at, *(part.encode() for part in parts)) for name, (at, *parts) in json.loads(row["stamps"]).items()
    }
    return {name: (values.get(name), order) for name, order in stamps.items()}


async def write_fields(session: Session, changed: Mapping[int, Fields], *, now: int) -> None:
    """Save all fields of contacts with their matching keys and attribute values. The caller holds the locks."""
    known = sorted(changed.keys() - session.untouched.keys())
    member_rows: Sequence[Row] = ()
    if known:
        member_rows = await session.rows(
            "SELECT given.id, m.id AS member, m.first_email, m.attributes, m.split_at,"
            f" {', '.join(f'm.{column}' for column in _WORD_COLUMNS)} FROM given(id bigint)"
            " JOIN contacts m ON m.id = given.id OR m.merged_into = given.id ORDER BY m.id DESC",
            [{"id": id} for id in known],
        )
    first_email = {id: email for id, email in session.untouched.items() if email and id in changed}
    first_email |= {row["id"]: row["first_email"] for row in member_rows if row["first_email"]}  # of the oldest row
    own_addresses = await load_addresses(session, {row["id"] for row in member_rows if row["split_at"] is not None})
    attributes_before = {row["id"]: json.loads(row["attributes"]) for row in member_rows if row["id"] == row["member"]}
    texts_before = {
        row["id"]: [row[name] for name in _WORD_COLUMNS] for row in member_rows if row["id"] == row["member"]
    }
    attributes_after: dict[int, dict[str, Json]] = {}
    rows: list[Row] = []
    for id, contact_fields in sorted(changed.items()):
        values: dict[str, Json] = {name: value for name, (value, _) in contact_fields.items()}
        email = values.get("email")
        if id in own_addresses and not (isinstance(email, str) and fold_address(email) in own_addresses[id]):
            email = None  # the facts of an id that was split off may state the address of the contact that it left
        values["email"] = email or first_email.get(id)
        attributes = attributes_after[id] = {
            name.removeprefix(ATTRIBUTE): value for name, value in values.items() if name.startswith(ATTRIBUTE)
        }
        rows.append(
            {
                "id": id,
                **{name: values.get(name) for name in TEXT_FIELDS},
                "tags": json.dumps(tags, ensure_ascii=False) if (tags := _list_tags(values.get("tags"))) else "[]",
                "attributes": json.dumps(attributes, ensure_ascii=False, sort_keys=True) if attributes else "{}",
                **contact_keys(values),
                "stamps": json.dumps(
                    {
                        name: [order[0], *(part.decode() for part in order[1:])]
                        for name, (_, order) in contact_fields.items()
                    }
                ),
            }
        )
    columns = (*TEXT_COLUMNS, "tags", "tags_key", "attributes", "stamps")
    await session.rows(
        f"UPDATE contacts SET {', '.join(f'{column} = given.{column}' for column in columns)}, updated_at = $2"
        f" FROM given(id bigint, {', '.join(f'{column} text' for column in columns)})"
        " WHERE contacts.id = given.id",
        rows,
        now,
    )
    session.reworded |= {
        row["id"] for row in rows if texts_before.get(row["id"]) != [row[name] for name in _WORD_COLUMNS]
    }
    for id in changed:
        session.untouched.pop(id, None)
    await write_attribute_values(session, attributes_before, attributes_after)


async def write_attribute_values(
    session: Session, before: Mapping[int, Mapping[str, Json]], after: Mapping[int, Mapping[str, Json]]
) -> None:
    """Store the lookup values of the attributes that changed, and delete those of removed attributes."""
    old = {(id, name): repr(value) for id, attributes in before.items() for name, value in attributes.items()}
    new = {(id, name): value for id, attributes in after.items() for name, value in attributes.items()}
    changed = {key: value for key, value in new.items() if old.get(key) != repr(value)}
    if replaced := sorted(key for key in old if key in changed or key not in new):
        await session.rows(
            "DELETE FROM attribute_values WHERE id IN (SELECT a.id FROM given(contact bigint, name text)"
            " JOIN attribute_values a ON a.contact_id = given.contact AND a.name = given.name)",
            [{"contact": id, "name": name} for id, name in replaced],
        )
    rows = [
        {"contact": id, "name": name, "key": keys.key, "number": keys.number, "instant": keys.instant}
        for (id, name), value in sorted(changed.items(), key=lambda item: item[0])
        for keys in index_value(value)
    ]
    if rows:
        await session.rows(
            "INSERT INTO attribute_values (workspace_id, contact_id, name, key, number, instant)"
            " SELECT c.workspace_id, given.contact, given.name, given.key, given.number, given.instant"
            " FROM given(contact bigint, name text, key text, number bigint, instant bigint)"
            " JOIN contacts c ON c.id = given.contact",
            rows,
        )


async def load_attribute_values(session: Session, ids: Iterable[int]) -> dict[int, dict[str, list[AttributeKeys]]]:
    """Return the stored lookup values of contacts' attributes: contact → attribute → values sorted by key."""
    rows = await session.rows(
        "SELECT contact_id, name, key, number, instant FROM attribute_values"
        " WHERE contact_id IN (SELECT id FROM given(id bigint))",
        [{"id": id} for id in sorted(set(ids))],
    )
    values_of: dict[int, dict[str, list[AttributeKeys]]] = {}
    for row in sorted(rows, key=lambda row: row["key"]):
        keys = AttributeKeys(row["key"], row["number"], row["instant"])
        values_of.setdefault(row["contact_id"], {}).setdefault(row["name"], []).append(keys)
    return values_of


def _list_tags(tags: Json) -> list[Json]:
    return tags if isinstance(tags, list) else []
