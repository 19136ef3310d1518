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
            context(f"These add up to {show(explanation.value)}."),
            actions([history]),
        ],
        contacts=frozenset({contact.id}),
    )


def _render_contribution(contribution: Contribution, score_type: ScoreType) -> str:
    effect = f"*{format_signed(contribution.effect)}*"
    if contribution.occurred_at is None:
        return f"{effect}  where {escape(score_type.label)} starts"
    lost = [f"{show(abs(contribution.cut))} cut{_explain_cut(contribution, score_type)}"] if contribution.cut else []
    lost += [f"{show(abs(contribution.faded))} faded"] if contribution.faded else []
    origin = [moment(contribution.occurred_at), format_actor(contribution.actor, contribution.source)]
    if contribution.op == MONTH:
        month = f"{datetime.fromtimestamp(contribution.occurred_at / 1_000_000, UTC):%B %Y}"
        causes, origin = [f"{contribution.count} changes in {month}: {format_signed(contribution.asked)}"], []
    elif contribution.op == Op.SET:
        causes = [f"set to {show(contribution.asked)}"]
    else:
        causes = [f"of {format_signed(contribution.asked)}"] if lost else []
    summary = f"{effect}  {', '.join([*causes, *lost])}" if causes else effect
    reason = [f'"{escape(contribution.reason)}"'] if contribution.reason else []
    activity = [escape(contribution.activity)] if contribution.activity else []
    rule = [f"by the rule {escape(contribution.rule)}"] if contribution.rule else []
    return " · ".join([summary, *activity, *rule, *origin, *reason])


def _explain_cut(contribution: Contribution, score_type: ScoreType) -> str:
    return " by its cap or the range" if contribution.rule else f": it runs from {score_type.range_shown}"
