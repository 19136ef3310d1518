"""Render lists of contacts: matches of a name, pages of a filter, and the highest scores."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bot.blocks.alerts import list_numbers
from bot.blocks.elements import (
    actions,
    button,
    contact_rows,
    context,
    format_with_band,
    score_called,
    section,
    sections,
    short_name,
)
from bot.slack.handling import Reply
from bot.slack.text import escape, escape_code
from storage.alerts.rules import AlertRule
from storage.domain.attributes import has_value
from storage.domain.contacts import Json
from storage.domain.csv_cells import write_cell
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType
from storage.reading.current_scores import Card
from storage.reading.segments import Segment


def filter_reply(
    cards: Sequence[Card],
    scores: Sequence[ScoreType],
    attributes: Sequence[str] = (),
    *,
    text: str,
    first: int,
    total: int,
    back: str | None,
    onward: str | None,
    current: str,
) -> Reply:
    """Return a page of contacts that match a filter, with these scores and attributes of each contact.

    *back*, *onward* and *current* are the values of its buttons.
    """
    lines = [_render_line(card, scores, attributes) for card in cards]
    shown = f"{first}–{first + len(cards) - 1} of {total}" if total > len(cards) else f"{total}"
    title = f"{shown} {'contact fits' if total == 1 else 'contacts fit'}"
    pages = [("Back", back), ("Next", onward)]
    buttons = [button(label, action="page", value=value) for label, value in pages if value is not None]
    buttons.append(button("Share to channel", action="share", value=current))
    head = section(f"*{title}* `{escape_code(text)}`" if text else f"*{title}*")
    blocks = [head, *contact_rows(lines, [card.contact.id for card in cards]), actions(buttons)]
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
        told = ", ".join(f"<@{maker}>" for maker in others)
        sentence += f"; {told} will be told." if told else "."
    sentence += f" Use it: `/score filter segment:{name}`"
    return Reply(text=sentence, blocks=[section(sentence)])


def not_your_segment_reply(segment: Segment, action: str) -> Reply:
    """Return the refusal to a person who may not change or delete a segment."""
    maker = f"<@{segment.made_by}>, who saved it, or an admin" if segment.made_by else "an admin"
    sentence = f"Nothing was changed. Only {maker} can {action} the segment *{escape(segment.name)}*."
    if action == "change":
        sentence += f" To save yours under another name: `/score segment save my-{escape_code(segment.name)} …`"
    return Reply(text=sentence, blocks=[section(sentence)])


def shared_reply(reply: Reply, *, by: str, value: str) -> Reply:
    """Return a reply for everyone in a channel: the same blocks without buttons, and who shared it.

    *value* is the value of the button that sends the page to the requester alone.
    """
    kept = [block for block in reply.blocks if block["type"] != "actions"]
    blocks = [{name: part for name, part in block.items() if name != "accessory"} for block in kept]
    return replace(reply, blocks=[*blocks, context(f"Shared by <@{by}>")], public=True, share_value=value)


def _list_contacts(cards: Sequence[Card]) -> frozenset[int]:
    return frozenset(card.contact.id for card in cards)


def _render_line(card: Card, scores: Sequence[ScoreType], attributes: Sequence[str]) -> str:
    company = f" · {short_name(card.contact.company)}" if card.contact.company else ""
    scored = {score.score_type.key: score.value for score in card.standings}
    numbers = [
        f"{escape(score_type.label)} {format_with_band(scored.get(score_type.key), score_type, bold=True)}"
        for score_type in scores
    ]
    values = {name: card.contact.attributes.get(name) for name in attributes}
    texts = [short_name(f"{name} {_format_attribute(value)}") for name, value in values.items() if has_value(value)]
    return " · ".join([f"*{short_name(card.contact.shown)}*{company}", ", ".join(numbers), *texts])


def _format_attribute(value: Json) -> str:
    return ", ".join(map(write_cell, value)) if isinstance(value, list) else write_cell(value)


def top_reply(cards: Sequence[Card], score_type: ScoreType, *, text: str = "") -> Reply:
    """Return the contacts with the highest scores of a type; *text* is the filter that they match."""
    if not cards:
        sentence = f"Nobody has a {score_called(score_type.label)} yet."
        hint = f"Set one: `/score set ada@example.com {score_type.key}={show(score_type.maximum)}`"
        return Reply(text=sentence, blocks=[section(f"{sentence} {hint}")])
    lines = []
    for rank, card in enumerate(cards, start=1):
        value = next(score.value for score in card.standings if score.score_type.key == score_type.key)
        company = f" · {short_name(card.contact.company)}" if card.contact.company else ""
        lines.append(
            f"{rank}. *{short_name(card.contact.shown)}*{company} · {format_with_band(value, score_type, bold=True)}"
        )
    title = f"Top {len(cards)} by {escape(score_type.label)}"
    head = section(f"*{title}* `{escape_code(text)}`" if text else f"*{title}*")
    ties = context("With equal scores, the contact known longest comes first.")
    blocks = [head, *contact_rows(lines, [card.contact.id for card in cards]), ties]
    return Reply(text=title, blocks=blocks, contacts=_list_contacts(cards))
