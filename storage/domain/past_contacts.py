"""Fold a contact to an earlier instant, so that a filter can be asked of the contact as it stood then."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from storage.domain.contacts import fold_address
from storage.domain.facts import Fact, Merged, Order, SplitOff, Undo, rank_merged_rows, resolve_merges, undone_batches
from storage.domain.filters.terms import Candidate
from storage.domain.fold import fold, fold_merged_fields
from storage.domain.rules import build_candidate
from storage.domain.score_types import ScoreType


@dataclass(frozen=True, slots=True)
class RecordedFact:
    """A fact of the ledger, with the contact row that it was recorded for and its time of receipt in µs."""

    row: int
    received_at: int
    fact: Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactLedger:
    """All facts of a contact and of every row ever merged with it or split from it, and the undos of their batches."""

    contact: int
    first_emails: Mapping[int, str | None]  #: row → the address that the row was inserted with
    addresses: Mapping[int, Collection[str]]  #: row → the matching keys of the addresses that it is looked up by
    facts: Sequence[RecordedFact]
    undos: Sequence[Undo]
    follow_ups: tuple[str, ...]  #: the states of the contact's pending follow-ups, as they are now


def fold_as_known(ledger: ContactLedger, score_types: Iterable[ScoreType], *, at: int) -> Candidate:
    """Return the contact as the ledger had it just before *at*.

    Facts, merges and undos that were received at or after *at* are left out, even if they happened before. The result
    is therefore the same whenever somebody asks. Follow-ups are those of now.
    """
    known = [recorded for recorded in ledger.facts if recorded.received_at < at]
    undone = undone_batches(undo for undo in ledger.undos if undo.occurred_at < at)
    return _fold(ledger, known, known, undone, score_types, at=at)


def fold_as_happened(
    ledger: ContactLedger, score_types: Iterable[ScoreType], *, at: int, batch: str | None
) -> Candidate:
    """Return the contact as it was at *at*, by everything that is in the ledger now, whenever it was received.

    All facts of *batch* are included. Without a batch, facts of *at* itself are left out.
    """
    happened = [
        recorded
        for recorded in ledger.facts
        if recorded.fact.occurred_at < at
        or (batch is not None and (recorded.fact.batch == batch or recorded.fact.occurred_at == at))
    ]
    return _fold(ledger, ledger.facts, happened, undone_batches(ledger.undos), score_types, at=at)


def _list_links(
    ledger: ContactLedger, known: Iterable[RecordedFact], undone: Collection[str]
) -> list[tuple[int, int, int | None]]:
    """Return the links between the rows, in fact order: (row, other row, the row that survives, if stated).

    A merge links its rows unless it is undone. The facts of a split moved to a row of its own, so that its rows are
    linked before the split, and while it is undone.
    """
    in_force = {recorded.fact.batch for recorded in known} - set(undone)
    links: list[tuple[Order, int, tuple[int, int, int | None]]] = []
    for fact in (recorded.fact for recorded in ledger.facts):
        if isinstance(fact, Merged) and fact.batch in in_force:
            links.append((fact.order, fact.place, (fact.row, fact.other, fact.into)))
        if isinstance(fact, SplitOff) and fact.batch not in in_force:
            links.append((fact.order, 0, (fact.row, fact.other, None)))
    return [link for *_, link in sorted(links, key=lambda placed: placed[:2])]


def _fold(
    ledger: ContactLedger,
    known: Iterable[RecordedFact],
    recorded: Iterable[RecordedFact],
    undone: Collection[str],
    score_types: Iterable[ScoreType],
    *,
    at: int,
) -> Candidate:
    """Fold facts into the contact at an instant. The merges and splits in *known* define which rows belong to it."""
    links = _list_links(ledger, known, undone)
    root = resolve_merges(ledger.first_emails, [(row, other) for row, other, _ in links])
    rows = {row for row in root if root[row] == root[ledger.contact]}
    own = [fact for fact in recorded if fact.row in rows]
    in_force = [fact for fact in own if fact.fact.batch not in undone]
    first_emails = {row: address for row in sorted(rows) if (address := ledger.first_emails[row]) is not None}
    stated = fold_merged_fields(
        {row: [fact.fact for fact in in_force if fact.row == row] for row in rows},
        rank_merged_rows(rows, links),
        first_emails,
    )
    fields = {name: value for name, (value, _) in stated.items()}
    parted = {row for fact in known if isinstance(fact.fact, SplitOff) for row in (fact.fact.row, fact.fact.other)}
    if not parted.isdisjoint(rows):  # its facts may state the address of the contact that it was split from
        addresses = {address for row in rows for address in ledger.addresses[row]}
        if not (isinstance(email := fields.get("email"), str) and fold_address(email) in addresses):
            fields["email"] = None
    fields["email"] = fields.get("email") or next(iter(first_emails.values()), None)
    folded = [(score_type, *fold((fact.fact for fact in in_force), score_type)) for score_type in score_types]
    values = {score_type.key: state.value(score_type, now=at) for score_type, state, _ in folded}
    return replace(
        build_candidate(fields, at),
        id=ledger.contact,
        values={key: value for key, value in values.items() if value is not None},
        past={
            score_type.key: [(fact.occurred_at, effect.rank_after) for fact, effect in effects]
            for score_type, _, effects in folded
        },
        follow_ups=ledger.follow_ups,
        touched=max((fact.fact.occurred_at for fact in own), default=None),
    )
