"""Clean text from Slack, and escape text for Slack."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.slack.text import MENTION, clean, code_block, escape, escape_code, escape_sentence


@pytest.mark.parametrize(
    ("sent", "typed"),
    [
        ("set ada 85", "set ada 85"),
        ("  set   ada\u00a085 ", "set ada 85"),
        ("<mailto:ada@example.com|ada@example.com>", "ada@example.com"),
        ("set <mailto:ada@example.com|ada@example.com> 85", "set ada@example.com 85"),
        ("<mailto:ada@example.com>", "ada@example.com"),
        ("company:<http://acme.com|acme.com>", "company:acme.com"),
        ("<tel:5551234|555 1234>", "555 1234"),
        ("because see <https://acme.example/deal?a=1&amp;b=2>", "because see https://acme.example/deal?a=1&b=2"),
        ("score&gt;=80 &amp; fit&lt;3", "score>=80 & fit<3"),
        ("score≥80 fit≤3 fit≠2", "score>=80 fit<=3 fit!=2"),
        ("&amp;lt;", "&lt;"),  # the letters &lt;, typed by a person
        ("profit&amp;notloss", "profit&notloss"),  # a browser would read &not as ¬
        ("“Top Gun”", '"Top Gun"'),
        ("„Top Gun“", '"Top Gun"'),
        ("«Top Gun»", '"Top Gun"'),
        ("O’Hara ‘x’", "O'Hara 'x'"),
        ("−5 –5 —5 ‐5 ‑5", "-5 -5 -5 -5 -5"),
        ("a\u200bda\ufeff", "ada"),  # zero-width characters
        ("\u200eada \u202a85\u202c \u2066x\u2069", "ada 85 x"),  # direction marks, as copied with a name
        (
            "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",
            "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",
        ),  # part of a Persian name
        ("ｓｃｏｒｅ＞＝８０　ｆｉｔ：７．．１０", "score>=80 fit:7..10"),  # as a Japanese keyboard may write it
        ("ada ＋５ because 很好！", "ada +5 because 很好！"),
        ("ada\n85\tx", "ada 85 x"),
        ("<@U0JANE|jane>", "<@U0JANE|jane>"),  # mentions stay as they are
        ("<#C0SALES|sales>", "<#C0SALES|sales>"),
        ("&lt;mailto:ada@example.com&gt;", "<mailto:ada@example.com>"),  # typed, not inserted by Slack
        ("", ""),
    ],
)
def test_clean(sent: str, typed: str) -> None:
    """Links become their text; escapes and typographic characters become plain ones."""
    assert clean(sent) == typed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<!channel>", "&lt;!channel&gt;"),
        ("<@U0ADMIN> & <https://evil.example|Free>", "&lt;@U0ADMIN&gt; &amp; &lt;https://evil.example|Free&gt;"),
        ("R&D", "R&amp;D"),
        ("&lt;", "&amp;lt;"),
        ("a\nb", "a b"),  # a name cannot begin a line of its own
        ("Ada Lovelace", "Ada Lovelace"),
        ("Ada\u202e", "Ada"),  # the following text would be reversed
        ("\u2067\u2066A\u200ed\u200fa\u061c\u2069", "Ada"),
        ("*x*", "∗x∗"),
        ("a _b_ ~c~ `d`", "a ˍbˍ ∼c∼ ˋdˋ"),
        ("```", "ˋˋˋ"),
        # between letters these characters style nothing
        ("ada_king@example.com 3*4 a~b", "ada_king@example.com 3*4 a~b"),
        ("_ada_@example.com", "ˍadaˍ@example.com"),
        (":joy: 10:30 a:b", ":¦joy: 10:30 a:b"),
        ("> Ada > Bob", "¦&gt; Ada &gt; Bob"),  # a quotation begins its line
        ("\u0639\u0644\u06cc\u200c\u0631\u0636\u0627 5", "\u2068\u0639\u0644\u06cc\u200c\u0631\u0636\u0627 5\u2069"),
        ("\u05e2\u05d3\u05d4", "\u2068\u05e2\u05d3\u05d4\u2069"),  # separated from the numbers beside it
        ("\U0001f469\u200d\U0001f4bb", "\U0001f469\u200d\U0001f4bb"),  # a joiner is part of the emoji
    ],
)
def test_escape(text: str, expected: str) -> None:
    """Escaped text mentions nobody, links nowhere, styles nothing, and reverses nothing.

    A word joiner is written as ¦ here; characters that look like marks are other characters.
    """
    assert escape(text) == expected.replace("¦", "\u2060")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no `x*` and *y*", "no `x*` and ∗y∗"),
        ("`a` is _no_ `b`, type `/score set ada 85`", "`a` is ˍnoˍ `b`, type `/score set ada 85`"),
        ("`<!here>` <!here>", "`&lt;!here&gt;` &lt;!here&gt;"),
        ("`*x` y*` z", "`*x` y∗ˋ z"),  # a typed backtick ends the code
        ("  a  ", "  a  "),
        ("a `\u202e5` 7", "a `5` 7"),
        ("", ""),
    ],
)
def test_sentences_keep_their_code(text: str, expected: str) -> None:
    """Text in backticks stays code, unchanged, and everything else is escaped."""
    assert escape_sentence(text) == expected.replace("¦", "\u2060")


@given(st.text(st.sampled_from("`*_~<>&:ax \u202e\u2067\u05d0\n") | st.characters(), max_size=30))
def test_code_does_not_end_early(text: str) -> None:
    """Code ends only where the app ends it, on its line; a code block keeps its lines."""
    assert not set("`<>\n\u202e\u2066\u2067") & set(escape_code(text))
    assert not set("`<>\u202e\u2066\u2067\u2068") & set(code_block(text))
    assert code_block(text).count("\n") == text.count("\n")


STYLED = re.compile(r"(?<![^\W_])([*_~`]).*?\1(?![^\W_])")


@given(st.text(st.sampled_from("*_~`a1 é") | st.characters(), max_size=30))
def test_no_style_is_left(text: str) -> None:
    """No two marks are left that could begin and end a style, also in the following text."""
    assert STYLED.search(f"{escape(text)} x* y_ z~ `") is None
    assert STYLED.search(escape(text)) is None


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_what_is_shown_can_be_copied_back(text: str) -> None:
    """Text as Slack shows it, typed again, cleans to the same text as the original."""
    displayed = escape(text).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    sent = displayed.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    assert clean(sent) == clean(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


@given(st.text())
def test_nothing_escaped_is_markup(text: str) -> None:
    """Escaped text has no angle brackets, and is shown unchanged on one line."""
    escaped = escape(text)

    assert not set("<>") & set(escaped)
    bare = str.maketrans(
        dict.fromkeys("\u2060\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    )
    marks = str.maketrans("∗ˍ∼ˋ", "*_~`")
    displayed = html.unescape(escaped.replace("&amp;", "&#38;")).translate(bare).translate(marks)
    assert " ".join(displayed.split()) == " ".join(text.translate(bare).translate(marks).split())


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40))
def test_what_was_typed_comes_back(text: str) -> None:
    """Slack escapes three characters of typed text; cleaning restores every plain text, brackets included."""
    sent = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    assert clean(sent) == text


@given(st.text())
def test_cleaning_is_total(text: str) -> None:
    """Any text can be cleaned; the result is one line without spaces at its ends."""
    cleaned = clean(text)

    assert cleaned == " ".join(cleaned.split())


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("<@U0JANE|jane>", "U0JANE"),
        ("<@U0JANE>", "U0JANE"),
        ("<@W123>", "W123"),
        ("@jane", None),
        ("<@jane>", None),
        ("<!channel>", None),
        ("<#C0SALES>", None),
    ],
)
def test_mentions(text: str, user: str | None) -> None:
    """A mention contains the Slack id of a person."""
    match = MENTION.fullmatch(text)

    assert (match and match[1]) == user
