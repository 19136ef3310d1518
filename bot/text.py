"""Clean the text that Slack sends, and escape the text that is sent to Slack."""

import re
from string import ascii_letters, digits

_LINK = re.compile(r"<(?:(?:mailto:|tel:)([^<>|]*)|(https?://[^<>|]*))(?:\|([^<>]*))?>")
_TYPED = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"'),  # quotes that phones and Macs make of "
        **dict.fromkeys("\u2018\u2019", "'"),
        **dict.fromkeys("\u00a0\u2007\u202f", " "),  # blanks that do not break
        **dict.fromkeys("\u2212\u2010\u2011\u2013\u2014", "-"),  # signs that look like a minus
        # characters of no width, and those that turn the direction of what follows
        **dict.fromkeys("\u200b\u2060\ufeff\u00ad\u200e\u200f\u061c", None),
        **dict.fromkeys(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]), None),
        # letters, digits and operators as wide as Chinese ones, as some keyboards write them
        **{chr(ord(plain) + 0xFEE0): plain for plain in f"{ascii_letters}{digits}<=>~:@.+-_*"},
        "\u2265": ">=",
        "\u2264": "<=",
        "\u2260": "!=",
    }
)
MENTION = re.compile(r"<@([UW][A-Z0-9]+)(?:\|[^<>]*)?>")


def clean(text: str) -> str:
    """Give what a person typed: links as their text, entities and typographic signs as plain ones."""
    plain = _LINK.sub(lambda found: found[3] or found[1] or found[2], text)
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):  # the three that Slack escapes
        plain = plain.replace(entity, character)
    return " ".join(plain.translate(_TYPED).split())


def escape(text: str) -> str:
    """Make text from elsewhere harmless in mrkdwn: it mentions nobody, links nowhere, and stays on its line."""
    return harmless(" ".join(text.split()))


def harmless(text: str) -> str:
    """Make text harmless that keeps its lines, as in a block of code."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
