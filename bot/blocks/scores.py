"""Render the scores of a contact: the card, the receipt of a change, and the form that sets scores."""

import json
from collections.abc import Mapping, Sequence

from bot.blocks.elements import (
    ALL_SECTIONS,
    MISSING,
    actions,
    band_square,
    button,
    context,
    crm_links,
    day,
    field_sections,
    format_actor,
    format_attribute,
    format_value,
    format_with_band,
    join_words,
    labeled,
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
from storage.domain.attributes import has_value
from storage.domain.contacts import Contact, fold_address
from storage.domain.facts import Op
from storage.domain.numbers import THOUSAND, show
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Recorded, ScoreChanged
from storage.reading.current_scores import Card, CurrentScore

SET_FORM = "set_score"
SCORE = "score_"
DETAILS = 3_500  # characters of JSON for what a card says beside the scores
MOST_TYPES = 40  # private_metadata is limited to 3,000 characters


def card_reply(
    card: Card,
    types: Sequence[ScoreType],
    follow_ups: Sequence[FollowUp],
    *,
    last_done: FollowUp | None = None,
    owner: str | None = None,
    links: Mapping[str, str] | None = None,
) -> Reply:
    """Return the card of a contact: its scores as fields, then owner, tags, and follow-ups.

    *last_done* is the last follow-up that was marked done, *owner* the Slack user id of the contact's owner if it is
    known, and *links* are the link templates of sources.
    """
    contact = card.contact
    about = [short_name(text) for text in (contact.company, contact.email if contact.name else None) if text]
    head = " · ".join([f"*{short_name(contact.shown)}*", *about, *crm_links(contact, links or {})])
    details = field_sections(_describe_contact(contact, follow_ups, last_done, owner), room=DETAILS)
    room = ALL_SECTIONS - len(json.dumps(details))
    scores = field_sections(
        [_render_score(score_type, card.standing(score_type.key)) for score_type in types], room=room
    )
    buttons = [
        button("Set", action="set", value=str(contact.row)),
        button("History", action="history", value=str(contact.row)),
        *([button("Why", action="why", value=str(contact.row))] if card.standings else []),
        button("More", action="details", value=str(contact.row)),
        *([] if contact.owner else [button("Make me the owner", action="owner", value=str(contact.row))]),
    ]
    summary = ", ".join(
        f"{escape(score.score_type.label)} {format_with_band(score.value, score.score_type)}"
        for score in card.standings
    )
    text = f"{escape(contact.shown)}: {summary or 'no score yet'}"
    blocks = [section(head), *scores, *details, actions(buttons)]
    return Reply(text=text, blocks=blocks, contacts=frozenset({contact.id}))


def _render_score(score_type: ScoreType, score: CurrentScore | None) -> str:
    """Return a score as a field: label, value with band, trend, and the last change."""
    if score is None:
        return f"{escape(score_type.label)}\n{MISSING}"
    label = join_words(band_square(score.value, score_type), escape(score_type.label))
    value = format_with_band(score.value, score_type, bold=True)
    changed = f"{moment(score.as_of)} {format_actor(score.actor, score.source)}".strip()
    return "\n".join([label, value, *trend(score.trends), *_describe_band_end(score), changed])


def _describe_contact(
    contact: Contact, follow_ups: Sequence[FollowUp], last_done: FollowUp | None, owner: str | None
) -> list[str]:
    """Return what a card says beside the scores, as fields."""
    fields = [labeled("Owner", f"<@{owner}>" if owner else short_name(contact.owner or "Nobody"))]
    fields += [labeled("Tags", ", ".join(escape(tag) for tag in contact.tags))] if contact.tags else []
    fields += [
        labeled("Follow-up", standing_line(follow_up) or f"Open since {moment(follow_up.asked_at)}")
        for follow_up in follow_ups
    ]
    fields += [labeled("Last follow-up", standing_line(last_done))] if last_done else []
    return fields


def details_reply(contact: Contact, identities: Sequence[tuple[str, str]], links: Mapping[str, str]) -> Reply:
    """Return everything about a contact that its card leaves out: addresses, ids, tags and attributes.

    *identities* are the (source, id) pairs of the contact; the source of an address is blank.
    """
    addresses = [contact.email] if contact.email else []
    addresses += [id for source, id in identities if not source and id != fold_address(contact.email or "")]
    ids = [f"{source}:{id}" for source, id in identities if source]
    lines = [
        _render_detail("E-mail", addresses),
        _render_detail("Ids", ids),
        " · ".join(crm_links(contact, links)),
        _render_detail("Owner", [contact.owner] if contact.owner else []),
        _render_detail("Tags", contact.tags),
        *(
            _render_detail(name, [format_attribute(value)])
            for name, value in sorted(contact.attributes.items())
            if has_value(value)
        ),
        f"*Known since*  {moment(contact.created_at)}",
    ]
    title = f"More about {short_name(contact.shown)}"
    return Reply(
        text=title,
        blocks=[section(f"*{title}*"), *sections([line for line in lines if line])],
        contacts=frozenset({contact.id}),
    )


def _render_detail(label: str, texts: Sequence[str]) -> str:
    """Return a line with a bold label and texts, or nothing without texts."""
    return f"*{escape(label)}*  {', '.join(escape(text) for text in texts)}" if texts else ""


def _describe_band_end(score: CurrentScore) -> list[str]:
    """Return when decay alone moves a score out of its band, as a list of at most one phrase."""
    if score.band_until is None:
        return []
    band, direction = score.score_type.band(score.value), "falls" if score.rank > 0 else "rises"
    return [f"{direction} out of *{band}* on {day(score.band_until)}"]


def receipt_reply(
    contact: Contact,
    score_changes: Sequence[ScoreChanged],
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
    for change in score_changes:
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
            value=" ".join([str(contact.id), *(change.score_type.key for change in score_changes[:1])]),
        ),
    ]
    blocks = [section(" · ".join(parts)), actions(buttons)]
    return Reply(text=" · ".join(plain), blocks=blocks, replaces=replaces, contacts=frozenset({contact.id}))


def unsent_note(recorded: Recorded) -> str | None:
    """Return the note of a receipt if a follow-up was not created because it would go to the reader of the receipt."""
    return "no follow-up was sent, because it would go to you" if recorded.own_follow_ups else None


def _describe_cut(change: ScoreChanged, requested: tuple[Op, int] | None) -> str:
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
