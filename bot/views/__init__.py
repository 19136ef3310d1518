"""Map callback ids of forms to handlers, and action ids of their menus to the functions that list the options."""

from collections.abc import Awaitable, Callable

from bot.blocks.alerts import ALERT_FORM
from bot.blocks.delete import DELETE_FORM
from bot.blocks.scores import SET_FORM
from bot.blocks.scoring import RULE_FORM, TYPE_FORM
from bot.blocks.sources import ROTATE_FORM, SOURCE_FORM
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
    SET_FORM: (Need.SET, submit_scores),
    ALERT_FORM: (Need.SET, submit_alert),
    DELETE_FORM: (Need.ADMINISTER, submit_deletion),
    TYPE_FORM: (Need.ADMINISTER, submit_type),
    RULE_FORM: (Need.ADMINISTER, submit_rule),
    SOURCE_FORM: (Need.ADMINISTER, submit_source),
    ROTATE_FORM: (Need.ADMINISTER, submit_rotation),
}
OPTIONS: dict[str, Callable[[Request], Awaitable[list[Block]]]] = {"contact": offer_contacts}
