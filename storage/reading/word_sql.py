"""Write SQL that looks up contacts by their indexed words.

The index tells which contacts may match; the caller compares their texts. See `domain.words` for what a word is cut
into.
"""

from collections.abc import Callable
from enum import Enum
from typing import TypeAlias

from storage.domain.words import LAST, MOST_IN_RUN, make_trigram, split_runs, trigram_range

#: Adds a value to a statement and returns its placeholder.
Bind: TypeAlias = Callable[[object], str]

MOST_TRIGRAMS = 8  #: of which the rarest is looked up
MOST_COUNTED = 1_000  #: up to which number the words with a trigram are counted
#: the words of contact `c`, each between blanks
WORDS_OF_CONTACT = (
    "replace(' ' || coalesce(c.name_key, '') || ' ' || coalesce(c.company_key, '') || ' ' || coalesce(c.email_key, '')"
    " || ' ', '@', ' ')"
)


class Match(Enum):
    """How a searched word must occur in a contact, with the pattern for LIKE."""

    WHOLE = "% {} %"
    BEGINNING = "% {}%"
    PART = "%{}%"

    def pattern(self, word: str) -> str:
        """Return the pattern that WORDS_OF_CONTACT must match."""
        return self.value.format(escape_pattern(word))


def escape_pattern(text: str) -> str:
    """Return the pattern of a text for LIKE … ESCAPE '!'."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def is_searched_inside(word: str) -> bool:
    """Return whether a word is searched for inside of words. Short runs with separators would match too many words."""
    runs = split_runs(word)
    return len(runs) == 1 or max(map(len, runs)) >= 3


def write_contacts_of_word(word: str, match: Match, *, workspace: str, bind: Bind) -> str:
    """Return a SELECT of the ids of contacts in which a word may occur, some of them repeatedly.

    *word* has no blanks and at least one run. *workspace* is the placeholder of the workspace's id.
    """
    return (
        f"SELECT p.contact_id FROM ({_write_words(word, match, workspace, bind)}) AS d"
        " JOIN contact_words p ON p.word_id = d.word_id"
    )


def _write_words(word: str, match: Match, workspace: str, bind: Bind) -> str:
    """Return a SELECT of the ids of the words that a contact has one of, if *word* occurs in it.

    The longest run of *word* is looked up. It ends where the run of the contact ends, unless it is the last of *word*;
    it begins where that begins, unless only a part must match and it is the first. A domain is not cut into runs: it is
    looked up by the whole word.
    """
    runs = split_runs(word)
    place = max(range(len(runs)), key=lambda number: len(runs[number]))
    longest, whole = runs[place], word[:MOST_IN_RUN]
    is_first, is_last = place == 0, place == len(runs) - 1
    if match is Match.PART:
        lookups = [_write_part(whole, match.pattern(whole), workspace, bind)]
    else:
        lookups = [_write_run(whole, is_whole=match is Match.WHOLE, workspace=workspace, bind=bind)]
    if longest != whole and match is Match.PART and is_first:
        pattern = f"%{escape_pattern(longest)}{'%' if is_last else ''}"
        lookups.append(_write_part(longest, pattern, workspace, bind))
    elif longest != whole:
        is_whole = match is Match.WHOLE or not is_last
        lookups.append(_write_run(longest, is_whole=is_whole, workspace=workspace, bind=bind))
    return " UNION ALL ".join(lookups)


def _write_part(part: str, pattern: str, workspace: str, bind: Bind) -> str:
    """Return a SELECT of the ids of the words with a part, which match a pattern for LIKE."""
    condition = write_trigram_condition(part, workspace=workspace, bind=bind)
    return (
        "SELECT t.word_id FROM word_trigrams t JOIN words w ON w.id = t.word_id"
        f" WHERE {condition} AND w.word LIKE {bind(pattern)} ESCAPE '!'"
    )


def _write_run(run: str, *, is_whole: bool, workspace: str, bind: Bind) -> str:
    """Return a SELECT of the ids of the words that are a run, or begin with it."""
    column = 'w.word COLLATE "C"'
    words = f"SELECT w.id AS word_id FROM words w WHERE w.workspace_id = {workspace} AND {column}"
    return f"{words} = {bind(run)}" if is_whole else f"{words} >= {bind(run)} AND {column} < {bind(run + LAST)}"


def write_trigram_condition(part: str, *, workspace: str, bind: Bind) -> str:
    """Return the condition that trigram `t` is one that every word with this part has, the rarest of several."""
    if len(part) < 3:
        low, high = trigram_range(part)
        return f"t.workspace_id = {workspace} AND t.trigram BETWEEN {bind(low)} AND {bind(high)}"
    trigrams = dict.fromkeys(make_trigram(part[start : start + 3]) for start in range(len(part) - 2))
    counts = []
    for trigram in list(trigrams)[:MOST_TRIGRAMS]:
        place = f"CAST({bind(trigram)} AS BIGINT)"
        counts.append(
            f"SELECT {place} AS trigram, (SELECT count(*) FROM (SELECT 1 FROM word_trigrams x"
            f" WHERE x.workspace_id = {workspace} AND x.trigram = {place} LIMIT {MOST_COUNTED}) AS l) AS number"
        )
    rarest = f"SELECT trigram FROM ({' UNION ALL '.join(counts)}) AS n ORDER BY number LIMIT 1"
    return f"t.workspace_id = {workspace} AND t.trigram = ({rarest})"
