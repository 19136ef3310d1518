"""Turn the pages of a filter's answer, and share one."""

from dataclasses import replace

from bot.blocks.contact_list import shared_reply
from bot.filter_pages import FilterPage, answer_filter
from bot.slack.handling import Reply, Request


async def turn_page(asked: Request) -> Reply:
    """Show the page that the button names, in the place of the one it stands under."""
    return replace(await answer_filter(asked, FilterPage.read(asked.text)), replaces=True)


async def share_page(asked: Request) -> Reply:
    """Post the page that the button names to the channel, as it stands now."""
    return shared_reply(await answer_filter(asked, FilterPage.read(asked.text)), by=asked.person.id)
