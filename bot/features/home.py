"""The Home tab, which is made of the sections of other features and of examples of what to type."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from bot.blocks.elements import context, section
from bot.slack.handling import Block, Reply, Request

#: returns the blocks of one section, or nothing if there is nothing to show
HomeSection: TypeAlias = Callable[[Request], Awaitable[Sequence[Block]]]


async def home_reply(request: Request, home_sections: Sequence[HomeSection]) -> Reply:
    """Return the Home tab: the sections with a line below each, and examples."""
    blocks: list[Block] = []
    for list_blocks in home_sections:
        if shown := await list_blocks(request):
            blocks += [*shown, {"type": "divider"}]
    blocks.append(section("*What to type*\n`/score ada@example.com` · `/score top 10` · `/score help`"))
    blocks.append(context("Scores are for members of this workspace; a contact never sees one."))
    return Reply(text="Contact Score", blocks=blocks)
