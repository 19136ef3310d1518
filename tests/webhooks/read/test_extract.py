"""Read times and texts as CRMs write them, and refuse what cannot be stored."""

from decimal import Decimal

import pytest

from storage.domain.errors import BadItem, BadTime
from webhooks.read.extract import moment, text

AT = 1_769_851_800_000_000  # 2026-01-31T09:30:00Z in µs
TIMES: list[tuple[object, int | None]] = [
    (1_769_851_800, AT),
    ("1769851800", AT),
    (" 1769851800.25 ", AT + 250_000),
    (1_769_851_800_000, AT),
    (Decimal("1769851800000.5"), AT + 500),
    (1_769_851_800_000_000, AT),
    (0, 0),
    (253_402_300_799, 253_402_300_799_000_000),  # the last second of the year 9999
    (253_402_300_800, 253_402_300_800_000),  # too large for seconds: milliseconds, in 1978
    ("2026-01-31T09:30:00Z", AT),
    ("2026-01-31T09:30:00", AT),  # without a zone: UTC
    ("2026-01-31 09:30 utc", AT),
    ("2026-01-31t10:30:00.5+0100", AT + 500_000),
    ("2026-01-31T04:00:00.123456789-05:30", AT + 123_456),
    ("2026-01-31 11:30:00+02", AT),  # as PostgreSQL writes it
    ("2026-01-31", AT - 34_200_000_000),
    (None, None),
    ("", None),
]
NO_TIMES: list[object] = [
    True, -1, 253_402_300_800_000_000, Decimal("NaN"), Decimal("Infinity"), 1.5, [], "yesterday", "31.01.2026",
    "2026-02-30", "2026-01-31T25:00", "2026-01-31T09:30+25:00", "2026-01-31T09:30+5", "1e9", "٣",
]  # fmt: skip  # invalid times


@pytest.mark.parametrize(("value", "at"), TIMES, ids=[repr(value) for value, _ in TIMES])
def test_times_in_every_form(value: object, at: int | None) -> None:
    """Times are numbers of seconds, milliseconds or microseconds, or text with a zone or in UTC."""
    assert moment(value) == at


@pytest.mark.parametrize("value", NO_TIMES, ids=repr)
def test_what_is_no_time(value: object) -> None:
    """An invalid time is refused in a sentence that repeats it."""
    with pytest.raises(BadTime) as error:
        moment(value)
    assert str(error.value).startswith(f"`{value}` is not a time")


def test_texts() -> None:
    """Integers become text, surrounding spaces are stripped, and a blank or any other type is no text."""
    assert [text(value) for value in (" Ada ", 17, "x" * 255, " ", "", None, True, 1.5, ["Ada"])] == [
        "Ada", "17", "x" * 255, None, None, None, None, None, None,
    ]  # fmt: skip  # one text for each value
    with pytest.raises(BadItem, match=r"^`xxxxxxxxxxxxxxxxxxxx…` is longer than 255 characters$"):
        text("x" * 256)
    for value in ("A\0da", "Ada\ud83d"):
        with pytest.raises(BadItem, match=r"^a text in it holds "):
            text(value)
