"""Score types: valid definitions, valid values and the edges of bands."""

import pytest

from storage.domain.errors import BadDefinition, BadName, BadNumber, OffStep, OutOfRange
from storage.domain.score_types import Band, ScoreType, check_definition, check_key, parse_band


def score_type(
    bands: tuple[Band, ...] = (), *, minimum: int = 0, maximum: int = 100_000, step: int = 1_000
) -> ScoreType:
    """Return a score type called Fit."""
    return ScoreType(
        id=1, definition=1, number=1, key="fit", label="Fit",
        minimum=minimum, maximum=maximum, step=step, start=minimum, bands=bands,
    )  # fmt: skip  # the numbers of one definition stand together


BANDS = (Band(name="cold", start=0), Band(name="warm", start=40_000), Band(name="hot", start=80_000))

IN_BANDS = [
    (0, "cold"),
    (39_999, "cold"),  # the last thousandth below an edge
    (40_000, "warm"),  # the edge itself
    (79_000, "warm"),
    (80_000, "hot"),
    (100_000, "hot"),
    (None, None),  # missing: in no band
]


@pytest.mark.parametrize(("value", "band"), IN_BANDS)
def test_a_band_reaches_from_its_edge_up_to_the_next(value: int | None, band: str | None) -> None:
    """A band includes its lower edge and excludes the next band's edge."""
    assert score_type(BANDS).band(value) == band


def test_a_type_without_bands_names_none() -> None:
    """A score type without bands names no band."""
    assert score_type().band(50_000) is None


def test_clamping_keeps_the_ends() -> None:
    """A value outside the range is clamped to the nearer end."""
    whole = score_type(minimum=-5_000, maximum=5_000)

    assert [whole.clamp(value) for value in (-5_001, -5_000, 0, 5_000, 5_001)] == [-5_000, -5_000, 0, 5_000, 5_000]


SET_REFUSED = [
    ({}, 101_000, OutOfRange, "Fit runs from 0 to 100; 101 is outside it"),
    ({}, -1, OutOfRange, "Fit runs from 0 to 100; -0.001 is outside it"),
    ({}, 87_500, OffStep, "Fit goes in steps of 1; use 87 or 88"),
    ({"minimum": 1_000, "maximum": 5_000, "step": 500}, 3_600, OffStep, "Fit goes in steps of 0.5; use 3.5 or 4"),
    # Steps count from the minimum, so 1, 4, 7 are on it and 3 is not.
    ({"minimum": 1_000, "maximum": 7_000, "step": 3_000}, 3_000, OffStep, "Fit goes in steps of 3; use 1 or 4"),
    ({"minimum": -5_000, "maximum": 5_000, "step": 2_500}, -1_000, OffStep, "Fit goes in steps of 2.5; use -2.5 or 0"),
    # Between the last step and the maximum, both neighbours are in the range.
    ({"minimum": 0, "maximum": 10, "step": 5}, 7, OffStep, "Fit goes in steps of 0.005; use 0.005 or 0.01"),
]


@pytest.mark.parametrize(("numbers", "value", "refusal", "complaint"), SET_REFUSED)
def test_values_that_cannot_be_set(
    numbers: dict[str, int], value: int, refusal: type[Exception], complaint: str
) -> None:
    """A value outside the range or between two steps is refused with the nearest valid values."""
    with pytest.raises(refusal) as error:
        score_type((), **numbers).check_set(value)

    assert str(error.value) == complaint


def test_the_ends_of_the_range_can_be_set() -> None:
    """Both ends of the range can be set."""
    fit = score_type(minimum=1_000, maximum=7_000, step=3_000)

    for value in (1_000, 4_000, 7_000):
        fit.check_set(value)
    with pytest.raises(OutOfRange):
        fit.check_set(10_000)


def test_any_number_of_steps_can_be_added() -> None:
    """Any multiple of the step can be added, of either sign and any size."""
    fit = score_type(minimum=1_000, maximum=7_000, step=3_000)

    for amount in (3_000, -3_000, 0, 300_000):
        fit.check_add(amount)
    with pytest.raises(OffStep) as error:
        fit.check_add(-4_000)

    assert str(error.value) == "Fit goes in steps of 3; -4 is not a multiple of that"


