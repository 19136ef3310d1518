"""How texts are cut into words, and which words are similar."""

from itertools import product
from random import Random

import pytest

from storage.domain.words import (
    contact_runs,
    count_typos,
    cut_for_typos,
    list_trigrams,
    make_trigram,
    most_typos,
    split_query,
    split_runs,
    trigram_range,
)


def distance(left: str, right: str) -> int:
    """Return the Levenshtein distance of two texts, by the textbook's table."""
    row = list(range(len(right) + 1))
    for number, character in enumerate(left, 1):
        before, row[0] = row[0], number
        for place, other in enumerate(right, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (character != other))
    return row[-1]


def test_the_words_of_a_contact() -> None:
    """Names, companies and local parts are cut into runs of letters or digits; a domain is one run."""
    assert contact_runs(name="ada o'brien-smith (uk)", company="studio 54", email="ada.love17@mail.example.com") == {
        "ada", "o'brien", "smith", "(uk)", "studio", "54", "love", "17", "mail.example.com",
    }  # fmt: skip  # one set
    assert contact_runs(name=None, company=None, email=None) == set()
    assert (split_runs("100%"), split_runs("_.+-"), split_runs("x" * 300)) == (["100", "%"], [], ["x" * 200])
    assert split_query("ada.l@example.com ada @x") == ["ada", "l", "example.com", "x"]


def test_every_part_of_a_word_begins_a_trigram() -> None:
    """Each part of up to three characters is in the range of a trigram of the word, and no other part is."""
    word = "añagañ🙂"
    trigrams = list_trigrams(word)
    for length in (1, 2, 3):
        for letters in product("añg🙂x", repeat=length):
            part = "".join(letters)
            low, high = trigram_range(part)
            assert any(low <= trigram <= high for trigram in trigrams) == (part in word), part
    assert make_trigram("ñ🙂") in trigrams  # at the end
    assert make_trigram("ag") not in trigrams


def test_a_word_with_few_typos_has_an_unchanged_part() -> None:
    """Any word with few enough wrong letters shares the beginning, the middle or the end with what was typed."""
    random, close = Random(5), 0
    words = ["".join(random.choice("abc") for _ in range(random.randint(1, 9))) for _ in range(150)]
    for typed, word in product(words[:60], words):
        typos, most = distance(typed, word), most_typos(typed)
        beginning, middle, end = cut_for_typos(typed)
        assert beginning + middle + end == typed
        assert count_typos(typed, word, most=most) in (typos, 1 if typos == 2 else None, None)
        assert (count_typos(typed, word, most=2) is None) == (typos > 2)
        if 0 < typos <= most:
            close += 1
            assert word.startswith(beginning) or word.endswith(end) or (middle and middle in word), (typed, word)
    assert close > 100


@pytest.mark.parametrize(
    ("typed", "text", "typos"),
    [
        ("ada", "ada", 0),
        ("ada", "aad", 1),
        ("lovelase", "lovelace", 1),
        ("lovlase", "lovelace", 2),
        ("ada", "bob", None),
    ],
)
def test_wrong_letters_are_counted(typed: str, text: str, typos: int | None) -> None:
    """Letters that are missing, too many, wrong, or swapped with their neighbor are counted."""
    assert count_typos(typed, text, most=2) == typos


def test_a_short_word_has_fewer_typos() -> None:
    """One letter of three to five may be wrong, two of more, none of fewer."""
    assert [most_typos("x" * length) for length in (1, 2, 3, 5, 6, 30)] == [0, 0, 1, 1, 2, 2]
