"""How values of attributes are compared: as texts, as numbers and as instants."""

import pytest

from storage.domain.attributes import MOST_IN_KEY, has_value, index_key, index_value, list_texts, read_instant
from storage.domain.contacts import Json
from storage.domain.numbers import LARGEST_COMPARED, read_millionths

NUMBERS: dict[object, int | None] = {
    0: 0, -7: -7_000_000, 50.5: 50_500_000, " 50 ": 50_000_000, "+1e2": 100_000_000, ".5": 500_000,
    "50.0000005": 50_000_000, "50.0000015": 50_000_002, "-50.0000025": -50_000_002, 1e-9: 0,
    2_000_000_000: 2 * 10**15, 10**400: LARGEST_COMPARED, "-1e99": -LARGEST_COMPARED, "9" * 40: LARGEST_COMPARED,
    "9" * 41: None, "1,000": None, "5 %": None, "n/a": None, "": None, "1" + " " * 100: None,
    float("inf"): None, float("nan"): None, "Infinity": None, "0x10": None, "１": None,
}  # fmt: skip  # a value → millionths
JANUARY = 1_767_225_600_000_000
INSTANTS: dict[Json, int | None] = {
    "2026-01-01": JANUARY, "2026-01-01T01:00:00+01:00": JANUARY, "2026-01-01 00:00:00.5": JANUARY + 500_000,
    " 2026-01-01T00:00Z ": JANUARY, 1_767_225_600: JANUARY, "1767225600000": JANUARY, JANUARY: JANUARY,
    1_767_225_601.0: JANUARY + 1_000_000, "0001-01-01": -62_135_596_800_000_000, 100_051_200: 100_051_200_000_000,
    100_051_199: None, 5: None, -5: None, 10**20: None, "2026-13-01": None, "01.02.2026": None, "yesterday": None,
    "": None, None: None, "9 lives": None,
}  # fmt: skip  # a value → µs since 1970


@pytest.mark.parametrize(("value", "millionths"), NUMBERS.items(), ids=[f"{value!r:.50}" for value in NUMBERS])
def test_numbers_are_compared_exactly_to_six_digits(value: object, millionths: int | None) -> None:
    """A number, or a text that holds a number, is compared in millionths and may be larger than a score."""
    assert read_millionths(value) == millionths


@pytest.mark.parametrize(("value", "instant"), INSTANTS.items(), ids=[f"{value!r}" for value in INSTANTS])
def test_an_instant_is_read_as_programs_write_it(value: Json, instant: int | None) -> None:
    """An instant is parsed as programs write it; a small number is no instant."""
    assert read_instant(value) == instant


def test_what_is_neither_a_number_nor_a_text_has_no_number_and_no_instant() -> None:
    """Booleans, null, lists and objects have neither a number nor an instant."""
    values: tuple[Json, ...] = (True, None, [5], ["2026-01-01"], {"a": 5})
    assert [(read_millionths(value), read_instant(value)) for value in values] == [(None, None)] * len(values)


def test_each_element_of_a_list_is_a_text_of_its_own() -> None:
    """Each element of a list is compared as a text; null and blank elements are left out."""
    assert list_texts(["Pro", "ＰＲＯ", None, 5, True]) == ["pro", "pro", "5", "true"]
    assert [keys.key for keys in index_value(["Pro", "ＰＲＯ", None, 5])] == ["pro", "5"]
    values: tuple[Json, ...] = (None, "", " ", [], [None, ""], "x", 0, False, ["", "x"])
    assert [has_value(value) for value in values] == [False, False, False, False, False, True, True, True, True]


def test_a_long_text_is_stored_short_and_still_differs_from_another() -> None:
    """A long text is stored as a short key that differs from other texts, because indexes limit the length."""
    longest, longer, other = "x" * MOST_IN_KEY, "x" * (MOST_IN_KEY + 1), "x" * MOST_IN_KEY + "y"

    assert index_key(longest) == longest
    assert len({index_key(longest), index_key(longer), index_key(other)}) == 3
    assert max(len(index_key(text)) for text in (longer, "ß" * 10_000)) < 300
