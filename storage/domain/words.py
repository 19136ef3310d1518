"""Split the texts of contacts into the words that a search looks up, and compare words that may be mistyped.

All texts are matching keys (see `match_key`). The words of a text are separated by blanks and @. A word is indexed in
runs: it is also cut at `.`, `_`, `+` and `-`, and between letters and digits, so that few of the words in addresses are
new ones. The domain of an address is one run.
"""

import re
from collections.abc import Iterator

#: The most characters of a run. A longer run is cut, so that it fits into an index; its rest is not searched for.
MOST_IN_RUN = 200
#: Greater than any character of a run.
LAST = "\U0010ffff"
_RUN = re.compile(r"\d+|[^\d._+\-]+")
_BITS = 21  # of a character


def split_words(text: str) -> list[str]:
    """Return the words of a text."""
    return text.replace("@", " ").split()


def split_runs(word: str) -> list[str]:
    """Return the runs of a word that is not a domain."""
    return [run[:MOST_IN_RUN] for run in _RUN.findall(word)]


def split_query(text: str) -> list[str]:
    """Return the runs of a text that somebody typed, in its order. The domain of an address in it is one run."""
    runs: list[str] = []
    for word in text.split():
        local, at, domain = word.rpartition("@")
        runs += [*split_runs(local), domain[:MOST_IN_RUN]] if at and domain else split_runs(word.replace("@", ""))
    return list(dict.fromkeys(runs))


def contact_runs(*, name: str | None, company: str | None, email: str | None) -> set[str]:
    """Return the runs that are indexed for a contact with these matching keys."""
    local, _, domain = (email or "").rpartition("@")
    words = [*split_words(name or ""), *split_words(company or ""), local]
    runs = {run for word in words for run in split_runs(word)}
    return runs | {domain[:MOST_IN_RUN]} if domain else runs


def list_trigrams(run: str) -> set[int]:
    """Return the three characters at each position of a run as numbers; after its end the characters are 0."""
    return {make_trigram(run[start : start + 3]) for start in range(len(run))}


def make_trigram(characters: str) -> int:
    """Return up to three characters as one number. Fewer are those at the end of a run."""
    number = 0
    for character in characters.ljust(3, "\0"):
        number = number << _BITS | ord(character)
    return number


def trigram_range(part: str) -> tuple[int, int]:
    """Return the smallest and the largest trigram that begin with a part of at most three characters."""
    return make_trigram(part), make_trigram(part) | (1 << _BITS * (3 - len(part))) - 1


def most_typos(run: str) -> int:
    """Return how many letters of a typed run may be wrong: none of up to two, one of up to five, else two."""
    return 0 if len(run) < 3 else 1 if len(run) < 6 else 2


def cut_for_typos(run: str) -> tuple[str, str, str]:
    """Cut a run into a beginning, a middle and an end, one of which any run with few enough typos has unchanged.

    It has the beginning at its beginning, the end at its end, or the middle anywhere. If only one letter may be wrong,
    there is no middle.
    """
    middle = -(-len(run) // 3) if most_typos(run) == 2 else 0
    first = (len(run) - middle) // 2
    return run[:first], run[first : first + middle], run[first + middle :]


def swap_neighbors(run: str) -> Iterator[str]:
    """Return the runs in which two neighboring characters are swapped."""
    for place in range(len(run) - 1):
        yield f"{run[:place]}{run[place + 1]}{run[place]}{run[place + 2 :]}"


def count_shared_beginning(left: str, right: str) -> int:
    """Return how many characters two texts have in common at their beginning."""
    return next(
        (place for place, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1]),
        min(len(left), len(right)),
    )


def count_typos(typed: str, text: str, *, most: int) -> int | None:
    """Return how many letters must be inserted, deleted or replaced in a text to get the other; None if over *most*.

    If nothing but two neighbors is swapped, that counts as one.
    """
    if typed == text:
        return 0
    if most and len(typed) == len(text) and text in swap_neighbors(typed):
        return 1
    return next((number for number in range(1, most + 1) if _is_within(typed, text, number)), None)


def _is_within(left: str, right: str, most: int) -> bool:
    if abs(len(left) - len(right)) > most:
        return False
    if most == 0:
        return left == right
    start, end = 0, min(len(left), len(right))
    while start < end and left[start] == right[start]:
        start += 1
    left, right = left[start:], right[start:]
    if not left or not right:
        return True  # the lengths were compared above
    return (
        _is_within(left[1:], right[1:], most - 1)
        or _is_within(left[1:], right, most - 1)
        or _is_within(left, right[1:], most - 1)
    )
