"""Decide whether a source still works: its requests are accepted, its items can be used, deliveries keep coming."""

from enum import StrEnum

DAY = 86_400_000_000
#: the number of refused requests in a row, or of unusable deliveries in a row, that marks a source as failing
IN_A_ROW = 3
#: a source is silent after SILENCE without a delivery, if its last BUSY deliveries arrived within BUSY_WITHIN
SILENCE, BUSY, BUSY_WITHIN = 3 * DAY, 5, 7 * DAY


class SourceHealth(StrEnum):
    """The health of a source."""

    WORKS = "works"
    REFUSED = "refused"  #: its requests fail authentication
    UNUSABLE = "unusable"  #: every item it sends is quarantined
    SILENT = "silent"  #: no delivery arrived for days


def judge_health(*, refused: int, unusable: int, recent: int, quiet_for: int) -> SourceHealth:
    """Return the health of a source.

    *refused* and *unusable* count its latest refused requests and unusable deliveries in a row. *recent* counts its
    deliveries in the time BUSY_WITHIN before its last one. *quiet_for* is the time in µs since its last delivery, or
    since it was configured or resumed.
    """
    if refused >= IN_A_ROW:
        return SourceHealth.REFUSED
    if unusable >= IN_A_ROW:
        return SourceHealth.UNUSABLE
    if recent >= BUSY and quiet_for > SILENCE:
        return SourceHealth.SILENT
    return SourceHealth.WORKS
