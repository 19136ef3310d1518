"""Render the messages to makers of alert rules and to admins: a rule is broken, or somebody else changed it."""

import re
from collections.abc import Mapping, Sequence

from bot.blocks.alerts import list_numbers, rule_line
from bot.blocks.elements import context, section, sections
from bot.slack.handling import Block, Reply
from bot.slack.text import escape, escape_code
from storage.alerts.broken import Breakage
from storage.alerts.rules import AlertRule
from storage.audit import AuditAction, AuditEntry
from storage.domain.people import Choices
from storage.domain.score_types import ScoreType

MOST_BROKEN = 10  # rules on the Home tab
_PERSON = re.compile(r"[UW][A-Z0-9]{2,31}", re.ASCII)
_VERBS = {
    AuditAction.ALERT_ADDED: "restored",
    AuditAction.ALERT_PAUSED: "paused",
    AuditAction.ALERT_RESUMED: "resumed",
    AuditAction.ALERT_REMOVED: "removed",
}


def broken_rules_notice(
    rules: Sequence[AlertRule],
    types: Sequence[ScoreType],
    choices: Choices,
    breakages: Mapping[int, Breakage],
    *,
    reader: str,
) -> Reply:
    """Return the message that tells *reader*, a maker or an admin, that rules are broken."""
    title = "An alert rule is broken" if len(rules) == 1 else f"{len(rules)} alert rules are broken"
    if all(rule.made_by == reader for rule in rules):
        title = "Your alert rule is broken" if len(rules) == 1 else f"{len(rules)} of your alert rules are broken"
    lines = []
    for rule in rules:
        maker = "" if rule.made_by in (None, reader) else f" · made by <@{rule.made_by}>"
        lines.append(f"{rule.id}. {rule_line(rule, types, choices, breakages[rule.id])}{maker}")
    hint = context(f"After a fix it alerts again. To remove a rule: `/score alerts remove {rules[0].id}`")
    return Reply(text=f"{title}.", blocks=[section(f"*{title}*"), *sections(lines), hint])


def broken_rules_blocks(
    rules: Sequence[AlertRule], types: Sequence[ScoreType], choices: Choices, breakages: Mapping[int, Breakage]
) -> list[Block]:
    """Return the section of the Home tab about broken rules."""
    lines = [f"{rule.id}. {rule_line(rule, types, choices, breakages[rule.id])}" for rule in rules[:MOST_BROKEN]]
    if len(rules) > MOST_BROKEN:
        lines.append(f"… and {len(rules) - MOST_BROKEN} more")
    title = "An alert rule is broken" if len(rules) == 1 else f"{len(rules)} alert rules are broken"
    return [section(f"*{title}*"), *sections(lines), context("All rules: `/score alerts`")]


def segment_changed_notice(entry: AuditEntry, rules: Sequence[AlertRule]) -> Reply:
    """Return the message that a segment changed, to the maker of *rules*, which use it."""
    before, after = ((state or {}).get("text", "") for state in (entry.before, entry.after))
    text = (
        f"{_mention(entry.who)} changed the segment *{escape(entry.subject or '')}*, which your"
        f" {list_numbers(rules)} {'uses' if len(rules) == 1 else 'use'}:"
        f" `{escape_code(before)}` → `{escape_code(after)}`"
    )
    hint = context(f"Your rules: `/score alerts`. To stop one: `/score alerts pause {rules[0].id}`")
    return Reply(text=text.replace("*", "").replace("`", ""), blocks=[section(text), hint])


def destination_changed_notice(entry: AuditEntry, rules: Sequence[AlertRule]) -> Reply:
    """Return the message that follow-ups go elsewhere, to the maker of *rules*, which name no place of their own."""
    before, after = ((state or {}).get("alert_channel") for state in (entry.before, entry.after))
    text = (
        f"{_mention(entry.who)} changed where follow-ups go, so those of your {list_numbers(rules)} go to"
        f" {_describe_place(after)} from now on, not to {_describe_place(before)}."
    )
    hint = context(
        "To choose another place for a rule, add it again with a channel, as"
        " `/score alerts add when score crosses 80 in #channel`, and remove the old one:"
        f" `/score alerts remove {rules[0].id}`"
    )
    return Reply(text=text, blocks=[section(text), hint])


def rule_changed_notice(entry: AuditEntry, rule: AlertRule, types: Sequence[ScoreType], choices: Choices) -> Reply:
    """Return the message to the maker of a rule that somebody else paused, resumed, removed or restored."""
    what = AuditAction(entry.what)
    text = f"{_mention(entry.who)} {_VERBS[what]} your alert rule {rule.id}: {rule_line(rule, types, choices)}"
    if what is AuditAction.ALERT_PAUSED:
        text += f"\nIt alerts nobody until you type `/score alerts resume {rule.id}`"
    return Reply(text=text.replace("`", ""), blocks=[section(text)])


def _describe_place(channel: str | None) -> str:
    return f"<#{channel}>" if channel else "the contact's owner, else an admin"


def _mention(who: str) -> str:
    return f"<@{who}>" if _PERSON.fullmatch(who) else f"An admin ({escape(who)})"
