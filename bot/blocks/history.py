"""Render the changes of a score, and the contributions that it consists of; both newest first."""

from collections.abc import Sequence

from bot.blocks.audit import describe_redefinition
from bot.blocks.elements import (
    actions,
    button,
    context,
    format_actor,
    format_with_band,
    moment,
    score_called,
    section,
    sections,
)
from bot.slack.handling import Picture, Reply
from bot.slack.text import escape
from storage.audit import AuditEntry
from storage.domain.contacts import Contact
from storage.domain.describe import describe_contribution, name_causes
from storage.domain.explain import MONTH, Contribution, Explanation
from storage.domain.facts import Deed, Op
from storage.domain.numbers import show, show_signed
from storage.domain.score_types import ScoreType
from storage.reading.history import HistoryEntry

MOST = 20
CHART_DAYS = 90


def history_reply(
    contact: Contact,
    score_type: ScoreType,
    entries: Sequence[HistoryEntry],
    *,
    redefined: Sequence[AuditEntry] = (),
    picture: Picture | None = None,
) -> Reply:
    """Return the history of one score of a contact; a Chart button takes the place of a missing picture.

    *redefined* are the changes of the score type in the same period.
    """
    title = f"{contact.shown} · {score_type.label}"
    if not entries:
        return Reply(
            text=f"{escape(title)}: no change.",
            blocks=[section(f"*{escape(title)}*\nThere are no changes to show.")],
            picture=picture,
            contacts=frozenset({contact.id}),
        )
    dated = [(entry.occurred_at, _render_entry(entry, score_type)) for entry in entries]
    dated += [(change.at, f"{moment(change.at)} · {describe_redefinition(change)}") for change in redefined]
    lines = [line for _, line in sorted(dated, key=lambda line: -line[0])]
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
            change = show_signed(entry.amount)
        case Op.CLEAR:
            change = "cleared"
        case Deed():
            change = f"{escape(entry.activity or 'fields of the contact')} {show_signed(entry.amount)}"
    after = "" if entry.undone else f" → {format_with_band(entry.value, score_type, bold=True)}"
    text = f"~{change}~" if entry.undone else f"{change}{after}"
    reason = f' · "{escape(entry.reason)}"' if entry.reason else ""
    return f"{moment(entry.occurred_at)} · {text} · {format_actor(entry.actor, entry.source)}{reason}"


def why_reply(contact: Contact, score_type: ScoreType, explanation: Explanation | None) -> Reply:
    """Return the contributions to a score of a contact, or a sentence if the score is missing."""
    title = f"{contact.shown} · {score_type.label}"
    if explanation is None:
        sentence = f"{escape(contact.shown)} has no {score_called(score_type.label)}, so there is nothing to explain."
        return Reply(text=sentence, blocks=[section(sentence)])
    value = format_with_band(explanation.value, score_type, bold=True)
    lines = [_render_contribution(contribution, score_type) for contribution in explanation.contributions]
    history = button("History", action="history", value=f"{contact.id} {score_type.key}")
    return Reply(
        text=f"Why {escape(title)} is {format_with_band(explanation.value, score_type)}",
        blocks=[
            section(f"*{escape(title)}*  {value}"),
            *sections(lines),
            context(f"These add up to {show(explanation.value)}." if lines else "What was added has faded away."),
            actions([history]),
        ],
        contacts=frozenset({contact.id}),
    )


def _render_contribution(contribution: Contribution, score_type: ScoreType) -> str:
    effect = f"*{show_signed(contribution.effect)}*"
    words = escape(describe_contribution(contribution, score_type))
    summary = f"{effect}  {words}" if words else effect
    if contribution.occurred_at is None:
        return summary
    is_month = contribution.op == MONTH
    origin = [moment(contribution.occurred_at), format_actor(contribution.actor, contribution.source)]
    reason = [f'"{escape(contribution.reason)}"'] if contribution.reason else []
    causes = [escape(cause) for cause in name_causes(contribution)]
    return " · ".join([summary, *causes, *([] if is_month else origin), *reason])
