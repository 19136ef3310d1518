"""List what the buttons and menus of our messages do; an action id may carry a number after a colon."""

from collections.abc import Awaitable, Callable

from bot.access import Need
from bot.actions.alert import open_alert_form, show_more
from bot.actions.followup import claim, finish, snooze, tell_what_came_of_it, turn_list
from bot.actions.owner import become_owner
from bot.actions.paging import share_page, turn_page
from bot.actions.score import open_form, show_chart, show_history, take_back
from bot.actions.setup import choose_here, choose_place, choose_who_sets, go_direct, leave_it
from bot.asking import Asked, Reply

# Each with what whoever clicks must be allowed.
ACTIONS: dict[str, tuple[Need, Callable[[Asked], Awaitable[Reply]]]] = {
    "undo": (Need.SET, take_back),
    "history": (Need.SEE, show_history),
    "chart": (Need.SEE, show_chart),
    "set": (Need.SET, open_form),
    "page": (Need.SEE, turn_page),
    "share": (Need.SEE, share_page),
    "claim": (Need.SEE, claim),
    "snooze": (Need.SEE, snooze),
    "done": (Need.SEE, finish),
    "outcome": (Need.SEE, tell_what_came_of_it),
    "followups": (Need.SEE, turn_list),
    "alert_form": (Need.SET, open_alert_form),
    "alert_more": (Need.SET, show_more),
    "owner": (Need.SET, become_owner),
    "setup_channel": (Need.ADMINISTER, choose_place),
    "setup_direct": (Need.ADMINISTER, go_direct),
    "setup_setters": (Need.ADMINISTER, choose_who_sets),
    "setup_here": (Need.SEE, choose_here),
    "setup_no": (Need.SEE, leave_it),
}
