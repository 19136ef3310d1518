"""Render lists of contacts: matches of a name, pages of a filter, and the highest scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.blocks.alerts import list_numbers
from bot.blocks.elements import (
    actions,
    band_square,
    button,
    contact_rows,
    context,
    format_attribute,
    format_value,
    format_with_band,
    join_words,
    moment,
    score_called,
    section,
    sections,
    short_name,
)
from bot.blocks.refusals import ask_admins
from bot.slack.handling import Reply
from bot.slack.text import escape, escape_code
from storage.alerts.followups import FollowUp
from storage.alerts.rules import AlertRule
from storage.domain.attributes import has_value
from storage.domain.durations import write_span
from storage.domain.filters import Filter
from storage.domain.filters.terms import Crossed, FollowedUp, Stale, Term, Trend, Updated, leaf_terms
from storage.domain.followups import FollowUpState
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType
from storage.reading.current_scores import Card
from storage.reading.pages import MOST_COUNTED
from storage.reading.segments import Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class RowDetails:
    """What the rows of a list show because its filter asks for it, beside the card of each contact."""

    past: Mapping[tuple[int, str, int], int | None] = field(default_factory=dict)  #: see `values_then`
    touched: Mapping[int, int] = field(default_factory=dict)  #: when the latest fact of each contact happened, in µs
    follow_ups: Mapping[int, FollowUp] = field(default_factory=dict)  #: the newest that waits, by contact


def filter_reply(
    cards: Sequence[Card],
    scores: Sequence[ScoreType],
    query: Filter,
    details: RowDetails,
    *,
    text: str,
    first: int,
    total: int,
    back: str | None,
    onward: str | None,
    current: str,
    change: str | None = None,
    changes: int = 0,
) -> Reply:
    """Return a page of contacts that match a filter, with these scores and what the filter asks for of each contact.

    *back*, *onward*, *current* and *change* are the values of its buttons; *changes* is the number of contacts that the
    last one changes.
    """
    lines = [_render_line(card, scores, query, details) for card in cards]
    number = f"{total}" if total <= MOST_COUNTED else f"more than {MOST_COUNTED:,}"
    shown = f"{first}–{first + len(cards) - 1} of {number}" if total > len(cards) else number
    title = f"{shown} {'contact fits' if total == 1 else 'contacts fit'}"
    pages = [("Back", back), ("Next", onward)]
    buttons = [button(label, action="page", value=value) for label, value in pages if value is not None]
    buttons.append(button("Share to channel", action="share", value=current))
    if change is not None and changes > 1:
        label = f"Change all {changes:,}" if changes <= MOST_COUNTED else "Change all"
        buttons.append(button(label, action="bulk", value=change))
    head = section(f"*{title}* `{escape_code(text)}`" if text else f"*{title}*")
    below = actions(buttons)
    blocks = [head, *contact_rows(lines, [card.contact.id for card in cards], around=[head, below]), below]
    return Reply(text=f"{title} {escape(text)}", blocks=blocks, contacts=_list_contacts(cards))


def segments_reply(segments: Mapping[str, str], default: ScoreType) -> Reply:
    """Return the list of saved segments; *segments* maps names to filters, *default* is a score type for an example."""
    if not segments:
        sentence = "No segment is saved yet."
        example = f"segment save hot {default.key}&gt;={show(default.example_edge)}"
        return Reply(text=sentence, blocks=[section(f"{sentence} Save one: `/score {example}`")])
    lines = [f"*{escape(name)}*  `{escape_code(text)}`" for name, text in segments.items()]
    title = f"{len(segments)} {'segment' if len(segments) == 1 else 'segments'}"
    name = next(iter(segments))
    footer = context(f"`/score segment show {name}` lists its contacts; `segment:{name}` uses it in any filter.")
    return Reply(text=title, blocks=[section(f"*{title}*"), *sections(lines), footer])


def segment_saved_reply(name: str, text: str, previous: str | None, rules: Sequence[AlertRule], *, by: str) -> Reply:
    """Return the reply for a saved segment; *rules* are the alert rules that a change of its filter affects."""
    sentence = f"Saved *{escape(name)}*: `{escape_code(text)}`."
    if previous not in (None, text):
        sentence += f" It was `{escape_code(previous or '')}`."
    if rules:
        numbers = list_numbers(rules)
        sentence += f" {numbers[:1].upper()}{numbers[1:]} {'uses' if len(rules) == 1 else 'use'} it from now on"
        others = sorted({rule.made_by for rule in rules if rule.made_by not in (None, by)})
        mentions = ", ".join(f"<@{maker}>" for maker in others)
        sentence += f"; {mentions} will be told." if mentions else "."
    sentence += f" Use it: `/score filter segment:{name}`"
    return Reply(text=sentence, blocks=[section(sentence)])


def not_your_segment_reply(segment: Segment, action: str, *, admins: Sequence[str]) -> Reply:
    """Return the refusal to a person who may not change or delete a segment; *admins* are Slack user ids."""
    maker = f"<@{segment.made_by}>, who saved it, or an admin" if segment.made_by else "an admin"
    sentence = f"Nothing was changed. Only {maker} can {action} the segment *{escape(segment.name)}*."
    sentence += f" {ask_admins([f'<@{admin}>' for admin in admins])}"
    if action == "change":
        sentence += f" To save yours under another name: `/score segment save my-{escape_code(segment.name)} …`"
    return Reply(text=sentence, blocks=[section(sentence)])


def shared_reply(reply: Reply, *, by: str, value: str) -> Reply:
    """Return a reply for everyone in a channel: the same blocks without buttons, and who shared it.

    *value* is the value of the button that sends the page to the requester alone.
    """
    shown = [block for block in reply.blocks if block["type"] != "actions"]
    blocks = [{name: part for name, part in block.items() if name != "accessory"} for block in shown]
    return replace(reply, blocks=[*blocks, context(f"Shared by <@{by}>")], public=True, share_value=value)


def _list_contacts(cards: Sequence[Card]) -> frozenset[int]:
    return frozenset(card.contact.id for card in cards)


def _render_line(card: Card, scores: Sequence[ScoreType], query: Filter, details: RowDetails) -> str:
    numbers = [
        f"{escape(score_type.label)} {format_with_band(_value_of(card, score_type), score_type, bold=True)}"
        for score_type in scores
    ]
    square = band_square(_value_of(card, scores[0]), scores[0])
    name = join_words(square, f"*{short_name(card.contact.shown)}*")
    company = [short_name(card.contact.company)] if card.contact.company else []
    return _join_lines([name, *company, ", ".join(numbers)], _describe_filter_terms(card, query, details))


def _join_lines(*lines: Sequence[str]) -> str:
    """Return lines of phrases, without those that have none."""
    return "\n".join(" · ".join(phrases) for phrases in lines if phrases)


def _value_of(card: Card, score_type: ScoreType) -> int | None:
    score = card.standing(score_type.key)
    return score.value if score else None


def _describe_filter_terms(card: Card, query: Filter, details: RowDetails) -> list[str]:
    """Return what a filter asks for and a row does not show otherwise, as phrases."""
    contact = card.contact
    phrases = [phrase for term in leaf_terms(query.where) if (phrase := _describe_term(card, term, details))]
    if "email" in query.fields and contact.email and contact.name:
        phrases.append(short_name(contact.email))
    if "owner" in query.fields:
        phrases.append(f"owner {short_name(contact.owner)}" if contact.owner else "no owner")
    if "tags" in query.fields and contact.tags:
        phrases.append(f"tags {short_name(', '.join(contact.tags))}")
    values = {name: contact.attributes.get(name) for name in query.attributes}
    return [
        *dict.fromkeys(phrases),
        *(short_name(f"{name} {format_attribute(value)}") for name, value in values.items() if has_value(value)),
    ]


def _describe_term(card: Card, term: Term, details: RowDetails) -> str:
    """Return what a row shows for a term about the past of a contact; blank if there is nothing."""
    match term:
        case Trend(score=score, window=window):
            now, then = _value_of(card, score), details.past.get((card.contact.id, score.key, window))
            return "" if now is None or then is None else _describe_trend(now, then, term)
        case Crossed(score=score, window=window):
            then = details.past.get((card.contact.id, score.key, window))
            return f"from {format_value(then)} in {write_span(window)}"
        case Stale(score=score):
            standing = card.standing(score.key)
            return f"last change {moment(standing.as_of)}" if standing else ""
        case Updated():
            at = details.touched.get(card.contact.id)
            return f"updated {moment(at)}" if at is not None else ""
        case FollowedUp():
            follow_up = details.follow_ups.get(card.contact.id)
            return _describe_follow_up(follow_up) if follow_up else "no follow-up"
        case _:
            return ""


def _describe_trend(now: int, then: int, term: Trend) -> str:
    change = now - then
    share = f" ({round(100 * abs(change) / abs(then))}%)" if term.of_value and then else ""
    word = "rising" if change > 0 else "falling"
    return f"{word} by {show(abs(change))}{share} in {write_span(term.window)}" if change else "unchanged"


def _describe_follow_up(follow_up: FollowUp) -> str:
    """Return the state of a follow-up. It mentions nobody, because the list may be shared with a channel."""
    match follow_up.standing.state:
        case FollowUpState.OPEN:
            return f"follow-up open since {moment(follow_up.asked_at)}"
        case FollowUpState.SNOOZED if follow_up.until:
            return f"follow-up snoozed until {moment(follow_up.until)}"
        case state:
            return f"follow-up {state.value} {moment(follow_up.changed_at)}"


def top_reply(
    cards: Sequence[Card],
    score_type: ScoreType,
    query: Filter | None = None,
    details: RowDetails | None = None,
    *,
    text: str = "",
) -> Reply:
    """Return the contacts with the highest scores of a type; *query* is the filter that they match, *text* its text."""
    if not cards:
        sentence = f"Nobody has a {score_called(score_type.label)} yet."
        hint = f"Set one: `/score set ada@example.com {score_type.key}={show(score_type.maximum)}`"
        return Reply(text=sentence, blocks=[section(f"{sentence} {hint}")])
    lines = []
    for rank, card in enumerate(cards, start=1):
        value = _value_of(card, score_type)
        name = join_words(f"{rank}.", band_square(value, score_type), f"*{short_name(card.contact.shown)}*")
        company = [short_name(card.contact.company)] if card.contact.company else []
        matched = _describe_filter_terms(card, query, details) if query and details else []
        lines.append(_join_lines([name, *company, format_with_band(value, score_type, bold=True)], matched))
    title = f"Top {len(cards)} by {escape(score_type.label)}"
    head = section(f"*{title}* `{escape_code(text)}`" if text else f"*{title}*")
    ties = context("With equal scores, the contact known longest comes first.")
    blocks = [head, *contact_rows(lines, [card.contact.id for card in cards]), ties]
    return Reply(text=title, blocks=blocks, contacts=_list_contacts(cards))
