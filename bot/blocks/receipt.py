"""Render receipts of score changes: the contact, each score before and after, and a button to undo."""

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
    requested: Mapping[str, tuple[Op, int]] | None = None,
    note: str | None = None,
    replaces: bool = False,
) -> Reply:
    """Return the receipt of a change.

    *requested* maps keys of score types to the operation and amount, to show what the range cut off.
    """
    parts = [escape(contact.shown)]
    plain = [escape(contact.shown)]
    for change in moved:
        label = change.score_type.label
        parts.append(
            f"{escape(label)} {format_value(change.before)} →"
            f" {format_with_band(change.after, change.score_type, bold=True)}"
            f"{_describe_cut(change, (requested or {}).get(change.score_type.key))}"
        )
        plain.append(
            f"{escape(label)} {format_value(change.before)} → {format_with_band(change.after, change.score_type)}"
        )
    parts += [f'"{escape(reason)}"'] if reason else []
    parts += [note] if note else []
    buttons = [
        button("Undo", action="undo", value=batch),
        button(
            "History",
            action="history",
            value=" ".join([str(contact.id), *(change.score_type.key for change in moved[:1])]),
        ),
    ]
    blocks = [section(" · ".join(parts)), actions(buttons)]
    return Reply(text=" · ".join(plain), blocks=blocks, replaces=replaces, contacts=frozenset({contact.id}))


def taken_back_reply(
    affected: Sequence[Contact], *, contacts: int, moved: Sequence[Moved], batch: str, replaces: bool
) -> Reply:
    """Return the receipt of an undo; *affected* are some or all of the contacts."""
    if contacts == 1 and affected:
        text = f"{escape(affected[0].shown)} · undone; the contact itself stays"
    elif contacts == 2 and len(affected) == 2:  # undo of a merge or of a split: show both contacts
        text = "\n".join(f"{_render_changes(contact, moved)} · undone" for contact in affected)
    else:
        scores = f"{len(moved):,} score{'' if len(moved) == 1 else 's'}"
        text = f"{scores} of {contacts:,} contacts · undone"
    buttons = [button("Undo", action="undo", value=batch)]
    named = frozenset(contact.id for contact in affected)
    return Reply(text=text, blocks=[section(text), actions(buttons)], replaces=replaces, contacts=named)


def deferred_undo_reply(contacts: int, *, batch: str, replaces: bool) -> Reply:
    """Return the receipt of an undone batch with scores that a job recalculates."""
    text = f"Undone. The scores of {contacts:,} contacts are being recalculated; a large import takes some minutes."
    buttons = [button("Undo", action="undo", value=batch)]
    return Reply(text=text, blocks=[section(text), actions(buttons)], replaces=replaces)


def _render_changes(contact: Contact, moved: Sequence[Moved]) -> str:
    changes = [
        f"{escape(change.score_type.label)} {format_value(change.before)} →"
        f" {format_with_band(change.after, change.score_type)}"
        for change in moved
        if change.contact == contact.id and change.before != change.after
    ]
    return " · ".join([escape(contact.shown), *changes])


def _describe_cut(change: Moved, requested: tuple[Op, int] | None) -> str:
    if requested is None or requested[0] is not Op.ADD or change.after is None:
        return ""
    if change.after not in (change.score_type.minimum, change.score_type.maximum):
        return ""
    before = change.score_type.start if change.before is None else change.before
    lost = requested[1] - (change.after - before)
    return f", {show(abs(lost))} cut: it runs from {change.score_type.range_shown}" if lost else ""
