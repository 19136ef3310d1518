"""Hold the numbers of scores exactly, as whole thousandths."""

import re
from decimal import Decimal

from storage.domain.errors import BadNumber

THOUSAND = 1000
LARGEST = 10**9 * THOUSAND
_WRITTEN = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,2})?", re.ASCII)
_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)


def parse(text: str) -> int:
    """Read a written decimal as thousandths.

    Raises BadNumber, saying why: not a number, more than three digits after the point, too large.
    """
    written = text.strip(" ")
    if not written:
        raise BadNumber("the value is blank, so there is no number to take")
    if _COMMA.fullmatch(written):
        raise BadNumber(f"`{written}` has a comma. Use a point: {written.replace(',', '.')}")
    if len(written) > 40 or not _WRITTEN.fullmatch(written):
        raise BadNumber(f"`{written[:40]}` is not a number")
    return _to_thousandths(Decimal(written), written)


def from_json(value: object) -> int:
    """Read a JSON number, or a string that holds one, as thousandths; anything else is a BadNumber."""
    match value:
        case bool():
            raise BadNumber(f"{str(value).lower()} is not a number")
        case int() if value.bit_length() > 512:  # it may have more digits than Python writes
            raise BadNumber("the value is larger than a score can be (1,000,000,000)")
        case int():
            return _to_thousandths(Decimal(value), str(value))
        case Decimal():
            return _to_thousandths(value, str(value))
        case str():
            return parse(value)
        case None:
            raise BadNumber("the value is missing")
        case _:
            raise BadNumber("the value is not a number")


def _to_thousandths(number: Decimal, written: str) -> int:
    if not number.is_finite():
        raise BadNumber(f"`{written}` is not a number")
    if (number and number.adjusted() > 12) or not -LARGEST // THOUSAND <= number <= LARGEST // THOUSAND:
        raise BadNumber(f"`{written[:40]}` is larger than a score can be (1,000,000,000)")
    # By its digits, because arithmetic would round beyond the 28th.
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)  # it is finite
    whole = int("".join(str(digit) for digit in digits))
    if not whole:
        return 0
    places = -exponent - 3
    if places > len(digits) or (places > 0 and whole % 10**places):
        raise BadNumber(f"`{written[:40]}` has more than three digits after the point")
    thousandths: int = whole // 10**places if places > 0 else whole * 10**-places
    return -thousandths if sign else thousandths


def show(thousandths: int) -> str:
    """Write thousandths as people do: 87, 3.5, -0.125."""
    whole, rest = divmod(abs(thousandths), THOUSAND)
    digits = f"{rest:03d}".rstrip("0")
    sign = "-" if thousandths < 0 else ""
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def to_json(thousandths: int) -> int | float:
    """Give thousandths as a JSON number: an int where it is whole."""
    whole, rest = divmod(thousandths, THOUSAND)
    return whole if not rest else thousandths / THOUSAND
