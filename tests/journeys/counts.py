"""Keep what the journeys counted, to be said at the end of the run."""

from collections import Counter

COUNTS: Counter[str] = Counter()
