"""When a source that worked counts as broken."""

import pytest

from storage.domain.source_health import DAY, SourceHealth, judge_health

BUSY = {"refused": 0, "unusable": 0, "recent": 5, "quiet_for": 0}


@pytest.mark.parametrize(
    ("otherwise", "standing"),
    [
        ({}, SourceHealth.WORKS),
        ({"refused": 2}, SourceHealth.WORKS),  # anybody who finds the address can send wrong requests
        ({"refused": 3}, SourceHealth.REFUSED),
        ({"unusable": 2}, SourceHealth.WORKS),
        ({"unusable": 3}, SourceHealth.UNUSABLE),
        ({"refused": 3, "unusable": 3}, SourceHealth.REFUSED),
        ({"quiet_for": 3 * DAY}, SourceHealth.WORKS),  # from Friday evening to Monday evening
        ({"quiet_for": 3 * DAY + 1}, SourceHealth.SILENT),
        ({"quiet_for": 30 * DAY, "recent": 4}, SourceHealth.WORKS),  # days without a delivery are usual for it
    ],
)
def test_a_source_is_judged_by_a_fixed_rule(otherwise: dict[str, int], standing: SourceHealth) -> None:
    """A source is judged by refused requests, by unusable deliveries, and by days of silence after busy days."""
    assert judge_health(**BUSY | otherwise) is standing
