"""Draw the chart of a score over time, with its bands and its largest changes: as SVG, PNG and text."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import dist
from pathlib import Path
from textwrap import wrap
from typing import Final
from xml.sax.saxutils import escape, quoteattr
from zoneinfo import ZoneInfo

from storage.domain.numbers import show
from storage.domain.score_types import LADDER, Band, ScoreType
from storage.domain.timeline import Point

FONT: Final = Path(__file__).parent.parent / "fonts" / "DejaVuSans.ttf"
FAMILY: Final = "DejaVu Sans"
#: The width of a digit of the font, and of an average character, in ems. The library that draws texts cannot measure
#: them, so room is reserved by the number of characters.
DIGIT, AVERAGE = 0.64, 0.6

# The chart has its own dark background, which does not dazzle in dark mode and is readable in light mode; a test checks
# the contrasts.
PAPER: Final = "#22262e"
EDGE: Final = "#8b8f99"
INK: Final = "#f4f5f7"
QUIET: Final = "#c6c9d1"
LINE: Final = "#ffffff"
MARK: Final = "#ffb0c0"
ON_MARK: Final = "#2a0d14"
TINTS: Final = {
    "grey": "#3d4048", "blue": "#1d3d66", "green": "#1c4a30", "yellow": "#4f430e",
    "orange": "#5b3411", "red": "#601f27", "purple": "#45285f",
}  # fmt: skip  # color name of a band → fill color
NO_BAND: Final = "#333842"

# The picture is narrow, because phones show it about 330 points wide.
WIDTH: Final = 420
SCALE: Final = 2  # pixels per unit, for high-resolution screens and zooming
TOP, HEIGHT, LEGEND_LINE, MARGIN = 86, 200, 20, 16
SMALL, NORMAL, LARGE = 13.0, 14.0, 18.0
DISC = 9.5
WIDEST_BAND_NAME = 80
MOST_LEGEND_LINES = 2  # of each mark
LEGEND, LEGEND_GAP = 36, 5  # from the plot to the legend, and below each mark of it
MOST_DATES, MOST_VALUES = 8, 7
ALT_TEXT = 1900  # characters as JSON; Slack accepts 2,000 and limits the blocks of a message together
MISSING = "—"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
HOUR = 3_600_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A highlighted change and its cause in words. *at* is in µs, values are in thousandths."""

    at: int
    before: int | None
    after: int | None
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The data of a chart. Each point is (time, value) and holds until the next point, the last one until *until*."""

    contact_name: str
    score_type: ScoreType
    since: int
    until: int
    zone: ZoneInfo  #: the reader's time zone
    points: Sequence[Point]
    marks: Sequence[Mark]  #: oldest first

    @property
    def height(self) -> int:
        """Return the height of the picture, with the lines of all marks below the plot."""
        lines = sum(len(_wrap_mark(self, mark)) for mark in self.marks)
        return TOP + HEIGHT + LEGEND + LEGEND_LINE * lines + LEGEND_GAP * len(self.marks) + (6 if self.marks else 0)


def png(chart: Chart) -> bytes:
    """Return the chart as PNG, drawn only with the bundled font, so that it looks the same on every machine."""
    import resvg_py  # imported here, because only pictures need it

    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=svg(chart),
            zoom=SCALE,
            skip_system_fonts=True,
            font_files=[str(FONT)],
            font_family=FAMILY,
        )
    )


def describe_chart(chart: Chart) -> str:
    """Return the content of the chart in words, as alternative text."""
    score_type, values = chart.score_type, [value for _, value in chart.points if value is not None]
    first, last = chart.points[0][1], chart.points[-1][1]
    span = f"from {_format_day(chart, chart.since, year=True)} to {_format_day(chart, chart.until, year=True)}"
    sentences = [
        f"Chart of {score_type.label} of {chart.contact_name} {span}: {_format_value(first, score_type)} at first,"
        f" {_format_value(last, score_type)} now"
    ]
    if values:
        sentences[0] += f", lowest {show(min(values))}, highest {show(max(values))}"
    if any(value is None for _, value in chart.points) and values:
        sentences.append("It was missing for some of the time")
    if score_type.bands:
        sentences.append(f"Bands: {', '.join(band.shown for band in score_type.bands)}")
    if chart.marks:
        sentences.append("What moved it most")
    text = ". ".join(sentences)
    for number, mark in enumerate(chart.marks, 1):
        text += f"{':' if number == 1 else ';'} {number}. {_describe_mark(chart, mark)}"
    shortened = text
    while len(json.dumps(shortened)) > ALT_TEXT:
        shortened = shortened[: -max(len(shortened) // 50, 1)]
    return text if shortened == text else f"{shortened}…"


def svg(chart: Chart) -> str:
    """Return the chart as SVG; its text stands in `text` elements."""
    frame = _Frame(chart)
    size = f'width="{WIDTH}" height="{chart.height}" viewBox="0 0 {WIDTH} {chart.height}"'
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family={quoteattr(FAMILY)} font-size="{NORMAL:g}">',
            f'<rect id="paper" x="0.5" y="0.5" width="{WIDTH - 1}" height="{chart.height - 1}" rx="8"'
            f' fill="{PAPER}" stroke="{EDGE}"/>',
            *_draw_head(chart),
            *_draw_bands(frame),
            *_draw_values(frame),
            *_draw_dates(frame),
            f'<path id="course" d="{_draw_course(frame)}" fill="none" stroke="{LINE}" stroke-width="2.5"'
            ' stroke-linejoin="round" stroke-linecap="round"/>',
            *_draw_marks(frame),
            "</svg>",
        ]
    )


class _Frame:
    """The coordinates of the plot: maps times to x and values to y."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.lowest, self.highest = _choose_range(chart)
        self.ticks = _choose_value_ticks(self.lowest, self.highest, chart.score_type.step)
        self.left = MARGIN + max(len(show(tick)) for tick in self.ticks) * DIGIT * SMALL + 8
        longest = max((len(band.name) for band in chart.score_type.bands), default=0)
        self.right = WIDTH - MARGIN - (min(longest * AVERAGE * SMALL, WIDEST_BAND_NAME) + 8 if longest else 0)

    def x(self, instant: int) -> float:
        chart = self.chart
        return self.left + (self.right - self.left) * (instant - chart.since) / max(chart.until - chart.since, 1)

    def y(self, value: int) -> float:
        return TOP + HEIGHT * (self.highest - value) / (self.highest - self.lowest)


