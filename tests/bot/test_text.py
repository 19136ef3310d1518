"""Clean what Slack sends and escape what is sent to it."""

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.text import MENTION, clean, escape


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
        ("profit&amp;notloss", "profit&notloss"),  # a browser would take &not for ¬
        ("“Top Gun”", '"Top Gun"'),
        ("„Top Gun“", '"Top Gun"'),
        ("«Top Gun»", '"Top Gun"'),
        ("O’Hara ‘x’", "O'Hara 'x'"),
        ("−5 –5 —5 ‐5 ‑5", "-5 -5 -5 -5 -5"),
        ("a\u200bda\ufeff", "ada"),  # characters of no width
        ("\u200eada \u202a85\u202c \u2066x\u2069", "ada 85 x"),  # marks of direction, as copied with a name
        (
            "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",
            "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",
        ),  # part of a Persian name
        ("ｓｃｏｒｅ＞＝８０　ｆｉｔ：７．．１０", "score>=80 fit:7..10"),  # as a Japanese keyboard may write it
        ("ada ＋５ because 很好！", "ada +5 because 很好！"),
        ("ada\n85\tx", "ada 85 x"),
        ("<@U0JANE|jane>", "<@U0JANE|jane>"),  # a mention stays one
        ("<#C0SALES|sales>", "<#C0SALES|sales>"),
        ("&lt;mailto:ada@example.com&gt;", "<mailto:ada@example.com>"),  # typed, not made by Slack
        ("", ""),
    ],
)
def test_clean(sent: str, typed: str) -> None:
    """Links are their text, escapes and typographic signs plain ones."""
    assert clean(sent) == typed


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("<!channel>", "&lt;!channel&gt;"),
        ("<@U0ADMIN> & <https://evil.example|Free>", "&lt;@U0ADMIN&gt; &amp; &lt;https://evil.example|Free&gt;"),
        ("R&D", "R&amp;D"),
        ("&lt;", "&amp;lt;"),
        ("a\nb", "a b"),  # a name cannot begin a line of its own
        ("Ada Lovelace", "Ada Lovelace"),
    ],
)
def test_escape(text: str, written: str) -> None:
    """Text from elsewhere mentions nobody and links nowhere."""
    assert escape(text) == written


@given(st.text())
def test_nothing_escaped_is_markup(text: str) -> None:
    """No text keeps a bracket, and what is shown is the text, on one line."""
    written = escape(text)

    assert not set("<>") & set(written)
    assert html.unescape(written.replace("&amp;", "&#38;")) == " ".join(text.split())


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40))
def test_what_was_typed_comes_back(text: str) -> None:
    """Slack escapes three characters of what is typed; every plain text survives that, brackets included."""
    sent = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    assert clean(sent) == text


@given(st.text())
def test_cleaning_is_total(text: str) -> None:
    """Any text can be cleaned; it comes out on one line without blanks at its ends."""
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
    """A mention names a person by Slack's id."""
    found = MENTION.fullmatch(text)

    assert (found and found[1]) == user
