"""The position in a list of contacts that a button carries."""

import json

from bot.features.lists import FilterPage


def test_a_button_of_an_earlier_version_continues_where_its_page_ended() -> None:
    """Earlier versions listed ten contacts per page and counted pages; now a button has the number of contacts."""
    old = FilterPage.read(json.dumps({"q": "score>1", "c": ["x", "y"], "n": 2}))

    assert (old.cursors, old.skipped) == (("x", "y"), 20)
    assert FilterPage.read(old.onward("z", shown=20).carried() or "") == FilterPage("score>1", ("x", "y", "z"), 40)
    assert old.back() == FilterPage("score>1", ("x",), 0)
    assert old.back().back() == FilterPage("score>1")
