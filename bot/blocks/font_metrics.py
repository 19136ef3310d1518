"""The characters and character widths of the bundled font."""

import struct
import unicodedata
from functools import cache
from pathlib import Path
from typing import Final

FONT: Final = Path(__file__).parent.parent / "fonts" / "DejaVuSans.ttf"
FAMILY: Final = "DejaVu Sans"
#: replaces a character that the font lacks, which would otherwise be left out silently
LACKING: Final = "\u25a1"


def replace_missing_glyphs(text: str) -> str:
    """Return the text on one line, with an empty square for each character that the font lacks."""
    widths = _load_widths()
    line = " ".join(text.split())
    # Invisible characters are dropped; some of them would change the direction of the text after them.
    visible = (letter for letter in line if unicodedata.category(letter) not in ("Cc", "Cf"))
    return "".join(letter if ord(letter) in widths else LACKING for letter in visible)


def width(text: str, size: float) -> float:
    """Return the width of a text at a font size, in the unit of *size*; the font must have every character."""
    widths = _load_widths()
    return sum(widths[ord(letter)] for letter in text) * size


def fit_text(text: str, *, size: float, room: float) -> str:
    """Return the text in characters of the font, shortened with an ellipsis if it is wider than *room*."""
    line = replace_missing_glyphs(text)
    if width(line, size) <= room:
        return line
    while line and width(f"{line}…", size) > room:
        line = line[:-1]
    return f"{line.rstrip()}…"


@cache
def _load_widths() -> dict[int, float]:
    """Return the width of each character of the font, in ems, by code point.

    Reads the tables cmap (format 12), hmtx, hhea and head: https://learn.microsoft.com/typography/opentype/spec
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
                # Glyphs beyond the table of widths have the last width in the table.
                widths[code] = advances[min(glyph + code - first, measured - 1)] / units
    return widths
