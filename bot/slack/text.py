"""Clean the text that Slack sends, and escape the text that is sent to Slack."""

import re
import unicodedata
from string import ascii_letters, digits
from urllib.parse import unquote

_MAIL_LINK = re.compile(r"<mailto:([^<>|?]*)(?:\?[^<>|]*)?(?:\|[^<>]*)?>", re.IGNORECASE)
_LINK = re.compile(r"<(?:tel:([^<>|]*)|(https?://[^<>|]*))(?:\|([^<>]*))?>")
#: words in quotes, whichever a phone or a Mac makes of them, where something in quotes may begin
_IN_QUOTES = re.compile(
    "(?:(?<=[\\s:(,~=-])|^)"
    '(?:\u201c([^\u201c\u201d]*)[\u201d\u201c]|\u201e([^\u201c\u201d\u201e]*)[\u201c\u201d]|"([^"]*)"|\u00ab([^\u00ab\u00bb]*)\u00bb)'
)
_DOUBLE_QUOTES = str.maketrans(dict.fromkeys('"\u201c\u201d\u201e\u00ab\u00bb', "'"))
#: marks, overrides and isolates of the direction in which text is written
_DIRECTIONS = "\u200e\u200f\u061c" + "".join(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]))
_TURNING = str.maketrans(dict.fromkeys(_DIRECTIONS))
JOINER = "\u2060"
# A mark between two letters or digits styles nothing, so that addresses stay as they are.
_MARK = re.compile(r"(?<![^\W_])[*_~]|[*_~](?![^\W_])|`")
#: what looks like each of Slack's marks and styles nothing
_LOOKALIKES = {"*": "\u2217", "_": "\u02cd", "~": "\u223c", "`": "\u02cb"}
_EMOJI = re.compile(r":(?=[a-z0-9_+'-]+:)")
_CODE = re.compile(r"`([^`\n]+)`")
_TYPED = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"'),  # quotes that phones and Macs make of "
        **dict.fromkeys("\u2018\u2019", "'"),
        **dict.fromkeys("\u00a0\u2007\u202f", " "),  # blanks that do not break
        **dict.fromkeys("\u2212\u2010\u2011\u2013\u2014", "-"),  # signs that look like a minus
        # characters of no width, and those that turn the direction of what follows
        **dict.fromkeys("\u200b\u2060\ufeff\u00ad" + _DIRECTIONS, None),
        # letters, digits and operators as wide as Chinese ones, as some keyboards write them
        **{chr(ord(plain) + 0xFEE0): plain for plain in f"{ascii_letters}{digits}<=>~:@.+-_*"},
        **{lookalike: mark for mark, lookalike in _LOOKALIKES.items()},
        "\u2265": ">=",
        "\u2264": "<=",
        "\u2260": "!=",
    }
)
MENTION = re.compile(r"<@([UW][A-Z0-9]+)(?:\|[^<>]*)?>")


def clean(text: str) -> str:
    """Return what a person typed: a mail link as its address, other links as their text, entities and signs as plain.

    Quotes inside of words in quotes become apostrophes, which match them, so that the words end where they were to end.
    """
    plain = _MAIL_LINK.sub(lambda match: unquote(match[1]), text)
    plain = _LINK.sub(lambda match: match[3] or match[1] or match[2], plain)
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):  # the three that Slack escapes
        plain = plain.replace(entity, character)
    plain = _IN_QUOTES.sub(lambda match: f'"{match[match.lastindex or 0].translate(_DOUBLE_QUOTES)}"', plain)
    return " ".join(plain.translate(_TYPED).split())


def escape(text: str) -> str:
    """Return text from elsewhere as it is shown in mrkdwn: on its line, naming nobody, linking and styling nothing.

    It looks as it was typed, and `clean` returns it when it is copied: a character that looks alike stands for each
    that Slack would take for the edge of a style, and a word joiner, which has no width, breaks the names of emoji and
    the sign of a quotation. Addresses are not touched by that.
    """
    line = _EMOJI.sub(f":{JOINER}", _isolate_direction(text))
    plain = _MARK.sub(lambda mark: _LOOKALIKES[mark[0]], line)
    return escape_entities(f"{JOINER}{plain}" if plain.startswith(">") else plain)


def escape_sentence(text: str) -> str:
    """Escape a sentence of ours in which code, or what somebody typed, stands in backticks."""
    parts = _CODE.split(text)  # in turn what stands outside of code, and inside
    return "".join(f"`{escape_code(part)}`" if index % 2 else _escape_part(part) for index, part in enumerate(parts))


def escape_code(text: str) -> str:
    """Return text from elsewhere for a place between two backticks; none of its own can end that."""
    return escape_entities(_isolate_direction(text).replace("`", "'"))


def code_block(text: str) -> str:
    """Return text from elsewhere, with its lines, for a block of code."""
    return escape_entities(strip_bidi(text).replace("`", "'"))


def strip_bidi(text: str) -> str:
    """Return text without what turns its direction, or that of what follows it."""
    return text.translate(_TURNING)


def escape_entities(text: str) -> str:
    """Escape the three characters that Slack asks for, and nothing else: for what must be copied to the letter."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _escape_part(text: str) -> str:
    """Escape a part of a sentence, with the blanks at its ends."""
    inner = text.strip()
    return text.replace(inner, escape(inner)) if inner else text


def _isolate_direction(text: str) -> str:
    """Put a text on one line, and keep its direction, where it is written from right to left, from its neighbours."""
    line = " ".join(strip_bidi(text).split())
    is_right_to_left = not line.isascii() and any(
        unicodedata.bidirectional(character) in ("R", "AL") for character in line
    )
    return f"\u2068{line}\u2069" if is_right_to_left else line
