"""Parse and write alert rules as people type them: `when fit crosses 8 if owner:me in #sales hold 2h`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storage.domain.alerts.kinds import ANYWHERE, Kind, Region
from storage.domain.durations import UNITS, BadSpan, parse_span, write_span
from storage.domain.errors import BadNumber, Refusal, UnknownScoreType
from storage.domain.filters.errors import did_you_mean
from storage.domain.numbers import parse, show
from storage.domain.score_types import ScoreType

EXAMPLE = "`/score alerts add when score crosses 80 if owner:me in #sales`"
LEAD = 3 * UNITS["d"]  #: the default lead time of `about to fall out of`, in µs
LONGEST = 366 * UNITS["d"]  #: the longest span that a rule may have, in µs
_IF = re.compile(r"(?:^|\s)if\s+", re.IGNORECASE)
_PLAIN_CHANNEL = re.compile(r"(?:^|\s)in\s+#\S+\s*$", re.IGNORECASE)
_PLAIN_PERSON = re.compile(r"(?:^|\s)escalate\s+to\s+\S+\s*$", re.IGNORECASE)
_UP = re.compile(
    r"(?:crosses(?:\s+above)?|reaches|rises\s+(?:to|above)|goes\s+above|>=)\s*(?P<edge>\S+)", re.IGNORECASE
)
_DOWN = re.compile(r"(?:(?:crosses|falls|drops|goes)\s+below|<)\s*(?P<edge>\S+)", re.IGNORECASE)
_BAND = re.compile(r"(?:enters|becomes|is(?:\s+in)?)\s+(?P<band>\S+)", re.IGNORECASE)
_TREND = re.compile(
    r"(?P<how>moved|moves|rises|falls)\s+(?:by\s+)?(?P<amount>\S+)\s+(?:in|within)\s+(?P<span>\S+)", re.IGNORECASE
)
_UNTOUCHED = re.compile(r"(?:is\s+)?untouched\s+for\s+(?P<span>\S+)", re.IGNORECASE)
_COOLING = re.compile(
    r"(?:is\s+)?about\s+to\s+fall\s+out\s+of\s+(?P<band>\S+)(?:\s+(?:in|within)\s+(?P<span>\S+))?", re.IGNORECASE
)
_WHEN = re.compile(r"(?:when\s+)?(?P<type>[a-z][a-z0-9_]*)\s*(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
# Options at the end of a rule, in any order.
_OPTIONS = {
    "channel": re.compile(r"(?:^|\s)in\s+<#(?P<value>[CG][A-Z0-9]+)(?:\|[^<>]*)?>\s*$", re.IGNORECASE),
    "digest": re.compile(r"(?:^|\s)in\s+(?P<value>(?:the\s+)?digest)\s*$", re.IGNORECASE),
    "escalate": re.compile(r"(?:^|\s)escalate\s+to\s+<@(?P<value>[UW][A-Z0-9]+)(?:\|[^<>]*)?>\s*$", re.IGNORECASE),
    "hold": re.compile(r"(?:^|\s)hold\s+(?P<value>\S+)\s*$", re.IGNORECASE),
    "margin": re.compile(r"(?:^|\s)margin\s+(?P<value>\S+)\s*$", re.IGNORECASE),
    "cooldown": re.compile(r"(?:^|\s)cooldown\s+(?P<value>\S+)\s*$", re.IGNORECASE),
    "sla": re.compile(r"(?:^|\s)sla\s+(?P<value>\S+)\s*$", re.IGNORECASE),
}


class BadAlert(Refusal):
    """That rule cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertWords:
    """A parsed alert rule. Values in thousandths, times in µs.

    *condition* is the text of a filter, blank for all contacts. The other fields are explained in `Watch`.
    """

    score_type: ScoreType
    kind: Kind = Kind.CROSSES
    region: Region = ANYWHERE
    amount: int = 0
    span: int = 0
    condition: str = ""
    channel: str | None = None
    in_digest: bool = False
    hold: int = 0
    margin: int | None = None  #: None: one twentieth of the range
    cooldown: int | None = None  #: None: two weeks
    sla: int | None = None  #: the time within which a follow-up should be claimed
    escalate_to: str | None = None  #: the Slack user id to escalate to after *sla*


