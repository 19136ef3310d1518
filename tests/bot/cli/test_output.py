"""What the terminal says reads as people write."""

import pytest

from bot.cli import output


@pytest.mark.parametrize(
    ("number", "message"), [(0, "0 contacts"), (1, "1 contact"), (2, "2 contacts"), (2_000, "2,000 contacts")]
)
def test_one_is_not_several(number: int, message: str) -> None:
    """One contact, and otherwise contacts, with thousands apart."""
    assert output.count(number, "contact") == message


def test_nothing_that_is_printed_controls_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """What a sender put into a name, a reason or a body neither moves the cursor nor turns what follows around."""
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
