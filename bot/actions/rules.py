"""Act on the buttons and menus under rules."""

from dataclasses import replace

from bot.blocks.rules import rule_modal, rules_reply
from bot.definition_changes import propose_change
from bot.slack.handling import Outlived, Reply, Request


async def turn_rules(asked: Request) -> Reply:
    """Show the rules from the place on that the button names."""
    first = int(asked.text) if asked.text.isascii() and asked.text.isdecimal() else 0
    return replace(rules_reply(asked.types, first=first), replaces=True)


async def open_rule_form(asked: Request) -> Reply:
    """Open the form of a new rule."""
    return Reply(modal=rule_modal(asked.types))


async def change_rule(asked: Request) -> Reply:
    """Change or remove the rule that the menu names; where the rules are others by now, they are shown anew."""
    what, key, number, place = (*asked.text.split(" "), "", "", "")[:4]
    live = asked.type(key)
    if str(live.number) != number:
        return replace(rules_reply(asked.types), replaces=True)
    if not place.isdecimal() or int(place) >= len(live.rules):
        raise Outlived
    rule = live.rules[int(place)]
    if what == "change":
        return Reply(modal=rule_modal(asked.types, of=live, rule=rule))
    return await propose_change(asked, replace(live, rules=tuple(one for one in live.rules if one != rule)))
