"""Know what the font that comes with the product can write, and how wide it writes it."""

import struct
import unicodedata
from functools import cache
from pathlib import Path
from typing import Final

FONT: Final = Path(__file__).parent / "fonts" / "DejaVuSans.ttf"
FAMILY: Final = "DejaVu Sans"
#: stands for a letter that the font lacks, which would otherwise be left out without a word
LACKING: Final = "\u25a1"


def replace_missing_glyphs(text: str) -> str:
    """Give a text on one line in letters that the font has; each that it lacks becomes an empty square."""
    widths = _load_widths()
    line = " ".join(text.split())
    # What is invisible by nature may vanish; some of it would turn the direction of everything after it.
    visible = (letter for letter in line if unicodedata.category(letter) not in ("Cc", "Cf"))
    return "".join(letter if ord(letter) in widths else LACKING for letter in visible)


def width(text: str, size: float) -> float:
    """Measure a writable text, in the unit of the font's *size*."""
    widths = _load_widths()
    return sum(widths[ord(letter)] for letter in text) * size


def fit_text(text: str, *, size: float, room: float) -> str:
    """Give a text in letters that the font has, shortened with an ellipsis where it is wider than the *room*."""
    line = replace_missing_glyphs(text)
    if width(line, size) <= room:
        return line
    while line and width(f"{line}…", size) > room:
        line = line[:-1]
    return f"{line.rstrip()}…"


@cache
def _load_widths() -> dict[int, float]:
    """Read how wide each character of the font is, in ems.

    https://learn.microsoft.com/typography/opentype/spec: cmap (format 12), hmtx, hhea, head.
    """
    font = FONT.read_bytes()
    (count,) = struct.unpack_from(">H", font, 4)
    tables = {name: start for name, _, start, _ in struct.iter_unpack(">4sIII", font[12 : 12 + 16 * count])}
    (units,) = struct.unpack_from(">H", font, tables[b"head"] + 18)
    (measured,) = struct.unpack_from(">H", font, tables[b"hhea"] + 34)
    advances = [record[0] for record in struct.iter_unpack(">HH", font[tables[b"hmtx"] :][: 4 * measured])]
    cmap = tables[b"cmap"]
    (subtables,) = struct.unpack_from(">H", font, cmap + 2)
    widths: dict[int, float] = {}
    for _, _, offset in struct.iter_unpack(">HHI", font[cmap + 4 : cmap + 4 + 8 * subtables]):
        if struct.unpack_from(">H", font, cmap + offset) != (12,):
            continue
        (groups,) = struct.unpack_from(">I", font, cmap + offset + 12)
        start = cmap + offset + 16
        for first, last, glyph in struct.iter_unpack(">III", font[start : start + 12 * groups]):
            for code in range(first, last + 1):
                # The glyphs after those that are measured one by one are as wide as the last of them.
                widths[code] = advances[min(glyph + code - first, measured - 1)] / units
    return widths
