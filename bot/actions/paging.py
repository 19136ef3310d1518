"""Turn the pages of a filter's answer, and share one."""

from dataclasses import replace

from bot.blocks.contact_list import shared_reply
from bot.filter_pages import Place, answer_filter
from bot.slack.handling import Asked, Reply


async def turn_page(asked: Asked) -> Reply:
    """Show the page that the button names, in the place of the one it stands under."""
    return replace(await answer_filter(asked, Place.read(asked.text)), replaces=True)


async def share_page(asked: Asked) -> Reply:
    """Post the page that the button names to the channel, as it stands now."""
    return shared_reply(await answer_filter(asked, Place.read(asked.text)), by=asked.person.id)