KEYS = ["a", "fit", "fit_2", "a" * 32, "score", "limits"]
BAD_KEYS = ["", "A", "Fit", "2fit", "_fit", "fit-2", "fit two", "a" * 33, "fít", "fit\n", "fit٣"]
TAKEN = ["and", "or", "not", "has", "sort", "limit", "because", "me", "owner", "tag", "name", "email", "above", "stale"]


@pytest.mark.parametrize("key", KEYS)
def test_keys_that_can_be_typed(key: str) -> None:
    """A key is a lowercase letter, then lowercase letters, digits and _, 32 characters at most."""
    check_key(key)


@pytest.mark.parametrize("key", BAD_KEYS)
def test_keys_that_cannot_be_typed(key: str) -> None:
    """Any other key is refused with the rule for keys."""
    with pytest.raises(BadName, match=r"use up to 32 lowercase letters, digits and _, a letter first$"):
        check_key(key)


@pytest.mark.parametrize("key", TAKEN)
def test_words_of_the_filter_language_are_no_keys(key: str) -> None:
    """A word of the filter language is refused as a key, because a filter would be ambiguous."""
    with pytest.raises(BadName) as error:
        check_key(key)

    assert str(error.value) == f"`{key}` is a word of the filter language; choose another key"


STARTS = [
    (0, 100_000, 1_000, 0),
    (-5_000, 5_000, 500, 0),
    (1_000, 5_000, 500, 1_000),  # 0 lies below
    (-10_000, -4_000, 2_000, -4_000),  # 0 lies above
    (-2_000, 1_000, 3_000, 1_000),  # 0 is not on a step, and 1 is nearer than -2
    (-7_000, 3_000, 5_000, -2_000),  # -2 is nearer than 3
    (-1_000, 2_000, 3_000, -1_000),
]


@pytest.mark.parametrize(("minimum", "maximum", "step", "start"), STARTS)
def test_the_starting_value_is_the_one_nearest_to_zero(minimum: int, maximum: int, step: int, start: int) -> None:
    """A type without a given start value starts at the value of its range nearest to 0."""
    checked = check_definition(label="Fit", minimum=minimum, maximum=maximum, step=step, start=None, bands=())

    assert checked == start


def test_a_starting_value_that_is_given_is_kept() -> None:
    """A start value may be any value on a step."""
    assert check_definition(label="Fit", minimum=0, maximum=100_000, step=500, start=50_500, bands=BANDS) == 50_500


DEFINED = {"label": "Fit", "minimum": 0, "maximum": 100_000, "step": 1_000, "start": None, "bands": ()}
NOT_DEFINED = [
    ({"label": "  "}, "a label has 1 to 60 characters"),
    ({"label": "x" * 61}, "a label has 1 to 60 characters"),
    ({"minimum": 100_000}, "the minimum 100 must be below the maximum 100"),
    ({"minimum": 200_000}, "the minimum 200 must be below the maximum 100"),
    ({"maximum": 10**12 + 1_000}, "a range must be within -1,000,000,000 to 1,000,000,000"),
    ({"minimum": -(10**12) - 1_000}, "a range must be within -1,000,000,000 to 1,000,000,000"),
    ({"step": 0}, "the range 0 to 100 is not a multiple of the step 0"),
    ({"step": -1_000}, "the range 0 to 100 is not a multiple of the step -1"),
    ({"step": 3_000}, "the range 0 to 100 is not a multiple of the step 3"),
    ({"step": 200_000}, "the range 0 to 100 is not a multiple of the step 200"),
    ({"start": -1_000}, "the starting value -1 must be in the range and on a step of 1"),
    ({"start": 101_000}, "the starting value 101 must be in the range and on a step of 1"),
    ({"start": 500}, "the starting value 0.5 must be in the range and on a step of 1"),
]


@pytest.mark.parametrize(("wrong", "complaint"), NOT_DEFINED)
def test_definitions_that_contradict_themselves(wrong: dict[str, object], complaint: str) -> None:
    """A contradictory definition is refused with the reason."""
    with pytest.raises(BadDefinition) as error:
        check_definition(**{**DEFINED, **wrong})  # type: ignore[arg-type]  # one argument is wrong on purpose

    assert str(error.value) == complaint


