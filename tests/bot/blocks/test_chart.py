"""A chart shows its facts in its SVG, in its pixels with the bundled font alone, and in words."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations, product
from math import dist
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest
import resvg_py
from hypothesis import given
from hypothesis import strategies as st

from bot.blocks import chart as drawing
from bot.blocks.chart import TINTS, Chart, Mark, band_color, date_ticks, describe_chart, png, shorten_text, svg
from bot.features.history import zone_of
from storage.domain.score_types import COLOURS, Band, ScoreType
from storage.domain.timeline import Point
from tests.bot.pictures import read_png
from tests.counts import COUNTS

BERLIN = ZoneInfo("Europe/Berlin")
DAY = 86_400_000_000
NOW = int(datetime(2026, 11, 22, 12, tzinfo=BERLIN).timestamp()) * 1_000_000
SVG = "{http://www.w3.org/2000/svg}"
LIGHT_SLACK, DARK_SLACK = "#ffffff", "#1a1d21"


def kind(*bands: tuple[str, int], minimum: int = 0, maximum: int = 100, step: int = 1) -> ScoreType:
    """Return a score type; numbers are whole points."""
    return ScoreType(
        id=1, definition=1, number=1, key="score", label="Score", minimum=minimum * 1_000, maximum=maximum * 1_000,
        step=step * 1_000, start=max(minimum, 0) * 1_000,
        bands=tuple(Band(name=name, start=start * 1_000) for name, start in bands),
    )  # fmt: skip  # one definition


def charted(
    *points: tuple[float, int | None],
    score_type_: ScoreType | None = None,
    marks: tuple[Mark, ...] = (),
    owner: str = "Ada Lovelace",
    days: int = 90,
) -> Chart:
    """Return a chart from days ago and whole values."""
    points_drawn: list[Point] = [
        (NOW - int(ago * DAY), None if value is None else value * 1_000) for ago, value in points
    ]
    score_type = score_type_ or kind(("cold", 0), ("warm", 40), ("hot", 80))
    return Chart(
        contact_name=owner,
        score_type=score_type,
        since=NOW - days * DAY,
        until=NOW,
        zone=BERLIN,
        points=points_drawn,
        marks=marks,
    )


def mark(ago: float, before: int | None, after: int | None, cause: str) -> Mark:
    """Return a mark from days ago and whole values."""
    scaled = [None if value is None else value * 1_000 for value in (before, after)]
    return Mark(at=NOW - int(ago * DAY), before=scaled[0], after=scaled[1], cause=cause)


ADA = charted(
    (90, None), (80, 20), (45, 62), (30, None), (27, 70), (12, 92), (5, 85),
    marks=(
        mark(45, 20, 62, "from hubspot-eu, “Booked a demo”"),
        mark(30, 62, None, "by Jane Kim"),
        mark(27, None, 70, "by 田中さん, “great demo”"),
    ),
)  # fmt: skip  # points of a chart


def parsed(chart: Chart) -> ElementTree.Element:
    """Render a chart and parse the SVG as XML."""
    return ElementTree.fromstring(svg(chart))  # noqa: S314 - our own


def texts(svg: ElementTree.Element, name: str) -> list[str]:
    """Return the texts with a class, in document order."""
    return [str(text.text) for text in svg.iter(f"{SVG}text") if text.get("class") == name]


def test_what_the_picture_says() -> None:
    """The picture shows the contact, the score type, the days and the value; bands, ticks and marks have labels."""
    svg = parsed(ADA)

    assert texts(svg, "title") == ["Ada Lovelace · Score"]
    assert texts(svg, "now") == ["85 (hot) now"]
    assert texts(svg, "span") == ["Aug 24, 2026 to Nov 22, 2026, days in Berlin"]
    assert texts(svg, "band") == ["cold", "warm", "hot"]
    assert texts(svg, "value") == ["0", "20", "40", "60", "80", "100"]
    assert texts(svg, "date") == ["Sep 7", "Oct 5", "Nov 2"]
    assert texts(svg, "mark") == [
        *("Oct 8: 20 → 62, from hubspot-eu, “Booked a", "demo”"),
        "Oct 23: 62 → —, by Jane Kim",
        "Oct 26: — → 70, by 田中さん, “great demo”",
    ]
    assert sorted(texts(svg, "number")) == ["1", "1", "2", "2", "3", "3"]


def test_what_is_said_in_words() -> None:
    """The alternative text states the same facts, with every character of the words."""
    assert describe_chart(ADA) == (
        "Chart of Score of Ada Lovelace from Aug 24, 2026 to Nov 22, 2026: — at first, 85 (hot) now,"
        " lowest 20, highest 92. It was missing for some of the time. Bands: cold from 0, warm from 40, hot from 80."
        " What moved it most: 1. Oct 8: 20 → 62, from hubspot-eu, “Booked a demo”; 2. Oct 23: 62 → —, by Jane Kim;"
        " 3. Oct 26: — → 70, by 田中さん, “great demo”"
    )


def frame(svg: ElementTree.Element) -> tuple[float, float]:
    """Return the left edge of the days and their width."""
    (wide,) = {(float(rect.get("x", 0)), float(rect.get("width", 0))) for rect in of_class(svg, "rect", "band")}
    return wide


def of_class(svg: ElementTree.Element, tag: str, name: str) -> list[ElementTree.Element]:
    """Return the elements with a class."""
    return [node for node in svg.iter(SVG + tag) if node.get("class") == name]


def test_where_the_bands_are() -> None:
    """Each band is as high as its share of the range, with the lowest band at the bottom."""
    svg = parsed(ADA)
    bands = [(float(rect.get("y", 0)), float(rect.get("height", 0))) for rect in of_class(svg, "rect", "band")]
    top = bands[-1][0]

    assert [(y - top, height) for y, height in bands] == [(120, 80), (40, 80), (0, 40)]
    assert len({rect.get("fill") for rect in of_class(svg, "rect", "band")}) == 3


def test_a_band_has_its_colour() -> None:
    """A band has its configured color, and all colors differ; other bands have the default color of their position."""
    bands = tuple(Band(name=name, start=start * 1_000, colour=name) for start, name in enumerate(COLOURS))
    plain = of_class(parsed(ADA), "rect", "band")
    rects = of_class(parsed(charted((90, 5), score_type_=replace(kind(), bands=bands))), "rect", "band")
    cold, warm, hot = kind(("cold", 0), ("warm", 40), ("hot", 80)).bands
    mixed = of_class(
        parsed(charted((90, 5), score_type_=replace(kind(), bands=(cold, replace(warm, colour="purple"), hot)))),
        "rect",
        "band",
    )

    assert [rect.get("fill") for rect in rects] == [TINTS[name] for name in COLOURS]
    assert len(set(TINTS.values())) == len(COLOURS)
    assert [rect.get("fill") for rect in plain] == [TINTS["blue"], TINTS["yellow"], TINTS["red"]]
    assert [rect.get("fill") for rect in mixed] == [TINTS["blue"], TINTS["purple"], TINTS["red"]]


def test_the_course_is_steps_with_gaps() -> None:
    """The line is level between changes, vertical at a change, and missing where the score is missing."""
    svg = parsed(ADA)
    left, wide = frame(svg)
    top = float(of_class(svg, "rect", "band")[-1].get("y", 0))
    path = next(path_.get("d", "") for path_ in svg.iter(f"{SVG}path") if path_.get("id") == "course")

    def days_ago(x: str) -> float:
        return round(90 - (float(x) - left) / wide * 90, 1)

    def value(y: str) -> float:
        return round(100 - (float(y) - top) / 200 * 100, 1)

    steps = [
        (move, days_ago(x), value(y), days_ago(to))
        for move, x, y, to in re.findall(r"([ML])([\d.]+) ([\d.]+)H([\d.]+)", path)
    ]
    assert "".join(re.findall("[A-Z]", path)) == "MHLHMHLHLH"
    assert steps == [
        ("M", 80, 20, 45),
        ("L", 45, 62, 30),
        ("M", 27, 70, 12),
        ("L", 12, 92, 5),
        ("L", 5, 85, 0),
    ]


def test_marks_stand_on_the_course() -> None:
    """A mark stands at the value after its change, or at the value before for a cleared score."""
    near = charted((90, 10), (40, 90), (39.5, 30), (39, None), marks=(
        mark(40, 10, 90, "a"), mark(39.5, 90, 30, "b"), mark(39, 30, None, "c"),
    ))  # fmt: skip  # points of a chart
    svg = parsed(near)
    left, wide = frame(svg)
    top = float(of_class(svg, "rect", "band")[-1].get("y", 0))
    spots = [(float(circle.get("cx", 0)), float(circle.get("cy", 0))) for circle in of_class(svg, "circle", "spot")]

    values = [(90 - (x - left) / wide * 90, 100 - (y - top) / 2) for x, y in spots]
    assert values == [pytest.approx(point, abs=0.05) for point in ((40, 90), (39.5, 30), (39, 30))]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (1, [(0.5 - 1 / 4, "18:00"), (0.5, "Nov 22"), (0.5 + 1 / 4, "06:00"), (0.5 + 1 / 2, "12:00")]),
        (7, [(day, f"Nov {15 + day}") for day in range(1, 8)]),
        (30, [(0.5, "Oct 26"), (14.5, "Nov 9")]),
        (366, [(0.5, "Jan 2026")]),
    ],
)
def test_days_begin_where_the_reader_is(days: int, expected: list[tuple[float, str]]) -> None:
    """Ticks are midnights in the reader's zone, also across a change of the offset; longer charts have fewer ticks."""
    ticks = date_ticks(NOW - days * DAY, NOW, BERLIN)

    for at, label in ticks:
        local = datetime.fromtimestamp(at / 1_000_000, UTC).astimezone(BERLIN)
        assert (local.minute, local.second) == (0, 0)
        assert label == f"{local.hour:02d}:00" or local.hour == 0
    assert {label for _, label in expected} <= {label for _, label in ticks}
    assert 2 <= len(ticks) <= 9


