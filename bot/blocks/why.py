"""Draw what a score is made of, newest first; the lines add up to it."""

from datetime import UTC, datetime

from bot.blocks.elements import (
    actions,
    button,
    context,
    format_actor,
    format_signed,
    format_with_band,
    moment,
    score_called,
    section,
    sections,
)
from bot.slack.handling import Reply
from bot.slack.text import escape
from storage.domain.contacts import Contact
from storage.domain.explain import MONTH, Contribution, Explanation
from storage.domain.facts import Op
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType

MOST = 20


def why_reply(contact: Contact, score_type: ScoreType, explanation: Explanation | None) -> Reply:
    """Answer with the contributions to one score of a contact."""
    title = f"{contact.shown} · {score_type.label}"
    if explanation is None:
        what = f"{escape(contact.shown)} has no {score_called(score_type.label)}, so there is nothing to explain."
        return Reply(text=what, blocks=[section(what)])
    value = format_with_band(explanation.value, score_type, bold=True)
    lines = [_line(one, score_type) for one in explanation.contributions]
    history = button("History", action="history", value=f"{contact.id} {score_type.key}")
    return Reply(
        text=f"Why {escape(title)} is {format_with_band(explanation.value, score_type)}",
        blocks=[
            section(f"*{escape(title)}*  {value}"),
            *sections(lines),
            context(f"These add up to {show(explanation.value)}."),
            actions([history]),
        ],
    )


def _line(one: Contribution, score_type: ScoreType) -> str:
    effect = f"*{format_signed(one.effect)}*"
    if one.occurred_at is None:
        return f"{effect}  where {escape(score_type.label)} starts"
    lost = [f"{show(abs(one.cut))} cut{_because(one, score_type)}"] if one.cut else []
    lost += [f"{show(abs(one.faded))} faded"] if one.faded else []
    whence = [moment(one.occurred_at), format_actor(one.actor, one.source)]
    if one.op == MONTH:
        month = f"{datetime.fromtimestamp(one.occurred_at / 1_000_000, UTC):%B %Y}"
        did, whence = [f"{one.count} changes in {month}: {format_signed(one.asked)}"], []
    elif one.op == Op.SET:
        did = [f"set to {show(one.asked)}"]
    else:
        did = [f"of {format_signed(one.asked)}"] if lost else []
    what = f"{effect}  {', '.join([*did, *lost])}" if did else effect
    reason = [f'"{escape(one.reason)}"'] if one.reason else []
    activity = [escape(one.activity)] if one.activity else []
    rule = [f"by the rule {escape(one.rule)}"] if one.rule else []
    return " · ".join([what, *activity, *rule, *whence, *reason])


def _because(one: Contribution, score_type: ScoreType) -> str:
    return " by its cap or the range" if one.rule else f": it runs from {score_type.range_shown}"
