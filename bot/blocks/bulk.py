"""Render changes of many contacts: the form, the preview with a button that confirms, and the receipt."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bot.blocks.elements import (
    actions,
    button,
    context,
    format_value,
    format_with_band,
    section,
    sections,
    short_name,
)
from bot.blocks.fields import choice_field, form, text_field
from bot.blocks.refusals import plain_reply
from bot.slack.handling import Block, Reply
from bot.slack.line import LONGEST_REASON
from bot.slack.text import escape, escape_code
from storage.bulk_changes import BulkResult, StoredBulkChange
from storage.domain.bulk_changes import BulkChange
from storage.domain.contacts import Contact
from storage.domain.facts import Op
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType
from storage.transfer.change_many import MOST_CONTACTS

BULK, BULK_APPLY, BULK_QUIET, BULK_CANCEL = "bulk", "bulk_apply", "bulk_quiet", "bulk_cancel"
BULK_FORM = "bulk_form"


def bulk_modal(types: Sequence[ScoreType], *, text: str, shown: str, number: int) -> Block:
    """Return the form that asks what to change of the contacts that match a filter, which is *shown* to people."""
    labels = {score_type.key: score_type.label for score_type in types[:100]}
    ways = {
        Op.SET.value: "Set it to",
        Op.ADD.value: "Add to it (a negative number takes off)",
        Op.CLEAR.value: "Clear it",
    }
    return form(
        BULK_FORM,
        "Change contacts",
        [
            section(
                f"{_count_contacts(number)} match `{escape_code(shown)}`. A field that is left blank changes nothing."
            ),
            choice_field("score", "Score", labels, optional=True),
            choice_field("way", "What to do with it", ways, initial=Op.SET.value, optional=True),
            text_field("amount", "Number", optional=True, most=20),
            text_field("tags", "Add tags", hint="Separate several with commas.", optional=True),
            text_field("untags", "Remove tags", optional=True),
            text_field("owner", "New owner", hint="me, or an address: rep@example.com", optional=True, most=300),
            text_field("reason", "Because", optional=True, most=LONGEST_REASON),
        ],
        submit="Preview",
        metadata={"q": text},
    )


def describe_bulk_change(change: BulkChange, labels: Mapping[str, str]) -> str:
    """Return what a change does to each contact, as plain text; *labels* are those of score types by key."""
    parts = []
    for score in change.scores:
        label = labels.get(score.score, score.score)
        match score.op:
            case Op.SET:
                parts.append(f"{label} → {show(score.amount)}")
            case Op.ADD:
                parts.append(f"{label} {'+' if score.amount >= 0 else '−'}{show(abs(score.amount))}")
            case _:
                parts.append(f"clear {label}")
    parts += [f"tag {', '.join(change.tags)}"] if change.tags else []
    parts += [f"remove the tag {', '.join(change.untags)}"] if change.untags else []
    parts += [f"owner → {change.owner}"] if change.owner else []
    parts += [f'"{change.reason}"'] if change.reason else []
    return " · ".join(parts)


def bulk_preview_reply(stored: StoredBulkChange, contacts: Mapping[int, Contact], types: Sequence[ScoreType]) -> Reply:
    """Return the preview of a change, with buttons that confirm or cancel it. *contacts* are the first that change."""
    preview, value = stored.preview, str(stored.id)
    words = describe_bulk_change(stored.change, {score_type.key: score_type.label for score_type in types})
    number = _count_contacts(len(stored.contacts))
    verb = "matches" if len(stored.contacts) == 1 else "match"
    matching = f" that {verb} `{escape_code(stored.text)}`" if stored.text else ""
    question = f"Change {number}{matching}? {escape(words)}. Nothing is changed yet."
    if not preview.changed:
        sentence = f"Nothing would change: {escape(words)}. {_describe_rest(preview)}"
        return Reply(text=sentence, blocks=[section(sentence)])
    lines = _list_first(preview, contacts, types)
    lines += [f"… and {preview.changed - len(lines):,} more"] if preview.changed > len(lines) else []
    notes = [rest] if (rest := _describe_rest(preview)) else []
    alerts = ""
    if preview.follow_ups:
        created = "1 follow-up" if preview.follow_ups == 1 else f"{preview.follow_ups:,} follow-ups"
        notes.append(f"It would create {created}.")
        alerts = " *Apply without alerts* creates none of these follow-ups."
    buttons = [
        button(f"Change {number}" if not alerts else "Apply and alert", action=BULK_APPLY, value=value, primary=True)
    ]
    buttons += [button("Apply without alerts", action=BULK_QUIET, value=value)] if alerts else []
    buttons.append(button("Cancel", action=BULK_CANCEL, value=value))
    later = "Exactly these contacts are changed, whichever match by then" if stored.text else "One command"
    return Reply(
        text=question,
        blocks=[
            section(question),
            *sections(lines),
            *(section(note) for note in notes),
            context(f"{later}; one Undo takes everything back.{alerts}"),
            actions(buttons),
        ],
        contacts=frozenset(contacts),
    )


def _list_first(preview: BulkResult, contacts: Mapping[int, Contact], types: Sequence[ScoreType]) -> list[str]:
    by_key = {score_type.key: score_type for score_type in types}
    lines = []
    for id, scores in preview.first:
        if id not in contacts:  # deleted since
            continue
        changes = [
            f"{escape(by_key[key].label)} {format_value(before)} → {format_with_band(after, by_key[key], bold=True)}"
            for key, before, after in scores
            if key in by_key
        ]
        lines.append(" · ".join([f"*{short_name(contacts[id].shown)}*", *changes]))
    return lines


def _describe_rest(result: BulkResult) -> str:
    """Return what is special about some of the contacts, in sentences; blank if nothing is."""
    sentences = []
    if result.same:
        sentences.append(f"{_count_contacts(result.same)} {'stays' if result.same == 1 else 'stay'} as they are.")
    if result.cut:
        sentences.append(f"For {_count_contacts(result.cut)}, the range of the score cuts what is added.")
    if result.refused:
        sentences.append(f"{_count_contacts(result.refused)} cannot be changed: {escape(result.reason or 'unknown')}.")
    if result.missing:
        sentences.append(f"{_count_contacts(result.missing)} no longer {'exists' if result.missing == 1 else 'exist'}.")
    return " ".join(sentences)


def bulk_receipt_reply(stored: StoredBulkChange, types: Sequence[ScoreType]) -> Reply:
    """Return the receipt of a change that was applied, in place of its preview."""
    result = stored.result
    words = describe_bulk_change(stored.change, {score_type.key: score_type.label for score_type in types})
    sentence = f"{_count_contacts(result.changed)} changed · {escape(words)}"
    notes = [rest] if (rest := _describe_rest(result)) else []
    if result.unsent:
        created = "1 follow-up was" if result.unsent == 1 else f"{result.unsent:,} follow-ups were"
        notes.append(f"{created} not sent, because they would go to you.")
    text = ". ".join([sentence, *notes])
    blocks = [section(text), actions([button("Undo", action="undo", value=stored.batch)])]
    return Reply(text=text, blocks=blocks, replaces=True)


def bulk_waiting_reply(number: int, *, is_confirmed: bool) -> Reply:
    """Return the promise to send the preview or the receipt later."""
    doing = "are being changed" if is_confirmed else "are being looked at; nothing is changed yet"
    what = "receipt" if is_confirmed else "preview"
    text = f"{_count_contacts(number)} {doing}. The {what} comes here when it is ready, or as a direct message."
    return replace(plain_reply(text), replaces=is_confirmed)


def tagged_reply(contact: Contact, change: BulkChange, *, batch: str) -> Reply:
    """Return the receipt of a change of one contact's tags or owner."""
    text = f"{escape(contact.shown)} · {escape(describe_bulk_change(change, {}))}"
    blocks = [section(text), actions([button("Undo", action="undo", value=batch)])]
    return Reply(text=text, blocks=blocks, contacts=frozenset({contact.id}))


def too_many_reply(text: str) -> Reply:
    """Return the refusal to change more contacts than one command may change."""
    return plain_reply(
        f"Nothing was changed: more than {MOST_CONTACTS:,} contacts match, which is the most that one command changes."
        " Add a condition to the filter. Or, in a terminal, import a file, which has one undo too:"
        f" `contact-score export --filter '{escape_code(text)}' -o contacts.csv`, change it there, and"
        " `contact-score import contacts.csv`"
    )


def _count_contacts(number: int) -> str:
    if number > MOST_CONTACTS:
        return f"More than {MOST_CONTACTS:,} contacts"
    return "1 contact" if number == 1 else f"{number:,} contacts"