def read_alert(text: str, types: Sequence[ScoreType]) -> AlertWords:
    """Parse a rule. The condition is not validated; use `filters.parse` for it.

    Raises BadAlert, UnknownScoreType.
    """
    rest, options = _split_options(text, {})
    parts = _IF.split(rest, maxsplit=1)
    trigger, options = _split_options(parts[0], options)  # options may also stand before the condition
    clause = _WHEN.fullmatch(trigger.strip())
    if clause is None:
        raise BadAlert(f"Type when to alert: {EXAMPLE}")
    score_type = next((known_type for known_type in types if known_type.key == clause["type"].casefold()), None)
    if score_type is None and clause["type"].casefold() == "when":
        raise BadAlert(f"Type when to alert: {EXAMPLE}")
    if score_type is None:
        raise UnknownScoreType(clause["type"], known=tuple(known_type.key for known_type in types))
    kind, region, amount, span = _parse_clause(clause["rest"].strip(), score_type)
    if "escalate" in options and "sla" not in options:
        raise BadAlert("Type the time after which it is escalated: `sla 4h escalate to @jane`")
    return AlertWords(
        score_type=score_type,
        kind=kind,
        region=region,
        amount=amount,
        span=span,
        condition=parts[1].strip() if len(parts) > 1 else "",
        channel=options["channel"].upper() if "channel" in options else None,
        in_digest="digest" in options,
        hold=_parse_span(options["hold"]) if "hold" in options else 0,
        margin=_parse_margin(options["margin"], score_type) if "margin" in options else None,
        cooldown=_parse_span(options["cooldown"]) if "cooldown" in options else None,
        sla=_parse_span(options["sla"]) if "sla" in options else None,
        escalate_to=options["escalate"].upper() if "escalate" in options else None,
    )


