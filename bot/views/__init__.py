"""List the forms that can be handed in, and the lists that their menus offer."""

from collections.abc import Awaitable, Callable

from bot.access import Need
from bot.asking import Asked, Block, Reply
from bot.blocks import alert_modal
from bot.blocks.set_modal import CALLBACK
from bot.views.alert import submit_alert
from bot.views.set_score import offer_contacts, submit_scores

# Each with what whoever hands it in must be allowed.
VIEWS: dict[str, tuple[Need, Callable[[Asked], Awaitable[Reply]]]] = {
    CALLBACK: (Need.SET, submit_scores),
    alert_modal.CALLBACK: (Need.SET, submit_alert),
}
OPTIONS: dict[str, Callable[[Asked], Awaitable[list[Block]]]] = {"contact": offer_contacts}
