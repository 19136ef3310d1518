"""Read PNG files with the standard library alone."""

import struct
import zlib
from typing import NamedTuple

Pixel = tuple[int, int, int, int]


class Image(NamedTuple):
    """A decoded picture: eight bits each of red, green, blue and alpha."""

    width: int
    height: int
    rows: list[bytes]

    def pixels(self, colour: str, *, left: float, top: float, right: float, bottom: float) -> int:
        """Return the number of opaque pixels of an exact color in a rectangle."""
        pixel = bytes.fromhex(colour.removeprefix("#")) + b"\xff"
        first, last = max(int(left), 0), min(int(right) + 1, self.width)
        rows = self.rows[max(int(top), 0) : int(bottom) + 1]
        return sum(row[4 * x : 4 * x + 4] == pixel for row in rows for x in range(first, last))


def read_png(data: bytes) -> Image:
    """Decode a PNG of the only kind that is drawn here: RGBA, eight bits, not interlaced.

    https://www.w3.org/TR/png-3/
    """
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, packed, head = 8, b"", b""
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        body = data[place + 8 : place + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack_from(">I", data, place + 8 + length)[0]
        head = body if kind == b"IHDR" else head
        packed += body if kind == b"IDAT" else b""
        place += 12 + length
    width, height, *kinds = struct.unpack(">IIBBBBB", head)
    assert kinds == [8, 6, 0, 0, 0]
    raw, stride = zlib.decompress(packed), 4 * width
    rows, above = [], bytes(stride)
    for y in range(height):
        start = y * (stride + 1)
        above = _unfiltered(raw[start], raw[start + 1 : start + 1 + stride], above)
        rows.append(above)
    return Image(width, height, rows)


def _unfiltered(kind: int, row: bytes, above: bytes) -> bytes:
    if kind == 0:
        return row
    if kind == 2:
        return bytes([(value + up) & 255 for value, up in zip(row, above, strict=True)])
    result = bytearray(row)
    for x, value in enumerate(row):
        left, up, corner = (result[x - 4], above[x], above[x - 4]) if x >= 4 else (0, above[x], 0)
        if kind == 1:
            guess = left
        elif kind == 3:
            guess = (left + up) // 2
        else:
            near = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
            guess = left if near[0] <= near[1] and near[0] <= near[2] else up if near[1] <= near[2] else corner
        result[x] = (value + guess) & 255
    return bytes(result)
