"""Make the small parts that every message is drawn from, within Slack's limits."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from bot.slack.handling import SLACK, Block
from bot.slack.text import escape, strip_bidi
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType

MISSING = "—"
BUTTON_TEXT, BUTTON_VALUE, SECTION_TEXT, OPTION_TEXT = 75, 2000, 3000, 75
# Slack refuses a message whose blocks, as JSON, have over some 13,200 characters; heads and buttons need the rest.
ALL_SECTIONS = 9_500
LONGEST_LINE = 600
CONTEXT_TEXT = 800


def short_name(text: str) -> str:
    """Write a name for a list: short enough to leave room for its neighbours."""
    return escape(truncate(" ".join(text.split()), 80))


def truncate(text: str, most: int) -> str:
    """Shorten a text to *most* characters, saying so with an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def truncate_markup(text: str, most: int) -> str:
    """Shorten mrkdwn, not in the middle of a date, a mention or an escaped letter."""
    if len(text) <= most:
        return text
    shortened = text[: most - 1]
    if shortened.rfind("<") > shortened.rfind(">"):
        shortened = shortened[: shortened.rfind("<")]
    if shortened.rfind("&") > shortened.rfind(";"):
        shortened = shortened[: shortened.rfind("&")]
    return shortened + "…"


def section(text: str, *, accessory: Block | None = None) -> Block:
    """Make a section of mrkdwn."""
    block: Block = {"type": "section", "text": _mrkdwn(truncate_markup(text, SECTION_TEXT))}
    return block | ({"accessory": accessory} if accessory else {})


def sections(lines: Sequence[str]) -> list[Block]:
    """Make as many sections as the lines need, each line whole; lines that Slack would not take are counted."""
    texts, total = [""], 0
    for index, line in enumerate(lines):
        short = truncate_markup(line, LONGEST_LINE)
        total += len(json.dumps(short))
        if total > ALL_SECTIONS:
            short = f"… and {len(lines) - index} more"
        if len(texts[-1]) + len(short) + 1 > SECTION_TEXT:
            texts.append("")
        texts[-1] = f"{texts[-1]}\n{short}" if texts[-1] else short
        if total > ALL_SECTIONS:
            break
    return [section(text) for text in texts if text]


def context(text: str) -> Block:
    """Make a line of small print."""
    return {"type": "context", "elements": [_mrkdwn(truncate_markup(text, CONTEXT_TEXT))]}


def _mrkdwn(text: str) -> Block:
    """Make text with markup; verbatim, so that Slack makes no links of addresses that stand in what was sent."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def plain_text(text: str, *, most: int) -> Block:
    """Make text without markup, shortened to *most* characters."""
    return {"type": "plain_text", "text": truncate(strip_bidi(text), most)}


def button(label: str, *, action: str, value: str, primary: bool = False) -> Block:
    """Make a button; its *value* is what the action is given."""
    text = plain_text(label, most=BUTTON_TEXT)
    style = {"style": "primary"} if primary else {}
    return {"type": "button", "text": text, "action_id": action, "value": value[:BUTTON_VALUE], **style}


def actions(buttons: Sequence[Block]) -> Block:
    """Make a row of buttons; actions that stand in it twice are told apart by a number."""
    numbered = [{**element, "action_id": f"{element['action_id']}:{index}"} for index, element in enumerate(buttons)]
    return {"type": "actions", "elements": numbered}


def format_value(value: int | None) -> str:
    """Write a value, or that it is missing."""
    return MISSING if value is None else show(value)


def format_signed(amount: int) -> str:
    """Write an amount that is added: +5, -3."""
    return f"{'-' if amount < 0 else '+'}{show(abs(amount))}"


def format_with_band(value: int | None, score_type: ScoreType, *, bold: bool = False) -> str:
    """Write a value with the band it is in: *85* (hot)."""
    band = score_type.band(value)
    shown = f"*{format_value(value)}*" if bold and value is not None else format_value(value)
    return f"{shown} ({band})" if band else shown


def score_called(*labels: str) -> str:
    """Name a score by the labels of the types it may be of: Fit score, Score, Fit or Heat score."""
    last = "" if labels[-1].casefold().endswith("score") else " score"
    return escape(" or ".join(labels)) + last


def moment(at: int) -> str:
    """Write a time that Slack shows in the reader's own zone."""
    plain = datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"<!date^{at // 1_000_000}^{{date_short_pretty}} {{time}}|{plain}>"


def format_actor(actor: str | None, source: str | None) -> str:
    """Say who a change is from."""
    if actor:
        return f"by <@{actor}>" if source == SLACK else f"by {escape(actor)}"
    return f"from {escape(source)}" if source else ""


def trend(moved: Mapping[int, int]) -> list[str]:
    """Say how a score moved in so many days, where that is known and it did: ▲ 5 in 7 days, ▼ 12 in 30."""
    days = [(period, by) for period, by in sorted(moved.items()) if by]
    parts = [
        f"{'▲' if by > 0 else '▼'} {show(abs(by))} in {period}{'' if index else ' days'}"
        for index, (period, by) in enumerate(days)
    ]
    return [", ".join(parts)] if parts else []


def day(at: int) -> str:
    """Write a day with its name, which Slack shows in the reader's own zone."""
    plain = datetime.fromtimestamp(at / 1_000_000, UTC)
    return f"<!date^{at // 1_000_000}^{{date_long}}|{plain:%A, %B} {plain.day}, {plain.year}>"
