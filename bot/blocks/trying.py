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
    amount = "1 item" if len(items) == 1 else f"{len(items):,} items"
    head = f"*Test of {delivery.source}:* its last delivery, {moment(delivery.received_at)}, holds {amount}"
    lines = [_render_item(item, types, received=delivery.received_at) for item in items] or [
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
    text = f"*Test of {source}:* nothing that it sent is kept. Let it send something, then test it."
    return Reply(text=text, blocks=[section(text)])


def _render_item(item: ItemRequest, types: Mapping[str, ScoreType], *, received: int) -> str:
    if isinstance(item, Ignored | Unusable):
        return f"{'ignored' if isinstance(item, Ignored) else 'quarantined'}: {escape_sentence(item.reason)}"
    contact = _format_reference(item.contact)
    if reason := refusal_reason(item, types, received=received):
        return f"{contact} → quarantined: {escape_sentence(reason)}"
    match item:
        case Merge():
            return f"{contact} → one with {_format_reference(item.into)}"
        case Deletion():
            return f"{contact} → deleted"
        case Item():
            return f"{contact} → {_describe_change(item)}"


def _describe_change(item: Item) -> str:
    if item.activity is not None:
        return f"did `{escape_code(item.activity)}`, {show(item.amount)} times"
    if item.score is None:
        return escape(f"{', '.join(item.fields)} noted") if item.fields else "known by its id"
    if item.op is Op.CLEAR:
        return f"{escape(item.score)} cleared"
    sign = "+" if item.op is Op.ADD and item.amount > 0 else ""
    return f"{escape(item.score)} *{sign}{show(item.amount)}*"


def _format_reference(contact: Reference | int) -> str:
    reference = contact if isinstance(contact, Reference) else Reference()
    return escape(
        " ".join(part for part in (reference.email, reference.id and f"{reference.source}:{reference.id}") if part)
    )
