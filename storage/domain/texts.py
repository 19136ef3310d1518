"""Clean texts that people and programs send, and make the form in which texts are compared."""

import re
import unicodedata
from itertools import chain

#: Characters that no text needs: they cannot be seen, and come along when text is copied from the web or a mail.
#: Zero-width space, word joiner, byte order mark, soft hyphen, overrides and isolates of the writing direction.
_JUNK = frozenset("\u200b\u2060\ufeff\u00ad" + "".join(map(chr, chain(range(0x202A, 0x202F), range(0x2066, 0x206A)))))
#: Other characters that cannot be seen and are no format characters: joiners, fillers and selectors of variants.
_UNSEEN = frozenset(
    map(
        chr,
        chain(
            (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
            range(0x180B, 0x1810),
            range(0xFE00, 0xFE10),
            range(0xE0100, 0xE01F0),
        ),
    )
)
_QUOTES = (
    "\"'`\u00b4\u00ab\u00bb\u02b9\u02ba\u02bb\u02bc\u02bd\u02ca\u02cb\u1fef\u1ffd\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f"
    "\u2032\u2033\u2034\u2035\u2036\u2039\u203a\u275b\u275c\u275d\u275e\uff02\uff07\uff40"
)
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\u02d7\ufe58\ufe63\uff0d"
_ALIKE = str.maketrans({**dict.fromkeys(_QUOTES, "'"), **dict.fromkeys(_DASHES, "-")})
_PLAIN = re.compile(r"[!#-_a-~]+(?: [!#-_a-~]+)*|")  # ASCII without quotes and controls, single blanks between words


def clean_text(text: str, *, lines: bool = False) -> str:
    """Return a text as it is stored and shown: NFC, trimmed, without characters that nobody sees; joiners stay.

    Line breaks and tabs become blanks, except where the text may have *lines*. NUL stays, so that it is refused.
    """
    if text.isascii() and text.isprintable():
        return text.strip()
    cleaned = "".join(_clean_character(character, lines=lines) for character in text)
    return unicodedata.normalize("NFC", cleaned).strip()


def _clean_character(character: str, *, lines: bool) -> str:
    if character in _JUNK:
        return ""
    if unicodedata.category(character) != "Cc" or character == "\0":
        return character
    if lines and character in "\t\n\r":
        return character
    return " " if character.isspace() else ""


def remove_invisible(text: str) -> str:
    """Return a text without any character that cannot be seen, and trimmed: for addresses and numbers.

    NUL stays, so that it is refused.
    """
    if text.isascii() and text.isprintable():
        return text.strip()
    return "".join(character for character in text if character == "\0" or not _is_invisible(character)).strip()


def _is_invisible(character: str) -> bool:
    if character.isspace():
        return False
    return character in _UNSEEN or unicodedata.category(character) in ("Cc", "Cf")


def match_key(text: str) -> str:
    """Return the form in which texts are compared.

    NFKC and case-folded; without characters that cannot be seen; quotes and apostrophes as one, dashes as one, blanks
    as one.
    """
    if _PLAIN.fullmatch(text) is not None:  # most are, and this takes a tenth of the time
        return text.casefold()
    seen = "".join(character for character in text if not _is_invisible(character)).translate(_ALIKE)
    folded = unicodedata.normalize("NFKC", seen).casefold()
    folded = unicodedata.normalize("NFKC", folded).translate(_ALIKE)  # folding leaves something to be composed
    return " ".join("".join(character for character in folded if not _is_invisible(character)).split())


def former_match_key(text: str) -> str:
    """Return the form in which texts were compared until migration 0010; identities of then may still have it."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
