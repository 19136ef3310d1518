"""Text for the terminal: plurals, thousands separators and control characters."""

import pytest

from bot.cli import output


@pytest.mark.parametrize(
    ("number", "message"), [(0, "0 contacts"), (1, "1 contact"), (2, "2 contacts"), (2_000, "2,000 contacts")]
)
def test_one_is_not_several(number: int, message: str) -> None:
    """Counts use the singular for one, and thousands separators."""
    assert output.count(number, "contact") == message


def test_nothing_that_is_printed_controls_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters in a name, a reason or a body neither move the cursor nor reverse the text."""
    sent = "\x1b[2J\x9b2KAda\u202e\r\u2067 Lo\u200dvelace\n\tx\x7f"
    output.lines(sent)
    output.note(sent)
    output.table([{"name": sent}], none="")
    printed = capsys.readouterr()

    clean = "[2J2KAda Lo\u200dvelace\n\tx\n"
    assert printed.err == clean
    assert printed.out.startswith(clean)
    assert "Ada Lo\u200dvelace" in printed.out.removeprefix(clean)
    assert not set("\x1b\x9b\x7f\r\u202e\u2067") & set(printed.out)
