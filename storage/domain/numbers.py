"""Parse and write the numbers of scores, which are stored exactly, as whole thousandths."""

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal

from storage.domain.errors import BadNumber
from storage.domain.texts import remove_invisible

THOUSAND = 1000
LARGEST = 10**9 * THOUSAND
MILLION = 10**6
#: beyond it, up or down, the numbers of attributes are all alike: millionths that fit into a column
LARGEST_COMPARED = 9 * 10**12 * MILLION
_WRITTEN = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,2})?", re.ASCII)
_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
#: numbers that mean a thousand to some readers and one to others: `1,000`, `1.000`, but not `0.125`
_AMBIGUOUS = re.compile(r"([+-]?[1-9]\d{0,2})[.,](\d{3})", re.ASCII)
#: a decimal context that keeps every digit of any number accepted here
_EXACT = Context(prec=64, rounding=ROUND_HALF_EVEN)


def parse(text: str, *, typed: bool = False, rounded: bool = False) -> int:
    """Parse a decimal number into thousandths.

    A comma before three digits is ambiguous; with *typed* (a person typed the number) so is a point: `1.000`.
    With *rounded*, digits beyond the third after the point are rounded half to even.
    Raises BadNumber with the reason: not a number, more than three digits after the point, too large, ambiguous.
    """
    written = remove_invisible(text)
    if written.isascii() and written.isdigit() and len(written) <= 9:  # the usual case, far below LARGEST
        return int(written) * THOUSAND
    if not written:
        raise BadNumber("the value is blank, so there is no number to take")
    if (ambiguous := _AMBIGUOUS.fullmatch(written)) and (typed or "," in written):
        raise ambiguity(written, *ambiguous.groups())
    if _COMMA.fullmatch(written):
        raise BadNumber(f"`{written}` has a comma. Use a point: {written.replace(',', '.')}")
    if len(written) > 40 or not _WRITTEN.fullmatch(written):
        raise BadNumber(f"`{written[:40]}` is not a number")
    return _to_thousandths(Decimal(written), written, rounded=rounded)


def is_ambiguous(written: str) -> bool:
    """Return whether a number means a thousand to some readers and one to others."""
    return _AMBIGUOUS.fullmatch(written) is not None


def ambiguity(written: str, whole: str, digits: str) -> BadNumber:
    """Return the BadNumber for an ambiguous number, with both readings in its message."""
    fraction = digits.rstrip("0")
    smaller = f"{whole}.{fraction}" if fraction else whole
    return BadNumber(
        f"`{written}` may mean {whole}{digits} or {smaller}{'0' if len(fraction) == 3 else ''}: write one of these"
    )


def from_json(value: object, *, rounded: bool = False) -> int:
    """Convert a JSON number, or a string with a number, to thousandths. Raises BadNumber for anything else.

    JSON must be decoded with Decimal for floats; a float is refused.
    With *rounded*, digits beyond the third after the point are rounded half to even.
    """
    match value:
        case bool():
            raise BadNumber(f"{str(value).lower()} is not a number")
        case int() if value.bit_length() > 512:  # str() refuses an integer with too many digits
            raise BadNumber("the value is larger than a score can be (1,000,000,000)")
        case int():
            return _to_thousandths(Decimal(value), str(value))
        case Decimal():
            return _to_thousandths(value, str(value), rounded=rounded)
        case str():
            return parse(value, rounded=rounded)
        case None:
            raise BadNumber("the value is missing")
        case _:
            raise BadNumber("the value is not a number")


def _to_thousandths(number: Decimal, written: str, *, rounded: bool = False) -> int:
    if not number.is_finite():
        raise BadNumber(f"`{written}` is not a number")
    if (number and number.adjusted() > 12) or not -LARGEST // THOUSAND <= number <= LARGEST // THOUSAND:
        raise BadNumber(f"`{written[:40]}` is larger than a score can be (1,000,000,000)")
    if rounded:
        number = number.quantize(Decimal("0.001"), context=_EXACT)
    # Work on the digits, because decimal arithmetic would round to 28 digits.
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)  # because the number is finite
    whole = int("".join(str(digit) for digit in digits))
    if not whole:
        return 0
    places = -exponent - 3
    if places > len(digits) or (places > 0 and whole % 10**places):
        raise BadNumber(f"`{written[:40]}` has more than three digits after the point")
    thousandths: int = whole // 10**places if places > 0 else whole * 10**-places
    return -thousandths if sign else thousandths


def read_millionths(value: object) -> int | None:
    """Return the number that a value of a JSON document is, or that a text holds, in millionths; None for no number.

    Unlike scores, it may be of any size, and have any number of digits: beyond the sixth after the point they are
    rounded half-even, and a larger number counts as LARGEST_COMPARED.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int):
        return min(max(value * MILLION, -LARGEST_COMPARED), LARGEST_COMPARED)
    written = remove_invisible(str(value)) if isinstance(value, float) or len(value) <= 100 else ""
    if len(written) > 40 or not _WRITTEN.fullmatch(written):
        return None
    largest = Decimal(LARGEST_COMPARED // MILLION)
    number = min(max(Decimal(written), -largest), largest)
    return int(number.quantize(Decimal("0.000001"), context=_EXACT) * MILLION)


def show(thousandths: int) -> str:
    """Return thousandths as people write them: 87, 3.5, -0.125."""
    whole, rest = divmod(abs(thousandths), THOUSAND)
    digits = f"{rest:03d}".rstrip("0")
    sign = "-" if thousandths < 0 else ""
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def show_signed(thousandths: int) -> str:
    """Return thousandths with their sign, such as +5 or -3."""
    return f"{'-' if thousandths < 0 else '+'}{show(abs(thousandths))}"


def show_unambiguous(thousandths: int) -> str:
    """Return thousandths as text that `parse` accepts as typed: 12.3450, because 12.345 would be ambiguous."""
    shown = show(thousandths)
    return f"{shown}0" if is_ambiguous(shown) else shown


def to_json(thousandths: int) -> int | float:
    """Return thousandths as a JSON number: an int if it is whole, else a float."""
    whole, rest = divmod(thousandths, THOUSAND)
    return whole if not rest else thousandths / THOUSAND