NOT_CUT = [
    ((("low", 1_000),), "the first band must start at the minimum: low:0"),
    ((("cold", 0), ("Hot", 1_000)), "`Hot` cannot name a band: use lowercase letters, digits, _ and -"),
    ((("cold", 0), ("", 1_000)), "`` cannot name a band: use lowercase letters, digits, _ and -"),
    ((("cold", 0), ("hot", 500)), "the band hot:0.5 must start in the range and on a step"),
    ((("cold", 0), ("hot", 101_000)), "the band hot:101 must start in the range and on a step"),
    ((("cold", 0), ("hot", 80_000), ("warm", 40_000)), "the bands must start one above the other, lowest first"),
    ((("cold", 0), ("warm", 40_000), ("hot", 40_000)), "the bands must start one above the other, lowest first"),
    ((("cold", 0), ("warm", 40_000), ("cold", 80_000)), "each band needs its own name"),
]


@pytest.mark.parametrize(("bands", "complaint"), NOT_CUT)
def test_bands_that_do_not_cut_the_range(bands: tuple[tuple[str, int], ...], complaint: str) -> None:
    """Bands begin at the minimum, rise, lie on steps and have different names."""
    band_tuple = tuple(Band(name=name, start=start) for name, start in bands)
    with pytest.raises(BadDefinition) as error:
        check_definition(label="Fit", minimum=0, maximum=100_000, step=1_000, start=None, bands=band_tuple)

    assert str(error.value) == complaint


TYPED = [
    ("hot:80", Band(name="hot", start=80_000), "hot:80", "hot from 80"),
    (" hot : -0.5 : red ", Band(name="hot", start=-500, colour="red"), "hot:-0.5:red", "hot from -0.5 in red"),
    ("hot:80:", Band(name="hot", start=80_000), "hot:80", "hot from 80"),
]


@pytest.mark.parametrize(("text", "band", "typed", "expected"), TYPED)
def test_a_band_as_it_is_typed(text: str, band: Band, typed: str, expected: str) -> None:
    """A band is typed as a name, where it begins and, optionally, a color."""
    assert parse_band(text) == band
    assert (band.typed, band.shown) == (typed, expected)
    assert parse_band(band.typed) == band


@pytest.mark.parametrize("text", ["hot", "", ":80", "hot:80:red:blue"])
def test_what_is_no_band(text: str) -> None:
    """A text that is no band is refused with what to type."""
    with pytest.raises(BadDefinition) as error:
        parse_band(text)

    assert str(error.value) == (
        f"`{text}` is not a band: write its name and its start, hot:80, or also its color, hot:80:red"
    )
    with pytest.raises(BadNumber):
        parse_band("hot:red")


def test_a_colour_that_there_is_none_of() -> None:
    """An unknown color is refused with the known colors."""
    with pytest.raises(BadDefinition) as error:
        check_definition(
            label="Fit", minimum=0, maximum=100_000, step=1_000, start=None,
            bands=(Band(name="all", start=0, colour="pink"),),
        )  # fmt: skip  # one definition

    assert str(error.value) == "`pink` is not a color of a band: use grey, blue, green, yellow, orange, red, purple"


def test_a_band_may_begin_at_the_maximum() -> None:
    """A band may begin at the maximum and contain only that value."""
    bands = (Band(name="some", start=0), Band(name="all", start=100_000))

    assert check_definition(label="Fit", minimum=0, maximum=100_000, step=1_000, start=None, bands=bands) == 0
    assert score_type(bands).band(100_000) == "all"


@pytest.mark.parametrize(
    ("minimum", "step", "value", "rounded"),
    [
        (0, 1000, 7300, 7000), (0, 1000, 7500, 8000), (0, 1000, 6500, 6000), (0, 1000, 7501, 8000), (0, 3, 4, 3),
        (0, 3, 5, 6), (500, 1000, 1000, 500), (500, 1000, 2000, 2500), (-1000, 500, -750, -1000), (0, 1, 7, 7),
    ],
)  # fmt: skip  # the type, the value, the nearest step
def test_the_nearest_step(minimum: int, step: int, value: int, rounded: int) -> None:
    """Of two equally near steps the one that is an even number of steps from the minimum is chosen."""
    fit = score_type(minimum=minimum, maximum=minimum + 300 * step, step=step)

    assert fit.round_to_step(value) == rounded
