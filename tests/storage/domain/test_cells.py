"""CSV cells read back as they were written, and no spreadsheet takes a cell for a formula."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.domain.csv_cells import guard_formula, join_tags, read_cell, split_tags, write_cell
from storage.domain.texts import remove_invisible

FORMULAS = "=+-@\t\r\n＝＋－＠"
texts = st.text(st.sampled_from(f"''{FORMULAS} a"), max_size=6) | st.text(max_size=20)


@given(texts)
@example("＝3")
def test_no_cell_begins_like_a_formula(text: str) -> None:
    """The first character of a cell never begins a formula, whatever the text is."""
    assert guard_formula(text)[:1] not in list(FORMULAS)


@given(texts)
@example("'=quoted")
@example("''+quoted twice")
@example("\x1b")
def test_what_was_written_is_read(text: str) -> None:
    """A text without blanks around it reads back unchanged, however many quotes it has.

    A text without visible characters reads back as blank.
    """
    bare = text.strip() if remove_invisible(text) else ""
    assert read_cell(guard_formula(bare)) == bare
    assert read_cell(f" {guard_formula(bare)}\n") == bare


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("'=HYPERLINK(1)", "=HYPERLINK(1)"),
        ("''=quoted", "'=quoted"),
        ("'+49 30 1234", "+49 30 1234"),
        ("'＝3", "＝3"),
        ("''＠sum", "'＠sum"),
        ("+49 30 1234", "+49 30 1234"),  # a file made by a person need not escape anything
        ("'t Hooft", "'t Hooft"),  # a name that begins with a quote
        ("  Ada  ", "Ada"),
        ("'", "'"),
        ("", ""),
    ],
)
def test_a_cell_is_read(cell: str, expected: str) -> None:
    """Only the quote that escapes a formula is removed."""
    assert read_cell(cell) == expected


@pytest.mark.parametrize(
    ("value", "cell"),
    [(None, ""), ("Ada", "Ada"), (5, "5"), (True, "true"), (1.5, "1.5"), (["Zoë", 1], '["Zoë", 1]'), ({}, "{}")],
)
def test_what_is_no_text_is_json(value: None, cell: str) -> None:
    """None is written as a blank cell; numbers, lists and objects are written as JSON."""
    assert write_cell(value) == cell


def test_tags_stand_in_one_cell() -> None:
    """Tags are separated by semicolons, or by commas if there is no semicolon; a tag in quotes may contain both."""
    assert join_tags(["vip", "Acme, Inc", '5" pipe']) == 'vip; "Acme, Inc"; "5"" pipe"'
    assert split_tags("vip; Acme, Inc; vip;") == ["vip", "Acme, Inc"]
    assert split_tags("vip, beta") == ["vip", "beta"]
