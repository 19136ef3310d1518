"""Render the scoring rules of score types, and build the form that adds or changes a rule."""

import json
from collections.abc import Sequence
from typing import Any

from bot.blocks.elements import actions, button, context, format_signed, section, truncate, truncate_markup
from bot.blocks.fields import choice_field, number_field, plain, text_field
from bot.slack.handling import Block, Reply
from bot.slack.text import escape, escape_code
from storage.domain.numbers import show
from storage.domain.rules import Period
from storage.domain.score_types import Rule, ScoreType

CALLBACK = "rule"
PER_PAGE, MOST_CHOICES = 12, 100
PERIODS = {Period.DAY: "a day", Period.WEEK: "a week", Period.MONTH: "a month", Period.EVER: "in all"}


def rules_reply(types: Sequence[ScoreType], *, first: int = 0) -> Reply:
    """Return a page of the rules of all score types, starting at index *first*."""
    rules = [(score_type, index) for score_type in types for index in range(len(score_type.rules))]
    blocks: list[Block] = [section("*Rules:* the points for activities and attributes")]
    label = None
    for score_type, index in rules[first : first + PER_PAGE]:
        if score_type.label != label:
            label = score_type.label
            blocks.append(section(f"*{escape(label)}*"))
        blocks.append(section(_render_rule(score_type.rules[index]), accessory=_rule_menu(score_type, index)))
    without_rules = [escape(score_type.label) for score_type in types if not score_type.rules]
    buttons = [button("Add a rule", action="rule_form", value="-")]
    if first + PER_PAGE < len(rules):
        buttons.append(button("More rules", action="rules", value=str(first + PER_PAGE)))
    footer = [context(f"Without rules: {', '.join(without_rules)}")] if without_rules else []
    return Reply(text=f"{len(rules)} rules", blocks=[*blocks, *footer, actions(buttons)])


def _render_rule(rule: Rule) -> str:
    return f"{escape(truncate(rule.name, 80))}\n{truncate_markup(describe_rule(rule), 400)}"


def describe_rule(rule: Rule) -> str:
    """Return a rule in words, such as "demo_booked: +10 each, at most 20 a day, if `tag:vip`"."""
    condition = f"`{escape_code(truncate(rule.condition.strip(), 200))}`"
    points = format_signed(rule.points)
    if rule.for_each:
        limit = f", at most {show(rule.at_most)}" if rule.at_most is not None else ""
        points += f" for each `{escape_code(truncate(rule.for_each.strip(), 200))}`{limit}"
    if rule.activity is None:
        return f"{points} while {condition}" if rule.condition.strip() else points
    parts = [f"{escape(rule.activity)}: {points}" + ("" if rule.for_each else " each")]
    if rule.cap is not None:
        together = f" together with the group {escape(rule.cap.group)}" if rule.cap.group else ""
        parts.append(f"at most {show(rule.cap.points)} {PERIODS[Period(rule.cap.period)]}{together}")
    return ", ".join([*parts, *([f"if {condition}"] if rule.condition.strip() else [])])


def _rule_menu(score_type: ScoreType, index: int) -> Block:
    """Return the menu of a rule; its values contain the score type's version, so that a stale menu is detected."""
    reference = f"{score_type.key} {score_type.number} {index}"
    options = [
        {"text": plain("Change"), "value": f"change {reference}"},
        {"text": plain("Remove"), "value": f"remove {reference}"},
    ]
    return {"type": "overflow", "action_id": "rule_menu", "options": options}


def rule_modal(types: Sequence[ScoreType], *, score_type: ScoreType | None = None, rule: Rule | None = None) -> Block:
    """Return the form with a rule's current values, or an empty form if *rule* is None."""
    cap = rule.cap if rule else None
    choices = {item.key: item.label for item in types[:MOST_CHOICES]}
    type_block = (
        section(f"*{escape(score_type.label)}*")
        if score_type
        else choice_field("type", "Score type", choices, initial=types[0].key)
    )
    metadata: dict[str, Any] = {"type": None, "number": 0, "rule": None}
    if score_type is not None and rule is not None:
        metadata = {"type": score_type.key, "number": score_type.number, "rule": rule.name}
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "title": plain("Rule"),
        "submit": plain("Continue"),
        "close": plain("Cancel"),
        "private_metadata": json.dumps(metadata),
        "blocks": [
            type_block,
            text_field("name", "Name", initial=rule.name if rule else None, most=80),
            text_field(
                "activity", "Activity", initial=rule.activity if rule else None, optional=True, most=80,
                hint="What a contact does, as sources call it: demo_booked. Blank: the points are for as long as the"
                " condition below holds.",
            ),
            number_field("points", "Points", initial=show(rule.points) if rule else None, hint="10; -5 takes away."),
            text_field(
                "for_each", "For each step of an attribute", initial=rule.for_each if rule else None, optional=True,
                most=200, hint="attributes.minutes / 5: the points for each whole 5. Blank: the points once.",
            ),
            number_field(
                "at_most", "Maximum for the attribute",
                initial=show(rule.at_most) if rule and rule.at_most is not None else None, optional=True,
                hint="The most points for the steps of the attribute.",
            ),
            text_field(
                "if", "If", initial=rule.condition if rule else None, optional=True, most=1000,
                hint="About the contact, as in /score filter: tag:vip company~acme",
            ),
            number_field(
                "cap", "Maximum points", initial=show(cap.points) if cap else None, optional=True,
                hint="For one contact, up or down. Blank: without a limit.",
            ),
            choice_field(
                "per", "In a", {Period.DAY: "day", Period.WEEK: "week", Period.MONTH: "month", Period.EVER: "lifetime"},
                initial=cap.period if cap else Period.DAY, hint="Days and weeks are those of UTC.",
            ),
            text_field(
                "group", "Shared with a group", initial=cap.group if cap else None, optional=True, most=80,
                hint="Rules of one group share one limit: changed here, it changes for all of them.",
            ),
        ],
    }  # fmt: skip  # one field per line
