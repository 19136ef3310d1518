"""Draw alert rules: when, for whom, where to, and what came of them."""

from collections import Counter
from collections.abc import Mapping, Sequence

from bot.blocks.elements import actions, button, context, moment, section, sections, short_name
from bot.slack.handling import Block, Reply
from bot.slack.text import escape, escape_code
from storage.alerts.digests import Digest
from storage.alerts.rules import COOLDOWN, AlertRule
from storage.alerts.simulate import DAYS, Simulation
from storage.domain.alerts.syntax import write_alert
from storage.domain.business_hours import write_time
from storage.domain.contacts import Contact
from storage.domain.durations import write_span
from storage.domain.followups import WAITING, FollowUpOutcome
from storage.domain.numbers import show
from storage.domain.people import Choices
from storage.domain.score_types import ScoreType


def alerts_reply(
    rules: Sequence[AlertRule],
    types: Sequence[ScoreType],
    choices: Choices,
    counts: Mapping[int, Mapping[str, int]],
    rested: Mapping[int, int],
    digests: Sequence[Digest],
) -> Reply:
    """Answer with every rule, what came of what it asked for, and where digests go."""
    add = "Add one: `/score alerts add when score crosses 80 if owner:me in #sales`"
    adding = actions([button("Add a rule", action="alert_form", value="-")])
    if not rules:
        said = f"There is no alert rule. {add}"
        return Reply(text="There is no alert rule.", blocks=[section(said), adding, *_digest_lines(digests)])
    lines = [
        f"{one.id}. {rule_line(one, types, choices)}{_came_of_it(counts.get(one.id, {}), rested.get(one.id, 0))}"
        for one in rules
    ]
    blocks = [
        section("*Alerts*"),
        *sections(lines),
        *_digest_lines(digests),
        adding,
        context(f"{add}{_overall(counts)}"),
    ]
    return Reply(text=f"{len(rules)} alert rules", blocks=blocks)


def _digest_lines(digests: Sequence[Digest]) -> list[Block]:
    if not digests:
        return []
    where = [f"{_place(one.place)} at {write_time(one.minute)} ({escape(one.zone)})" for one in digests]
    return [section(f"Digest, Monday to Friday: {', '.join(where)}")]


def _place(id: str) -> str:
    return f"<#{id}>" if id[:1] in ("C", "G") else f"<@{id}>"


def simulation_reply(tried: Simulation, words: str, people: Mapping[int, Contact]) -> Reply:
    """Answer what a rule would have asked for."""
    number = tried.number
    what = "1 follow-up" if number == 1 else f"{number} follow-ups" if number else "no follow-up"
    said = f"In the last {DAYS} days this would have asked for *{what}*{':' if number else '.'}"
    lines = [f"{short_name(people[id].shown)} · {moment(at)}" for id, at in tried.asked if id in people]
    more = [f"… and {number - len(lines)} more"] if number > len(lines) else []
    rest = f" It would have rested {tried.spent} more times." if tried.spent else ""
    fits = " Whether somebody fits the condition is as of now." if tried.words.condition else ""
    small = context(f"Make it: `/score alerts add {escape_code(words)}`{rest}{fits}")
    return Reply(text=said.replace("*", ""), blocks=[section(said), *sections([*lines, *more]), small])


def rule_added_reply(rule: AlertRule, types: Sequence[ScoreType], choices: Choices) -> Reply:
    """Answer that a rule was made."""
    said = f"Rule {rule.id} is made: {rule_line(rule, types, choices)}"
    small = context("Who is there already is not asked for. Take it back: " + f"`/score alerts remove {rule.id}`")
    return Reply(text=said.replace("`", ""), blocks=[section(said), small])


def rule_exists_reply(rule: AlertRule, types: Sequence[ScoreType], choices: Choices) -> Reply:
    """Answer that a rule is there already, and how it stands."""
    said = f"That is rule {rule.id} already, so none was made: {rule_line(rule, types, choices)}"
    hint = "What came of it: `/score alerts`"
    if rule.paused_at is not None:
        hint = f"Let it ask again: `/score alerts resume {rule.id}`"
    return Reply(text=said.replace("`", ""), blocks=[section(said), context(hint)])


def rule_line(rule: AlertRule, types: Sequence[ScoreType], choices: Choices) -> str:
    """Write when a rule asks, for whom, where, and how it stands."""
    watch = rule.watch(types)
    when = f"`when {rule.score or 'the top band'}`"
    if watch is not None:
        said = write_alert(watch.score_type, watch.region, kind=rule.kind, amount=rule.amount, span=rule.span)
        when = f"`when {said}`"
    condition = f" `if {escape_code(rule.condition)}`" if rule.condition else ""
    channel = rule.channel or choices.alert_channel
    where = f" → <#{channel}>" if channel else " → the contact's owner, else an admin"
    where = " → the digest" if rule.in_digest else where
    options = "".join(f" `{one}`" for one in _options(rule))
    # A mention is one only outside of code.
    options += f" `escalate to` <@{rule.escalate_to}>" if rule.escalate_to else ""
    off = " · watches nothing now" if watch is None else ""
    if rule.paused_at is not None:
        off = " · off until `/score setup` is answered" if rule.is_default and not choices.set_up_at else " · paused"
    return f"{when}{condition}{where}{options}{off}"


def _options(rule: AlertRule) -> list[str]:
    """Write what of a rule is not as it is where nothing is said."""
    said = [f"hold {write_span(rule.hold)}"] if rule.hold else []
    said += [f"margin {show(rule.margin)}"] if rule.margin is not None else []
    said += [f"cooldown {write_span(rule.cooldown)}"] if rule.cooldown != COOLDOWN else []
    return said + ([f"sla {write_span(rule.sla)}"] if rule.sla is not None else [])


def _came_of_it(counts: Mapping[str, int], rested: int) -> str:
    told = [f"{number} {became}" for became, number in sorted(counts.items())]
    told += [_share(counts)] if _ended(counts) else []
    told += [f"{rested} more within its rest"] if rested else []
    return f" · {', '.join(told)}" if told else ""


def _ended(counts: Mapping[str, int]) -> int:
    return sum(number for became, number in counts.items() if became not in WAITING)


def _share(counts: Mapping[str, int]) -> str:
    """Say how many of those that ended led to a meeting."""
    meetings = counts.get(FollowUpOutcome.MEETING.value, 0)
    return f"{round(100 * meetings / _ended(counts))} % led to a meeting" if meetings else "never led to a meeting"


def _overall(counts: Mapping[int, Mapping[str, int]]) -> str:
    """Say the same of all rules together, where anything ended."""
    total = Counter[str]()
    for one in counts.values():
        total.update(one)
    return f" · Of {_ended(total)} that ended, {_share(total)}." if _ended(total) else ""
