"""What the terminal says reads as people write."""

import pytest

from bot.cli import output


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 contacts"), (1, "1 contact"), (2, "2 contacts"), (2_000, "2,000 contacts")]
)
def test_one_is_not_several(number: int, said: str) -> None:
    """One contact, and otherwise contacts, with thousands apart."""
    assert output.count(number, "contact") == said
