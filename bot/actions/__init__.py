"""List what the buttons of our messages do; an action id may carry a number after a colon."""

from collections.abc import Awaitable, Callable

from bot.actions.paging import share_page, turn_page
from bot.actions.score import open_form, show_history, take_back
from bot.asking import Asked, Reply

ACTIONS: dict[str, Callable[[Asked], Awaitable[Reply]]] = {
    "undo": take_back,
    "history": show_history,
    "set": open_form,
    "page": turn_page,
    "share": share_page,
}
