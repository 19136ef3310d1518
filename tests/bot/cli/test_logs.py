"""Redaction of log lines."""

import pytest

from bot.logs import redact

HIDDEN: list[tuple[str, str]] = [
    ("token xoxb-12-ab-CD.", "token […]."),
    ("xoxp-1 and xoxe-2", "[…] and […]"),
    ("xapp-1-A0-b", "[…]"),
    ("secret whsec_QUJD+/x-_=, as given", "secret […], as given"),
    ("Authorization: Bearer abc.def-1", "Authorization: Bearer […]"),
    ("to ada@example.com", "to […]"),
    ("<mailto:ada+1@mail.example.co.uk|Ada>", "<[…]|Ada>"),
    ("Key (value)=(ada@example.com) already exists", "Key […]) already exists"),
    ('{"email": "ada@example.com"}', '{"email": "[…]"}'),
    ("жанна@почта.рф", "[…]"),  # addresses need not be ASCII
    ("ada@xn--80a1acny.xn--p1ai", "[…]"),
    ("https://hooks.slack.com/commands/T1/2/aB3", "https://hooks.slack.com/[…]"),
    ("http://127.0.0.1:1/response/aB-3", "http://127.0.0.1:1/response/[…]"),
]


@pytest.mark.parametrize(("text", "expected"), HIDDEN)
def test_secrets_and_addresses_are_blanked_out(text: str, expected: str) -> None:
    """Tokens, secrets and addresses are redacted, and the surrounding text is kept."""
    hidden = redact(None, "", {"event": text, "note": "n", "count": 3, "none": None, "is_so": True, "share": 0.5})

    assert str(hidden["event"]).endswith(expected) or hidden["event"] == expected
    assert {**hidden, "event": ""} == {"event": "", "note": "n", "count": 3, "none": None, "is_so": True, "share": 0.5}


@pytest.mark.parametrize(
    "value",
    [
        ["ada@example.com"],
        {"email": "ada@example.com"},
        {"ada@example.com": [1]},
        ("x", ["ada@example.com"]),
        ValueError("ada@example.com"),
        b"ada@example.com",
    ],
    ids=repr,
)
def test_nothing_hides_in_what_is_no_text(value: object) -> None:
    """Lists, mappings and exceptions are redacted too, because they are rendered as text later."""
    assert "ada@" not in repr(redact(None, "", {"event": "e", "value": value}))


@pytest.mark.parametrize("text", ["score 5 @ noon", "user@localhost", "T0123", "whsec", "a.b/c", "response/"])
def test_harmless_words_stay(text: str) -> None:
    """Harmless words are not redacted."""
    assert redact(None, "", {"event": text}) == {"event": text}
