"""Parse alert rules as people type them: `when fit crosses 8 if owner:me in #sales hold 2h`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storage.domain.alerts.kinds import ANYWHERE, KINDS, Crosses, Kind, Region, Trigger
from storage.domain.alerts.values import BadAlert, parse_length, parse_number, write_example
from storage.domain.errors import UnknownScoreType
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType

_IF = re.compile(r"(?:^|\s)if\s+", re.IGNORECASE)
_PLAIN_CHANNEL = re.compile(r"(?:^|\s)in\s+#\S+\s*$", re.IGNORECASE)
_PLAIN_PERSON = re.compile(r"(?:^|\s)escalate\s+to\s+\S+\s*$", re.IGNORECASE)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertWords:
    """A parsed alert rule. Values in thousandths, times in µs.

    *condition* is the text of a filter, blank for all contacts. The other fields are explained in `Watch`.
    """

    score_type: ScoreType
    kind: Kind = Crosses
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
        raise BadAlert(f"Type when to alert: {write_example(types[0])}")
    score_type = next((known_type for known_type in types if known_type.key == clause["type"].casefold()), None)
    if score_type is None and clause["type"].casefold() == "when":
        raise BadAlert(f"Type when to alert: {write_example(types[0])}")
    if score_type is None:
        raise UnknownScoreType(clause["type"], known=tuple(known_type.key for known_type in types))
    kind, when = _parse_trigger(clause["rest"].strip(), score_type)
    if "escalate" in options and "sla" not in options:
        raise BadAlert("Type the time after which it is escalated: `sla 4h escalate to @jane`")
    return AlertWords(
        score_type=score_type,
        kind=kind,
        region=when.region,
        amount=when.amount,
        span=when.span,
        condition=parts[1].strip() if len(parts) > 1 else "",
        channel=options["channel"].upper() if "channel" in options else None,
        in_digest="digest" in options,
        hold=parse_length(options["hold"]) if "hold" in options else 0,
        margin=_parse_margin(options["margin"], score_type) if "margin" in options else None,
        cooldown=parse_length(options["cooldown"]) if "cooldown" in options else None,
        sla=parse_length(options["sla"]) if "sla" in options else None,
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


def _parse_trigger(text: str, score_type: ScoreType) -> tuple[Kind, Trigger]:
    """Parse the trigger of a rule. Raises BadAlert."""
    for kind in KINDS.values():
        trigger = kind.parse(text, score_type)
        if trigger is not None:
            return kind, trigger
    example = write_example(score_type)
    raise BadAlert(
        f"`{text}` does not say when. Type for example: {example}" if text else f"Type when to alert: {example}"
    )


def _parse_margin(text: str, score_type: ScoreType) -> int:
    margin = parse_number(text, score_type)
    if not 0 < margin <= score_type.maximum - score_type.minimum:
        problem = f"a margin of {show(margin)} does not fit into {score_type.range_shown}"
        raise BadAlert(
            f"{problem}: type by how much {score_type.label} must fall back before it alerts again, as `margin 5`"
        )
    return margin
