"""Handle the buttons and menus of scoring rules."""

from dataclasses import replace

from bot.blocks.scoring import rule_modal, rules_reply
from bot.definition_changes import propose_change
from bot.slack.handling import Outlived, Reply, Request


async def turn_rules(request: Request) -> Reply:
    """Show the page of rules that starts at the index in the button's value."""
    first = int(request.text) if request.text.isascii() and request.text.isdecimal() else 0
    return replace(rules_reply(request.types, first=first), replaces=True)


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
        raise Outlived
    rule = live.rules[int(index)]
    if action == "change":
        return Reply(modal=rule_modal(request.types, score_type=live, rule=rule))
    return await propose_change(request, replace(live, rules=tuple(other for other in live.rules if other != rule)))
