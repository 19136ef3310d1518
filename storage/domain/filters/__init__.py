"""Parse filters and match contacts: `score>=80 -tag:churned sort:-score limit:20`."""

from storage.domain.filters.errors import BadFilter
from storage.domain.filters.parse import list_segments, parse, with_addresses
from storage.domain.filters.terms import Candidate, Filter, Sort, Words

__all__ = [
    "BadFilter",
    "Candidate",
    "Filter",
    "Sort",
    "Words",
    "list_segments",
    "parse",
    "with_addresses",
]
