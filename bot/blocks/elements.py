"""Build the Block Kit elements of messages, within Slack's limits."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from bot.slack.handling import SLACK, Block
from bot.slack.text import escape, strip_bidi
from storage.domain.contacts import Contact, Json
from storage.domain.csv_cells import write_cell
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType, default_colour

MISSING = "—"
#: color name of a band → the square that shows it
SQUARES = {
    "grey": "⬜", "blue": "🟦", "green": "🟩", "yellow": "🟨", "orange": "🟧", "red": "🟥", "purple": "🟪",
}  # fmt: skip  # one table
BUTTON_TEXT, BUTTON_VALUE, SECTION_TEXT, FIELD_TEXT, OPTION_TEXT = 75, 2000, 3000, 2000, 75
CONFIRM_TITLE, CONFIRM_LABEL = 100, 30
# Slack rejects a message if its blocks exceed about 13,200 characters of JSON; headings and buttons need the rest.
ALL_BLOCKS = 13_000
ALL_SECTIONS = 9_500
LONGEST_LINE = 600
MOST_FIELDS = 10  # of a section
MOST_ROWS = 20
#: the lengths to which the lines of rows with buttons are shortened until all have room
ROW_LENGTHS = (LONGEST_LINE, 300, 200, 120, 60)
CONTEXT_TEXT = 800


def short_name(text: str) -> str:
    """Return a name for a list: escaped, on one line, at most 80 characters."""
    return escape(truncate(" ".join(text.split()), 80))


def truncate(text: str, most: int) -> str:
    """Shorten text to *most* characters; an ellipsis marks the cut."""
    return text if len(text) <= most else text[: most - 1] + "…"


def truncate_markup(text: str, most: int) -> str:
    """Shorten mrkdwn to *most* characters, without a cut inside a date, a mention or an escaped character."""
    if len(text) <= most:
        return text
    shortened = text[: most - 1]
    if shortened.rfind("<") > shortened.rfind(">"):
        shortened = shortened[: shortened.rfind("<")]
    if shortened.rfind("&") > shortened.rfind(";"):
        shortened = shortened[: shortened.rfind("&")]
    return shortened + "…"


def section(text: str, *, accessory: Block | None = None) -> Block:
    """Return a section block with mrkdwn text."""
    block: Block = {"type": "section", "text": _mrkdwn(truncate_markup(text, SECTION_TEXT))}
    return block | ({"accessory": accessory} if accessory else {})


def side_by_side(heading: str, columns: Sequence[str]) -> Block:
    """Return a section with a heading and two columns of mrkdwn below it; a narrow screen shows one below the other."""
    fields = [_mrkdwn(truncate_markup(column, FIELD_TEXT)) for column in columns]
    return {**section(heading), "fields": fields}


def field_sections(fields: Sequence[str], *, room: int = ALL_SECTIONS) -> list[Block]:
    """Return as many sections as the fields need, ten in each; Slack shows them in two columns.

    *room* is the most characters of JSON. Fields beyond it are replaced by their number.
    """
    shown, total = list[str](), 0
    for index, text in enumerate(fields):
        short = truncate_markup(text, LONGEST_LINE)
        total += len(json.dumps(_mrkdwn(short)))
        if total > room:
            shown.append(f"… and {len(fields) - index} more")
            break
        shown.append(short)
    rows = [shown[index : index + MOST_FIELDS] for index in range(0, len(shown), MOST_FIELDS)]
    return [{"type": "section", "fields": [_mrkdwn(text) for text in row]} for row in rows]


def labeled(label: str, *lines: str) -> str:
    """Return a field: a bold label, and below it the lines that are not blank."""
    return "\n".join([f"*{label}*", *(line for line in lines if line)])


def sections(lines: Sequence[str], *, room: int = ALL_SECTIONS) -> list[Block]:
    """Return as many sections as the lines need; lines beyond *room* characters are replaced by their number."""
    texts, total = [""], 0
    for index, line in enumerate(lines):
        short = truncate_markup(line, LONGEST_LINE)
        total += len(json.dumps(short))
        if total > room:
            short = f"… and {len(lines) - index} more"
        if len(texts[-1]) + len(short) + 1 > SECTION_TEXT:
            texts.append("")
        texts[-1] = f"{texts[-1]}\n{short}" if texts[-1] else short
        if total > room:
            break
    return [section(text) for text in texts if text]


def contact_rows(
    lines: Sequence[str],
    contacts: Sequence[int],
    *,
    label: str = "Open",
    command: str = "view {}",
    around: Sequence[Block] = (),
) -> list[Block]:
    """Return a section for each line, with a button that runs *command*, in which {} stands for the contact.

    *contacts* are the row ids in the order of the lines. Lines beyond MOST_ROWS have no buttons. All lines are
    shortened until they have room beside the blocks *around* them; with a command that leaves no room at all, only the
    lines are returned.
    """
    room = min(ALL_SECTIONS, ALL_BLOCKS - len(json.dumps(around)))
    buttons = [
        button(label, action=f"run:{contact}", value=command.replace("{}", f"id:{contact}", 1))
        for contact in contacts[:MOST_ROWS]
    ]
    for most in ROW_LENGTHS:
        short = [truncate_markup(line, most) for line in lines]
        rows = [section(line, accessory=accessory) for line, accessory in zip(short, buttons, strict=False)]
        rows += sections(short[MOST_ROWS:])
        if len(json.dumps(rows)) <= room:
            return rows
    return sections(lines, room=room)


def context(text: str) -> Block:
    """Return a context block: one line of small text."""
    return {"type": "context", "elements": [_mrkdwn(truncate_markup(text, CONTEXT_TEXT))]}


def _mrkdwn(text: str) -> Block:
    """Return a mrkdwn object. It is verbatim, so that Slack does not turn addresses in foreign text into links."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def plain_text(text: str, *, most: int) -> Block:
    """Return a plain_text object, shortened to *most* characters."""
    return {"type": "plain_text", "text": truncate(strip_bidi(text), most)}