@pytest.mark.parametrize(
    ("name", "key"),
    [("Asia/Kolkata", "Asia/Kolkata"), *((name, "UTC") for name in (None, "", "Mars/Olympus", "../passwd", "a\0b"))],
)
def test_the_zone_of_the_reader(name: str | None, key: str) -> None:
    """Without a valid zone from Slack, days are UTC days."""
    assert zone_of(name).key == key


def luminance(colour: str) -> float:
    """Return the relative luminance of a color: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, two: str) -> float:
    """Return the contrast ratio of two colors: 1 to 21."""
    darker, lighter = sorted((luminance(first), luminance(two)))
    return (lighter + 0.05) / (darker + 0.05)


def test_everything_stands_out() -> None:
    """Contrast meets WCAG 2.2 on light and dark Slack: 4.5 for text (7 here, because it is small), 3 for drawings.

    The paper is darker than a tenth of white, so that the picture does not dazzle in dark mode.
    """
    ladders = [[Band(name="one", start=place) for place in range(count)] for count in range(1, 12)]
    backgrounds = {drawing.NO_BAND, *TINTS.values()}
    backgrounds |= {band_color(bands, place) for bands in ladders for place in range(len(bands))}
    contrasts = {
        "text": (min(contrast(text, drawing.PAPER) for text in (drawing.INK, drawing.QUIET)), 7.0),
        "numbers": (contrast(drawing.ON_MARK, drawing.MARK), 7.0),
        "course": (min(contrast(drawing.LINE, tinted) for tinted in backgrounds), 7.0),
        "marks": (min(contrast(drawing.MARK, tinted) for tinted in backgrounds), 4.5),
        "borders": (min(contrast(drawing.EDGE, tinted) for tinted in backgrounds), 3.0),
        "the picture on a light Slack": (contrast(drawing.EDGE, LIGHT_SLACK), 3.0),
        "the picture on a dark Slack": (contrast(drawing.EDGE, DARK_SLACK), 3.0),
    }
    print({name: round(ratio, 1) for name, (ratio, _) in contrasts.items()})

    assert luminance(drawing.PAPER) < 0.1
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert {name for name, (ratio, least) in contrasts.items() if ratio < least} == set()


@pytest.mark.slow
def test_the_words_are_in_the_pixels() -> None:
    """All words are drawn with the bundled font and no system font; without the bundled font no word is drawn."""
    with_words = read_png(png(ADA))
    without = read_png(resvg_py.svg_to_bytes(svg_string=svg(ADA), zoom=2, skip_system_fonts=True))

    assert (with_words.width, with_words.height) == (without.width, without.height) == (840, 846)
    assert set(with_words.rows[423][3 + 4 * 20 : 4 * 820 : 4]) == {255}  # fully opaque
    for text in parsed(ADA).iter(f"{SVG}text"):
        label, size = str(text.text), float(text.get("font-size", 0))
        x, y, wide = float(text.get("x", 0)), float(text.get("y", 0)), 0.6 * size * len(label)
        left = x - {"start": 0.0, "middle": wide / 2, "end": wide}[text.get("text-anchor", "")]
        place = {"left": 2 * left, "right": 2 * (left + wide), "top": 2 * (y - size), "bottom": 2 * (y + size / 4)}
        with_count, blank = (image.pixels(text.get("fill", ""), **place) for image in (with_words, without))
        letters = len(label.replace(" ", ""))
        assert with_count - blank >= 2 * letters, label
        COUNTS["letters found in the pixels of a chart"] += letters


@pytest.mark.parametrize(
    ("name", "is_drawn"), [("", False), ("田" * 10, True), ("ก" * 10, True), ("\U0001f996" * 10, True)]
)
def test_letters_that_the_font_lacks_are_seen(name: str, is_drawn: bool) -> None:
    """A character that the font lacks is drawn as an empty box: it takes room, and the title ends further right."""
    picture = read_png(png(charted((90, 5), owner=name)))

    assert bool(picture.pixels(drawing.INK, left=230, right=420, top=20, bottom=70)) == is_drawn


def test_a_long_cause_has_two_lines() -> None:
    """The description of a mark has at most two lines; an ellipsis marks what has no room, also in a long word."""
    causes = (
        "by Jane Kim, “met the whole team of engineers at the fair in Berlin, and again in May”",
        "from " + "x" * 90,
    )
    drawn = parsed(charted((90, 5), marks=tuple(mark(30, 5, 9, cause) for cause in causes)))

    assert texts(drawn, "mark") == [
        *("Oct 23: 5 → 9, by Jane Kim, “met the whole", "team of engineers at the fair in Berlin,…"),
        *(f"Oct 23: 5 → 9, from {'x' * 22}", f"{'x' * 41}…"),
    ]


def test_a_long_text_is_shortened() -> None:
    """A text that is likely too wide ends with an ellipsis, and invisible characters are omitted."""
    assert shorten_text("Zoë Łukasz 田中 \U0001f996 85 → —", size=10, room=1_000) == "Zoë Łukasz 田中 \U0001f996 85 → —"
    assert shorten_text("a\u202eb\u200bc\x07\n  d\ue000", size=10, room=1_000) == "abc d"
    assert shorten_text("Ada Lovelace of the Analytical Engines", size=10, room=102) == "Ada Lovelace of…"


hostile = st.text(max_size=60) | st.sampled_from(['"><script>&amp;', "]]>", "\x00\ufffe\ud7ff", "𝕏" * 90, "<!channel>"])
names = st.lists(st.from_regex(r"[a-z][a-z0-9_-]{0,31}", fullmatch=True), unique=True, max_size=12)


@st.composite
def charts(draw: st.DrawFn) -> Chart:
    """Generate any chart that may be drawn."""
    minimum = draw(st.sampled_from([-1_000_000_000, -100, 0, 1]))
    maximum = minimum + draw(st.sampled_from([1, 4, 100, 101, 1_000_000_000]))
    starts = sorted(draw(st.sets(st.integers(minimum, maximum), max_size=12)) | {minimum})
    bands = zip(draw(names), starts, strict=False)
    values = st.none() | st.integers(minimum, maximum)
    days = draw(st.sampled_from([1, 2, 3, 7, 30, 90, 365, 9_999]))
    ago = sorted(draw(st.sets(st.floats(0, days), max_size=8)) | {float(days)}, reverse=True)
    chart = charted(
        *((days, draw(values)) for days in ago),
        score_type_=kind(*bands, minimum=minimum, maximum=maximum),
        marks=tuple(mark(days, draw(values), draw(values), draw(hostile)) for days in ago[:3]),
        owner=draw(hostile),
        days=days,
    )
    return chart


@given(charts())
def test_nothing_leaves_the_picture(chart: Chart) -> None:
    """Every chart is one well-formed document with all content inside its edges and words within Slack's limit."""
    svg = parsed(chart)

    for text in svg.iter(f"{SVG}text"):
        label, wide = str(text.text or ""), 0.6 * len(text.text or "") * float(text.get("font-size", 0))
        left = float(text.get("x", 0)) - {"start": 0.0, "middle": wide / 2, "end": wide}[text.get("text-anchor", "")]
        assert left >= 0
        assert left + wide <= drawing.WIDTH, label
        assert 0 <= float(text.get("y", 0)) <= chart.height
    for node in (*svg.iter(f"{SVG}circle"), *svg.iter(f"{SVG}rect")):
        assert 0 <= float(node.get("cx", node.get("x", 0))) <= drawing.WIDTH
        assert 0 <= float(node.get("cy", node.get("y", 0))) <= chart.height
    for path in svg.iter(f"{SVG}path"):
        for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path.get("d", "")):
            assert 0 <= float(x) <= drawing.WIDTH
            assert 0 <= float(y) <= chart.height
    circles = {
        name: [(float(circle.get("cx", 0)), float(circle.get("cy", 0))) for circle in of_class(svg, "circle", name)]
        for name in ("disc", "spot")
    }
    assert min((dist(*pair) for pair in combinations(circles["disc"], 2)), default=99) >= 19  # each is 19 wide
    assert min((dist(*pair) for pair in product(circles["disc"], circles["spot"])), default=99) >= 13.5
    assert 1 <= len(texts(svg, "value")) <= 7
    assert len(json.dumps(describe_chart(chart))) <= 1_910
