"""Take the form that makes or changes a rule."""

from dataclasses import replace

from bot.blocks.refusals import refusal_sentence
from bot.definition_changes import propose_change
from bot.slack.handling import Reply, Request
from storage.domain.errors import BadDefinition, Refusal
from storage.domain.numbers import parse
from storage.domain.rules import check_rules
from storage.domain.score_types import Rule, RuleCap, ScoreType


async def submit_rule(asked: Request) -> Reply:
    """Show what a score type would be with this rule."""
    old = asked.metadata["rule"]
    live = asked.type(asked.metadata["type"] or asked.fields["type"])
    if old is not None and live.number != asked.metadata["number"]:
        changed = f"The rules of {live.label} were changed since this form was opened. Press Cancel, and open it again."
        return Reply(errors={"name": changed})
    entered = {name: (value or "").strip() for name, value in asked.fields.items()}
    points, cap, errors = _numbers(entered)
    if errors:
        return Reply(errors=errors)
    rule = Rule(name=entered["name"], points=points, activity=entered["activity"] or None, condition=entered["if"])
    capped = RuleCap(points=cap, period=entered["per"]) if cap is not None else None
    grouped = replace(capped, group=entered["group"] or None) if capped is not None else None
    stages = (
        ("name", Rule(name=rule.name, points=live.step, activity="-")),
        ("points", Rule(name=rule.name, points=points, activity="-")),
        ("if", replace(rule, activity="-")),
        ("activity", rule),
        ("cap", replace(rule, cap=capped)),
        ("group", replace(rule, cap=grouped)),
    )
    wanted = live
    for field, one in stages:
        wanted = replace(live, rules=_placed(live, one, old))
        try:
            check_rules(wanted.rules, live)
        except BadDefinition as refusal:
            return Reply(errors={field: refusal_sentence(refusal)})
    return await propose_change(asked, wanted)


def _numbers(entered: dict[str, str]) -> tuple[int, int | None, dict[str, str]]:
    """Read points and limit; what cannot be read is said under its field."""
    read, errors = dict[str, int](), dict[str, str]()
    for name in ("points", "cap"):
        try:
            if name == "points" or entered[name]:
                read[name] = parse(entered[name])
        except Refusal as refusal:
            errors[name] = refusal_sentence(refusal)
    if entered["group"] and not entered["cap"]:
        errors.setdefault("cap", "What a group shares is a limit: say of how many points.")
    return read.get("points", 0), read.get("cap"), errors


def _placed(live: ScoreType, rule: Rule, old: str | None) -> tuple[Rule, ...]:
    """Give the rules with *rule* in the place of the old one, or at the end; its group shares its limit."""
    others = [rule if one.name == old else one for one in live.rules]
    if old is None:
        others.append(rule)
    group = rule.cap.group if rule.cap else None
    return tuple(
        replace(one, cap=rule.cap) if group is not None and one.cap is not None and one.cap.group == group else one
        for one in others
    )