def button(label: str, *, action: str, value: str, primary: bool = False) -> Block:
    """Return a button; the handler of *action* receives *value*."""
    text = plain_text(label, most=BUTTON_TEXT)
    style = {"style": "primary"} if primary else {}
    return {"type": "button", "text": text, "action_id": action, "value": value[:BUTTON_VALUE], **style}


def confirm(title: str, text: str, label: str) -> Block:
    """Return the part of a button with which Slack asks before it sends the click."""
    return {
        "confirm": {
            "title": plain_text(title, most=CONFIRM_TITLE),
            "text": {"type": "plain_text", "text": text},
            "confirm": plain_text(label, most=CONFIRM_LABEL),
            "deny": plain_text("Cancel", most=CONFIRM_LABEL),
        }
    }


def actions(buttons: Sequence[Block]) -> Block:
    """Return an actions block; each action id gets a number, because Slack requires unique ids in a block."""
    numbered = [{**element, "action_id": f"{element['action_id']}:{index}"} for index, element in enumerate(buttons)]
    return {"type": "actions", "elements": numbered}


def format_value(value: int | None) -> str:
    """Return a value as text, or a dash if it is None."""
    return MISSING if value is None else show(value)


def format_with_band(value: int | None, score_type: ScoreType, *, bold: bool = False) -> str:
    """Return a value with its band, such as "*85* (hot)"."""
    band = score_type.band(value)
    shown = f"*{format_value(value)}*" if bold and value is not None else format_value(value)
    return f"{shown} ({band})" if band else shown


def band_square(value: int | None, score_type: ScoreType) -> str:
    """Return a square in the color of the band of a value, or nothing if the value has no band."""
    index = score_type.band_index(value)
    if index is None:
        return ""
    return SQUARES[score_type.bands[index].colour or default_colour(index, of=len(score_type.bands))]


def join_words(*words: str) -> str:
    """Return the words that are not blank, with a space between each two."""
    return " ".join(word for word in words if word)


def score_called(*labels: str) -> str:
    """Return the name of a score for the labels of its possible types, such as "Fit or Heat score"."""
    last = "" if labels[-1].casefold().endswith("score") else " score"
    return escape(" or ".join(labels)) + last


def moment(at: int) -> str:
    """Return a time as mrkdwn that Slack shows in the reader's time zone; *at* is in µs."""
    plain = datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"<!date^{at // 1_000_000}^{{date_short_pretty}} {{time}}|{plain}>"


def format_actor(actor: str | None, source: str | None) -> str:
    """Return the origin of a change: "by" a person, or "from" a source, or nothing."""
    if actor:
        return f"by <@{actor}>" if source == SLACK else f"by {escape(actor)}"
    return f"from {escape(source)}" if source else ""


def trend(moved: Mapping[int, int]) -> list[str]:
    """Return how a score moved, such as "▲ 5 in 7 days, ▼ 12 in 30", as a list of at most one phrase.

    *moved* maps a number of days to the change in that period.
    """
    days = [(period, by) for period, by in sorted(moved.items()) if by]
    parts = [
        f"{'▲' if by > 0 else '▼'} {show(abs(by))} in {period}{'' if index else ' days'}"
        for index, (period, by) in enumerate(days)
    ]
    return [", ".join(parts)] if parts else []


def day(at: int) -> str:
    """Return a date with its weekday as mrkdwn that Slack shows in the reader's time zone; *at* is in µs."""
    plain = datetime.fromtimestamp(at / 1_000_000, UTC)
    return f"<!date^{at // 1_000_000}^{{date_long}}|{plain:%A, %B} {plain.day}, {plain.year}>"


def crm_links(contact: Contact, links: Mapping[str, str]) -> list[str]:
    """Return a link to the contact in each source that has an id of it and a link template, as mrkdwn."""
    return [
        f"<{escape(links[source].replace('{id}', quote(id, safe='')))}|Open in {source}>"
        for source, id in contact.ids.items()
        if source in links
    ]


def format_attribute(value: Json) -> str:
    """Return the value of an attribute as text; the elements of a list are separated by commas."""
    return ", ".join(map(write_cell, value)) if isinstance(value, list) else write_cell(value)
