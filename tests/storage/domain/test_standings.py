"""When a source that worked counts as broken."""

import pytest

from storage.domain.source_health import DAY, HOUR, Seen, SourceHealth, judge_health

WELL = {
    "known_for": 30 * DAY, "deliveries": 5, "quiet_for": 0, "longest_pause": 4 * HOUR, "refused": 0, "unusable": 0,
    "unusable_items": 0,
}  # fmt: skip  # a busy source


@pytest.mark.parametrize(
    ("otherwise", "standing"),
    [
        ({}, SourceHealth.WORKS),
        ({"refused": 2}, SourceHealth.WORKS),  # anybody who finds the address can send wrong requests
        ({"refused": 3}, SourceHealth.REFUSED),
        ({"unusable": 2, "unusable_items": 49}, SourceHealth.WORKS),
        ({"unusable": 3, "unusable_items": 3}, SourceHealth.UNUSABLE),
        ({"unusable": 1, "unusable_items": 50}, SourceHealth.UNUSABLE),
        ({"refused": 3, "unusable": 3}, SourceHealth.REFUSED),
        ({"quiet_for": 6 * HOUR}, SourceHealth.WORKS),  # one and a half times its longest pause
        ({"quiet_for": 6 * HOUR + 1}, SourceHealth.SILENT),
        ({"quiet_for": HOUR, "longest_pause": 0}, SourceHealth.WORKS),
        ({"quiet_for": HOUR + 1, "longest_pause": 0}, SourceHealth.SILENT),
        ({"quiet_for": 93 * HOUR, "longest_pause": 62 * HOUR}, SourceHealth.WORKS),  # from Friday evening to Tuesday
        ({"quiet_for": 3 * DAY, "known_for": 7 * DAY - 1}, SourceHealth.WORKS),  # its weekends are not known yet
        ({"quiet_for": 3 * DAY + 1, "known_for": 7 * DAY - 1}, SourceHealth.SILENT),
        ({"quiet_for": 30 * DAY, "deliveries": 4}, SourceHealth.WORKS),  # too few deliveries for a usual pause
    ],
)
def test_a_source_is_judged_by_what_it_did_before(otherwise: dict[str, int], standing: SourceHealth) -> None:
    """A source is judged by refused requests, by unusable items and by its own longest pause."""
    assert judge_health(Seen(**WELL | otherwise)) is standing
