"""List the forms that can be handed in, and the lists that their menus offer."""

from collections.abc import Awaitable, Callable

from bot.access import Need
from bot.asking import Asked, Block, Reply
from bot.blocks.delete_modal import CALLBACK as DELETE
from bot.blocks.set_modal import CALLBACK as SET
from bot.views.delete_contact import submit_deletion
from bot.views.set_score import offer_contacts, submit_scores

# Each with what whoever hands it in must be allowed.
VIEWS: dict[str, tuple[Need, Callable[[Asked], Awaitable[Reply]]]] = {
    SET: (Need.SET, submit_scores),
    DELETE: (Need.ADMINISTER, submit_deletion),
}
OPTIONS: dict[str, Callable[[Asked], Awaitable[list[Block]]]] = {"contact": offer_contacts}
