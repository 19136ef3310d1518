"""Make the small parts that every message is drawn from, within Slack's limits."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from bot.asking import SLACK, Block
from bot.text import escape
from storage.domain.score_types import ScoreType
from storage.domain.values import show

MISSING = "—"
BUTTON_TEXT, BUTTON_VALUE, SECTION_TEXT, OPTION_TEXT = 75, 2000, 3000, 75


def cut(text: str, most: int) -> str:
    """Shorten a text to *most* characters, saying so with an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def section(text: str, *, accessory: Block | None = None) -> Block:
    """Make a section of mrkdwn."""
    block: Block = {"type": "section", "text": {"type": "mrkdwn", "text": cut(text, SECTION_TEXT)}}
    return block | ({"accessory": accessory} if accessory else {})


def sections(lines: Iterable[str]) -> list[Block]:
    """Make as many sections as the lines need, none cut in the middle of a line."""
    blocks: list[Block] = []
    text = ""
    for line in lines:
        if text and len(text) + len(line) + 1 > SECTION_TEXT:
            blocks.append(section(text))
            text = ""
        text = f"{text}\n{line}" if text else line
    return [*blocks, section(text)] if text else blocks


def context(text: str) -> Block:
    """Make a line of small print."""
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": cut(text, SECTION_TEXT)}]}


def button(label: str, *, action: str, value: str, primary: bool = False) -> Block:
    """Make a button; its *value* is what the action is given."""
    text = {"type": "plain_text", "text": cut(label, BUTTON_TEXT)}
    style = {"style": "primary"} if primary else {}
    return {"type": "button", "text": text, "action_id": action, "value": value[:BUTTON_VALUE], **style}


def actions(buttons: Sequence[Block]) -> Block:
    """Make a row of buttons; actions that stand in it twice are told apart by a number."""
    numbered = [{**one, "action_id": f"{one['action_id']}:{place}"} for place, one in enumerate(buttons)]
    return {"type": "actions", "elements": numbered}


def amount(value: int | None) -> str:
    """Write a value, or that it is missing."""
    return MISSING if value is None else show(value)


def with_band(value: int | None, score_type: ScoreType, *, bold: bool = False) -> str:
    """Write a value with the band it is in: *85* (hot)."""
    band = score_type.band(value)
    shown = f"*{amount(value)}*" if bold and value is not None else amount(value)
    return f"{shown} ({band})" if band else shown


def moment(at: int) -> str:
    """Write a time that Slack shows in the reader's own zone."""
    plain = datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"<!date^{at // 1_000_000}^{{date_short_pretty}} {{time}}|{plain}>"


def by(actor: str | None, source: str | None) -> str:
    """Say who a change is from."""
    if actor:
        return f"by <@{actor}>" if source == SLACK else f"by {escape(actor)}"
    return f"from {escape(source)}" if source else ""


def trend(moved: int | None) -> list[str]:
    """Say how a score moved in thirty days, where that is known and it did."""
    if not moved:
        return []
    return [f"{'▲' if moved > 0 else '▼'} {show(abs(moved))} in 30 days"]
