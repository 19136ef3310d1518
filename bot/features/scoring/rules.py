"""Scoring rules: list them, and add, change or remove one through a form and a preview."""

from dataclasses import replace

from bot.blocks.refusals import refusal_sentence
from bot.blocks.scoring import rule_modal, rules_reply
from bot.features.scoring.changes import propose_change
from bot.slack.handling import OutdatedButton, Reply, Request
from bot.slack.text import parse_number
from storage.domain.errors import BadDefinition, Refusal
from storage.domain.numbers import parse
from storage.domain.rules import check_rules
from storage.domain.score_types import Rule, RuleCap, ScoreType


async def show_rules(request: Request) -> Reply:
    """Handle `rules`."""
    return rules_reply(request.types)


async def turn_rules_page(request: Request) -> Reply:
    """Show the page of rules that starts at the index in the button's value."""
    return replace(rules_reply(request.types, first=parse_number(request.text)), replaces=True)


async def open_rule_form(request: Request) -> Reply:
    """Open the form for a new rule."""
    return Reply(modal=rule_modal(request.types))


async def change_rule(request: Request) -> Reply:
    """Change or remove a rule; if the rules have changed since the menu was drawn, show the current ones instead."""
    action, key, number, index = (*request.text.split(" "), "", "", "")[:4]
    live = request.type(key)
    if str(live.number) != number:
        return replace(rules_reply(request.types), replaces=True)
    if not index.isdecimal() or int(index) >= len(live.rules):
        raise OutdatedButton
    rule = live.rules[int(index)]
    if action == "change":
        return Reply(modal=rule_modal(request.types, score_type=live, rule=rule))
    return await propose_change(request, replace(live, rules=tuple(other for other in live.rules if other != rule)))


async def submit_rule(request: Request) -> Reply:
    """Show the preview of the score type with the entered rule, or return the refusals by form field."""
    old = request.metadata["rule"]
    live = request.type(request.metadata["type"] or request.fields["type"])
    if old is not None and live.number != request.metadata["number"]:
        message = f"The rules of {live.label} were changed since this form was opened. Press Cancel, and open it again."
        return Reply(errors={"name": message})
    entered = {name: (value or "").strip() for name, value in request.fields.items()}
    numbers, errors = _parse_numbers(entered)
    points, cap, at_most = numbers.get("points", 0), numbers.get("cap"), numbers.get("at_most")
    if errors:
        return Reply(errors=errors)
    rule = Rule(
        name=entered["name"], points=points, activity=entered["activity"] or None, condition=entered["if"],
        for_each=entered.get("for_each", ""), at_most=at_most,
    )  # fmt: skip  # what it is worth, then of what
    sloping = Rule(name=rule.name, points=points, activity="-", for_each=rule.for_each)
    capped = RuleCap(points=cap, period=entered["per"]) if cap is not None else None
    grouped = replace(capped, group=entered["group"] or None) if capped is not None else None
    stages = (
        ("name", Rule(name=rule.name, points=live.step, activity="-")),
        ("points", Rule(name=rule.name, points=points, activity="-")),
        ("for_each", sloping),
        ("at_most", replace(sloping, at_most=at_most)),
        ("if", replace(rule, activity="-")),
        ("activity", rule),
        ("cap", replace(rule, cap=capped)),
        ("group", replace(rule, cap=grouped)),
    )
    proposed = live
    for field, candidate in stages:
        proposed = replace(live, rules=_place_rule(live, candidate, old))
        try:
            check_rules(proposed.rules, live)
        except BadDefinition as refusal:
            return Reply(errors={field: refusal_sentence(refusal)})
    return await propose_change(request, proposed)


def _parse_numbers(entered: dict[str, str]) -> tuple[dict[str, int], dict[str, str]]:
    """Parse points and limits; return them with the refusals by form field."""
    numbers, errors = dict[str, int](), dict[str, str]()
    for name in ("points", "at_most", "cap"):
        try:
            if name == "points" or entered.get(name):
                numbers[name] = parse(entered[name])
        except Refusal as refusal:
            errors[name] = refusal_sentence(refusal)
    if entered["group"] and not entered["cap"]:
        errors.setdefault("cap", "A group shares a limit: type the maximum points.")
    return numbers, errors


def _place_rule(live: ScoreType, rule: Rule, old: str | None) -> tuple[Rule, ...]:
    """Return the rules with *rule* in place of the rule called *old*, or at the end if *old* is None.

    The other rules in the group of *rule* take over its limit.
    """
    others = [rule if existing.name == old else existing for existing in live.rules]
    if old is None:
        others.append(rule)
    group = rule.cap.group if rule.cap else None
    return tuple(
        replace(other, cap=rule.cap)
        if group is not None and other.cap is not None and other.cap.group == group
        else other
        for other in others
    )
