"""Draw what happened to scores: to whom, from what to what, and how to take it back."""

from collections.abc import Mapping, Sequence

from bot.blocks.elements import actions, button, format_value, format_with_band, section
from bot.slack.handling import Reply
from bot.slack.text import escape
from storage.domain.contacts import Contact
from storage.domain.facts import Op
from storage.domain.numbers import show
from storage.domain.submissions import Moved


def receipt_reply(
    contact: Contact,
    moved: Sequence[Moved],
    *,
    batch: str,
    reason: str | None = None,
    asked: Mapping[str, tuple[Op, int]] | None = None,
    note: str | None = None,
    replaces: bool = False,
) -> Reply:
    """Answer that scores changed; *asked* says by type what was asked, so that what the range cut can be told."""
    parts = [escape(contact.shown)]
    plain = [escape(contact.shown)]
    for one in moved:
        label = one.score_type.label
        parts.append(
            f"{escape(label)} {format_value(one.before)} → {format_with_band(one.after, one.score_type, bold=True)}"
            f"{_cut_by_range(one, (asked or {}).get(one.score_type.key))}"
        )
        plain.append(f"{escape(label)} {format_value(one.before)} → {format_with_band(one.after, one.score_type)}")
    parts += [f'"{escape(reason)}"'] if reason else []
    parts += [note] if note else []
    buttons = [
        button("Undo", action="undo", value=batch),
        button(
            "History", action="history", value=" ".join([str(contact.id), *(one.score_type.key for one in moved[:1])])
        ),
    ]
    return Reply(text=" · ".join(plain), blocks=[section(" · ".join(parts)), actions(buttons)], replaces=replaces)


def taken_back_reply(
    whom: Sequence[Contact], *, contacts: int, moved: Sequence[Moved], batch: str, replaces: bool
) -> Reply:
    """Answer that what was said of a contact, or what was recorded of many, is taken back; *whom* is some of them."""
    if contacts == 1 and whom:
        text = f"{escape(whom[0].shown)} · undone; the contact itself stays"
    elif contacts == 2 and len(whom) == 2:  # who were one, or are again
        text = "\n".join(f"{_moves(one, moved)} · undone" for one in whom)
    else:
        scores = f"{len(moved):,} score{'' if len(moved) == 1 else 's'}"
        text = f"{scores} of {contacts:,} contacts · undone"
    buttons = [button("Undo", action="undo", value=batch)]
    return Reply(text=text, blocks=[section(text), actions(buttons)], replaces=replaces)


def _moves(contact: Contact, moved: Sequence[Moved]) -> str:
    told = [
        f"{escape(one.score_type.label)} {format_value(one.before)} → {format_with_band(one.after, one.score_type)}"
        for one in moved
        if one.contact == contact.id and one.before != one.after
    ]
    return " · ".join([escape(contact.shown), *told])


def _cut_by_range(moved: Moved, asked: tuple[Op, int] | None) -> str:
    if asked is None or asked[0] is not Op.ADD or moved.after is None:
        return ""
    if moved.after not in (moved.score_type.minimum, moved.score_type.maximum):
        return ""
    before = moved.score_type.start if moved.before is None else moved.before
    lost = asked[1] - (moved.after - before)
    return f", {show(abs(lost))} cut: it runs from {moved.score_type.range_shown}" if lost else ""
