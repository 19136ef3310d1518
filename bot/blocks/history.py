"""Render the changes of one score, newest first."""

from collections.abc import Sequence

from bot.blocks.elements import (
    actions,
    button,
    context,
    format_actor,
    format_signed,
    format_with_band,
    moment,
    section,
    sections,
)
from bot.slack.handling import Picture, Reply
from bot.slack.text import escape
from storage.domain.contacts import Contact
from storage.domain.facts import Deed, Op
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType
from storage.reading.history import HistoryEntry

MOST = 20
CHART_DAYS = 90


def history_reply(
    contact: Contact, score_type: ScoreType, entries: Sequence[HistoryEntry], *, picture: Picture | None = None
) -> Reply:
    """Return the history of one score of a contact; a Chart button takes the place of a missing picture."""
    title = f"{contact.shown} · {score_type.label}"
    if not entries:
        return Reply(
            text=f"{escape(title)}: no change.",
            blocks=[section(f"*{escape(title)}*\nThere are no changes to show.")],
            picture=picture,
            contacts=frozenset({contact.id}),
        )
    lines = [_render_entry(entry, score_type) for entry in entries]
    caption = "The only change" if len(entries) == 1 else f"The last {len(entries)} changes, newest first"
    footer = context(f"{caption}. Struck through: undone.")
    blocks = [section(f"*{escape(title)}*"), *sections(lines), footer]
    if picture is None:
        blocks.append(actions([button("Chart", action="chart", value=f"{contact.id} {score_type.key} {CHART_DAYS}")]))
    text = f"History of {escape(title)}"
    return Reply(text=text, blocks=blocks, picture=picture, contacts=frozenset({contact.id}))


def _render_entry(entry: HistoryEntry, score_type: ScoreType) -> str:
    match entry.op:
        case Op.SET:
            change = f"set to {show(entry.amount)}"
        case Op.ADD:
            change = f"{'+' if entry.amount >= 0 else '-'}{show(abs(entry.amount))}"
        case Op.CLEAR:
            change = "cleared"
        case Deed():
            change = f"{escape(entry.activity or 'fields of the contact')} {format_signed(entry.amount)}"
    after = "" if entry.undone else f" → {format_with_band(entry.value, score_type, bold=True)}"
    text = f"~{change}~" if entry.undone else f"{change}{after}"
    reason = f' · "{escape(entry.reason)}"' if entry.reason else ""
    return f"{moment(entry.occurred_at)} · {text} · {format_actor(entry.actor, entry.source)}{reason}"
