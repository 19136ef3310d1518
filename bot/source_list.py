"""Load and render the list of sources."""

from bot.blocks.sources import PER_PAGE, Listed, sources_reply
from bot.slack.handling import Reply, Request
from storage.domain.source_health import SourceHealth
from storage.sources.config import sources
from storage.sources.deliveries import count_quarantined, count_recent
from storage.sources.health import list_troubled


async def sources_page(request: Request, *, first: int = 0) -> Reply:
    """Return the page of sources that starts at index *first*, with recent deliveries, health and quarantine."""
    all_sources = await sources(request.workspace)
    quarantined, unhealthy = await count_quarantined(request.workspace), await list_troubled(request.workspace)
    listed = [
        Listed(
            source=source.at(request.now),
            recent=await count_recent(request.workspace, source=source.id, now=request.now),
            health=unhealthy.get(source.slug, SourceHealth.WORKS),
            quarantined=quarantined.get(source.slug, 0),
        )
        for source in all_sources[first : first + PER_PAGE]
    ]
    return sources_reply(listed, first=first, total=len(all_sources))
