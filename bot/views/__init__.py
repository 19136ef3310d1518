"""Map callback ids of forms to handlers, and action ids of their menus to the functions that list the options."""

from collections.abc import Awaitable, Callable

from bot.blocks import alert_modal, delete_modal, rules, set_modal, settings, sources
from bot.slack.access import Need
from bot.slack.handling import Block, Reply, Request
from bot.views.alert import submit_alert
from bot.views.delete_contact import submit_deletion
from bot.views.rule import submit_rule
from bot.views.score_type import submit_type
from bot.views.set_score import offer_contacts, submit_scores
from bot.views.source import submit_rotation, submit_source

# Callback id → the permission that submitting requires, and the handler.
VIEWS: dict[str, tuple[Need, Callable[[Request], Awaitable[Reply]]]] = {
    set_modal.CALLBACK: (Need.SET, submit_scores),
    alert_modal.CALLBACK: (Need.SET, submit_alert),
    delete_modal.CALLBACK: (Need.ADMINISTER, submit_deletion),
    settings.CALLBACK: (Need.ADMINISTER, submit_type),
    rules.CALLBACK: (Need.ADMINISTER, submit_rule),
    sources.CALLBACK: (Need.ADMINISTER, submit_source),
    sources.ROTATE: (Need.ADMINISTER, submit_rotation),
}
OPTIONS: dict[str, Callable[[Request], Awaitable[list[Block]]]] = {"contact": offer_contacts}
