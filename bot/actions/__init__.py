"""Map action ids of buttons and menus to handlers; an action id may end with a colon and a number."""

from collections.abc import Awaitable, Callable

from bot.actions.alert import open_alert_form, show_more
from bot.actions.followup import choose_outcome, claim, finish, show_steps, snooze, turn_list
from bot.actions.owner import become_owner
from bot.actions.paging import share_page, turn_page
from bot.actions.rules import change_rule, open_rule_form, turn_rules
from bot.actions.score import open_form, show_chart, show_history, undo_change
from bot.actions.settings import (
    apply_and_ask,
    apply_quietly,
    cancel_draft,
    open_type_form,
    preview_draft,
    revert_definition,
    turn_settings,
)
from bot.actions.setup import choose_direct_messages, choose_here, choose_place, choose_who_sets, dismiss_question
from bot.actions.sources import (
    open_rotate_form,
    open_source_form,
    pause_source,
    replay_source,
    resume_source,
    show_quarantine,
    show_source,
    try_source,
    turn_sources,
)
from bot.slack.access import Need
from bot.slack.handling import Reply, Request

# Action id → the permission that a click requires, and the handler.
ACTIONS: dict[str, tuple[Need, Callable[[Request], Awaitable[Reply]]]] = {
    "undo": (Need.SET, undo_change),
    "history": (Need.SEE, show_history),
    "chart": (Need.SEE, show_chart),
    "set": (Need.SET, open_form),
    "page": (Need.SEE, turn_page),
    "share": (Need.SEE, share_page),
    "claim": (Need.SEE, claim),
    "snooze": (Need.SEE, snooze),
    "done": (Need.SEE, finish),
    "outcome": (Need.SEE, choose_outcome),
    "follow_up_menu": (Need.SEE, show_steps),
    "followups": (Need.SEE, turn_list),
    "alert_form": (Need.SET, open_alert_form),
    "alert_more": (Need.SET, show_more),
    "owner": (Need.SET, become_owner),
    "setup_channel": (Need.ADMINISTER, choose_place),
    "setup_direct": (Need.ADMINISTER, choose_direct_messages),
    "setup_setters": (Need.ADMINISTER, choose_who_sets),
    "setup_here": (Need.SEE, choose_here),
    "setup_no": (Need.SEE, dismiss_question),
    "settings": (Need.ADMINISTER, turn_settings),
    "type_form": (Need.ADMINISTER, open_type_form),
    "draft_preview": (Need.ADMINISTER, preview_draft),
    "draft_apply": (Need.ADMINISTER, apply_quietly),
    "draft_ask": (Need.ADMINISTER, apply_and_ask),
    "draft_cancel": (Need.ADMINISTER, cancel_draft),
    "draft_back": (Need.ADMINISTER, revert_definition),
    "rules": (Need.ADMINISTER, turn_rules),
    "rule_form": (Need.ADMINISTER, open_rule_form),
    "rule_menu": (Need.ADMINISTER, change_rule),
    "sources": (Need.ADMINISTER, turn_sources),
    "source_form": (Need.ADMINISTER, open_source_form),
    "source_show": (Need.ADMINISTER, show_source),
    "source_try": (Need.ADMINISTER, try_source),
    "source_pause": (Need.ADMINISTER, pause_source),
    "source_resume": (Need.ADMINISTER, resume_source),
    "source_rotate": (Need.ADMINISTER, open_rotate_form),
    "source_aside": (Need.ADMINISTER, show_quarantine),
    "source_replay": (Need.ADMINISTER, replay_source),
}
