"""Parse the numbers, times and bands in alert rules as people type them."""

from storage.domain.durations import UNITS, BadSpan, parse_span
from storage.domain.errors import BadNumber, Refusal
from storage.domain.numbers import parse, show
from storage.domain.score_types import ScoreType
from storage.domain.validation import did_you_mean

LONGEST = 366 * UNITS["d"]  #: the longest span that a rule may have, in µs


class BadAlert(Refusal):
    """That rule cannot be read."""


def write_example(score_type: ScoreType) -> str:
    """Return a rule about a score type, as people type it."""
    return f"`/score alerts add when {score_type.key} crosses {show(score_type.example_edge)} if owner:me`"


def parse_number(text: str, score_type: ScoreType) -> int:
    """Return a number in thousandths; a refusal has an example about the score type. Raises BadAlert."""
    try:
        return parse(text)
    except BadNumber as exc:
        raise BadAlert(f"{exc}. Type for example: {write_example(score_type)}") from exc


def parse_length(text: str) -> int:
    """Return a length of time in µs. Raises BadAlert."""
    try:
        span = parse_span(text)
    except BadSpan as exc:
        raise BadAlert(str(exc)) from exc
    if span > LONGEST:
        raise BadAlert(f"`{text}` is longer than a year: choose a shorter time")
    return span


def parse_edge(text: str, score_type: ScoreType) -> int:
    """Return a value that the score may cross, in thousandths. Raises BadAlert."""
    edge = parse_number(text, score_type)
    if not score_type.minimum < edge <= score_type.maximum:
        problem = f"{score_type.label} runs from {score_type.range_shown}, so it never crosses {show(edge)}"
        edges = f"above {show(score_type.minimum)}, up to {show(score_type.maximum)}"
        raise BadAlert(f"{problem}. Choose an edge {edges}")
    return edge


def parse_band(name: str, score_type: ScoreType) -> tuple[int | None, int | None]:
    """Return where a band starts and where the next one does; None for the first start and the last end.

    Raises BadAlert if the score type has no band of this name.
    """
    names = [band.name for band in score_type.bands]
    if name.casefold() not in names:
        problem = f"{score_type.label} has no band `{name.casefold()}`."
        hint = (
            did_you_mean(name.casefold(), names)
            if names
            else f"It has no bands: type `crosses {show(score_type.example_edge)}`"
        )
        raise BadAlert(f"{problem} {hint}")
    index = names.index(name.casefold())
    next_start = score_type.bands[index + 1].start if index + 1 < len(names) else None
    return score_type.bands[index].start if index else None, next_start
