"""Decide whether a source still works: its requests are accepted, its items can be used, deliveries keep coming."""

from dataclasses import dataclass
from enum import StrEnum

HOUR = 3_600_000_000
DAY = 24 * HOUR
#: the number of refused requests in a row, or of unusable deliveries in a row, that marks a source as failing
IN_A_ROW = 3
#: the number of unusable items in unusable deliveries in a row that marks a source as failing, even in one delivery
ITEMS = 50
#: a source with fewer deliveries is never silent, because its usual pauses are not known yet
FEWEST = 5
#: the shortest pause that counts as silence; a source known for less than KNOWN may not have had a weekend yet
SHORTEST, SHORTEST_AT_FIRST, KNOWN = HOUR, 3 * DAY, 7 * DAY


class SourceHealth(StrEnum):
    """The health of a source."""

    WORKS = "works"
    REFUSED = "refused"  #: its requests fail authentication
    UNUSABLE = "unusable"  #: every item it sends is quarantined
    SILENT = "silent"  #: no delivery arrived for longer than usual


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Statistics about the deliveries of a source. Times in µs."""

    known_for: int  #: the time since the oldest stored delivery
    deliveries: int  #: the number of stored deliveries, possibly counted only up to a limit
    quiet_for: int  #: the time since the last delivery, or since the source was configured or resumed
    longest_pause: int  #: the longest time between two stored deliveries
    refused: int  #: the number of latest requests in a row that were refused
    unusable: int  #: the number of latest deliveries in a row without a usable item
    unusable_items: int  #: the number of items in these deliveries, counted up to ITEMS


def judge_health(stats: Seen) -> SourceHealth:
    """Return the health of a source."""
    if stats.refused >= IN_A_ROW:
        return SourceHealth.REFUSED
    if stats.unusable >= IN_A_ROW or stats.unusable_items >= ITEMS:
        return SourceHealth.UNUSABLE
    if stats.deliveries >= FEWEST and stats.quiet_for > silent_after(stats):
        return SourceHealth.SILENT
    return SourceHealth.WORKS


def silent_after(stats: Seen) -> int:
    """Return the time in µs without a delivery after which a source is silent.

    The time is 1.5 times the longest pause of the source, but not less than SHORTEST or SHORTEST_AT_FIRST.
    """
    shortest = SHORTEST if stats.known_for >= KNOWN else SHORTEST_AT_FIRST
    return max(stats.longest_pause * 3 // 2, shortest)
