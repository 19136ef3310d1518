"""Render the card of a contact with all scores."""

from collections.abc import Sequence

from bot.blocks.elements import (
    MISSING,
    actions,
    button,
    context,
    day,
    format_actor,
    format_with_band,
    moment,
    section,
    sections,
    short_name,
    trend,
)
from bot.blocks.followup import standing_line
from bot.slack.handling import Block, Reply
from bot.slack.text import escape
from storage.alerts.followups import FollowUp
from storage.domain.score_types import ScoreType
from storage.reading.current_scores import Card, CurrentScore


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
