"""Render the record of changes: who changed what, when, and from what to what."""

import re
from collections.abc import Sequence

from bot.blocks.elements import (
    actions,
    button,
    context,
    moment,
    section,
    sections,
    short_name,
    truncate_markup,
)
from bot.blocks.roles import OTHERS
from bot.slack.handling import Reply
from bot.slack.text import escape, mention_subject
from storage.audit import AuditAction, AuditEntry, Document

PER_PAGE = 10
LONGEST_STATE = 300  # characters
#: what happened, in words
_NAMES = {
    AuditAction.WORKSPACE_ADDED: "Workspace added",
    AuditAction.CHANNEL_SET: "Follow-up channel set",
    AuditAction.ADMINS_SET: "Admins set",
    AuditAction.SETTERS_SET: "Who may set scores changed",
    AuditAction.ROLE_SET: "Role set",
    AuditAction.TYPE_ADDED: "Score type added",
    AuditAction.TYPE_CHANGED: "Score type changed",
    AuditAction.TYPE_REMOVED: "Score type removed",
    AuditAction.DEFAULT_TYPE_SET: "Default score type set",
    AuditAction.HOURS_SET: "Working hours set",
    AuditAction.ALERT_ADDED: "Alert rule added",
    AuditAction.ALERT_PAUSED: "Alert rule paused",
    AuditAction.ALERT_RESUMED: "Alert rule resumed",
    AuditAction.ALERT_REMOVED: "Alert rule removed",
    AuditAction.DIGEST_SET: "Digest set",
    AuditAction.DIGEST_STOPPED: "Digest stopped",
    AuditAction.SEGMENT_SAVED: "Segment saved",
    AuditAction.SEGMENT_DELETED: "Segment deleted",
    AuditAction.FOLLOW_UP_CHANGED: "Follow-up changed",
    AuditAction.SOURCE_ADDED: "Source added",
    AuditAction.SOURCE_CHANGED: "Source changed",
    AuditAction.SOURCE_ROTATED: "Secret of a source rotated",
    AuditAction.SOURCE_REMOVED: "Source removed",
    AuditAction.WRITING_PAUSED: "Writing scores to a source stopped",
    AuditAction.TOKEN_CREATED: "API token created",
    AuditAction.TOKEN_REVOKED: "API token revoked",
    AuditAction.SUBSCRIPTION_ADDED: "Subscription added",
    AuditAction.SUBSCRIPTION_CHANGED: "Subscription changed",
    AuditAction.SUBSCRIPTION_ROTATED: "Secret of a subscription rotated",
    AuditAction.SUBSCRIPTION_REDELIVERED: "Events sent again",
    AuditAction.SUBSCRIPTION_DISABLED: "Subscription turned off",
    AuditAction.SUBSCRIPTION_REMOVED: "Subscription removed",
    AuditAction.DELIVERY_REPLAYED: "Delivery replayed",
    AuditAction.ITEMS_DISCARDED: "Items in quarantine discarded",
    AuditAction.IMPORT_BEGUN: "Import",
    AuditAction.IMPORT_UNDONE: "Import undone",
    AuditAction.IMPORT_RESTORED: "Undone import restored",
    AuditAction.EXPORTED: "Export",
    AuditAction.CONTACTS_CHANGED: "Contacts changed",
    AuditAction.CONTACTS_MERGED: "Contacts merged",
    AuditAction.CONTACT_SPLIT: "Contact split",
    AuditAction.CONTACT_DELETED: "Contact deleted",
}
#: the changes that their subject describes completely
_PLAIN = (AuditAction.CONTACTS_MERGED, AuditAction.CONTACT_SPLIT)
#: the changes with a channel, a person or a user group as their subject
_OF_PLACES = (AuditAction.DIGEST_SET, AuditAction.DIGEST_STOPPED, AuditAction.ROLE_SET)
#: the parts of a state that are Slack ids of people or channels
_IDS = ("admins", "made_by", "escalate_to", "channel", "alert_channel", "place", "holder")
#: the parts of a state that are not shown: instants that follow from a follow-up's state, the maker of a segment, and
#: the hashes of discarded items
_HIDDEN = {
    AuditAction.FOLLOW_UP_CHANGED: ("until", "late_at"),
    AuditAction.SEGMENT_SAVED: ("made_by",),
    AuditAction.SEGMENT_DELETED: ("made_by",),
    AuditAction.ITEMS_DISCARDED: ("discarded",),
    AuditAction.CONTACTS_CHANGED: ("batch",),
}
#: the values of a state that are words of this program, as people read them
_WORDS = {("setters", setters.value): text.lower() for setters, text in OTHERS.items()}
_PERSON = re.compile(r"[UW][A-Z0-9]{2,31}", re.ASCII)
_CHANNEL = re.compile(r"[CG][A-Z0-9]{2,31}", re.ASCII)
_GROUP = re.compile(r"S[A-Z0-9]{2,31}", re.ASCII)