def _split_options(text: str, options_before: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Split the options off the end of *text*; return the rest and all options, including *options_before*.

    Raises BadAlert for an option that is given twice, or a channel or person that Slack did not turn into an id.
    """
    options = dict(options_before)
    while True:
        last_option = next(
            ((name, match) for name, pattern in _OPTIONS.items() if (match := pattern.search(text))), None
        )
        if last_option is None:
            break
        name, match = last_option
        if name in options or (name in ("channel", "digest") and {"channel", "digest"} & options.keys()):
            raise BadAlert(f"`{match[0].strip()}` is given twice: type one place, and each option once")
        options[name], text = match["value"], text[: match.start()]
    if _PLAIN_CHANNEL.search(text):
        raise BadAlert("Slack did not say which channel that is: type # and choose it from the list that opens")
    if _PLAIN_PERSON.search(text):
        raise BadAlert("Slack did not say who that is: type @ and choose them from the list that opens")
    return text, options


def _parse_clause(text: str, score_type: ScoreType) -> tuple[Kind, Region, int, int]:
    """Parse the trigger of a rule; return its kind, region, amount and span. Raises BadAlert."""
    if trend := _TREND.fullmatch(text):
        verb = trend["how"].casefold()
        amount = _parse_number(trend["amount"])
        if not 0 < amount <= score_type.maximum - score_type.minimum:
            raise BadAlert(f"{score_type.label} runs from {score_type.range_shown}, so it never moves {show(amount)}")
        return Kind.MOVED if verb == "moves" else Kind(verb), ANYWHERE, amount, _parse_span(trend["span"])
    if untouched := _UNTOUCHED.fullmatch(text):
        return Kind.UNTOUCHED, ANYWHERE, 0, _parse_span(untouched["span"])
    if cooling := _COOLING.fullmatch(text):
        if score_type.half_life is None:
            raise BadAlert(f"{score_type.label} does not fade, so no contact falls out of a band by itself")
        low = band_region(score_type, cooling["band"].casefold()).low
        if low is None or low <= score_type.start:
            raise BadAlert(f"{score_type.label} fades to {show(score_type.start)}, so no contact falls below that band")
        return Kind.COOLING, Region(low=low), 0, _parse_span(cooling["span"]) if cooling["span"] else LEAD
    if upward := _UP.fullmatch(text):
        return Kind.CROSSES, Region(low=_parse_edge(upward["edge"], score_type)), 0, 0
    if downward := _DOWN.fullmatch(text):
        return Kind.CROSSES, Region(high=_parse_edge(downward["edge"], score_type)), 0, 0
    if band := _BAND.fullmatch(text):
        return Kind.CROSSES, band_region(score_type, band["band"].casefold()), 0, 0
    raise BadAlert(
        f"`{text}` does not say when. Type for example: {EXAMPLE}" if text else f"Type when to alert: {EXAMPLE}"
    )


def _parse_edge(text: str, score_type: ScoreType) -> int:
    edge = _parse_number(text)
    if not score_type.minimum < edge <= score_type.maximum:
        problem = f"{score_type.label} runs from {score_type.range_shown}, so it never crosses {show(edge)}"
        edges = f"above {show(score_type.minimum)}, up to {show(score_type.maximum)}"
        raise BadAlert(f"{problem}. Choose an edge {edges}")
    return edge


def _parse_margin(text: str, score_type: ScoreType) -> int:
    margin = _parse_number(text)
    if not 0 < margin <= score_type.maximum - score_type.minimum:
        problem = f"a margin of {show(margin)} does not fit into {score_type.range_shown}"
        raise BadAlert(
            f"{problem}: type by how much {score_type.label} must fall back before it alerts again, as `margin 5`"
        )
    return margin


def _parse_number(text: str) -> int:
    try:
        return parse(text)
    except BadNumber as exc:
        raise BadAlert(f"{exc}. Type for example: {EXAMPLE}") from exc


def _parse_span(text: str) -> int:
    try:
        span = parse_span(text)
    except BadSpan as exc:
        raise BadAlert(str(exc)) from exc
    if span > LONGEST:
        raise BadAlert(f"`{text}` is longer than a year: choose a shorter time")
    return span


def band_region(score_type: ScoreType, name: str) -> Region:
    """Return the region of a band. Raises BadAlert if the score type has no band of this name."""
    names = [band.name for band in score_type.bands]
    if name not in names:
        problem = f"{score_type.label} has no band `{name}`."
        raise BadAlert(
            f"{problem} {did_you_mean(name, names)}" if names else f"{problem} It has no bands: type `crosses 80`"
        )
    index = names.index(name)
    next_start = score_type.bands[index + 1].start if index + 1 < len(names) else None
    return Region(low=score_type.bands[index].start if index else None, high=next_start)


def write_alert(
    score_type: ScoreType, region: Region, *, kind: Kind = Kind.CROSSES, amount: int = 0, span: int = 0
) -> str:
    """Return the trigger of a rule as it would be typed: `fit crosses 8`."""
    match kind:
        case Kind.MOVED | Kind.RISES | Kind.FALLS:
            return f"{score_type.key} {kind.value} {show(amount)} in {write_span(span)}"
        case Kind.UNTOUCHED:
            return f"{score_type.key} untouched for {write_span(span)}"
        case Kind.COOLING:
            band_name = score_type.band(region.low) or show(region.low or 0)
            return f"{score_type.key} about to fall out of {band_name} in {write_span(span)}"
    for index, band in enumerate(score_type.bands):
        next_start = score_type.bands[index + 1].start if index + 1 < len(score_type.bands) else None
        if region.high is not None and region == Region(low=band.start if index else None, high=next_start) and index:
            return f"{score_type.key} enters {band.name}"
    if region.low is not None and region.high is None:
        return f"{score_type.key} crosses {show(region.low)}"
    if region.high is not None:
        return f"{score_type.key} crosses below {show(region.high)}"
    return f"{score_type.key} is scored"
