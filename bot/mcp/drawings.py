"""Draw the results of tools for Slack, with the blocks of `/score`; a button names the tool that it calls."""

import json
from collections.abc import Sequence

from bot.blocks.elements import button, format_value, format_with_band, section, sections, short_name
from bot.blocks.followups import headline, standing_line
from bot.blocks.history import history_reply, why_reply
from bot.blocks.scores import card_reply
from bot.slack.handling import Block
from bot.slack.text import escape
from storage.alerts.followups import FollowUp
from storage.domain.contacts import Contact
from storage.domain.explain import Explanation
from storage.domain.followups import WAITING, FollowUpState
from storage.domain.score_types import ScoreType
from storage.domain.submissions import ScoreChanged
from storage.reading.current_scores import Card
from storage.reading.history import HistoryEntry

MOST = 50  # blocks of a result
MOST_FOLLOW_UPS = 12  # each has up to three blocks


def draw_contacts(cards: Sequence[Card]) -> list[Block]:
    """Return a list of contacts with their scores."""
    lines = [
        " · ".join(
            [
                f"*{short_name(card.contact.shown)}*",
                *([short_name(card.contact.company)] if card.contact.company else []),
                *(
                    f"{escape(score.score_type.label)} {format_with_band(score.value, score.score_type, bold=True)}"
                    for score in card.standings
                ),
            ]
        )
        for card in cards
    ]
    return sections(lines) if lines else []


def draw_card(card: Card, types: Sequence[ScoreType], follow_ups: Sequence[FollowUp]) -> list[Block]:
    """Return a contact with its scores and follow-ups, and a button for its history."""
    history = _button("History", "score_history", contact=str(card.contact.id))
    return [*_without_buttons(card_reply(card, types, follow_ups).blocks), _actions(history)]


def draw_explanation(contact: Contact, score_type: ScoreType, explanation: Explanation | None) -> list[Block]:
    """Return the lines that add up to a score."""
    return _without_buttons(why_reply(contact, score_type, explanation).blocks)


def draw_history(contact: Contact, score_type: ScoreType, entries: Sequence[HistoryEntry]) -> list[Block]:
    """Return the changes of a score, newest first."""
    return _without_buttons(history_reply(contact, score_type, entries).blocks)


def draw_follow_ups(
    follow_ups: Sequence[tuple[FollowUp, Contact]], types: Sequence[ScoreType], *, person: str
) -> list[Block]:
    """Return follow-ups, with the buttons that *person* may use."""
    by_key = {score_type.key: score_type for score_type in types}
    blocks: list[Block] = []
    for follow_up, contact in follow_ups[:MOST_FOLLOW_UPS]:
        state = standing_line(follow_up)
        text = headline(follow_up, contact, by_key.get(follow_up.score))
        blocks.append(section("\n".join([text, *([state] if state else [])])))
        if buttons := _follow_up_buttons(follow_up, person=person):
            blocks.append(_actions(*buttons))
    return blocks


def _follow_up_buttons(follow_up: FollowUp, *, person: str) -> list[Block]:
    status = follow_up.standing
    is_taken = status.state is FollowUpState.CLAIMED
    if status.state not in WAITING or (is_taken and status.holder != person):
        return []
    claim = [] if is_taken else [_button("Claim", "claim_followup", id=follow_up.id)]
    return [*claim, _button("Done", "finish_followup", id=follow_up.id)]


def draw_receipt(contact: Contact, score_changes: Sequence[ScoreChanged], *, batch: str) -> list[Block]:
    """Return the receipt of a change, with a button that takes it back."""
    changes = [
        f"{escape(change.score_type.label)} {format_value(change.before)} →"
        f" {format_with_band(change.after, change.score_type, bold=True)}"
        for change in score_changes
        if change.contact == contact.id
    ]
    text = " · ".join([escape(contact.shown), *changes])
    return [section(text), _actions(_button("Undo", "undo", change=batch))]


def _without_buttons(blocks: Sequence[Block]) -> list[Block]:
    """Return blocks without the buttons of the app, which Slackbot does not show."""
    return [block for block in blocks if block["type"] != "actions"][:MOST]


def _button(label: str, tool: str, **arguments: object) -> Block:
    """Return a button that calls a tool: its id names the tool, and its value has the arguments."""
    return button(label, action=f"tool:{tool}", value=json.dumps(arguments))


def _actions(*buttons: Block) -> Block:
    """Return a block of buttons. Their ids stay as they are: Slack calls the tools that they name."""
    return {"type": "actions", "elements": list(buttons)}
