"""Render the receipts of an undo."""

from collections.abc import Sequence

from bot.blocks.elements import actions, button, format_value, format_with_band, section
from bot.slack.handling import Reply
from bot.slack.text import escape
from storage.domain.contacts import Contact
from storage.domain.submissions import Moved

GONE = "; the contact is no longer listed"


def taken_back_reply(
    affected: Sequence[Contact], *, contacts: int, moved: Sequence[Moved], batch: str, replaces: bool
) -> Reply:
    """Return the receipt of an undo; *affected* are some or all of the contacts."""
    if contacts == 1 and affected:
        text = f"{escape(affected[0].shown)} · undone{GONE if affected[0].is_gone else ''}"
    elif contacts == 2 and len(affected) == 2:  # undo of a merge or of a split: show both contacts
        text = "\n".join(
            f"{_render_changes(contact, moved)} · undone{GONE if contact.is_gone else ''}" for contact in affected
        )
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
