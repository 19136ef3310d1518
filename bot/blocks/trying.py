"""Render the dry run of a source's last stored delivery."""

from collections.abc import Mapping, Sequence

from bot.blocks.elements import context, moment, section, sections
from bot.slack.handling import Reply
from bot.slack.text import escape, escape_sentence
from storage.domain.describe import describe_item, describe_reference
from storage.domain.facts import Ignored, ItemRequest, Unusable
from storage.domain.score_types import ScoreType
from storage.domain.submissions import refusal_reason
from storage.sources.deliveries import Delivery


def dry_run_reply(
    delivery: Delivery, items: Sequence[ItemRequest], warnings: Sequence[str], types: Mapping[str, ScoreType]
) -> Reply:
    """Return the reply with the items of a source's last delivery, as the current mapping reads them.

    *items* and *warnings* come from parsing the stored delivery again; nothing is recorded.
    """
    amount = "1 item" if len(items) == 1 else f"{len(items):,} items"
    head = f"*Test of {delivery.source}:* its last delivery, {moment(delivery.received_at)}, holds {amount}"
    lines = [_render_item(item, types, received=delivery.received_at) for item in items] or [
        "Nothing would be recorded: it holds no items."
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
    """Return the reply for a source without a stored delivery."""
    text = f"*Test of {source}:* no delivery of it is stored. Have it send something, then test it."
    return Reply(text=text, blocks=[section(text)])


def _render_item(item: ItemRequest, types: Mapping[str, ScoreType], *, received: int) -> str:
    if isinstance(item, Ignored | Unusable):
        return escape_sentence(describe_item(item))
    if reason := refusal_reason(item, types, received=received):
        return f"{escape(describe_reference(item.contact))} → quarantined: {escape_sentence(reason)}"
    return escape(describe_item(item))
