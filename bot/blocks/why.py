"""Render the contributions to a score, newest first; the contributions add up to the score."""

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
    effect = f"*{format_signed(contribution.effect)}*"
    if contribution.occurred_at is None:
        return f"{effect}  where {escape(score_type.label)} starts"
    losses = _render_losses(contribution, score_type)
    origin = [moment(contribution.occurred_at), format_actor(contribution.actor, contribution.source)]
    if contribution.op == MONTH:
        month = f"{datetime.fromtimestamp(contribution.occurred_at / 1_000_000, UTC):%B %Y}"
        causes, origin = [f"{contribution.count} changes in {month}: {format_signed(contribution.asked)}"], []
    elif contribution.op == Op.SET:
        causes = [f"set to {show(contribution.asked)}"]
    else:
        causes = [f"of {format_signed(contribution.asked)}"] if losses else []
    summary = f"{effect}  {', '.join([*causes, *losses])}" if causes else effect
    reason = [f'"{escape(contribution.reason)}"'] if contribution.reason else []
    activity = [escape(contribution.activity)] if contribution.activity else []
    rule = [f"rule {escape(contribution.rule)}{' ended' if contribution.ended else ''}"] if contribution.rule else []
    return " · ".join([summary, *activity, *rule, *origin, *reason])


def _render_losses(contribution: Contribution, score_type: ScoreType) -> list[str]:
    """Return the losses to the cap, the range, rounding and fading, without those that are zero."""
    rounding = "up" if contribution.rounded < 0 else "down"
    losses = (
        (contribution.cut_by_cap, "over the cap"),
        (contribution.cut_by_range, f"cut by the range {score_type.range_shown}"),
        (contribution.rounded, f"rounded {rounding}"),
        (contribution.faded, "faded"),
    )
    return [f"{show(abs(amount))} {words}" for amount, words in losses if amount]