def audit_reply(entries: Sequence[AuditEntry], *, first: int, total: int) -> Reply:
    """Return a page of the recorded changes, newest first, from index *first*."""
    if not entries:
        sentence = "No change is recorded yet."
        return Reply(text=sentence, blocks=[section(sentence)])
    title = f"Changes {first + 1}–{first + len(entries)} of {total:,}, newest first"
    buttons = []
    if first:
        buttons.append(button("Newer", action="audit", value=str(max(0, first - PER_PAGE))))
    if first + len(entries) < total:
        buttons.append(button("Older", action="audit", value=str(first + PER_PAGE)))
    blocks = [section(f"*{title}*"), *sections([_render_entry(entry) for entry in entries])]
    blocks.append(context("All of them, and every detail: `contact-score audit --json` in a terminal."))
    blocks += [actions(buttons)] if buttons else []
    return Reply(text=title, blocks=blocks, contacts=frozenset(id for entry in entries for id in entry.contacts))


def _render_entry(entry: AuditEntry) -> str:
    who = _mention(entry.who)
    subject = f" *{short_name(entry.subject)}*" if entry.subject else ""
    if entry.subject and entry.what in _OF_PLACES:
        subject = f" {_mention(entry.subject)}"
    states = describe_states(entry, in_slack=True)
    return f"{moment(entry.at)} · {name_change(entry)}{subject} · by {who}" + (f"\n    {states}" if states else "")


def describe_redefinition(entry: AuditEntry) -> str:
    """Return a change of a score type as a line of a history: the change and the person who made it."""
    before, after = entry.before or {}, entry.after or {}
    what = "Rules" if before.get("rules") != after.get("rules") else "Score type"
    return f"{what} changed by {_mention(entry.who)}"


def name_change(entry: AuditEntry) -> str:
    """Return what happened, in words."""
    return _NAMES[AuditAction(entry.what)]


def describe_states(entry: AuditEntry, *, in_slack: bool = False) -> str:
    """Return what differs between the states before and after a change, on one line; blank if nothing is shown.

    *in_slack*: as mrkdwn, in which the ids of people and channels are mentions.
    """
    before, after = _flatten(entry.before or {}), _flatten(entry.after or {})
    if entry.what in _PLAIN:
        return ""
    if entry.what == AuditAction.SOURCE_CHANGED and before == after and before:
        return "no setting; a secret or API token may be new"
    differences = []
    hidden = _HIDDEN.get(AuditAction(entry.what), ())
    for name in [name for name in {**before, **after} if name not in hidden]:
        old, new = _drop_common(before.get(name), after.get(name))
        texts = [
            _WORDS.get((name, str(value))) or _write_value(value, is_id=in_slack and name in _IDS)
            for value in (old, new)
        ]
        texts = texts if not in_slack or name in _IDS else [escape(text) for text in texts]
        label = name.replace("_", " ")
        if (entry.before is None or entry.after is None) and entry.what != AuditAction.ROLE_SET:
            stated = zip(texts, (old, new), strict=True)
            differences += [f"{label}: {text}" for text, value in stated if text and value is not False]
        elif old != new:
            differences.append(f"{label}: {texts[0] or 'none'} → {texts[1] or 'none'}")
    return truncate_markup("; ".join(differences), LONGEST_STATE)


def _flatten(state: Document) -> dict[str, object]:
    """Return a state with the parts of its parts beside the others."""
    flat: dict[str, object] = {}
    for name, value in state.items():
        flat |= value if isinstance(value, dict) else {name: value}
    return flat


def _drop_common(old: object, new: object) -> tuple[object, object]:
    """Return two values, or of two lists the elements that only one of them has."""
    if not (isinstance(old, list) and isinstance(new, list)):
        return old, new
    return [item for item in old if item not in new], [item for item in new if item not in old]


def _write_value(value: object, *, is_id: bool) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case dict():
            parts = [(name, _write_value(item, is_id=False)) for name, item in value.items()]
            return ", ".join(f"{name} {text}" for name, text in parts if text)
        case list():
            return ", ".join(_write_value(item, is_id=is_id) for item in value)
        case _:
            return _mention(str(value)) if is_id else str(value)


def _mention(id: str) -> str:
    """Return the mention of a Slack id; another text is escaped."""
    if _PERSON.fullmatch(id) or _GROUP.fullmatch(id):
        return mention_subject(id)
    return f"<#{id}>" if _CHANNEL.fullmatch(id) else escape(id)
