"""Act for a team: record what its sources and people send, and read what its members see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storage.domain.contacts import Contact, Json, Reference
from storage.domain.facts import Item, ItemRequest, Op
from storage.domain.people import Workspace
from storage.domain.submissions import Delivered, Recorded, Submission
from storage.ledger.committer import Committer, record
from storage.reading.current_scores import card
from storage.reading.history import HistoryEntry, history
from storage.reading.search import find, find_by_key
from storage.sources.deliveries import delivery

NOW = 1_767_225_600_000_000  # 2026-01-01, 00:00 UTC
SECOND = 1_000_000
DAY = 86_400 * SECOND

#: A contact as senders name it: an email, (source, id), the row id of a contact, or a Reference.
ContactLike = str | int | tuple[str, str] | Reference


def change(
    key: str,
    contact: ContactLike,
    op: Op,
    amount: int = 0,
    *,
    score: str = "score",
    at: int | None = None,
    reason: str | None = None,
    fields: Mapping[str, Json] | None = None,
    raw: str = "",
) -> Item:
    """Return an item that changes one score; *amount* is in whole points."""
    return Item(
        key=key, contact=_reference(contact), score=score, op=op, amount=amount * 1_000,
        occurred_at=at, reason=reason, fields=fields or {}, raw=raw,
    )  # fmt: skip  # who, what, and when


def set_to(key: str, contact: ContactLike, value: int, **more: object) -> Item:
    """Return an item that sets a score to a value in whole points."""
    return change(key, contact, Op.SET, value, **more)  # type: ignore[arg-type]  # handed through as they are


def field_item(key: str, contact: ContactLike, *, at: int | None = None, **fields: Json) -> Item:
    """Return an item that states fields of a contact and changes no score."""
    return Item(key=key, contact=_reference(contact), occurred_at=at, fields=fields)


def _reference(contact: ContactLike) -> Reference | int:
    match contact:
        case str():
            return Reference(email=contact)
        case (source, id):
            return Reference(source=source, id=id)
        case _:
            return contact


@dataclass(frozen=True, slots=True)
class Team:
    """A workspace. *committer* stands for another process, where a test needs two."""

    workspace: Workspace
    committer: Committer | None = None

    async def record(self, submission: Submission) -> Recorded:
        """Record a submission at the instant at which it was received."""
        begin = record if self.committer is None else self.committer.record
        return await begin(self.workspace, submission, now=submission.received_at)

    async def deliver(
        self,
        *items: ItemRequest,
        source: str = "crm",
        batch: str = "delivery",
        received: int = NOW,
        delivered: Delivered | None = None,
    ) -> Recorded:
        """Record a delivery of a source."""
        return await self.record(
            self.delivery(*items, source=source, batch=batch, received=received, delivered=delivered)
        )

    def delivery(
        self,
        *items: ItemRequest,
        source: str = "crm",
        batch: str = "delivery",
        received: int = NOW,
        delivered: Delivered | None = None,
    ) -> Submission:
        """Return the submission of a source's delivery."""
        return Submission(source=source, batch=batch, received_at=received, items=items, delivered=delivered)

    async def ask(
        self, *items: ItemRequest, batch: str, actor: str = "U0REP", received: int = NOW, creates: bool = True
    ) -> Recorded:
        """Record a person's request, which applies completely or not at all."""
        return await self.record(self.asking(*items, batch=batch, actor=actor, received=received, creates=creates))

    def asking(
        self, *items: ItemRequest, batch: str, actor: str = "U0REP", received: int = NOW, creates: bool = True
    ) -> Submission:
        """Return the submission of a person's request."""
        return Submission(
            source="slack", batch=batch, received_at=received, items=items,
            actor=actor, all_or_none=True, creates=creates,
        )  # fmt: skip  # the submission

    async def undo(self, undoes: str, *, batch: str, actor: str = "U0REP", received: int = NOW) -> Recorded:
        """Undo a batch as a person does."""
        return await self.record(self.undoing(undoes, batch=batch, actor=actor, received=received))

    def undoing(self, undoes: str, *, batch: str, actor: str = "U0REP", received: int = NOW) -> Submission:
        """Return the submission of a person's undo."""
        return Submission(
            source="slack", batch=batch, received_at=received,
            actor=actor, all_or_none=True, undoes=undoes,
        )  # fmt: skip  # the submission

    async def contact(self, text: str) -> Contact:
        """Return the only contact that *text* finds, or the contact with this address or id that is gone."""
        gone = await find_by_key(self.workspace, key=text, include_gone=True)
        (contact,) = await find(self.workspace, text=text) or ([gone] if gone is not None else [])
        return contact

    async def value(self, text: str, score: str = "score") -> int | None:
        """Return a score in thousandths, or None if it is missing."""
        contact_card = await card(self.workspace, contact=(await self.contact(text)).id, now=NOW)
        assert contact_card is not None
        return next((standing.value for standing in contact_card.standings if standing.score_type.key == score), None)

    async def lines(self, text: str, score: str = "score") -> Sequence[HistoryEntry]:
        """Return the whole history of a score, newest first."""
        _, lines = await history(self.workspace, contact=(await self.contact(text)).id, score=score, most=10_000)
        return lines

    async def set_aside(self, id: int) -> list[tuple[int, str, str, str]]:
        """Return the quarantined items of a delivery: position, key, reason, item."""
        _, quarantined = await delivery(self.workspace, id=id)
        return [(item.position, item.key, item.reason, item.item) for item in quarantined]