def _choose_range(chart: Chart) -> tuple[int, int]:
    """Return the range of values of the y axis: the whole range, or a part of it if the line would be almost flat."""
    score_type = chart.score_type
    values = [value for _, value in chart.points if value is not None] or [score_type.start]
    low, high = min(values), max(values)
    whole = score_type.maximum - score_type.minimum
    if whole <= 100_000 or high - low >= whole // 4:
        return score_type.minimum, score_type.maximum
    room = max((high - low) // 3, 5 * score_type.step)
    return max(low - room, score_type.minimum), min(high + room, score_type.maximum)


def _choose_value_ticks(lowest: int, highest: int, step: int) -> list[int]:
    """Return at most seven round values between *lowest* and *highest*."""
    for exponent in range(13):
        for digit in (1, 2, 5):
            interval = digit * 10**exponent
            ticks = range(-(-lowest // interval) * interval, highest + 1, interval)
            if interval >= min(step, highest - lowest) and len(ticks) <= MOST_VALUES:
                return list(ticks) or [lowest]
    raise AssertionError("no range is as wide as that")


def _draw_head(chart: Chart) -> Iterator[str]:
    now = f"{_format_value(chart.points[-1][1], chart.score_type)} now"
    span = (
        f"{_format_day(chart, chart.since, year=True)} to {_format_day(chart, chart.until, year=True)},"
        f" days in {chart.zone.key.rpartition('/')[2].replace('_', ' ')}"
    )
    room = WIDTH - 2 * MARGIN
    # The inner picture cuts off texts of wide characters before they reach the edge.
    yield f'<svg x="{MARGIN}" width="{room:.1f}" height="{TOP}">'
    title = shorten_text(f"{chart.contact_name} · {chart.score_type.label}", size=LARGE, room=room)
    yield _draw_text(title, 0, 30, size=LARGE, name="title")
    yield _draw_text(shorten_text(now, size=NORMAL, room=room), 0, 52, size=NORMAL, name="now")
    yield _draw_text(shorten_text(span, size=SMALL, room=room), 0, 72, size=SMALL, fill=QUIET, name="span") + "</svg>"


def _draw_bands(frame: _Frame) -> Iterator[str]:
    """Draw the background of each band and its name beside it; names that would overlap are moved apart."""
    bands = frame.chart.score_type.bands
    extent = f'x="{frame.left:.1f}" width="{frame.right - frame.left:.1f}"'
    if not bands:
        yield f'<rect {extent} y="{TOP}" height="{HEIGHT}" fill="{NO_BAND}"/>'
    labels: list[tuple[str, float]] = []
    for index, band in enumerate(bands):
        end = bands[index + 1].start if index + 1 < len(bands) else None
        low, high = max(band.start, frame.lowest), frame.highest if end is None else min(end, frame.highest)
        is_last_value = end is None and low == high  # a band with only the highest value is drawn as a line
        if low > high or (low == high and not is_last_value):
            continue
        top, bottom = frame.y(high), frame.y(low)
        yield (
            f'<rect class="band" {extent} y="{top:.1f}" height="{bottom - top:.1f}" fill="{band_color(bands, index)}"/>'
        )
        if band.start > frame.lowest:
            yield (
                f'<path class="border" d="M{frame.left:.1f} {bottom:.1f}H{frame.right:.1f}"'
                f' stroke="{EDGE}" stroke-dasharray="2 4"/>'
            )
        labels.append((band.name, (top + bottom) / 2))
    for (name, _), y in zip(labels, _spread_labels([y for _, y in labels], SMALL + 3), strict=True):
        if y >= TOP - SMALL:  # names without room are left out; the bands are in the text description
            shown = shorten_text(name, size=SMALL, room=WIDEST_BAND_NAME)
            yield _draw_text(shown, frame.right + 8, y + SMALL / 3, size=SMALL, fill=QUIET, name="band")


def band_color(bands: Sequence[Band], index: int) -> str:
    """Return the fill color of a band: its own color, or a mix of the default colors by its position."""
    if color := bands[index].colour:
        return TINTS[color]
    ladder = [TINTS[color] for color in LADDER]
    if len(bands) == 1:
        return ladder[0]
    exact = index * (len(ladder) - 1) / (len(bands) - 1)
    below = min(int(exact), len(ladder) - 2)
    mixed = [
        round(lower + (upper - lower) * (exact - below))
        for lower, upper in zip(_parse_color(ladder[below]), _parse_color(ladder[below + 1]), strict=True)
    ]
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def _parse_color(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _spread_labels(heights: Sequence[float], spacing: float) -> list[float]:
    """Move labels up, starting with the lowest, until no two are closer than *spacing*."""
    placed: list[float] = []
    for height in heights:
        placed.append(min(height, placed[-1] - spacing) if placed else min(height, TOP + HEIGHT))
    return placed


def _draw_values(frame: _Frame) -> Iterator[str]:
    for tick in frame.ticks:
        y = frame.y(tick)
        yield f'<path d="M{frame.left:.1f} {y:.1f}H{frame.right:.1f}" stroke="{EDGE}" stroke-opacity="0.25"/>'
        x = frame.left - 8
        yield _draw_text(show(tick), x, y + SMALL / 3, size=SMALL, fill=QUIET, anchor="end", name="value")


def _draw_dates(frame: _Frame) -> Iterator[str]:
    bottom = TOP + HEIGHT
    previous_end = -1.0
    for instant, shown in date_ticks(frame.chart.since, frame.chart.until, frame.chart.zone):
        x, half = frame.x(instant), len(shown) * DIGIT * SMALL / 2
        yield f'<path d="M{x:.1f} {bottom}v5" stroke="{EDGE}"/>'
        if x - half > max(previous_end + 8, MARGIN / 2) and x + half < WIDTH - MARGIN / 2:
            previous_end = x + half
            yield _draw_text(shown, x, bottom + 21, size=SMALL, fill=QUIET, anchor="middle", name="date")


def date_ticks(since: int, until: int, zone: ZoneInfo) -> list[tuple[int, str]]:
    """Return at most a handful of (time, label) for the starts of hours, days or months in a time zone."""
    days = (until - since) / (24 * HOUR)
    first, last = (datetime.fromtimestamp(at / 1_000_000, zone).date() for at in (since, until))
    if days < 3:
        steps = next(hours for hours in (3, 6, 12) if days * 24 / hours <= MOST_DATES + 1)
        instants = [
            datetime(day.year, day.month, day.day, hour, tzinfo=zone)
            for day in _list_days(first, last, 1)
            for hour in range(0, 24, steps)
        ]
        labeled = [
            (local, _format_date(local.date()) if local.hour == 0 else f"{local.hour:02d}:00") for local in instants
        ]
    elif days / 14 <= MOST_DATES:
        step = next(step for step in (1, 2, 7, 14) if days / step <= MOST_DATES)
        labeled = [
            (datetime(day.year, day.month, day.day, tzinfo=zone), _format_date(day))
            for day in _list_days(first, last, step)
        ]
    else:
        step = next(step for step in (1, 2, 3, 6, 12, 24, 60, 120, 240, 600) if days / 30.4 / step <= MOST_DATES)
        months = range(first.year * 12 // step * step, last.year * 12 + 12, step)
        labeled = [
            (datetime(month // 12, month % 12 + 1, 1, tzinfo=zone), f"{MONTHS[month % 12]} {month // 12}")
            for month in months
        ]
    ticks = [(int(local.timestamp()) * 1_000_000, shown) for local, shown in labeled]
    return [(at, shown) for at, shown in ticks if since <= at <= until]


def _list_days(first: date, last: date, step: int) -> Iterator[date]:
    """Yield every *step*-th day from *first* to *last*; steps of weeks yield Mondays."""
    day = first - timedelta(days=first.weekday()) if step >= 7 else first
    while day <= last:
        yield day
        day += timedelta(days=step)


def _draw_course(frame: _Frame) -> str:
    """Return the SVG path of the values as steps, with gaps where the score is missing."""
    path: list[str] = []
    ends = [*(at for at, _ in frame.chart.points[1:]), frame.chart.until]
    before: int | None = None
    for (at, value), end in zip(frame.chart.points, ends, strict=True):
        if value is not None:
            path.append(f"{'M' if before is None else 'L'}{frame.x(at):.1f} {frame.y(value):.1f}")
            path.append(f"H{frame.x(end):.1f}")
        before = value
    return "".join(path)


def _draw_marks(frame: _Frame) -> Iterator[str]:
    """Draw a numbered disc at each mark, and the legend below the plot."""
    chart = frame.chart
    spots = [_locate_mark(mark, frame) for mark in chart.marks]
    discs: list[tuple[float, float]] = []
    below = TOP + HEIGHT + LEGEND
    for number, (mark, (x, y)) in enumerate(zip(chart.marks, spots, strict=True), 1):
        discs.append(_find_free_position(x, y, discs=discs, spots=spots, frame=frame))
        yield f'<path d="M{x:.1f} {y:.1f}L{discs[-1][0]:.1f} {discs[-1][1]:.1f}" stroke="{MARK}" stroke-width="1.5"/>'
        yield f'<circle class="spot" cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{MARK}" stroke="{PAPER}"/>'
        yield from _draw_number(number, *discs[-1])
        yield from _draw_number(number, MARGIN + DISC, below + NORMAL - SMALL / 3)
        for line in _wrap_mark(chart, mark):
            yield _draw_text(line, MARGIN + 2 * DISC + 8, below + NORMAL, size=NORMAL, name="mark")
            below += LEGEND_LINE
        below += LEGEND_GAP


def _wrap_mark(chart: Chart, mark: Mark) -> list[str]:
    """Return the description of a mark in lines that fit below the plot; an ellipsis marks what has no room."""
    room = int((WIDTH - 2 * MARGIN - 2 * DISC - 8) / (AVERAGE * NORMAL))
    lines = wrap(_keep_printable(_describe_mark(chart, mark)), room)
    shown = lines[:MOST_LEGEND_LINES]
    return shown if shown == lines else [*shown[:-1], f"{shown[-1][: room - 1].rstrip()}…"]


def _locate_mark(mark: Mark, frame: _Frame) -> tuple[float, float]:
    """Return the coordinates of a mark: at its new value, or at the previous value if the score was removed."""
    values = (mark.after, mark.before, frame.chart.score_type.start)
    value = next(value for value in values if value is not None)
    return frame.x(mark.at), frame.y(min(max(frame.lowest, value), frame.highest))


def _draw_number(number: int, x: float, y: float) -> Iterator[str]:
    yield f'<circle class="disc" cx="{x:.1f}" cy="{y:.1f}" r="{DISC}" fill="{MARK}" stroke="{PAPER}"/>'
    yield _draw_text(str(number), x, y + SMALL / 3, size=SMALL, fill=ON_MARK, anchor="middle", name="number")


def _find_free_position(
    x: float,
    y: float,
    *,
    discs: Sequence[tuple[float, float]],
    spots: Sequence[tuple[float, float]],
    frame: _Frame,
) -> tuple[float, float]:
    """Return the nearest free position for the disc of a mark, inside the plot and clear of other discs and marks."""
    spacing = 2 * DISC + 2
    for distance in range(1, 12):
        for right, down in ((0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1), (-1, 0), (1, 0)):
            position = x + right * distance * spacing, y + down * distance * spacing
            inside = frame.left + DISC <= position[0] <= frame.right - DISC
            inside = inside and TOP + DISC <= position[1] <= TOP + HEIGHT - DISC
            clear = all(dist(position, disc) >= spacing for disc in discs)
            if inside and clear and all(dist(position, spot) >= DISC + 5 for spot in spots):
                return position
    return x, y


def _describe_mark(chart: Chart, mark: Mark) -> str:
    score_type = chart.score_type
    change = (
        f"{_format_value(mark.before, score_type, band=False)} → {_format_value(mark.after, score_type, band=False)}"
    )
    return f"{_format_day(chart, mark.at)}: {change}, {mark.cause}"


def _format_value(value: int | None, score_type: ScoreType, *, band: bool = True) -> str:
    if value is None:
        return MISSING
    band_name = score_type.band(value) if band else None
    return f"{show(value)} ({band_name})" if band_name else show(value)


def _format_day(chart: Chart, instant: int, *, year: bool = False) -> str:
    day = datetime.fromtimestamp(instant / 1_000_000, UTC).astimezone(chart.zone).date()
    return f"{_format_date(day)}, {day.year}" if year else _format_date(day)


def _format_date(day: date) -> str:
    return f"{MONTHS[day.month - 1]} {day.day}"


def shorten_text(text: str, *, size: float, room: float) -> str:
    """Return the text on one line without invisible characters, and with an ellipsis if it is likely too wide.

    Some invisible characters would change the direction of the text after them, and XML forbids others.
    """
    line = _keep_printable(text)
    most = int(room / (AVERAGE * size))
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def _keep_printable(text: str) -> str:
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


def _draw_text(text: str, x: float, y: float, *, size: float, name: str, fill: str = INK, anchor: str = "start") -> str:
    attributes = f'x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{fill}" text-anchor="{anchor}"'
    return f'<text class="{name}" {attributes}>{escape(text)}</text>'
