"""Handle the buttons under a filter's result: other pages, and sharing."""

from dataclasses import replace

from bot.blocks.lists import shared_reply
from bot.filter_pages import FilterPage, answer_filter
from bot.slack.handling import Reply, Request


async def turn_page(request: Request) -> Reply:
    """Show the page in the button's value, in place of the current one."""
    return replace(await answer_filter(request, FilterPage.read(request.text)), replaces=True)


async def share_page(request: Request) -> Reply:
    """Post the page in the button's value to the channel, with current values."""
    return shared_reply(await answer_filter(request, FilterPage.read(request.text)), by=request.person.id)
