"""Render alert rules, and build the form that adds a rule; its More button shows the rarely used fields."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bot.blocks.elements import actions, button, context, moment, section, sections, short_name
from bot.blocks.fields import channel_menu, choice_field, field, form, plain, text_field
from bot.slack.handling import Block, Reply
from bot.slack.text import UNUSABLE_CHANNEL, escape, escape_code, escape_sentence
from storage.alerts.broken import Breakage
from storage.alerts.digests import Digest
from storage.alerts.rules import COOLDOWN, AlertRule
from storage.alerts.simulate import DAYS, Simulation
from storage.domain.alerts.kinds import KINDS
from storage.domain.alerts.values import write_example
from storage.domain.business_hours import write_time
from storage.domain.contacts import Contact
from storage.domain.durations import write_span
from storage.domain.followups import WAITING, FollowUpOutcome
from storage.domain.numbers import show
from storage.domain.people import Choices
from storage.domain.score_types import ScoreType

ALERT_FORM = "alert"
#: how the trigger of a rule begins → its label in the form
_TRIGGERS = {words: label for kind in KINDS.values() for words, label in kind.phrases}
_PLACES = {"-": "The default, or the channel below", "digest": "The digest only"}
MORE = ("hold", "margin", "cooldown", "sla", "escalate")
MOST_TYPES = 100


def alerts_reply(
    rules: Sequence[AlertRule],
    types: Sequence[ScoreType],
    choices: Choices,
    counts: Mapping[int, Mapping[str, int]],
    suppressed: Mapping[int, int],
    digests: Sequence[Digest],
    breakages: Mapping[int, Breakage],
) -> Reply:
    """Return the list of alert rules with the results of their follow-ups, and the schedules of digests.

    *breakages* says why rules are broken, by rule id. *counts* maps a rule id to the number of its follow-ups by state
    or outcome, *suppressed* to the number that the cool-down suppressed.
    """
    add = f"Add one: {write_example(types[0])}"
    adding = actions([button("Add a rule", action="alert_form", value="-")])
    if not rules:
        text = f"There are no alert rules. {add}"
        return Reply(text="There are no alert rules.", blocks=[section(text), adding, *_render_digests(digests)])
    lines = [
        f"{rule.id}. {rule_line(rule, types, choices, breakages.get(rule.id))}"
        f"{_summarize_counts(counts.get(rule.id, {}), suppressed.get(rule.id, 0))}"
        for rule in rules
    ]
    blocks = [
        section("*Alerts*"),
        *sections(lines),
        *_render_digests(digests),
        adding,
        context(f"{add}{_summarize_all(counts)}"),
    ]
    return Reply(text=f"{len(rules)} alert rules", blocks=blocks)


def _render_digests(digests: Sequence[Digest]) -> list[Block]:
    if not digests:
        return []
    schedules = [
        f"{_mention_place(digest.place)} at {write_time(digest.minute)} ({escape(digest.zone)})" for digest in digests
    ]
    return [section(f"Digest, Monday to Friday: {', '.join(schedules)}")]


def _mention_place(id: str) -> str:
    return f"<#{id}>" if id[:1] in ("C", "G") else f"<@{id}>"


def simulation_reply(simulation: Simulation, words: str, people: Mapping[int, Contact]) -> Reply:
    """Return what a rule would have asked for in the simulated period; *people* are the contacts by id."""
    count = simulation.number
    amount = "1 follow-up" if count == 1 else f"{count} follow-ups" if count else "no follow-up"
    text = f"In the last {DAYS} days this would have created *{amount}*{':' if count else '.'}"
    lines = [f"{short_name(people[id].shown)} · {moment(at)}" for id, at in simulation.firings if id in people]
    more = [f"… and {count - len(lines)} more"] if count > len(lines) else []
    suppressed_note = f" {simulation.spent} more came within the cooldown." if simulation.spent else ""
    footer = context(f"Add it: `/score alerts add {escape_code(words)}`{suppressed_note}")
    return Reply(text=text.replace("*", ""), blocks=[section(text), *sections([*lines, *more]), footer])


def rule_added_reply(rule: AlertRule, types: Sequence[ScoreType], choices: Choices, breakage: Breakage | None) -> Reply:
    """Return the reply for a new rule."""
    text = f"Added rule {rule.id}: {rule_line(rule, types, choices, breakage)}"
    footer = context("Contacts that meet it already are not alerted. Remove it: " + f"`/score alerts remove {rule.id}`")
    return Reply(text=text.replace("`", ""), blocks=[section(text), footer])


def rule_exists_reply(rule: AlertRule, types: Sequence[ScoreType], choices: Choices) -> Reply:
    """Return the reply for a rule that already exists, with its status."""
    text = f"Rule {rule.id} is the same, so none was added: {rule_line(rule, types, choices)}"
    hint = "Its results: `/score alerts`"
    if rule.paused_at is not None:
        hint = f"Resume it: `/score alerts resume {rule.id}`"
    return Reply(text=text.replace("`", ""), blocks=[section(text), context(hint)])


def list_numbers(rules: Sequence[AlertRule]) -> str:
    """Return the numbers of rules in words, such as "alert rules 2, 3 and 5"."""
    numbers = [str(rule.id) for rule in rules]
    if len(numbers) == 1:
        return f"alert rule {numbers[0]}"
    return f"alert rules {', '.join(numbers[:-1])} and {numbers[-1]}"


def rule_line(rule: AlertRule, types: Sequence[ScoreType], choices: Choices, breakage: Breakage | None = None) -> str:
    """Return a rule as one line: trigger, condition, recipient, options and status."""
    watch = rule.watch(types)
    when = f"`when {rule.score or 'the top band'}`"
    if watch is not None:
        when = f"`when {watch.words}`"
    condition = f" `if {escape_code(rule.condition)}`" if rule.condition else ""
    channel = rule.channel or choices.alert_channel
    destination = f" → <#{channel}>" if channel else " → the contact's owner, else an admin"
    destination = " → the digest" if rule.in_digest else destination
    options = "".join(f" `{option}`" for option in _list_options(rule))
    # Slack renders a mention only outside of code.
    options += f" `escalate to` <@{rule.escalate_to}>" if rule.escalate_to else ""
    status = f" · *broken*: {describe_breakage(breakage)}" if breakage is not None else ""
    if rule.paused_at is not None:
        status += " · off until `/score setup` is done" if rule.is_default and not choices.set_up_at else " · paused"
    return f"{when}{condition}{destination}{options}{status}"


def describe_breakage(breakage: Breakage) -> str:
    """Return why a rule is broken, in words."""
    if breakage.channel is not None:
        return UNUSABLE_CHANNEL.format(breakage.channel)
    return escape_sentence(breakage.reason)


def _list_options(rule: AlertRule) -> list[str]:
    """Return the options of a rule that differ from the defaults."""
    options = [f"hold {write_span(rule.hold)}"] if rule.hold else []
    options += [f"margin {show(rule.margin)}"] if rule.margin is not None else []
    options += [f"cooldown {write_span(rule.cooldown)}"] if rule.cooldown != COOLDOWN else []
    return options + ([f"sla {write_span(rule.sla)}"] if rule.sla is not None else [])


def _summarize_counts(counts: Mapping[str, int], suppressed: int) -> str:
    parts = [f"{number} {state}" for state, number in sorted(counts.items())]
    parts += [_describe_meetings(counts)] if _count_ended(counts) else []
    parts += [f"{suppressed} more within the cooldown"] if suppressed else []
    return f" · {', '.join(parts)}" if parts else ""


def _count_ended(counts: Mapping[str, int]) -> int:
    return sum(number for state, number in counts.items() if state not in WAITING)


def _describe_meetings(counts: Mapping[str, int]) -> str:
    """Return the share of ended follow-ups that led to a meeting, in words."""
    meetings = counts.get(FollowUpOutcome.MEETING.value, 0)
    return (
        f"{round(100 * meetings / _count_ended(counts))} % led to a meeting" if meetings else "never led to a meeting"
    )


def _summarize_all(counts: Mapping[int, Mapping[str, int]]) -> str:
    """Return the same share for all rules together, or nothing if no follow-up has ended."""
    total = Counter[str]()
    for rule_counts in counts.values():
        total.update(rule_counts)
    return f" · Of {_count_ended(total)} that ended, {_describe_meetings(total)}." if _count_ended(total) else ""


def alert_modal(types: Sequence[ScoreType], *, more: bool = False) -> Block:
    """Return the form; *more* adds the rarely used fields."""
    shown = {score_type.key: score_type.label for score_type in types[:MOST_TYPES]}
    blocks = [
        _menu("score", "When this score", shown),
        _menu("kind", "does this", _TRIGGERS),
        _text("value", "How much", "A number, a band, or a time: 80, hot, 30d. Of a move: 15 in 7d", optional=False),
        _text("condition", "If", "Any filter: owner:me -tag:churned. Blank: everybody"),
        _menu("place", "Post in", _PLACES),
        field(
            "channel", "Channel", channel_menu("channel"), optional=True,
            hint="Blank: the channel chosen in /score setup, else the contact's owner",
        ),
    ]  # fmt: skip  # one field per line
    if more:
        blocks += [
            _text("hold", "Only if it stays so for", "2h, 1d"),
            _text("margin", "Alert again after falling back by", "In points; blank: a twentieth of the range"),
            _text("cooldown", "At most once every", "7d; blank: two weeks"),
            _text("sla", "Claim within", "4h, 1d"),
            field(
                "escalate",
                "If nobody claims it, escalate to",
                {"type": "users_select", "action_id": "escalate"},
                optional=True,
            ),
        ]
    else:
        button = {"type": "button", "action_id": "alert_more", "text": plain("More"), "value": "more"}
        blocks.append({"type": "actions", "block_id": "more", "elements": [button]})
    return form(ALERT_FORM, "Add an alert", blocks, submit="Add")


def _menu(name: str, label: str, choices: Mapping[str, str]) -> Block:
    return choice_field(name, label, choices, action=name, initial=next(iter(choices)))


def _text(name: str, label: str, hint: str, *, optional: bool = True) -> Block:
    return text_field(name, label, action=name, hint=hint, optional=optional, most=500)


def format_alert_words(fields: Mapping[str, Any]) -> str:
    """Return the entered values as the text of an alert rule."""
    entered = {name: str(value).strip() for name, value in fields.items() if value}
    words = f"when {entered.get('score', '')} {entered.get('kind', '')} {entered.get('value', '')}"
    words += f" if {entered['condition']}" if "condition" in entered else ""
    if entered.get("place") != "digest" and "channel" in entered:
        words += f" in <#{entered['channel']}>"
    words += " in digest" if entered.get("place") == "digest" else ""
    words += "".join(f" {name} {entered[name]}" for name in MORE[:-1] if name in entered)
    return words + (f" escalate to <@{entered['escalate']}>" if "escalate" in entered else "")
