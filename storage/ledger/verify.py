"""Verify the projection: fold all facts again, in batches of contacts, and report differences. There should be none."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from storage.db import database, models
from storage.db.database import Session
from storage.db.errors import StartAgain
from storage.domain.attributes import AttributeKeys, index_value
from storage.domain.contacts import ATTRIBUTE
from storage.domain.facts import Fact
from storage.domain.fold import Effect, ScoreState, fold_fields, fold_ledger, make_initial_state
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.ledger import contact_fields, contacts, facts, projection, refold, words
from storage.ledger.batches import find_gone_contacts, load_undone_batches
from storage.ledger.facts import ScoreId
from storage.ledger.merged_fields import load_merged_fields
from storage.scoring.definitions import live

MOST = 500
#: (time of the fact in µs, effect, snapshot)
_Compared: TypeAlias = tuple[int, Effect, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A difference between the stored projection and the ledger. None: the value is missing on that side."""

    contact: int
    what: str
    kept: str | None
    folded: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The result of verifying some contacts. *last* is the contact id to continue after, None at the end."""

    contacts: int
    scores: int
    differences: tuple[Difference, ...]
    last: int | None


async def verify_next(workspace: Workspace, *, after: int = 0, most: int = MOST) -> Verified:
    """Verify the next *most* contacts after the id *after*.

    Contacts with differences are compared again under their lock.
    """
    following = models.Contact.filter(workspace_id=workspace.id, id__gt=after, merged_into__isnull=True)
    ids = [row["id"] for row in await database.load(following.order_by("id").limit(most), "id")]
    count, differences = await compare_contacts(database.current_database().reader, workspace, ids)
    if differences:
        differences = await _compare_locked(workspace, {difference.contact for difference in differences})
    last = ids[-1] if len(ids) == most else None
    return Verified(contacts=len(ids), scores=count, differences=tuple(differences), last=last)


async def contacts_to_verify(workspace: Workspace) -> int:
    """Return the number of contacts to verify."""
    rows = await database.read(
        "SELECT count(*) AS count FROM contacts WHERE workspace_id = $1 AND merged_into IS NULL", workspace.id
    )
    return int(rows[0]["count"])


async def _compare_locked(workspace: Workspace, ids: Collection[int]) -> list[Difference]:
    """Compare contacts again under their lock, so that writes during the first comparison are no differences."""
    differences: list[Difference] = []
    for id in sorted(ids):

        async def body(session: Session, id: int = id) -> list[Difference]:
            await contacts.lock(session, {id: id})
            return (await compare_contacts(session, workspace, [id]))[1]

        with suppress(StartAgain):  # the contact was just merged or deleted
            differences += await database.write(body)
    return differences


async def compare_contacts(session: Session, workspace: Workspace, ids: Sequence[int]) -> tuple[int, list[Difference]]:
    """Compare contacts with the ledger. Return the number of their scores, and all differences.

    Scores, effects with their snapshots, fields, the lookup values of attributes and the words for searches are
    compared, and whether the contact is gone. Contacts that a job has yet to recalculate are skipped.
    """
    marked = await refold.find_marked_contacts(session, ids)
    ids = [id for id in ids if id not in marked]
    types = (await live(session, {workspace.id}))[workspace.id]
    pairs = {(id, key): score_type for id in ids for key, score_type in types.items()}
    ledgers = await facts.load_ledgers(session, pairs) if pairs else {}
    batches = {change.batch for ledger in ledgers.values() for change in ledger.values()}
    facts_of = await facts.load_field_facts(session, ids)
    batches |= {fact.batch for contact_facts in facts_of.values() for fact in contact_facts}
    undone = await load_undone_batches(session, workspace.id, batches)
    states = await projection.load_states(session, {pair: score_type.definition for pair, score_type in pairs.items()})
    effects = await _load_effects(session, pairs)
    differences: list[Difference] = []
    for pair, score_type in pairs.items():
        state, folded = _fold_score(ledgers[pair], score_type, undone, effects.get(pair, {}))
        if pair not in states and state == make_initial_state(score_type):
            state = None  # a score that no fact has changed needs no row
        differences += _compare_score(pair, states.get(pair), state, effects.get(pair, {}), folded)
    stored_fields = await contact_fields.load_fields(session, ids)
    stored_values = await contact_fields.load_attribute_values(session, ids)
    merged_fields = await load_merged_fields(session, workspace.id, ids)
    split = await contacts.find_split(session, ids)
    stored_gone = {contact.id: contact.is_gone for contact in await contacts.load_contacts(session, workspace, ids=ids)}
    gone = await find_gone_contacts(session, workspace.id, ids)
    words_of = await words.load_words(session, workspace, ids)
    for id in ids:
        if stored_gone[id] != (id in gone):
            differences.append(
                Difference(contact=id, what="gone", kept=_describe(stored_gone[id]), folded=_describe(id in gone))
            )
        facts_in_force = [fact for fact in facts_of[id] if fact.batch not in undone]
        folded_fields = merged_fields.get(id) or fold_fields(facts_in_force, {})
        differences += _compare_fields(id, stored_fields.get(id, {}), folded_fields, is_split=id in split)
        differences += _compare_attribute_values(id, stored_values.get(id, {}), folded_fields)
        stored_words, own_words = words_of.get(id, ([], []))
        if stored_words != own_words:
            differences.append(
                Difference(contact=id, what="words", kept=_describe(stored_words), folded=_describe(own_words))
            )
    return sum(state.rank is not None for state in states.values()), differences


def _fold_score(
    ledger: Mapping[int, Fact], score_type: ScoreType, undone: Collection[str], stored: Mapping[int, _Compared]
) -> tuple[ScoreState | None, dict[int, _Compared]]:
    """Fold a score; return its state and effects. Only effects with a *stored* snapshot get one to compare it with."""
    state, effects = fold_ledger(ledger, score_type, undone=undone)
    with_snapshot = {id for id, (_, _, snapshot) in stored.items() if snapshot is not None}
    return state, {
        id: (fact.occurred_at, effect, projection.dump_state(effect) if id in with_snapshot else None)
        for id, (fact, effect) in effects.items()
    }


async def _load_effects(session: Session, pairs: Mapping[ScoreId, ScoreType]) -> dict[ScoreId, dict[int, _Compared]]:
    rows = await session.rows(
        "SELECT given.subject, e.contact_id, e.fact_id, e.at, e.asked, e.effective, e.rank_after, e.rule, e.capped,"
        " e.snapshot FROM given(contact bigint, definition bigint, subject text)"
        " JOIN effects e ON e.contact_id = given.contact AND e.definition_id = given.definition",
        [
            {"contact": contact, "definition": score_type.definition, "subject": key}
            for (contact, key), score_type in pairs.items()
        ],
    )
    by_score: dict[ScoreId, dict[int, _Compared]] = {}
    for row in rows:
        by_score.setdefault((row["contact_id"], row["subject"]), {})[row["fact_id"]] = (
            row["at"],
            projection.parse_effect(row),
            row["snapshot"],
        )
    return by_score


def _compare_score(
    pair: ScoreId,
    stored: ScoreState | None,
    state: ScoreState | None,
    effects: Mapping[int, _Compared],
    folded: Mapping[int, _Compared],
) -> Iterator[Difference]:
    contact, key = pair
    if stored != state:
        yield Difference(contact=contact, what=f"score {key}", kept=_describe(stored), folded=_describe(state))
    for fact in sorted(effects.keys() | folded.keys()):
        stored_effect, folded_effect = effects.get(fact), folded.get(fact)
        if stored_effect != folded_effect:
            subject = f"effect of fact {fact} on {key}"
            yield Difference(
                contact=contact, what=subject, kept=_describe(stored_effect), folded=_describe(folded_effect)
            )


def _compare_fields(
    id: int, stored: contact_fields.Fields, folded: contact_fields.Fields, *, is_split: bool
) -> Iterator[Difference]:
    """Compare the stored fields of a contact. The address that a contact shows after a split need not be its facts'."""
    for name in sorted(stored.keys() | folded.keys()):
        stored_value, folded_value = stored.get(name), folded.get(name)
        if name == "email" and is_split and stored_value is not None and folded_value is not None:
            folded_value = (stored_value[0], folded_value[1])
        if folded_value is not None and folded_value[0] is None and stored_value is not None:
            # Without tags the stored list is empty; without an address the contact keeps the address it was inserted
            # with.
            folded_value = (stored_value[0] if name == "email" else [] if name == "tags" else None, folded_value[1])
        if stored_value != folded_value:
            yield Difference(contact=id, what=name, kept=_describe(stored_value), folded=_describe(folded_value))


def _compare_attribute_values(
    id: int, stored: Mapping[str, Sequence[AttributeKeys]], folded: contact_fields.Fields
) -> Iterator[Difference]:
    """Compare the stored lookup values of filters with the attributes of the contact."""
    indexed = {
        name.removeprefix(ATTRIBUTE): sorted(index_value(value), key=lambda keys: keys.key)
        for name, (value, _) in folded.items()
        if name.startswith(ATTRIBUTE)
    }
    for name in sorted(stored.keys() | indexed.keys()):
        stored_keys, folded_keys = list(stored.get(name, ())), indexed.get(name, [])
        if stored_keys != folded_keys:
            yield Difference(
                contact=id,
                what=f"values of {ATTRIBUTE}{name}",
                kept=_describe(stored_keys or None),
                folded=_describe(folded_keys or None),
            )


def _describe(value: object) -> str | None:
    return None if value is None else str(value)
