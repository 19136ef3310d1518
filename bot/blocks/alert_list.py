"""Draw alert rules: when, for whom, where to, and what came of them."""

from collections.abc import Mapping, Sequence

from bot.asking import Reply
from bot.blocks.elements import context, section, sections
from bot.text import escape
from storage.alert_rules import AlertRule
from storage.domain.alert_words import written
from storage.domain.people import Choices
from storage.domain.score_types import ScoreType


def alerts_reply(
    rules: Sequence[AlertRule], types: Sequence[ScoreType], choices: Choices, counts: Mapping[int, Mapping[str, int]]
) -> Reply:
    """Answer with every rule."""
    add = "Add one: `/score alerts add when score crosses 80 if owner:me in #sales`"
    if not rules:
        return Reply(text="There is no alert rule.", blocks=[section(f"There is no alert rule. {add}")])
    lines = [f"{one.id}. {_line(one, types, choices)}{_came_of_it(counts.get(one.id, {}))}" for one in rules]
    return Reply(text=f"{len(rules)} alert rules", blocks=[section("*Alerts*"), *sections(lines), context(add)])


def added_reply(rule: AlertRule, types: Sequence[ScoreType], choices: Choices) -> Reply:
    """Answer that a rule was made."""
    said = f"Rule {rule.id} is made: {_line(rule, types, choices)}"
    small = context("Who is there already is not asked for. Take it back: " + f"`/score alerts remove {rule.id}`")
    return Reply(text=said.replace("`", ""), blocks=[section(said), small])


def _line(rule: AlertRule, types: Sequence[ScoreType], choices: Choices) -> str:
    watch = rule.watch(types)
    when = f"`when {written(watch.score_type, watch.region)}`" if watch else f"`when {rule.score or 'the top band'}`"
    condition = f" `if {escape(rule.condition)}`" if rule.condition else ""
    channel = rule.channel or choices.alert_channel
    where = f" → <#{channel}>" if channel else " → the contact's owner, else an admin"
    off = " · watches nothing now" if watch is None else ""
    if rule.paused_at is not None:
        off = " · off until `/score setup` is answered" if rule.is_default and not choices.set_up_at else " · paused"
    return f"{when}{condition}{where}{off}"


def _came_of_it(counts: Mapping[str, int]) -> str:
    told = ", ".join(f"{number} {became}" for became, number in sorted(counts.items()))
    return f"\n      {told}" if told else ""
