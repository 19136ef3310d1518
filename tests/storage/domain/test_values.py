"""Numbers of scores are exact to the thousandth."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.domain.errors import BadNumber
from storage.domain.numbers import LARGEST, from_json, parse, show, to_json

TOO_MANY = "has more than three digits after the point"
TOO_LARGE = "is larger than a score can be (1,000,000,000)"

READ = [
    ("87", 87_000),
    ("0", 0),
    ("-0", 0),
    ("-0.0", 0),
    ("+5", 5_000),
    ("-5", -5_000),
    ("8.5", 8_500),
    ("-0.125", -125),
    ("0.001", 1),
    (".5", 500),  # nothing before the point
    ("5.", 5_000),  # nothing after it
    (" 5 ", 5_000),  # blanks around
    ("5\n", 5_000),  # of any kind of blank
    ("\t5\u00a0", 5_000),
    ("\u200b5\ufeff", 5_000),  # invisible characters
    ("00012", 12_000),  # leading zeros
    ("1.0000", 1_000),  # an insignificant fourth digit
    ("1.5000000000000000000000000000000000000", 1_500),
    ("1e3", 1_000_000),
    ("1E+3", 1_000_000),
    ("1e-3", 1),
    ("12.5e1", 125_000),
    ("0e99", 0),  # still zero
    ("0e-99", 0),
    ("1000000000", LARGEST),
    ("-1000000000", -LARGEST),
    ("999999999.999", LARGEST - 1),
    ("0" * 39 + "7", 7_000),  # the maximum length
]


@pytest.mark.parametrize(("text", "thousandths"), READ)
def test_what_can_be_read(text: str, thousandths: int) -> None:
    """A written decimal is parsed exactly."""
    assert parse(text) == thousandths


NOT_READ = [
    ("", "the value is blank, so there is no number to take"),
    ("    ", "the value is blank, so there is no number to take"),
    ("8,5", "`8,5` has a comma. Use a point: 8.5"),
    ("-8,5", "`-8,5` has a comma. Use a point: -8.5"),
    ("8,5,1", "`8,5,1` is not a number"),  # a point would not make it a number
    (",5", "`,5` is not a number"),
    ("nan", "`nan` is not a number"),
    ("NaN", "`NaN` is not a number"),
    ("inf", "`inf` is not a number"),
    ("-Infinity", "`-Infinity` is not a number"),
    ("0x10", "`0x10` is not a number"),
    ("1_000", "`1_000` is not a number"),  # an underscore, which Python accepts
    ("１２", "`１２` is not a number"),  # full-width digits, which Python also accepts
    ("٣", "`٣` is not a number"),  # an Arabic digit
    ("½", "`½` is not a number"),
    ("5\x00", "`5\x00` is not a number"),
    ("5 5", "`5 5` is not a number"),
    ("--5", "`--5` is not a number"),
    ("+-5", "`+-5` is not a number"),
    ("−5", "`−5` is not a number"),  # the typographic minus sign
    (".", "`.` is not a number"),
    ("+", "`+` is not a number"),
    ("e5", "`e5` is not a number"),
    ("1e", "`1e` is not a number"),
    ("1e5e5", "`1e5e5` is not a number"),
    ("1e100", "`1e100` is not a number"),  # a three-digit exponent
    ("true", "`true` is not a number"),
    ("5%", "`5%` is not a number"),
    ("1" * 41, f"`{'1' * 40}` is not a number"),  # longer than any number that people write; shown shortened
    ("1e-4", f"`1e-4` {TOO_MANY}"),
    ("1e-99", f"`1e-99` {TOO_MANY}"),
    ("0.0001", f"`0.0001` {TOO_MANY}"),
    ("87.1234", f"`87.1234` {TOO_MANY}"),
    ("1e99", f"`1e99` {TOO_LARGE}"),
    ("1e10", f"`1e10` {TOO_LARGE}"),
    ("1000000001", f"`1000000001` {TOO_LARGE}"),
    ("-1000000001", f"`-1000000001` {TOO_LARGE}"),
    ("1000000000.001", f"`1000000000.001` {TOO_LARGE}"),
    ("9" * 40, f"`{'9' * 40}` {TOO_LARGE}"),
    # More digits than the 28 of a Decimal's product: no digit may be rounded away silently.
    ("1.00000000000000000000000000000001", f"`1.00000000000000000000000000000001` {TOO_MANY}"),
    ("0.99999999999999999999999999999999", f"`0.99999999999999999999999999999999` {TOO_MANY}"),
    ("1000000000.0000000000000000000001", f"`1000000000.0000000000000000000001` {TOO_LARGE}"),
]


@pytest.mark.parametrize(("text", "complaint"), NOT_READ)
def test_what_is_no_number(text: str, complaint: str) -> None:
    """A text that is no number, or has more digits than a score, is refused with the reason."""
    with pytest.raises(BadNumber) as error:
        parse(text)

    assert str(error.value) == complaint


FROM_JSON = [
    (87, 87_000),
    (-87, -87_000),
    (0, 0),
    (Decimal("8.5"), 8_500),
    (Decimal("8.500000"), 8_500),
    (Decimal("1e9"), LARGEST),
    (Decimal("-0"), 0),
    (Decimal("0E+999999"), 0),
    (Decimal("0E-999999"), 0),
    ("8.5", 8_500),  # from senders that send numbers as strings
    (" 8 ", 8_000),
]


@pytest.mark.parametrize(("value", "thousandths"), FROM_JSON)
def test_what_json_may_hold(value: object, thousandths: int) -> None:
    """A JSON number, or a JSON string with a number, is parsed exactly."""
    assert from_json(value) == thousandths


NOT_FROM_JSON = [
    (True, "true is not a number"),
    (False, "false is not a number"),  # counts as 0 in Python
    (None, "the value is missing"),
    ("", "the value is blank, so there is no number to take"),
    ("8,5", "`8,5` has a comma. Use a point: 8.5"),
    ([8], "the value is not a number"),
    ({"value": 8}, "the value is not a number"),
    (8.5, "the value is not a number"),  # a float is not exact; the parser of bodies returns decimals
    (b"8", "the value is not a number"),
    (Decimal("NaN"), "`NaN` is not a number"),
    (Decimal("sNaN"), "`sNaN` is not a number"),
    (Decimal("-Infinity"), "`-Infinity` is not a number"),
    (Decimal("1E+999999"), f"`1E+999999` {TOO_LARGE}"),
    (Decimal("1E-999999"), f"`1E-999999` {TOO_MANY}"),
    (Decimal("0.0001"), f"`0.0001` {TOO_MANY}"),
    (Decimal("1.00000000000000000000000000000001"), f"`1.00000000000000000000000000000001` {TOO_MANY}"),
    (10**9 + 1, f"`1000000001` {TOO_LARGE}"),
    (-(10**60), f"`-1{'0' * 38}` {TOO_LARGE}"),
]


@pytest.mark.parametrize(("value", "complaint"), NOT_FROM_JSON)
def test_what_json_may_not_hold(value: object, complaint: str) -> None:
    """Any JSON value other than a number is refused with the reason."""
    with pytest.raises(BadNumber) as error:
        from_json(value)

    assert str(error.value) == complaint


def test_a_whole_number_with_thousands_of_digits_is_refused_like_any_other() -> None:
    """A whole number with thousands of digits is refused as other numbers are, although Python cannot print it."""
    with pytest.raises(BadNumber):
        from_json(10**5000)


SHOWN = [
    (87_000, "87", 87),
    (0, "0", 0),
    (3_500, "3.5", 3.5),
    (-125, "-0.125", -0.125),
    (-1_000, "-1", -1),
    (1, "0.001", 0.001),
    (10, "0.01", 0.01),
    (-1_001, "-1.001", -1.001),
    (LARGEST, "1000000000", 1_000_000_000),
    (LARGEST - 1, "999999999.999", 999_999_999.999),
]


@pytest.mark.parametrize(("thousandths", "text", "number"), SHOWN)
def test_how_numbers_are_written(thousandths: int, text: str, number: float) -> None:
    """Numbers are written in their shortest form, and a whole number is an int."""
    assert (show(thousandths), to_json(thousandths)) == (text, number)
    assert type(to_json(thousandths)) is type(number)


@given(st.integers(-LARGEST, LARGEST))
def test_what_is_shown_reads_back(thousandths: int) -> None:
    """A number that is written and parsed again is unchanged."""
    assert parse(show(thousandths)) == thousandths


@given(st.from_regex(r"[+-]?[0-9]{0,12}\.?[0-9]{0,20}([eE][+-]?[0-9]{1,2})?", fullmatch=True))
def test_reading_agrees_with_exact_arithmetic(text: str) -> None:
    """A decimal is parsed as exactly that many thousandths, or refused if it is no whole number of thousandths."""
    with localcontext() as exact:
        exact.prec = 200
        try:
            number = Decimal(text) * 1000
        except ArithmeticError:
            number = Decimal("NaN")  # no digits at all
        whole = number.is_finite() and number == number.to_integral_value() and abs(number) <= LARGEST
    try:
        read = parse(text)
    except BadNumber:
        assert not whole
    else:
        assert whole
        assert read == number


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """Any text is parsed to a whole number of thousandths in the range, or raises BadNumber."""
    try:
        read = parse(text)
    except BadNumber:
        return
    assert -LARGEST <= read <= LARGEST
