"""Render the reply to `/score add`."""

from collections.abc import Sequence

from bot.blocks.elements import MISSING, actions, button, section, short_name
from bot.slack.handling import Reply
from storage.domain.contacts import Contact


def added_reply(before: Contact | None, after: Contact, names: Sequence[str], *, batch: str) -> Reply:
    """Return the reply for an added or updated contact, with an Undo button.

    *before* is None if the contact is new; *names* are the fields in the command.
    """
    if before is None:
        details = [f"{name} *{short_name(getattr(after, name))}*" for name in names if name != "name"]
        parts = [
            f"*{short_name(after.shown)}*",
            "added",
            *([short_name(after.email)] if after.name and after.email else []),
            *details,
        ]
    else:
        changes = [f"{name} {_format_field(before, name)} → *{_format_field(after, name)}*" for name in names]
        parts = [f"{short_name(before.shown)}", "already existed", *changes]
    return _build_reply(parts, after, batch=batch)


def already_known_reply(contact: Contact) -> Reply:
    """Return the reply for a contact that already exists with the given fields."""
    return _build_reply([short_name(contact.shown), "already exists; nothing was changed"], contact, batch=None)


def _format_field(contact: Contact, name: str) -> str:
    text = getattr(contact, name)
    return short_name(text) if text else MISSING


def _build_reply(parts: Sequence[str], contact: Contact, *, batch: str | None) -> Reply:
    undo = [button("Undo", action="undo", value=batch)] if batch else []
    buttons = [*undo, button("Set", action="set", value=str(contact.row))]
    text = " · ".join(parts)
    blocks = [section(text), actions(buttons)]
    return Reply(text=text.replace("*", ""), blocks=blocks, contacts=frozenset({contact.id}))
