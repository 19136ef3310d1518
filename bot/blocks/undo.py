"""Render the receipts of an undo."""

from collections.abc import Sequence

from bot.blocks.audit import describe_states, name_change
from bot.blocks.elements import actions, button, format_value, format_with_band, moment, section, short_name
from bot.slack.handling import Reply
from bot.slack.text import escape
from storage.audit import AuditEntry
from storage.domain.contacts import Contact
from storage.domain.facts import MERGE, SPLIT
from storage.domain.score_types import ScoreType
from storage.domain.submissions import ScoreChanged

GONE = "; the contact is no longer listed"


def taken_back_reply(
    affected: Sequence[Contact], *, contacts: int, score_changes: Sequence[ScoreChanged], batch: str, replaces: bool
) -> Reply:
    """Return the receipt of an undo; *affected* are some or all of the contacts."""
    if contacts == 1 and affected:
        text = f"{escape(affected[0].shown)} · undone{GONE if affected[0].is_gone else ''}"
    elif contacts == 2 and len(affected) == 2:  # undo of a merge or of a split: show both contacts
        text = "\n".join(
            f"{_render_changes(contact, score_changes)} · undone{GONE if contact.is_gone else ''}"
            for contact in affected
        )
    else:
        scores = f"{len(score_changes):,} score{'' if len(score_changes) == 1 else 's'} of " if score_changes else ""
        text = f"{scores}{contacts:,} contacts · undone"
    buttons = [button("Undo", action="undo", value=batch)]
    named = frozenset(contact.id for contact in affected)
    return Reply(text=text, blocks=[section(text), actions(buttons)], replaces=replaces, contacts=named)


def deferred_undo_reply(contacts: int, *, batch: str, replaces: bool) -> Reply:
    """Return the receipt of an undone batch with scores that a job recalculates."""
    text = f"Undone. The scores of {contacts:,} contacts are being recalculated; very many take some minutes."
    buttons = [button("Undo", action="undo", value=batch)]
    return Reply(text=text, blocks=[section(text), actions(buttons)], replaces=replaces)


def change_undone_reply(change: AuditEntry, *, undone_by: int, replaces: bool) -> Reply:
    """Return the receipt of an undone change that is on record; *undone_by* is the id of the undo's entry."""
    text = f"{describe_change(change)} · undone"
    buttons = [button("Undo", action="undo_change", value=str(undone_by))]
    named = frozenset(change.contacts)
    return Reply(
        text=text.replace("*", ""), blocks=[section(text), actions(buttons)], replaces=replaces, contacts=named
    )


def confirm_undo_reply(what: str, *, at: int, action: str, value: str) -> Reply:
    """Return the question whether to undo a command that is old, or followed by one that cannot be undone."""
    text = f"Your last command that can be undone: {what} · {moment(at)}. Undo it?"
    return Reply(
        text=text.replace("*", ""), blocks=[section(text), actions([button("Undo", action=action, value=value)])]
    )


def describe_change(change: AuditEntry) -> str:
    """Return a change that is on record, in words."""
    subject = f" *{short_name(change.subject)}*" if change.subject else ""
    states = describe_states(change, in_slack=True)
    return f"{name_change(change)}{subject}{f' ({states})' if states else ''}"


def describe_batch(affected: Sequence[Contact], subjects: Sequence[tuple[int, str]], types: Sequence[ScoreType]) -> str:
    """Return a batch of the ledger in words; *subjects* are its contacts, each with what changed of it."""
    labels = {score_type.key: escape(score_type.label) for score_type in types}
    changed = dict.fromkeys(subject for _, subject in subjects)
    if any(subject.startswith(MERGE) for subject in changed):
        what = "Contact split" if SPLIT in changed else "Contacts merged"
    else:
        what = (
            " and ".join(f"{labels[subject]} changed" for subject in changed if subject in labels) or "Fields changed"
        )
    return f"{what} · {', '.join(f'*{short_name(contact.shown)}*' for contact in affected)}"


def _render_changes(contact: Contact, score_changes: Sequence[ScoreChanged]) -> str:
    changes = [
        f"{escape(change.score_type.label)} {format_value(change.before)} →"
        f" {format_with_band(change.after, change.score_type)}"
        for change in score_changes
        if change.contact == contact.id and change.before != change.after
    ]
    return " · ".join([escape(contact.shown), *changes])
