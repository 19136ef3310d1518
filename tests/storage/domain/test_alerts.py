"""An alert is an edge with memory: decided for every way a score can move."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.domain.alert_words import BadAlert, read_alert, written
from storage.domain.alerts import Memory, Region, Watch, decide
from storage.domain.errors import UnknownScoreType
from storage.domain.score_types import Band, ScoreType

DAY = 86_400_000_000
BANDS = (Band(name="cold", start=0), Band(name="warm", start=40_000), Band(name="hot", start=80_000))
SCORE = ScoreType(
    id=1, definition=1, number=1, key="score", label="Score", minimum=0, maximum=100_000, step=1000, start=0,
    bands=BANDS, is_default=True,
)  # fmt: skip  # the numbers of one definition stand together
UP, DOWN, WARM = Region(low=80_000), Region(high=40_000), Region(low=40_000, high=80_000)


def watch(region: Region, *, hold: int = 0, cooldown: int = 0) -> Watch:
    """Watch a region with a margin of five points."""
    return Watch(rule=1, score_type=SCORE, region=region, margin=5_000, hold=hold, cooldown=cooldown)


@dataclass
class Story:
    """What happens while a score moves: f fires, c closes, . neither."""

    rule: Watch
    memory: Memory = field(default_factory=Memory)
    told: str = ""

    def see(self, *points: int | None, at: int = 0) -> str:
        """Look at values, in points, one after the other."""
        for value in points:
            thousandths = None if value is None else value * 1000
            decision = decide(self.rule, self.memory, thousandths, now=at)
            self.memory = decision.memory
            self.told += "f" if decision.fires else "c" if decision.closes else "."
        return self.told


@pytest.mark.parametrize(
    ("region", "values", "told"),
    [
        (UP, (79, 80, 81, 100), ".f.."),  # once, not at every update
        (UP, (85, 76, 85), "f.."),  # between the edge and the line to arm it again nothing happens
        (UP, (85, 75, 85), "fcf"),
        (UP, (85, None, 85), "fcf"),  # missing is away
        (UP, (20, None, 0), "..."),
        (DOWN, (41, 40, 39, 12), "..f."),
        (DOWN, (39, 44, 39), "f.."),
        (DOWN, (39, 45, 39), "fcf"),
        (WARM, (39, 40, 79, 80, 60), ".f..."),
        (WARM, (40, 35, 40, 85, 40), "fcfcf"),
        (Region(low=3_000), (3, 0, 3), "fcf"),  # the line is never past the range
        (Region(high=98_000), (97, 100, 97), "fcf"),
    ],
    ids=str,
)
def test_an_edge_fires_once_and_is_armed_by_going_away(
    region: Region, values: tuple[int | None, ...], told: str
) -> None:
    """Whoever stays inside is not asked for again; whoever was well outside is."""
    assert Story(watch(region)).see(*values) == told


def test_a_firing_within_the_rest_is_spent() -> None:
    """It takes another way out and in, after the rest, to ask again."""
    story = Story(watch(UP, cooldown=14 * DAY))
    story.see(85, at=0)
    story.see(10, 90, at=13 * DAY)  # closes, and comes back too early
    story.see(91, at=15 * DAY)
    assert story.told == "fc.."
    assert story.see(10, 90, at=15 * DAY) == "fc..cf"


def test_a_hold_waits_and_a_dip_begins_it_anew() -> None:
    """Only who stays inside for the whole of it is asked for."""
    story = Story(watch(UP, hold=DAY))
    story.see(85, at=0)
    story.see(78, 85, at=DAY // 2)
    story.see(86, at=DAY)
    story.see(86, at=DAY + DAY // 2)
    assert story.told == "....f"


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 100)), max_size=40),
    st.sampled_from([UP, DOWN, WARM]),
    st.integers(0, 3),
)
def test_between_two_firings_the_score_was_away(values: list[int | None], region: Region, rest: int) -> None:
    """And every firing finds the score inside; a closing follows a taking."""
    story = Story(watch(region, cooldown=rest))
    since: list[int | None] | None = None  # the values seen since the last firing
    for at, value in enumerate(values):
        before = len(story.told)
        story.see(value, at=at)
        if story.told[before] == "f":
            assert region.holds(None if value is None else value * 1000)
            if since is not None:
                assert any(region.is_left(None if v is None else v * 1000, SCORE, margin=5_000) for v in since)
                assert len(since) + 1 >= rest
            since = []
        elif since is not None:
            since.append(value)


@pytest.mark.parametrize(
    ("words", "region", "condition", "channel"),
    [
        ("when score crosses 80", UP, "", None),
        ("score crosses above 80.0", UP, "", None),
        ("when Score reaches 80 in <#C0SALES|sales>", UP, "", "C0SALES"),
        ("when score >= 80 if owner:me -tag:churned in <#C0SALES>", UP, "owner:me -tag:churned", "C0SALES"),
        ("score falls below 40 if fit>7", DOWN, "fit>7", None),
        ("score crosses below 40", DOWN, "", None),
        ("when score enters warm", WARM, "", None),
        ("when score is in hot", UP, "", None),
        ("when score enters cold", DOWN, "", None),
    ],
)
def test_words_are_read(words: str, region: Region, condition: str, channel: str | None) -> None:
    """As people write them."""
    read = read_alert(words, [SCORE])
    assert (read.score_type, read.region, read.condition, read.channel) == (SCORE, region, condition, channel)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "Say when: `/score alerts add when score crosses 80"),
        ("when score", "does not say when"),
        ("when score crosses", "does not say when"),
        ("when score crosses 8,5", "Use a point: 8.5"),
        ("when score crosses 0", "never crosses 0. Choose an edge above 0"),
        ("when score crosses 101", "runs from 0 to 100"),
        ("when score enters hto", "Did you mean `hot`?"),
        ("when score crosses 80 in #sales", "type # and choose it from the list"),
    ],
)
def test_what_cannot_be_read_is_told_what_to_type(words: str, said: str) -> None:
    """Never a bare no."""
    with pytest.raises(BadAlert) as refused:
        read_alert(words, [SCORE])
    assert said in str(refused.value)


def test_an_unknown_type_is_named_with_the_known_ones() -> None:
    """The dispatcher makes a sentence of it."""
    with pytest.raises(UnknownScoreType) as refused:
        read_alert("when heat crosses 8", [SCORE])
    assert (refused.value.key, refused.value.known) == ("heat", ("score",))


@pytest.mark.parametrize(
    ("region", "words"),
    [(UP, "score crosses 80"), (DOWN, "score crosses below 40"), (WARM, "score enters warm")],
)
def test_a_rule_is_written_as_it_could_be_typed(region: Region, words: str) -> None:
    """What is listed can be copied."""
    assert written(SCORE, region) == words
    assert read_alert(words, [SCORE]).region == region
