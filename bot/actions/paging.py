"""Turn the pages of a filter's answer, and share one."""

from dataclasses import replace

from bot.blocks.contact_list import shared_reply
from bot.filter_pages import FilterPage, answer_filter
from bot.slack.handling import Reply, Request


async def turn_page(request: Request) -> Reply:
    """Show the page that the button names, in the place of the one it stands under."""
    return replace(await answer_filter(request, FilterPage.read(request.text)), replaces=True)


async def share_page(request: Request) -> Reply:
    """Post the page that the button names to the channel, as it stands now."""
    return shared_reply(await answer_filter(request, FilterPage.read(request.text)), by=request.person.id)
