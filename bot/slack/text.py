"""Normalize text from Slack, and escape text for Slack."""

import re
import unicodedata
from string import ascii_letters, digits
from urllib.parse import unquote

#: why the app does not post in a channel
UNUSABLE_CHANNEL = "<#{}> was archived or shared, has guests in it, or I am not in it any more"

_MAIL_LINK = re.compile(r"<mailto:([^<>|?]*)(?:\?[^<>|]*)?(?:\|[^<>]*)?>", re.IGNORECASE)
_LINK = re.compile(r"<(?:tel:([^<>|]*)|(https?://[^<>|]*))(?:\|([^<>]*))?>")
#: quoted words, with straight or typographic quotes, where a quotation may begin
_IN_QUOTES = re.compile(
    "(?:(?<=[\\s:(,~=-])|^)"
    '(?:\u201c([^\u201c\u201d]*)[\u201d\u201c]|\u201e([^\u201c\u201d\u201e]*)[\u201c\u201d]|"([^"]*)"|\u00ab([^\u00ab\u00bb]*)\u00bb)'
)
_DOUBLE_QUOTES = str.maketrans(dict.fromkeys('"\u201c\u201d\u201e\u00ab\u00bb', "'"))
#: characters that control the direction of text: marks, overrides and isolates
_DIRECTIONS = "\u200e\u200f\u061c" + "".join(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]))
_TURNING = str.maketrans(dict.fromkeys(_DIRECTIONS))
JOINER = "\u2060"
# Slack does not style a mark between two letters or digits, so addresses stay unchanged.
_MARK = re.compile(r"(?<![^\W_])[*_~]|[*_~](?![^\W_])|`")
#: a similar character for each of Slack's style marks
_LOOKALIKES = {"*": "\u2217", "_": "\u02cd", "~": "\u223c", "`": "\u02cb"}
_EMOJI = re.compile(r":(?=[a-z0-9_+'-]+:)")
_CODE = re.compile(r"`([^`\n]+)`")
_TYPED = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"'),  # typographic quotes, as phones and Macs insert
        **dict.fromkeys("\u2018\u2019", "'"),
        **dict.fromkeys("\u00a0\u2007\u202f", " "),  # non-breaking spaces
        **dict.fromkeys("\u2212\u2010\u2011\u2013\u2014", "-"),  # characters that look like a minus
        # zero-width characters, and characters that control text direction
        **dict.fromkeys("\u200b\u2060\ufeff\u00ad" + _DIRECTIONS, None),
        # full-width letters, digits and operators, as some keyboards type them
        **{chr(ord(plain) + 0xFEE0): plain for plain in f"{ascii_letters}{digits}<=>~:@.+-_*"},
        **{lookalike: mark for mark, lookalike in _LOOKALIKES.items()},
        "\u2265": ">=",
        "\u2264": "<=",
        "\u2260": "!=",
    }
)
MENTION = re.compile(r"<@([UW][A-Z0-9]+)(?:\|[^<>]*)?>")
GROUP_MENTION = re.compile(r"<!subteam\^(S[A-Z0-9]+)(?:\|[^<>]*)?>")


def clean(text: str) -> str:
    """Return what a person typed as plain text: links as address or text, entities and typographic signs as ASCII.

    Double quotes inside a quotation become apostrophes, so that the quotation ends where the person ended it.
    """
    plain = _MAIL_LINK.sub(lambda match: unquote(match[1]), text)
    plain = _LINK.sub(lambda match: match[3] or match[1] or match[2], plain)
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):  # the entities that Slack escapes
        plain = plain.replace(entity, character)
    plain = _IN_QUOTES.sub(lambda match: f'"{match[match.lastindex or 0].translate(_DOUBLE_QUOTES)}"', plain)
    return " ".join(plain.translate(_TYPED).split())


def escape(text: str) -> str:
    """Escape foreign text for mrkdwn: on one line, without mentions, links or styles.

    The text looks unchanged, and `clean` restores it after copying. Each style mark becomes a similar character. A word
    joiner, which has no width, breaks emoji names and a leading quotation sign. Addresses stay unchanged.
    """
    line = _EMOJI.sub(f":{JOINER}", _isolate_direction(text))
    plain = _MARK.sub(lambda mark: _LOOKALIKES[mark[0]], line)
    return escape_entities(f"{JOINER}{plain}" if plain.startswith(">") else plain)


def escape_sentence(text: str) -> str:
    """Escape one of the app's own sentences, in which code or user input stands in backticks."""
    parts = _CODE.split(text)  # alternates between text and code
    return "".join(f"`{escape_code(part)}`" if index % 2 else _escape_part(part) for index, part in enumerate(parts))


def escape_code(text: str) -> str:
    """Escape foreign text for use between two backticks; backticks in the text are replaced."""
    return escape_entities(_isolate_direction(text).replace("`", "'"))


def code_block(text: str) -> str:
    """Escape foreign text of several lines for a code block."""
    return escape_entities(strip_bidi(text).replace("`", "'"))


def strip_bidi(text: str) -> str:
    """Return text without characters that control the direction of text."""
    return text.translate(_TURNING)


def escape_entities(text: str) -> str:
    """Escape only the three characters that Slack requires, for text that must be copied exactly."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _escape_part(text: str) -> str:
    """Escape a part of a sentence and keep the spaces at its ends."""
    inner = text.strip()
    return text.replace(inner, escape(inner)) if inner else text


def _isolate_direction(text: str) -> str:
    """Return the text on one line; isolate right-to-left text so that it does not affect the text around it."""
    line = " ".join(strip_bidi(text).split())
    is_right_to_left = not line.isascii() and any(
        unicodedata.bidirectional(character) in ("R", "AL") for character in line
    )
    return f"\u2068{line}\u2069" if is_right_to_left else line


def mention_subject(id: str) -> str:
    """Return the mention of a person or of a user group, by its Slack id."""
    return f"<!subteam^{id}>" if id.startswith("S") else f"<@{id}>"


def parse_number(text: str) -> int:
    """Return the number in the value of a button, or 0 if it is not a number."""
    return int(text) if text.isascii() and text.isdecimal() else 0
