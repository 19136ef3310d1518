"""Draw a contact with all scores."""

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
    """Answer with the card of a contact, and what of it waits for somebody."""
    contact = card.contact
    about = [short_name(text) for text in (contact.company, contact.email if contact.name else None) if text]
    head = " · ".join([f"*{short_name(contact.shown)}*", *about])
    standing = {one.score_type.key: one for one in card.standings}
    lines = []
    for one in types:
        known = standing.get(one.key)
        if known is None:
            lines.append(f"{escape(one.label)}  {MISSING}")
            continue
        changed = f"{moment(known.as_of)} {format_actor(known.actor, known.source)}".strip()
        parts = [format_with_band(known.value, one, bold=True), *trend(known.trends), *_falling(known), changed]
        lines.append(f"{escape(one.label)}  {' · '.join(parts)}")
    blocks: list[Block] = [section(head), *sections(lines)]
    notes = [f"Owner: {escape(contact.owner)}"] if contact.owner else []
    notes += [f"Tags: {', '.join(escape(tag) for tag in contact.tags)}"] if contact.tags else []
    notes += [f"Follow-up: {standing_line(one) or f'open since {moment(one.asked_at)}'}" for one in follow_ups]
    if notes:
        blocks.append(context(" · ".join(notes)))
    value = str(contact.id)
    mine = [] if contact.owner else [button("Make me the owner", action="owner", value=value)]
    buttons = [button("Set", action="set", value=value), button("History", action="history", value=value), *mine]
    blocks.append(actions(buttons))
    plain = ", ".join(
        f"{escape(one.score_type.label)} {format_with_band(one.value, one.score_type)}" for one in card.standings
    )
    return Reply(text=f"{escape(contact.shown)}: {plain or 'no score yet'}", blocks=blocks)


def _falling(known: CurrentScore) -> list[str]:
    """Say when fading alone takes a score out of its band."""
    if known.band_until is None:
        return []
    band, way = known.score_type.band(known.value), "falls" if known.rank > 0 else "rises"
    return [f"{way} out of *{band}* on {day(known.band_until)}"]
