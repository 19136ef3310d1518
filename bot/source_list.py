"""Look up the sources of a workspace for whoever lists them."""

from bot.blocks.sources import PER_PAGE, Listed, sources_reply
from bot.slack.handling import Reply, Request
from storage.domain.source_health import SourceHealth
from storage.sources.config import sources
from storage.sources.deliveries import count_quarantined, count_recent
from storage.sources.health import list_troubled


async def sources_page(asked: Request, *, first: int = 0) -> Reply:
    """Answer with some of the sources, from place *first* on, and what came of each lately."""
    known = await sources(asked.workspace)
    aside, wrong = await count_quarantined(asked.workspace), await list_troubled(asked.workspace)
    shown = [
        Listed(
            source=one.at(asked.now),
            lately=await count_recent(asked.workspace, source=one.id, now=asked.now),
            standing=wrong.get(one.slug, SourceHealth.WORKS),
            waiting=aside.get(one.slug, 0),
        )
        for one in known[first : first + PER_PAGE]
    ]
    return sources_reply(shown, first=first, total=len(known))
