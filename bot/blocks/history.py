"""Render the changes of a score, and the contributions that it consists of; both newest first."""

from collections.abc import Mapping, Sequence

from bot.blocks.audit import describe_redefinition
from bot.blocks.elements import (
    MISSING,
    actions,
    band_square,
    button,
    context,
    format_actor,
    format_value,
    format_with_band,
    join_words,
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
MOST_OTHERS = 4  # buttons that explain other scores
CHART_DAYS = 90
_VERBS: Mapping[Op | Deed, str] = {Op.SET: "set", Op.CLEAR: "cleared"}


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
    undone = " Struck through: undone." if any(entry.undone for entry in entries) else ""
    footer = context(f"{caption}.{undone}")
    blocks = [section(f"*{escape(title)}*"), *sections(lines), footer]
    if picture is None:
        blocks.append(actions([button("Chart", action="chart", value=f"{contact.id} {score_type.key} {CHART_DAYS}")]))
    text = f"History of {escape(title)}"
    return Reply(text=text, blocks=blocks, picture=picture, contacts=frozenset({contact.id}))


def _render_entry(entry: HistoryEntry, score_type: ScoreType) -> str:
    cause = escape(entry.activity or "fields of the contact") if isinstance(entry.op, Deed) else ""
    origin = format_actor(entry.actor, entry.source)
    if entry.undone:
        square, change = "", f"~{_render_request(entry)}~"
    else:
        square, change = band_square(entry.value, score_type), _render_change(entry, score_type)
        origin = join_words(_VERBS.get(entry.op, ""), origin)
    reason = f'"{escape(entry.reason)}"' if entry.reason else ""
    parts = (join_words(square, moment(entry.occurred_at)), change, cause, origin, reason)
    return " · ".join(part for part in parts if part)


def _render_request(entry: HistoryEntry) -> str:
    """Return what an entry asked for."""
    match entry.op:
        case Op.SET:
            return f"set to {show(entry.amount)}"
        case Op.CLEAR:
            return "cleared"
        case _:
            return show_signed(entry.amount)


def _render_change(entry: HistoryEntry, score_type: ScoreType) -> str:
    """Return the value before and after an entry, such as "62 → *85* (+23), hot"; the band only if it is another."""
    after = MISSING if entry.value is None else f"*{show(entry.value)}*"
    band = score_type.band(entry.value)
    new_band = f", {band}" if band and band != score_type.band(entry.before) else ""
    return f"{format_value(entry.before)} → {after}{_render_delta(entry)}{new_band}"


def _render_delta(entry: HistoryEntry) -> str:
    """Return how much an entry changed the score, and what was asked for if caps or the range cut some of it."""
    if entry.value is None or entry.effective is None or (entry.before is None and entry.op is Op.SET):
        return ""
    by = show_signed(entry.effective) if entry.effective else "no change"
    is_cut = entry.op is not Op.SET and entry.amount != entry.effective
    requested = f"{' of' if entry.effective else ', asked for'} {show_signed(entry.amount)}" if is_cut else ""
    return f" ({by}{requested})"


def why_reply(
    contact: Contact, score_type: ScoreType, explanation: Explanation | None, *, others: Sequence[ScoreType] = ()
) -> Reply:
    """Return the contributions to a score of a contact, or a sentence if the score is missing.

    *others* are score types of the contact, each with a button that explains it.
    """
    title = f"{contact.shown} · {score_type.label}"
    if explanation is None:
        sentence = f"{escape(contact.shown)} has no {score_called(score_type.label)}, so there is nothing to explain."
        return Reply(text=sentence, blocks=[section(sentence)])
    value = format_with_band(explanation.value, score_type, bold=True)
    lines = [_render_contribution(contribution, score_type) for contribution in explanation.contributions]
    buttons = [button("History", action="history", value=f"{contact.id} {score_type.key}")]
    buttons += [
        button(f"Why {other.label}", action="why", value=f"{contact.id} {other.key}") for other in others[:MOST_OTHERS]
    ]
    return Reply(
        text=f"Why {escape(title)} is {format_with_band(explanation.value, score_type)}",
        blocks=[
            section(f"*{escape(title)}*  {join_words(band_square(explanation.value, score_type), value)}"),
            *sections(lines),
            context(f"These add up to {show(explanation.value)}." if lines else "What was added has faded away."),
            actions(buttons),
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
