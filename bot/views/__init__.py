"""List the forms that can be handed in, and the lists that their menus offer."""

from collections.abc import Awaitable, Callable

from bot.asking import Asked, Block, Reply
from bot.blocks.set_modal import CALLBACK
from bot.views.set_score import offer_contacts, submit_scores

VIEWS: dict[str, Callable[[Asked], Awaitable[Reply]]] = {CALLBACK: submit_scores}
OPTIONS: dict[str, Callable[[Asked], Awaitable[list[Block]]]] = {"contact": offer_contacts}
