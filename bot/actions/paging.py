"""Turn the pages of a filter's answer."""

from dataclasses import replace

from bot.asking import Asked, Reply
from bot.filtering import Place, answer_filter


async def turn_page(asked: Asked) -> Reply:
    """Show the page that the button names, in the place of the one it stands under."""
    return replace(await answer_filter(asked, Place.read(asked.text)), replaces=True)
