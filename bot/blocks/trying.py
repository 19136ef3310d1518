"""Draw what would be taken of a delivery that is kept."""

from collections.abc import Mapping, Sequence

from bot.blocks.elements import context, moment, section, sections
from bot.slack.handling import Reply
from bot.slack.text import escape, escape_code, escape_sentence
from storage.domain.contacts import Reference
from storage.domain.facts import Deletion, Ignored, Item, ItemRequest, Merge, Op, Unusable
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType
from storage.domain.submissions import refusal_reason
from storage.sources.deliveries import Delivery


def dry_run_reply(
    delivery: Delivery, items: Sequence[ItemRequest], warnings: Sequence[str], types: Mapping[str, ScoreType]
) -> Reply:
    """Answer with what would be taken of a source's last delivery as the source is set now."""
    many = "1 item" if len(items) == 1 else f"{len(items):,} items"
    head = f"*Test of {delivery.source}:* its last delivery, {moment(delivery.received_at)}, holds {many}"
    lines = [_line(one, types, received=delivery.received_at) for one in items] or [
        "Nothing would be taken: it holds no item."
    ]
    return Reply(
        text=f"A test of {delivery.source}",
        blocks=[
            section(head),
            *sections(lines),
            *sections([f":warning: {escape_sentence(warning)}" for warning in warnings]),
            context("Nothing was changed by this, and nothing was sent."),
        ],
    )


def no_delivery_reply(source: str) -> Reply:
    """Answer that there is nothing to test a source with."""
    said = f"*Test of {source}:* nothing that it sent is kept. Let it send something, then test it."
    return Reply(text=said, blocks=[section(said)])


def _line(one: ItemRequest, types: Mapping[str, ScoreType], *, received: int) -> str:
    if isinstance(one, Ignored | Unusable):
        return f"{'ignored' if isinstance(one, Ignored) else 'quarantined'}: {escape_sentence(one.reason)}"
    whom = _whom(one.contact)
    if because := refusal_reason(one, types, received=received):
        return f"{whom} → quarantined: {escape_sentence(because)}"
    match one:
        case Merge():
            return f"{whom} → one with {_whom(one.into)}"
        case Deletion():
            return f"{whom} → deleted"
        case Item():
            return f"{whom} → {_does(one)}"


def _does(one: Item) -> str:
    if one.activity is not None:
        return f"did `{escape_code(one.activity)}`, {show(one.amount)} times"
    if one.score is None:
        return escape(f"{', '.join(one.fields)} noted") if one.fields else "known by its id"
    if one.op is Op.CLEAR:
        return f"{escape(one.score)} cleared"
    sign = "+" if one.op is Op.ADD and one.amount > 0 else ""
    return f"{escape(one.score)} *{sign}{show(one.amount)}*"


def _whom(contact: Reference | int) -> str:
    named = contact if isinstance(contact, Reference) else Reference()
    return escape(" ".join(one for one in (named.email, named.id and f"{named.source}:{named.id}") if one))
