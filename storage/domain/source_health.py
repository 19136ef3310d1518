"""Judge whether a source that worked still does: what it sends is let in, can be used, and comes as it used to."""

from dataclasses import dataclass
from enum import StrEnum

HOUR = 3_600_000_000
DAY = 24 * HOUR
#: so many requests in a row that are refused, or deliveries in a row of which nothing can be used
IN_A_ROW = 3
#: a batch of which so many items cannot be used, and none can, is enough by itself
ITEMS = 50
#: who delivered less often has no habit yet
FEWEST = 5
#: nobody is silent before: an hour for who has been known for a week, with a weekend in it, else three days
SHORTEST, SHORTEST_AT_FIRST, KNOWN = HOUR, 3 * DAY, 7 * DAY


class SourceHealth(StrEnum):
    """How a source stands."""

    WORKS = "works"
    REFUSED = "refused"  #: it does not prove any more who it is
    UNUSABLE = "unusable"  #: all that it sends is set aside
    SILENT = "silent"  #: nothing comes


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of a source that worked. Times and spans in µs."""

    known_for: int  #: since its first delivery that is kept
    deliveries: int  #: that are kept, counted as far as it matters
    quiet_for: int  #: since its last delivery, or since it was set or resumed
    longest_pause: int  #: between two deliveries that are kept
    refused: int  #: requests in a row, up to now
    unusable: int  #: deliveries in a row, up to now, of which nothing could be used
    unusable_items: int  #: in these


def judge_health(stats: Seen) -> SourceHealth:
    """Say how a source stands that worked so far."""
    if stats.refused >= IN_A_ROW:
        return SourceHealth.REFUSED
    if stats.unusable >= IN_A_ROW or stats.unusable_items >= ITEMS:
        return SourceHealth.UNUSABLE
    if stats.deliveries >= FEWEST and stats.quiet_for > silent_after(stats):
        return SourceHealth.SILENT
    return SourceHealth.WORKS


def silent_after(stats: Seen) -> int:
    """Say how long a source may be quiet: half as long again as it ever was, and not too short."""
    shortest = SHORTEST if stats.known_for >= KNOWN else SHORTEST_AT_FIRST
    return max(stats.longest_pause * 3 // 2, shortest)
