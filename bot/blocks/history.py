"""Draw the changes of one score, newest first."""

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
    """Answer with the history of one score of a contact, and its picture; without one there is a button for it."""
    title = f"{contact.shown} · {score_type.label}"
    if not entries:
        return Reply(
            text=f"{escape(title)}: no change.",
            blocks=[section(f"*{escape(title)}*\nThere is no change to show.")],
            picture=picture,
        )
    lines = [_line(one, score_type) for one in entries]
    many = "The one change" if len(entries) == 1 else f"The last {len(entries)} changes, newest first"
    small = context(f"{many}. Struck through: undone.")
    blocks = [section(f"*{escape(title)}*"), *sections(lines), small]
    if picture is None:
        blocks.append(actions([button("Chart", action="chart", value=f"{contact.id} {score_type.key} {CHART_DAYS}")]))
    return Reply(text=f"History of {escape(title)}", blocks=blocks, picture=picture)


def _line(one: HistoryEntry, score_type: ScoreType) -> str:
    match one.op:
        case Op.SET:
            did = f"set to {show(one.amount)}"
        case Op.ADD:
            did = f"{'+' if one.amount >= 0 else '-'}{show(abs(one.amount))}"
        case Op.CLEAR:
            did = "cleared"
        case Deed():
            did = f"{escape(one.activity or 'what is known of the contact')} {format_signed(one.amount)}"
    after = "" if one.undone else f" → {format_with_band(one.value, score_type, bold=True)}"
    what = f"~{did}~" if one.undone else f"{did}{after}"
    reason = f' · "{escape(one.reason)}"' if one.reason else ""
    return f"{moment(one.occurred_at)} · {what} · {format_actor(one.actor, one.source)}{reason}"
