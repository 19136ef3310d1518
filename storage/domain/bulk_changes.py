"""Define a change of many contacts at once, and the items that it records for each contact."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.domain.contacts import Contact, Json, check_field, clean_field
from storage.domain.facts import Item, Op
from storage.domain.texts import clean_text, match_key


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreChange:
    """A change of one score; *amount* is in thousandths, 0 for clear."""

    score: str  #: the key of the score type
    op: Op
    amount: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkChange:
    """What to change of each contact. Texts are normalized for storage by `make_bulk_change`."""

    scores: tuple[ScoreChange, ...] = ()
    tags: tuple[str, ...] = ()  #: to add
    untags: tuple[str, ...] = ()  #: to remove
    owner: str | None = None  #: the owner's email address
    reason: str | None = None

    @property
    def has_tags(self) -> bool:
        """Whether the change depends on the tags that a contact has."""
        return bool(self.tags or self.untags)

    def encode(self) -> dict[str, Any]:
        """Return the change as a JSON document."""
        return {
            "scores": [[change.score, change.op.value, change.amount] for change in self.scores],
            "tags": list(self.tags),
            "untags": list(self.untags),
            "owner": self.owner,
            "reason": self.reason,
        }

    @staticmethod
    def decode(document: Mapping[str, Any]) -> "BulkChange":
        """Return the change of a document that `encode` made."""
        return BulkChange(
            scores=tuple(
                ScoreChange(score=score, op=Op(op), amount=amount) for score, op, amount in document["scores"]
            ),
            tags=tuple(document["tags"]),
            untags=tuple(document["untags"]),
            owner=document["owner"],
            reason=document["reason"],
        )


def make_bulk_change(
    *,
    scores: Sequence[ScoreChange] = (),
    tags: Sequence[str] = (),
    untags: Sequence[str] = (),
    owner: str | None = None,
    reason: str | None = None,
) -> BulkChange:
    """Return a change with normalized texts. Raises BadItem if a tag or the owner is too long."""
    for name, value in (("tags", list[Json](tags)), ("tags", list[Json](untags)), ("owner", owner)):
        check_field(name, clean_field(name, value))
    return BulkChange(
        scores=tuple(scores),
        tags=_clean_tags(tags),
        untags=_clean_tags(untags),
        owner=_clean_text(clean_field("owner", owner)),
        reason=clean_text(reason, lines=True) or None if reason else None,
    )


def build_items(change: BulkChange, contact: Contact, *, key: str) -> list[Item]:
    """Return the items of a change for one contact; *key* is their dedupe key.

    A score is recorded even if it has the value already, because a later fact may change what came before. Tags and the
    owner are recorded only if they differ.
    """
    contact_reference, reason = contact.reference, change.reason
    items = [
        Item(key=key, contact=contact_reference, score=score.score, op=score.op, amount=score.amount, reason=reason)
        for score in change.scores
    ]
    fields: dict[str, Json] = {}
    tags = _change_tags(change, contact.tags)
    if tags != contact.tags:
        fields["tags"] = list[Json](tags)
    if change.owner is not None and change.owner != contact.owner:
        fields["owner"] = change.owner
    if fields:
        items.append(Item(key=key, contact=contact.reference, fields=fields, reason=change.reason))
    return items


def _change_tags(change: BulkChange, tags: Sequence[str]) -> tuple[str, ...]:
    """Return the tags of a contact after a change. Tags that only differ in case are the same."""
    removed = {match_key(tag) for tag in change.untags}
    remaining = [tag for tag in tags if match_key(tag) not in removed]
    present = {match_key(tag) for tag in remaining}
    return (*remaining, *(tag for tag in change.tags if match_key(tag) not in present))


def _clean_tags(tags: Sequence[str]) -> tuple[str, ...]:
    cleaned = clean_field("tags", list[Json](tags))
    return tuple(str(tag) for tag in cleaned) if isinstance(cleaned, list) else ()


def _clean_text(value: Json) -> str | None:
    return value if isinstance(value, str) else None
