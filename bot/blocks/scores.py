"""Render the scores of a contact: the card, the receipt of a change, and the form that sets scores."""

from collections.abc import Mapping, Sequence

from bot.blocks.elements import (
    MISSING,
    actions,
    button,
    context,
    day,
    format_actor,
    format_value,
    format_with_band,
    moment,
    section,
    sections,
    short_name,
    trend,
)
from bot.blocks.fields import choice_field, field, form, number_field, plain, text_field
from bot.blocks.followups import standing_line
from bot.slack.handling import Block, Reply
from bot.slack.line import LONGEST_REASON
from bot.slack.text import escape
from storage.alerts.followups import FollowUp
from storage.domain.contacts import Contact
from storage.domain.facts import Op
from storage.domain.numbers import THOUSAND, show
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Moved
from storage.reading.current_scores import Card, CurrentScore

SET_FORM = "set_score"
SCORE = "score_"
MOST_TYPES = 40  # private_metadata is limited to 3,000 characters


def card_reply(card: Card, types: Sequence[ScoreType], follow_ups: Sequence[FollowUp]) -> Reply:
    """Return the card of a contact: scores, owner, tags and waiting follow-ups."""
    contact = card.contact
    about = [short_name(text) for text in (contact.company, contact.email if contact.name else None) if text]
    head = " · ".join([f"*{short_name(contact.shown)}*", *about])
    scores = {score.score_type.key: score for score in card.standings}
    lines = []
    for score_type in types:
        score = scores.get(score_type.key)
        if score is None:
            lines.append(f"{escape(score_type.label)}  {MISSING}")
            continue
        changed = f"{moment(score.as_of)} {format_actor(score.actor, score.source)}".strip()
        parts = [
            format_with_band(score.value, score_type, bold=True),
            *trend(score.trends),
            *_describe_band_end(score),
            changed,
        ]
        lines.append(f"{escape(score_type.label)}  {' · '.join(parts)}")
    blocks: list[Block] = [section(head), *sections(lines)]
    notes = [f"Owner: {escape(contact.owner)}"] if contact.owner else []
    notes += [f"Tags: {', '.join(escape(tag) for tag in contact.tags)}"] if contact.tags else []
    notes += [
        f"Follow-up: {standing_line(follow_up) or f'open since {moment(follow_up.asked_at)}'}"
        for follow_up in follow_ups
    ]
    if notes:
        blocks.append(context(" · ".join(notes)))
    value = str(contact.row)
    owner_button = [] if contact.owner else [button("Make me the owner", action="owner", value=value)]
    buttons = [
        button("Set", action="set", value=value),
        button("History", action="history", value=value),
        *owner_button,
    ]
    blocks.append(actions(buttons))
    summary = ", ".join(
        f"{escape(score.score_type.label)} {format_with_band(score.value, score.score_type)}"
        for score in card.standings
    )
    text = f"{escape(contact.shown)}: {summary or 'no score yet'}"
    return Reply(text=text, blocks=blocks, contacts=frozenset({contact.id}))


def _describe_band_end(score: CurrentScore) -> list[str]:
    """Return when decay alone moves a score out of its band, as a list of at most one phrase."""
    if score.band_until is None:
        return []
    band, direction = score.score_type.band(score.value), "falls" if score.rank > 0 else "rises"
    return [f"{direction} out of *{band}* on {day(score.band_until)}"]


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


def _describe_cut(change: Moved, requested: tuple[Op, int] | None) -> str:
    if requested is None or requested[0] is not Op.ADD or change.after is None:
        return ""
    if change.after not in (change.score_type.minimum, change.score_type.maximum):
        return ""
    before = change.score_type.start if change.before is None else change.before
    lost = requested[1] - (change.after - before)
    return f", {show(abs(lost))} cut: it runs from {change.score_type.range_shown}" if lost else ""


def set_modal(types: Sequence[ScoreType], *, contact: Contact | None = None, values: Mapping[str, int]) -> Block:
    """Return the form with the current values of a contact, or with a contact menu if *contact* is None."""
    contact_block = section(f"*{escape(contact.shown)}*") if contact else _contact_field()
    shown = types[:MOST_TYPES]
    scores = [_score_field(score_type, values.get(score_type.key)) for score_type in shown]
    more = [context(f"The first {MOST_TYPES} score types. Set another by name: `/score set ada {types[-1].key}=8`")]
    reason = text_field("reason", "Because", action="reason", optional=True, most=LONGEST_REASON)
    current = {score_type.key: values[score_type.key] for score_type in shown if score_type.key in values}
    clearable = {score_type.key: score_type.label for score_type in shown if score_type.key in current}
    hint = "The score is missing then, not zero. A field that is left blank changes nothing."
    clear = [choice_field("clear", "Clear a score", clearable, hint=hint, optional=True)] if clearable else []
    return form(
        SET_FORM,
        "Set scores",
        [contact_block, *scores, *(more if len(types) > MOST_TYPES else []), *clear, reason],
        submit="Set",
        # The initial values come back with the form, so that the handler sets only the values that were changed.
        metadata={"contact": contact.row if contact else None, "was": current},
    )


def _contact_field() -> Block:
    placeholder = plain("Type a name or an address")
    element = {"type": "external_select", "action_id": "contact", "min_query_length": 1, "placeholder": placeholder}
    return field("contact", "Contact", element)


def _score_field(score_type: ScoreType, value: int | None) -> Block:
    return number_field(
        f"{SCORE}{score_type.key}",
        score_type.label,
        initial=None if value is None else show(value),
        hint=f"{score_type.range_shown}, in steps of {show(score_type.step)}",
        optional=True,
        decimal=any(number % THOUSAND for number in (score_type.step, score_type.minimum)),
        limits=(show(score_type.minimum), show(score_type.maximum)),
    )
