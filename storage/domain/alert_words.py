"""Read the words of an alert rule: `when fit crosses 8 if owner:me in #sales`; and write them back."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from storage.domain.alerts import Region
from storage.domain.errors import BadNumber, Refusal, UnknownScoreType
from storage.domain.filters.complaints import meant
from storage.domain.score_types import ScoreType
from storage.domain.values import parse, show

EXAMPLE = "`/score alerts add when score crosses 80 if owner:me in #sales`"
_CHANNEL = re.compile(r"(?:^|\s)in\s+<#(?P<id>[CG][A-Z0-9]+)(?:\|[^<>]*)?>\s*$", re.IGNORECASE)
_PLAIN_CHANNEL = re.compile(r"(?:^|\s)in\s+#\S+\s*$", re.IGNORECASE)
_IF = re.compile(r"(?:^|\s)if\s+", re.IGNORECASE)
_UP = re.compile(
    r"(?:crosses(?:\s+above)?|reaches|rises\s+(?:to|above)|goes\s+above|>=)\s*(?P<edge>\S+)", re.IGNORECASE
)
_DOWN = re.compile(r"(?:(?:crosses|falls|drops|goes)\s+below|<)\s*(?P<edge>\S+)", re.IGNORECASE)
_BAND = re.compile(r"(?:enters|becomes|is(?:\s+in)?)\s+(?P<band>\S+)", re.IGNORECASE)
_WHEN = re.compile(r"(?:when\s+)?(?P<type>[a-z][a-z0-9_]*)\s*(?P<rest>.*)", re.IGNORECASE | re.DOTALL)


class BadAlert(Refusal):
    """That rule cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertWords:
    """What the words of a rule say; *condition* is the text of a filter, blank for everybody."""

    score_type: ScoreType
    region: Region
    condition: str = ""
    channel: str | None = None


def read_alert(text: str, types: Sequence[ScoreType]) -> AlertWords:
    """Read a rule; raises BadAlert, UnknownScoreType. The condition is not looked at."""
    in_channel = _CHANNEL.search(text)
    rest = text[: in_channel.start()] if in_channel else text
    if not in_channel and _PLAIN_CHANNEL.search(text):
        raise BadAlert("Slack did not say which channel that is: type # and choose it from the list that opens")
    parts = _IF.split(rest, maxsplit=1)
    said = _WHEN.fullmatch(parts[0].strip())
    if said is None:
        raise BadAlert(f"Say when: {EXAMPLE}")
    score_type = next((one for one in types if one.key == said["type"].casefold()), None)
    if score_type is None:
        raise UnknownScoreType(said["type"], known=tuple(one.key for one in types))
    return AlertWords(
        score_type=score_type,
        region=_region(said["rest"].strip(), score_type),
        condition=parts[1].strip() if len(parts) > 1 else "",
        channel=in_channel["id"].upper() if in_channel else None,
    )


def _region(text: str, score_type: ScoreType) -> Region:
    if up := _UP.fullmatch(text):
        return Region(low=_edge(up["edge"], score_type))
    if down := _DOWN.fullmatch(text):
        return Region(high=_edge(down["edge"], score_type))
    if band := _BAND.fullmatch(text):
        return band_region(score_type, band["band"].casefold())
    raise BadAlert(f"`{text}` does not say when. Say for example: {EXAMPLE}")


def _edge(text: str, score_type: ScoreType) -> int:
    try:
        edge = parse(text)
    except BadNumber as exc:
        raise BadAlert(f"{exc}. Say for example: {EXAMPLE}") from exc
    if not score_type.minimum < edge <= score_type.maximum:
        what = f"{score_type.label} runs from {score_type.range_shown}, so it never crosses {show(edge)}"
        raise BadAlert(f"{what}. Choose an edge above {show(score_type.minimum)}")
    return edge


def band_region(score_type: ScoreType, name: str) -> Region:
    """Give the part of the range that a band names; raises BadAlert."""
    names = [band.name for band in score_type.bands]
    if name not in names:
        what = f"{score_type.label} has no band `{name}`."
        raise BadAlert(f"{what} {meant(name, names)}" if names else f"{what} It has no bands: say `crosses 80`")
    place = names.index(name)
    above = score_type.bands[place + 1].start if place + 1 < len(names) else None
    return Region(low=score_type.bands[place].start if place else None, high=above)


def written(score_type: ScoreType, region: Region) -> str:
    """Write when a rule asks, as it could be typed: `fit crosses 8`."""
    for place, band in enumerate(score_type.bands):
        above = score_type.bands[place + 1].start if place + 1 < len(score_type.bands) else None
        if region.high is not None and region == Region(low=band.start if place else None, high=above) and place:
            return f"{score_type.key} enters {band.name}"
    if region.low is not None and region.high is None:
        return f"{score_type.key} crosses {show(region.low)}"
    if region.high is not None:
        return f"{score_type.key} crosses below {show(region.high)}"
    return f"{score_type.key} is scored"
