"""Render the previews of a merge and of a split: two contacts side by side, and a button that confirms."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bot.blocks.elements import (
    MISSING,
    actions,
    button,
    context,
    format_value,
    format_with_band,
    section,
    short_name,
    side_by_side,
)
from bot.blocks.refusals import plain_reply
from bot.slack.handling import Reply
from bot.slack.text import escape, escape_code
from storage.domain.contacts import Contact, Reference
from storage.domain.score_types import ScoreType
from storage.domain.submissions import ScoreChanged
from storage.ledger.merge_preview import MergePreview
from storage.ledger.split import SplitResult
from storage.reading.current_scores import Card

MERGE, SPLIT, CANCEL = "merge_confirm", "split_confirm", "merge_cancel"


def merge_preview_reply(merged: Card, into: Card, preview: MergePreview, types: Sequence[ScoreType]) -> Reply:
    """Return the preview of a merge of one contact into another."""
    first, second = short_name(merged.contact.shown), short_name(into.contact.shown)
    question = f"Merge *{first}* into *{second}*? Nothing is changed yet."
    keys = {score_type.key: place for place, score_type in enumerate(types)}
    rows = [_describe(card.contact) | _describe_scores(_list_values(card), types) for card in (merged, into)]
    lines = [f"*After the merge*: {short_name(preview.contact.shown)}"]
    for label, value in _describe(preview.contact).items():
        is_from_merged = value not in (MISSING, rows[1][label]) and value == rows[0][label]
        lines += [f"{label}: {value}{f' (from {first})' if is_from_merged else ''}"] if value != MISSING else []
    before = _list_values(into)
    lines += [
        f"{escape(change.score_type.label)}: {_describe_change(before.get(change.score_type.key), change)}"
        for change in sorted(preview.scores, key=lambda change: keys.get(change.score_type.key, 0))
    ]
    note = "All changes, follow-ups, addresses and ids of both belong to the merged contact. Undo splits the two again."
    return Reply(
        text=question,
        blocks=[
            side_by_side(question, [_render_column(card, rows, index) for index, card in enumerate((merged, into))]),
            section("\n".join(lines)),
            context(note),
            actions(
                [
                    button("Merge", action=MERGE, value=f"{merged.contact.id} {into.contact.id}", primary=True),
                    button("Cancel", action=CANCEL, value="merge"),
                ]
            ),
        ],
        contacts=frozenset({merged.contact.id, into.contact.id}),
    )


def _render_column(card: Card, rows: Sequence[Mapping[str, str]], index: int) -> str:
    """Return one contact of two, with a line for each detail that one of the two has."""
    labels = [label for label in {**rows[0], **rows[1]} if any(row.get(label, MISSING) != MISSING for row in rows)]
    return "\n".join(
        [f"*{short_name(card.contact.shown)}*", *(f"{label}: {rows[index].get(label, MISSING)}" for label in labels)]
    )


def _describe(contact: Contact) -> dict[str, str]:
    """Return the details of a contact by label."""
    ids = ", ".join(f"{source}:{id}" for source, id in contact.ids.items())
    details = {
        "E-mail": contact.email,
        "Company": contact.company,
        "Owner": contact.owner,
        "Tags": ", ".join(contact.tags),
        "Ids": ids,
    }
    return {label: short_name(text) if text else MISSING for label, text in details.items()}


def _list_values(card: Card) -> dict[str, int | None]:
    return {score.score_type.key: score.value for score in card.standings}


def _describe_scores(values: Mapping[str, int | None], types: Sequence[ScoreType]) -> dict[str, str]:
    """Return the scores of a contact by label; a missing score is a dash."""
    return {escape(score_type.label): format_with_band(values.get(score_type.key), score_type) for score_type in types}


def split_preview_reply(contact: Contact, id: Reference, preview: SplitResult) -> Reply:
    """Return the preview of a split of *id* from a contact."""
    remaining, new = preview.contacts
    typed = f"{id.source}:{id.id}"
    question = f"Split *{short_name(typed)}* from *{short_name(contact.shown)}*? Nothing is changed yet."
    stays = f"{_count_changes(preview.stayed)} {'stays' if preview.stayed == 1 else 'stay'}"
    moves = f"{_count_changes(preview.moved)} {'moves' if preview.moved == 1 else 'move'}"
    notes = ["No follow-up is created; open follow-ups stay where they are. Undo joins the two again."]
    if preview.stayed_of_source:
        notes.insert(
            0,
            f"{_count_changes(preview.stayed_of_source)} of {escape(id.source)} stay: they did not name this id, or an"
            " earlier version recorded them without the id.",
        )
    return Reply(
        text=question,
        blocks=[
            side_by_side(
                question,
                [
                    _render_part(remaining, f"keeps its data: {stays}", preview),
                    _render_part(new, f"becomes a contact: {moves}", preview),
                ],
            ),
            *(context(note) for note in notes),
            actions(
                [
                    button("Split", action=SPLIT, value=f"{contact.id} {typed}", primary=True),
                    button("Cancel", action=CANCEL, value="split"),
                ]
            ),
        ],
        contacts=frozenset({contact.id}),
    )


def split_receipt_reply(result: SplitResult, *, batch: str) -> Reply:
    """Return the receipt of a split, in place of its preview."""
    remaining, new = result.contacts
    text = f"{short_name(new.shown)} is a contact of its own now, with {_count_changes(result.moved)}."
    columns = [_render_part(remaining, "", result), _render_part(new, "", result)]
    buttons = [button("Undo", action="undo", value=batch)]
    named = frozenset({remaining.id, new.id})
    return Reply(text=text, blocks=[side_by_side(text, columns), actions(buttons)], replaces=True, contacts=named)


def canceled_reply(what: str) -> Reply:
    """Return the message in place of a canceled preview; *what* is "merge" or "split"."""
    return replace(plain_reply(f"Canceled: nothing was {'merged' if what == 'merge' else 'split'}."), replaces=True)


def changed_meanwhile_reply(line: str) -> Reply:
    """Return the refusal of a merge, because its contacts have changed since the preview; *line* previews it again."""
    return plain_reply(
        "Nothing was changed: a contact of this preview was merged or deleted in the meantime."
        f" Look again: `/score {escape_code(line)}`"
    )


def _render_part(contact: Contact, heading: str, preview: SplitResult) -> str:
    """Return one of the two contacts after a split, with its scores before and after."""
    details = [f"{label}: {value}" for label, value in _describe(contact).items() if value != MISSING]
    scores = [
        f"{escape(change.score_type.label)}: {_describe_change(change.before, change)}"
        for change in preview.scores
        if change.contact == contact.id
    ]
    return "\n".join([f"*{short_name(contact.shown)}* {heading}".rstrip(), *details, *scores])


def _describe_change(before: int | None, change: ScoreChanged) -> str:
    """Return a score after a change, and what it was before if that differs."""
    if before == change.after:
        return format_with_band(change.after, change.score_type)
    return f"{format_value(before)} → {format_with_band(change.after, change.score_type, bold=True)}"


def _count_changes(number: int) -> str:
    return "1 change" if number == 1 else f"{number:,} changes"
